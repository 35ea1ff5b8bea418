"""One echo server on one loop: ``echo_server.py LOOP MODE``; also the rates of scheduling calls (MODE ``rates``)."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any

LOOPS: dict[str, str] = {
    "fasterapi": "fasterapi_core:new_event_loop",
    "uvloop": "uvloop:new_event_loop",
    "rloop": "rloop:new_event_loop",
    "asyncio": "asyncio:SelectorEventLoop",
}
CHUNK = 256 * 1024


class Echo(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(CHUNK))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(self.buffer[:nbytes])


async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()


async def raw(port: int) -> None:
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", port), backlog=100)
    listener.setblocking(False)

    async def serve(sock: socket.socket) -> None:
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := await loop.sock_recv(sock, CHUNK):
                await loop.sock_sendall(sock, data)

    tasks = set()
    while True:
        sock, _ = await loop.sock_accept(listener)
        task = loop.create_task(serve(sock))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


async def serve(mode: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    if mode == "sockets":
        await raw(port)
    elif mode == "streams":
        await asyncio.start_server(stream, "127.0.0.1", port)
    elif mode == "buffered":
        await loop.create_server(BufferedEcho, "127.0.0.1", port)
    elif mode == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.environ["CERTIFICATE"])
        await loop.create_server(Echo, "127.0.0.1", port, ssl=context)
    else:
        await loop.create_server(Echo, "127.0.0.1", port)
    await asyncio.Event().wait()


def rates(loop: asyncio.AbstractEventLoop, count: int = 200_000) -> dict[str, float]:
    """Nanoseconds of CPU per call, scheduling and running."""
    found: dict[str, float] = {}

    def measure(name: str, schedule: Callable[[Callable[[], None]], Any]) -> None:
        left = count

        def step() -> None:
            nonlocal left
            left -= 1
            if left > 0:
                schedule(step)
            elif left == 0:
                loop.stop()

        for _ in range(100):  # as many at once as a busy server has
            schedule(step)
        started = time.process_time_ns()
        loop.run_forever()
        found[name] = (time.process_time_ns() - started) / count

    measure("call_soon", loop.call_soon)
    measure("call_later", lambda step: loop.call_later(0, step))

    started = time.process_time_ns()
    for _ in range(count // 4):
        loop.call_later(10, rates).cancel()
    found["call_later + cancel"] = (time.process_time_ns() - started) / (count // 4)
    return found


def main() -> None:
    name, mode = sys.argv[1:3]
    module, _, factory = LOOPS[name].partition(":")
    loop: asyncio.AbstractEventLoop = getattr(importlib.import_module(module), factory)()
    if mode == "rates":
        print(json.dumps(rates(loop)))
    else:
        loop.run_until_complete(serve(mode, int(os.environ["PORT"])))


if __name__ == "__main__":
    main()
