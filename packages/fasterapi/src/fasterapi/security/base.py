"""What all security schemes share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SecurityBase:
    """A callable dependency that also describes itself in OpenAPI: ``model`` is the Security Scheme
    Object.
    """

    model: dict[str, Any]
    scheme_name: str


class SecurityScopes:
    """The OAuth2 scopes required by all dependants of this dependency: ``scopes`` and ``scope_str``."""

    def __init__(self, scopes: Sequence[str] | None = None) -> None:
        self.scopes = list(scopes or ())
        self.scope_str = " ".join(self.scopes)


__all__ = ["SecurityBase", "SecurityScopes"]
