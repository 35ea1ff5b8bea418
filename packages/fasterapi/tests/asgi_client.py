"""A request to an ASGI application without a server."""

import asyncio
from typing import Any

import httpx


def asgi_request(
    app: Any, method: str, url: str, *, raise_app_exceptions: bool = False, **options: Any
) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=raise_app_exceptions)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.request(method, url, **options)

    return asyncio.run(send())
