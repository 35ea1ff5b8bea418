"""Types shared by the modules of the package."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

DecoratedCallable = TypeVar("DecoratedCallable", bound=Callable[..., Any])

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]
StatelessLifespan = Lifespan

IncEx = set[int] | set[str] | Mapping[int, Any] | Mapping[str, Any]

__all__ = [
    "ASGIApp",
    "DecoratedCallable",
    "IncEx",
    "Lifespan",
    "Message",
    "Receive",
    "Scope",
    "Send",
    "StatelessLifespan",
]
