"""Exceptions of the package.

FasterAPIError (fasterapi_core)
├── RouteConflict     two routes that would hide each other
└── TlsError          a certificate, key or setting that cannot be used
ClientDisconnect      the client left while its request was being read
└── WebSocketDisconnected   something was sent to a WebSocket whose client has left
HTTPException         an answer, raised: status_code, detail, headers
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fasterapi_core import FasterAPIError


class RouteConflict(FasterAPIError):
    """Two routes match the same requests and neither is more specific. Raised by ``Server.freeze()``."""

    code = "http.route_conflict"


class TlsError(FasterAPIError):
    """A certificate, key or other setting of TLS that cannot be used; the text names the option and the file."""

    code = "http.tls"


class ClientDisconnect(Exception):
    """The client went away while its request was being read."""


class WebSocketDisconnected(ClientDisconnect, OSError):
    """Something was sent to a WebSocket whose client has left, before the application was told.

    An OSError, which frameworks turn into their own exception (Starlette: ``WebSocketDisconnect`` 1006).
    """


class HTTPException(Exception):
    """Answer the request with this status instead of returning.

    ``detail`` becomes ``{"detail": detail}`` (any JSON value; the status phrase when None); ``headers`` are added.
    """

    def __init__(
        self, status_code: int, detail: Any = None, headers: Mapping[str, str] | None = None
    ) -> None:
        if detail is None:
            from http import HTTPStatus

            detail = HTTPStatus(status_code).phrase
        super().__init__(status_code, detail)
        self.status_code = status_code
        self.detail = detail
        self.headers = headers

    def __str__(self) -> str:
        return f"{self.status_code}: {self.detail}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}(status_code={self.status_code!r}, detail={self.detail!r})"
