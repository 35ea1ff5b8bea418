"""``jsonable_encoder``: any value to what ``json.dumps`` accepts."""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from pathlib import Path, PurePath
from re import Pattern
from types import GeneratorType
from typing import Any
from uuid import UUID

from pydantic import AnyUrl, BaseModel, NameEmail, SecretBytes, SecretStr
from pydantic_core import PydanticUndefinedType, Url

from .types import IncEx


def _isoformat(value: datetime.date | datetime.time) -> str:
    return value.isoformat()


def _decimal(value: Decimal) -> int | float:
    # An exponent of zero or more means that the number is an integer; it stays one.
    exponent = value.as_tuple().exponent
    return int(value) if isinstance(exponent, int) and exponent >= 0 else float(value)


def _pattern(value: Pattern[Any]) -> Any:
    return value.pattern


ENCODERS_BY_TYPE: dict[type[Any], Callable[[Any], Any]] = {
    bytes: bytes.decode,
    datetime.date: _isoformat,
    datetime.datetime: _isoformat,
    datetime.time: _isoformat,
    datetime.timedelta: datetime.timedelta.total_seconds,
    Decimal: _decimal,
    Enum: lambda value: value.value,
    frozenset: list,
    deque: list,
    GeneratorType: list,
    IPv4Address: str,
    IPv4Interface: str,
    IPv4Network: str,
    IPv6Address: str,
    IPv6Interface: str,
    IPv6Network: str,
    NameEmail: str,
    Path: str,
    Pattern: _pattern,
    SecretBytes: str,
    SecretStr: str,
    set: list,
    UUID: str,
    Url: str,
    AnyUrl: str,
}
_BY_BASE = tuple(ENCODERS_BY_TYPE.items())


def jsonable_encoder(
    obj: Any,
    include: IncEx | None = None,
    exclude: IncEx | None = None,
    by_alias: bool = True,
    exclude_unset: bool = False,
    exclude_defaults: bool = False,
    exclude_none: bool = False,
    custom_encoder: Mapping[Any, Callable[[Any], Any]] | None = None,
    sqlalchemy_safe: bool = True,
) -> Any:
    """Convert ``obj`` (models, dataclasses, dates, UUIDs, enums, sets, ...) to dicts, lists and JSON scalars.

    ``include``, ``exclude``, ``by_alias`` and ``exclude_*`` are pydantic's and reach nested models.
    ``custom_encoder`` maps types to functions and wins over the built-in table. ValueError when nothing is
    known about a type.
    """
    options: dict[str, Any] = {
        "by_alias": by_alias,
        "exclude_unset": exclude_unset,
        "exclude_defaults": exclude_defaults,
        "exclude_none": exclude_none,
    }
    walk = _Walk(options, custom_encoder or {}, sqlalchemy_safe)
    return walk(obj, _names(include), _names(exclude))


def _names(names: Any) -> Any:
    return set(names) if names is not None and not isinstance(names, set | Mapping) else names


class _Walk:
    """One traversal; the options stay the same all the way down."""

    def __init__(
        self, options: dict[str, Any], custom: Mapping[Any, Callable[[Any], Any]], safe: bool
    ) -> None:
        self.options = options
        self.custom = custom
        self.safe = safe

    def __call__(self, obj: Any, include: Any = None, exclude: Any = None) -> Any:
        if self.custom:
            if type(obj) in self.custom:
                return self.custom[type(obj)](obj)
            for kind, encode in self.custom.items():
                if isinstance(kind, type) and isinstance(obj, kind):
                    return encode(obj)
        if isinstance(obj, BaseModel):
            dumped = obj.model_dump(mode="json", include=include, exclude=exclude, **self.options)
            return self(dumped)
        if dataclasses.is_dataclass(obj) and not isinstance(obj, type):
            fields = {field.name: getattr(obj, field.name) for field in dataclasses.fields(obj)}
            return self(fields, include, exclude)
        if isinstance(obj, Enum):
            return obj.value
        if isinstance(obj, PurePath):
            return str(obj)
        if obj is None or isinstance(obj, str | int | float):
            return obj
        if isinstance(obj, PydanticUndefinedType):
            return None
        if isinstance(obj, dict):
            return self._dict(obj, include, exclude)
        if isinstance(obj, list | set | frozenset | GeneratorType | tuple | deque):
            return [self(item, include, exclude) for item in obj]
        return self._other(obj, include, exclude)

    def _dict(self, obj: dict[Any, Any], include: Any, exclude: Any) -> dict[Any, Any]:
        keys = set(obj)
        if include is not None:
            keys &= set(include)
        if exclude is not None:
            keys -= set(exclude)
        drop_none = self.options["exclude_none"]
        result: dict[Any, Any] = {}
        for key, value in obj.items():
            if self.safe and isinstance(key, str) and key.startswith("_sa"):
                continue
            if (drop_none and value is None) or key not in keys:
                continue
            result[self(key)] = self(value)
        return result

    def _other(self, obj: Any, include: Any, exclude: Any) -> Any:
        encode = ENCODERS_BY_TYPE.get(type(obj))
        if encode is None:
            encode = next((function for kind, function in _BY_BASE if isinstance(obj, kind)), None)
        if encode is not None:
            return encode(obj)
        try:
            data = dict(obj)
        except Exception as first:
            try:
                data = vars(obj)
            except Exception as second:
                raise ValueError([first, second]) from second
        return self(data, include, exclude)


def json_text(value: Any) -> str:
    """Return ``value`` as compact JSON text, as responses send it; ValueError for NaN and infinity."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


__all__ = ["ENCODERS_BY_TYPE", "jsonable_encoder"]
