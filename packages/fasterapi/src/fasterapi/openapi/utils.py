"""The OpenAPI 3.1 document of a list of routes."""

from __future__ import annotations

import copy
import http
import inspect
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, cast

from .. import params
from .._annotations import is_subclass
from .._dependant import Dependant
from .._fields import Field, Undefined, flat_fields, parameter_model
from .._options import chosen
from .._route import APIRoute, body_allowed
from ..encoders import jsonable_encoder
from ..responses import JSONResponse
from ._schemas import REF_PREFIX, Schemas

_METHODS_WITH_BODY = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"})
_PLACES = ("path", "query", "header", "cookie")

_RANGES = {
    "1XX": "Information",
    "2XX": "Success",
    "3XX": "Redirection",
    "4XX": "Client Error",
    "5XX": "Server Error",
    "DEFAULT": "Default Response",
}

VALIDATION_ERROR: dict[str, Any] = {
    "title": "ValidationError",
    "type": "object",
    "properties": {
        "loc": {
            "title": "Location",
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        },
        "msg": {"title": "Message", "type": "string"},
        "type": {"title": "Error Type", "type": "string"},
        "input": {"title": "Input"},
        "ctx": {"title": "Context", "type": "object"},
    },
    "required": ["loc", "msg", "type"],
}

HTTP_VALIDATION_ERROR: dict[str, Any] = {
    "title": "HTTPValidationError",
    "type": "object",
    "properties": {
        "detail": {"title": "Detail", "type": "array", "items": {"$ref": REF_PREFIX + "ValidationError"}}
    },
}

_SSE_ITEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "data": {"type": "string"},
        "event": {"type": "string"},
        "id": {"type": "string"},
        "retry": {"type": "integer", "minimum": 0},
    },
}


def _phrase(code: int | str) -> str | None:
    try:
        return http.HTTPStatus(int(code)).phrase
    except ValueError:
        return None


def deep_update(target: dict[Any, Any], source: dict[Any, Any]) -> None:
    """Merge ``source`` into ``target``: dicts recursively, lists by concatenation, the rest by
    replacement.
    """
    for key, value in source.items():
        old = target.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            deep_update(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            target[key] = old + value
        else:
            target[key] = value


def without_none(value: Any) -> Any:
    """Drop None members of objects, as FastAPI's document has none."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_none(item) for item in value]
    return value


def _fields_of(routes: Iterable[Any]) -> list[Field]:
    fields: list[Field] = []
    for route in routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        for field in (route.body_field, route.response_field, route.stream_item_field):
            if field is not None:
                fields.append(field)
        fields.extend(route.response_fields.values())
        fields.extend(_fields_of(route.callbacks or ()))
        for place in _PLACES:
            fields.extend(flat_fields(route.dependant.all_fields(place)))
    return fields


def _security(dependant: Dependant) -> tuple[dict[str, Any], list[dict[str, list[str]]]]:
    """Return the security schemes used below a handler, and the operation's requirements."""
    schemes: dict[str, Any] = {}
    required: dict[str, list[str]] = {}

    def visit(current: Dependant, scopes: list[str], seen: set[Any], root: bool) -> None:
        key = current.cache_key()
        if key in seen:
            return
        seen.add(key)
        inherited = list(dict.fromkeys([*scopes, *current.scopes]))
        scheme = None if root else current.security_scheme
        if scheme is not None:
            schemes[scheme.scheme_name] = (
                scheme.model if isinstance(scheme.model, dict) else _dump(scheme.model)
            )
            names = required.setdefault(scheme.scheme_name, [])
            names.extend(scope for scope in inherited if scope not in names)
        for sub in current.dependencies:
            visit(sub, inherited, seen, False)

    visit(dependant, [], set(), True)
    return schemes, [{name: scopes} for name, scopes in required.items()]


def _dump(model: Any) -> Any:
    return jsonable_encoder(model, by_alias=True, exclude_none=True)


def _parameters(dependant: Dependant, schemas: Schemas) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for place in _PLACES:
        for parent in dependant.all_fields(place):
            if not getattr(parent.info, "include_in_schema", True):
                continue
            model = parameter_model(parent)
            optional = model is not None and parent.info.annotation is not model and not parent.required
            for field in flat_fields([parent]):
                parameter = _parameter(place, parent, field, optional, schemas)
                key = (parameter["in"], parameter["name"])
                # The same parameter may be declared twice; where one of them is required, the document says
                # so.
                if key not in found or (parameter["required"] or not found[key]["required"]):
                    found[key] = parameter
    return list(found.values())


def _parameter(place: str, parent: Field, field: Field, optional: bool, schemas: Schemas) -> dict[str, Any]:
    info = field.info
    hyphens = place == "header" and getattr(
        info, "convert_underscores", getattr(parent.info, "convert_underscores", True)
    )
    alias, name = field.wire_names(bool(hyphens))[0]
    parameter: dict[str, Any] = {
        "name": name,
        "in": place,
        "required": field.required and not optional,
        "schema": schemas.of(field, alias),
    }
    if info.description:
        parameter["description"] = info.description
    _add_examples(parameter, info)
    if getattr(info, "deprecated", None):
        parameter["deprecated"] = True
    return parameter


def _add_examples(target: dict[str, Any], info: Any) -> None:
    examples = getattr(info, "openapi_examples", None)
    example = getattr(info, "example", Undefined)
    if examples:
        target["examples"] = jsonable_encoder(examples)
    elif example is not Undefined:
        target["example"] = jsonable_encoder(example)


def _request_body(field: Field, schemas: Schemas) -> dict[str, Any]:
    info = cast(params.Body, field.info)
    content: dict[str, Any] = {"schema": schemas.of(field)}
    _add_examples(content, info)
    body: dict[str, Any] = {}
    if field.required:
        body["required"] = True
    body["content"] = {info.media_type: content}
    return body


class _Document:
    """Collects operations, security schemes and definitions."""

    def __init__(self, schemas: Schemas) -> None:
        self.schemas = schemas
        self.security: dict[str, Any] = {}
        self.operation_ids: set[str] = set()
        self.needs_validation_error = False

    def path_item(self, route: APIRoute) -> dict[str, Any]:
        """Return the operations of one route by method."""
        if not route.include_in_schema:
            return {}
        return {method.lower(): self._operation(route, method) for method in sorted(route.methods)}

    def _operation(self, route: APIRoute, method: str) -> dict[str, Any]:
        operation = self._head(route)
        schemes, required = _security(route.dependant)
        if required:
            operation["security"] = required
        self.security.update(schemes)
        parameters = _parameters(route.dependant, self.schemas)
        if parameters:
            operation["parameters"] = parameters
        if method in _METHODS_WITH_BODY and route.body_field is not None:
            operation["requestBody"] = _request_body(route.body_field, self.schemas)
        if route.callbacks:
            operation["callbacks"] = {
                callback.name: {callback.path: self.path_item(callback)}
                for callback in route.callbacks
                if isinstance(callback, APIRoute)
            }
        operation["responses"] = self._responses(route)
        has_input = route.body_field is not None or any(
            route.dependant.all_fields(place) for place in _PLACES
        )
        if has_input and not {"422", "4XX", "default"} & operation["responses"].keys():
            self.needs_validation_error = True
            operation["responses"]["422"] = {
                "description": "Validation Error",
                "content": {"application/json": {"schema": {"$ref": REF_PREFIX + "HTTPValidationError"}}},
            }
        if route.openapi_extra:
            deep_update(operation, route.openapi_extra)
        return operation

    def _head(self, route: APIRoute) -> dict[str, Any]:
        operation: dict[str, Any] = {}
        if route.tags:
            operation["tags"] = [getattr(tag, "value", tag) for tag in route.tags]
        operation["summary"] = route.summary or str(route.name).replace("_", " ").title()
        if route.description:
            operation["description"] = route.description
        if route.unique_id in self.operation_ids:
            name = getattr(route.endpoint, "__name__", "<unnamed_endpoint>")
            message = f"Duplicate Operation ID {route.unique_id} for function {name}"
            file = getattr(route.endpoint, "__globals__", {}).get("__file__")
            warnings.warn(f"{message} at {file}" if file else message, stacklevel=2)
        self.operation_ids.add(route.unique_id)
        operation["operationId"] = route.unique_id
        if route.deprecated:
            operation["deprecated"] = route.deprecated
        return operation

    def _responses(self, route: APIRoute) -> dict[str, Any]:
        response_class = chosen(route.response_class)
        media_type: str | None = response_class.media_type
        status = str(route.status_code) if route.status_code is not None else _default_status(response_class)
        main: dict[str, Any] = {"description": route.response_description}
        responses: dict[str, Any] = {status: main}
        if body_allowed(route.status_code):
            content = self._content(route, response_class, media_type)
            if content:
                main["content"] = content
        for code, extra in route.responses.items():
            key = str(code).upper()
            key = "default" if key == "DEFAULT" else key
            described = copy.deepcopy(extra)
            described.pop("model", None)
            target = responses.setdefault(key, {})
            field = route.response_fields.get(code)
            if field is not None:
                by_type = described.setdefault("content", {}).setdefault(media_type or "application/json", {})
                deep_update(by_type.setdefault("schema", {}), self.schemas.of(field))
            description = (
                described.get("description")
                or target.get("description")
                or _RANGES.get(str(code).upper())
                or (_phrase(code))
                or "Additional Response"
            )
            deep_update(target, described)
            target["description"] = description
        return responses

    def _content(self, route: APIRoute, response_class: type[Any], media_type: str | None) -> dict[str, Any]:
        item = route.stream_item_field
        if route.stream == "jsonl":
            return {"application/jsonl": {"itemSchema": self.schemas.of(item) if item is not None else {}}}
        if route.stream == "sse":
            event = copy.deepcopy(_SSE_ITEM)
            if item is not None:
                event["required"] = ["data"]
                event["properties"]["data"] = {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": self.schemas.of(item),
                }
            return {"text/event-stream": {"itemSchema": event}}
        if not media_type:
            return {}
        schema: dict[str, Any] = {"type": "string"}
        if is_subclass(response_class, JSONResponse):
            schema = self.schemas.of(route.response_field) if route.response_field is not None else {}
        return {media_type: {"schema": schema}}


def _default_status(response_class: type[Any]) -> str:
    parameter = inspect.signature(response_class.__init__).parameters.get("status_code")
    return str(parameter.default) if parameter is not None and isinstance(parameter.default, int) else "200"


def get_openapi(
    *,
    title: str,
    version: str,
    openapi_version: str = "3.1.0",
    summary: str | None = None,
    description: str | None = None,
    routes: Sequence[Any],
    webhooks: Sequence[Any] | None = None,
    tags: list[dict[str, Any]] | None = None,
    servers: list[dict[str, Any]] | None = None,
    terms_of_service: str | None = None,
    contact: dict[str, Any] | None = None,
    license_info: dict[str, Any] | None = None,
    separate_input_output_schemas: bool = True,
    external_docs: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the OpenAPI document of ``routes`` as plain data; the arguments fill its head."""
    info: dict[str, Any] = {"title": title, "version": version}
    optional = {
        "summary": summary,
        "description": description,
        "termsOfService": terms_of_service,
        "contact": contact,
        "license": license_info,
    }
    info.update({key: value for key, value in optional.items() if value})
    output: dict[str, Any] = {"openapi": openapi_version, "info": info}
    if servers:
        output["servers"] = servers
    everything = [*routes, *(webhooks or ())]
    document = _Document(Schemas(_fields_of(everything), separate_input_output_schemas))
    paths: dict[str, Any] = {}
    hooks: dict[str, Any] = {}
    for target, group in ((paths, routes), (hooks, webhooks or ())):
        for route in group:
            if isinstance(route, APIRoute) and (item := document.path_item(route)):
                target.setdefault(route.path_format, {}).update(item)
    definitions = document.schemas.definitions
    if document.needs_validation_error:
        definitions = {
            **definitions,
            "ValidationError": VALIDATION_ERROR,
            "HTTPValidationError": HTTP_VALIDATION_ERROR,
        }
    components: dict[str, Any] = {}
    if document.security:
        components["securitySchemes"] = document.security
    if definitions:
        components["schemas"] = {name: definitions[name] for name in sorted(definitions)}
    if components:
        output["components"] = components
    output["paths"] = paths
    if hooks:
        output["webhooks"] = hooks
    if tags:
        output["tags"] = tags
    if external_docs:
        output["externalDocs"] = external_docs
    result: dict[str, Any] = jsonable_encoder(without_none(output))
    return result


__all__ = ["get_openapi"]
