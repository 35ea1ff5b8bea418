"""The endpoint as an ASGI application, for HTTP servers outside the family."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from ._mcp import Exchange, endpoint_max_body
from ._run import lifespan

if TYPE_CHECKING:
    from ._server import MCPServer

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_TOO_LARGE = (
    b'{"jsonrpc":"2.0","error":{"code":-32600,"message":"The body is longer than max_message_bytes"}}'
)


class _Sink:
    """Receives an answer of the native side, which never waits, and queues it for ``send``."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def respond(self, status: int, content_type: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self._head(status, content_type, [*headers, ("content-length", str(len(body)))])
        self.messages.put_nowait({"type": "http.response.body", "body": body})
        self.messages.put_nowait(None)

    def start(self, status: int, content_type: str, headers: list[tuple[str, str]]) -> None:
        self._head(status, content_type, headers)

    def write(self, chunk: bytes) -> bool:
        self.messages.put_nowait({"type": "http.response.body", "body": chunk, "more_body": True})
        return self.messages.qsize() < 64

    def finish(self) -> None:
        self.messages.put_nowait({"type": "http.response.body", "body": b""})
        self.messages.put_nowait(None)

    def _head(self, status: int, content_type: str, headers: list[tuple[str, str]]) -> None:
        wire = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        if content_type:
            wire.append((b"content-type", content_type.encode("latin-1")))
        self.messages.put_nowait({"type": "http.response.start", "status": status, "headers": wire})


def application(server: MCPServer, endpoint: object) -> Callable[..., Awaitable[None]]:
    """The ASGI callable. It answers every path: mount it where it belongs."""
    limit = endpoint_max_body(endpoint)

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(server, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"MCP is served over http, not {scope['type']}")
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > limit:
                sink = _Sink()
                sink.respond(413, "application/json", [], _TOO_LARGE)
                await _send_all(sink, send)
                return
            if not message.get("more_body"):
                break
        sink = _Sink()
        exchange = Exchange(
            endpoint,
            sink,
            scope["method"],
            scope["path"],
            scope.get("query_string", b"").decode("latin-1"),
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
            bytes(body),
        )
        if sink.messages.empty():
            watcher: asyncio.Task[None] | None = asyncio.ensure_future(_watch(receive, exchange, sink))
        else:
            watcher = (
                None if sink.messages.qsize() > 2 else asyncio.ensure_future(_watch(receive, exchange, sink))
            )
        try:
            await _send_all(sink, send)
        finally:
            if watcher is not None:
                watcher.cancel()
            exchange.disconnect()

    return app


async def _send_all(sink: _Sink, send: Send) -> None:
    while (message := await sink.messages.get()) is not None:
        await send(message)


async def _watch(receive: Receive, exchange: Exchange, sink: _Sink) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    exchange.disconnect()
    sink.messages.put_nowait(None)


async def _lifespan(server: MCPServer, receive: Receive, send: Send) -> None:
    await receive()
    try:
        async with lifespan(server):
            await send({"type": "lifespan.startup.complete"})
            await receive()
    except Exception as error:
        await send({"type": "lifespan.startup.failed", "message": str(error)})
        return
    await send({"type": "lifespan.shutdown.complete"})
