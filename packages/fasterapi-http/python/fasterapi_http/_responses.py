"""Responses that are more than a body: redirects, streams, files."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from ._http import Response, parse_ranges

Content = str | bytes | memoryview
Send = Callable[[dict[str, Any]], Awaitable[None]]
_END: Any = object()


class StreamWriter(Protocol):
    """What drives a streamed answer (native)."""

    @property
    def connected(self) -> bool: ...
    def write(self, data: Content, /) -> bool: ...
    def drained(self) -> Awaitable[None]: ...
    def finish(self) -> None: ...


class RedirectResponse(Response):
    """Sends the client elsewhere: 307 keeps the method, 303 makes it GET."""

    def __init__(
        self,
        url: str,
        status_code: int = 307,
        headers: Mapping[str, str] | None = None,
        background: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(b"", status_code, headers, background=background)
        self.headers["location"] = quote(str(url), safe=":/%#?=@[]!$&'()*+,;")


class StreamingResponse(Response):
    """An answer sent piece by piece from an (async) iterable of str or bytes.

    A plain iterable is advanced in a thread, so that it may block. The client sets the pace: at most about
    64 KiB wait for it. The iteration is cancelled when the client leaves.
    """

    def __init__(
        self,
        content: AsyncIterable[Content] | Iterable[Content],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(None, status_code, headers, media_type, background)
        self.body_iterator = content


class FileResponse(StreamingResponse):
    """A file, sent by the kernel from its page cache.

    Last-Modified, ETag and Accept-Ranges are sent; Range, If-Range and the other conditions of RFC 9110
    sections 13 and 14 are answered with 206, 304, 412 and 416. ``filename`` adds Content-Disposition of
    ``content_disposition_type``. Raises FileNotFoundError, or RuntimeError when ``path`` is not a regular file.
    """

    chunk_size = 64 * 1024
    max_ranges = 100
    _starlette = False  # its ways: no conditions, 400 for a malformed Range, 206 for HEAD

    def __init__(
        self,
        path: str | os.PathLike[str],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: Callable[[], Awaitable[object]] | None = None,
        filename: str | None = None,
        stat_result: os.stat_result | None = None,
        content_disposition_type: str = "attachment",
    ) -> None:
        from email.utils import formatdate
        from hashlib import md5
        from mimetypes import guess_type

        stat_result = stat_result or os.stat(path)
        if not stat.S_ISREG(stat_result.st_mode):
            raise RuntimeError(f"{os.fspath(path)!r} is not a regular file")
        if media_type is None:
            media_type = guess_type(filename or os.fspath(path))[0] or "application/octet-stream"
        # never iterated: the server and __call__ read the file themselves
        super().__init__((), status_code, headers, media_type, background)
        self.path = path
        self.filename = filename
        self.stat_result = stat_result
        own = self.headers
        own.setdefault("content-length", str(stat_result.st_size))
        own.setdefault("last-modified", formatdate(stat_result.st_mtime, usegmt=True))
        tag = md5(f"{stat_result.st_mtime}-{stat_result.st_size}".encode(), usedforsecurity=False)
        own.setdefault("etag", f'"{tag.hexdigest()}"')
        own.setdefault("accept-ranges", "bytes")
        if filename is not None:
            own.setdefault("content-disposition", content_disposition(content_disposition_type, filename))

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Answer as an ASGI application: ranges, but no other conditions."""
        method = scope.get("method", "GET")
        ranges = self._wanted_ranges(scope) if self.status_code == 200 and method in ("GET", "HEAD") else None
        size = self.stat_result.st_size
        if isinstance(ranges, str):
            headers = [(b"content-type", b"text/plain; charset=utf-8")]
            if ranges == "unsatisfiable":
                headers.append((b"content-range", b"bytes */%d" % size))
            status, body = (416, b"") if ranges == "unsatisfiable" else (400, b"Malformed range header.")
            headers.append((b"content-length", b"%d" % len(body)))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await self._send_ranges(send, ranges, size, method == "HEAD")
        if self.background is not None:
            await self.background()

    def _wanted_ranges(self, scope: Any) -> list[tuple[int, int]] | str | None:
        fields = {name.lower(): value for name, value in scope.get("headers", ())}
        condition = fields.get(b"if-range")
        if b"range" not in fields:
            return None
        if condition is not None:
            known = (self.headers["etag"], self.headers["last-modified"])
            if condition.startswith(b"W/") or condition.decode("latin-1") not in known:
                return None
        found = parse_ranges(fields[b"range"], self.stat_result.st_size, self.max_ranges)
        return None if found == "malformed" and not self._starlette else found

    async def _send_ranges(
        self, send: Send, ranges: list[tuple[int, int]] | None, size: int, head_only: bool
    ) -> None:
        headers = dict(self.raw_headers)
        extra = [pair for pair in self.raw_headers if pair[0] not in (b"content-length", b"content-type")]
        kind = headers.get(b"content-type", b"application/octet-stream")
        parts: list[tuple[bytes, int, int]] = [(b"", 0, size)]
        end = b""
        status = self.status_code or 200
        if ranges is not None:
            status = 206
            if len(ranges) == 1:
                parts = [(b"", *ranges[0])]
                extra.append((b"content-range", b"bytes %d-%d/%d" % (ranges[0][0], ranges[0][1] - 1, size)))
            else:
                boundary = os.urandom(13).hex().encode()
                parts = [
                    (
                        b"%s--%s\r\ncontent-type: %s\r\ncontent-range: bytes %d-%d/%d\r\n\r\n"
                        % (b"\r\n" if index else b"", boundary, kind, first, last - 1, size),
                        first,
                        last,
                    )
                    for index, (first, last) in enumerate(ranges)
                ]
                end = b"\r\n--%s--\r\n" % boundary
                kind = b"multipart/byteranges; boundary=" + boundary
        length = sum(len(head) + last - first for head, first, last in parts) + len(end)
        extra += [(b"content-type", kind), (b"content-length", b"%d" % length)]
        await send({"type": "http.response.start", "status": status, "headers": extra})
        if head_only:
            await send({"type": "http.response.body", "body": b""})
            return
        loop = asyncio.get_running_loop()
        file = await loop.run_in_executor(None, open, self.path, "rb")
        try:
            for head, first, last in parts:
                if head:
                    await send({"type": "http.response.body", "body": head, "more_body": True})
                await loop.run_in_executor(None, file.seek, first)
                while first < last:
                    data = await loop.run_in_executor(None, file.read, min(self.chunk_size, last - first))
                    if not data:
                        raise RuntimeError(f"File at path {self.path} is shorter than expected.")
                    first += len(data)
                    await send({"type": "http.response.body", "body": data, "more_body": True})
            await send({"type": "http.response.body", "body": end})
        finally:
            await loop.run_in_executor(None, file.close)


def content_disposition(kind: str, filename: str) -> str:
    """Return a Content-Disposition field (RFC 6266); what is not plain ASCII is written as RFC 8187 says."""
    encoded = quote(filename, safe="")
    return f'{kind}; filename="{filename}"' if encoded == filename else f"{kind}; filename*=utf-8''{encoded}"


async def drive_stream(writer: StreamWriter, response: StreamingResponse) -> None:
    """Send the pieces of a streamed response, waiting while the client is behind."""
    content: Any = response.body_iterator
    if hasattr(content, "__aiter__"):
        iterator = content.__aiter__()
        try:
            async for chunk in iterator:
                if not writer.write(chunk):
                    await writer.drained()
        finally:
            close = getattr(iterator, "aclose", None)
            if close is not None:
                await close()
        return
    loop = asyncio.get_running_loop()
    plain = iter(content)
    try:
        while (chunk := await loop.run_in_executor(None, next, plain, _END)) is not _END:
            if not writer.write(chunk):
                await writer.drained()
    finally:
        close = getattr(plain, "close", None)
        if close is not None:
            close()


async def send_as_asgi(self: Response, scope: Any, receive: Any, send: Send) -> None:
    """Lets a Response be returned where an ASGI application is expected."""
    await send(
        {"type": "http.response.start", "status": self.status_code or 200, "headers": self.raw_headers}
    )
    content: Any = self.body_iterator
    if content is None:
        await send({"type": "http.response.body", "body": self.body})
    else:
        if hasattr(content, "__aiter__"):
            async for chunk in content:
                await send({"type": "http.response.body", "body": _bytes(chunk), "more_body": True})
        else:
            loop = asyncio.get_running_loop()
            plain = iter(content)
            while (chunk := await loop.run_in_executor(None, next, plain, _END)) is not _END:
                await send({"type": "http.response.body", "body": _bytes(chunk), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    if self.background is not None:
        await self.background()


def _bytes(chunk: Content) -> bytes:
    return chunk.encode() if isinstance(chunk, str) else bytes(chunk)
