"""The official Python SDK's client against our servers."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from typing import Any

import pytest
from mcp_wire import HERE

mcp: Any = pytest.importorskip("mcp")
Client: Any = mcp.Client
from mcp import ClientSession, StdioServerParameters  # noqa: E402
from mcp.client.stdio import stdio_client  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402

PARAMETERS = StdioServerParameters(command=sys.executable, args=[str(HERE / "stdio_server.py")])


async def check_calculator(client: Any) -> None:
    tools = await client.list_tools()
    assert "add" in [tool.name for tool in tools.tools]
    result = await client.call_tool("add", {"a": 1, "b": 2})
    assert result.structured_content == {"result": 3} and not result.is_error
    result = await client.call_tool("double", {"item": {"name": "x", "price": 2}})
    assert result.structured_content == {"name": "x", "price": 4.0}
    assert (await client.call_tool("fails", {})).is_error
    results = await asyncio.gather(*(client.call_tool("add_async", {"a": i, "b": i}) for i in range(32)))
    assert [r.structured_content["result"] for r in results] == [2 * i for i in range(32)]


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
def test_client_over_stdio(mode: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), Client(stdio_client(PARAMETERS), mode=mode) as client:
            await check_calculator(client)

    asyncio.run(main())


def test_session_over_stdio() -> None:
    async def main() -> None:
        async with asyncio.timeout(30), stdio_client(PARAMETERS) as (read, write):
            async with ClientSession(read, write) as session:
                found = await session.initialize()
                assert found.protocol_version == "2025-11-25"
                await check_calculator(session)
                await session.send_ping()

    asyncio.run(main())


@pytest.fixture(scope="module")
def url() -> Any:
    pytest.importorskip("fasterapi_http")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(HERE / "conformance_server.py"), str(port)])
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, "the server did not start"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.terminate()
        assert process.wait(10) is not None


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28", "auto"])
def test_client_over_http(url: str, mode: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), Client(url, mode=mode) as client:
            result = await client.call_tool("test_simple_text", {})
            assert result.content[0].text.startswith("This is a simple text")
            seen: list[Any] = []

            async def progress(value: float, total: float | None, message: str | None) -> None:
                seen.append(value)

            await client.call_tool("test_tool_with_progress", {}, progress_callback=progress)
            assert seen == [0, 50, 100]
            assert len((await client.list_resources()).resources) == 3
            contents = (await client.read_resource("test://template/9/data")).contents
            assert '"id": "9"' in contents[0].text
            prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"})
            assert prompt.messages[0].content.text == "Prompt with arguments: arg1='a', arg2='b'"

    asyncio.run(main())


def test_elicitation_in_both_eras(url: str) -> None:
    async def answer(context: Any, params: Any) -> Any:
        return mcp.types.ElicitResult(action="accept", content={"name": "Ada"})

    async def main() -> None:
        async with asyncio.timeout(30):
            async with Client(url, mode="2026-07-28", elicitation_callback=answer) as client:
                result = await client.call_tool("test_input_required_result_elicitation", {})
                assert result.content[0].text == "Hello, Ada!"
            async with Client(url, mode="legacy", elicitation_callback=answer) as client:
                result = await client.call_tool("test_elicitation", {"message": "?"})
                assert "accept" in result.content[0].text

    asyncio.run(main())


def test_raw_session_over_http(url: str) -> None:
    async def main() -> None:
        async with asyncio.timeout(30), streamable_http_client(url) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                await session.send_ping()
                assert not (await session.call_tool("test_simple_text", {})).is_error

    asyncio.run(main())
