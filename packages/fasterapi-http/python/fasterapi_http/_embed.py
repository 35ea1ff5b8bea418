"""How siblings serve a native endpoint over HTTP without knowing this package (entry points of fasterapi-http)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence

import fasterapi_core

from ._server import Server

Ready = Callable[[Server], object]


async def serve_endpoint(
    capsule: object,
    *,
    path: str,
    host: str = "127.0.0.1",
    port: int = 0,
    methods: Sequence[str] = ("GET", "POST", "DELETE"),
    ready: Ready | None = None,
) -> None:
    """Serve the endpoint at ``path`` until cancelled; ``ready(server)`` is called once it listens.

    Raises OSError when the address cannot be bound.
    """
    server = Server()
    server.add_endpoint(methods, path, capsule)
    await server.start(host, port)
    try:
        if ready is not None:
            ready(server)
        await asyncio.get_running_loop().create_future()
    finally:
        await server.drain(5.0)


def serve_endpoint_blocking(
    capsule: object,
    *,
    path: str,
    host: str = "127.0.0.1",
    port: int = 0,
    methods: Sequence[str] = ("GET", "POST", "DELETE"),
    ready: Ready | None = None,
) -> None:
    """The same from synchronous code: runs an event loop until SIGINT or SIGTERM."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(
            serve_endpoint(capsule, path=path, host=host, port=port, methods=methods, ready=ready)
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                loop.add_signal_handler(number, task.cancel)
            except (NotImplementedError, RuntimeError, ValueError):  # not the main thread
                pass
        try:
            await task
        except asyncio.CancelledError:
            pass

    fasterapi_core.run(main())
