"""The line between the supervisor and a worker: one packet socket, whose end both sides notice.

Worker to supervisor: ``ready``, ``beat ACTIVE REQUESTS`` and ``successor``. Nothing goes the other way (signals do);
its end tells a worker that nobody is there any more.
"""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._serving import Serving

DUMP_SIGNAL = signal.SIGUSR2
"""Makes a worker write the Python stacks of its threads to the pipe that ``watch_stacks()`` got."""


def watch_stacks(pipe: int) -> None:
    """Write the stacks to ``pipe`` on DUMP_SIGNAL; from the C signal handler, so that a busy loop cannot stop it."""
    faulthandler.register(DUMP_SIGNAL, file=pipe, all_threads=True, chain=False)


class Link:
    """The worker's end."""

    def __init__(self, sock: socket.socket, interval: float) -> None:
        self._socket, self._interval = sock, interval
        self._serving: Serving | None = None
        sock.setblocking(False)

    def start(self, serving: Serving) -> None:
        """Say that requests are answered; from now on the loop shows that it turns."""
        self._serving = serving
        self._loop = asyncio.get_running_loop()
        self._send(b"ready")
        self._loop.add_reader(self._socket, self._readable)
        self._beat()

    def ask_for_successor(self) -> None:
        """Ask to be replaced by a new worker."""
        self._send(b"successor")

    def _beat(self) -> None:
        assert self._serving is not None
        server = self._serving.server
        self._send(b"beat %d %d" % (server.connections, server.requests))
        if self._interval > 0:
            self._loop.call_later(self._interval, self._beat)

    def _send(self, message: bytes) -> None:
        try:
            self._socket.send(message)
        except OSError:
            pass  # the supervisor does not keep up, or has gone: see _readable()

    def _readable(self) -> None:
        try:
            if self._socket.recv(64):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._loop.remove_reader(self._socket)
        if self._serving is not None:
            self._serving.stop.ask()  # nobody would replace or stop us
