"""One parameter, body member or response model: its pydantic adapter, its names on the wire, its
validation.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Json,
    PydanticSchemaGenerationError,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic import Field as pydantic_field
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from . import params
from ._annotations import is_sequence, is_subclass, model_of
from .datastructures import FormData, Headers, ImmutableMultiDict, UploadFile

Undefined: Any = PydanticUndefined

# What a FieldInfo carries besides annotation and metadata; names unknown to the installed pydantic are
# skipped.
_ATTRIBUTES = (
    "default",
    "default_factory",
    "alias",
    "alias_priority",
    "validation_alias",
    "serialization_alias",
    "title",
    "field_title_generator",
    "description",
    "examples",
    "exclude",
    "discriminator",
    "deprecated",
    "json_schema_extra",
    "frozen",
    "validate_default",
    "repr",
    "init",
    "init_var",
    "kw_only",
)


def merge_annotated(info: FieldInfo, annotation: Any) -> FieldInfo:
    """Return a copy of ``info`` with everything an ``Annotated[...]`` says merged in by pydantic's own
    rules.
    """
    merged = FieldInfo.from_annotation(annotation)
    result = copy.copy(info)
    for name in _ATTRIBUTES:
        value = getattr(merged, name, Undefined)
        if value is not Undefined:
            setattr(result, name, value)
    if merged.default is Undefined:
        result.default = Undefined
    result._attributes_set = dict(merged._attributes_set)
    result.metadata = merged.metadata
    result.annotation = merged.annotation
    return result


class Field:
    """A named FieldInfo with its TypeAdapter. Compared by identity: it keys the table of JSON schemas."""

    __slots__ = ("adapter", "config", "info", "is_json", "mode", "name", "sequence")

    def __init__(
        self,
        name: str,
        info: FieldInfo,
        mode: Literal["validation", "serialization"] = "validation",
        config: ConfigDict | None = None,
    ) -> None:
        self.name = name
        self.info = info
        self.mode = mode
        self.config = config
        self.is_json = any(type(item) is Json for item in info.metadata)
        self.sequence = is_sequence(info.annotation)
        attributes = {
            key: value for key in _ATTRIBUTES if (value := getattr(info, key, Undefined)) is not Undefined
        }
        with warnings.catch_warnings():
            # pydantic warns about attributes (alias, ...) that mean nothing to a TypeAdapter; we read them
            # ourselves.
            warnings.simplefilter("ignore")
            annotated: Any = Annotated[(info.annotation, *info.metadata, pydantic_field(**attributes))]
            self.adapter: TypeAdapter[Any] = TypeAdapter(annotated, config=config)

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {self.info.annotation!r})"

    @property
    def alias(self) -> str:
        """The alias, or the name."""
        return self.info.alias if self.info.alias is not None else self.name

    @property
    def input_alias(self) -> str:
        """The name under which the value is validated and shown in errors."""
        alias = self.info.validation_alias
        return alias if isinstance(alias, str) and alias else self.alias

    @property
    def output_alias(self) -> str:
        """The name under which the value is serialised."""
        return self.info.serialization_alias or self.alias

    @property
    def required(self) -> bool:
        """Say whether there is no default."""
        return bool(self.info.is_required())

    def default(self) -> Any:
        """Return a fresh default value."""
        return copy.deepcopy(self.info.get_default(call_default_factory=True))

    def validate(self, value: Any, loc: tuple[int | str, ...]) -> tuple[Any, list[Any]]:
        """Return ``(value, [])`` or ``(None, errors)`` with ``loc`` in front of each error's location."""
        if value is Undefined:
            if self.required:
                return None, [missing_error(loc)]
            value = self.default()
            if not self.info.validate_default:
                return value, []
        try:
            return self.adapter.validate_python(value, from_attributes=True), []
        except ValidationError as exc:
            errors: list[Any] = exc.errors(include_url=False)
            for error in errors:
                error["loc"] = loc + tuple(error.get("loc", ()))
            return None, errors

    def wire_names(self, hyphens: bool = False) -> list[tuple[str, str]]:
        """Return pairs (name in the model, name in the request), best first; ``hyphens`` for headers."""
        alias = self.input_alias
        wire = alias.replace("_", "-") if hyphens and alias == self.name else alias
        names = [(alias, wire)]
        declared = self.info.validation_alias
        if isinstance(self.info, params.Path) or isinstance(declared, AliasPath):
            return names
        if isinstance(declared, AliasChoices):
            if not all(isinstance(choice, str) for choice in declared.choices):
                return names
            names = [(str(choice), str(choice)) for choice in declared.choices]
        config = self.config or {}
        by_alias = config.get("validate_by_alias") is not False
        if not by_alias or config.get("validate_by_name", config.get("populate_by_name", False)):
            own = (self.name, self.name.replace("_", "-") if hyphens else self.name)
            if not by_alias:
                return [own]
            if all(self.name != known for known, _ in names):
                names.append(own)
        return names


def missing_error(loc: tuple[int | str, ...]) -> dict[str, Any]:
    """Return the error for a value that was not sent."""
    return {"type": "missing", "loc": loc, "msg": "Field required", "input": None}


def make_field(
    name: str,
    annotation: Any,
    info: FieldInfo | None = None,
    mode: Literal["validation", "serialization"] = "validation",
) -> Field:
    """Build a Field; a type that pydantic does not know gives FasterAPIError with a hint."""
    from .exceptions import FasterAPIError

    if info is None:
        info = (
            FieldInfo.from_annotation(annotation)
            if mode == "validation"
            else FieldInfo(annotation=annotation)
        )
    try:
        return Field(name, info, mode)
    except PydanticSchemaGenerationError as exc:
        raise FasterAPIError(
            "Invalid args for response field! Hint: "
            f"check that {annotation} is a valid Pydantic field type. "
            "If you are using a return type annotation that is not a valid Pydantic field (e.g. Union[Response, dict, "
            "None]) you can disable generating the response model from the type annotation with the path operation "
            "decorator parameter response_model=None."
        ) from exc


@lru_cache(maxsize=1024)
def model_fields(model: type[BaseModel]) -> tuple[Field, ...]:
    """Return the model's members as Fields."""
    import dataclasses

    found = []
    for name, info in model.model_fields.items():
        kind: Any = info.annotation
        own = is_subclass(kind, (BaseModel, dict)) or dataclasses.is_dataclass(kind)
        found.append(Field(name, info, config=None if own else model.model_config))
    return tuple(found)


def parameter_model(field: Field) -> type[BaseModel] | None:
    """Return the model whose members are read as separate query, header or cookie parameters."""
    if field.is_json:
        return None
    if isinstance(field.info, params.Query | params.Header | params.Cookie):
        return model_of(field.info.annotation)
    annotation: Any = field.info.annotation
    return annotation if is_subclass(annotation, BaseModel) else None


def form_model(field: Field) -> type[BaseModel] | None:
    """Return the model whose members are read as separate form fields."""
    if not isinstance(field.info, params.Form) or field.info.embed or field.is_json:
        return None
    return model_of(field.info.annotation)


def flat_fields(fields: Sequence[Field]) -> list[Field]:
    """Replace parameter models by their members."""
    flat: list[Field] = []
    for field in fields:
        model = parameter_model(field)
        flat.extend(model_fields(model) if model is not None else (field,))
    return flat


def _is_empty_file(value: Any) -> bool:
    # Browsers send an empty file when none is chosen.
    return isinstance(value, UploadFile) and value.filename == "" and value.size == 0


def multi_value(field: Field, values: Mapping[str, Any], name: str) -> Any:
    """Take ``name`` out of ``values``: all of them for a sequence, the last otherwise; Undefined when there
    is none.
    """
    form = isinstance(values, FormData)
    if field.sequence and not field.is_json and hasattr(values, "getlist"):
        found = values.getlist(name)
        if form:
            found = [item for item in found if not _is_empty_file(item)]
        return found if len(found) else Undefined
    value = values.get(name)
    if value is None or (form and (value == "" or _is_empty_file(value))):
        return Undefined
    if field.sequence and len(value) == 0:
        return Undefined
    return value


def extra_values(values: Mapping[str, Any], taken: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield what no field took; a repeated name gives a list."""
    if isinstance(values, ImmutableMultiDict):
        pairs: Any = values.multi_items()
    else:
        pairs = values.items()
    grouped: dict[str, list[Any]] = {}
    for name, value in pairs:
        if name not in taken:
            grouped.setdefault(name, []).append(value)
    for name, found in grouped.items():
        yield name, found[0] if len(found) == 1 else found


def body_model(name: str, fields: Sequence[Field]) -> type[BaseModel]:
    """Make the model that documents a body of several members."""
    members: dict[str, Any] = {field.name: (field.info.annotation, field.info) for field in fields}
    model: type[BaseModel] = create_model(name, **members)
    return model


def is_header_map(values: Any) -> bool:
    """Say whether names compare case-insensitively."""
    return isinstance(values, Headers)
