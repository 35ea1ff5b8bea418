"""The classes behind ``Path()``, ``Query()``, ``Body()`` and friends.

Every parameter class is a pydantic ``FieldInfo``: constraints, aliases and defaults are pydantic's, and only
the place the value comes from (``in_``) and the OpenAPI extras are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal, TypedDict

from pydantic import AliasChoices, AliasPath
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Unset: Any = PydanticUndefined


class ParamTypes(str, Enum):
    """Where a parameter is looked for."""

    query = "query"
    header = "header"
    path = "path"
    cookie = "cookie"


def _constraints(given: dict[str, Any]) -> dict[str, Any]:
    """Keep the arguments that were really passed: pydantic distinguishes 'not given' from None."""
    return {key: value for key, value in given.items() if value is not Unset}


class ParamOptions(TypedDict, total=False):
    """The keyword arguments that every parameter function takes: pydantic's, and the OpenAPI extras."""

    default_factory: Callable[[], Any] | None
    alias: str | None
    alias_priority: int | None
    validation_alias: str | AliasPath | AliasChoices | None
    serialization_alias: str | None
    title: str | None
    description: str | None
    gt: float | None
    ge: float | None
    lt: float | None
    le: float | None
    min_length: int | None
    max_length: int | None
    pattern: str | None
    regex: str | None
    discriminator: Any
    strict: bool | None
    validate_default: bool | None
    union_mode: Literal["smart", "left_to_right"] | None
    fail_fast: bool | None
    multiple_of: float | None
    allow_inf_nan: bool | None
    max_digits: int | None
    decimal_places: int | None
    examples: list[Any] | None
    example: Any
    openapi_examples: dict[str, Any] | None
    deprecated: Any
    include_in_schema: bool
    json_schema_extra: dict[str, Any] | None


class MediaOptions(ParamOptions, total=False):
    """The same with the media type of a body or form."""

    media_type: str


# FieldInfo is final for type checkers only; frameworks subclass it to carry their own data through Annotated.
class _Parameter(FieldInfo):  # type: ignore[misc]
    """What path, query, header, cookie and body parameters share."""

    in_: ParamTypes | None = None
    include_in_schema: bool
    openapi_examples: dict[str, Any] | None
    example: Any

    def __init__(
        self,
        default: Any = Unset,
        *,
        default_factory: Callable[[], Any] | None = Unset,
        annotation: Any = None,
        alias: str | None = Unset,
        alias_priority: int | None = Unset,
        validation_alias: str | AliasPath | AliasChoices | None = Unset,
        serialization_alias: str | None = Unset,
        title: str | None = Unset,
        description: str | None = Unset,
        gt: float | None = None,
        ge: float | None = None,
        lt: float | None = None,
        le: float | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
        pattern: str | None = None,
        regex: str | None = None,
        discriminator: Any = Unset,
        strict: bool | None = Unset,
        validate_default: bool | None = Unset,
        union_mode: Literal["smart", "left_to_right"] | None = Unset,
        fail_fast: bool | None = Unset,
        multiple_of: float | None = Unset,
        allow_inf_nan: bool | None = Unset,
        max_digits: int | None = Unset,
        decimal_places: int | None = Unset,
        examples: list[Any] | None = Unset,
        example: Any = Unset,
        openapi_examples: dict[str, Any] | None = None,
        deprecated: Any = Unset,
        include_in_schema: bool = True,
        json_schema_extra: dict[str, Any] | None = Unset,
        **extra: Any,
    ) -> None:
        self.include_in_schema = include_in_schema
        self.openapi_examples = openapi_examples
        self.example = example
        given: dict[str, Any] = {
            "default_factory": default_factory,
            "alias": alias,
            "alias_priority": alias_priority,
            "validation_alias": validation_alias,
            "serialization_alias": serialization_alias,
            "title": title,
            "description": description,
            "discriminator": discriminator,
            "strict": strict,
            "validate_default": validate_default,
            "union_mode": union_mode,
            "fail_fast": fail_fast,
            "multiple_of": multiple_of,
            "allow_inf_nan": allow_inf_nan,
            "max_digits": max_digits,
            "decimal_places": decimal_places,
            "examples": examples,
            "deprecated": deprecated,
        }
        bounds = {"gt": gt, "ge": ge, "lt": lt, "le": le, "min_length": min_length, "max_length": max_length}
        bounds["pattern"] = pattern or regex  # type: ignore[assignment]
        given.update({key: value for key, value in bounds.items() if value is not None})
        if annotation is not None:
            given["annotation"] = annotation
        if given["alias"] not in (Unset, None):
            # An alias names the value on the wire in both directions unless the caller says otherwise.
            for other in ("validation_alias", "serialization_alias"):
                if given[other] in (Unset, None):
                    given[other] = alias
        if json_schema_extra not in (Unset, None) or extra:
            given["json_schema_extra"] = (
                {**(json_schema_extra or {}), **extra} if extra else json_schema_extra
            )
        super().__init__(default=default, **_constraints(given))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.default})"


class Param(_Parameter):  # type: ignore[misc]
    """A parameter outside the body."""


class Path(Param):  # type: ignore[misc]
    """A part of the URL path; always required."""

    in_ = ParamTypes.path

    def __init__(self, default: Any = ..., **kwargs: Any) -> None:
        if default is not ... and default is not Unset:
            raise AssertionError("Path parameters cannot have a default value")
        super().__init__(default=..., **kwargs)


class Query(Param):  # type: ignore[misc]
    """A query string parameter."""

    in_ = ParamTypes.query


class Header(Param):  # type: ignore[misc]
    """A header; underscores of the parameter's name become hyphens unless ``convert_underscores`` is
    false.
    """

    in_ = ParamTypes.header

    def __init__(self, default: Any = Unset, *, convert_underscores: bool = True, **kwargs: Any) -> None:
        self.convert_underscores = convert_underscores
        super().__init__(default=default, **kwargs)


class Cookie(Param):  # type: ignore[misc]
    """A cookie."""

    in_ = ParamTypes.cookie


class Body(_Parameter):  # type: ignore[misc]
    """The request body or, when several body parameters exist or ``embed`` is set, one member of it."""

    def __init__(
        self,
        default: Any = Unset,
        *,
        embed: bool | None = None,
        media_type: str = "application/json",
        **kwargs: Any,
    ) -> None:
        self.embed = embed
        self.media_type = media_type
        super().__init__(default=default, **kwargs)


class Form(Body):  # type: ignore[misc]
    """A field of an urlencoded or multipart form."""

    def __init__(
        self, default: Any = Unset, *, media_type: str = "application/x-www-form-urlencoded", **kwargs: Any
    ) -> None:
        super().__init__(default=default, media_type=media_type, **kwargs)


class File(Form):  # type: ignore[misc]
    """An uploaded file."""

    def __init__(
        self, default: Any = Unset, *, media_type: str = "multipart/form-data", **kwargs: Any
    ) -> None:
        super().__init__(default=default, media_type=media_type, **kwargs)


@dataclass(frozen=True)
class Depends:
    """A declared dependency: what to call, whether its value is shared within a request, when its cleanup
    runs.

    ``inline`` keeps a sync dependency on the event loop instead of the thread pool.
    """

    dependency: Callable[..., Any] | None = None
    use_cache: bool = True
    scope: Literal["function", "request"] | None = None
    max_concurrency: int | None = None
    inline: bool = False


@dataclass(frozen=True)
class Security(Depends):
    """A dependency that also declares the OAuth2 scopes it needs."""

    scopes: Sequence[str] | None = None


__all__ = [
    "Body",
    "Cookie",
    "Depends",
    "File",
    "Form",
    "Header",
    "Param",
    "ParamTypes",
    "Path",
    "Query",
    "Security",
]
