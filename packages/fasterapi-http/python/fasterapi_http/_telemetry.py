"""What operators ask for over HTTP (metrics, health, readiness), and the counters behind it."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from fasterapi_core import metrics

from . import _http
from ._asgi import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from ._config import Config
    from ._server import Server

_INTERVAL = 0.5
_PREFIX = "fasterapi_http_"

COUNTERS = {
    "requests": ("requests_received_total", "Requests whose head has been read."),
    "connections_accepted": ("connections_accepted_total", "Connections taken."),
    "handed_over": ("connections_handed_over_total", "Accepted connections given to a worker with fewer."),
}
REJECTED = {
    "connections_refused": "connections",
    "protocol_errors": "protocol",
    "timeouts": "timeout",
    "rate_limited": "rate",
    "overloaded": "overload",
}
STARTS = (_PREFIX + "worker_starts_total", "Processes that began to serve.")


class Counting:
    """Brings the server's own counters into the shared metrics, now and then and before each scrape."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._seen: dict[str, int] = {}
        self._counters: dict[str, Any] = {
            name: metrics.counter(_PREFIX + metric, text).labels()
            for name, (metric, text) in COUNTERS.items()
        }
        rejected = metrics.counter(_PREFIX + "rejected_total", "Refused, by reason.", ["reason"])
        for name, reason in REJECTED.items():
            self._counters[name] = rejected.labels(reason)
        self._connections = metrics.gauge(_PREFIX + "connections", "Open connections.")
        self._in_flight = metrics.gauge(_PREFIX + "requests_in_flight", "Requests that are being answered.")
        self._limit = metrics.gauge(_PREFIX + "concurrency_limit", "Requests in flight that are admitted.")
        metrics.counter(*STARTS).inc()
        _http.count_requests(server)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to copy on the running loop."""
        enable = getattr(asyncio.get_running_loop(), "enable_metrics", None)
        if enable is not None:
            enable()  # loop lag
        self._task = asyncio.ensure_future(self._run())

    def stop(self) -> None:
        """The last copy."""
        if self._task is not None:
            self._task.cancel()
        self.copy()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_INTERVAL)
            self.copy()

    def copy(self) -> None:
        """Add what has been counted since the last time."""
        server = self._server
        state = _http.operation_counters(server)
        for name, counter in self._counters.items():
            value = int(state[name] if name in state else getattr(server, name))
            counter.inc(value - self._seen.get(name, 0))
            self._seen[name] = value
        self._connections.set(server.connections)
        self._in_flight.set(max(0, state["in_flight"]))
        self._limit.set(state["limit"])


def endpoints(app: ASGIApp, server: Server, config: Config, counting: Counting | None) -> ASGIApp:
    """The application, or the answer of the server's own paths."""
    paths: dict[str, Any] = {}
    if config.health_path:
        paths[config.health_path] = lambda: (200, b"ok\n", "text/plain; charset=utf-8")
    if config.ready_path:
        paths[config.ready_path] = lambda: (
            (200, b"ready\n", "text/plain; charset=utf-8")
            if server.ready
            else (503, b"stopping\n", "text/plain; charset=utf-8")
        )
    if config.metrics_path and counting is not None and config.metrics_port is None:
        paths[config.metrics_path] = lambda: _metrics_answer(counting)
    if not paths:
        return app

    async def with_endpoints(scope: Scope, receive: Receive, send: Send) -> None:
        found = paths.get(scope["path"]) if scope["type"] == "http" else None
        if found is None:
            await app(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, b"", "text/plain", [(b"allow", b"GET, HEAD")])
        else:
            await _answer(send, *found())

    return with_endpoints


def _metrics_answer(counting: Counting) -> tuple[int, bytes, str]:
    counting.copy()
    return 200, metrics.text(), metrics.CONTENT_TYPE


async def _answer(
    send: Send, status: int, body: bytes, content_type: str, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [(b"content-type", content_type.encode()), (b"cache-control", b"no-store"), *(more or [])]
    start: Message = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


async def metrics_server(server: Server, config: Config, counting: Counting, sock: socket.socket) -> Server:
    """A server for the metrics, health and readiness alone, on a socket that all workers share."""
    from ._server import Server as Plain

    own = Plain(redirect_slashes=False)

    async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("only http is served here")
        if scope["path"] == (config.metrics_path or "/metrics"):
            status, body, kind = _metrics_answer(counting)
            await _answer(send, status, body, kind)
        else:
            await _answer(send, 404, b"not found\n", "text/plain; charset=utf-8")

    _http.host_asgi(own, endpoints(nothing, server, config, None), websockets=False)
    await own.start(sockets=[sock])
    return own
