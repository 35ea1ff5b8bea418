"""Redirecting to HTTPS."""

from __future__ import annotations

from ..datastructures import URL
from ..responses import RedirectResponse
from ..types import ASGIApp, Receive, Scope, Send


class HTTPSRedirectMiddleware:
    """Sends every http and ws request to https and wss with 307."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["scheme"] not in ("http", "ws"):
            await self.app(scope, receive, send)
            return
        url = URL(scope=scope)
        netloc = url.hostname or "" if url.port in (80, 443) else url.netloc
        secure = url.replace(scheme={"http": "https", "ws": "wss"}[url.scheme], netloc=netloc)
        await RedirectResponse(str(secure), status_code=307)(scope, receive, send)


__all__ = ["HTTPSRedirectMiddleware"]
