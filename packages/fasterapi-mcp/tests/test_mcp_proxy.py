"""MCPClient and MCPProxy against our own servers, over pipes and HTTP, in every pairing of eras."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import fasterapi_core
import pytest
from fasterapi_mcp import Context, MCPClient, MCPError, MCPProxy, MCPServer, _proxy, _run
from fasterapi_mcp._links import HttpLink, header_value, make_link
from mcp_wire import HERE, Web, request
from pydantic import Field

STDIO = [sys.executable, str(HERE / "stdio_server.py")]
LEGACY_ONLY = """
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    if m["method"] == "initialize":
        r = {"result": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "old", "version": "0"}}}
    elif m["method"] == "tools/list":
        r = {"result": {"tools": [{"name": "old_tool", "description": "o\\u200bld", "inputSchema": {"type": "object"}}]}}
    elif m["method"] == "tools/call":
        if m["params"]["arguments"].get("die"): sys.exit(3)
        r = {"result": {"content": [{"type": "text", "text": "from the old world"}]}}
    else:
        r = {"error": {"code": -32601, "message": "Method not found"}}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **r}), flush=True)
"""


@asynccontextmanager
async def over_http(server: MCPServer, **options: Any) -> AsyncIterator[str]:
    """The server behind a TCP port of the installed HTTP server."""
    pytest.importorskip("fasterapi_http")
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with _run.lifespan(server):
        task = asyncio.ensure_future(
            fasterapi_core.serve_endpoint(
                server.endpoint(**options),
                path="/mcp",
                port=0,
                ready=lambda http: ready.set_result(http.port),
            )
        )
        waiting: set[asyncio.Future[Any]] = {task, ready}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
        try:
            yield f"http://127.0.0.1:{await ready}/mcp"
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def example(name: str = "example") -> MCPServer:
    server = MCPServer(name)

    @server.tool
    def add(a: int, b: int) -> int:
        "Add"
        return a + b

    @server.tool
    async def works(ctx: Context) -> str:
        "Reports"
        for i in range(3):
            await ctx.report_progress(i, 3, f"step {i}")
        return "worked"

    @server.tool
    async def sleeps(ctx: Context) -> str:
        "Sleeps"
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            server.state = "cancelled"
            raise
        return "slept"

    @server.tool
    async def asks(ctx: Context) -> str:
        "Asks"
        answer = await ctx.elicit(
            "Name?", {"type": "object", "properties": {"name": {"type": "string"}}}, key="n"
        )
        return f"{answer.action} {answer.data}"

    @server.resource("text://hello")
    def hello() -> str:
        "A text"
        return "hello"

    @server.resource("item://{id}")
    def item(id: str) -> dict[str, str]:
        "A family"
        return {"id": id}

    @server.prompt
    def greet(name: str) -> str:
        "A prompt"
        return f"Greet {name}"

    return server


def go(main: Any) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await main()

    fasterapi_core.run(limited())


def test_client_over_stdio() -> None:
    async def main() -> None:
        async with MCPClient(STDIO) as client:
            assert client.modern and client.protocol_version == "2026-07-28"
            assert client.server_info["name"] == "stdio-tests" and client.instructions == "Be kind"
            assert "add" in [tool["name"] for tool in await client.list_tools()]
            assert (await client.call_tool("add", {"a": 1, "b": 2}))["structuredContent"] == {"result": 3}
            with pytest.raises(MCPError) as caught:
                await client.call_tool("nope")
            assert caught.value.rpc_code == -32602
            with pytest.raises(TimeoutError):
                await client.call_tool("slow", {"seconds": 30}, timeout_s=0.05)
            results = await asyncio.gather(*(client.call_tool("add", {"a": i}) for i in range(100)))
            assert [r["structuredContent"]["result"] for r in results] == [i + 10 for i in range(100)]

    go(main)


def test_client_falls_back_to_the_old_handshake() -> None:
    async def main() -> None:
        async with MCPClient([sys.executable, "-c", LEGACY_ONLY]) as client:
            assert not client.modern and client.protocol_version == "2025-06-18"
            assert (await client.call_tool("old_tool"))["content"][0]["text"] == "from the old world"
            with pytest.raises(ConnectionError):
                await client.call_tool("old_tool", {"die": True})

    go(main)


def test_client_reports_servers_that_do_not_start() -> None:
    async def main() -> None:
        with pytest.raises(OSError):
            async with MCPClient(["/nonexistent/program"]):
                pass
        with pytest.raises(ConnectionError):
            async with MCPClient([sys.executable, "-c", "pass"], timeout_s=5):
                pass
        with pytest.raises(ConnectionError):
            async with MCPClient("http://127.0.0.1:9/mcp"):
                pass

    go(main)


@pytest.mark.parametrize("options", [{}, {"json_response": True}, {"stateless": True}])
def test_client_over_http(options: Any) -> None:
    async def main() -> None:
        server = example()
        async with over_http(server, **options) as url, MCPClient(url) as client:
            assert client.modern
            assert (await client.call_tool("add", {"a": 1, "b": 2}))["structuredContent"] == {"result": 3}
            assert (await client.read_resource("item://7%20x"))[0]["text"] == '{"id":"7 x"}'
            assert (await client.get_prompt("greet", {"name": "Ä"}))["messages"][0]["content"][
                "text"
            ] == "Greet Ä"
            seen: list[Any] = []
            await client.call_tool("works", on_progress=lambda *step: seen.append(step))
            assert seen == ([] if options.get("json_response") else [(i, 3, f"step {i}") for i in range(3)])
            with pytest.raises(TimeoutError):
                await client.call_tool("sleeps", timeout_s=0.1)
            await asyncio.sleep(0.05)
            if not options.get("json_response"):
                assert server.state == "cancelled"
            results = await asyncio.gather(*(client.call_tool("add", {"a": i, "b": 0}) for i in range(50)))
            assert [r["structuredContent"]["result"] for r in results] == list(range(50))

    go(main)


def test_mirrored_parameters_are_sent_also_through_a_proxy() -> None:
    async def main() -> None:
        server = MCPServer("inner")
        region = Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]

        async def routed(region: str) -> str:
            return region

        routed.__annotations__["region"] = region
        server.tool(routed)
        proxy = MCPProxy("front")
        async with over_http(server) as url:
            proxy.add_upstream("u", url)
            async with MCPClient(url) as client:  # has not seen the list: learns it from the mismatch
                assert (await client.call_tool("routed", {"region": "Zürich"}))["structuredContent"] == {
                    "result": "Zürich"
                }
            async with over_http(proxy) as front, MCPClient(front) as client:
                assert not client._mirrored  # the front asks for the header as well, and is then told
                assert (await client.call_tool("u_routed", {"region": " eu"}))["structuredContent"] == {
                    "result": " eu"
                }

    go(main)


def test_client_answers_questions_in_both_eras() -> None:
    async def answer(params: dict[str, Any]) -> dict[str, Any]:
        assert params["message"] == "Name?"
        return {"action": "accept", "content": {"name": "Ada"}}

    async def main() -> None:
        async with over_http(example()) as url:
            handlers = {"elicitation/create": answer}
            async with MCPClient(url, handlers=handlers) as client:
                result = await client.call_tool("asks")
                assert "accept {'name': 'Ada'}" in result["content"][0]["text"]
            async with MCPClient(Legacy(url), handlers=handlers) as client:
                assert client.protocol_version == "2025-11-25"
                result = await client.call_tool("asks")
                assert "accept {'name': 'Ada'}" in result["content"][0]["text"]

    go(main)


class Legacy(HttpLink):
    """A link that refuses what is modern, so that the client goes the old way."""

    async def exchange(self, message: Any, headers: Any, on_message: Any) -> Any:
        if message["method"] == "server/discover":
            return {"id": message["id"], "error": {"code": -32601, "message": "Method not found"}}
        return await super().exchange(message, headers, on_message)


def test_a_legacy_client_comes_back_and_listens() -> None:
    async def main() -> None:
        server = example()

        @server.tool
        async def breaks_off(ctx: Context) -> str:
            "Ends its stream"
            await ctx.close_sse_stream()
            await asyncio.sleep(0.05)
            return "resumed"

        seen: list[str] = []
        async with over_http(server) as url:
            async with MCPClient(
                Legacy(url), on_notification=lambda method, params: seen.append(method)
            ) as client:
                assert (await client.call_tool("breaks_off"))["structuredContent"] == {"result": "resumed"}
                server.notify_tools_changed()
                while not seen:
                    await asyncio.sleep(0.01)
                assert seen == ["notifications/tools/list_changed"]

    go(main)


def test_proxy_merges_servers() -> None:
    async def main() -> None:
        inner = example()
        proxy = MCPProxy("front")

        @proxy.tool
        def own() -> str:
            "The proxy's own"
            return "own"

        async with over_http(inner) as url:
            proxy.add_upstream("web", url)
            proxy.add_upstream("pipe", STDIO, prefix="p")
            proxy.add_upstream("old", [sys.executable, "-c", LEGACY_ONLY], prefix="")
            proxy.add_upstream("dead", "http://127.0.0.1:9/mcp", timeout_s=2)
            with pytest.raises(ValueError, match="already"):
                proxy.add_upstream("web", url)
            async with over_http(proxy) as front, MCPClient(front) as client:
                assert proxy.upstreams["web"] is None and proxy.upstreams["dead"]
                tools = {tool["name"]: tool for tool in await client.list_tools()}
                assert {"own", "web_add", "p_add", "old_tool"} <= set(tools)
                assert tools["old_tool"]["description"] == "old"  # the invisible character is gone
                for name in ("web_add", "p_add"):
                    result = await client.call_tool(name, {"a": 1, "b": 2})
                    assert result["structuredContent"] == {"result": 3}
                    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "front"
                assert (await client.call_tool("own"))["structuredContent"] == {"result": "own"}
                assert (await client.call_tool("old_tool"))["content"][0]["text"] == "from the old world"
                assert (await client.call_tool("p_fails"))["isError"] is True
                with pytest.raises(MCPError, match="Unknown tool"):
                    await client.call_tool("add")
                seen: list[Any] = []
                await client.call_tool("web_works", on_progress=lambda *step: seen.append(step[0]))
                assert seen == [0, 1, 2]
                assert (await client.read_resource("text://hello"))[0]["text"] == "hello"
                assert (await client.read_resource("item://9"))[0]["text"] == '{"id":"9"}'
                messages = (await client.get_prompt("web_greet", {"name": "x"}))["messages"]
                assert messages[0]["content"]["text"] == "Greet x"
                with pytest.raises(TimeoutError):
                    await client.call_tool("web_sleeps", timeout_s=0.1)
                await asyncio.sleep(0.05)
                assert inner.state == "cancelled"

    go(main)


def test_proxy_reconnects_to_a_server_that_died() -> None:
    async def main() -> None:
        proxy = MCPProxy("front")
        proxy.add_upstream("old", [sys.executable, "-c", LEGACY_ONLY], prefix="")
        async with _run.lifespan(proxy):
            web = Web(proxy, stateless=True, json_response=True)

            async def call(arguments: Any) -> Any:
                return (
                    await web.post(request("tools/call", {"name": "old_tool", "arguments": arguments}))
                ).json

            assert "result" in await call({})
            error = (await call({"die": True}))["error"]
            assert error["code"] == -32603 and "old" in error["message"]
            assert "result" in await call({})

    go(main)


def test_proxy_takes_in_a_server_that_comes_up_late(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(_proxy, "RETRY_S", 0.05)
    program = tmp_path / "late"

    async def main() -> None:
        proxy = MCPProxy("front")
        proxy.add_upstream("late", [str(program)], prefix="")
        async with _run.lifespan(proxy):
            web = Web(proxy)
            call = request("tools/call", {"name": "old_tool", "arguments": {}}, modern=True)
            assert (await web.post(call)).json["error"]["code"] == -32602
            (tmp_path / "script.py").write_text(LEGACY_ONLY)
            program.write_text(f"#!/bin/sh\nexec {sys.executable} {tmp_path}/script.py\n")
            program.chmod(0o755)
            while "error" in (answer := (await web.post(call)).json):
                await asyncio.sleep(0.02)
            assert answer["result"]["content"][0]["text"] == "from the old world"

    go(main)


def test_proxy_passes_questions_on_in_the_modern_era() -> None:
    async def answer(params: dict[str, Any]) -> dict[str, Any]:
        return {"action": "decline"}

    async def main() -> None:
        proxy = MCPProxy("front")
        async with over_http(example()) as url:
            proxy.add_upstream("web", url)
            async with over_http(proxy) as front:
                async with MCPClient(front, handlers={"elicitation/create": answer}) as client:
                    assert (await client.call_tool("web_asks"))["content"][0]["text"] == "decline None"
                async with MCPClient(front) as client:
                    with pytest.raises(MCPError) as caught:
                        await client.call_tool("web_asks")
                    assert caught.value.rpc_code == -32021

    go(main)


def test_targets_are_checked() -> None:
    for bad in ("python server.py", "ftp://x/y", "http:///x"):
        with pytest.raises(ValueError):
            make_link(bad)
    with pytest.raises(ValueError, match="line break"):
        make_link("http://x/", headers={"a": "b\r\nc: d"})
    assert header_value("add") == "add"
    assert header_value(" x") == "=?base64?IHg=?="
    assert header_value("=?base64?eA==?=") == "=?base64?PT9iYXNlNjQ/ZUE9PT89?="
