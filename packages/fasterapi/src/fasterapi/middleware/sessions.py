"""Sessions in a signed cookie."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any, Literal

from ..datastructures import MutableHeaders
from ..requests import HTTPConnection
from ..types import ASGIApp, Message, Receive, Scope, Send


class SessionMiddleware:
    """Keeps ``request.session`` in a cookie that the client can read but not change (HMAC-SHA256 under
    ``secret_key``).

    ``max_age`` is in seconds, None for a cookie that ends with the browser. The format is our own: cookies
    signed by other frameworks are treated as absent.
    """

    def __init__(
        self,
        app: ASGIApp,
        secret_key: str,
        session_cookie: str = "session",
        max_age: int | None = 14 * 24 * 60 * 60,
        path: str = "/",
        same_site: Literal["lax", "strict", "none"] = "lax",
        https_only: bool = False,
        domain: str | None = None,
    ) -> None:
        self.app = app
        self._key = hashlib.sha256(b"fasterapi.session\0" + str(secret_key).encode()).digest()
        self.session_cookie = session_cookie
        self.max_age = max_age
        self.path = path
        flags = ["httponly", f"samesite={same_site}"]
        if https_only:
            flags.append("secure")
        if domain is not None:
            flags.append(f"domain={domain}")
        self.security_flags = "; ".join(flags)

    def _sign(self, payload: bytes) -> bytes:
        digest = hmac.digest(self._key, payload, "sha256")
        return payload + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")

    def _dump(self, session: dict[str, Any]) -> str:
        data = base64.urlsafe_b64encode(json.dumps(session).encode()).rstrip(b"=")
        return self._sign(data + b"." + str(int(time.time())).encode()).decode()

    def _load(self, cookie: str) -> dict[str, Any]:
        raw = cookie.encode("latin-1", "replace")
        payload, _, _ = raw.rpartition(b".")
        if not payload or not hmac.compare_digest(self._sign(payload), raw):
            return {}
        data, _, stamp = payload.partition(b".")
        if self.max_age is not None and time.time() - int(stamp) > self.max_age:
            return {}
        session = json.loads(base64.urlsafe_b64decode(data + b"=" * (-len(data) % 4)))
        return session if isinstance(session, dict) else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        cookie = HTTPConnection(scope).cookies.get(self.session_cookie)
        session = scope["session"] = self._load(cookie) if cookie else {}
        had_session = bool(session)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                current = scope["session"]
                if current or had_session:
                    message["headers"] = list(message.get("headers", ()))
                    MutableHeaders(raw=message["headers"]).append("set-cookie", self._cookie(current))
            await send(message)

        await self.app(scope, receive, send_with_cookie)

    def _cookie(self, session: dict[str, Any]) -> str:
        path = f"path={self.path}; {self.security_flags}"
        if not session:
            return f"{self.session_cookie}=null; {path}; expires=Thu, 01 Jan 1970 00:00:00 GMT"
        age = f"Max-Age={self.max_age}; " if self.max_age is not None else ""
        return f"{self.session_cookie}={self._dump(session)}; {age}{path}"


__all__ = ["SessionMiddleware"]
