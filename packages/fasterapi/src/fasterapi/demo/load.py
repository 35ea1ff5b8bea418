"""A short closed-loop HTTP load: N keep-alive connections, each sends its next request when it has the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Load:
    """What a load gave: answers, seconds, and the latency of each answer in seconds, sorted."""

    answers: int
    seconds: float
    latencies: list[float]
    statuses: dict[int, int]

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds

    def percentile(self, share: float) -> float:
        """Latency in microseconds that `share` of the answers kept."""
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))] * 1e6


class _Connection(asyncio.Protocol):
    def __init__(self, make: Callable[[], bytes], load: _Run) -> None:
        self.make = make
        self.load = load
        self.buffer = b""
        self.sent = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.sent = time.perf_counter()
        self.transport.write(self.make())

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end].lower()
        at = head.find(b"\r\ncontent-length:")
        if at < 0:  # chunked: an answer to this load ends with the last chunk
            if not self.buffer.endswith(b"\r\n0\r\n\r\n"):
                return
        else:
            line_end = head.find(b"\r\n", at + 2)
            length = int(head[at + 17 : line_end if line_end > 0 else end])
            if len(self.buffer) < end + 4 + length:
                return
        self.load.answer(int(head[9:12]), time.perf_counter() - self.sent)
        self.buffer = b""
        if self.load.over:
            self.transport.close()
        else:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        self.load.lost(exc)


class _Run:
    def __init__(self, connections: int) -> None:
        self.latencies: list[float] = []
        self.statuses: dict[int, int] = {}
        self.open = connections
        self.over = False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer(self, status: int, latency: float) -> None:
        self.latencies.append(latency)
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def lost(self, error: Exception | None) -> None:
        self.open -= 1
        if not self.over:
            self.fail(error or ConnectionError("the server closed a connection during the load"))
        elif self.open == 0 and not self.done.done():
            self.done.set_result(None)


async def http_load(
    host: str, port: int, make: Callable[[], bytes], *, seconds: float = 2.0, connections: int = 32
) -> Load:
    """Load `host:port` with the requests that `make()` gives for `seconds`.

    Raises ConnectionError when the server closes a connection, RuntimeError for an answer without a length.
    """
    loop = asyncio.get_running_loop()
    run = _Run(connections)
    began = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(make, run), host, port)
    await asyncio.wait([run.done], timeout=seconds)
    measured = time.perf_counter() - began
    answers = len(run.latencies)
    run.over = True
    async with asyncio.timeout(5):
        await run.done
    return Load(answers, measured, sorted(run.latencies), run.statuses)
