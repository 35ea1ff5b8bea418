"""API keys in a query parameter, a header or a cookie."""

from __future__ import annotations

from typing import Any

from ..exceptions import HTTPException
from ..requests import HTTPConnection
from .base import SecurityBase


class _APIKey(SecurityBase):
    place: str

    def __init__(
        self,
        *,
        name: str,
        scheme_name: str | None = None,
        description: str | None = None,
        auto_error: bool = True,
    ) -> None:
        self.model: dict[str, Any] = {"type": "apiKey", "in": self.place, "name": name}
        if description is not None:
            self.model["description"] = description
        self.name = name
        self.scheme_name = scheme_name or type(self).__name__
        self.auto_error = auto_error

    def _check(self, key: str | None) -> str | None:
        if key:
            return key
        if self.auto_error:
            raise HTTPException(
                status_code=401, detail="Not authenticated", headers={"WWW-Authenticate": "APIKey"}
            )
        return None


class APIKeyQuery(_APIKey):
    """The key is the query parameter ``name``."""

    place = "query"

    async def __call__(self, request: HTTPConnection) -> str | None:
        return self._check(request.query_params.get(self.name))


class APIKeyHeader(_APIKey):
    """The key is the header ``name``."""

    place = "header"

    async def __call__(self, request: HTTPConnection) -> str | None:
        return self._check(request.headers.get(self.name))


class APIKeyCookie(_APIKey):
    """The key is the cookie ``name``."""

    place = "cookie"

    async def __call__(self, request: HTTPConnection) -> str | None:
        return self._check(request.cookies.get(self.name))


__all__ = ["APIKeyCookie", "APIKeyHeader", "APIKeyQuery"]
