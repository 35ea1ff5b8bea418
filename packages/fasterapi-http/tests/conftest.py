"""A server on its own thread and loop, and clients that speak raw bytes to it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fasterapi_core
import pytest
from fasterapi_http import Server

sys.path.insert(0, str(Path(__file__).parent))  # helpers of these tests

from http_client import Answer, Client  # noqa: E402


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


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def start(setup: Callable[[Server], object], **options: Any) -> Running:
        running.append(Running(setup, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()
