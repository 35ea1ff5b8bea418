"""JSON schemas and validators from function signatures.

Functions whose parameters are ``int``, ``float``, ``str`` and ``bool`` are described by hand, in the form that
pydantic would give; everything else goes through pydantic, which is imported only then.
"""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable
from typing import Any

from fasterapi_core import json_dumps

from ._types import (
    Audio,
    CallToolResult,
    Content,
    Image,
    InputRequired,
    _without_none,
)

SCALARS: dict[Any, tuple[str, str]] = {
    int: ("integer", "i"),
    float: ("number", "f"),
    str: ("string", "s"),
    bool: ("boolean", "b"),
}
_UNSTRUCTURED = (Content, Image, Audio, CallToolResult, InputRequired)


def title_of(name: str) -> str:
    """The title that pydantic gives a field."""
    return name.replace("_", " ").title()


def hints_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """Resolved annotations, ``Annotated`` kept. Names that cannot be resolved raise NameError."""
    target = fn if inspect.isroutine(fn) else type(fn).__call__
    while isinstance(target, types.MethodType):
        target = target.__func__
    annotations = getattr(target, "__annotations__", {})
    if not any(isinstance(a, str) for a in annotations.values()):
        return dict(annotations)
    return typing.get_type_hints(target, include_extras=True)


class Parameters:
    """The parameters of a function that the client fills in.

    Attributes:
        schema: JSON schema of the arguments object.
        native: ``(name, kind, required, default)`` per parameter when all are scalars, else None.
    """

    def __init__(self, fn: Callable[..., Any], *, skip: str | None = None, title: str) -> None:
        hints = hints_of(fn)
        self.names: list[str] = []
        self.fields: dict[str, tuple[Any, Any]] = {}
        self.title = title
        self._model: Any = None
        positional = True
        for parameter in inspect.signature(fn).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(f"{title}: *args and **kwargs have no schema; name the parameters")
            if parameter.name == skip:
                positional = False
                continue
            if parameter.kind is parameter.KEYWORD_ONLY:
                positional = False
            annotation = hints.get(parameter.name, inspect.Parameter.empty)
            self.fields[parameter.name] = (annotation, parameter.default)
        self.native: list[tuple[str, str, bool, Any]] | None = [] if positional else None
        self.simple = True
        for name, (annotation, default) in self.fields.items():
            if annotation not in SCALARS or not _is_scalar_default(default):
                self.simple = False
                self.native = None
                break
            if self.native is not None:
                required = default is inspect.Parameter.empty
                self.native.append((name, SCALARS[annotation][1], required, None if required else default))
        self.schema = self._simple_schema() if self.simple else self._model_schema()

    def _simple_schema(self) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        required = []
        for name, (annotation, default) in self.fields.items():
            entry: dict[str, Any] = {}
            if default is inspect.Parameter.empty:
                required.append(name)
            else:
                entry["default"] = default
            entry["title"] = title_of(name)
            entry["type"] = SCALARS[annotation][0]
            properties[name] = entry
        schema: dict[str, Any] = {"properties": properties}
        if required:
            schema["required"] = required
        schema["title"] = self.title
        schema["type"] = "object"
        return schema

    def _model_schema(self) -> dict[str, Any]:
        schema: dict[str, Any] = self.model.model_json_schema(by_alias=True)
        return schema

    @property
    def model(self) -> Any:
        """The pydantic model of the arguments."""
        if self._model is None:
            from pydantic import BaseModel, ConfigDict, Field, create_model

            fields: dict[str, Any] = {}
            for name, (annotation, default) in self.fields.items():
                kind = Any if annotation is inspect.Parameter.empty else annotation
                value = ... if default is inspect.Parameter.empty else default
                if name.startswith("_") or hasattr(BaseModel, name):
                    # Names that pydantic keeps for itself are stored under another one.
                    alias = f"field_{name.lstrip('_')}"
                    fields[alias] = (kind, Field(value, alias=name, title=title_of(name)))
                else:
                    fields[name] = (kind, value)
            self._model = create_model(
                self.title, __config__=ConfigDict(arbitrary_types_allowed=True), **fields
            )
        return self._model

    def validate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Keyword arguments for the function. Raises ``pydantic.ValidationError``."""
        model = self.model
        value = model.model_validate(self._unwrap(arguments))
        return {field.alias or name: getattr(value, name) for name, field in model.model_fields.items()}

    def _unwrap(self, arguments: dict[str, Any]) -> dict[str, Any]:
        # Some clients send lists and objects as JSON inside a string.
        changed = None
        for name, value in arguments.items():
            if not isinstance(value, str) or name not in self.fields or self.fields[name][0] is str:
                continue
            if value[:1] not in ("[", "{"):
                continue
            try:
                parsed = json.loads(value)
            except ValueError:
                continue
            if changed is None:
                changed = dict(arguments)
            changed[name] = parsed
        return arguments if changed is None else changed


def _is_scalar_default(value: Any) -> bool:
    return value is inspect.Parameter.empty or value is None or type(value) in (int, float, str, bool)


def _mentions(annotation: Any, kinds: tuple[type, ...]) -> bool:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return issubclass(annotation, kinds)
    return any(_mentions(argument, kinds) for argument in typing.get_args(annotation))


class Returns:
    """How a function's result becomes content and structured content.

    Attributes:
        schema: The tool's outputSchema, or None.
        kind: One letter for the native path ("i", "f", "s", "b", "n", "*" for whatever scalar comes).
        wrapped: Structured content is ``{"result": value}``.
    """

    def __init__(self, fn: Callable[..., Any], *, name: str, structured: bool | None) -> None:
        annotation = hints_of(fn).get("return", inspect.Parameter.empty)
        self.schema: dict[str, Any] | None = None
        self.kind = "*"
        self.wrapped = False
        self._adapter: Any = None
        if structured is False:
            return
        if annotation in (inspect.Parameter.empty, Any) or _mentions(annotation, _UNSTRUCTURED):
            if structured:
                raise TypeError(f"{name}: structured output needs a return annotation that has a schema")
            return
        scalar = (
            "null" if annotation is None or annotation is type(None) else SCALARS.get(annotation, ("",))[0]
        )
        if scalar:
            self.kind = "n" if scalar == "null" else SCALARS[annotation][1]
            self.wrapped = True
            self.schema = {
                "properties": {"result": {"title": "Result", "type": scalar}},
                "required": ["result"],
                "title": f"{name}Output",
                "type": "object",
            }
            return
        self._build(annotation, name, structured)

    def _build(self, annotation: Any, name: str, structured: bool | None) -> None:
        from pydantic import (
            BaseModel,
            PydanticSchemaGenerationError,
            PydanticUserError,
            TypeAdapter,
            create_model,
        )
        from pydantic.errors import PydanticInvalidForJsonSchema

        try:
            adapter: Any = TypeAdapter(annotation)
            schema = adapter.json_schema(by_alias=True)
            if schema.get("type") == "object":
                if typing.get_origin(annotation) is dict:
                    schema["title"] = f"{name}DictOutput"
            elif "$ref" in schema and isinstance(annotation, type) and issubclass(annotation, BaseModel):
                schema = {"type": "object", **schema}  # a recursive model: the root must still say object
            else:
                wrapper = create_model(f"{name}Output", result=(annotation, ...))
                schema = wrapper.model_json_schema(by_alias=True)
                self.wrapped = True
        except (PydanticSchemaGenerationError, PydanticUserError, PydanticInvalidForJsonSchema, NameError):
            if structured:
                raise
            self.wrapped = False
            return
        self._adapter = adapter
        self.schema = schema

    def structured_json(self, value: Any) -> bytes | None:
        """JSON text of ``structuredContent``. Raises ``pydantic.ValidationError`` when it does not conform."""
        if self.schema is None:
            return None
        if self._adapter is None:
            text = json_dumps(self._scalar(value))
        else:
            checked = self._adapter.validate_python(value)
            text = self._adapter.dump_json(checked, by_alias=True, fallback=_fallback)
        return b'{"result":' + text + b"}" if self.wrapped else text

    def _scalar(self, value: Any) -> Any:
        from pydantic import TypeAdapter

        kinds: dict[str, Any] = {"i": int, "f": float, "s": str, "b": bool, "n": None}
        return TypeAdapter(kinds[self.kind]).validate_python(value)


def to_json(value: Any) -> bytes:
    """JSON of anything a tool may return; objects without a JSON form are sent as their ``str()``."""
    return json_dumps(value, default=_fallback)


def _fallback(value: Any) -> Any:
    to_dict = getattr(value, "to_dict", None)
    if to_dict is not None:
        return to_dict()
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json", by_alias=True)
    if isinstance(value, (set, frozenset)):
        return list(value)
    return str(value)


def content_of(value: Any) -> list[dict[str, Any]]:
    """Content blocks of a result: what is content already stays, lists are flattened, the rest is JSON text."""
    if value is None:
        return []
    if isinstance(value, str):
        return [{"type": "text", "text": value}]
    if isinstance(value, Content):
        return [value.to_dict()]
    if isinstance(value, (Image, Audio)):
        return [value.to_content().to_dict()]
    if isinstance(value, (list, tuple)):
        return [block for item in value for block in content_of(item)]
    if getattr(type(value), "__module__", "").startswith("mcp.") and hasattr(value, "model_dump"):
        # Content blocks of the official SDK.
        return [_without_none(value.model_dump(mode="json", by_alias=True, exclude_none=True))]
    return [{"type": "text", "text": to_json(value).decode()}]
