"""``BaseHTTPMiddleware``: middleware as a function of request and ``call_next``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from ..requests import Request
from ..responses import Response, StreamingResponse
from ..types import ASGIApp, Message, Receive, Scope, Send

CallNext = Callable[[Request], Awaitable[Response]]


class BaseHTTPMiddleware:
    """Calls ``dispatch(request, call_next)``; subclasses override it, or pass one in."""

    def __init__(
        self, app: ASGIApp, dispatch: Callable[[Request, CallNext], Awaitable[Response]] | None = None
    ) -> None:
        self.app = app
        self.dispatch_func = dispatch or self.dispatch

    async def dispatch(self, request: Request, call_next: CallNext) -> Response:
        """Answer the request, usually by way of ``await call_next(request)``."""
        raise NotImplementedError

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _ReplayingRequest(scope, receive, send)
        call = _Call(self.app, request)
        try:
            response = await self.dispatch_func(request, call)
            await response(scope, receive, send)
        finally:
            await call.close()


class _ReplayingRequest(Request):
    """Lets the application read the body although the middleware read it before."""

    _replayed = False

    async def replay(self) -> Message:
        """The receive channel handed to the application."""
        body = self.__dict__.get("_body")
        if body is not None and not self._replayed:
            self._replayed = True
            return {"type": "http.request", "body": body, "more_body": False}
        if self._stream_consumed and body is None and not self._replayed:
            self._replayed = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return await self._receive()


class _Call:
    """``call_next``: runs the rest of the application beside the middleware and hands over its messages."""

    def __init__(self, app: ASGIApp, request: _ReplayingRequest) -> None:
        self._app = app
        self._request = request
        self._messages: asyncio.Queue[Message] = asyncio.Queue(1)
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, request: Request) -> Response:
        self._task = asyncio.create_task(self._run(request.scope))
        start = await self._next()
        if start is None:
            await self._task  # raises what the application raised
            raise RuntimeError("No response returned.")
        response = _Passed(self._body(), status_code=start["status"])
        response.raw = list(start.get("headers", ()))
        for name, value in response.raw:
            response.headers.append(name.decode("latin-1"), value.decode("latin-1"))
        return response

    async def _run(self, scope: Scope) -> None:
        await self._app(scope, self._request.replay, self._messages.put)

    async def _next(self) -> Message | None:
        assert self._task is not None
        getter = asyncio.ensure_future(self._messages.get())
        done, _ = await asyncio.wait({getter, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if getter in done:
            return getter.result()
        getter.cancel()
        return self._messages.get_nowait() if not self._messages.empty() else None

    async def _body(self) -> AsyncIterator[bytes]:
        assert self._task is not None
        while True:
            message = await self._next()
            if message is None:
                break
            if message["type"] == "http.response.body":
                if message.get("body"):
                    yield message["body"]
                if not message.get("more_body", False):
                    break
        await self._task

    async def close(self) -> None:
        """Stop the application if the middleware did not wait for it."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


class _Passed(StreamingResponse):
    """A response that passes on what the application sends."""

    raw: list[Any]


__all__ = ["BaseHTTPMiddleware"]
