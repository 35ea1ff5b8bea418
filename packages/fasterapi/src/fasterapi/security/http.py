"""HTTP authentication: Basic, Bearer, Digest."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any

from pydantic import BaseModel

from ..exceptions import HTTPException
from ..requests import HTTPConnection
from .base import SecurityBase
from .utils import get_authorization_scheme_param


class HTTPBasicCredentials(BaseModel):
    """User name and password of HTTP Basic."""

    username: str
    password: str


class HTTPAuthorizationCredentials(BaseModel):
    """Scheme and credentials of an Authorization header."""

    scheme: str
    credentials: str


class HTTPBase(SecurityBase):
    """Any HTTP authentication scheme; gives ``HTTPAuthorizationCredentials``."""

    def __init__(
        self,
        *,
        scheme: str,
        scheme_name: str | None = None,
        description: str | None = None,
        auto_error: bool = True,
    ) -> None:
        self.model: dict[str, Any] = {"type": "http", "scheme": scheme}
        if description is not None:
            self.model["description"] = description
        self.scheme_name = scheme_name or type(self).__name__
        self.auto_error = auto_error

    def authenticate_headers(self) -> dict[str, str]:
        """Return the WWW-Authenticate header of the refusal."""
        return {"WWW-Authenticate": f"{self.model['scheme'].title()}"}

    def refusal(self) -> HTTPException:
        """Return the exception for a request without valid credentials."""
        return HTTPException(status_code=401, detail="Not authenticated", headers=self.authenticate_headers())

    async def __call__(self, request: HTTPConnection) -> Any:
        scheme, credentials = get_authorization_scheme_param(request.headers.get("authorization"))
        if scheme and credentials:
            return HTTPAuthorizationCredentials(scheme=scheme, credentials=credentials)
        if self.auto_error:
            raise self.refusal()
        return None


class HTTPBasic(HTTPBase):
    """HTTP Basic; gives ``HTTPBasicCredentials``."""

    def __init__(
        self,
        *,
        scheme_name: str | None = None,
        realm: str | None = None,
        description: str | None = None,
        auto_error: bool = True,
    ) -> None:
        super().__init__(
            scheme="basic", scheme_name=scheme_name, description=description, auto_error=auto_error
        )
        self.realm = realm

    def authenticate_headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": f'Basic realm="{self.realm}"' if self.realm else "Basic"}

    async def __call__(self, request: HTTPConnection) -> HTTPBasicCredentials | None:
        scheme, param = get_authorization_scheme_param(request.headers.get("authorization"))
        if not param or scheme.lower() != "basic":
            if self.auto_error:
                raise self.refusal()
            return None
        try:
            data = b64decode(param).decode("ascii")
        except (ValueError, UnicodeDecodeError, binascii.Error) as exc:
            raise self.refusal() from exc
        username, colon, password = data.partition(":")
        if not colon:
            raise self.refusal()
        return HTTPBasicCredentials(username=username, password=password)


class _TokenScheme(HTTPBase):
    """Schemes whose name must match."""

    async def __call__(self, request: HTTPConnection) -> HTTPAuthorizationCredentials | None:
        scheme, credentials = get_authorization_scheme_param(request.headers.get("authorization"))
        if scheme and credentials and scheme.lower() == self.model["scheme"]:
            return HTTPAuthorizationCredentials(scheme=scheme, credentials=credentials)
        if self.auto_error:
            raise self.refusal()
        return None


class HTTPBearer(_TokenScheme):
    """HTTP Bearer tokens."""

    def __init__(
        self,
        *,
        bearerFormat: str | None = None,  # noqa: N803  (the name in OpenAPI)
        scheme_name: str | None = None,
        description: str | None = None,
        auto_error: bool = True,
    ) -> None:
        super().__init__(
            scheme="bearer", scheme_name=scheme_name, description=description, auto_error=auto_error
        )
        if bearerFormat is not None:
            self.model["bearerFormat"] = bearerFormat


class HTTPDigest(_TokenScheme):
    """HTTP Digest; only the header is taken apart, the digest is for the application to check."""

    def __init__(
        self, *, scheme_name: str | None = None, description: str | None = None, auto_error: bool = True
    ) -> None:
        super().__init__(
            scheme="digest", scheme_name=scheme_name, description=description, auto_error=auto_error
        )


__all__ = [
    "HTTPAuthorizationCredentials",
    "HTTPBase",
    "HTTPBasic",
    "HTTPBasicCredentials",
    "HTTPBearer",
    "HTTPDigest",
]
