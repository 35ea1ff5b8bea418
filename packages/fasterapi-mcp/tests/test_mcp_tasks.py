"""The tasks extension through the endpoint."""

from __future__ import annotations

import asyncio
from typing import Any

import fasterapi_core
from fasterapi_mcp import Context, MCPError, MCPServer
from mcp_wire import Web, request

EXTENSION = "io.modelcontextprotocol/tasks"
META: dict[str, Any] = {
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}, "extensions": {EXTENSION: {}}}
}


def make_server() -> MCPServer:
    server = MCPServer("tasks")

    @server.tool(task="optional")
    async def work(seconds: float) -> str:
        "Works"
        await asyncio.sleep(seconds)
        return "worked"

    @server.tool(task="required")
    async def breaks(how: str) -> str:
        "Fails"
        await asyncio.sleep(0)
        raise (MCPError(-5, "protocol", {"x": 1}) if how == "protocol" else ValueError("tool"))

    @server.tool(task="optional")
    async def asks(ctx: Context) -> str:
        "Asks twice at once"
        form = {"type": "object", "properties": {"x": {"type": "string"}}}
        a, b = await asyncio.gather(ctx.elicit("a", form, key="a"), ctx.elicit("b", form, key="b"))
        return f"{a.data['x']}{b.data['x']}"

    @server.tool(task="manual")
    async def later(become: bool, ctx: Context) -> str:
        "Decides for itself"
        return f"task {await ctx.become_task() if become else None}"

    return server


def run(test: Any) -> None:
    async def main() -> None:
        web = Web(make_server())

        async def ask(method: str, params: Any, meta: Any = META) -> Any:
            headers = {"Mcp_Name": params["taskId"]} if "taskId" in params else {}
            wire = request(method, {**params, "_meta": meta}, modern=True)
            return (await web.post(wire, **headers)).json

        async def call(name: str, meta: Any = META, **arguments: Any) -> Any:
            return await ask("tools/call", {"name": name, "arguments": arguments}, meta)

        async def until(task: str, status: str) -> Any:
            while (found := (await ask("tasks/get", {"taskId": task}))["result"])["status"] != status:
                await asyncio.sleep(0.01)
            return found

        async with asyncio.timeout(10):
            await test(web, ask, call, until)
        web.server.close()

    fasterapi_core.run(main())


def test_a_task_from_birth_to_result() -> None:
    async def test(web: Any, ask: Any, call: Any, until: Any) -> None:
        made = (await call("work", seconds=0.05))["result"]
        assert made["resultType"] == "task" and made["status"] == "working"
        assert isinstance(made["ttlMs"], int) and "result" not in made and "task" not in made
        done = await until(made["taskId"], "completed")
        assert done["resultType"] == "complete"
        assert done["result"]["structuredContent"] == {"result": "worked"}

    run(test)


def test_clients_without_the_extension() -> None:
    async def test(web: Any, ask: Any, call: Any, until: Any) -> None:
        assert (await call("work", {}, seconds=0))["result"]["structuredContent"] == {"result": "worked"}
        error = (await call("breaks", {}, how="tool"))["error"]
        assert error["code"] == -32021
        assert error["data"] == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        for method in ("tasks/get", "tasks/update", "tasks/cancel"):
            assert (await ask(method, {"taskId": "x", "inputResponses": {}}, {}))["error"]["code"] == -32021
            assert (await ask(method, {"taskId": "x", "inputResponses": {}}))["error"]["code"] == -32602
        wrong = request("tasks/get", {"taskId": "x", "_meta": META}, modern=True)
        assert (await web.post(wrong, Mcp_Name="y")).json["error"]["code"] == -32020
        discover = (await ask("server/discover", {}))["result"]
        assert discover["capabilities"]["extensions"] == {EXTENSION: {}}

    run(test)


def test_failures() -> None:
    async def test(web: Any, ask: Any, call: Any, until: Any) -> None:
        tool = await until((await call("breaks", how="tool"))["result"]["taskId"], "completed")
        assert tool["result"]["isError"] is True
        protocol = await until((await call("breaks", how="protocol"))["result"]["taskId"], "failed")
        assert protocol["error"] == {"code": -5, "message": "protocol", "data": {"x": 1}}
        assert "result" not in protocol

    run(test)


def test_cancelling() -> None:
    async def test(web: Any, ask: Any, call: Any, until: Any) -> None:
        task = (await call("work", seconds=60))["result"]["taskId"]
        for _ in range(2):
            ack = (await ask("tasks/cancel", {"taskId": task}))["result"]
            assert set(ack) == {"resultType", "_meta"}
        assert (await until(task, "cancelled"))["taskId"] == task

    run(test)


def test_questions_inside_a_task() -> None:
    async def test(web: Any, ask: Any, call: Any, until: Any) -> None:
        task = (await call("asks"))["result"]["taskId"]
        assert set((await until(task, "input_required"))["inputRequests"]) == {"a", "b"}
        bad = await ask("tasks/update", {"taskId": task, "inputResponses": {"a": {"action": "?"}}})
        assert bad["error"]["code"] == -32602
        for key, other in (("a", "b"), ("b", None)):
            answer = {"action": "accept", "content": {"x": key}}
            await ask("tasks/update", {"taskId": task, "inputResponses": {key: answer, "unknown": answer}})
            if other:
                assert set((await until(task, "input_required"))["inputRequests"]) == {other}
        assert (await until(task, "completed"))["result"]["content"][0]["text"] == "ab"

    run(test)


def test_a_tool_that_decides_for_itself() -> None:
    async def test(web: Any, ask: Any, call: Any, until: Any) -> None:
        assert (await call("later", become=False))["result"]["content"][0]["text"] == "task None"
        task = (await call("later", become=True))["result"]["taskId"]
        assert (await until(task, "completed"))["result"]["content"][0]["text"] == "task True"
        assert (await call("later", {}, become=True))["result"]["content"][0]["text"] == "task False"

    run(test)


def test_listening_to_a_task() -> None:
    async def test(web: Any, ask: Any, call: Any, until: Any) -> None:
        task = (await call("work", seconds=0.1))["result"]["taskId"]
        wish = {"notifications": {"taskIds": [task]}, "_meta": META}
        answer = web.start(request("subscriptions/listen", wish, modern=True, id=9))
        events = await answer.until(2)
        assert events[0]["params"]["notifications"] == {"taskIds": [task]}
        assert events[1]["method"] == "notifications/tasks"
        assert events[1]["params"]["status"] == "completed" and events[1]["params"]["taskId"] == task

    run(test)
