"""Responses: ``JSONResponse``, ``HTMLResponse``, ``StreamingResponse``, ``FileResponse`` and the rest.

They are the HTTP server's own response objects with Starlette's interface on top, so the native lane sends
them as they are, and each is also an ASGI application for everything that runs behind ASGI middleware.
"""

from __future__ import annotations

import os
import stat as stat_module
from collections.abc import Mapping
from typing import Any

import fasterapi_http as _http

from .concurrency import run_in_threadpool
from .types import Receive, Scope, Send


class Response(_http.Response):
    """A response with a complete body.

    ``content`` is text or bytes (subclasses override ``render`` for other values), ``media_type`` becomes
    Content-Type unless ``headers`` has one, ``background`` is awaited after the response was sent.
    """

    charset = "utf-8"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = "websocket.http.response" if scope["type"] == "websocket" else "http.response"
        await send({"type": f"{kind}.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": f"{kind}.body", "body": self.body})
        if self.background is not None:
            await self.background()


class HTMLResponse(Response, _http.HTMLResponse):
    """An HTML page."""

    media_type = "text/html"


class PlainTextResponse(Response, _http.PlainTextResponse):
    """Plain text."""

    media_type = "text/plain"


class JSONResponse(Response, _http.JSONResponse):
    """``content`` as JSON; ValueError for NaN and infinity, TypeError for what JSON cannot say."""

    media_type = "application/json"


class ORJSONResponse(JSONResponse):
    """The same as JSONResponse; kept so that imports of existing programs work."""


class UJSONResponse(JSONResponse):
    """The same as JSONResponse; kept so that imports of existing programs work."""


class RedirectResponse(Response, _http.RedirectResponse):
    """A redirect to ``url``."""


class StreamingResponse(Response, _http.StreamingResponse):
    """A body produced piece by piece by an iterable or async iterable of bytes or text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from ._streams import pieces

        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        source = pieces(self.body_iterator)
        try:
            async for piece in source:
                data = piece.encode(self.charset) if isinstance(piece, str) else bytes(piece)
                await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            await source.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if self.background is not None:
            await self.background()


class EventSourceResponse(StreamingResponse):
    """A stream of server-sent events; use it as ``response_class`` of a handler that yields."""

    media_type = "text/event-stream"


class FileResponse(Response, _http.FileResponse):
    """A file, with ETag, Last-Modified and, behind ASGI, byte ranges.

    ``filename`` adds Content-Disposition of ``content_disposition_type``. RuntimeError when ``path`` is not
    a file.
    """

    chunk_size = 64 * 1024

    def __init__(
        self,
        path: str | os.PathLike[str],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: Any = None,
        filename: str | None = None,
        stat_result: os.stat_result | None = None,
        content_disposition_type: str = "attachment",
    ) -> None:
        if stat_result is None:
            try:
                stat_result = os.stat(path)
            except FileNotFoundError:
                raise RuntimeError(f"File at path {path} does not exist.") from None
        if not stat_module.S_ISREG(stat_result.st_mode):
            raise RuntimeError(f"File at path {path} is not a file.")
        if media_type is None:
            import mimetypes

            media_type = mimetypes.guess_type(filename or str(path))[0] or "text/plain"
        _http.FileResponse.__init__(
            self,
            path,
            status_code,
            headers,
            media_type,
            background,
            filename,
            stat_result,
            content_disposition_type,
        )
        self.headers.setdefault("accept-ranges", "bytes")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        size = self.stat_result.st_size
        request_headers = {name.lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        start, end, status = 0, size, self.status_code
        wanted = request_headers.get(b"range")
        condition = request_headers.get(b"if-range")
        if wanted and condition in (None, self.headers["etag"], self.headers["last-modified"]):
            span = byte_range(wanted, size)
            if span == "unsatisfiable":
                self.headers["content-range"] = f"bytes */{size}"
                self.headers["content-length"] = "0"
                await send({"type": "http.response.start", "status": 416, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b""})
                return
            if isinstance(span, tuple):
                start, end = span
                status = 206
                self.headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
        self.headers["content-length"] = str(end - start)
        await send({"type": "http.response.start", "status": status, "headers": self.raw_headers})
        if scope.get("method") == "HEAD":
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._send_file(send, start, end)
        if self.background is not None:
            await self.background()

    async def _send_file(self, send: Send, start: int, end: int) -> None:
        file = await run_in_threadpool(open, self.path, "rb")
        try:
            await run_in_threadpool(file.seek, start)
            while True:
                data = await run_in_threadpool(file.read, min(self.chunk_size, end - start))
                start += len(data)
                more = bool(data) and start < end
                await send({"type": "http.response.body", "body": data, "more_body": more})
                if not more:
                    return
        finally:
            await run_in_threadpool(file.close)


def byte_range(header: str, size: int) -> tuple[int, int] | str | None:
    """Read a Range header against a file of ``size`` bytes.

    Return ``(start, end)`` with an exclusive end, "unsatisfiable", or None when the header is to be ignored:
    malformed, another unit, or several ranges (RFC 9110 section 14.2 lets a server ignore Range).
    """
    unit, equals, spec = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals or "," in spec:
        return None
    first, dash, last = spec.strip().partition("-")
    if not dash or not all((part.isascii() and part.isdigit()) or not part for part in (first, last)):
        return None
    if not first:
        if not last:
            return None
        start = max(size - int(last), 0)
        return (start, size) if int(last) and size else "unsatisfiable"
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    return (start, end) if start < size else "unsatisfiable"


__all__ = [
    "EventSourceResponse",
    "FileResponse",
    "HTMLResponse",
    "JSONResponse",
    "ORJSONResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "Response",
    "StreamingResponse",
    "UJSONResponse",
]
