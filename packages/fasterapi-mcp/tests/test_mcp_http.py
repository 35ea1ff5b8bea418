"""Streamable HTTP through the endpoint: statuses, headers, sessions, streams."""

from __future__ import annotations

import asyncio
import base64
from typing import Annotated, Any

import fasterapi_core
import pytest
from fasterapi_mcp import Context, MCPServer
from mcp_wire import Web, request
from pydantic import Field


def make_server() -> MCPServer:
    server = MCPServer("web", "1.0")

    @server.tool
    def add(a: int, b: int) -> int:
        "Add"
        return a + b

    @server.tool
    async def add_async(a: int, b: int) -> int:
        "Add, later"
        await asyncio.sleep(0)
        return a + b

    @server.tool
    async def forever(ctx: Context) -> str:
        "Waits"
        await ctx.report_progress(1)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            server.state = "cancelled"
            raise
        return "never"

    @server.tool
    async def asks(ctx: Context) -> str:
        "Asks"
        answer = await ctx.elicit("?", {"type": "object", "properties": {"x": {"type": "string"}}})
        return answer.action

    @server.tool
    async def breaks_off(ctx: Context) -> str:
        "Ends its stream"
        closed = await ctx.close_sse_stream()
        await asyncio.sleep(0.02)
        return f"closed {closed}"

    @server.tool(name="grün")
    def green() -> str:
        "A name that needs coding"
        return "ok"

    @server.tool
    def routed(
        region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "none",
        shard: Annotated[
            int | None, Field(json_schema_extra={"x-mcp-header": "Shard", "type": "integer"})
        ] = None,
    ) -> str:
        "Mirrored parameters"
        return f"{region} {shard}"

    @server.resource("a://b")
    def resource() -> str:
        "A resource"
        return "text"

    return server


def call(
    name: str, arguments: Any = None, *, modern: bool = False, id: Any = 1, **more: Any
) -> dict[str, Any]:
    return request("tools/call", {"name": name, "arguments": arguments or {}, **more}, modern=modern, id=id)


def web(test: Any, **options: Any) -> None:
    async def main() -> None:
        client = Web(make_server(), **options)
        try:
            await test(client)
        finally:
            client.server.close()

    fasterapi_core.run(main())


def test_modern_calls_need_no_session_and_answer_json() -> None:
    async def test(client: Web) -> None:
        for name in ("add", "add_async"):
            answer = await client.post(call(name, {"a": 1, "b": 2}, modern=True))
            assert (answer.status, answer.content_type) == (200, "application/json")
            assert answer.json["result"]["structuredContent"] == {"result": 3}
            assert "mcp-session-id" not in answer.headers

    web(test)


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"MCP_Protocol_Version": None}, -32020),
        ({"MCP_Protocol_Version": "2025-11-25"}, -32020),
        ({"Mcp_Method": None}, -32020),
        ({"Mcp_Method": "tools/list"}, -32020),
        ({"Mcp_Method": "TOOLS/CALL"}, -32020),
        ({"Mcp_Name": None}, -32020),
        ({"Mcp_Name": "Add"}, -32020),
        ({"Mcp_Name": "=?base64?!!?="}, -32020),
        ({"Mcp_Name": " add\t"}, None),
        ({"Mcp_Name": "=?base64?" + base64.b64encode(b"add").decode() + "?="}, None),
        ({"Mcp_Session_Id": "anything", "Last_Event_Id": "1_1"}, None),
    ],
)
def test_modern_headers_mirror_the_body(headers: Any, code: int | None) -> None:
    async def test(client: Web) -> None:
        answer = await client.post(call("add", {"a": 1, "b": 2}, modern=True, id="keep"), **headers)
        assert answer.json["id"] == "keep"
        if code is None:
            assert answer.status == 200 and "result" in answer.json
        else:
            assert answer.status == 400 and answer.json["error"]["code"] == code

    web(test)


def test_names_beyond_ascii() -> None:
    async def test(client: Web) -> None:
        name = "=?base64?" + base64.b64encode("grün".encode()).decode() + "?="
        assert (await client.post(call("grün", modern=True), Mcp_Name=name)).status == 200
        assert (await client.post(call("grün", modern=True), Mcp_Name="grün")).status == 400

    web(test)


def test_mirrored_parameters() -> None:
    async def test(client: Web) -> None:
        async def status(arguments: Any, **headers: Any) -> int:
            answer = await client.post(call("routed", arguments, modern=True), **headers)
            if answer.status == 400:
                assert answer.json["error"]["code"] == -32020
            return answer.status

        assert await status({"region": "eu", "shard": 7}, Mcp_Param_Region="eu", Mcp_Param_Shard="7") == 200
        assert await status({"region": "eu"}, Mcp_Param_Region="eu") == 200
        assert await status({}) == 200
        assert await status({"shard": None}) == 200
        assert await status({"region": "eu"}) == 400
        assert await status({"region": "eu"}, Mcp_Param_Region="us") == 400
        assert await status({"region": "eu", "shard": 7}, Mcp_Param_Region="eu", Mcp_Param_Shard="x") == 400
        assert await status({}, Mcp_Param_Region="eu") == 400

    web(test)


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        (request("nope", modern=True), 404, -32601),
        (request("initialize", modern=True), 404, -32601),
        (request("tools/call", {"name": "nope"}, modern=True), 200, -32602),
        (request("resources/read", {"uri": "no://thing"}, modern=True), 200, -32602),
        (b"garbage", 400, -32700),
        (b"[]", 400, -32600),
        (b"3", 400, -32600),
        (b'{"jsonrpc":"2.0","id":1}', 400, -32600),
    ],
)
def test_statuses(message: Any, status: int, code: int) -> None:
    async def test(client: Web) -> None:
        answer = await client.post(message)
        assert (answer.status, answer.json["error"]["code"]) == (status, code)

    web(test)


def test_version_errors() -> None:
    async def test(client: Web) -> None:
        meta = {"io.modelcontextprotocol/protocolVersion": "2099-01-01"}
        answer = await client.post(request("tools/list", {"_meta": meta}, modern=True))
        assert answer.status == 400
        assert answer.json["error"]["data"] == {"supported": ["2026-07-28"], "requested": "2099-01-01"}
        answer = await client.post(
            request("tools/list"), MCP_Protocol_Version="2026-07-28", Mcp_Method="tools/list"
        )
        assert (answer.status, answer.json["error"]["code"]) == (400, -32602)
        await client.initialize()
        answer = await client.post(request("tools/list"), MCP_Protocol_Version="2000-01-01")
        assert answer.status == 400

    web(test)


def test_host_and_origin_are_checked() -> None:
    async def test(client: Web) -> None:
        message = call("add", {"a": 1, "b": 2}, modern=True)
        assert (await client.post(message, Host="evil.example.com")).status == 421
        assert (await client.post(message, Host=None)).status == 421
        assert (await client.post(message, Origin="http://evil.example.com")).status == 403
        assert (await client.post(message, Origin="null")).status == 403
        assert (await client.post(message, Origin="http://localhost:3000")).status == 200
        assert (await client.post(message, Host="api.example.com")).status == 200

    web(test, allowed_hosts=["api.example.com"])


def test_media_types() -> None:
    async def test(client: Web) -> None:
        message = call("add", {"a": 1, "b": 2}, modern=True)
        assert (await client.post(message, Content_Type="text/plain")).status == 415
        assert (await client.post(message, Content_Type=None)).status == 415
        assert (await client.post(message, Content_Type="application/json; charset=utf-8")).status == 200
        assert (await client.post(message, Accept="text/html")).status == 406
        assert (await client.post(message, Accept="application/json")).status == 200

    web(test)


def test_modern_notifications_stream_only_when_there_are_any() -> None:
    async def test(client: Web) -> None:
        answer = client.start(call("forever", modern=True, _meta={"progressToken": 5}))
        (event,) = await answer.until(1)
        assert answer.content_type == "text/event-stream"
        assert answer.headers["x-accel-buffering"] == "no"
        assert event["params"] == {"progressToken": 5, "progress": 1}
        assert b"id:" not in answer.body
        # The client closes the stream: that cancels the call.
        assert client.exchange is not None
        client.exchange.disconnect()
        await asyncio.sleep(0.01)
        assert client.server.state == "cancelled"

    web(test)


def test_listen_and_list_changes() -> None:
    async def test(client: Web) -> None:
        wish = {"toolsListChanged": True, "resourceSubscriptions": ["a://b"]}
        answer = client.start(request("subscriptions/listen", {"notifications": wish}, id="L", modern=True))
        await answer.until(1)
        client.server.tool(name="later")(lambda: 1)
        client.server.notify_prompts_changed()
        client.server.notify_resource_updated("a://b")
        client.server.notify_resource_updated("other://b")
        events = await answer.until(3)
        assert [e["method"] for e in events] == [
            "notifications/subscriptions/acknowledged",
            "notifications/tools/list_changed",
            "notifications/resources/updated",
        ]
        assert all(e["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "L" for e in events)
        tools = (await client.post(request("tools/list", modern=True))).json["result"]["tools"]
        assert tools[-1]["name"] == "later"
        client.server.close()
        await answer.done.wait()
        assert answer.events[-1]["result"]["resultType"] == "complete"

    web(test)


def test_get_and_delete_are_for_sessions() -> None:
    async def test(client: Web) -> None:
        for method in ("GET", "DELETE"):
            answer = client.open(
                method, b"", {"Accept": "text/event-stream", "MCP-Protocol-Version": "2026-07-28"}
            )
            assert answer.status == 405 and "POST" in answer.headers["allow"]
        assert client.open("PUT", b"", {}).status == 405

    web(test)


def test_a_legacy_session_from_birth_to_death() -> None:
    async def test(client: Web) -> None:
        first = await client.initialize()
        assert first.content_type == "text/event-stream" and len(client.session or "") == 32
        note = await client.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert (note.status, note.body) == (202, b"")
        answer = await client.post(call("add", {"a": 1, "b": 2}))
        assert answer.content_type == "text/event-stream"
        assert answer.events[0]["result"]["structuredContent"] == {"result": 3}
        assert (await client.post(call("add"), Mcp_Session_Id=None)).status == 400
        assert (await client.post(call("add"), Mcp_Session_Id="0" * 32)).status == 404
        headers = {"Mcp-Session-Id": client.session, "Accept": "text/event-stream"}
        stream = client.open("GET", b"", headers)  # type: ignore[arg-type]
        assert stream.status == 200
        assert client.open("GET", b"", headers).status == 409  # type: ignore[arg-type]
        client.server.notify_tools_changed()
        assert (await stream.until(1))[-1]["method"] == "notifications/tools/list_changed"
        await client.post(request("resources/subscribe", {"uri": "a://b"}))
        client.server.notify_resource_updated("a://b")
        assert (await stream.until(2))[-1]["params"] == {"uri": "a://b"}
        assert client.open("DELETE", b"", headers).status == 200  # type: ignore[arg-type]
        assert stream.done.is_set()
        assert (await client.post(call("add", {"a": 1, "b": 2}))).status == 404

    web(test)


def test_legacy_json_answers_without_sessions() -> None:
    async def test(client: Web) -> None:
        first = await client.initialize()
        assert client.session is None and first.json["result"]["protocolVersion"] == "2025-11-25"
        answer = await client.post(call("add", {"a": 1, "b": 2}))
        assert (answer.status, answer.content_type) == (200, "application/json")
        batch = [
            call("add", {"a": 1, "b": 2}),
            request("ping", id=2),
            {"jsonrpc": "2.0", "method": "notifications/x"},
        ]
        assert [a["id"] for a in (await client.post(batch)).json] == [1, 2]
        assert (await client.post(batch, MCP_Protocol_Version="2025-11-25")).status == 400
        assert client.open("GET", b"", {"Accept": "text/event-stream"}).status == 405
        assert client.open("DELETE", b"", {}).status == 405

    web(test, json_response=True, stateless=True)


def test_legacy_requests_to_the_client() -> None:
    async def test(client: Web) -> None:
        await client.initialize(elicitation={})
        answer = client.start(call("asks"))
        question = (await answer.until(1))[0]
        assert question["method"] == "elicitation/create"
        reply = await client.post({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}})
        assert reply.status == 202
        assert (await answer.until(2))[1]["result"]["structuredContent"] == {"result": "decline"}

    web(test)


def test_legacy_cancellation_and_disconnect_differ() -> None:
    async def test(client: Web) -> None:
        await client.initialize()
        answer = client.start(call("forever", id=7))
        await asyncio.sleep(0.01)
        assert client.exchange is not None
        client.exchange.disconnect()
        await asyncio.sleep(0.01)
        assert client.server.state is None  # until 2025-11-25 a lost connection is not a cancellation
        await client.post({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
        await asyncio.sleep(0.01)
        assert client.server.state == "cancelled"
        assert not answer.events

    web(test)


def test_a_stream_can_be_resumed() -> None:
    async def test(client: Web) -> None:
        await client.initialize()
        answer = await client.post(call("breaks_off"))
        assert answer.events == []
        last = answer.body.decode().split("id: ")[1].split("\n")[0]
        await asyncio.sleep(0.05)
        headers = {"Mcp-Session-Id": client.session, "Accept": "text/event-stream", "Last-Event-ID": last}
        again = client.open("GET", b"", headers)  # type: ignore[arg-type]
        assert again.events[0]["result"]["structuredContent"] == {"result": "closed True"}
        assert again.done.is_set()

    web(test)


def test_sessions_are_limited() -> None:
    async def main() -> None:
        client = Web(MCPServer("small", max_sessions=3))
        statuses = []
        for _ in range(5):
            client.session = None
            statuses.append((await client.initialize()).status)
        assert statuses == [200, 200, 200, 503, 503]

    fasterapi_core.run(main())
