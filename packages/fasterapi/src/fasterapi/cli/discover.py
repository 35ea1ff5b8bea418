"""Finding the application: ``module:app``, a file, a folder, or nothing at all."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from ..applications import App

_FILES = ("main.py", "app.py", "api.py", "app/main.py", "app/app.py", "app/api.py")
_NAMES = ("app", "api", "application")


class DiscoveryError(Exception):
    """The application was not found; the message says what was tried."""


def find_target(target: str | None, name: str | None) -> str:
    """Return ``module:name`` for what the user gave, and put the folder of the module on the path."""
    if target and ":" in target and not Path(target).exists():
        module, _, attribute = target.partition(":")
        if not module.endswith(".py"):
            sys.path.insert(0, str(Path.cwd()))
            return f"{module}:{attribute}"
        target, name = module, attribute
    path = Path(target) if target else _default_file()
    if path.is_dir():
        candidates = [path / file for file in ("main.py", "app.py", "api.py", "__init__.py")]
        path = next((file for file in candidates if file.is_file()), path / "main.py")
    if not path.is_file():
        if target and not target.endswith(".py") and "/" not in target:
            sys.path.insert(0, str(Path.cwd()))
            return f"{target}:{name or _app_in(target)}"
        raise DiscoveryError(f"Path does not exist: {path}")
    module = _module_of(path.resolve())
    return f"{module}:{name or _app_in(module)}"


def _default_file() -> Path:
    for file in _FILES:
        if Path(file).is_file():
            return Path(file)
    raise DiscoveryError("No application given, and none of these files exist: " + ", ".join(_FILES))


def _module_of(path: Path) -> str:
    """Return the dotted name of a file; packages are followed upwards to the first folder without
    __init__.py.
    """
    parts = [] if path.stem == "__init__" else [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    sys.path.insert(0, str(folder))
    return ".".join(parts)


def _app_in(module: str) -> str:
    loaded = importlib.import_module(module)
    for name in _NAMES:
        if isinstance(getattr(loaded, name, None), App):
            return name
    for name, value in vars(loaded).items():
        if isinstance(value, App):
            return name
    raise DiscoveryError(f"Could not find an App in module {module!r}; name it, as in {module}:my_app")


def load(target: str) -> Any:
    """Import ``module:name``; a function is called and returns the application."""
    module, _, name = target.partition(":")
    try:
        value: Any = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        if exc.name == module or module.startswith(f"{exc.name}."):
            raise DiscoveryError(f"There is no module {module!r}") from None
        raise
    for part in name.split("."):
        if not hasattr(value, part):
            raise DiscoveryError(f"Module {module!r} has no {name!r}")
        value = getattr(value, part)
    if not isinstance(value, App) and callable(value) and not hasattr(value, "router"):
        value = value()
    if not isinstance(value, App):
        raise DiscoveryError(f"{target} is not an App but {type(value).__name__}")
    return value
