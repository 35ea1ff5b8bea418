"""Mcp-Param-* headers: arguments that routers in between may read."""

from __future__ import annotations

from typing import Any

from ._errors import HEADER_MISMATCH, MCPError
from ._mcp import Call


def check_param_headers(
    call: Call, mirrored: list[tuple[str, tuple[str, ...], str]], arguments: dict[str, Any]
) -> None:
    """Mcp-Param-* must mirror the arguments, or a router in between was told something else."""
    for header, path, kind in mirrored:
        value: Any = arguments
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        raw = call.header(header)
        if value is None:
            if raw is not None:
                raise MCPError(HEADER_MISMATCH, f"Header mismatch: {header} has no counterpart in the body")
            continue
        if raw is None:
            raise MCPError(HEADER_MISMATCH, f"Header mismatch: {header} is missing")
        text = call.decoded_header(header)
        if kind == "boolean":
            same = text == ("true" if value is True else "false")
        elif kind == "integer":
            try:
                same = text is not None and int(text) == value
            except ValueError:
                same = False
        else:
            same = text == value
        if not same:
            raise MCPError(HEADER_MISMATCH, f"Header mismatch: {header} differs from the body")
