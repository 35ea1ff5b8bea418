"""Request bodies reach a handler of the App as they arrive, on the native lane and behind middleware."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fasterapi import FastAPI, Request, UploadFile
from fasterapi.testclient import TestClient


def make(middleware: bool) -> tuple[FastAPI, list[bytes], threading.Event]:
    app = FastAPI()
    pieces: list[bytes] = []
    arrived = threading.Event()

    @app.post("/stream")
    async def stream(request: Request) -> dict[str, int]:
        async for piece in request.stream():
            pieces.append(piece)
            arrived.set()
        return {"size": sum(map(len, pieces))}

    @app.post("/file")
    async def upload(file: UploadFile) -> dict[str, Any]:
        return {"name": file.filename, "size": len(await file.read())}

    if middleware:

        @app.middleware("http")
        async def passes(request: Request, call_next: Any) -> Any:
            return await call_next(request)

    return app, pieces, arrived


@pytest.fixture(params=[False, True], ids=["native", "middleware"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[int, list[bytes], threading.Event]]:
    import asyncio

    from fasterapi._native import build_server
    from fasterapi_core import run

    app, pieces, arrived = make(request.param)
    ready, ended = threading.Event(), threading.Event()
    port: list[int] = []
    loops: list[asyncio.AbstractEventLoop] = []
    stop: list[asyncio.Event] = []

    async def main() -> None:
        server = build_server(app)
        await server.start("127.0.0.1", 0)
        port.append(server.port)
        loops.append(asyncio.get_running_loop())
        stop.append(asyncio.Event())
        ready.set()
        await stop[0].wait()
        await server.drain(2)
        ended.set()

    threading.Thread(target=lambda: run(main()), daemon=True).start()
    assert ready.wait(10)
    yield port[0], pieces, arrived
    loops[0].call_soon_threadsafe(stop[0].set)
    assert ended.wait(10)


def test_the_handler_reads_while_the_client_sends(served: Any) -> None:
    port, pieces, arrived = served
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("POST", "/stream")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    connection.send(b"3\r\none\r\n")
    assert arrived.wait(5)
    assert pieces == [b"one"]
    connection.send(b"3\r\ntwo\r\n0\r\n\r\n")
    assert connection.getresponse().read() == b'{"size":6}'
    connection.close()


def test_a_large_upload_is_parsed_from_the_stream() -> None:
    app, _, _ = make(False)
    data = b"x" * 3_000_000
    with TestClient(app) as client:
        answer = client.post("/file", files={"file": ("a.bin", data)})
    assert answer.json() == {"name": "a.bin", "size": len(data)}
