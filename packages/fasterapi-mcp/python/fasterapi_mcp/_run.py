"""Running a server: on stdin and stdout, or behind the HTTP server that is installed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

import fasterapi_core

if TYPE_CHECKING:
    from ._server import MCPServer


@contextlib.asynccontextmanager
async def lifespan(server: MCPServer) -> AsyncIterator[None]:
    """Enters the server's lifespan and prepares its lists."""
    try:
        await server._start()
        server._prepare()
        if server._lifespan is None:
            yield
        else:
            async with server._lifespan(server) as state:
                server.state = state
                yield
    finally:
        server.close()
        await server._stop()


@contextlib.contextmanager
def private_stdio() -> Iterator[tuple[int, int]]:
    """Takes stdin and stdout for the protocol alone.

    Descriptor 1 becomes a copy of stderr and descriptor 0 reads nothing, so neither a stray ``print()`` nor a
    child process can get between the messages. Both come back at the end.
    """
    source, sink = os.dup(0), os.dup(1)
    writer = _nonblocking(sink)
    old_stdout = sys.stdout
    try:
        try:
            os.dup2(2, 1)
        except OSError:  # stderr is closed
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            os.close(null)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        with contextlib.suppress(OSError, ValueError, AttributeError):
            old_stdout.flush()  # what was printed before must not wait for the end
        sys.stdout = sys.stderr
        yield source, writer
    finally:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            old_stdout.flush()
        sys.stdout = old_stdout
        os.set_blocking(sink, True)
        os.dup2(source, 0)
        os.dup2(sink, 1)
        for fd in {source, sink, writer}:
            os.close(fd)


def _nonblocking(fd: int) -> int:
    """A descriptor for the same output in non-blocking mode.

    The mode belongs to the open file, which others may share (a terminal with its shell), so the file is
    opened anew where the system can; regular files never block.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    os.set_blocking(fd, False)
    return fd


async def stdio_async(server: MCPServer) -> None:
    """Serves stdin and stdout until the input ends."""
    async with lifespan(server):
        with private_stdio() as (source, sink):
            await server._engine.serve_stdio(source, sink, False)


def stdio(server: MCPServer) -> None:
    """`stdio_async` on a loop of its own."""
    if os.isatty(0):
        print(f"{server.name}: waiting for MCP messages on stdin; Ctrl+D ends it", file=sys.stderr)
    with contextlib.suppress(KeyboardInterrupt):
        fasterapi_core.run(stdio_async(server))


def http(server: MCPServer, *, host: str, port: int, path: str, **options: Any) -> None:
    """Serves the endpoint over HTTP until SIGINT or SIGTERM."""
    if host not in ("127.0.0.1", "localhost", "::1"):
        # Whoever listens to the world must be reachable by address; names still have to be listed.
        options["allow_ip_hosts"] = True
        options["allowed_hosts"] = [*options["allowed_hosts"], host]
    capsule = server.endpoint(**options)

    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with lifespan(server):
            await serve(capsule, host=host, port=port, path=path, ready=ready)

    def ready(listening: Any) -> None:
        name = f"[{host}]" if ":" in host else host
        print(f"{server.name}: MCP at http://{name}:{listening.port}{path}", file=sys.stderr, flush=True)

    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        fasterapi_core.run(main())


async def serve(
    capsule: object, *, host: str, port: int, path: str, ready: Callable[[Any], None] | None = None
) -> None:
    """Finds the installed HTTP server and lets it serve the endpoint until cancelled."""
    from importlib.metadata import entry_points

    found = list(entry_points(group="fasterapi.http_server", name="asyncio"))
    if not found:
        raise ImportError(
            "serving over HTTP needs an HTTP server of the family: pip install 'fasterapi-mcp[http]'"
        )
    await found[0].load()(capsule, path=path, host=host, port=port, ready=ready)
