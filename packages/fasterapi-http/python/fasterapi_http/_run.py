"""Running an ASGI application: in this process, or in several worker processes under a supervisor."""

from __future__ import annotations

import asyncio
import json
import logging
import logging.config
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import fasterapi_core

from ._asgi import AppImportError, Interface, as_asgi3, import_app
from ._http import host_asgi
from ._lifespan import Lifespan
from ._lifespan import Mode as LifespanMode
from ._limits import Limits
from ._server import Server

STARTUP_FAILURE = 3
"""Exit code of a process whose application could not be imported or started."""

_log = logging.getLogger("fasterapi.error")


@dataclass(slots=True, kw_only=True)
class Options:
    """What ``run()`` takes, in a form that can be handed to another process."""

    host: str = "127.0.0.1"
    port: int = 8000
    uds: str | None = None
    fd: int | None = None
    workers: int = 1
    reload: bool = False
    reload_dirs: list[str] = field(default_factory=list)
    reload_delay: float = 0.25
    access_log: bool = True
    log_level: str = "info"
    log_config: str | None = None
    use_colors: bool | None = None
    lifespan: LifespanMode = "auto"
    interface: Interface = "auto"
    root_path: str = ""
    proxy_headers: bool = True
    forwarded_allow_ips: str = "127.0.0.1"
    server_header: str | None = None
    date_header: bool = True
    backlog: int = 2048
    limit_concurrency: int | None = None
    limit_max_requests: int | None = None
    timeout_keep_alive: float = 30.0
    timeout_graceful_shutdown: float = 30.0
    max_body_size: int = 10 * 1024 * 1024
    ws: Literal["auto", "none"] = "auto"
    ws_max_size: int = 1024 * 1024
    ws_max_queue: int = 16
    ws_ping_interval: float | None = 20.0
    ws_ping_timeout: float | None = 20.0
    ws_per_message_deflate: bool = True
    ws_allowed_origins: list[str] = field(default_factory=list)
    app_dir: str | None = ""
    factory: bool = False

    def limits(self) -> Limits:
        """The server's limits with what the options change."""
        return Limits(
            max_body_bytes=self.max_body_size,
            keep_alive_ms=int(self.timeout_keep_alive * 1000),
            max_connections=self.limit_concurrency or 0,
            max_ws_message_bytes=self.ws_max_size,
            max_ws_queue=self.ws_max_queue,
            ws_ping_interval_ms=int((self.ws_ping_interval or 0) * 1000),
            ws_ping_timeout_ms=int((self.ws_ping_timeout or 0) * 1000),
        )

    def to_json(self) -> str:
        """For the environment of a worker process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Options:
        """The inverse of ``to_json()``."""
        return cls(**json.loads(text))


def run(
    app: str | Callable[..., Any],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    uds: str | None = None,
    fd: int | None = None,
    workers: int = 1,
    reload: bool = False,
    reload_dirs: Sequence[str] = (),
    reload_delay: float = 0.25,
    access_log: bool = True,
    log_level: str = "info",
    log_config: str | None = None,
    use_colors: bool | None = None,
    lifespan: LifespanMode = "auto",
    interface: Interface = "auto",
    root_path: str = "",
    proxy_headers: bool = True,
    forwarded_allow_ips: str | Sequence[str] | None = None,
    server_header: str | None = None,
    date_header: bool = True,
    backlog: int = 2048,
    limit_concurrency: int | None = None,
    limit_max_requests: int | None = None,
    timeout_keep_alive: float = 30.0,
    timeout_graceful_shutdown: float = 30.0,
    max_body_size: int = 10 * 1024 * 1024,
    ws: Literal["auto", "none"] = "auto",
    ws_max_size: int = 1024 * 1024,
    ws_max_queue: int = 16,
    ws_ping_interval: float | None = 20.0,
    ws_ping_timeout: float | None = 20.0,
    ws_per_message_deflate: bool = True,
    ws_allowed_origins: Sequence[str] = (),
    app_dir: str | None = "",
    factory: bool = False,
) -> None:
    """Serve an ASGI application until SIGINT or SIGTERM; returns after a graceful shutdown.

    ``app`` is the application, or ``"module:attribute"`` (needed for ``reload``). Listens on ``host``:``port``, or the
    UNIX socket ``uds``, or the inherited descriptor ``fd``. ``workers`` > 1 starts that many processes under a
    supervisor that replaces those that die. Times are seconds, ``max_body_size`` is bytes. ``forwarded_allow_ips``
    (default: environment FORWARDED_ALLOW_IPS, else 127.0.0.1) names the peers whose X-Forwarded-* fields count.
    ``limit_max_requests`` ends a process after so many requests (a supervisor starts another). ``log_config`` is a
    file for ``logging.config``: JSON for ``dictConfig``, anything else for ``fileConfig``.

    WebSockets: messages of at most ``ws_max_size`` bytes, ``ws_max_queue`` of them waiting; a ping every
    ``ws_ping_interval`` seconds that must be answered within ``ws_ping_timeout`` (0 or None: never);
    ``ws_allowed_origins`` are the pages besides this host's own that may connect with cookies. ``ws="none"`` makes
    handshakes requests like any other.

    Raises SystemExit with code 3 when the application cannot be imported or started, 1 when the address cannot be
    bound.

    >>> fasterapi_http.run("main:app", host="0.0.0.0", port=8000, workers=4)  # doctest: +SKIP
    """
    if forwarded_allow_ips is None:
        forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
    options = Options(
        host=host,
        port=port,
        uds=uds,
        fd=fd,
        workers=workers,
        reload=reload,
        reload_dirs=list(reload_dirs),
        reload_delay=reload_delay,
        access_log=access_log,
        log_level=log_level,
        log_config=log_config,
        use_colors=use_colors,
        lifespan=lifespan,
        interface=interface,
        root_path=root_path,
        proxy_headers=proxy_headers,
        forwarded_allow_ips=forwarded_allow_ips
        if isinstance(forwarded_allow_ips, str)
        else ",".join(forwarded_allow_ips),
        server_header=server_header,
        date_header=date_header,
        backlog=backlog,
        limit_concurrency=limit_concurrency,
        limit_max_requests=limit_max_requests,
        timeout_keep_alive=timeout_keep_alive,
        timeout_graceful_shutdown=timeout_graceful_shutdown,
        max_body_size=max_body_size,
        ws=ws,
        ws_max_size=ws_max_size,
        ws_max_queue=ws_max_queue,
        ws_ping_interval=ws_ping_interval,
        ws_ping_timeout=ws_ping_timeout,
        ws_per_message_deflate=ws_per_message_deflate,
        ws_allowed_origins=list(ws_allowed_origins),
        app_dir=app_dir,
        factory=factory,
    )
    configure_logging(options)
    if reload:
        if not isinstance(app, str):
            raise TypeError("reload needs the application as 'module:attribute'")
        from ._supervisor import run_reloading

        code = run_reloading(app, options)
    elif workers > 1:
        from ._supervisor import run_workers

        code = run_workers(app, options)
    else:
        code = serve(app, options)
    if code:
        raise SystemExit(code)


class _Formatter(logging.Formatter):
    """``INFO:     text``; only the level is coloured, and only on a terminal."""

    _COLOURS = {"DEBUG": 36, "INFO": 32, "WARNING": 33, "ERROR": 31, "CRITICAL": 91}

    def __init__(self, colours: bool) -> None:
        super().__init__("%(levelprefix)s %(message)s")
        self._colours = colours

    def formatMessage(self, record: logging.LogRecord) -> str:
        padding = " " * (8 - len(record.levelname))
        name = record.levelname
        if self._colours:
            name = f"\033[{self._COLOURS.get(name, 0)}m{name}\033[0m"
        record.levelprefix = f"{name}:{padding}"
        return super().formatMessage(record)


def configure_logging(options: Options) -> None:
    """Give the package's loggers a handler on stderr unless the program has configured logging itself."""
    if options.log_config is not None:
        if options.log_config.endswith(".json"):
            with open(options.log_config, encoding="utf-8") as file:
                config = json.load(file)
            config.setdefault("disable_existing_loggers", False)  # ours exist already
            logging.config.dictConfig(config)
        else:
            logging.config.fileConfig(options.log_config, disable_existing_loggers=False)
        return
    number = logging.getLevelName(options.log_level.upper())
    if not isinstance(number, int):
        raise ValueError(f"log_level: '{options.log_level}' is not critical, error, warning, info or debug")
    logger = logging.getLogger("fasterapi")
    logger.setLevel(number)
    if not logger.handlers and not logging.getLogger().handlers:
        colours = sys.stderr.isatty() if options.use_colors is None else options.use_colors
        handler = logging.StreamHandler()
        handler.setFormatter(_Formatter(colours))
        logger.addHandler(handler)
        logger.propagate = False


def load(app: str | Callable[..., Any], options: Options) -> Callable[..., Any] | None:
    """The application itself; None after logging why it cannot be imported."""
    if not isinstance(app, str):
        return app() if options.factory else app
    try:
        return import_app(app, app_dir=options.app_dir, factory=options.factory)
    except AppImportError as error:
        _log.error("Error loading ASGI app: %s", error)
    except Exception:
        _log.exception("Error loading ASGI app '%s'", app)
    return None


def serve(
    app: str | Callable[..., Any],
    options: Options,
    sockets: Sequence[socket.socket] = (),
    *,
    reuse_port: bool = False,
    signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
    ready: Callable[[], object] | None = None,
) -> int:
    """Serve in this process until one of ``signals`` comes; returns its exit code.

    ``ready()`` is called once requests are answered.
    """
    loaded = load(app, options)
    if loaded is None:
        return STARTUP_FAILURE
    return fasterapi_core.run(_serve(loaded, options, sockets, reuse_port, signals, ready))


async def _serve(
    app: Callable[..., Any],
    options: Options,
    sockets: Sequence[socket.socket],
    reuse_port: bool,
    signals: Sequence[signal.Signals],
    ready: Callable[[], object] | None,
) -> int:
    application = as_asgi3(app, options.interface)
    stop = _Stop()
    stop.install(signals)
    lifespan = Lifespan(application, options.lifespan)
    _log.info("Started server process [%d]", os.getpid())
    if not await lifespan.startup():
        return STARTUP_FAILURE
    server = Server(
        limits=options.limits(),
        access_log=options.access_log,
        server_header=options.server_header,
        date_header=options.date_header,
        redirect_slashes=False,
        ws_per_message_deflate=options.ws_per_message_deflate,
        ws_allowed_origins=options.ws_allowed_origins,
    )
    host_asgi(
        server,
        application,
        root_path=options.root_path,
        state=lifespan.state,
        proxy_headers=options.proxy_headers,
        trusted=[part.strip() for part in options.forwarded_allow_ips.split(",") if part.strip()],
        report=_report,
        websockets=options.ws != "none",
    )
    try:
        if sockets:
            await server.start(sockets=sockets)
        elif options.fd is not None or options.uds is not None:
            await server.start(uds=options.uds, fd=options.fd, backlog=options.backlog)
        else:
            await server.start(options.host, options.port, backlog=options.backlog, reuse_port=reuse_port)
    except OSError as error:
        _log.error("%s", error)
        await lifespan.shutdown()
        return 1
    _log.info("fasterapi-http running on %s (Press CTRL+C to quit)", address_of(server.sockets))
    if ready is not None:
        ready()
    if options.limit_max_requests is None:
        await stop.wait()
    else:
        await _enough_requests(server, stop, options.limit_max_requests)
    _log.info("Shutting down")
    draining = asyncio.ensure_future(server.drain(options.timeout_graceful_shutdown))
    forced = asyncio.ensure_future(stop.wait_again())
    await asyncio.wait([draining, forced], return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        server._abort()  # a second signal: do not wait for clients
    forced.cancel()
    await draining
    await lifespan.shutdown()
    _log.info("Finished server process [%d]", os.getpid())
    return 0


async def _enough_requests(server: Server, stop: _Stop, limit: int) -> None:
    while not stop.asked:
        if server.requests >= limit:
            _log.warning("Maximum request limit of %d exceeded. Terminating process.", limit)
            return
        try:
            await asyncio.wait_for(stop.wait(), 0.1)
        except TimeoutError:
            pass


def _report(error: BaseException) -> None:
    _log.error("Exception in ASGI application", exc_info=error)


def address_of(sockets: Sequence[socket.socket]) -> str:
    """How a person would reach the first of the sockets."""
    for sock in sockets:
        name = sock.getsockname()
        if sock.family == socket.AF_UNIX:
            return f"unix socket {name}"
        host, port = name[0], name[1]
        return f"http://[{host}]:{port}" if sock.family == socket.AF_INET6 else f"http://{host}:{port}"
    return "nothing"


class _Stop:
    """The signals that end the server, as something to wait for."""

    def __init__(self) -> None:
        self._count = 0
        self._first = asyncio.Event()
        self._second = asyncio.Event()

    def install(self, signals: Sequence[signal.Signals]) -> None:
        loop = asyncio.get_running_loop()
        for number in signals:
            try:
                loop.add_signal_handler(number, self._signalled)
            except (NotImplementedError, RuntimeError, ValueError):
                return  # not the main thread: whoever runs us there stops us by cancelling

    def _signalled(self) -> None:
        self._count += 1
        (self._first if self._count == 1 else self._second).set()

    @property
    def asked(self) -> bool:
        return self._first.is_set()

    async def wait(self) -> None:
        await self._first.wait()

    async def wait_again(self) -> None:
        await self._second.wait()
