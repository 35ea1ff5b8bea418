"""Server: the native HTTP server with its sockets and its place on an event loop."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal

from ._compression import Compression
from ._http import NativeServer, NativeTls, Request, Response
from ._http import add_static_directory as _add_static_directory
from ._limits import Limits
from ._logs import writes_itself
from ._sockets import bind_tcp, bind_unix
from ._tls import TlsOptions

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from ._config import Config
    from ._serving import Serving

Arg = tuple[str, str | None, str | Callable[..., Any] | None, bool, Any]
"""(source, name, convert, required, default): see ``Server.add_route``."""
Mode = Literal["async", "inline", "thread"]
Headers = Mapping[str, str] | Sequence[tuple[str, str]]

_error_log = logging.getLogger("fasterapi.error")
_access_log = logging.getLogger("fasterapi.access")
_THREADS = 40


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """How a route's return value becomes an answer.

    ``encode`` is "json", "text", "bytes" or a callable that makes bytes (or str) of the value.
    """

    status: int = 200
    media_type: str = "application/json"
    encode: Literal["json", "text", "bytes"] | Callable[[Any], bytes | str] = "json"
    headers: Headers = ()


def make_executor() -> ThreadPoolExecutor:
    """The bounded pool that runs blocking endpoints."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(_THREADS, thread_name_prefix="fasterapi-http")


def report(request: Request | None, exception: BaseException) -> None:
    """Log an exception that no handler took."""
    where = (
        f"{request.method} {request.path!r}"
        if request is not None
        else "a streamed answer or background task"
    )
    _error_log.error("unhandled exception in %s", where, exc_info=exception)


def _log_access(
    client: str, method: str, target: str, version: str, status: int, size: int, elapsed_ns: int
) -> None:
    # repr-like escaping: no control character of a request line reaches the log (they are refused anyway)
    _access_log.info(
        '%s "%s %s HTTP/%s" %d %d %.3fms',
        client or "unix:",
        method,
        target,
        version,
        status,
        size,
        elapsed_ns / 1e6,
    )


class Server(NativeServer):
    """An HTTP/1.1 server on the running event loop.

    Add routes, ``freeze()``, then ``await start(...)``. All methods belong to the loop's thread.

    ``Server(config)`` takes everything from a ``Config``; ``await serve()`` or ``run()`` then do what the command line
    does. ``headers`` are fields of every answer. ``ready`` is what the readiness endpoint says; false once it stops.

    ``on_error(request, exception)`` hears of exceptions that were answered with 500 (default: logged to
    ``fasterapi.error``). ``asgi`` is asked for whatever no route takes. ``order`` says which of several matching
    routes wins: the first registered, or the most specific (conflicts are then errors). With ``tls`` every connection
    is HTTPS; raises TlsError when the certificates cannot be used.

    ``compression`` (True, or a Compression) compresses answers by what the client accepts. ``decode_requests`` decodes
    request bodies that are compressed, within max_body_bytes and max_inflate_ratio.

    WebSocket handshakes go to the ASGI application ``websocket`` (default: ``asgi``), whatever their path. With
    ``ws_per_message_deflate`` messages are compressed for clients that offer it; ``ws_deflate_window`` 0 shares the
    windows between connections, 9 to 15 gives each its own of so many bits. Handshakes that carry cookies must come
    from a page of this host, or of ``ws_allowed_origins`` ("https://host[:port]" each, or "*").
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        limits: Limits | None = None,
        access_log: bool = False,
        server_header: str | None = None,
        date_header: bool = True,
        headers: Headers = (),
        on_error: Callable[[Request, BaseException], None] | None = None,
        asgi: Callable[..., Awaitable[None]] | None = None,
        redirect_slashes: bool = True,
        order: Literal["registration", "specificity"] = "registration",
        websocket: Callable[..., Awaitable[None]] | None = None,
        ws_per_message_deflate: bool = True,
        ws_deflate_window: int = 0,
        ws_allowed_origins: Sequence[str] = (),
        tls: TlsOptions | None = None,
        compression: Compression | bool = False,
        decode_requests: bool = False,
    ) -> None:
        self.config = config
        self.ready = True
        self.started = False
        self._serving: Serving | None = None
        if config is not None:
            limits = limits or config.server_limits()
            access_log = config.access_log and not writes_itself(config)
            server_header = "fasterapi-http" if config.server_header else None
            date_header, headers = config.date_header, config.headers
            ws_per_message_deflate = config.ws_per_message_deflate
            ws_allowed_origins = config.ws_allowed_origins
            redirect_slashes = False
            tls = tls or config.tls()
        self.limits = limits or Limits()
        own = [("server", server_header)] if server_header else []
        own += headers.items() if isinstance(headers, Mapping) else headers
        self._tls_options = tls
        self._tls = NativeTls(tls.native()) if tls is not None else None
        super().__init__(
            limits=self.limits.as_dict(),
            headers=own,
            date_header=date_header,
            redirect_slashes=redirect_slashes,
            order=order,
            ws_per_message_deflate=ws_per_message_deflate,
            ws_deflate_window=ws_deflate_window,
            ws_allowed_origins=list(ws_allowed_origins),
            compression=(Compression() if compression is True else compression).native()
            if compression
            else None,
            decode_requests=decode_requests,
            tls=self._tls,
        )
        self._bind()
        self._sockets: list[socket.socket] = []
        self._unix_paths: list[str] = []
        if access_log:
            self._set_access_log(_log_access)
        if on_error is not None:
            self._set_on_error(on_error)
        if asgi is not None:
            self._set_asgi(asgi)
        if websocket is not None:
            self._set_websocket_app(websocket)

    # ---- routes

    def add_route(
        self,
        methods: Sequence[str],
        path: str,
        endpoint: Callable[..., Any],
        *,
        mode: Mode,
        args: Sequence[Arg] = (),
        response: ResponseSpec | None = None,
        slow: Callable[[Request], Awaitable[Response]] | None = None,
        max_body: int | None = None,
        stream_body: bool = False,
        name: str | None = None,
    ) -> None:
        """Serve a path with a Python endpoint, called with the positional arguments that ``args`` describes.

        ``mode``: "async" (a coroutine function), "inline" (runs on the loop) or "thread". Each argument is
        ``(source, name, convert, required, default)`` with source "request", "response", "path", "query",
        "query_list", "header", "cookie", "body_json" or "body_bytes", and convert "str", "int", "float", "bool", a
        callable or None. When an argument cannot be decoded natively, ``await slow(request)`` answers instead
        (422 without it). With ``stream_body`` (mode "async" only) the endpoint starts before a long or chunked body
        has arrived, and ``request.stream()`` yields it as it comes; ``body()`` and the like wait for its end.
        Raises ValueError for a bad path or argument.
        """
        spec = response or ResponseSpec()
        self._add_route(
            methods=list(methods),
            path=path,
            endpoint=endpoint,
            mode=mode,
            args=args,
            status=spec.status,
            media_type=spec.media_type or "",
            encode=spec.encode,
            headers=spec.headers,
            slow=slow,
            max_body=max_body or 0,
            stream_body=stream_body,
        )

    def add_static(
        self,
        methods: Sequence[str],
        path: str,
        status: int,
        media_type: str,
        body: bytes,
        headers: Headers = (),
    ) -> None:
        """Serve prebuilt bytes, with an ETag (304 when the client has them)."""
        self._add_static(list(methods), path, status, media_type, bytes(body), headers)

    def add_static_directory(
        self,
        path: str,
        directory: str | os.PathLike[str],
        *,
        index: str | None = "index.html",
        not_found: str | None = None,
        cache_control: str | None = None,
        follow_symlinks: bool = False,
        hidden_files: bool = False,
        precompressed: bool = False,
    ) -> None:
        """Serve the regular files below ``directory`` at ``path``, natively.

        ``index`` answers for paths that end with a slash, ``not_found`` goes with 404 (both are files of the
        directory). ``follow_symlinks`` follows symbolic links, also out of the directory. Names that begin with a
        dot need ``hidden_files`` (".well-known" does not). With ``precompressed``, ``name.br``, ``name.zst`` or
        ``name.gz`` beside a file is sent to clients that take it. Raises OSError when the directory cannot be
        opened, ValueError for a bad path.
        """
        import mimetypes

        mimetypes.init()
        _add_static_directory(
            self,
            path.rstrip("/") + "/{path:path}",
            {
                "directory": os.fspath(directory),
                "index": index or "",
                "not_found": not_found or "",
                "cache_control": cache_control or "",
                "follow_symlinks": follow_symlinks,
                "hidden_files": hidden_files,
                "precompressed": precompressed,
                "media_types": mimetypes.types_map,
            },
        )

    def add_endpoint(self, methods: Sequence[str], path: str, capsule: object) -> None:
        """Serve a path with a native endpoint (capsule ``fasterapi_core.Endpoint``)."""
        self._add_endpoint(list(methods), path, capsule)

    def set_exception_handler(
        self, handler: Callable[[Request, BaseException], Response | Awaitable[Response]] | None
    ) -> None:
        """Ask ``handler(request, exception)`` for the answer to every exception, 404 and 405 included."""
        # an object with `async def __call__` answers with a coroutine, which is awaited as well
        self._set_exception_handler(handler, iscoroutinefunction(handler))

    # ---- running

    async def serve(
        self,
        sockets: Sequence[socket.socket] | None = None,
        *,
        signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
    ) -> None:
        """Serve the application of the ``Config`` on the running loop until a signal or ``should_exit``.

        ``signals`` are handled meanwhile where this is the main thread. A cancellation shuts down gracefully and is
        then raised. Raises SystemExit with code 3 when the application cannot be started, 1 when the address cannot be
        bound, and RuntimeError without a ``Config``.
        """
        from ._serving import Serving

        if self.config is None:
            raise RuntimeError("Server.serve() needs Server(Config(...))")
        serving = self._serving = Serving(self.config, self)

        def begun() -> None:
            self.started = True

        running = asyncio.ensure_future(serving.run(sockets, signals=signals, ready=begun))
        try:
            code = await asyncio.shield(running)
        except asyncio.CancelledError:
            serving.stop.ask()
            await running
            raise
        if code:
            raise SystemExit(code)

    def run(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """``serve()`` on a loop of its own; returns when it has stopped."""
        import fasterapi_core

        fasterapi_core.run(self.serve(sockets))

    @property
    def should_exit(self) -> bool:
        """Whether the server has been asked to stop; set it, from any thread, to ask ``serve()`` to return."""
        return self._serving is not None and self._serving.stop.asked

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if self._serving is None:
            raise RuntimeError("should_exit is for a server that serve() runs")
        if value:
            self._serving.stop.ask_from_anywhere()

    async def start(
        self,
        host: str | None = None,
        port: int = 0,
        *,
        uds: str | os.PathLike[str] | None = None,
        fd: int | None = None,
        sockets: Iterable[socket.socket] = (),
        backlog: int = 4096,
        reuse_port: bool = False,
    ) -> None:
        """Listen and serve on the running loop: TCP, a UNIX socket path, or inherited descriptors.

        Raises OSError when an address cannot be bound. ``port`` 0 takes a free one, see ``port``.
        """
        self.freeze()
        self._attach()
        listening = list(sockets)
        given = len(listening)
        try:
            if fd is not None:
                listening.append(socket.socket(fileno=os.dup(fd)))
            if uds is not None:
                listening.append(bind_unix(os.fspath(uds)))
                self._unix_paths.append(os.fspath(uds))
            if not listening or host is not None:
                loop = asyncio.get_running_loop()  # names are looked up in a thread
                listening += await loop.run_in_executor(
                    None, functools.partial(bind_tcp, host or "127.0.0.1", port, reuse_port=reuse_port)
                )
            for sock in listening[given:]:
                sock.listen(backlog)
            for sock in listening:
                sock.setblocking(False)
                self._listen(sock.fileno())
        except BaseException:
            for sock in listening:
                sock.close()
            raise
        self._sockets.extend(listening)

    @property
    def sockets(self) -> list[socket.socket]:
        """The listening sockets."""
        return list(self._sockets)

    @property
    def port(self) -> int:
        """Port of the first TCP socket; 0 when there is none."""
        for sock in self._sockets:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                return int(sock.getsockname()[1])
        return 0

    def reload_tls(self, tls: TlsOptions | None = None) -> None:
        """Read the certificates and keys again, or take other options; connections that are open go on.

        Any thread may call this; it blocks while the files are read. Raises TlsError when something is wrong with
        them (the server then goes on with what it has), RuntimeError when the server does not speak TLS.
        """
        options = tls or self._tls_options
        if self._tls is None or options is None:
            raise RuntimeError("the server was made without tls")
        self._tls.reload(options.native())
        self._tls_options = options

    @property
    def tls_counters(self) -> dict[str, int]:
        """TLS ``handshakes`` (those ``resumed`` included), ``failed`` ones and ``reloads``; zeros without TLS."""
        if self._tls is None:
            return dict.fromkeys(("handshakes", "resumed", "failed", "reloads"), 0)
        return self._tls.counters

    async def drain(self, timeout: float = 30.0, *, idle_grace: float = 0.0) -> None:
        """Stop gracefully: no new connections, running answers finished, idle connections closed.

        An idle connection stays for half of ``idle_grace`` seconds and up to as much again at random, so that a request
        that is on its way is answered (with Connection: close).
        Connections that are still open after ``timeout`` seconds are closed; their handlers are cancelled.
        """
        loop = asyncio.get_running_loop()
        emptied = loop.create_future()

        def on_emptied() -> None:
            if not emptied.done():
                emptied.set_result(None)

        self.ready = False
        self._drain(on_emptied, idle_grace)
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()
        for path in self._unix_paths:
            try:
                os.unlink(path)
            except OSError:
                pass
        self._unix_paths.clear()
        try:
            await asyncio.wait_for(asyncio.shield(emptied), timeout)
        except TimeoutError:
            self._abort()
            await emptied
        executor = self._take_executor()
        if executor is not None:
            executor.shutdown(wait=False, cancel_futures=True)
