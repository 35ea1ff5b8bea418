"""The complete resolver: any parameter, any dependency, and FastAPI's error list when something does not fit.

The server calls it when the compiled plan of a route cannot decode a request, and the ASGI lane always.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

from . import params
from ._annotations import allows_none, is_one_of, is_sequence_of, sequence_type
from ._calls import runs_inline
from ._cleanup import CleanupStack
from ._dependant import Dependant, analyse
from ._fields import (
    Field,
    Undefined,
    extra_values,
    form_model,
    is_header_map,
    missing_error,
    model_fields,
    multi_value,
    parameter_model,
)
from ._multipart import read_in_thread
from .background import BackgroundTasks
from .concurrency import run_in_threadpool
from .datastructures import FormData, UploadFile
from .exceptions import HTTPException, RequestValidationError
from .requests import Request
from .responses import Response
from .security.base import SecurityScopes
from .websockets import WebSocket

_semaphores: dict[Hashable, asyncio.Semaphore] = {}


def limit_of(dependant: Dependant) -> AbstractAsyncContextManager[Any]:
    """Return the semaphore of a dependency with ``max_concurrency``, one per loop and callable."""
    if dependant.max_concurrency is None:
        return nullcontext()
    key = (id(asyncio.get_running_loop()), dependant.call, dependant.max_concurrency)
    return _semaphores.setdefault(key, asyncio.Semaphore(dependant.max_concurrency))


class Context:
    """What one request collects while its arguments are resolved."""

    __slots__ = (
        "_response",
        "background",
        "body",
        "cache",
        "embed",
        "for_function",
        "for_request",
        "inline",
        "overrides",
        "request",
    )

    def __init__(
        self,
        request: Any,
        body: Any,
        embed: bool,
        overrides: Mapping[Any, Any],
        for_request: CleanupStack,
        for_function: CleanupStack,
        inline: bool = False,
    ) -> None:
        self.request = request
        self.body = body
        self.embed = embed
        self.overrides = overrides
        self.for_request = for_request
        self.for_function = for_function
        self.inline = inline
        self.background: BackgroundTasks | None = None
        self.cache: dict[Hashable, Any] = {}
        self._response: Response | None = None

    @property
    def response(self) -> Response:
        """The response whose status and headers are merged into the answer; made when a handler asks for
        it.
        """
        if self._response is None:
            self._response = injected_response()
        return self._response

    @property
    def injected(self) -> Response | None:
        """The same, or None when nobody asked."""
        return self._response


def injected_response() -> Response:
    """Make the object behind a ``response: Response`` parameter: its status counts only once it is set."""
    response = Response()
    response.status_code = None
    response.raw_headers = []
    return response


async def call_sync(call: Callable[..., Any], inline: bool, kwargs: dict[str, Any]) -> Any:
    """Call a sync function on the loop or in the pool."""
    if runs_inline(call, inline):
        return call(**kwargs)
    return await run_in_threadpool(call, **kwargs)


async def resolve(dependant: Dependant, context: Context) -> tuple[dict[str, Any], list[Any]]:
    """Return the keyword arguments of ``dependant.call`` and the list of validation errors.

    Dependencies run in the order of their declaration, even when parameters beside them turn out to be
    invalid.
    """
    values: dict[str, Any] = {}
    errors: list[Any] = []
    for declared in dependant.dependencies:
        used = _overridden(declared, context)
        arguments, sub_errors = await resolve(used, context)
        if sub_errors:
            errors.extend(sub_errors)
            continue
        key = declared.cache_key()
        if declared.use_cache and key in context.cache:
            value = context.cache[key]
        else:
            value = await _solve(declared, used, arguments, context)
        if declared.name is not None:
            values[declared.name] = value
        context.cache.setdefault(key, value)
    request = context.request
    sources = {
        "path": lambda: request.path_params,
        "query": lambda: request.query_params,
        "header": lambda: request.headers,
        "cookie": lambda: request.cookies,
    }
    for place, fields in dependant.fields.items():
        if fields:
            errors.extend(read_parameters(fields, sources[place](), values))
    if dependant.body:
        errors.extend(await read_body(dependant.body, context.body, context.embed, values))
    for name, kind in dependant.special.items():
        value = _special(kind, dependant, context)
        if value is not None:
            values[name] = value
    return values, errors


def _overridden(declared: Dependant, context: Context) -> Dependant:
    replacement = context.overrides.get(declared.call) if context.overrides else None
    if replacement is None:
        return declared
    used = analyse(declared.path, replacement, name=declared.name, parent_scopes=declared.scopes)
    used.scope = declared.scope
    return used


async def _solve(declared: Dependant, used: Dependant, arguments: dict[str, Any], context: Context) -> Any:
    call = used.call
    inline = used.inline or context.inline
    if used.kind in ("generator", "async_generator"):
        stack = context.for_function if declared.scope == "function" else context.for_request
        is_async = used.kind == "async_generator"
        async with limit_of(declared):
            return await stack.enter(call(**arguments), is_async, not is_async and runs_inline(call, inline))
    async with limit_of(declared):
        if used.kind == "async":
            return await call(**arguments)
        return await call_sync(call, inline, arguments)


def _special(kind: str, dependant: Dependant, context: Context) -> Any:
    request = context.request
    if kind == "connection":
        return request
    if kind == "request":
        return request if isinstance(request, Request) else None
    if kind == "websocket":
        return request if isinstance(request, WebSocket) else None
    if kind == "background":
        if context.background is None:
            context.background = BackgroundTasks()
        return context.background
    if kind == "response":
        return context.response
    return SecurityScopes(dependant.scopes)


def read_parameters(fields: list[Field], received: Mapping[str, Any], values: dict[str, Any]) -> list[Any]:
    """Validate the parameters of one place into ``values``; return the errors."""
    errors: list[Any] = []
    for field in fields:
        model = parameter_model(field)
        if model is not None:
            value, found = _read_model(field, model, received)
        else:
            names = field.wire_names()
            wire = next((name for _, name in names if name in received), names[0][1])
            assert isinstance(field.info, params.Param) and field.info.in_ is not None
            value, found = field.validate(multi_value(field, received, wire), (field.info.in_.value, wire))
        if found:
            errors.extend(found)
        else:
            values[field.name] = value
    return errors


def _read_model(field: Field, model: Any, received: Mapping[str, Any]) -> tuple[Any, list[Any]]:
    """Read a model spread over parameters: each member by its own name, the rest by the model's policy for
    extras.
    """
    headers = is_header_map(received)
    hyphens_default = getattr(field.info, "convert_underscores", True)
    collected: dict[str, Any] = {}
    renamed: dict[str, str] = {}
    taken: set[str] = set()
    known: set[str] = set()
    for member in model_fields(model):
        hyphens = headers and getattr(member.info, "convert_underscores", hyphens_default)
        names = member.wire_names(hyphens)
        known.update(wire.lower() if headers else wire for _, wire in names)
        alias, wire = next((pair for pair in names if pair[1] in received), names[0])
        value = multi_value(member, received, wire)
        if value is not Undefined:
            collected[alias] = value
        if not headers:
            taken.add(wire)
            continue
        taken.add(wire.lower())
        # An unconverted name is not accepted as an extra header either.
        taken.update(own.lower() for own, other in names if own != other)
        if alias != wire:
            renamed[member.name] = wire
    collected.update(extra_values(received, taken))
    assert isinstance(field.info, params.Param) and field.info.in_ is not None
    loc = (field.info.in_.value,)
    value = collected
    if field.info.annotation is not model:
        keeps_extras = model.model_config.get("extra") in ("allow", "forbid")
        if not (known & set(received)) and not (keeps_extras and collected):
            value = Undefined
    result, errors = field.validate(value, loc)
    if renamed and model.model_config.get("loc_by_alias", True):
        for error in errors:
            where = error["loc"]
            if len(where) > 1 and where[1] in renamed:
                error["loc"] = (where[0], renamed[where[1]], *where[2:])
    return result, errors


async def read_body(fields: list[Field], received: Any, embed: bool, values: dict[str, Any]) -> list[Any]:
    """Validate the body, or its members, into ``values``; return the errors."""
    if len(fields) == 1 and not embed and form_model(fields[0]) is None:
        field = fields[0]
        body = received
        if isinstance(received, FormData):
            body = await _form_items([field], received)
        value, errors = field.validate(body, ("body",))
        values[field.name] = value
        return errors
    errors = []
    plain: dict[str, tuple[str, Any]] = {}
    if isinstance(received, FormData):
        for field in fields:
            if form_model(field) is None:
                plain[field.name] = await _form_value(field, received)
    for field in fields:
        alias = field.wire_names()[0][0]
        value = Undefined
        loc: tuple[int | str, ...] = ("body", alias)
        model = form_model(field)
        if isinstance(received, FormData):
            if model is not None:
                value, loc = await _form_model_value(field, model, received), ("body",)
            else:
                alias, value = plain[field.name]
                loc = ("body", alias)
        elif received is not Undefined and not isinstance(received, bytes):
            if not isinstance(received, Mapping):
                errors.append(missing_error(loc))
                continue
            for alias, _ in field.wire_names():
                value = received.get(alias, Undefined)
                if value is not Undefined:
                    loc = ("body", alias)
                    break
        result, found = field.validate(value, loc)
        if found:
            errors.extend(found)
        else:
            values[field.name] = result
    return errors


async def _form_value(field: Field, form: FormData) -> tuple[str, Any]:
    names = field.wire_names()
    for alias, _ in names:
        value = multi_value(field, form, alias)
        if value is not Undefined:
            if isinstance(field.info, params.File):
                value = await _file_bytes(field, value)
            return alias, value
    return names[0][0], Undefined


async def _file_bytes(field: Field, value: Any) -> Any:
    """Read uploads that are declared as ``bytes``."""
    annotation = field.info.annotation
    if is_one_of(annotation, bytes) and isinstance(value, UploadFile):
        return await read_in_thread(value)
    if isinstance(value, list) and is_sequence_of(annotation, bytes):
        items = [await read_in_thread(item) if isinstance(item, UploadFile) else item for item in value]
        return sequence_type(annotation)(items)
    return value


async def _form_items(fields: Any, form: FormData) -> dict[str, Any]:
    collected: dict[str, Any] = {}
    taken: set[str] = set()
    for field in fields:
        alias, value = await _form_value(field, form)
        taken.add(alias)
        if value is not Undefined:
            collected[alias] = value
    collected.update(extra_values(form, taken))
    return collected


async def _form_model_value(field: Field, model: Any, form: FormData) -> Any:
    members = model_fields(model)
    if allows_none(field.info.annotation):
        names = {alias for member in members for alias, _ in member.wire_names()}
        keeps_extras = model.model_config.get("extra") in ("allow", "forbid")
        if not (names & set(form)) and not (keeps_extras and len(form)):
            return Undefined
    return await _form_items(members, form)


def is_json_type(content_type: str) -> bool:
    """Say whether a Content-Type is JSON: application/json or application/*+json."""
    kind, _, subtype = content_type.partition(";")[0].strip().lower().partition("/")
    return kind == "application" and (subtype == "json" or subtype.endswith("+json"))


async def load_body(
    request: Request, body_field: Field | None, strict_content_type: bool, form_limits: Any = None
) -> Any:
    """Read and decode the body as the handler's declarations ask; ``form_limits`` are those of ``Request.form``.

    Undefined without a body. RequestValidationError for bad JSON, HTTPException(400) for what cannot be read
    at all.
    """
    if body_field is None:
        return Undefined
    try:
        if isinstance(body_field.info, params.Form):
            return await request.form(**dict(form_limits or {}))
        data: Any = request.body()
        data = await data if inspect.isawaitable(data) else data
        if not data:
            return Undefined
        content_type = request.headers.get("content-type")
        if content_type is None:
            return data if strict_content_type else json.loads(data)
        return json.loads(data) if is_json_type(content_type) else data
    except json.JSONDecodeError as exc:
        error = {
            "type": "json_invalid",
            "loc": ("body", exc.pos),
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": exc.msg},
        }
        raise RequestValidationError([error], body=exc.doc) from exc
    except HTTPException:
        raise
    except Exception as exc:
        raise HTTPException(status_code=400, detail="There was an error parsing the body") from exc
