"""JSON schemas of every parameter, body and response model, made by pydantic in one go so that names stay
unique.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from .._annotations import is_subclass
from .._fields import Field, model_fields

REF_PREFIX = "#/components/schemas/"
Mode = Literal["validation", "serialization"]


class _Generator(GenerateJsonSchema):
    """Describes bytes as OpenAPI 3.1 does: by media type instead of a format."""

    def bytes_schema(self, schema: core_schema.BytesSchema) -> JsonSchemaValue:
        result: dict[str, Any] = {"type": "string", "contentMediaType": "application/octet-stream"}
        validating = self.mode != "serialization"
        encoding = self._config.val_json_bytes if validating else self._config.ser_json_bytes
        if encoding == "base64":
            result["contentEncoding"] = "base64"
        self.update_with_validations(result, schema, self.ValidationsMapping.bytes)
        return result


def _models_in(annotation: Any, found: set[Any]) -> None:
    """Collect the models and enums an annotation mentions, nested ones included."""
    if is_subclass(annotation, BaseModel):
        if annotation not in found:
            found.add(annotation)
            for field in model_fields(annotation):
                _models_in(field.info.annotation, found)
    elif is_subclass(annotation, Enum):
        found.add(annotation)
    elif get_origin(annotation) is not None:
        for arg in get_args(annotation):
            _models_in(arg, found)


def _has_computed_fields(annotation: Any, seen: set[Any] | None = None) -> bool:
    seen = set() if seen is None else seen
    if is_subclass(annotation, BaseModel):
        if annotation in seen:
            return False
        seen.add(annotation)
        return bool(annotation.model_computed_fields) or any(
            _has_computed_fields(info.annotation, seen) for info in annotation.model_fields.values()
        )
    return any(_has_computed_fields(arg, seen) for arg in get_args(annotation))


class Schemas:
    """The schemas of a set of fields: ``of(field)`` for one of them, ``definitions`` for the components."""

    def __init__(self, fields: Sequence[Field], separate_input_output: bool) -> None:
        self._separate = separate_input_output
        extra: list[Field] = []
        used = {field.info.annotation for field in fields if _hashable(field.info.annotation)}
        for mode in ("validation", "serialization"):
            models: set[Any] = set()
            for field in fields:
                if field.mode == mode:
                    _models_in(field.info.annotation, models)
            for model in sorted(models, key=lambda item: (item.__module__, item.__qualname__)):
                if model not in used:
                    extra.append(Field(model.__name__, FieldInfo(annotation=model), mode))
        inputs = [
            (field, self._mode(field), field.adapter.core_schema) for field in _distinct([*fields, *extra])
        ]
        generator = _Generator(ref_template=REF_PREFIX + "{model}")
        mapping, definitions = generator.generate_definitions(inputs=inputs)
        self._mapping: dict[Any, dict[str, Any]] = mapping
        self.definitions: dict[str, dict[str, Any]] = {
            str(name): schema for name, schema in definitions.items()
        }
        for definition in self.definitions.values():
            if "description" in definition:
                # What follows a form feed in a docstring is not for the document.
                definition["description"] = definition["description"].split("\f")[0]

    def _mode(self, field: Field) -> Mode:
        if self._separate or _has_computed_fields(field.info.annotation):
            return field.mode
        return "validation"

    def of(self, field: Field, alias: str | None = None) -> dict[str, Any]:
        """Return the schema of a field, titled by ``alias`` (its own alias by default) unless it is a
        reference.
        """
        schema = dict(self._mapping[(field, self._mode(field))])
        if "$ref" not in schema:
            if alias is None:
                alias = field.input_alias if field.mode == "validation" else field.output_alias
            schema["title"] = field.info.title or alias.title().replace("_", " ")
        return schema


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _distinct(fields: Iterable[Field]) -> list[Field]:
    return list(dict.fromkeys(fields))
