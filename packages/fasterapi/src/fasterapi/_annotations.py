"""Questions about type annotations: is it a scalar, a list, a model, a file?"""

from __future__ import annotations

import dataclasses
import types
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from .datastructures import UploadFile

SEQUENCES = (Sequence, list, tuple, set, frozenset, deque)
_UNIONS = (Union, types.UnionType)


def is_subclass(candidate: Any, bases: type[Any] | tuple[type[Any], ...]) -> bool:
    """``issubclass`` that says no to everything that is not a class."""
    return isinstance(candidate, type) and issubclass(candidate, bases)


def is_union(annotation: Any) -> bool:
    """Say whether the annotation is ``X | Y`` in any spelling."""
    return get_origin(annotation) in _UNIONS


def bare(annotation: Any) -> Any:
    """Return the annotation without ``Annotated`` around it."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def without_none(annotation: Any) -> Any:
    """Return X for ``X | None``, the annotation itself otherwise."""
    if is_union(annotation):
        rest = [arg for arg in get_args(annotation) if arg is not type(None)]
        if len(rest) == 1 and len(get_args(annotation)) == 2:
            return rest[0]
    return annotation


def allows_none(annotation: Any) -> bool:
    """Say whether None is one of the union's choices."""
    return is_union(annotation) and type(None) in get_args(annotation)


def _is_sequence_class(annotation: Any) -> bool:
    return is_subclass(annotation, SEQUENCES) and not is_subclass(annotation, (str, bytes))


def is_sequence(annotation: Any) -> bool:
    """Say whether values are lists, tuples, sets or the like (in a union: one of them)."""
    annotation = bare(annotation)
    if is_union(annotation):
        return any(is_sequence(arg) for arg in get_args(annotation))
    return _is_sequence_class(annotation) or _is_sequence_class(get_origin(annotation))


def _is_complex_class(annotation: Any) -> bool:
    return (
        is_subclass(annotation, (BaseModel, Mapping, UploadFile))
        or _is_sequence_class(annotation)
        or dataclasses.is_dataclass(annotation)
    )


def is_scalar(annotation: Any) -> bool:
    """Say whether a value fits into one string, as in a path or a query."""
    if annotation is Ellipsis:  # the second half of tuple[int, ...]
        return True
    annotation = bare(annotation)
    if is_union(annotation):
        return all(is_scalar(arg) for arg in get_args(annotation))
    origin = get_origin(annotation)
    return not (
        _is_complex_class(annotation)
        or _is_complex_class(origin)
        or hasattr(origin, "__pydantic_core_schema__")
        or hasattr(origin, "__get_pydantic_core_schema__")
    )


def is_scalar_sequence(annotation: Any) -> bool:
    """Say whether it is a sequence of scalars, as a repeated query parameter gives."""
    annotation = bare(annotation)
    if is_union(annotation):
        args = get_args(annotation)
        return any(is_scalar_sequence(arg) for arg in args) and all(
            is_scalar_sequence(arg) or is_scalar(arg) for arg in args
        )
    return is_sequence(annotation) and all(is_scalar(arg) for arg in get_args(annotation))


def is_one_of(annotation: Any, kind: type[Any]) -> bool:
    """Say whether it is ``kind`` or a union with it."""
    return is_subclass(annotation, kind) or (
        is_union(annotation) and any(is_subclass(arg, kind) for arg in get_args(annotation))
    )


def is_sequence_of(annotation: Any, kind: type[Any]) -> bool:
    """Say whether it is a sequence of ``kind``."""
    if is_union(annotation):
        return any(is_sequence_of(arg, kind) for arg in get_args(annotation))
    return is_sequence(annotation) and all(is_one_of(arg, kind) for arg in get_args(annotation))


def model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the pydantic model of ``Model`` or ``Model | None``."""
    inner = without_none(annotation)
    return inner if is_subclass(inner, BaseModel) else None


def sequence_type(annotation: Any) -> Any:
    """Return the concrete type to build for a sequence annotation."""
    annotation = bare(annotation)
    if is_union(annotation):
        annotation = next(arg for arg in get_args(annotation) if arg is not type(None))
    origin = get_origin(annotation) or annotation
    return list if origin is Sequence else origin
