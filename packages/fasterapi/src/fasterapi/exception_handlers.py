"""The default exception handlers; import them to build on them."""

from __future__ import annotations

from typing import Any

from .encoders import jsonable_encoder
from .exceptions import HTTPException, RequestValidationError, WebSocketRequestValidationError
from .responses import JSONResponse, Response

_NO_BODY = frozenset({204, 205, 304})


async def http_exception_handler(request: Any, exc: HTTPException) -> Response:
    """Answer with the exception's status and ``{"detail": ...}``."""
    headers = getattr(exc, "headers", None)
    if exc.status_code < 200 or exc.status_code in _NO_BODY:
        return Response(status_code=exc.status_code, headers=headers)
    return JSONResponse({"detail": exc.detail}, status_code=exc.status_code, headers=headers)


async def request_validation_exception_handler(request: Any, exc: RequestValidationError) -> JSONResponse:
    """Answer 422 with the list of errors."""
    return JSONResponse({"detail": jsonable_encoder(exc.errors())}, status_code=422)


async def websocket_request_validation_exception_handler(
    websocket: Any, exc: WebSocketRequestValidationError
) -> None:
    """Close with 1008 and the list of errors as the reason."""
    await websocket.close(code=1008, reason=str(jsonable_encoder(exc.errors())))


__all__ = [
    "http_exception_handler",
    "request_validation_exception_handler",
    "websocket_request_validation_exception_handler",
]
