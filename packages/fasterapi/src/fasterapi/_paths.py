"""Path templates: ``/users/{id:int}`` to a pattern, and back to a URL."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple


class Convertor(NamedTuple):
    """A path parameter type: what it matches, how it is read and written."""

    regex: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]


def _text(value: Any) -> str:
    text = str(value)
    assert text and "/" not in text, "May not contain path separators"
    return text


def _number(value: Any) -> str:
    assert value >= 0, "Negative numbers are not supported"
    return str(value)


def _float(value: Any) -> str:
    assert value >= 0.0, "Negative floats are not supported"
    return f"{value:0.20f}".rstrip("0").rstrip(".")


CONVERTORS: dict[str, Convertor] = {
    "str": Convertor("[^/]+", str, _text),
    "path": Convertor(".*", str, str),
    "int": Convertor("[0-9]+", int, _number),
    "float": Convertor(r"[0-9]+(?:\.[0-9]+)?", float, _float),
    "uuid": Convertor(
        "[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}", uuid.UUID, str
    ),
}

_PARAMETER = re.compile("{([a-zA-Z_][a-zA-Z0-9_]*)(?::([a-zA-Z_][a-zA-Z0-9_]*))?}")


class NoMatchFound(Exception):
    """No route has this name and these parameters."""

    def __init__(self, name: str, path_params: dict[str, Any]) -> None:
        super().__init__(f'No route exists for name "{name}" and params "{", ".join(path_params)}".')


class PathTemplate:
    """A compiled path template."""

    __slots__ = ("convertors", "format", "pattern")

    def __init__(self, path: str, *, exact: bool = True) -> None:
        self.convertors: dict[str, Convertor] = {}
        regex = "^"
        self.format = ""
        at = 0
        for match in _PARAMETER.finditer(path):
            name, kind = match.group(1), match.group(2) or "str"
            if kind not in CONVERTORS:
                raise AssertionError(f"Unknown path convertor '{kind}'")
            if name in self.convertors:
                raise ValueError(f"Duplicated param name {name} at path {path}")
            convertor = CONVERTORS[kind]
            literal = path[at : match.start()]
            regex += f"{re.escape(literal)}(?P<{name}>{convertor.regex})"
            self.format += f"{literal}{{{name}}}"
            self.convertors[name] = convertor
            at = match.end()
        regex += re.escape(path[at:])
        self.format += path[at:]
        self.pattern = re.compile(regex + ("$" if exact else ""))

    def match(self, path: str) -> dict[str, Any] | None:
        """Return the converted parameters, or None."""
        found = self.pattern.match(path)
        if found is None:
            return None
        if not self.convertors:
            return {}
        return {name: self.convertors[name].read(value) for name, value in found.groupdict().items()}

    def build(self, name: str, path_params: dict[str, Any]) -> str:
        """Return the path with ``path_params`` filled in; NoMatchFound when the names differ."""
        if set(path_params) != set(self.convertors):
            raise NoMatchFound(name, path_params)
        path = self.format
        for key, value in path_params.items():
            path = path.replace(f"{{{key}}}", self.convertors[key].write(value))
        return path


def path_of(scope: Any) -> str:
    """Return the part of the path below the mounts passed so far."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and (path == root or path[len(root)] == "/"):
        return path[len(root) :]
    return path
