"""Responses: ``JSONResponse``, ``HTMLResponse``, ``StreamingResponse``, ``FileResponse`` and the rest.

They are the HTTP server's own response objects with Starlette's interface on top, so the native lane sends
them as they are, and each is also an ASGI application for everything that runs behind ASGI middleware.
"""

from __future__ import annotations

import asyncio
import os
import stat as stat_module
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import fasterapi_http as _http

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
        await self._stream(
            "websocket.http.response" if scope["type"] == "websocket" else "http.response", send
        )
        if self.background is not None:
            await self.background()

    async def _stream(self, kind: str, send: Send) -> None:
        from ._streams import pieces

        await send({"type": f"{kind}.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(pieces(self.body_iterator)) as source:
            async for piece in source:
                data = piece.encode(self.charset) if isinstance(piece, str) else bytes(piece)
                await send({"type": f"{kind}.body", "body": data, "more_body": True})
        await send({"type": f"{kind}.body", "body": b"", "more_body": False})


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventSourceResponse(StreamingResponse):
    """A stream of server-sent events; use it as ``response_class`` of a handler that yields."""

    media_type = "text/event-stream"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        # Such streams are idle most of the time: that the client has left is heard, not found out by sending.
        stream = asyncio.ensure_future(self._stream("http.response", send))
        watch = asyncio.ensure_future(_client_left(receive))
        try:
            await asyncio.wait({stream, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            watch.cancel()
            if not stream.done():
                stream.cancel()
            await asyncio.wait({stream, watch})
        if not stream.cancelled():
            stream.result()
        if self.background is not None:
            await self.background()


class FileResponse(Response, _http.FileResponse):
    """A file, with ETag, Last-Modified and byte ranges.

    ``filename`` adds Content-Disposition of ``content_disposition_type``. RuntimeError when ``path`` is not
    a file.
    """

    _starlette = True

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

    __call__ = _http.FileResponse.__call__


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
