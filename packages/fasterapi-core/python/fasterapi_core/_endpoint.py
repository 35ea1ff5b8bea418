"""How a package serves a native endpoint over HTTP without knowing the HTTP server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ._errors import FasterAPIError

GROUP = "fasterapi.http_server"


class EndpointServerMissing(FasterAPIError, ImportError):
    """No installed package offers an HTTP server for native endpoints."""

    code = "core.no_http_server"


async def serve_endpoint(
    capsule: object,
    *,
    path: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    methods: Sequence[str] = ("GET", "POST", "DELETE"),
    ready: Callable[[Any], object] | None = None,
) -> None:
    """Serve a native ``core::Endpoint`` (a capsule) at `path` until cancelled.

    The server is found through the entry-point group ``fasterapi.http_server``; `ready` is called with it
    once it listens. Raises EndpointServerMissing when no package provides one, OSError when the address
    cannot be bound.
    """
    from importlib import metadata  # here: importing it costs a tenth of a start

    found = sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    if not found:
        raise EndpointServerMissing(
            "serving over HTTP needs the package fasterapi-http: pip install fasterapi-http (or the [http] extra)"
        )
    serve = found[0].load()
    await serve(capsule, path=path, host=host, port=port, methods=tuple(methods), ready=ready)
