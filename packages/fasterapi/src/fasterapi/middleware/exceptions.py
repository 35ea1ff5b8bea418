"""The two layers that turn exceptions into responses: outermost for errors, innermost for what has a
handler.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..concurrency import run_in_threadpool
from ..exceptions import HTTPException, WebSocketException
from ..requests import Request
from ..responses import HTMLResponse, PlainTextResponse, Response
from ..types import ASGIApp, Message, Receive, Scope, Send
from ..websockets import WebSocket

Handlers = Mapping[Any, Callable[[Any, Any], Any]]


def find_handler(handlers: Handlers, exc: BaseException) -> Callable[[Any, Any], Any] | None:
    """Return the handler of a status code, else that of the nearest class in the exception's ancestry."""
    status = getattr(exc, "status_code", None)
    if isinstance(status, int) and status in handlers and _is_http(exc):
        return handlers[status]
    for kind in type(exc).__mro__:
        if kind in handlers:
            return handlers[kind]
    return None


def _is_http(exc: BaseException) -> bool:
    import fasterapi_http

    return isinstance(exc, fasterapi_http.HTTPException)


async def call_handler(handler: Callable[[Any, Any], Any], connection: Any, exc: Any) -> Any:
    """Call a handler, in the thread pool when it is not a coroutine function."""
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
        getattr(handler, "__call__", None)  # noqa: B004
    ):
        return await handler(connection, exc)
    result = await run_in_threadpool(handler, connection, exc)
    return await result if inspect.isawaitable(result) else result


class ExceptionMiddleware:
    """Innermost layer: exceptions with a handler become that handler's response."""

    def __init__(self, app: ASGIApp, handlers: Handlers | None = None, debug: bool = False) -> None:
        self.app = app
        self.debug = debug
        self.handlers: dict[Any, Any] = {HTTPException: _plain_http, WebSocketException: _close_websocket}
        self.handlers.update(handlers or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        started = False

        async def tracking_send(message: Message) -> None:
            nonlocal started
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                started = True
            await send(message)

        try:
            await self.app(scope, receive, tracking_send)
        except Exception as exc:
            handler = find_handler(self.handlers, exc)
            if handler is None:
                raise
            if started:
                raise RuntimeError("Caught handled exception, but response already started.") from exc
            connection: Any
            if scope["type"] == "websocket":
                connection = WebSocket(scope, receive, tracking_send)
            else:
                connection = Request(scope, receive, send)
            response = await call_handler(handler, connection, exc)
            if response is not None:  # handlers of WebSockets may have closed it themselves
                await response(scope, receive, tracking_send)


async def _plain_http(request: Any, exc: HTTPException) -> Response:
    return PlainTextResponse(str(exc.detail), status_code=exc.status_code, headers=exc.headers)


async def _close_websocket(websocket: WebSocket, exc: WebSocketException) -> None:
    await websocket.close(code=exc.code, reason=exc.reason)


class ServerErrorMiddleware:
    """Outermost layer: what nobody handled is answered with 500 and raised again for the server's log."""

    def __init__(
        self, app: ASGIApp, handler: Callable[[Any, Any], Any] | None = None, debug: bool = False
    ) -> None:
        self.app = app
        self.handler = handler
        self.debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def tracking_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
            await send(message)

        try:
            await self.app(scope, receive, tracking_send)
        except Exception as exc:
            if not started:
                response = await server_error(Request(scope), exc, self.handler, self.debug)
                await response(scope, receive, send)
            raise


async def server_error(
    request: Any, exc: Exception, handler: Callable[[Any, Any], Any] | None, debug: bool
) -> Response:
    """Return the response for an unhandled exception."""
    if debug:
        return debug_page(request, exc)
    if handler is None:
        return PlainTextResponse("Internal Server Error", status_code=500)
    response: Response = await call_handler(handler, request, exc)
    return response


def debug_page(request: Any, exc: Exception) -> Response:
    """Return the traceback as a page, or as text for clients that do not ask for HTML."""
    import html
    import traceback

    text = "".join(traceback.format_exception(exc))
    if "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse(text, status_code=500)
    title = html.escape(f"{type(exc).__name__}: {exc}")
    page = (
        f"<!doctype html><meta charset=utf-8><title>{title}</title><body style='font:15px system-ui;margin:2rem'>"
        f"<h1 style='font-size:1.3rem'>{title}</h1><p>{html.escape(request.method)} {html.escape(str(request.url))}</p>"
        f"<pre style='background:#f5f5f5;padding:1rem;overflow:auto'>{html.escape(text)}</pre>"
    )
    return HTMLResponse(page, status_code=500)


__all__ = ["ExceptionMiddleware", "ServerErrorMiddleware"]
