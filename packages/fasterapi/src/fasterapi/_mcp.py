"""Tools of the application: declared with ``@app.tool``, or routes declared with ``tool=True``.

A route's tool runs the route itself, in this process: a request is made of the tool's arguments and goes
through the whole application, so middleware, guards, validation and error handlers are those of the HTTP
route. Credentials come from the HTTP request that carried the tool call.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

from pydantic import Field as pydantic_field
from pydantic import TypeAdapter

from ._fields import Field, form_model, parameter_model
from ._route import APIRoute, BaseRoute, Match
from .datastructures import URLPath
from .security.base import SecurityBase
from .types import Receive, Scope, Send

if TYPE_CHECKING:
    from .applications import App

METHODS = ("GET", "POST", "DELETE")
_FORWARDED = ("authorization", "cookie", "host", "origin", "user-agent", "x-forwarded-for", "x-request-id")
_ANY: TypeAdapter[Any] = TypeAdapter(Any)


class ToolRegistry:
    """Holds the application's MCP server; it is made when the first tool is declared."""

    def __init__(self, app: App, path: str = "/mcp", **options: Any) -> None:
        self._app = app
        self._server: Any = None
        self._routes: dict[str, APIRoute] = {}
        self.path = path
        self.options = options

    def __bool__(self) -> bool:
        return self._server is not None

    @property
    def server(self) -> Any:
        """The MCP server."""
        if self._server is None:
            from fasterapi_mcp import MCPServer

            self._server = MCPServer(self._app.title, version=self._app.version)
            self._app.router.add_entry(MCPRoute(self))
        return self._server

    def add_route_tools(self) -> None:
        """Offer the routes declared with ``tool=True``; called before serving."""
        for route in self._app.routes:
            if not isinstance(route, APIRoute) or not route.options.tool:
                continue
            name = route.options.tool if isinstance(route.options.tool, str) else str(route.name)
            if self._routes.get(name) is not route:
                self._routes[name] = route
                description = route.description or route.summary or name
                self.server.add_tool(
                    RouteTool(self._app, route, name).function, name=name, description=description
                )

    def add_to(self, server: Any, native: bool) -> None:
        """Serve the tools natively; behind middleware they are reached through the ASGI application
        instead.
        """
        self.add_route_tools()
        if self._server is not None and native:
            server.add_endpoint(METHODS, self.path, self._server.endpoint(**self.options))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the MCP server's own resources open."""
        self.add_route_tools()
        if self._server is None:
            yield
            return
        from fasterapi_mcp._run import lifespan

        async with lifespan(self._server):
            yield


class MCPRoute(BaseRoute):
    """The MCP endpoint in the application's table of routes."""

    name = "mcp"

    def __init__(self, tools: ToolRegistry) -> None:
        self.tools = tools
        self.path = tools.path
        self._asgi: Any = None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        from ._paths import path_of

        fits = scope["type"] == "http" and path_of(scope) == self.path
        return (Match.FULL, {"endpoint": self}) if fits else (Match.NONE, {})

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        from ._paths import NoMatchFound

        if name != self.name or path_params:
            raise NoMatchFound(name, path_params)
        return URLPath(self.path, protocol="http")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._asgi is None:
            self.tools.add_route_tools()
            self._asgi = self.tools.server.asgi_app(**self.tools.options)
        await self._asgi(scope, receive, send)


class RouteTool:
    """A route as a function for the MCP server: its parameters by name, its answer as the result."""

    def __init__(self, app: App, route: APIRoute, name: str) -> None:
        self._app = app
        self._route = route
        self._method = sorted(route.methods)[0]
        self._fields: dict[str, tuple[str, Field]] = {}
        self._headers = list(_FORWARDED)
        for place in ("path", "query", "header", "cookie"):
            for field in route.dependant.all_fields(place):
                if place in ("header", "cookie"):
                    self._headers.append(field.wire_names(hyphens=True)[0][1].lower())
                elif parameter_model(field) is not None:
                    raise TypeError(f"tool {name!r}: parameter models cannot be tool arguments")
                elif getattr(field.info, "include_in_schema", True):
                    self._fields.setdefault(field.name, (place, field))
        for dependant in route.dependant.walk():
            scheme = dependant.security_scheme
            if (
                isinstance(scheme, SecurityBase)
                and isinstance(scheme.model, Mapping)
                and scheme.model.get("in") == "header"
            ):
                self._headers.append(str(scheme.model["name"]).lower())
        for field in route.dependant.all_body_fields():
            if form_model(field) is not None or type(field.info).__name__ in ("Form", "File"):
                raise TypeError(f"tool {name!r}: forms cannot be tool arguments")
            self._fields.setdefault(field.name, ("body", field))
        self.function = self._make_function()

    def _make_function(self) -> Any:
        from fasterapi_mcp import Context

        async def call(ctx: Any, **arguments: Any) -> Any:
            return await self.call(ctx, arguments)

        parameters = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=Context)]
        for name, (_, field) in self._fields.items():
            extras = (
                *field.info.metadata,
                pydantic_field(description=field.info.description, title=field.info.title),
            )
            annotation: Any = Annotated[(field.info.annotation, *extras)]
            default = inspect.Parameter.empty if field.required else field.default()
            parameters.append(
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
                )
            )
        call.__name__ = str(self._route.name)
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return call

    async def call(self, ctx: Any, arguments: dict[str, Any]) -> Any:
        """Run the route; raise ToolError with its detail when it refuses."""
        from fasterapi_mcp import ToolError

        status, content_type, data = await self._request(ctx, arguments)
        text = data.decode("utf-8", "replace")
        value = json.loads(text) if "json" in content_type and text else text
        if status >= 400:
            detail = value.get("detail", value) if isinstance(value, dict) else value
            raise ToolError(detail if isinstance(detail, str) else json.dumps(detail))
        return value

    async def _request(self, ctx: Any, arguments: dict[str, Any]) -> tuple[int, str, bytes]:
        path_params: dict[str, Any] = {}
        query: list[tuple[str, str]] = []
        members: dict[str, Any] = {}
        for name, (place, field) in self._fields.items():
            value = _ANY.dump_python(arguments[name], mode="json", by_alias=True)
            wire = field.wire_names()[0][1]
            if place == "path":
                path_params[wire] = value
            elif place == "body":
                members[wire] = value
            elif value is not None:
                items = value if isinstance(value, list) else [value]
                query += [
                    (wire, str(item).lower() if isinstance(item, bool) else str(item)) for item in items
                ]
        body = b""
        headers = []
        if members:
            body = json.dumps(members if self._route.embed else next(iter(members.values()))).encode()
            headers.append((b"content-type", b"application/json"))
            headers.append((b"content-length", str(len(body)).encode()))
        for header in dict.fromkeys(self._headers):
            sent = ctx.header(header)
            if sent is not None:
                headers.append((header.encode("latin-1"), sent.encode("latin-1")))
        path = self._path(path_params)
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": self._method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": urlencode(query).encode(),
            "headers": headers,
            "client": None,
            "server": None,
            "state": dict(self._app.lifespan_state),
            "extensions": {},
        }
        return await self._run(scope, body)

    def _path(self, path_params: dict[str, Any]) -> str:
        path = self._route.path_format
        for name, value in path_params.items():
            path = path.replace(f"{{{name}}}", str(value))
        return path

    async def _run(self, scope: Scope, body: bytes) -> tuple[int, str, bytes]:
        status, content_type, data = 500, "", b""

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status, content_type, data
            if message["type"] == "http.response.start":
                status = message["status"]
                found = [value for name, value in message["headers"] if name.lower() == b"content-type"]
                content_type = found[0].decode("latin-1") if found else ""
            elif message["type"] == "http.response.body":
                data += message.get("body", b"")

        await self._app(scope, receive, send)
        return status, content_type, data
