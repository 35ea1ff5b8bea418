"""A server on its own thread and loop, and clients that speak raw bytes to it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import fasterapi_core
import pytest
from fasterapi_http import Server


class Running:
    """A server that runs until ``stop()``; ``run(coroutine_function)`` runs something on its loop."""

    def __init__(self, setup: Callable[[Server], object], **options: Any) -> None:
        self._setup, self._options = setup, options
        self._started = threading.Event()
        self._error: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop
        self.server: Server
        self.port = 0
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        assert self._started.wait(10)
        if self._error:
            raise self._error

    def _main(self) -> None:
        try:
            fasterapi_core.run(self._serve())
        except BaseException as error:  # seen by the test instead of only on stderr
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self.server = Server(**self._options)
        self._setup(self.server)
        await self.server.start("127.0.0.1", 0)
        self.port = self.server.port
        self._started.set()
        await self._end.wait()
        await self.server.drain(2.0)

    def run(self, function: Callable[[], Any], timeout: float = 10) -> Any:
        async def call() -> Any:
            result = function()
            return await result if asyncio.iscoroutine(result) else result

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(timeout)

    def stop(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._end.set)
            self._thread.join(10)
            assert not self._thread.is_alive(), "the server did not stop"

    def connect(self, timeout: float = 5) -> Client:
        return Client(self.port, timeout)

    def get(self, path: str, method: str = "GET", body: bytes = b"", headers: str = "") -> Answer:
        with self.connect() as client:
            return client.request(method, path, body, headers)


class Answer:
    """One parsed response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, raw_head: bytes) -> None:
        self.status, self.headers, self.body, self.raw_head = status, headers, body, raw_head

    def json(self) -> Any:
        import json

        return json.loads(self.body)


class Client:
    """A socket with a minimal response reader."""

    def __init__(self, port: int, timeout: float = 5) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(self, method: str, path: str, body: bytes = b"", headers: str = "") -> Answer:
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}"
        if body:
            head += f"Content-Length: {len(body)}\r\n"
        self.send(head.encode() + b"\r\n" + body)
        return self.read(method)

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(self.buffer)
        self.buffer += data

    def read(self, method: str = "GET") -> Answer:
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        body = b""
        if method == "HEAD" or status in (204, 304) or status < 200:
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while True:
                while b"\r\n" not in self.buffer:
                    self._more()
                size, _, self.buffer = self.buffer.partition(b"\r\n")
                wanted = int(size, 16) + 2
                while len(self.buffer) < wanted:
                    self._more()
                body += self.buffer[: wanted - 2]
                assert self.buffer[wanted - 2 : wanted] == b"\r\n"
                self.buffer = self.buffer[wanted:]
                if wanted == 2:
                    break
        elif "content-length" in headers:
            wanted = int(headers["content-length"])
            while len(self.buffer) < wanted:
                self._more()
            body, self.buffer = self.buffer[:wanted], self.buffer[wanted:]
        else:
            try:
                while True:
                    self._more()
            except EOFError:
                body, self.buffer = self.buffer, b""
        return Answer(status, headers, body, head)

    def at_end(self, timeout: float = 3) -> bool:
        """Whether the server closes the connection without another byte."""
        self.sock.settimeout(timeout)
        try:
            return not self.buffer and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(setup: Callable[[Server], object], **options: Any) -> Running:
        running.append(Running(setup, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()
