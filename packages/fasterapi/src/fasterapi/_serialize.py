"""From what a handler returns to the bytes of the response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from ._annotations import is_subclass
from ._fields import Field
from .encoders import json_text, jsonable_encoder
from .exceptions import ResponseValidationError
from .responses import JSONResponse


class Serializer:
    """Validates a return value against the response model and serialises it.

    ``encode(value)`` gives JSON bytes in one pass; ``prepare(value)`` gives plain data for response classes that render
    themselves.
    """

    __slots__ = ("_endpoint", "_model", "_options", "encode", "field")

    def __init__(self, field: Field | None, options: Mapping[str, Any], endpoint: Mapping[str, Any]) -> None:
        self.field = field
        self._endpoint = endpoint
        # Only what differs from pydantic's own defaults, so that the common call stays short.
        self._options = {"by_alias": options.get("by_alias", True)}
        self._options.update({key: value for key, value in options.items() if value and key != "by_alias"})
        self._model = field.info.annotation if field and is_subclass(field.info.annotation, BaseModel) else None
        self.encode: Callable[[Any], bytes] = self._encoder()

    def _encoder(self) -> Callable[[Any], bytes]:
        if self.field is None:
            return encode_plain
        dump = self.field.adapter.serializer.to_json
        options = self._options
        validate = self._validate
        model = self._model
        if options == {"by_alias": True}:

            def encode(value: Any) -> bytes:
                if type(value) is not model:
                    value = validate(value)
                return dump(value, by_alias=True)

            return encode

        def encode_with_options(value: Any) -> bytes:
            if type(value) is not model:
                value = validate(value)
            return dump(value, **options)

        return encode_with_options

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


def encode_plain(value: Any) -> bytes:
    """Encode a value that has no model, with the rules of ``jsonable_encoder``."""
    return json_text(jsonable_encoder(value)).encode()


def renders_plain_json(response_class: type[Any]) -> bool:
    """Say whether the class sends exactly ``JSONResponse``'s bytes, so that we may encode in its place."""
    return (
        is_subclass(response_class, JSONResponse)
        and response_class.render is JSONResponse.render
        and response_class.__init__ is JSONResponse.__init__
        and response_class.media_type == "application/json"
    )


__all__ = ["PydanticSerializationError", "Serializer", "encode_plain", "renders_plain_json"]
