"""ASGI applications: finding them by name, and the forms they come in."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Literal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Interface = Literal["auto", "asgi3", "asgi2", "wsgi"]


class AppImportError(Exception):
    """The application named on the command line cannot be imported."""


def import_app(name: str, *, app_dir: str | None = "", factory: bool = False) -> Callable[..., Any]:
    """Import ``"package.module:attribute"``; with ``factory`` the attribute is called without arguments.

    ``app_dir`` is put in front of ``sys.path`` ("" is the current directory, None leaves it alone). Raises
    AppImportError with what is missing; errors inside the module propagate.
    """
    module_name, separator, attribute = name.partition(":")
    if not separator or not module_name or not attribute:
        raise AppImportError(f"'{name}' is not of the form 'module:attribute'")
    if app_dir is not None:
        directory = os.path.abspath(app_dir or ".")
        if directory not in sys.path:
            sys.path.insert(0, directory)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name == error.name or module_name.startswith(error.name + ".")):
            raise  # something that the module itself imports
        raise AppImportError(f"there is no module named '{error.name}' (looked for '{name}')") from None
    found: Any = module
    try:
        for part in attribute.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise AppImportError(f"module '{module_name}' has no attribute '{attribute}'") from None
    if factory:
        found = found()
    if not callable(found):
        raise AppImportError(f"'{name}' is not callable: {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def is_asgi3(app: Callable[..., Any]) -> bool:
    """Whether the application takes (scope, receive, send) at once."""
    if inspect.isclass(app):
        return hasattr(app, "__await__")
    if inspect.iscoroutinefunction(app):
        return True
    return inspect.iscoroutinefunction(getattr(app, "__call__", None))  # noqa: B004


def is_wsgi(app: Callable[..., Any]) -> bool:
    """Whether the application takes (environ, start_response): two arguments, and is no coroutine function."""
    if is_asgi3(app):
        return False
    try:
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [
        p
        for p in parameters
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return len(needed) == 2


def as_asgi3(app: Callable[..., Any], interface: Interface = "auto") -> ASGIApp:
    """The application in its ASGI 3 form; ASGI 2 ones (``app(scope)(receive, send)``) are wrapped."""
    if interface == "asgi3" or (interface == "auto" and is_asgi3(app)):
        return app

    async def asgi2(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope)(receive, send)

    return asgi2
