"""The lifespan protocol: start-up and shutdown of an ASGI application."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Literal

from ._asgi import ASGIApp, Message

Mode = Literal["auto", "on", "off"]

_log = logging.getLogger("fasterapi.error")


class Lifespan:
    """Runs the application's lifespan in a task of its own, from ``startup()`` to ``shutdown()``.

    ``mode`` "auto" takes an exception before the start-up is complete as "not supported"; "on" as a failure; "off"
    never asks. ``state`` is what the application leaves for its requests.
    """

    def __init__(self, app: ASGIApp, mode: Mode = "auto") -> None:
        self.state: dict[str, Any] = {}
        self.startup_failed = False
        self.shutdown_failed = False
        self._app, self._mode = app, mode
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._started = asyncio.Event()
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._supported = False

    async def startup(self) -> bool:
        """Let the application start. False when it failed and nothing must be served."""
        if self._mode == "off":
            return True
        _log.info("Waiting for application startup.")
        self._asked.put_nowait({"type": "lifespan.startup"})
        self._task = asyncio.get_running_loop().create_task(self._run(), name="fasterapi-http lifespan")
        await self._started.wait()
        if self.startup_failed:
            _log.error("Application startup failed. Exiting.")
            return False
        _log.info("Application startup complete.")
        return True

    async def shutdown(self) -> None:
        """Let the application stop; returns when it has."""
        if self._task is None:
            return
        if self._supported and not self._task.done():
            _log.info("Waiting for application shutdown.")
            self._asked.put_nowait({"type": "lifespan.shutdown"})
            await self._stopped.wait()
            if self.shutdown_failed:
                _log.error("Application shutdown failed. Exiting.")
            else:
                _log.info("Application shutdown complete.")
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            await self._app(scope, self._receive, self._send)
        except BaseException as error:
            if self._started.is_set():
                self.shutdown_failed = True
                if not isinstance(error, asyncio.CancelledError):
                    _log.error("Exception in 'lifespan' protocol", exc_info=error)
            elif self._mode == "on" or self.startup_failed:
                self.startup_failed = True
                _log.error("Exception in 'lifespan' protocol", exc_info=error)
            else:
                _log.info("ASGI 'lifespan' protocol appears unsupported.")
        finally:
            self._started.set()
            self._stopped.set()

    async def _receive(self) -> Message:
        return await self._asked.get()

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "lifespan.startup.complete" and not self._started.is_set():
            self._supported = True
            self._started.set()
        elif kind == "lifespan.startup.failed" and not self._started.is_set():
            self.startup_failed = True
            if message.get("message"):
                _log.error(message["message"])
            self._started.set()
        elif kind == "lifespan.shutdown.complete" and self._started.is_set() and not self._stopped.is_set():
            self._stopped.set()
        elif kind == "lifespan.shutdown.failed" and self._started.is_set() and not self._stopped.is_set():
            self.shutdown_failed = True
            if message.get("message"):
                _log.error(message["message"])
            self._stopped.set()
        else:
            raise RuntimeError(f"Got an unexpected lifespan event '{kind}' from the application.")
