"""SIGUSR2: another process of the same program, with the same listening sockets, takes over.

The new process gets the sockets by number (see ``_sockets.INHERIT``) and writes to a pipe once it serves; only then
does the old one stop. When it does not come up, the old one goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

from . import _notify
from ._config import Config
from ._sockets import INHERIT

READY = "FASTERAPI_HTTP_READY"
"""Environment of a process that takes over: the descriptor to write to when it serves."""
_log = logging.getLogger("fasterapi.error")


class Upgrade:
    """Starts the successor of this process, and tells the predecessor when this one serves."""

    def __init__(self, config: Config) -> None:
        self._config = config
        number = os.environ.pop(READY, "")
        self._predecessor = int(number) if number.isdigit() else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None
        self._done: Callable[[], object] = lambda: None

    # ---- on the side of the successor

    def announce_ready(self) -> None:
        """Let the predecessor end."""
        if self._predecessor is None:
            return
        try:
            os.write(self._predecessor, b"ready")
        except OSError as error:
            _log.warning("cannot tell the process that this one replaces: %s", error.strerror)
        os.close(self._predecessor)
        self._predecessor = None

    # ---- on the side of the predecessor

    def start(self, sockets: Sequence[socket.socket]) -> int | None:
        """Start the successor; returns the descriptor that becomes readable when it serves or has failed."""
        if self._child is not None:
            _log.warning("An upgrade is running already")
            return None
        command = list(sys.orig_argv)
        if not command or (len(command) > 1 and command[1] == "-c") or not isinstance(self._config.app, str):
            _log.error("SIGUSR2: the command line that started this process is not known; not upgraded")
            return None
        read, write = os.pipe()
        numbers = [sock.fileno() for sock in sockets]
        environment = {**os.environ, INHERIT: ",".join(map(str, numbers)), READY: str(write)}
        command[0] = sys.executable
        try:
            self._child = subprocess.Popen(command, env=environment, pass_fds=[*numbers, write])
        except OSError as error:
            _log.error("SIGUSR2: cannot start %s: %s", command[0], error.strerror)
            os.close(read)
            return None
        finally:
            os.close(write)
        _log.info("Started process [%d] to take over", self._child.pid)
        self._pipe = read
        return read

    def finish(self) -> bool:
        """Whether the successor serves; to be called when the descriptor is readable."""
        assert self._pipe is not None and self._child is not None
        good = os.read(self._pipe, 16) == b"ready"
        os.close(self._pipe)
        self._pipe = None
        child, self._child = self._child, None
        if good:
            _log.info("Process [%d] has taken over", child.pid)
            _notify.send(f"MAINPID={child.pid}")
            child.returncode = 0  # it lives on without us: do not wait for it
            return True
        code = child.wait()
        _log.error("Process [%d] did not start (code %d); this one goes on", child.pid, code)
        return False

    # ---- for a process that has an event loop and no supervisor

    def install(self, start: Callable[[], int | None], done: Callable[[], object]) -> None:
        """Begin on SIGUSR2; ``done()`` when the successor serves."""
        self._loop = asyncio.get_running_loop()
        self._done = done

        def begin() -> None:
            descriptor = start()
            if descriptor is not None and self._loop is not None:
                self._loop.add_reader(descriptor, self._readable, descriptor)

        try:
            self._loop.add_signal_handler(signal.SIGUSR2, begin)
        except (NotImplementedError, RuntimeError, ValueError):
            self._loop = None  # not the main thread

    def uninstall(self) -> None:
        """Signals are somebody else's again."""
        if self._loop is not None:
            self._loop.remove_signal_handler(signal.SIGUSR2)
            if self._pipe is not None:
                self._loop.remove_reader(self._pipe)

    def _readable(self, descriptor: int) -> None:
        assert self._loop is not None
        self._loop.remove_reader(descriptor)
        if self.finish():
            self._done()
