"""The parent of worker processes: starts them, replaces those that die, stops them gracefully.

Signals: SIGTERM and SIGINT stop (a second one stops at once), SIGHUP replaces the workers one after the other, SIGTTIN
and SIGTTOU add and remove one.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from ._run import STARTUP_FAILURE, Options, address_of, serve

_log = logging.getLogger("fasterapi.error")

_WATCHED = (
    signal.SIGCHLD,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
_YOUNG = 2.0  # seconds: a worker that dies earlier has not started
_MAX_YOUNG_DEATHS = 5
_EXTRA_GRACE = 5.0  # seconds beyond timeout_graceful_shutdown before SIGKILL


def bind(options: Options, *, reserve: bool) -> socket.socket:
    """The socket that workers share; with ``reserve`` one that only holds the port for SO_REUSEPORT."""
    if options.fd is not None:
        return socket.socket(fileno=os.dup(options.fd))
    if options.uds is not None:
        try:
            os.unlink(options.uds)
        except FileNotFoundError:
            pass
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(options.uds)
    else:
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reserve:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            sock.bind((options.host, options.port))
        except OSError as error:
            sock.close()
            raise OSError(
                error.errno, f"cannot listen on {options.host}:{options.port}: {error.strerror}"
            ) from None
    if not reserve:
        sock.listen(options.backlog)
    return sock


class _Worker:
    """One forked process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.started = time.monotonic()
        self.stopping = False

    def signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass


class Supervisor:
    """Keeps ``options.workers`` processes running, each of which calls ``serve()``."""

    def __init__(self, app: str | Callable[..., Any], options: Options) -> None:
        self._app, self._options = app, options
        self._workers: dict[int, _Worker] = {}
        self._wanted = options.workers
        self._young_deaths = 0
        self._exit_code = 0
        self._stopping = False
        self._kill_at = float("inf")

    def run(self) -> int:
        """Returns the exit code when all workers have gone."""
        options = self._options
        # Each worker has its own queue of connections on one port; sockets that cannot be bound twice are shared.
        self._reuse_port = options.uds is None and options.fd is None
        try:
            self._socket = bind(options, reserve=self._reuse_port)
        except OSError as error:
            _log.error("%s", error)
            return 1
        if self._reuse_port:
            options.port = self._socket.getsockname()[1]
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        self._mask = before
        try:
            _log.info(
                "Started parent process [%d] with %d workers on %s",
                os.getpid(),
                self._wanted,
                address_of([self._socket]),
            )
            while len(self._workers) < self._wanted:
                self._start()
            self._loop()
        finally:
            for worker in self._workers.values():
                worker.signal(signal.SIGKILL)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            self._socket.close()
            if options.uds is not None:
                try:
                    os.unlink(options.uds)
                except OSError:
                    pass
        _log.info("Stopped parent process [%d]", os.getpid())
        return self._exit_code

    def _start(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._child()  # does not return
        self._workers[pid] = _Worker(pid)

    def _child(self) -> None:
        code = STARTUP_FAILURE
        try:
            for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU):
                signal.signal(number, signal.SIG_IGN)  # the parent's business
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the group: the parent tells us
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            if self._reuse_port:
                self._socket.close()
                code = serve(self._app, self._options, reuse_port=True, signals=[signal.SIGTERM])
            else:
                code = serve(self._app, self._options, [self._socket], signals=[signal.SIGTERM])
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            _log.exception("worker process failed")
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _loop(self) -> None:
        while self._workers:
            got = signal.sigtimedwait(_WATCHED, 1.0)
            number = got.si_signo if got is not None else 0
            if number in (signal.SIGINT, signal.SIGTERM):
                self._stop(force=self._stopping)
            elif number == signal.SIGHUP and not self._stopping:
                self._replace_all()
            elif number == signal.SIGTTIN and not self._stopping:
                self._wanted += 1
                self._start()
            elif number == signal.SIGTTOU and not self._stopping and self._wanted > 1:
                self._wanted -= 1
                self._retire(next(iter(self._workers.values())))
            self._reap()
            if time.monotonic() > self._kill_at:
                for worker in self._workers.values():
                    worker.signal(signal.SIGKILL)
                self._kill_at = float("inf")

    def _stop(self, force: bool) -> None:
        self._stopping = True
        for worker in self._workers.values():
            worker.signal(signal.SIGKILL if force else signal.SIGTERM)
        self._kill_at = time.monotonic() + self._options.timeout_graceful_shutdown + _EXTRA_GRACE

    def _retire(self, worker: _Worker) -> None:
        worker.stopping = True
        worker.signal(signal.SIGTERM)

    def _replace_all(self) -> None:
        _log.info("Replacing workers")
        for worker in list(self._workers.values()):
            if not worker.stopping:
                self._start()
                self._retire(worker)

    def _exited(self) -> Iterator[tuple[int, int]]:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            yield pid, os.waitstatus_to_exitcode(status)

    def _reap(self) -> None:
        for pid, code in self._exited():
            worker = self._workers.pop(pid, None)
            if worker is None:
                continue
            if self._stopping or worker.stopping:
                continue
            _log.warning("Worker [%d] ended with code %d, starting another", pid, code)
            if time.monotonic() - worker.started < _YOUNG:
                self._young_deaths += 1
                if code in (STARTUP_FAILURE, 1) or self._young_deaths >= _MAX_YOUNG_DEATHS:
                    _log.error("Workers do not start. Stopping.")
                    self._exit_code = code or STARTUP_FAILURE
                    self._stop(force=False)
                    continue
                time.sleep(0.1 * self._young_deaths)
            else:
                self._young_deaths = 0
            self._start()


def run_workers(app: str | Callable[..., Any], options: Options) -> int:
    """Serve with ``options.workers`` processes; returns the exit code."""
    return Supervisor(app, options).run()


# ---- reload


def _sources(directories: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for top in directories:
        for where, folders, files in os.walk(top):
            folders[:] = [
                name
                for name in folders
                if not name.startswith(".") and name not in ("__pycache__", "node_modules", "venv")
            ]
            for name in files:
                if name.endswith(".py"):
                    path = os.path.join(where, name)
                    try:
                        found[path] = os.stat(path).st_mtime
                    except OSError:
                        pass
    return found


def run_reloading(app: str, options: Options) -> int:
    """Serve in a child process that is started anew whenever a ``.py`` file changes; for development."""
    directories = options.reload_dirs or [options.app_dir or "."]
    try:
        sock = bind(options, reserve=False)
    except OSError as error:
        _log.error("%s", error)
        return 1
    sock.set_inheritable(True)
    _log.info("Will watch for changes in these directories: %s", [os.path.abspath(d) for d in directories])
    environment = dict(os.environ)
    environment["FASTERAPI_HTTP_WORKER"] = options.to_json()
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda got, _frame: stop.append(got))

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "fasterapi_http._worker", app, str(sock.fileno())],
            env=environment,
            pass_fds=[sock.fileno()],
        )

    def end(child: subprocess.Popen[bytes]) -> None:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(options.timeout_graceful_shutdown + _EXTRA_GRACE)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    before = _sources(directories)
    child = start()
    try:
        while not stop:
            time.sleep(options.reload_delay)
            now = _sources(directories)
            if now != before:
                changed = sorted(path for path in {*now, *before} if now.get(path) != before.get(path))
                before = now
                _log.warning("Detected changes in %s. Reloading...", ", ".join(map(repr, changed[:5])))
                end(child)
                child = start()
    finally:
        end(child)
        sock.close()
    return 0
