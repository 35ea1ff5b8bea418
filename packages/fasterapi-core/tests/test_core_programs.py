"""Programs that people run on an event loop run on ours: servers and clients of others, against each other."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import fasterapi_core
import pytest


def test_aiohttp_server_and_client() -> None:
    web = pytest.importorskip("aiohttp.web")
    import aiohttp

    async def main() -> None:
        async def echo(request: Any) -> Any:
            return web.Response(body=await request.read(), headers={"X-Peer": request.remote})

        async def chat(request: Any) -> Any:
            chatting = web.WebSocketResponse()
            await chatting.prepare(request)
            async for message in chatting:
                await chatting.send_str(message.data.upper())
            return chatting

        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/echo", echo)
        app.router.add_get("/chat", chat)
        app.router.add_static("/static", os.path.dirname(__file__))
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            for size in (0, 10, 5_000_000):
                body = os.urandom(size)
                async with session.post("/echo", data=body) as response:
                    assert response.status == 200 and await response.read() == body
                    assert response.headers["X-Peer"] == "127.0.0.1"
            with open(__file__, "rb") as this:
                async with session.get(f"/static/{os.path.basename(__file__)}") as response:
                    assert await response.read() == this.read()  # by loop.sendfile
            async with session.ws_connect("/chat") as chatting:
                await chatting.send_str("hello")
                assert (await chatting.receive()).data == "HELLO"
        await runner.cleanup()

    fasterapi_core.run(asyncio.wait_for(main(), 30))


def test_websockets_server_and_client() -> None:
    websockets = pytest.importorskip("websockets.asyncio.server")
    from websockets.asyncio.client import connect

    async def main() -> None:
        async def echo(connection: Any) -> None:
            async for message in connection:
                await connection.send(message)

        async with websockets.serve(echo, "127.0.0.1", 0, max_size=None) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}", max_size=None) as client:
                for message in ("text", b"binary", os.urandom(3_000_000)):
                    await client.send(message)
                    assert await client.recv() == message

    fasterapi_core.run(asyncio.wait_for(main(), 30))


def test_anyio_streams_and_task_groups() -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        async def serve(stream: Any) -> None:
            async with stream:
                async for chunk in stream:
                    await stream.send(chunk)

        async with anyio.create_task_group() as group:
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
            group.start_soon(listener.serve, serve)
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                payload = os.urandom(1_000_000)

                async def send() -> None:
                    await stream.send(payload)
                    await stream.send_eof()

                group.start_soon(send)
                got = b""
                async for chunk in stream:
                    got += chunk
                assert got == payload
            with anyio.move_on_after(0.01) as scope:
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    await stream.receive()
            assert scope.cancelled_caught
            result = await anyio.run_process([sys.executable, "-c", "print('out')"])
            assert result.stdout.strip() == b"out"
            group.cancel_scope.cancel()

    anyio.run(main, backend_options={"loop_factory": fasterapi_core.new_event_loop})


@pytest.fixture
def uvicorn_port() -> Iterator[int]:
    pytest.importorskip("uvicorn")
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    program = (
        "import asyncio\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'http': return\n"
        "    body, more = b'', True\n"
        "    while more:\n"
        "        message = await receive(); body += message.get('body', b''); more = message.get('more_body')\n"
        "    name = type(asyncio.get_running_loop()).__module__.encode()\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': [(b'x-loop', name)]})\n"
        "    await send({'type': 'http.response.body', 'body': body})\n"
        "import uvicorn\n"
        f"uvicorn.run(app, host='127.0.0.1', port={port}, loop='fasterapi_core:new_event_loop', log_level='error')\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) as server:
        try:
            for _ in range(200):
                with socket.socket() as sock:
                    if sock.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert server.poll() is None, server.stderr.read() if server.stderr else ""
                time.sleep(0.05)
            yield port
        finally:
            server.terminate()
            server.wait(10)


def test_uvicorn_with_loop_option_and_httpx(uvicorn_port: int) -> None:
    httpx = pytest.importorskip("httpx")

    async def main() -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{uvicorn_port}") as client:
            for size in (0, 100, 2_000_000):
                body = os.urandom(size)
                response = await client.post("/", content=body)
                assert response.content == body and response.headers["x-loop"] == "fasterapi_core._loop"
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(client.post("/", content=b"%d" % n)) for n in range(50)]
            assert [task.result().content for task in tasks] == [b"%d" % n for n in range(50)]

    fasterapi_core.run(asyncio.wait_for(main(), 30))


def test_asyncpg_against_postgresql() -> None:
    asyncpg = pytest.importorskip("asyncpg")
    demo = pytest.importorskip("fasterapi.demo.postgres", reason="finds or starts the server")
    with demo.postgres() as server:

        async def main() -> None:
            async with asyncpg.create_pool(server.dsn, min_size=2, max_size=5) as pool:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(pool.fetchval("select $1::int * 2", n)) for n in range(100)]
                assert [task.result() for task in tasks] == [n * 2 for n in range(100)]
                assert len(await pool.fetchval("select repeat('x', 3000000)")) == 3_000_000
                async with pool.acquire() as connection:
                    with pytest.raises(TimeoutError):
                        await connection.fetchval("select pg_sleep(10)", timeout=0.1)
                    assert await connection.fetchval("select 1") == 1

        fasterapi_core.run(asyncio.wait_for(main(), 60))
