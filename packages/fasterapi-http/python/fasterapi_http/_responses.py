"""Responses that are more than a body: redirects, streams, files."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from ._http import Response

Content = str | bytes | memoryview
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
    """A file, read in a thread. Last-Modified and ETag are sent; Range is not supported yet.

    Raises FileNotFoundError, or RuntimeError when ``path`` is not a regular file.
    """

    chunk_size = 64 * 1024

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
        if not os.path.isfile(path):
            raise RuntimeError(f"{os.fspath(path)!r} is not a regular file")
        if media_type is None:
            media_type = guess_type(filename or os.fspath(path))[0] or "application/octet-stream"
        super().__init__(self._read(), status_code, headers, media_type, background)
        self.path = path
        self.filename = filename
        self.stat_result = stat_result
        own = self.headers
        own.setdefault("content-length", str(stat_result.st_size))
        own.setdefault("last-modified", formatdate(stat_result.st_mtime, usegmt=True))
        tag = md5(f"{stat_result.st_mtime}-{stat_result.st_size}".encode(), usedforsecurity=False)
        own.setdefault("etag", f'"{tag.hexdigest()}"')
        if filename is not None:
            plain = quote(filename)
            named = f'filename="{filename}"' if plain == filename else f"filename*=utf-8''{plain}"
            own.setdefault("content-disposition", f"{content_disposition_type}; {named}")

    async def _read(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        left = self.stat_result.st_size  # a file that grows meanwhile must not break the framing
        with await loop.run_in_executor(None, open, self.path, "rb") as file:
            while left > 0:
                chunk = await loop.run_in_executor(None, file.read, min(self.chunk_size, left))
                if not chunk:
                    break
                left -= len(chunk)
                yield chunk


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


Send = Callable[[dict[str, Any]], Awaitable[None]]


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
