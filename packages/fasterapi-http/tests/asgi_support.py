"""ASGI applications on a real server: in a thread of this process, or as the program that users start."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fasterapi_core
from fasterapi_http import Limits, Server
from fasterapi_http._asgi import as_asgi3
from fasterapi_http._http import host_asgi
from fasterapi_http._lifespan import Lifespan


class Hosted:
    """An application on its own thread and loop."""

    def __init__(self, app: Callable[..., Any], limits: Limits | None = None, **options: Any) -> None:
        self.errors: list[BaseException] = []
        self._app, self._limits, self._options = app, limits, options
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop
        self.server: Server
        self.port = 0
        self._thread = threading.Thread(target=self._main, daemon=True)
        self._thread.start()
        assert self._started.wait(10)
        if self._failure:
            raise self._failure

    def _main(self) -> None:
        try:
            fasterapi_core.run(self._serve())
        except BaseException as error:  # seen by the test instead of only on stderr
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        app = as_asgi3(self._app)
        lifespan = Lifespan(app, self._options.pop("lifespan", "auto"))
        assert await lifespan.startup()
        server_options = self._options.pop("server_options", {})
        self.server = Server(limits=self._limits, redirect_slashes=False, **server_options)
        host_asgi(self.server, app, state=lifespan.state, report=self.errors.append, **self._options)
        await self.server.start("127.0.0.1", 0)
        self.port = self.server.port
        self._started.set()
        await self._end.wait()
        await self.server.drain(2.0)
        await lifespan.shutdown()

    def stop(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._end.set)
            self._thread.join(10)
            assert not self._thread.is_alive(), "the server did not stop"


class Program:
    """``python -m fasterapi_http ...`` with what it prints."""

    def __init__(
        self, directory: Path, *arguments: str, port: int | None = None, options_of_port: bool = True
    ) -> None:
        self.output: list[str] = []
        self.port = port if port is not None else free_port()
        where = ["--port", str(self.port)] if options_of_port else []
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fasterapi_http", *where, *arguments],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.output.append(line)

    @property
    def text(self) -> str:
        return "".join(self.output)

    def wait_for(self, text: str, timeout: float = 10, count: int = 1) -> None:
        deadline = time.monotonic() + timeout
        while self.text.count(text) < count:
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.text}"
            assert self.process.poll() is None or text in self.text, f"ended:\n{self.text}"
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM, timeout: float = 10) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.end(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"did not stop:\n{self.text}") from None

    def end(self, timeout: float = 10) -> int:
        code = self.process.wait(timeout)
        self._reader.join(5)
        return code


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
