"""Cross-origin resource sharing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..datastructures import Headers, MutableHeaders
from ..responses import PlainTextResponse, Response
from ..types import ASGIApp, Message, Receive, Scope, Send

ALL_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
SAFELISTED_HEADERS = frozenset({"Accept", "Accept-Language", "Content-Language", "Content-Type"})

PREFLIGHT_VARY = ", ".join(
    [
        "Origin",
        "Access-Control-Request-Method",
        "Access-Control-Request-Headers",
        "Access-Control-Request-Private-Network",
    ]
)


class CORSMiddleware:
    """Answers preflight requests and adds the CORS headers.

    ``allow_origins``, ``allow_methods`` and ``allow_headers`` are lists, with ``["*"]`` for all;
    ``allow_origin_regex`` is matched against the whole origin; ``max_age`` is in seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        allow_origins: Sequence[str] = (),
        allow_methods: Sequence[str] = ("GET",),
        allow_headers: Sequence[str] = (),
        allow_credentials: bool = False,
        allow_origin_regex: str | None = None,
        allow_private_network: bool = False,
        expose_headers: Sequence[str] = (),
        max_age: int = 600,
    ) -> None:
        self.app = app
        self.allow_origins = allow_origins
        self.allow_methods = ALL_METHODS if "*" in allow_methods else allow_methods
        self.allow_all_origins = "*" in allow_origins
        self.allow_all_headers = "*" in allow_headers
        self.allow_headers = sorted(SAFELISTED_HEADERS | set(allow_headers))
        self._allowed_lower = {name.lower() for name in self.allow_headers}
        self.allow_credentials = allow_credentials
        self.allow_private_network = allow_private_network
        self.allow_origin_regex = re.compile(allow_origin_regex) if allow_origin_regex is not None else None
        self.explicit_origin = not self.allow_all_origins or allow_credentials
        self.simple_headers: dict[str, str] = {}
        if self.allow_all_origins:
            self.simple_headers["Access-Control-Allow-Origin"] = "*"
        if allow_credentials:
            self.simple_headers["Access-Control-Allow-Credentials"] = "true"
        if expose_headers:
            self.simple_headers["Access-Control-Expose-Headers"] = ", ".join(expose_headers)
        self.preflight_headers: dict[str, str] = {"Vary": PREFLIGHT_VARY}
        if not self.explicit_origin:
            self.preflight_headers["Access-Control-Allow-Origin"] = "*"
        self.preflight_headers["Access-Control-Allow-Methods"] = ", ".join(self.allow_methods)
        self.preflight_headers["Access-Control-Max-Age"] = str(max_age)
        if not self.allow_all_headers:
            self.preflight_headers["Access-Control-Allow-Headers"] = ", ".join(self.allow_headers)
        if allow_credentials:
            self.preflight_headers["Access-Control-Allow-Credentials"] = "true"

    def is_allowed_origin(self, origin: str) -> bool:
        """Say whether pages of ``origin`` may read the answers."""
        if self.allow_all_origins or origin in self.allow_origins:
            return True
        return self.allow_origin_regex is not None and self.allow_origin_regex.fullmatch(origin) is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await self._preflight(headers)(scope, receive, send)
            return
        cookie = "cookie" in headers

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(message, origin, cookie)
            await send(message)

        await self.app(scope, receive, send_with_headers)

    def _add_headers(self, message: Message, origin: str | None, cookie: bool) -> None:
        message.setdefault("headers", [])
        headers = MutableHeaders(raw=list(message["headers"]))
        message["headers"] = headers.raw
        # Also without Origin: a cache must not hand this answer to a page that may not read it, or the
        # reverse.
        headers.add_vary_header("Origin")
        if origin is None:
            return
        for name, value in self.simple_headers.items():
            headers[name] = value
        # With cookies the browser wants the very origin, even where all are allowed.
        if (self.allow_all_origins and cookie) or (
            not self.allow_all_origins and self.is_allowed_origin(origin)
        ):
            headers["Access-Control-Allow-Origin"] = origin

    def _preflight(self, request: Headers) -> Response:
        origin = request["origin"]
        method = request["access-control-request-method"]
        wanted = request.get("access-control-request-headers")
        headers = dict(self.preflight_headers)
        failures: list[str] = []
        if not self.is_allowed_origin(origin):
            failures.append("origin")
        elif self.explicit_origin:
            headers["Access-Control-Allow-Origin"] = origin
        if method not in self.allow_methods:
            failures.append("method")
        if self.allow_all_headers and wanted is not None:
            headers["Access-Control-Allow-Headers"] = wanted
        elif wanted is not None and any(
            name.strip().lower() not in self._allowed_lower for name in wanted.split(",")
        ):
            failures.append("headers")
        if request.get("access-control-request-private-network") is not None:
            if self.allow_private_network:
                headers["Access-Control-Allow-Private-Network"] = "true"
            else:
                failures.append("private-network")
        if failures:
            return PlainTextResponse(
                "Disallowed CORS " + ", ".join(failures), status_code=400, headers=headers
            )
        return PlainTextResponse("OK", status_code=200, headers=headers)


__all__ = ["CORSMiddleware"]
