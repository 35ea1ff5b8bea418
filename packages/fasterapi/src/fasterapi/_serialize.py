"""From what a handler returns to the bytes of the response."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

import fasterapi_core as _core
from pydantic import BaseModel, ValidationError

from ._annotations import is_subclass, is_union
from ._fields import Field
from .encoders import json_text, jsonable_encoder
from .exceptions import ResponseValidationError
from .responses import JSONResponse

_SCALARS = frozenset({str, int, float, bool, types.NoneType})
_UTC_Z: int = getattr(_core, "OPT_UTC_Z", 0)  # pydantic writes UTC as "Z"
_dumps: Callable[..., bytes] = _core.json_dumps


class _NotPlain(TypeError):
    """Raised out of the native encoder by a value that needs pydantic's or jsonable_encoder's rules."""


def _refuse(value: Any) -> Any:
    raise _NotPlain(type(value).__name__)


class Serializer:
    """Validates a return value against the response model and serialises it.

    ``encode(value)`` gives JSON bytes in one pass; ``prepare(value)`` gives plain data for response classes
    that render themselves.
    """

    __slots__ = ("_endpoint", "_model", "_options", "encode", "field")

    def __init__(self, field: Field | None, options: Mapping[str, Any], endpoint: Mapping[str, Any]) -> None:
        self.field = field
        self._endpoint = endpoint
        # Only what differs from pydantic's own defaults, so that the common call stays short.
        self._options = {"by_alias": options.get("by_alias", True)}
        self._options.update({key: value for key, value in options.items() if value and key != "by_alias"})
        self._model = (
            field.info.annotation if field and is_subclass(field.info.annotation, BaseModel) else None
        )
        self.encode: Callable[[Any], bytes] = self._encoder()

    def _encoder(self) -> Callable[[Any], bytes]:
        if self.field is None:
            return encode_plain
        dump = self.field.adapter.serializer.to_json
        options = self._options
        validate = self._validate
        model = self._model

        def encode_with_options(value: Any) -> bytes:
            if type(value) is not model:
                value = validate(value)
            return dump(value, **options)

        if options != {"by_alias": True}:
            return encode_with_options
        fits = None if self.field.info.metadata else exact_check(self.field.info.annotation)
        if fits is not None:
            return _plain_encoder(fits, encode_with_options)

        def encode(value: Any) -> bytes:
            if type(value) is not model:
                value = validate(value)
            return dump(value, by_alias=True)

        return encode

    def _validate(self, value: Any) -> Any:
        assert self.field is not None
        try:
            return self.field.adapter.validate_python(value, from_attributes=True)
        except ValidationError as exc:
            errors: list[Any] = exc.errors(include_url=False)
            for error in errors:
                error["loc"] = ("response", *error.get("loc", ()))
            raise ResponseValidationError(errors, body=value, endpoint_ctx=self._endpoint) from exc

    def prepare(self, value: Any) -> Any:
        """Return ``value`` as plain JSON data."""
        if self.field is None:
            return jsonable_encoder(value)
        if type(value) is not self._model:
            value = self._validate(value)
        return self.field.adapter.dump_python(value, mode="json", **self._options)


def exact_check(annotation: Any) -> Callable[[Any], bool] | None:
    """Return a test for values that need no validation because they are exactly what ``list[dict[str,
    Any]]`` and the like say.

    None when the annotation has anything beyond lists, string-keyed dicts, JSON scalars and Any. Keys of
    dicts are left to the encoder, which refuses other keys than strings.
    """
    scalars = _scalar_types(annotation)
    if scalars is not None:
        return lambda value: type(value) in scalars
    origin, args = get_origin(annotation) or annotation, get_args(annotation)
    if origin is dict and (not args or args[0] is str):
        return _check_items(dict, args[1] if args else Any)
    if origin is list:
        return _check_items(list, args[0] if args else Any)
    return None


def _check_items(container: type[Any], inner: Any) -> Callable[[Any], bool] | None:
    """Return the test for a dict or list of ``inner``: one pass in C where the items' types alone decide."""
    if inner is Any:
        return lambda value: type(value) is container
    kinds = _scalar_types(inner)
    if kinds is None and inner in (dict, dict[str, Any]):
        kinds = frozenset({dict})
    if kinds is not None:
        known = kinds
        if container is dict:
            return lambda value: type(value) is dict and known.issuperset(map(type, value.values()))
        return lambda value: type(value) is list and known.issuperset(map(type, value))
    found = exact_check(inner)
    if found is None:
        return None
    check = found
    if container is dict:
        return lambda value: type(value) is dict and all(map(check, value.values()))
    return lambda value: type(value) is list and all(map(check, value))


def _scalar_types(annotation: Any) -> frozenset[type[Any]] | None:
    if is_union(annotation):
        kinds = [_scalar_types(arg) for arg in get_args(annotation)]
        return (
            None
            if None in kinds
            else frozenset[type[Any]]().union(*(kind for kind in kinds if kind is not None))
        )
    return frozenset({annotation}) if isinstance(annotation, type) and annotation in _SCALARS else None


class _Aliases:
    """Whether some pydantic model in the process is serialised under other names than its own.

    The native encoder writes a model that it meets inside plain data by field name; FastAPI writes aliases.
    Where no model has any, the two are the same. Looked at once, and again whenever a server is built.
    """

    exist: bool | None = None

    @classmethod
    def look(cls) -> bool:
        models = list(BaseModel.__subclasses__())
        cls.exist = False
        while models and not cls.exist:
            model = models.pop()
            models.extend(model.__subclasses__())
            fields = getattr(model, "model_fields", {}) if model.__pydantic_complete__ else {}
            cls.exist = any(info.serialization_alias or info.alias for info in fields.values())
        return cls.exist


def forget_models() -> None:
    """Look at the models anew at the next response."""
    _Aliases.exist = None


def _natively_safe(value: Any) -> bool:
    exist = _Aliases.exist
    if exist is None:
        exist = _Aliases.look()
    return not exist or _only_scalars(value)


def _plain_encoder(fits: Callable[[Any], bool], otherwise: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def encode(value: Any) -> bytes:
        if fits(value) and _natively_safe(value):
            try:
                return _dumps(value, default=_refuse, option=_UTC_Z)
            except (TypeError, ValueError):  # NaN, a key that is no string, a type with rules of its own
                pass
        return otherwise(value)

    return encode


def _only_scalars(value: Any) -> bool:
    """Say whether ``value`` consists of dicts, lists and JSON scalars only, with string keys in dicts left
    to the encoder.
    """
    kind = type(value)
    if kind is dict:
        items: Any = value.values()
    elif kind is list or kind is tuple:
        items = value
    else:
        return kind in _SCALARS
    return _SCALARS.issuperset(map(type, items)) or all(map(_only_scalars, items))


def encode_plain(value: Any) -> bytes:
    """Encode a value that has no model, with the rules of ``jsonable_encoder``."""
    if type(value) is dict:
        for item in value.values():
            if type(item) not in _SCALARS:
                break
        else:  # the most common answer: a small flat dict
            try:
                return _dumps(value)
            except (TypeError, ValueError):  # keys that are no strings; NaN raises again below, as it should
                return json_text(jsonable_encoder(value)).encode()
    if _only_scalars(value):
        try:
            return _dumps(value)
        except (TypeError, ValueError):
            pass
    return json_text(jsonable_encoder(value)).encode()


def renders_plain_json(response_class: type[Any]) -> bool:
    """Say whether the class sends exactly ``JSONResponse``'s bytes, so that we may encode in its place."""
    return (
        is_subclass(response_class, JSONResponse)
        and response_class.render is JSONResponse.render
        and response_class.__init__ is JSONResponse.__init__
        and response_class.media_type == "application/json"
    )


__all__ = ["Serializer", "encode_plain", "renders_plain_json"]
