"""Errors that handlers raise and the application answers.

FasterAPIError (the package's base)
├── DependencyScopeError      a request-scoped dependency depends on a function-scoped one
└── ValidationException       .errors()
    ├── RequestValidationError           answered 422
    ├── WebSocketRequestValidationError  closes with 1008
    └── ResponseValidationError          answered 500
HTTPException                 .status_code .detail .headers
WebSocketException            .code .reason
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fasterapi_core import FasterAPIError as _CoreError
from fasterapi_http import HTTPException


class WebSocketException(Exception):
    """Close the WebSocket with ``code`` and ``reason``."""

    def __init__(self, code: int, reason: str | None = None) -> None:
        self.code = code
        self.reason = reason or ""
        super().__init__(code, self.reason)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code!r}, reason={self.reason!r})"


class FasterAPIError(_CoreError, RuntimeError):
    """Base of the package's own errors."""

    code = "app.error"


class DependencyScopeError(FasterAPIError):
    """A dependency with scope "request" depends on one with scope "function", which would be gone too
    early.
    """

    code = "app.dependency_scope"


class ValidationException(Exception):
    """Holds a list of validation errors as FastAPI shows them: dicts with type, loc, msg, input, ctx."""

    def __init__(self, errors: Sequence[Any], *, endpoint_ctx: Mapping[str, Any] | None = None) -> None:
        super().__init__(errors)
        self._errors = errors
        self.endpoint_ctx = endpoint_ctx or {}

    def errors(self) -> Sequence[Any]:
        """Return the list of errors."""
        return self._errors

    def __str__(self) -> str:
        lines = [f"{len(self._errors)} validation error{'' if len(self._errors) == 1 else 's'}:"]
        lines += [f"  {error}" for error in self._errors]
        if self.endpoint_ctx:
            lines.append("  in " + " ".join(str(item) for item in self.endpoint_ctx.values()))
        return "\n".join(lines)


class RequestValidationError(ValidationException):
    """The request does not fit the handler's parameters; ``body`` is what was received."""

    def __init__(
        self, errors: Sequence[Any], *, body: Any = None, endpoint_ctx: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(errors, endpoint_ctx=endpoint_ctx)
        self.body = body


class WebSocketRequestValidationError(ValidationException):
    """The handshake does not fit the WebSocket handler's parameters."""


class ResponseValidationError(ValidationException):
    """What the handler returned does not fit the response model; ``body`` is that value."""

    def __init__(
        self, errors: Sequence[Any], *, body: Any = None, endpoint_ctx: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(errors, endpoint_ctx=endpoint_ctx)
        self.body = body


__all__ = [
    "DependencyScopeError",
    "FasterAPIError",
    "HTTPException",
    "RequestValidationError",
    "ResponseValidationError",
    "ValidationException",
    "WebSocketException",
    "WebSocketRequestValidationError",
]
