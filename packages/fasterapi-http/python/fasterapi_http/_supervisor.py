"""The parent of worker processes: starts them, replaces those that die or get stuck, stops them gracefully.

Signals: SIGTERM and SIGINT stop (a second one stops at once), SIGHUP replaces the workers one after the other, SIGUSR2
starts another parent that takes over, SIGTTIN and SIGTTOU add and remove a worker, SIGUSR1 is passed on (log files).

All workers accept from the same listening sockets, which the parent keeps open: a connection that waits for a worker
that dies or is replaced is taken by another one.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from enum import Enum
from typing import Any

import fasterapi_core
from fasterapi_core import metrics, shared

from . import _notify
from ._config import BIND_FAILURE, STARTUP_FAILURE, Config
from ._exceptions import TlsError
from ._link import DUMP_SIGNAL, Link, watch_stacks
from ._server import Server
from ._serving import Serving
from ._sockets import address_of, bind, bind_tcp
from ._upgrade import Upgrade

_log = logging.getLogger("fasterapi.error")

_EXTRA_GRACE = 5.0  # seconds beyond the limits of a graceful end before SIGKILL
_BACK_OFF = (0.0, 0.1, 0.5, 2.0, 5.0, 15.0, 30.0)  # seconds before the n-th new start in a row
_MAX_FAILED_STARTS = 5  # in a row, with nobody left who serves
_MAX_PAIRS = 64
_BEATS = 5  # per timeout_worker_healthcheck


class _State(Enum):
    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"


class _Worker:
    """One forked process."""

    def __init__(self, pid: int, index: int, link: socket.socket, stacks: int) -> None:
        self.pid, self.index, self.link, self.stacks = pid, index, link, stacks
        self.state = _State.STARTING
        self.started = self.beat = time.monotonic()
        self.kill_at = float("inf")
        self.killed = False
        self.replaces: _Worker | None = None
        self.wants_successor = False
        self.connections = self.requests = 0

    def signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass

    def kill(self) -> None:
        self.killed, self.kill_at = True, float("inf")
        self.signal(signal.SIGKILL)

    def close(self) -> None:
        self.link.close()
        os.close(self.stacks)


class Supervisor:
    """Keeps ``config.workers`` processes running, each of which serves on the same sockets."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._workers: dict[int, _Worker] = {}
        self._wanted = config.workers
        self._failed_starts = 0
        self._start_at: list[float] = []  # times of starts that wait
        self._to_replace: list[_Worker] = []
        self._exit_code = 0
        self._stopping = self._replaced = self._announced = False
        self._signals: list[int] = []
        self._upgrade = Upgrade(config)
        self._upgrade_pipe: int | None = None
        self._metrics_socket: socket.socket | None = None
        # For each worker's index a socket from which it takes connections, and where others hand them over
        self._pairs: list[tuple[socket.socket, socket.socket]] = []

    def run(self) -> int:
        """Returns the exit code when all workers have gone."""
        config = self._config
        try:
            self._sockets = bind(config)
            if config.metrics_port is not None:
                self._metrics_socket = bind_tcp(config.metrics_host, config.metrics_port, reuse_port=True)[0]
                self._metrics_socket.listen(config.backlog)
        except OSError as error:
            _log.error("%s", error.strerror or error)
            return BIND_FAILURE
        if config.ssl_certfile:
            config.ssl_ticket_secret = secrets.token_hex(32)
        shared.fileno()  # made before the workers, so that they have it in common
        self._restarts = metrics.counter(
            "fasterapi_http_worker_restarts_total", "Workers started in the place of others.", ["reason"]
        )
        if config.balance and config.workers > 1:
            pairs = min(_MAX_PAIRS, 2 * config.workers + 4)
            self._pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(pairs)]
            for sock in (sock for pair in self._pairs for sock in pair):
                sock.setblocking(False)  # recv_fds() and send_fds() ignore their flags
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        handlers = self._install_signals()
        _log.info(
            "Started parent process [%d] with %d workers on %s",
            os.getpid(),
            self._wanted,
            address_of(self._sockets, config.scheme),
        )
        try:
            for _ in range(self._wanted):
                self._start()
            self._loop()
        finally:
            for worker in self._workers.values():
                worker.kill()
            self._restore_signals(handlers)
            self._selector.close()
            for sock in (
                self._wake_in,
                self._wake_out,
                *self._sockets,
                *(s for pair in self._pairs for s in pair),
            ):
                sock.close()
            if self._metrics_socket is not None:
                self._metrics_socket.close()
            if config.uds is not None and not self._replaced:
                try:
                    os.unlink(config.uds)
                except OSError:
                    pass
        _log.info("Stopped parent process [%d]", os.getpid())
        return self._exit_code

    # ---- signals

    def _actions(self) -> dict[int, Callable[[], None]]:
        return {
            signal.SIGINT: lambda: self._stop(force=self._stopping),
            signal.SIGTERM: lambda: self._stop(force=self._stopping),
            signal.SIGHUP: self._replace_all,
            signal.SIGUSR1: self._pass_on,
            signal.SIGUSR2: self._begin_upgrade,
            signal.SIGTTIN: self._add,
            signal.SIGTTOU: self._remove,
            signal.SIGCHLD: lambda: None,  # wakes us up
        }

    def _install_signals(self) -> dict[int, Any]:
        before: dict[int, Any] = {
            -1: signal.set_wakeup_fd(self._wake_out.fileno(), warn_on_full_buffer=False)
        }
        for number in self._actions():
            before[number] = signal.signal(number, lambda got, _frame: self._signals.append(got))
        return before

    @staticmethod
    def _restore_signals(before: dict[int, Any]) -> None:
        for number, handler in before.items():
            if number == -1:
                signal.set_wakeup_fd(handler)
            else:
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    # ---- workers

    def _start(self, replaces: _Worker | None = None) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stacks, stacks_in = os.pipe()
        used = {worker.index for worker in self._workers.values()}
        index = next(number for number in range(len(used) + 1) if number not in used)
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between the fork and the child's own handlers would run the parent's in the child: it would stop
        # its siblings and not itself. It waits until the child has handlers.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, self._actions())
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                os.close(stacks)
                self._child(theirs, stacks_in, index, blocked)  # does not return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        theirs.close()
        os.close(stacks_in)
        ours.setblocking(False)
        worker = _Worker(pid, index, ours, stacks)
        worker.replaces = replaces
        self._workers[pid] = worker
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _child(self, link: socket.socket, stacks: int, index: int, mask: set[signal.Signals | int]) -> None:
        code = STARTUP_FAILURE
        try:
            signal.set_wakeup_fd(-1)
            for number in self._actions():
                signal.signal(number, signal.SIG_DFL)
            # Ctrl-C reaches the group, and the others are the parent's business: it tells us.
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGTTIN, signal.SIGTTOU):
                signal.signal(number, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            watch_stacks(stacks)
            self._selector.close()
            self._wake_in.close()
            self._wake_out.close()
            for worker in self._workers.values():
                worker.close()  # else its end would not be seen while we live
            for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"):
                os.environ.pop(name, None)  # the parent talks to systemd
            config = self._config
            line = Link(link, config.timeout_worker_healthcheck / _BEATS)
            handover = None
            if index < len(self._pairs):
                handover = (self._pairs[index][0].fileno(), [pair[1].fileno() for pair in self._pairs], index)

            async def serve() -> int:
                serving = Serving(
                    config, Server(config), line, metrics_socket=self._metrics_socket, handover=handover
                )
                return await serving.run(self._sockets, signals=[signal.SIGTERM])

            code = fasterapi_core.run(serve())
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except TlsError as error:
            _log.error("%s", error)
        except BaseException:
            _log.exception("worker process failed")
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _retire(self, worker: _Worker) -> None:
        if worker.state is _State.RETIRING:
            return
        config = self._config
        worker.state = _State.RETIRING
        worker.signal(signal.SIGTERM)
        worker.kill_at = (
            time.monotonic() + config.shutdown_delay + config.timeout_graceful_shutdown + _EXTRA_GRACE
        )

    def _active(self) -> list[_Worker]:
        """Those that count: neither on their way out nor there to replace another one."""
        return [
            worker
            for worker in self._workers.values()
            if worker.state is not _State.RETIRING and worker.replaces is None
        ]

    # ---- the loop

    def _loop(self) -> None:
        watchdog = _notify.watchdog_seconds()
        beat = 0.0
        while self._workers or self._start_at:
            for key, _ in self._selector.select(self._patience()):
                if isinstance(key.data, _Worker):
                    self._listen(key.data)
                elif key.data == "upgrade":
                    self._end_upgrade()
                else:
                    self._drain_wakeups()
            signals, self._signals = self._signals, []
            for number in signals:
                self._actions()[number]()
            self._reap()
            now = time.monotonic()
            self._check(now)
            self._start_due(now)
            self._replace_next()
            if watchdog is not None and now - beat >= watchdog / 2:
                _notify.send("WATCHDOG=1")
                beat = now

    def _patience(self) -> float:
        watchdog = _notify.watchdog_seconds() or 1.0
        health = self._config.timeout_worker_healthcheck or 1.0
        return 0.05 if self._start_at else min(0.25, watchdog / 4, health / 4)

    def _drain_wakeups(self) -> None:
        try:
            while self._wake_in.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _listen(self, worker: _Worker) -> None:
        while True:
            try:
                message = worker.link.recv(256)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._selector.unregister(worker.link)  # SIGCHLD follows
                return
            worker.beat = time.monotonic()
            kind, *values = message.split()
            if kind == b"ready":
                self._became_ready(worker)
            elif kind == b"beat":
                worker.connections, worker.requests = int(values[0]), int(values[1])
            elif kind == b"successor" and not worker.wants_successor:
                worker.wants_successor = True
                self._to_replace.append(worker)

    def _became_ready(self, worker: _Worker) -> None:
        if worker.state is _State.STARTING:
            worker.state = _State.READY
        self._failed_starts = 0
        old, worker.replaces = worker.replaces, None
        if old is not None:
            self._retire(old)
            if not self._to_replace:
                _notify.send("READY=1")  # the end of a reload
        if not self._announced and sum(w.state is _State.READY for w in self._active()) >= self._wanted:
            self._announced = True
            self._upgrade.announce_ready()
            _notify.send("READY=1", f"MAINPID={os.getpid()}")

    def _check(self, now: float) -> None:
        config = self._config
        for worker in list(self._workers.values()):
            if worker.killed:
                continue
            if now > worker.kill_at:
                _log.warning("Worker [%d] does not end. Killing it.", worker.pid)
                worker.kill()
            elif worker.state is _State.READY:
                limit = config.timeout_worker_healthcheck
                if limit and now - worker.beat > limit:
                    self._kill_stuck(worker, f"has shown no sign of life for {now - worker.beat:.1f} seconds")
            elif worker.state is _State.STARTING:
                limit = config.timeout_worker_start
                if limit and now - worker.started > limit:
                    self._kill_stuck(worker, f"has not started within {limit:.0f} seconds")

    def _kill_stuck(self, worker: _Worker, why: str) -> None:
        worker.signal(DUMP_SIGNAL)
        stack = b""
        until = time.monotonic() + 0.5
        while (
            len(stack) < 64 * 1024
            and select.select([worker.stacks], [], [], max(0, until - time.monotonic()))[0]
        ):
            piece = os.read(worker.stacks, 8192)
            if not piece:
                break
            stack += piece
            until = time.monotonic() + 0.05
        text = stack.decode("utf-8", "backslashreplace").strip() or "(it did not answer the signal)"
        _log.error("Worker [%d] %s. Killing it. Its stack:\n%s", worker.pid, why, text)
        worker.kill()

    # ---- ends and starts

    def _reap(self) -> None:
        for worker in list(self._workers.values()):
            try:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = worker.pid, 0
            if pid == 0:
                continue
            del self._workers[worker.pid]
            try:
                self._selector.unregister(worker.link)
            except KeyError:
                pass
            worker.close()
            self._pass_on_connections(worker)
            self._ended(worker, os.waitstatus_to_exitcode(status))

    def _pass_on_connections(self, gone: _Worker) -> None:
        """What was handed over to a worker that ended meanwhile goes to another one."""
        if gone.index >= len(self._pairs):
            return
        receiver = self._pairs[gone.index][0]
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(receiver, 1, 1)
            except OSError:
                return
            heirs = [
                w for w in self._workers.values() if w.state is _State.READY and w.index < len(self._pairs)
            ]
            for descriptor in descriptors:
                if heirs:
                    heir = min(heirs, key=lambda worker: worker.connections)
                    try:
                        socket.send_fds(self._pairs[heir.index][1], [data], [descriptor])
                    except OSError as error:
                        _log.warning("a connection was lost with worker [%d]: %s", gone.pid, error.strerror)
                os.close(descriptor)

    def _ended(self, worker: _Worker, code: int) -> None:
        if worker in self._to_replace:
            self._to_replace.remove(worker)
        for other in self._workers.values():
            if other.replaces is worker:  # its place is taken already
                other.replaces = None
                return
        if self._stopping or worker.state is _State.RETIRING:
            return
        if worker.state is _State.STARTING:
            self._did_not_start(worker, code)
            return
        _log.warning("Worker [%d] ended with code %d, starting another", worker.pid, code)
        self._restarts.labels("stuck" if worker.killed else "died").inc()
        self._start_at.append(time.monotonic())

    def _did_not_start(self, worker: _Worker, code: int) -> None:
        self._failed_starts += 1
        if worker.replaces is not None:
            _log.error(
                "Worker [%d] did not start (code %d). Worker [%d], which it was to replace, goes on; "
                "the replacement of others is given up.",
                worker.pid,
                code,
                worker.replaces.pid,
            )
            self._to_replace.clear()
            _notify.send("READY=1")
            return
        serving = any(other.state is _State.READY for other in self._workers.values())
        if not serving and (not self._announced or self._failed_starts >= _MAX_FAILED_STARTS):
            _log.error(
                "Worker [%d] did not start (code %d). Workers do not start. Stopping.", worker.pid, code
            )
            self._exit_code = code if code > 0 else STARTUP_FAILURE
            self._stop(force=False)
            return
        pause = _BACK_OFF[min(self._failed_starts, len(_BACK_OFF) - 1)]
        _log.error("Worker [%d] did not start (code %d), next try in %.1f seconds", worker.pid, code, pause)
        self._start_at.append(time.monotonic() + pause)

    def _start_due(self, now: float) -> None:
        due = [when for when in self._start_at if when <= now]
        self._start_at = [when for when in self._start_at if when > now]
        for _ in due:
            if not self._stopping and len(self._active()) < self._wanted:
                self._start()

    def _replace_next(self) -> None:
        """One at a time: the new one serves before the old one stops accepting."""
        if self._stopping or any(worker.replaces is not None for worker in self._workers.values()):
            return
        while self._to_replace:
            worker = self._to_replace[0]
            gone = worker.pid not in self._workers or worker.killed
            if worker.state is _State.STARTING and not gone:
                return  # it may have read the old code: replaced once it serves
            self._to_replace.pop(0)
            if worker.state is _State.READY and not gone:
                self._restarts.labels("recycled" if worker.wants_successor else "reload").inc()
                self._start(replaces=worker)
                return

    # ---- what the signals ask for

    def _stop(self, force: bool) -> None:
        self._stopping = True
        self._start_at.clear()
        self._to_replace.clear()
        _notify.send("STOPPING=1")
        if not self._replaced:
            # Ours would go on collecting connections that nobody accepts; the workers take what has come so far.
            for sock in self._sockets:
                sock.close()
        for worker in self._workers.values():
            if force:
                worker.kill()
            else:
                self._retire(worker)

    def _replace_all(self) -> None:
        if self._stopping:
            return
        _log.info("Replacing workers")
        _notify.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        replaced = [worker.replaces for worker in self._workers.values()]
        self._to_replace = [
            worker
            for worker in self._workers.values()
            if worker.state is not _State.RETIRING and worker not in replaced
        ]
        if not self._to_replace:
            _notify.send("READY=1")

    def _add(self) -> None:
        if not self._stopping:
            self._wanted += 1
            _log.info("%d workers wanted", self._wanted)
            self._start()

    def _remove(self) -> None:
        active = self._active()
        if self._stopping or self._wanted <= 1 or not active:
            return
        self._wanted -= 1
        _log.info("%d workers wanted", self._wanted)
        if len(active) > self._wanted:
            self._retire(min(active, key=lambda worker: worker.connections))

    def _pass_on(self) -> None:
        for worker in self._workers.values():
            worker.signal(signal.SIGUSR1)

    def _begin_upgrade(self) -> None:
        if self._stopping:
            return
        self._upgrade_pipe = self._upgrade.start(self._sockets) or self._upgrade_pipe
        if self._upgrade_pipe is not None and self._upgrade_pipe not in self._selector.get_map():
            self._selector.register(self._upgrade_pipe, selectors.EVENT_READ, "upgrade")

    def _end_upgrade(self) -> None:
        assert self._upgrade_pipe is not None
        self._selector.unregister(self._upgrade_pipe)
        self._upgrade_pipe = None
        if self._upgrade.finish():
            self._replaced = True
            self._stop(force=False)
