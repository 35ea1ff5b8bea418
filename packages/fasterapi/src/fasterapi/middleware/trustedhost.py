"""Refusing requests for other hosts."""

from __future__ import annotations

from collections.abc import Sequence

from ..datastructures import URL, Headers
from ..responses import PlainTextResponse, RedirectResponse
from ..types import ASGIApp, Receive, Scope, Send


class TrustedHostMiddleware:
    """Answers 400 unless the Host header is one of ``allowed_hosts``; ``*.example.com`` allows subdomains,
    ``*`` all.

    ``www_redirect`` sends clients from ``example.com`` to ``www.example.com`` when only the latter is
    allowed.
    """

    def __init__(
        self, app: ASGIApp, allowed_hosts: Sequence[str] | None = None, www_redirect: bool = True
    ) -> None:
        hosts = list(allowed_hosts or ["*"])
        for host in hosts:
            if "*" in host[1:] or (host.startswith("*") and host != "*" and not host.startswith("*.")):
                raise AssertionError("Domain wildcard patterns must be like '*.example.com'.")
        self.app = app
        self.allowed_hosts = hosts
        self.allow_any = "*" in hosts
        self.www_redirect = www_redirect

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.allow_any or scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "").rsplit(":", 1)[0].lower()
        www = False
        for pattern in self.allowed_hosts:
            if host == pattern or (pattern.startswith("*") and host.endswith(pattern[1:])):
                await self.app(scope, receive, send)
                return
            www = www or "www." + host == pattern
        if www and self.www_redirect:
            url = URL(scope=scope)
            await RedirectResponse(str(url.replace(netloc="www." + url.netloc)))(scope, receive, send)
            return
        await PlainTextResponse("Invalid host header", status_code=400)(scope, receive, send)


__all__ = ["TrustedHostMiddleware"]
