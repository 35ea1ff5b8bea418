"""One process that serves: the application's start, requests until somebody asks to stop, the graceful end."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import _notify
from ._asgi import AppImportError, as_asgi3, import_app, is_wsgi
from ._config import BIND_FAILURE, STARTUP_FAILURE, Config, load_env_file
from ._exceptions import TlsError
from ._http import AccessLog, host_asgi, open_access_log, set_guard, set_handover, set_proxy_protocol
from ._lifespan import Lifespan
from ._lifespan import Mode as LifespanMode
from ._logs import default_access_format, writes_itself
from ._observe import wrap
from ._sockets import address_of, bind, bind_tcp
from ._telemetry import Counting, endpoints, metrics_server
from ._upgrade import Upgrade

if TYPE_CHECKING:
    from ._link import Link
    from ._server import Server

_log = logging.getLogger("fasterapi.error")
_TICK = 0.1  # seconds between looks at the limits of the process
_PAGE = os.sysconf("SC_PAGE_SIZE")


def load(config: Config) -> Callable[..., Any] | None:
    """The application itself; None after logging why it cannot be imported."""
    app = config.app
    try:
        if isinstance(app, str):
            return import_app(app, app_dir=config.app_dir, factory=config.factory)
        return app() if config.factory else app
    except AppImportError as error:
        _log.error("Error loading ASGI app: %s", error)
    except Exception:
        _log.exception("Error loading ASGI app '%s'", app)
    return None


def report(error: BaseException) -> None:
    """Log what escaped from the application."""
    _log.error("Exception in ASGI application", exc_info=error)


def resident_bytes() -> int:
    """Memory of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except (OSError, ValueError, IndexError):
        return 0


class Stop:
    """The wish to end, from signals or from the program, as something to wait for."""

    def __init__(self) -> None:
        self._count = 0
        self._first = asyncio.Event()
        self._second = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._installed: list[int] = []

    def install(self, signals: Sequence[signal.Signals]) -> None:
        for number in signals:
            try:
                self._loop.add_signal_handler(number, self.ask)
            except (NotImplementedError, RuntimeError, ValueError):
                return  # not the main thread: whoever runs us there stops us by cancelling
            self._installed.append(number)

    def uninstall(self) -> None:
        for number in self._installed:
            self._loop.remove_signal_handler(number)
        self._installed.clear()

    def ask(self) -> None:
        """A first time: end gracefully; a second time: at once."""
        self._count += 1
        (self._first if self._count == 1 else self._second).set()

    def ask_from_anywhere(self) -> None:
        """``ask()`` from any thread."""
        self._loop.call_soon_threadsafe(self.ask)

    @property
    def asked(self) -> bool:
        return self._first.is_set()

    async def wait(self, timeout: float | None = None) -> bool:
        """Whether it was asked for within ``timeout`` seconds."""
        try:
            await asyncio.wait_for(self._first.wait(), timeout)
        except TimeoutError:
            return False
        return True

    async def wait_again(self, timeout: float | None = None) -> bool:
        """The same for the second time."""
        try:
            await asyncio.wait_for(self._second.wait(), timeout)
        except TimeoutError:
            return False
        return True


class Serving:
    """Serves ``config.app`` with ``server`` on the running loop."""

    def __init__(
        self,
        config: Config,
        server: Server,
        link: Link | None = None,
        *,
        metrics_socket: socket.socket | None = None,
        handover: tuple[int, list[int], int] | None = None,
    ) -> None:
        self.config, self.server = config, server
        self._link = link
        self._metrics_socket, self._handover = metrics_socket, handover
        self._metrics_server: Server | None = None
        self._counting: Counting | None = None
        self._access_log: AccessLog | None = None
        self._signals: Sequence[signal.Signals] = ()
        self._began = time.monotonic()
        self._max_requests = None
        if config.limit_max_requests is not None:
            self._max_requests = config.limit_max_requests + random.randint(
                0, config.limit_max_requests_jitter
            )
        self._max_age = None
        if config.limit_worker_age is not None:
            self._max_age = config.limit_worker_age * random.uniform(1.0, 1.1)
        self.stop = Stop()

    async def run(
        self,
        sockets: Sequence[socket.socket] | None = None,
        *,
        signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
        ready: Callable[[], object] | None = None,
    ) -> int:
        """Serve until somebody asks to stop; returns the exit code of the process.

        ``sockets`` None binds what the options say. ``ready()`` is called once requests are answered.
        """
        config, stop = self.config, self.stop
        app = load(config)
        if app is None:
            return STARTUP_FAILURE
        wsgi = config.interface == "wsgi" or (config.interface == "auto" and is_wsgi(app))
        if wsgi:
            from ._wsgi import Wsgi

            application: Any = Wsgi(
                app, threads=config.threads, multiprocess=config.workers > 1 or config.supervise
            )
        else:
            application = as_asgi3(app, config.interface)
        self._lifespan_mode: LifespanMode = "off" if wsgi else config.lifespan
        stop.install(signals)
        self._signals = signals
        try:
            return await self._run(application, sockets, ready)
        finally:
            stop.uninstall()
            if wsgi:
                application.close()

    async def _run(
        self, application: Any, sockets: Sequence[socket.socket] | None, ready: Callable[[], object] | None
    ) -> int:
        config, server = self.config, self.server
        lifespan = Lifespan(application, self._lifespan_mode)
        _log.info("Started server process [%d]", os.getpid())
        if not await lifespan.startup():
            return STARTUP_FAILURE
        if config.metrics_path or self._metrics_socket or config.metrics_port is not None:
            self._counting = Counting(server)
        try:
            application = endpoints(wrap(application, config), server, config, self._counting)
        except ImportError as error:
            _log.error("--otel: %s", error)
            await lifespan.shutdown()
            return STARTUP_FAILURE
        host_asgi(
            server,
            application,
            root_path=config.root_path,
            state=lifespan.state,
            proxy_headers=config.proxy_headers,
            trusted=config.trusted(),
            forwarded_style=config.forwarded_style,
            forwarded_host=config.forwarded_host,
            report=report,
            websockets=config.ws != "none",
        )
        self._guard()
        alone = sockets is None
        try:
            listening = bind(config) if sockets is None else list(sockets)
            if alone and config.uds is not None:
                server._unix_paths.append(config.uds)
            self._open_access_log()
            await server.start(sockets=listening)
            await self._start_telemetry()
            if self._handover is not None:
                set_handover(server, *self._handover)
        except OSError as error:
            _log.error("%s", error.strerror or error)
            await lifespan.shutdown()
            return BIND_FAILURE
        _log.info(
            "fasterapi-http running on %s (Press CTRL+C to quit)", address_of(server.sockets, config.scheme)
        )
        upgrade = None
        if alone and self._signals:
            upgrade = Upgrade(config)
            upgrade.install(lambda: upgrade.start(server.sockets), self._replaced)
            upgrade.announce_ready()
            _notify.send("READY=1", f"MAINPID={os.getpid()}")
        if alone and self._signals:
            self._reload_tls_on_hangup()
        if ready is not None:
            ready()
        if self._link is not None:
            self._link.start(self)
        await self._until_stopped(alone)
        if upgrade is not None:
            upgrade.uninstall()
        if alone:
            _notify.send("STOPPING=1")
        await self._end()
        await lifespan.shutdown()
        _log.info("Finished server process [%d]", os.getpid())
        return 0

    def _reload_tls_on_hangup(self) -> None:
        """SIGHUP reads the certificates again; with workers the supervisor makes new ones, which do so too."""

        def reload() -> None:
            try:
                self.server.reload_tls()
            except TlsError as error:
                _log.error("The certificates stay as they were: %s", error)
            else:
                _log.info("Certificates loaded again")

        if not self.config.ssl_certfile:
            return
        try:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
        except (NotImplementedError, RuntimeError, ValueError):
            pass  # not the main thread

    def _guard(self) -> None:
        config = self.config
        rate, burst = config.rate()
        if rate or config.limit_adaptive:
            trusted = config.trusted() if config.proxy_headers else []
            set_guard(
                self.server,
                rate=rate,
                burst=burst,
                key=config.rate_limit_key,
                adaptive=config.limit_adaptive,
                most=config.limit_adaptive_max,
                trusted=trusted,
            )
        if config.proxy_protocol:
            set_proxy_protocol(self.server, config.trusted())

    def _open_access_log(self) -> None:
        config = self.config
        if not config.access_log or not writes_itself(config):
            return
        text = config.access_log_format or default_access_format(config)
        self._access_log = open_access_log(self.server, config.access_log_file or "", 1, text)
        if self._signals:
            try:
                asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._reopen)
            except (NotImplementedError, RuntimeError, ValueError):
                pass  # not the main thread

    def _reopen(self) -> None:
        assert self._access_log is not None
        try:
            self._access_log.reopen()
        except OSError as error:
            _log.error("cannot open the access log anew: %s", error)

    async def _start_telemetry(self) -> None:
        config = self.config
        sock = self._metrics_socket
        if sock is None and config.metrics_port is not None:
            sock = bind_tcp(config.metrics_host, config.metrics_port, reuse_port=True)[0]
            sock.listen(config.backlog)
        if self._counting is None:
            return
        self._counting.start()
        if sock is not None:
            self._metrics_server = await metrics_server(self.server, config, self._counting, sock)
            _log.info("Metrics on %s", address_of([sock]))

    def _replaced(self) -> None:
        """Another process has taken over: it owns the paths of UNIX sockets now."""
        self.server._unix_paths.clear()
        self.stop.ask()

    async def _until_stopped(self, alone: bool) -> None:
        watchdog = _notify.watchdog_seconds() if alone else None
        limited = self._max_requests is not None or self._max_age is not None or self.config.limit_worker_rss
        if not limited and watchdog is None:
            await self.stop.wait()
            return
        asked_for = False
        beat = 0.0
        while not await self.stop.wait(_TICK):
            now = time.monotonic()
            if watchdog is not None and now - beat >= watchdog / 2:
                _notify.send("WATCHDOG=1")
                beat = now
            reason = "" if asked_for or not limited else self._enough()
            if not reason:
                continue
            _log.warning("%s Terminating process.", reason)
            if self._link is None:
                return
            asked_for = True
            self._link.ask_for_successor()  # and serve until it is there

    def _enough(self) -> str:
        """Why this process should be replaced; empty when it should not."""
        if self._max_requests is not None and self.server.requests >= self._max_requests:
            return f"Maximum request limit of {self._max_requests} exceeded."
        age = time.monotonic() - self._began
        if self._max_age is not None and age > self._max_age:
            return f"Age of {age:.0f} seconds is above limit_worker_age."
        limit = self.config.limit_worker_rss
        if limit is not None and (now := resident_bytes()) > limit:
            return f"Memory of {now} bytes is above limit_worker_rss of {limit}."
        return ""

    async def _end(self) -> None:
        config, server, stop = self.config, self.server, self.stop
        server.ready = False
        if config.shutdown_delay and not await stop.wait_again(config.shutdown_delay):
            _log.info("Not ready since %.1f seconds", config.shutdown_delay)
        _log.info("Shutting down")
        limit = config.timeout_graceful_shutdown
        draining = asyncio.ensure_future(server.drain(limit, idle_grace=min(config.drain_idle_grace, limit)))
        forced = asyncio.ensure_future(stop.wait_again())
        await asyncio.wait([draining, forced], return_when=asyncio.FIRST_COMPLETED)
        if not draining.done():
            server._abort()  # a second signal: do not wait for clients
        forced.cancel()
        await draining
        if self._counting is not None:
            self._counting.stop()
        if self._metrics_server is not None:
            await self._metrics_server.drain(1.0)


def prepare_environment(config: Config) -> None:
    """What has to happen before the application is imported."""
    if config.env_file is not None:
        load_env_file(config.env_file)
