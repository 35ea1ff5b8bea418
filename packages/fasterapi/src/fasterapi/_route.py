"""Routes that call a handler: ``APIRoute`` for HTTP and ``APIWebSocketRoute``."""

from __future__ import annotations

import copy
import inspect
import types
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import Enum, IntEnum
from typing import Any

import fasterapi_http as _http

from . import params
from ._annotations import is_subclass
from ._calls import kind_of, runs_inline, uses_blocking_pool
from ._cleanup import CleanupStack
from ._dependant import Dependant, analyse, analyse_depends, return_annotation, should_embed
from ._fields import Field, Undefined, body_model, form_model, make_field
from ._options import RouteOptions, chosen
from ._paths import NoMatchFound, PathTemplate, path_of
from ._resolve import Context, call_sync, injected_response, load_body, resolve
from ._serialize import Serializer, renders_plain_json
from ._streams import StreamKind, stream_item_type, stream_response
from .concurrency import run_in_threadpool
from .datastructures import DefaultPlaceholder, URLPath
from .exceptions import HTTPException, RequestValidationError, WebSocketRequestValidationError
from .requests import Request, SyncRequest
from .responses import EventSourceResponse, Response, StreamingResponse
from .types import Receive, Scope, Send
from .websockets import WebSocket

_SEED_REQUEST = frozenset({"req", "request"})
_SEED_RESPONSE = frozenset({"res", "response"})
_NO_BODY = frozenset({204, 205, 304})
_CLEANUP = "fasterapi.cleanup"


class Match(Enum):
    """How well a route fits a request: ``PARTIAL`` means that only the method differs."""

    NONE = 0
    PARTIAL = 1
    FULL = 2


class BaseRoute:
    """Something in a router's table."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return how well it fits, and what to add to the scope."""
        raise NotImplementedError

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Return the path of the route ``name``; NoMatchFound if it is not this one."""
        raise NotImplementedError

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        raise NotImplementedError


def body_allowed(status_code: int | str | None) -> bool:
    """Say whether responses of this status have a body."""
    if status_code is None or status_code in ("default", "1XX", "2XX", "3XX", "4XX", "5XX"):
        return True
    code = int(status_code)
    return code >= 200 and code not in _NO_BODY


def is_seed_handler(endpoint: Callable[..., Any]) -> bool:
    """Say whether it is a ``(req, res)`` handler: only those names, in positions, without annotations or
    defaults.
    """
    try:
        parameters = list(inspect.signature(endpoint).parameters.values())
    except (TypeError, ValueError):
        return False
    if not 1 <= len(parameters) <= 2:
        return False
    names = (_SEED_REQUEST, _SEED_RESPONSE)
    short = parameters[0].name == "req" or parameters[-1].name == "res"
    for parameter, allowed in zip(parameters, names, strict=False):
        if parameter.name not in allowed or parameter.default is not inspect.Parameter.empty:
            return False
        # The short names are this style's own; the long ones must be bare, or FastAPI's meaning of the
        # annotation applies.
        if parameter.annotation is not inspect.Parameter.empty and not short:
            return False
    return True


def cleanup_of(request: Any) -> CleanupStack:
    """Return the stack of the request's generators; a request made anew from the scope shares it."""
    found = getattr(request, "_cleanup", None)
    if found is None:
        found = request.scope[_CLEANUP]
    assert isinstance(found, CleanupStack)
    return found


def merged_body_field(fields: list[Field], name: str, embed: bool) -> Field | None:
    """Return the one field that documents the body: the only member, or a model made of all."""
    if not fields:
        return None
    if not embed and not any(form_model(field) is not None and not field.required for field in fields):
        return fields[0]
    model = body_model("Body_" + name, _unique(fields))
    if not embed:
        info = copy.copy(fields[0].info)
        info.annotation = model
        info.metadata = []
        return Field(fields[0].name, info)
    infos = [field.info for field in fields]
    kind: type[params.Body] = params.Body
    if any(isinstance(info, params.File) for info in infos):
        kind = params.File
    elif any(isinstance(info, params.Form) for info in infos):
        kind = params.Form
    options: dict[str, Any] = {"annotation": model, "alias": "body"}
    if not any(field.required for field in fields):
        options["default"] = None
    media = [info.media_type for info in infos if isinstance(info, kind)]
    if kind is not params.File:
        if kind is params.Form and "multipart/form-data" in media:
            options["media_type"] = "multipart/form-data"
        elif len(set(media)) == 1:
            options["media_type"] = media[0]
    return make_field("body", model, kind(**options))


def _unique(fields: list[Field]) -> list[Field]:
    return list({field.name: field for field in fields}.values())


class APIRoute(BaseRoute):
    """One handler at one path: its analysed signature, its response model, and the code that runs it."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        methods: Sequence[str] | set[str] | None = None,
        options: RouteOptions | None = None,
        overrides_provider: Any = None,
        **given: Any,
    ) -> None:
        if not path.startswith("/"):
            raise AssertionError("Routed paths must start with '/'")
        self.options = options = options if options is not None else RouteOptions(**given)
        self.path = path
        self.endpoint = endpoint
        self.methods: set[str] = {method.upper() for method in (methods or ["GET"])}
        self.overrides_provider = overrides_provider
        self.template = PathTemplate(path)
        self.path_format = self.template.format
        self.path_regex = self.template.pattern
        self.param_convertors = self.template.convertors
        self.name = options.name or getattr(endpoint, "__name__", type(endpoint).__name__)
        self.seed = is_seed_handler(endpoint)
        self.inline = bool(options.inline)
        self.tags = options.tags or []
        self.dependencies = list(options.dependencies or [])
        self.responses = options.responses or {}
        self.callbacks = options.callbacks
        self.deprecated = options.deprecated
        self.include_in_schema = options.include_in_schema
        self.summary = options.summary
        self.response_description = options.response_description
        self.operation_id = options.operation_id
        self.openapi_extra = options.openapi_extra
        self.response_class = options.response_class
        status = options.status_code
        self.status_code = int(status) if isinstance(status, IntEnum) else status
        self.unique_id = self.operation_id or chosen(options.generate_unique_id_function)(self)
        self.description = (
            (options.description or inspect.cleandoc(endpoint.__doc__ or "")).split("\f")[0].strip()
        )
        self._analyse_response()
        self._analyse_request()

    # -- analysis

    def _analyse_request(self) -> None:
        if self.seed:
            self.dependant = Dependant(call=self.endpoint, path=self.path_format, kind=kind_of(self.endpoint))
        else:
            self.dependant = analyse(self.path_format, self.endpoint)
        for depends in reversed(self.dependencies):
            self.dependant.dependencies.insert(0, analyse_depends(self.path_format, depends))
        body = self.dependant.all_body_fields()
        self.embed = should_embed(body)
        self.body_field = merged_body_field(body, self.unique_id, self.embed)

    def _analyse_response(self) -> None:
        options = self.options
        self.stream: StreamKind | None = None
        self.stream_item_field: Field | None = None
        model = options.response_model
        kind = kind_of(self.endpoint)
        if kind in ("generator", "async_generator"):
            model = self._analyse_stream(model)
        elif isinstance(model, DefaultPlaceholder):
            annotation = None if is_seed_handler(self.endpoint) else return_annotation(self.endpoint)
            model = None if is_subclass(annotation, _http.Response) else annotation
        self.response_model = model
        if model is not None:
            assert body_allowed(self.status_code), (
                f"Status code {self.status_code} must not have a response body"
            )
            name = "Response_" + self.unique_id
            self.response_field: Field | None = make_field(name, model, mode="serialization")
        else:
            self.response_field = None
        self.response_fields: dict[int | str, Field] = {}
        for code, extra in self.responses.items():
            assert isinstance(extra, dict), "An additional response must be a dict"
            extra_model = extra.get("model")
            if extra_model is not None:
                assert body_allowed(code), f"Status code {code} must not have a response body"
                name = f"Response_{code}_{self.unique_id}"
                self.response_fields[code] = make_field(name, extra_model, mode="serialization")
        where = {"function": self.name, "path": f"{'/'.join(sorted(self.methods))} {self.path}"}
        model_options = {
            name: getattr(options, f"response_model_{name}")
            for name in (
                "include",
                "exclude",
                "by_alias",
                "exclude_unset",
                "exclude_defaults",
                "exclude_none",
            )
        }
        self.serializer = Serializer(self.response_field, model_options, where)
        chosen_class = chosen(self.response_class)
        self.plain_json = isinstance(self.response_class, DefaultPlaceholder) and renders_plain_json(
            chosen_class
        )
        if self.response_field is None:
            self.plain_json = renders_plain_json(chosen_class)

    def _analyse_stream(self, model: Any) -> Any:
        response_class = chosen(self.response_class)
        if is_subclass(response_class, EventSourceResponse):
            self.stream = "sse"
        elif is_subclass(response_class, StreamingResponse):
            self.stream = "raw"
            return None
        elif isinstance(self.response_class, DefaultPlaceholder):
            self.stream = "jsonl"
        if not isinstance(model, DefaultPlaceholder):
            return model
        item = stream_item_type(return_annotation(self.endpoint))
        if item is not None and self.stream is not None and item is not Any:
            self.stream_item_field = make_field("StreamItem_" + self.unique_id, item, mode="serialization")
        return None

    # -- the complete implementation (slow lane and ASGI)

    @property
    def overrides(self) -> Mapping[Any, Any]:
        """The test overrides in force."""
        return getattr(self.overrides_provider, "dependency_overrides", None) or {}

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:
        """Return the coroutine function from request to response; subclasses may wrap it."""
        return self.respond

    @property
    def custom_handler(self) -> bool:
        """Say whether a subclass changed the handling, which keeps the route off the native lane."""
        return type(self).get_route_handler is not APIRoute.get_route_handler

    async def respond(self, request: Any) -> Response:
        """Resolve the arguments, call the handler and build the response."""
        for_request = cleanup_of(request)
        if self.seed:
            return await self._respond_seed(request, for_request)
        strict = chosen(self.options.strict_content_type)
        body = await load_body(request, self.body_field, strict, self.options.form_limits)
        for_function = CleanupStack()
        context = Context(request, body, self.embed, self.overrides, for_request, for_function, self.inline)
        try:
            values, errors = await resolve(self.dependant, context)
            if errors:
                raise RequestValidationError(errors, body=None if body is Undefined else body)
            result = await self._call(values)
            response = self.make_response(result, context.injected, context.background)
        except BaseException as exc:
            error = await for_function.unwind(exc)
            if error is exc:
                raise
            raise error from exc
        finally:
            if request._form is not None:
                await request._form.close()
        if for_function:
            await for_function.finish()
        return response

    async def _respond_seed(self, request: Any, for_request: CleanupStack) -> Response:
        context = Context(request, Undefined, False, self.overrides, for_request, for_request, self.inline)
        _, errors = await resolve(self.dependant, context)
        if errors:
            raise RequestValidationError(errors)
        seed_response = injected_response()
        arguments = (request, seed_response)[: len(inspect.signature(self.endpoint).parameters)]
        if self.dependant.kind == "sync" and uses_blocking_pool(self.endpoint) and not self.inline:
            result = await run_in_threadpool(self.endpoint, *arguments)
        else:
            result = self.endpoint(*arguments)
        if inspect.isawaitable(result):
            result = await result
        return self.finish_seed(result, seed_response)

    def finish_seed(self, result: Any, seed_response: Any) -> Response:
        """Build the response of a ``(req, res)`` handler: what it returned, or what it wrote into ``res``."""
        if isinstance(result, _http.Response) and result is not seed_response:
            return result  # type: ignore[return-value]
        if result is seed_response or (result is None and seed_response.body):
            if not seed_response.status_code:
                seed_response.status_code = self.status_code or 200
            return seed_response  # type: ignore[no-any-return]
        return self.make_response(result, seed_response, None)

    async def _call(self, values: dict[str, Any]) -> Any:
        kind = self.dependant.kind
        if kind == "async":
            return await self.endpoint(**values)
        if kind in ("generator", "async_generator"):
            return self.endpoint(**values)
        return await call_sync(self.endpoint, self.inline, values)

    def make_response(self, result: Any, injected: Any, background: Any) -> Response:
        """Turn a handler's result into a response, with the injected response's status and headers merged
        in.
        """
        if isinstance(result, _http.Response):
            if background is not None and result.background is None:
                result.background = background
            return result  # type: ignore[return-value]
        status = self.status_code
        if injected is not None and injected.status_code:
            status = injected.status_code
        response: Response
        if self.stream is not None:
            response = stream_response(
                self.stream, result, self.stream_item_field, chosen(self.response_class), status
            )
            response.background = background
        elif not body_allowed(status):
            media_type = chosen(self.response_class).media_type
            response = Response(None, status or 200, None, media_type, background)
        elif self.plain_json:
            body = self.serializer.encode(result)
            response = Response(body, status or 200, None, "application/json", background)
        else:
            given: dict[str, Any] = {"background": background}
            if status is not None:
                given["status_code"] = status
            response = chosen(self.response_class)(self.serializer.prepare(result), **given)
        if injected is not None:
            merge_headers(response, injected)
        return response

    # -- ASGI

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
        return (Match.FULL if scope["method"] in self.methods else Match.PARTIAL), child

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        if name != self.name:
            raise NoMatchFound(name, path_params)
        return URLPath(self.template.build(name, path_params), protocol="http")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in self.methods:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(self.methods))})
        if self.seed and self.dependant.kind == "sync":
            request: Request = SyncRequest(scope, receive, send)
            request.__dict__["_body"] = b"".join([chunk async for chunk in request.stream()])
        else:
            request = Request(scope, receive, send)
        cleanup = scope[_CLEANUP] = CleanupStack()
        try:
            response = await self.get_route_handler()(request)
            await response(scope, receive, send)
        except BaseException as exc:
            error = await cleanup.unwind(exc)
            if error is exc:
                raise
            raise error from exc
        if cleanup:
            await cleanup.finish()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(path={self.path!r}, name={self.name!r}, methods={sorted(self.methods)!r})"
        )


def merge_headers(response: Any, injected: Any) -> None:
    """Add the injected response's headers; a name that the response has already is kept and repeated, as
    cookies are.
    """
    for name, value in injected.headers.items():
        if name.lower() == "content-length":
            continue
        if name.lower() == "set-cookie":
            response.headers.append(name, value)
        else:
            response.headers[name] = value


class APIWebSocketRoute(BaseRoute):
    """A WebSocket handler at a path, with parameters and dependencies."""

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        name: str | None = None,
        dependencies: Sequence[params.Depends] | None = None,
        overrides_provider: Any = None,
    ) -> None:
        self.path = path
        self.endpoint = endpoint
        self.name = name or getattr(endpoint, "__name__", type(endpoint).__name__)
        self.dependencies = list(dependencies or [])
        self.overrides_provider = overrides_provider
        self.template = PathTemplate(path)
        self.path_format = self.template.format
        self.dependant = analyse(self.path_format, endpoint)
        for depends in reversed(self.dependencies):
            self.dependant.dependencies.insert(0, analyse_depends(self.path_format, depends))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "websocket":
            return Match.NONE, {}
        found = self.template.match(path_of(scope))
        if found is None:
            return Match.NONE, {}
        params_ = {**scope.get("path_params", {}), **found}
        return Match.FULL, {"endpoint": self.endpoint, "route": self, "path_params": params_}

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        if name != self.name:
            raise NoMatchFound(name, path_params)
        return URLPath(self.template.build(name, path_params), protocol="websocket")

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        overrides = getattr(self.overrides_provider, "dependency_overrides", None) or {}
        cleanup, for_function = CleanupStack(), CleanupStack()
        context = Context(websocket, Undefined, False, overrides, cleanup, for_function)
        try:
            try:
                values, errors = await resolve(self.dependant, context)
                if errors:
                    raise WebSocketRequestValidationError(errors)
                await self.endpoint(**values)
            except BaseException as exc:
                error = await for_function.unwind(exc)
                if error is exc:
                    raise
                raise error from exc
            await for_function.finish()
        except BaseException as exc:
            error = await cleanup.unwind(exc)
            if error is exc:
                raise
            raise error from exc
        await cleanup.finish()


def has_plain_function(route: APIRoute) -> bool:
    """Say whether the handler is a plain sync function that stays on the loop."""
    return isinstance(route.endpoint, types.FunctionType) and runs_inline(route.endpoint, route.inline)
