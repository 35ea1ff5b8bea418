"""The application: routes, middleware, error handlers, OpenAPI and the server."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, cast

from . import _server
from ._mcp import ToolRegistry
from ._options import generate_unique_id
from ._overrides import Overrides
from ._plan import Plan
from ._route import BaseRoute
from ._verbs import Verbs
from .datastructures import Default, State, URLPath
from .encoders import json_text
from .exception_handlers import (
    http_exception_handler,
    request_validation_exception_handler,
    websocket_request_validation_exception_handler,
)
from .exceptions import HTTPException, RequestValidationError, WebSocketRequestValidationError
from .middleware import Middleware
from .middleware.base import BaseHTTPMiddleware
from .middleware.exceptions import ExceptionMiddleware, ServerErrorMiddleware
from .openapi.docs import docs_page, oauth2_redirect_page
from .params import Depends
from .responses import HTMLResponse, JSONResponse, Response
from .routing import APIRouter
from .types import ASGIApp, DecoratedCallable, Lifespan, Receive, Scope, Send


class App(Verbs):
    """A FasterAPI application; also importable as ``FastAPI``.

    The arguments are FastAPI's, with these of our own: ``inline=True`` runs every sync function on the event
    loop, ``mcp_options`` has the ``path`` of the MCP endpoint (/mcp) and the options of
    ``MCPServer.endpoint``. The object is an ASGI application; ``run()`` serves it with the native server.
    """

    def __init__(
        self,
        *,
        debug: bool = False,
        routes: list[BaseRoute] | None = None,
        title: str = "FastAPI",
        summary: str | None = None,
        description: str = "",
        version: str = "0.1.0",
        openapi_url: str | None = "/openapi.json",
        openapi_tags: list[dict[str, Any]] | None = None,
        servers: list[dict[str, Any]] | None = None,
        dependencies: Sequence[Depends] | None = None,
        default_response_class: Any = Default(JSONResponse),
        redirect_slashes: bool = True,
        docs_url: str | None = "/docs",
        redoc_url: str | None = "/redoc",
        swagger_ui_oauth2_redirect_url: str | None = "/docs/oauth2-redirect",
        swagger_ui_init_oauth: dict[str, Any] | None = None,
        middleware: Sequence[Middleware] | None = None,
        exception_handlers: dict[int | type[Exception], Callable[[Any, Any], Any]] | None = None,
        on_startup: Sequence[Callable[[], Any]] | None = None,
        on_shutdown: Sequence[Callable[[], Any]] | None = None,
        lifespan: Lifespan | None = None,
        terms_of_service: str | None = None,
        contact: dict[str, Any] | None = None,
        license_info: dict[str, Any] | None = None,
        root_path: str = "",
        root_path_in_servers: bool = True,
        responses: dict[int | str, dict[str, Any]] | None = None,
        callbacks: list[BaseRoute] | None = None,
        webhooks: APIRouter | None = None,
        deprecated: bool | None = None,
        include_in_schema: bool = True,
        swagger_ui_parameters: dict[str, Any] | None = None,
        generate_unique_id_function: Any = Default(generate_unique_id),
        separate_input_output_schemas: bool = True,
        openapi_external_docs: dict[str, Any] | None = None,
        strict_content_type: bool = True,
        max_body_size: int | None = None,
        form_limits: Any = None,
        inline: bool | None = None,
        mcp_options: dict[str, Any] | None = None,
        telemetry: Any = None,
        **extra: Any,
    ) -> None:
        self.debug = debug
        self.title = title
        self.summary = summary
        self.description = description
        self.version = version
        self.openapi_version = "3.1.0"
        self.openapi_url = openapi_url
        self.openapi_tags = openapi_tags
        self.servers = servers or []
        self.terms_of_service = terms_of_service
        self.contact = contact
        self.license_info = license_info
        self.root_path = root_path
        self.root_path_in_servers = root_path_in_servers
        self.docs_url = docs_url
        self.redoc_url = redoc_url
        self.swagger_ui_oauth2_redirect_url = swagger_ui_oauth2_redirect_url
        self.swagger_ui_init_oauth = swagger_ui_init_oauth
        self.swagger_ui_parameters = swagger_ui_parameters
        self.separate_input_output_schemas = separate_input_output_schemas
        self.openapi_external_docs = openapi_external_docs
        self.openapi_schema: dict[str, Any] | None = None
        self.webhooks = webhooks or APIRouter()
        self.extra = extra
        self.telemetry = telemetry
        self.state = State()
        self.lifespan_state: dict[str, Any] = {}
        self.test_peer: tuple[str, int] | None = None
        self.plans: list[Plan] = []
        self._overrides = Overrides(self.overrides_changed)
        self._document: tuple[dict[str, Any], bytes, str] | None = None
        self.user_middleware: list[Middleware] = list(middleware or ())
        self.middleware_stack: ASGIApp | None = None
        self.exception_handlers: dict[Any, Callable[[Any, Any], Any]] = {
            HTTPException: http_exception_handler,
            RequestValidationError: request_validation_exception_handler,
            WebSocketRequestValidationError: websocket_request_validation_exception_handler,
        }
        self.exception_handlers.update(exception_handlers or {})
        self.router = APIRouter(
            routes=routes,
            redirect_slashes=redirect_slashes,
            dependency_overrides_provider=self,
            on_startup=on_startup,
            on_shutdown=on_shutdown,
            lifespan=lifespan,
            default_response_class=default_response_class,
            dependencies=dependencies,
            callbacks=callbacks,
            deprecated=deprecated,
            include_in_schema=include_in_schema,
            responses=responses,
            generate_unique_id_function=generate_unique_id_function,
            strict_content_type=Default(strict_content_type) if strict_content_type else False,
            max_body_size=max_body_size,
            form_limits=form_limits,
            inline=inline,
        )
        self.tools = ToolRegistry(self, **(mcp_options or {}))
        self.setup()

    # -- documentation

    def setup(self) -> None:
        """Add the routes of the OpenAPI document and the documentation pages; called by the constructor."""
        if not self.openapi_url:
            return
        self.add_route(self.openapi_url, openapi_route, include_in_schema=False)
        if self.docs_url:
            self.add_route(self.docs_url, _docs_route, include_in_schema=False)
            if self.swagger_ui_oauth2_redirect_url:
                self.add_route(
                    self.swagger_ui_oauth2_redirect_url, _oauth2_redirect_route, include_in_schema=False
                )
        if self.redoc_url:
            self.add_route(self.redoc_url, _docs_route, include_in_schema=False)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI 3.1 document; it is built once and cached in ``openapi_schema``."""
        if self.openapi_schema is None:
            from .openapi.utils import get_openapi

            self.openapi_schema = get_openapi(
                title=self.title,
                version=self.version,
                openapi_version=self.openapi_version,
                summary=self.summary,
                description=self.description,
                terms_of_service=self.terms_of_service,
                contact=self.contact,
                license_info=self.license_info,
                routes=self.routes,
                webhooks=self.webhooks.routes,
                tags=self.openapi_tags,
                servers=self.servers,
                separate_input_output_schemas=self.separate_input_output_schemas,
                external_docs=self.openapi_external_docs,
            )
        return self.openapi_schema

    def openapi_response(self, known: str | None, root_path: str = "") -> Response:
        """Return the document as a response: bytes made once, with an ETag; 304 when the client has them
        (``known``).
        """
        schema = self.openapi()
        root = root_path.rstrip("/")
        if root and self.root_path_in_servers and root not in {server.get("url") for server in self.servers}:
            schema = {**schema, "servers": [{"url": root}, *schema.get("servers", [])]}
        if self._document is None or self._document[0] is not schema:
            body = json_text(schema).encode()
            tag = '"' + hashlib.blake2b(body, digest_size=12).hexdigest() + '"'
            self._document = (schema, body, tag)
        _, body, tag = self._document
        if known is not None and tag in known:
            return Response(None, 304, {"etag": tag})
        return Response(body, 200, {"etag": tag}, "application/json")

    # -- routes

    @property
    def routes(self) -> list[BaseRoute]:
        """Every route, in order."""
        return self.router.routes

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add a route; ``options`` are those of ``get`` plus ``methods``."""
        self.openapi_schema = None
        self.router.add_api_route(path, endpoint, **options)

    def add_api_websocket_route(
        self, path: str, endpoint: Callable[..., Any], name: str | None = None, **options: Any
    ) -> None:
        """Add a WebSocket route."""
        self.router.add_api_websocket_route(path, endpoint, name, **options)

    def websocket(
        self, path: str, name: str | None = None, *, dependencies: Sequence[Depends] | None = None
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Decorate a WebSocket handler."""
        return self.router.websocket(path, name, dependencies=dependencies)

    def websocket_route(
        self, path: str, name: str | None = None
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Decorate a plain ``endpoint(websocket)``."""
        return self.router.websocket_route(path, name)

    def add_route(
        self,
        path: str,
        endpoint: Callable[..., Any],
        methods: Sequence[str] | None = None,
        name: str | None = None,
        include_in_schema: bool = True,
    ) -> None:
        """Add a plain ``endpoint(request) -> Response`` without signature analysis."""
        self.router.add_route(path, endpoint, methods, name, include_in_schema)

    def route(self, path: str, **options: Any) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Decorate a plain ``endpoint(request) -> Response``."""
        return self.router.route(path, **options)

    def mount(self, path: str, app: ASGIApp, name: str | None = None) -> None:
        """Mount an ASGI application below ``path``."""
        self.router.mount(path, app=app, name=name)

    def include_router(self, router: APIRouter, *, prefix: str = "", **layer: Any) -> None:
        """Include a router; see ``APIRouter.include_router``."""
        self.openapi_schema = None
        self.router.include_router(router, prefix=prefix, **layer)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Return the path of the route ``name``."""
        return self.router.url_path_for(name, **path_params)

    def on_event(self, event_type: str) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Decorate a function to be called at "startup" or "shutdown"; prefer ``lifespan``."""
        return self.router.on_event(event_type)

    def add_event_handler(self, event_type: str, func: Callable[[], Any]) -> None:
        """Call ``func`` at "startup" or "shutdown"."""
        self.router.add_event_handler(event_type, func)

    @property
    def dependency_overrides(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """Replacement dependencies, for tests: original function to replacement."""
        return self._overrides

    @dependency_overrides.setter
    def dependency_overrides(self, value: dict[Callable[..., Any], Callable[..., Any]]) -> None:
        self._overrides = Overrides(self.overrides_changed, value)
        self.overrides_changed()

    def overrides_changed(self) -> None:
        """Swap the plans that call an overridden dependency; called by the overrides themselves."""
        overridden = set(self._overrides)
        for plan in self.plans:
            plan.apply_overrides(overridden)

    # -- MCP

    @property
    def mcp(self) -> Any:
        """The MCP server of this application, served at /mcp once it has tools (or was touched)."""
        return self.tools.server

    def tool(self, *args: Any, **options: Any) -> Any:
        """Declare an MCP tool: ``@app.tool`` or ``@app.tool(name=..., description=...)``."""
        return self.tools.server.tool(*args, **options)

    # -- middleware and errors

    def add_middleware(self, middleware_class: Any, *args: Any, **kwargs: Any) -> None:
        """Wrap the application in an ASGI middleware; the last one added is the outermost.

        RuntimeError once the application has started.
        """
        if self.middleware_stack is not None:
            raise RuntimeError("Cannot add middleware after an application has started")
        self.user_middleware.insert(0, Middleware(middleware_class, *args, **kwargs))

    def middleware(self, middleware_type: str) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Decorate ``async def middleware(request, call_next)``; the type is "http"."""
        assert middleware_type == "http", 'Currently only middleware("http") is supported.'

        def decorate(func: DecoratedCallable) -> DecoratedCallable:
            self.add_middleware(BaseHTTPMiddleware, dispatch=func)
            return func

        return decorate

    def add_exception_handler(
        self, exc_class_or_status_code: int | type[Exception], handler: Callable[[Any, Any], Any]
    ) -> None:
        """Answer exceptions of a class, or HTTPExceptions of a status, with what ``handler(request, exc)``
        returns.
        """
        self.exception_handlers[exc_class_or_status_code] = handler
        self.middleware_stack = None

    def exception_handler(
        self, exc_class_or_status_code: int | type[Exception]
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Decorate an exception handler."""

        def decorate(func: DecoratedCallable) -> DecoratedCallable:
            self.add_exception_handler(exc_class_or_status_code, func)
            return func

        return decorate

    @property
    def error_handler(self) -> Callable[[Any, Any], Any] | None:
        """The handler for what nobody else handles: that of 500 or of Exception."""
        return self.exception_handlers.get(500) or self.exception_handlers.get(Exception)

    @property
    def handled(self) -> dict[Any, Callable[[Any, Any], Any]]:
        """The handlers of everything else."""
        return {key: value for key, value in self.exception_handlers.items() if key not in (500, Exception)}

    def build_middleware_stack(self) -> ASGIApp:
        """Build the ASGI application: errors, user middleware, exception handlers, router."""
        app: ASGIApp = ExceptionMiddleware(self.router, handlers=self.handled, debug=self.debug)
        for cls, args, kwargs in reversed(self.user_middleware):
            app = cls(app, *args, **kwargs)
        return ServerErrorMiddleware(app, handler=self.error_handler, debug=self.debug)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.root_path:
            scope["root_path"] = self.root_path
        scope["app"] = self
        if self.test_peer is not None and scope.get("client") is None:
            scope["client"] = self.test_peer
        if scope["type"] != "lifespan":
            scope.setdefault("router", self.router)
            if self.lifespan_state:
                # A server that ran the lifespan protocol has put the state here already; ours did not need to.
                scope["state"] = {**self.lifespan_state, **scope.get("state", {})}
        if self.middleware_stack is None:
            self.middleware_stack = self.build_middleware_stack()
        await self.middleware_stack(scope, receive, send)

    # -- serving

    def run(
        self,
        host: str = "127.0.0.1",
        port: int = 8000,
        *,
        uds: str | None = None,
        fd: int | None = None,
        workers: int = 1,
        access_log: bool = True,
        **options: Any,
    ) -> None:
        """Serve the application until SIGINT or SIGTERM.

        ``workers`` processes share the port; ``options`` are those of ``fasterapi_http.Server`` (limits,
        server_header, ...) plus ``drain_timeout`` (seconds requests may take after the signal).
        """
        _server.run(
            self, host=host, port=port, uds=uds, fd=fd, workers=workers, access_log=access_log, **options
        )

    async def serve(self, **options: Any) -> None:
        """Serve on the running loop until cancelled; the arguments are those of ``run`` without
        ``workers``.
        """
        await _server.serve(self, **options)


FastAPI = App


async def openapi_route(request: Any) -> Response:
    """Serve the OpenAPI document."""
    app = cast(App, request.app)
    return app.openapi_response(request.headers.get("if-none-match"), request.scope.get("root_path", ""))


async def _docs_route(request: Any) -> Response:
    app = cast(App, request.app)
    root = request.scope.get("root_path", "").rstrip("/")
    return HTMLResponse(docs_page(openapi_url=root + str(app.openapi_url), title=app.title))


async def _oauth2_redirect_route(request: Any) -> Response:
    return HTMLResponse(oauth2_redirect_page())


__all__ = ["App", "FastAPI"]
