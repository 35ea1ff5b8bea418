"""Responses: ``JSONResponse``, ``HTMLResponse``, ``StreamingResponse``, ``FileResponse`` and the rest.

They are the HTTP server's own response objects with Starlette's interface on top, so the native lane sends them as they are,
and each is also an ASGI application for everything that runs behind ASGI middleware.
"""

from __future__ import annotations

import email.utils
import hashlib
import mimetypes
import os
import stat as stat_module
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any
from urllib.parse import quote

import fasterapi_http as _http

from .concurrency import iterate_in_threadpool, run_in_threadpool
from .encoders import json_text
from .types import Receive, Scope, Send

_EMPTY_STATUS = frozenset({204, 205, 304})


class Response(_http.Response):
    """A response with a complete body.

    ``content`` is text or bytes (subclasses render other values), ``media_type`` becomes Content-Type unless ``headers`` has
    one, ``background`` is awaited after the response was sent.
    """

    media_type: str | None = None
    charset = "utf-8"

    def __init__(
        self,
        content: Any = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: Any = None,
    ) -> None:
        if media_type is None:
            media_type = type(self).media_type
        super().__init__(self.render(content), status_code, headers, self._full_type(media_type), background)

    def _full_type(self, media_type: str | None) -> str | None:
        if media_type and media_type.startswith("text/") and "charset=" not in media_type.lower():
            return f"{media_type}; charset={self.charset}"
        return media_type

    def render(self, content: Any) -> bytes:
        """Turn ``content`` into the body; subclasses override this."""
        if content is None:
            return b""
        if isinstance(content, bytes | memoryview | bytearray):
            return bytes(content)
        encoded: bytes = content.encode(self.charset)
        return encoded

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as they go to an ASGI server, Content-Length included."""
        pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        if not self._has_length(pairs):
            pairs.append((b"content-length", str(len(self.body)).encode()))
        return pairs

    def _has_length(self, pairs: list[tuple[bytes, bytes]]) -> bool:
        if self.status_code < 200 or self.status_code in (204, 304):
            return True
        return any(name in (b"content-length", b"transfer-encoding") for name, _ in pairs)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        prefix = "websocket." if scope["type"] == "websocket" else ""
        await send(
            {"type": f"{prefix}http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        await send({"type": f"{prefix}http.response.body", "body": bytes(self.body)})
        if self.background is not None:
            await self.background()


class HTMLResponse(Response):
    """An HTML page."""

    media_type = "text/html"


class PlainTextResponse(Response):
    """Plain text."""

    media_type = "text/plain"


class JSONResponse(Response):
    """``content`` as JSON; ValueError for NaN and infinity, TypeError for what JSON cannot say."""

    media_type = "application/json"

    def __init__(
        self,
        content: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: Any = None,
    ) -> None:
        super().__init__(content, status_code, headers, media_type, background)

    def render(self, content: Any) -> bytes:
        return json_text(content).encode("utf-8")


class ORJSONResponse(JSONResponse):
    """The same as JSONResponse; kept so that imports of existing programs work."""


class UJSONResponse(JSONResponse):
    """The same as JSONResponse; kept so that imports of existing programs work."""


class RedirectResponse(Response):
    """A redirect to ``url``."""

    def __init__(
        self,
        url: Any,
        status_code: int = 307,
        headers: Mapping[str, str] | None = None,
        background: Any = None,
    ) -> None:
        super().__init__(b"", status_code, headers, None, background)
        self.headers["location"] = quote(str(url), safe=":/%#?=@[]!$&'()*+,;")


class StreamingResponse(Response, _http.StreamingResponse):
    """A body produced piece by piece by an iterable or async iterable of bytes or text."""

    def __init__(
        self,
        content: Iterable[Any] | AsyncIterable[Any],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: Any = None,
    ) -> None:
        if media_type is None:
            media_type = type(self).media_type
        if isinstance(content, AsyncIterable):
            iterator: AsyncIterator[Any] = content.__aiter__()
        else:
            iterator = iterate_in_threadpool(content)
        _http.StreamingResponse.__init__(
            self, iterator, status_code, headers, self._full_type(media_type), background
        )
        self._iterator = iterator

    def _has_length(self, pairs: list[tuple[bytes, bytes]]) -> bool:
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        try:
            async for piece in self._iterator:
                data = piece.encode(self.charset) if isinstance(piece, str) else bytes(piece)
                await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            close = getattr(self._iterator, "aclose", None)
            if close is not None:
                await close()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        if self.background is not None:
            await self.background()


class EventSourceResponse(StreamingResponse):
    """A stream of server-sent events; use it as ``response_class`` of a handler that yields."""

    media_type = "text/event-stream"


class FileResponse(Response, _http.FileResponse):
    """A file, with ETag, Last-Modified and byte ranges.

    ``filename`` adds Content-Disposition of ``content_disposition_type``. RuntimeError at sending time when ``path`` is not
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
        if media_type is None:
            media_type = type(self).media_type or mimetypes.guess_type(filename or str(path))[0] or "text/plain"
        headers = dict(headers or {})
        if filename is not None:
            encoded = quote(filename)
            name = f'filename="{filename}"' if encoded == filename else f"filename*=utf-8''{encoded}"
            headers.setdefault("content-disposition", f"{content_disposition_type}; {name}")
        _http.FileResponse.__init__(self, path, status_code, headers, self._full_type(media_type), background)
        self.stat_result = stat_result

    def _has_length(self, pairs: list[tuple[bytes, bytes]]) -> bool:
        return True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stat = self.stat_result
        if stat is None:
            try:
                stat = await run_in_threadpool(os.stat, self.path)
            except FileNotFoundError:
                raise RuntimeError(f"File at path {self.path} does not exist.") from None
            if not stat_module.S_ISREG(stat.st_mode):
                raise RuntimeError(f"File at path {self.path} is not a file.")
        tag = hashlib.md5(f"{stat.st_mtime}-{stat.st_size}".encode(), usedforsecurity=False).hexdigest()
        modified = email.utils.formatdate(stat.st_mtime, usegmt=True)
        self.headers.setdefault("accept-ranges", "bytes")
        self.headers.setdefault("etag", f'"{tag}"')
        self.headers.setdefault("last-modified", modified)
        request_headers = {name.lower(): value.decode("latin-1") for name, value in scope.get("headers", ())}
        start, end, status = 0, stat.st_size, self.status_code
        wanted = request_headers.get(b"range")
        condition = request_headers.get(b"if-range")
        if wanted and condition in (None, self.headers["etag"], self.headers["last-modified"]):
            span = byte_range(wanted, stat.st_size)
            if span == "unsatisfiable":
                self.headers["content-range"] = f"bytes */{stat.st_size}"
                await send({"type": "http.response.start", "status": 416, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": b""})
                return
            if isinstance(span, tuple):
                start, end = span
                status = 206
                self.headers["content-range"] = f"bytes {start}-{end - 1}/{stat.st_size}"
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

    Return ``(start, end)`` with an exclusive end, "unsatisfiable", or None when the header is to be ignored: malformed, another
    unit, or several ranges (RFC 9110 section 14.2 lets a server ignore Range).
    """
    unit, equals, spec = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals or "," in spec:
        return None
    first, dash, last = spec.strip().partition("-")
    if not dash or not all(part.isascii() and part.isdigit() or not part for part in (first, last)):
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
