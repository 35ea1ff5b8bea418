"""From an application to the native server: routes with their plans, or the whole application behind ASGI.

Middleware wraps everything, so an application with middleware runs through ``App.__call__``; so does one
whose routes the native router could not try in their order of registration. Answers are the same either way.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import fasterapi_http as _http

from . import applications
from ._cleanup import CleanupStack
from ._mcp import MCPRoute
from ._native_request import NativeRequest
from ._plan import NotNative, Plan, UseSlowLane, compile_route, hand_over, response_spec
from ._route import APIRoute, APIWebSocketRoute, BaseRoute
from ._serialize import forget_models
from .concurrency import run_in_threadpool
from .exception_handlers import http_exception_handler
from .middleware.exceptions import call_handler, find_handler, server_error
from .requests import SyncRequest
from .responses import JSONResponse, Response
from .routing import Mount, Route, WebSocketRoute

if TYPE_CHECKING:
    from .applications import App

logger = logging.getLogger("fasterapi")
Report = Callable[[Any, BaseException], None]


def runs_native(app: App) -> bool:
    """Say whether the routes of ``app`` can be given to the native router one by one."""
    if app.user_middleware:
        return False
    behind: list[BaseRoute] = []  # what only the ASGI side can serve, and therefore after every native route
    for route in app.routes:
        if isinstance(route, APIRoute) or (isinstance(route, Route) and route.is_function):
            if any(_may_hide(earlier, route) for earlier in behind):
                return False
        elif isinstance(route, Mount):
            behind.append(route)
        elif isinstance(route, MCPRoute | WebSocketRoute | APIWebSocketRoute):
            continue
        else:
            return False
    return True  # handshakes never meet the native routes: the server hands them to the application


def _may_hide(earlier: BaseRoute, route: Any) -> bool:
    """Say whether a mount registered before a route might also take the route's requests."""
    if not isinstance(earlier, Mount):
        return False
    first, other = _first_segment(earlier.path), _first_segment(route.path)
    return not first or "{" in first or "{" in other or first == other


def _first_segment(path: str) -> str:
    return path.strip("/").split("/")[0]


def build_server(app: App, *, report: Report | None = None, **options: Any) -> Any:
    """Return a ``fasterapi_http.Server`` with everything of ``app``, ready to start."""
    forget_models()
    app.tools.add_route_tools()
    lane = NativeLane(app, report or _log_error)
    native = runs_native(app)
    asgi = app if not native or lane.needs_asgi else None
    server = _http.Server(
        on_error=lane.report,
        asgi=asgi,
        websocket=app,
        redirect_slashes=app.router.redirect_slashes,
        **options,
    )
    server.app = app
    if native:
        server.set_exception_handler(lane.on_exception)
        lane.add_routes(server)
    app.tools.add_to(server, native)
    app.plans = lane.plans
    app.overrides_changed()
    return server


def _log_error(request: Any, exc: BaseException) -> None:
    where = f"{request.method} {request.path}" if request is not None else "a background task"
    logging.getLogger("fasterapi.error").error("Exception in %s", where, exc_info=exc)


class NativeLane:
    """Binds one application's routes and exception handlers to a native server."""

    def __init__(self, app: App, report: Report) -> None:
        self.app = app
        self.report = report
        self.plans: list[Plan] = []
        self.handlers = app.handled
        self.needs_asgi = any(isinstance(route, Mount) for route in app.routes)

    # -- routes

    def add_routes(self, server: Any) -> None:
        """Add every route in its order."""
        for route in self.app.routes:
            if isinstance(route, APIRoute):
                self._add_api_route(server, route)
            elif isinstance(route, Route):
                self._add_plain_route(server, route)

    def _add_api_route(self, server: Any, route: APIRoute) -> None:
        methods = sorted(route.methods)
        slow = self.slow(route)
        limit = route.options.max_body_size
        try:
            plan = compile_route(route)
        except NotNative as reason:
            logger.debug("%s %s runs on the complete resolver: %s", "/".join(methods), route.path, reason)
            request_arg = [("request", None, None, True, None)]
            spec, _ = response_spec(route)
            server.add_route(
                methods,
                route.path,
                slow,
                mode="async",
                args=request_arg,
                response=spec,
                slow=slow,
                max_body=limit,
                stream_body=True,
                name=route.name,
            )
            return
        self.plans.append(plan)
        takes_body = any(source in ("body_json", "body_bytes") for source, *_ in plan.args)
        server.add_route(
            methods,
            route.path,
            plan.endpoint,
            mode=plan.mode,
            args=plan.args,
            response=plan.response,
            slow=slow,
            max_body=limit,
            stream_body=plan.mode == "async" and not takes_body,
            name=route.name,
        )

    def _add_plain_route(self, server: Any, route: Route) -> None:
        endpoint = route.endpoint
        methods = sorted(route.methods or {"GET", "HEAD"})
        if endpoint is applications.openapi_route:
            arg = ("header", "if-none-match", "str", False, None)
            server.add_route(methods, route.path, self._openapi, mode="inline", args=[arg])
            return
        import inspect

        is_async = inspect.iscoroutinefunction(endpoint)

        async def handle(native: Any) -> Any:
            request = NativeRequest(native)
            if is_async:
                return await endpoint(request)
            return await run_in_threadpool(endpoint, request)

        server.add_route(
            methods,
            route.path,
            handle,
            mode="async",
            args=[("request", None, None, True, None)],
            stream_body=True,
        )

    def _openapi(self, known: str | None) -> Response:
        return self.app.openapi_response(known)

    def slow(self, route: APIRoute) -> Callable[[Any], Awaitable[Response]]:
        """Return the complete implementation of a route."""
        handler = route.get_route_handler()
        needs_sync = route.seed and route.dependant.kind == "sync"

        async def respond(native: Any) -> Response:
            cleanup = CleanupStack()
            request: Any = NativeRequest(native, cleanup)
            request.route = route
            if needs_sync:
                body = await request.body()
                request = SyncRequest(request.scope)
                request.__dict__["_body"] = body
            try:
                response = await handler(request)
            except BaseException as exc:
                error = await cleanup.unwind(exc)
                if error is exc:
                    raise
                raise error from exc
            return hand_over(response, cleanup)  # type: ignore[no-any-return]

        return respond

    # -- exceptions

    def on_exception(self, native: Any, exc: BaseException) -> Any:
        """Return the response to an exception, or an awaitable of it."""
        if type(exc) is UseSlowLane:
            return self._run_slow(native, exc.route)
        handler = find_handler(self.handlers, exc)
        if handler is http_exception_handler and not exc.headers:  # type: ignore[attr-defined]
            status: int = exc.status_code  # type: ignore[attr-defined]
            if status >= 200 and status not in (204, 205, 304):
                return JSONResponse({"detail": exc.detail}, status)  # type: ignore[attr-defined]
        if handler is not None:
            return self._handled(handler, native, exc)
        if not isinstance(exc, Exception):
            raise exc
        self.report(native, exc)
        return server_error(NativeRequest(native), exc, self.app.error_handler, self.app.debug)

    async def _handled(self, handler: Callable[[Any, Any], Any], native: Any, exc: BaseException) -> Any:
        try:
            return await call_handler(handler, NativeRequest(native), exc)
        except Exception as error:
            self.report(native, error)
            return await server_error(NativeRequest(native), error, self.app.error_handler, self.app.debug)

    async def _run_slow(self, native: Any, route: APIRoute) -> Any:
        try:
            return await self.slow(route)(native)
        except Exception as exc:
            answer = self.on_exception(native, exc)
            return answer if isinstance(answer, _http.Response) else await answer
