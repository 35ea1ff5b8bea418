"""Compression of responses with gzip."""

from __future__ import annotations

import gzip
import io

from ..datastructures import Headers, MutableHeaders
from ..types import ASGIApp, Message, Receive, Scope, Send

# Compressed already, or read piece by piece by the client.
EXCLUDED_TYPES = (
    "text/event-stream",
    "image/",
    "video/",
    "audio/",
    "application/zip",
    "application/gzip",
    "font/woff",
)


class GZipMiddleware:
    """Compresses responses of at least ``minimum_size`` bytes for clients that accept gzip; streams piece by
    piece.
    """

    def __init__(self, app: ASGIApp, minimum_size: int = 500, compresslevel: int = 9) -> None:
        self.app = app
        self.minimum_size = minimum_size
        self.compresslevel = compresslevel

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        accepts = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        await self.app(scope, receive, _Compressor(self, send, accepts))


class _Compressor:
    """The send channel of one response."""

    def __init__(self, options: GZipMiddleware, send: Send, accepts: bool) -> None:
        self._options = options
        self._send = send
        self._accepts = accepts
        self._start: Message | None = None
        self._file: gzip.GzipFile | None = None
        self._buffer = io.BytesIO()
        self._plain = False

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message  # held back: the headers depend on the body
            return
        if kind != "http.response.body" or self._plain:
            await self._send(message)
            return
        if self._start is not None:
            start, self._start = self._start, None
            if not self._begin(start, message):
                self._plain = True
                await self._send(start)
                await self._send(message)
                return
            message = self._compressed(message)
            headers = MutableHeaders(raw=start["headers"])
            if not message.get("more_body", False):
                headers["content-length"] = str(len(message["body"]))
            elif "content-length" in headers:
                del headers["content-length"]
            await self._send(start)
            await self._send(message)
            return
        await self._send(self._compressed(message))

    def _begin(self, start: Message, message: Message) -> bool:
        start["headers"] = list(start.get("headers", ()))
        headers = MutableHeaders(raw=start["headers"])
        media_type = headers.get("content-type", "")
        if "content-encoding" in headers or media_type.startswith(EXCLUDED_TYPES):
            return False
        whole = not message.get("more_body", False)
        if whole and len(message.get("body", b"")) < self._options.minimum_size:
            return False
        headers.add_vary_header("Accept-Encoding")
        if not self._accepts:
            return False
        headers["content-encoding"] = "gzip"
        self._file = gzip.GzipFile(mode="wb", fileobj=self._buffer, compresslevel=self._options.compresslevel)
        return True

    def _compressed(self, message: Message) -> Message:
        assert self._file is not None
        self._file.write(message.get("body", b""))
        if message.get("more_body", False):
            self._file.flush()
        else:
            self._file.close()
        body = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return {**message, "body": body}


__all__ = ["GZipMiddleware"]
