"""Serving an application: one process or several, until a signal ends it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import fasterapi_core as _core

if TYPE_CHECKING:
    from .applications import App

logger = logging.getLogger("fasterapi")
DRAIN_TIMEOUT = 10.0  # seconds that running requests get after the signal
RESPAWN_PAUSE = 0.5  # seconds before a worker that died is replaced


async def serve(
    app: App,
    *,
    host: str | None = "127.0.0.1",
    port: int = 8000,
    uds: str | None = None,
    fd: int | None = None,
    access_log: bool = True,
    drain_timeout: float = DRAIN_TIMEOUT,
    reuse_port: bool = False,
    stop: asyncio.Event | None = None,
    ready: Callable[[Any], object] | None = None,
    **options: Any,
) -> None:
    """Run the lifespan and the server on the running loop until ``stop`` is set or the task is cancelled.

    ``ready(server)`` is called once it listens; ``options`` go to ``fasterapi_http.Server``.
    """
    from ._native import build_server

    stop = stop or asyncio.Event()
    async with app.router.lifespan_context(app) as state:
        app.lifespan_state = dict(state or {})
        server = build_server(app, access_log=access_log, **options)
        async with app.tools.running():
            if uds is not None or fd is not None:
                await server.start(uds=uds, fd=fd)
            else:
                await server.start(host, port, reuse_port=reuse_port)
            try:
                if ready is not None:
                    ready(server)
                await stop.wait()
            finally:
                await server.drain(drain_timeout)


def _announce(server: Any) -> None:
    for sock in server.sockets:
        name = sock.getsockname()
        where = f"http://{name[0]}:{name[1]}" if isinstance(name, tuple) else f"unix:{name}"
        print(f"FasterAPI serves on {where} (Ctrl+C ends it)", file=sys.stderr, flush=True)


async def _until_signal(app: App, announce: bool, options: dict[str, Any]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    options.setdefault("ready", _announce if announce else None)
    await serve(app, stop=stop, **options)


def run(app: App, *, workers: int = 1, **options: Any) -> None:
    """Serve until SIGINT or SIGTERM, in this process or in ``workers`` of them that share the port."""
    _log_to_stderr(options.get("access_log", True))
    if workers <= 1:
        _core.run(_until_signal(app, True, options))
        return
    if options.get("uds") is not None or options.get("fd") is not None:
        raise ValueError("workers > 1 needs a TCP port: the processes share it by SO_REUSEPORT")
    if options.get("port") == 0:
        raise ValueError("workers > 1 needs a fixed port")
    _Supervisor(app, workers, options).run()


def _log_to_stderr(access_log: bool) -> None:
    """Show our records when the program has not set up logging itself."""
    if logging.getLogger().handlers:
        return
    ours = logging.getLogger("fasterapi")
    if not ours.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        ours.addHandler(handler)
        ours.setLevel(logging.INFO if access_log else logging.WARNING)


class _Supervisor:
    """Starts worker processes, replaces those that die, passes signals on."""

    def __init__(self, app: App, workers: int, options: dict[str, Any]) -> None:
        self.app = app
        self.workers = workers
        self.options = {**options, "reuse_port": True}
        self.children: set[int] = set()
        self.stopping = False

    def run(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop)
        for index in range(self.workers):
            self._spawn(announce=index == 0)
        while self.children:
            try:
                pid, status = os.wait()
            except InterruptedError:
                continue
            except ChildProcessError:
                return
            self.children.discard(pid)
            if not self.stopping:
                logger.warning(
                    "worker %d ended with status %d and is replaced", pid, os.waitstatus_to_exitcode(status)
                )
                signal.sigtimedwait([], RESPAWN_PAUSE)
                if not self.stopping:
                    self._spawn(announce=False)

    def _stop(self, number: int, frame: Any) -> None:
        self.stopping = True
        for pid in self.children:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass

    def _spawn(self, *, announce: bool) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            self.children.add(pid)
            return
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _core.run(_until_signal(self.app, announce, dict(self.options)))
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
