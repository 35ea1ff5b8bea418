"""``Result``: the rows of one query, decoded when touched, and their conversion to typed objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, is_typeddict

from . import _pg
from .exceptions import InterfaceError, MultipleResultsError, NoResultError

__all__ = ["Result", "Rows"]

_T = TypeVar("_T")


class Rows(list[_T]):
    """A list of typed rows with the same ends as ``Result``."""

    def all(self) -> list[_T]:
        """Return the rows as a plain list."""
        return list(self)

    def first(self) -> _T | None:
        """Return the first row, ``None`` when there is none."""
        return self[0] if self else None

    def one(self) -> _T:
        """Return the only row; raises ``NoResultError`` or ``MultipleResultsError``."""
        if not self:
            raise NoResultError("the query returned no row, one was expected")
        return self._only()

    def one_or_none(self) -> _T | None:
        """Return the only row or ``None``; raises ``MultipleResultsError``."""
        return self._only() if self else None

    def _only(self) -> _T:
        if len(self) > 1:
            raise MultipleResultsError(f"the query returned {len(self)} rows, one was expected")
        return self[0]


class Result(_pg.BaseResult):
    """The rows of one query as the server sent them; values become Python objects when they are touched.

    ``.all() .first() .one() .one_or_none() .scalar() .scalars() .dicts() .tuples()``, iteration, ``len()``,
    indexing; ``.status`` is the command tag and ``.rowcount`` the number of rows that the command touched.
    """

    def into(self, model: type[_T]) -> Rows[_T]:
        """Return the rows as instances of ``model``.

        ``model`` may be a dataclass, a Pydantic model (its validation applies), a ``NamedTuple``, a
        ``TypedDict`` (the dict is not checked), ``dict``, ``tuple``, or any class that takes the columns as
        keyword arguments. Raises ``InterfaceError`` when columns and fields do not fit.

        >>> pg.exec("select id, name from users").into(User).one()
        """
        return Rows(self._converted(model))

    def _converted(self, model: Any) -> list[Any]:
        make: Callable[..., Any] = model
        if model is dict or is_typeddict(model):
            return list(self.dicts())
        if model is tuple:
            return list(self.tuples())
        validator = getattr(model, "__pydantic_validator__", None)
        if validator is not None:
            validate: Callable[[object], Any] = validator.validate_python
            return [validate(row) for row in self.dicts()]
        names = getattr(model, "_fields", None)
        if names is not None and isinstance(model, type) and issubclass(model, tuple):
            self._check_fields(model, names, set(getattr(model, "_field_defaults", ())))
            return [make(**row) for row in self.dicts()]
        if dataclasses.is_dataclass(model):
            fields = [f for f in dataclasses.fields(model) if f.init]
            optional = {
                f.name
                for f in fields
                if f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING
            }
            self._check_fields(model, [f.name for f in fields], optional)
            return [make(**row) for row in self.dicts()]
        if not callable(model):
            raise InterfaceError(f"into() takes a class, not {model!r}")
        return [make(**row) for row in self.dicts()]

    def _check_fields(self, model: Any, fields: Any, optional: set[str]) -> None:
        columns = set(self.columns)
        unknown = columns.difference(fields)
        missing = set(fields) - columns - optional
        if unknown or missing:
            parts = []
            if unknown:
                parts.append(f"it has no field for column {', '.join(map(repr, sorted(unknown)))}")
            if missing:
                parts.append(f"the query has no column for field {', '.join(map(repr, sorted(missing)))}")
            raise InterfaceError(f"rows do not fit {model.__name__}: {'; '.join(parts)}")
