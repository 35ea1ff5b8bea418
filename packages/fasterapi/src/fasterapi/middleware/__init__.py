"""ASGI middleware, and ``Middleware`` to declare it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Middleware:
    """A middleware class with its arguments, for ``App(middleware=[...])``."""

    def __init__(self, cls: Any, *args: Any, **kwargs: Any) -> None:
        self.cls = cls
        self.args = args
        self.kwargs = kwargs

    def __iter__(self) -> Iterator[Any]:
        return iter((self.cls, self.args, self.kwargs))

    def __repr__(self) -> str:
        given = [repr(arg) for arg in self.args] + [f"{key}={value!r}" for key, value in self.kwargs.items()]
        return f"Middleware({', '.join([getattr(self.cls, '__name__', repr(self.cls)), *given])})"


__all__ = ["Middleware"]
