"""Routers: ``APIRouter`` for handlers, ``Mount`` for whole ASGI applications."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from ._options import LayerOptions, RouteOptions
from ._paths import NoMatchFound, PathTemplate, path_of
from ._route import APIRoute, APIWebSocketRoute, BaseRoute, Match
from ._verbs import Verbs
from .concurrency import run_in_threadpool
from .datastructures import URLPath
from .exceptions import HTTPException
from .requests import Request
from .responses import PlainTextResponse, RedirectResponse
from .types import ASGIApp, DecoratedCallable, Lifespan, Receive, Scope, Send
from .websockets import WebSocket


class Route(BaseRoute):
    """A path handled by a plain ``endpoint(request) -> Response`` or an ASGI application; no signature
    analysis.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        methods: Sequence[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
    ) -> None:
        assert path.startswith("/"), "Routed paths must start with '/'"
        self.path = path
        self.endpoint = endpoint
        self.name = name or getattr(endpoint, "__name__", type(endpoint).__name__)
        self.include_in_schema = include_in_schema
        self.template = PathTemplate(path)
        target: Any = endpoint
        while isinstance(target, functools.partial):
            target = target.func
        self.is_function = inspect.isfunction(target) or inspect.ismethod(target)
        self.methods: set[str] | None = None
        if methods is not None or self.is_function:
            self.methods = {method.upper() for method in (methods or ["GET"])}
            if "GET" in self.methods:
                self.methods.add("HEAD")

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        found = self.template.match(path_of(scope))
        if found is None:
            return Match.NONE, {}
        child = {
            "endpoint": self.endpoint,
            "route": self,
            "path_params": {**scope.get("path_params", {}), **found},
        }
        fits = self.methods is None or scope["method"] in self.methods
        return (Match.FULL if fits else Match.PARTIAL), child

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        if name != self.name:
            raise NoMatchFound(name, path_params)
        return URLPath(self.template.build(name, path_params), protocol="http")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.methods is not None and scope["method"] not in self.methods:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self.methods))})
        if not self.is_function:
            await self.endpoint(scope, receive, send)
            return
        request = Request(scope, receive, send)
        if inspect.iscoroutinefunction(self.endpoint):
            response = await self.endpoint(request)
        else:
            response = await run_in_threadpool(self.endpoint, request)
        await response(scope, receive, send)


class WebSocketRoute(BaseRoute):
    """A path handled by a plain ``endpoint(websocket)``."""

    def __init__(self, path: str, endpoint: Callable[..., Any], *, name: str | None = None) -> None:
        self.path = path
        self.endpoint = endpoint
        self.name = name or getattr(endpoint, "__name__", type(endpoint).__name__)
        self.template = PathTemplate(path)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "websocket":
            return Match.NONE, {}
        found = self.template.match(path_of(scope))
        if found is None:
            return Match.NONE, {}
        params = {**scope.get("path_params", {}), **found}
        return Match.FULL, {"endpoint": self.endpoint, "route": self, "path_params": params}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        if name != self.name:
            raise NoMatchFound(name, path_params)
        return URLPath(self.template.build(name, path_params), protocol="websocket")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.endpoint(WebSocket(scope, receive, send))


class Mount(BaseRoute):
    """An ASGI application, or a list of routes, below a path prefix."""

    def __init__(
        self,
        path: str,
        app: ASGIApp | None = None,
        routes: Sequence[BaseRoute] | None = None,
        name: str | None = None,
    ) -> None:
        assert path == "" or path.startswith("/"), "Routed paths must start with '/'"
        assert app is not None or routes is not None, "Either 'app=...', or 'routes=' must be specified"
        self.path = path.rstrip("/")
        self.app: ASGIApp = app if app is not None else APIRouter(routes=routes)
        self.name = name or ""
        self.template = PathTemplate(self.path + "/{path:path}")

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes of the mounted application, if it has any."""
        return list(getattr(self.app, "routes", []))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] not in ("http", "websocket"):
            return Match.NONE, {}
        path = path_of(scope)
        found = self.template.match(path)
        if found is None:
            return Match.NONE, {}
        rest = found.pop("path")
        matched = path[: len(path) - len(rest) - 1] if rest else path.rstrip("/")
        root = scope.get("root_path", "")
        return Match.FULL, {
            "path_params": {**scope.get("path_params", {}), **found},
            "app_root_path": scope.get("app_root_path", root),
            "root_path": root + matched,
            "endpoint": self.app,
        }

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        if self.name and name == self.name and "path" in path_params:
            path_params["path"] = path_params["path"].lstrip("/")
            return URLPath(self.template.build(name, path_params))
        if not self.name or name.startswith(self.name + ":"):
            inner = name[len(self.name) + 1 :] if self.name else name
            prefix_names = set(self.template.convertors) - {"path"}
            own = {key: value for key, value in path_params.items() if key in prefix_names}
            rest = {key: value for key, value in path_params.items() if key not in prefix_names}
            prefix = self.template.build(name, {**own, "path": ""}).rstrip("/")
            for route in self.routes:
                try:
                    found = route.url_path_for(inner, **rest)
                except NoMatchFound:
                    continue
                return URLPath(prefix + str(found), protocol=found.protocol)
        raise NoMatchFound(name, path_params)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class _Include:
    """A router inside another one; its routes are looked up when needed, so later additions count."""

    def __init__(self, router: APIRouter, prefix: str, layer: LayerOptions) -> None:
        self.router = router
        self.prefix = prefix
        self.layer = layer
        self._made: dict[int, tuple[BaseRoute, BaseRoute]] = {}

    def expand(self, outer: APIRouter) -> Iterator[BaseRoute]:
        for route in self.router.routes:
            known = self._made.get(id(route))
            if known is None or known[0] is not route:
                known = self._made[id(route)] = (route, self._inside(route, outer))
            yield known[1]

    def _inside(self, route: BaseRoute, outer: APIRouter) -> BaseRoute:
        prefix = outer.prefix + self.prefix
        if isinstance(route, APIRoute):
            options = route.options.under(_including(self.layer, self.router)).under(outer.layer)
            return type(route)(
                prefix + route.path,
                route.endpoint,
                methods=route.methods,
                options=options,
                overrides_provider=outer.overrides_provider,
            )
        if isinstance(route, APIWebSocketRoute):
            dependencies = [
                *(outer.layer.dependencies or ()),
                *(self.layer.dependencies or ()),
                *route.dependencies,
            ]
            return APIWebSocketRoute(
                prefix + route.path,
                route.endpoint,
                name=route.name,
                dependencies=dependencies,
                overrides_provider=outer.overrides_provider,
            )
        if isinstance(route, Route):
            methods = sorted(route.methods) if route.methods is not None else None
            return Route(prefix + route.path, route.endpoint, methods=methods, name=route.name)
        if isinstance(route, WebSocketRoute):
            return WebSocketRoute(prefix + route.path, route.endpoint, name=route.name)
        if isinstance(route, Mount):
            return Mount(prefix + route.path, app=route.app, name=route.name)
        return route


def _including(layer: LayerOptions, router: APIRouter) -> LayerOptions:
    """The include's options; the included router's response class counts before the include's (its routes
    have the rest).
    """
    import dataclasses

    from .datastructures import first_given

    return dataclasses.replace(
        layer,
        default_response_class=first_given(router.layer.default_response_class, layer.default_response_class),
        generate_unique_id_function=first_given(
            router.layer.generate_unique_id_function, layer.generate_unique_id_function
        ),
    )


class APIRouter(Verbs):
    """A group of routes with a common prefix, tags, dependencies and responses; include it in an app or
    another router.
    """

    def __init__(
        self,
        *,
        prefix: str = "",
        routes: Sequence[BaseRoute] | None = None,
        redirect_slashes: bool = True,
        default: ASGIApp | None = None,
        dependency_overrides_provider: Any = None,
        route_class: type[APIRoute] = APIRoute,
        on_startup: Sequence[Callable[[], Any]] | None = None,
        on_shutdown: Sequence[Callable[[], Any]] | None = None,
        lifespan: Lifespan | None = None,
        **layer: Any,
    ) -> None:
        if prefix:
            assert prefix.startswith("/"), "A path prefix must start with '/'"
            assert not prefix.endswith("/"), (
                "A path prefix must not end with '/', as the routes will start with '/'"
            )
        self.prefix = prefix
        self.layer = LayerOptions(**layer)
        self.redirect_slashes = redirect_slashes
        self.default: ASGIApp = default or self.not_found
        self.overrides_provider = dependency_overrides_provider
        self.route_class = route_class
        self.on_startup = list(on_startup or ())
        self.on_shutdown = list(on_shutdown or ())
        self.own_lifespan = lifespan
        self._entries: list[BaseRoute | _Include] = list(routes or ())

    @property
    def routes(self) -> list[BaseRoute]:
        """Every route in the order of registration, those of included routers in place."""
        flat: list[BaseRoute] = []
        for entry in self._entries:
            if isinstance(entry, _Include):
                flat.extend(entry.expand(self))
            else:
                flat.append(entry)
        return flat

    def add_entry(self, route: BaseRoute) -> None:
        """Append a route object of any kind."""
        self._entries.append(route)

    @property
    def dependencies(self) -> list[Any]:
        """The dependencies of every route in this router."""
        return list(self.layer.dependencies or ())

    @property
    def tags(self) -> list[Any]:
        """The tags of every route in this router."""
        return list(self.layer.tags or ())

    def add_api_route(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        methods: Sequence[str] | set[str] | None = None,
        route_class_override: type[APIRoute] | None = None,
        **options: Any,
    ) -> None:
        """Add a route; ``options`` are those of ``get``."""
        route_class = route_class_override or self.route_class
        merged = RouteOptions(**options).under(self.layer)
        self._entries.append(
            route_class(
                self.prefix + path,
                endpoint,
                methods=methods,
                options=merged,
                overrides_provider=self.overrides_provider,
            )
        )

    def add_api_websocket_route(
        self,
        path: str,
        endpoint: Callable[..., Any],
        name: str | None = None,
        *,
        dependencies: Sequence[Any] | None = None,
    ) -> None:
        """Add a WebSocket route with parameters and dependencies."""
        self._entries.append(
            APIWebSocketRoute(
                self.prefix + path,
                endpoint,
                name=name,
                dependencies=[*self.dependencies, *(dependencies or ())],
                overrides_provider=self.overrides_provider,
            )
        )

    def add_route(
        self,
        path: str,
        endpoint: Callable[..., Any],
        methods: Sequence[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
    ) -> None:
        """Add a plain ``endpoint(request) -> Response``."""
        self._entries.append(
            Route(
                self.prefix + path, endpoint, methods=methods, name=name, include_in_schema=include_in_schema
            )
        )

    def add_websocket_route(self, path: str, endpoint: Callable[..., Any], name: str | None = None) -> None:
        """Add a plain ``endpoint(websocket)``."""
        self._entries.append(WebSocketRoute(self.prefix + path, endpoint, name=name))

    def route(
        self,
        path: str,
        methods: Sequence[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Decorate a plain ``endpoint(request) -> Response``."""

        def decorate(func: DecoratedCallable) -> DecoratedCallable:
            self.add_route(path, func, methods, name, include_in_schema)
            return func

        return decorate

    def websocket(
        self, path: str, name: str | None = None, *, dependencies: Sequence[Any] | None = None
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Decorate a WebSocket handler."""

        def decorate(func: DecoratedCallable) -> DecoratedCallable:
            self.add_api_websocket_route(path, func, name, dependencies=dependencies)
            return func

        return decorate

    def websocket_route(
        self, path: str, name: str | None = None
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Decorate a plain ``endpoint(websocket)``."""

        def decorate(func: DecoratedCallable) -> DecoratedCallable:
            self.add_websocket_route(path, func, name)
            return func

        return decorate

    def mount(self, path: str, app: ASGIApp, name: str | None = None) -> None:
        """Mount an ASGI application below ``path``."""
        self._entries.append(Mount(self.prefix + path, app=app, name=name))

    def include_router(self, router: APIRouter, *, prefix: str = "", **layer: Any) -> None:
        """Include another router; routes added to it later count too.

        ``layer`` takes tags, dependencies, responses, deprecated, include_in_schema, default_response_class,
        callbacks and generate_unique_id_function, which are added to those of the router.
        """
        assert router is not self, "Cannot include the same APIRouter instance into itself."
        assert not router._contains(self), "Cannot include a router that contains this one."
        if prefix:
            assert prefix.startswith("/"), "A path prefix must start with '/'"
            assert not prefix.endswith("/"), (
                "A path prefix must not end with '/', as the routes will start with '/'"
            )
        else:
            for route in router.routes:
                if getattr(route, "path", None) == "":
                    raise AssertionError("Prefix and path cannot be both empty")
        self._entries.append(_Include(router, prefix, LayerOptions(**layer)))
        self.on_startup.extend(router.on_startup)
        self.on_shutdown.extend(router.on_shutdown)

    def _contains(self, router: APIRouter) -> bool:
        return any(
            isinstance(entry, _Include) and (entry.router is router or entry.router._contains(router))
            for entry in self._entries
        )

    def add_event_handler(self, event_type: str, func: Callable[[], Any]) -> None:
        """Call ``func`` at "startup" or "shutdown"."""
        assert event_type in ("startup", "shutdown")
        (self.on_startup if event_type == "startup" else self.on_shutdown).append(func)

    def on_event(self, event_type: str) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Decorate a function to be called at "startup" or "shutdown"."""

        def decorate(func: DecoratedCallable) -> DecoratedCallable:
            self.add_event_handler(event_type, func)
            return func

        return decorate

    # -- lifespan

    def _lifespans(self) -> list[Lifespan]:
        found = [self.own_lifespan] if self.own_lifespan is not None else []
        for entry in self._entries:
            if isinstance(entry, _Include):
                found.extend(entry.router._lifespans())
        return found

    @asynccontextmanager
    async def lifespan_context(self, app: Any) -> Any:
        """Run the lifespans of this router and all included ones; yields the state they yielded, merged."""
        state: dict[str, Any] = {}
        async with AsyncExitStack() as stack:
            for lifespan in self._lifespans():
                context = _as_context(lifespan)(app)
                yielded = await stack.enter_async_context(context)
                if yielded is not None:
                    state.update(yielded)
            for handler in self.on_startup:
                await _call_event(handler)
            try:
                yield state
            finally:
                for handler in self.on_shutdown:
                    await _call_event(handler)

    # -- ASGI

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Return the path of the route ``name``; NoMatchFound when none fits."""
        for route in self.routes:
            try:
                return route.url_path_for(name, **path_params)
            except NoMatchFound:
                continue
        raise NoMatchFound(name, path_params)

    async def not_found(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer for what no route takes."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        if "app" in scope:
            raise HTTPException(404)
        await PlainTextResponse("Not Found", status_code=404)(scope, receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await run_lifespan(self.lifespan_context, scope, receive, send)
            return
        scope.setdefault("router", self)
        routes = self.routes
        partial: tuple[BaseRoute, Scope] | None = None
        for route in routes:
            match, child = route.matches(scope)
            if match is Match.FULL:
                scope.update(child)
                await route.handle(scope, receive, send)
                return
            if match is Match.PARTIAL and partial is None:
                partial = (route, child)
        if partial is not None:
            scope.update(partial[1])
            await partial[0].handle(scope, receive, send)
            return
        if scope["type"] == "http" and self.redirect_slashes and path_of(scope) != "/":
            other = dict(scope)
            path = cast(str, scope["path"])
            other["path"] = path.rstrip("/") if path.endswith("/") else path + "/"
            if any(route.matches(other)[0] is not Match.NONE for route in routes):
                from .datastructures import URL

                await RedirectResponse(str(URL(scope=other)))(scope, receive, send)
                return
        await self.default(scope, receive, send)


def _as_context(lifespan: Any) -> Any:
    """Accept lifespans without the decorator too: plain (async) generator functions."""
    if inspect.isasyncgenfunction(lifespan):
        return asynccontextmanager(lifespan)
    return lifespan


async def _call_event(handler: Callable[[], Any]) -> None:
    result = handler()
    if inspect.isawaitable(result):
        await result


async def run_lifespan(context: Callable[[Any], Any], scope: Scope, receive: Receive, send: Send) -> None:
    """Speak the ASGI lifespan protocol around a context manager."""
    import traceback

    started = False
    await receive()
    try:
        async with context(scope.get("app")) as state:
            if state:
                if "state" not in scope:
                    raise RuntimeError('The server does not support "state" in the lifespan scope.')
                scope["state"].update(state)
            await send({"type": "lifespan.startup.complete"})
            started = True
            await receive()
    except BaseException:
        kind = "shutdown" if started else "startup"
        await send({"type": f"lifespan.{kind}.failed", "message": traceback.format_exc()})
        raise
    await send({"type": "lifespan.shutdown.complete"})


__all__ = [
    "APIRoute",
    "APIRouter",
    "APIWebSocketRoute",
    "BaseRoute",
    "Match",
    "Mount",
    "NoMatchFound",
    "Route",
    "WebSocketRoute",
]
