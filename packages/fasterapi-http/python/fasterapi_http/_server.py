"""Server: the native HTTP server with its sockets and its place on an event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal

from ._http import NativeServer, Request, Response
from ._limits import Limits

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

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

    ``on_error(request, exception)`` hears of exceptions that were answered with 500 (default: logged to
    ``fasterapi.error``). ``asgi`` is asked for whatever no route takes. ``order`` says which of several matching
    routes wins: the first registered, or the most specific (conflicts are then errors).

    WebSocket handshakes go to the ASGI application ``websocket`` (default: ``asgi``), whatever their path. With
    ``ws_per_message_deflate`` messages are compressed for clients that offer it; ``ws_deflate_window`` 0 shares the
    windows between connections, 9 to 15 gives each its own of so many bits. Handshakes that carry cookies must come
    from a page of this host, or of ``ws_allowed_origins`` ("https://host[:port]" each, or "*").
    """

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        access_log: bool = False,
        server_header: str | None = None,
        date_header: bool = True,
        on_error: Callable[[Request, BaseException], None] | None = None,
        asgi: Callable[..., Awaitable[None]] | None = None,
        redirect_slashes: bool = True,
        order: Literal["registration", "specificity"] = "registration",
        websocket: Callable[..., Awaitable[None]] | None = None,
        ws_per_message_deflate: bool = True,
        ws_deflate_window: int = 0,
        ws_allowed_origins: Sequence[str] = (),
    ) -> None:
        self.limits = limits or Limits()
        super().__init__(
            limits=self.limits.as_dict(),
            server_header=server_header or "",
            date_header=date_header,
            redirect_slashes=redirect_slashes,
            order=order,
            ws_per_message_deflate=ws_per_message_deflate,
            ws_deflate_window=ws_deflate_window,
            ws_allowed_origins=list(ws_allowed_origins),
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
        try:
            if fd is not None:
                listening.append(socket.socket(fileno=os.dup(fd)))
            if uds is not None:
                listening.append(self._bind_unix(os.fspath(uds), backlog))
            if not listening or host is not None:
                listening.extend(await self._bind_tcp(host or "127.0.0.1", port, backlog, reuse_port))
            for sock in listening:
                sock.setblocking(False)
                self._listen(sock.fileno())
        except BaseException:
            for sock in listening:
                sock.close()
            raise
        self._sockets.extend(listening)

    async def _bind_tcp(self, host: str, port: int, backlog: int, reuse_port: bool) -> list[socket.socket]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        bound: list[socket.socket] = []
        try:
            for family, kind, proto, _, address in dict.fromkeys(found):
                sock = socket.socket(family, kind, proto)
                bound.append(sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if reuse_port:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                if port == 0 and len(bound) > 1:  # "localhost" is two addresses, one port
                    address = (address[0], bound[0].getsockname()[1], *address[2:])
                sock.bind(address)
                sock.listen(backlog)
        except OSError as error:
            for sock in bound:
                sock.close()
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
        return bound

    def _bind_unix(self, path: str, backlog: int) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if os.path.exists(path):
                probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                with probe:
                    if probe.connect_ex(path) != 0:  # left behind by a process that has gone
                        os.unlink(path)
            sock.bind(path)
            sock.listen(backlog)
        except BaseException:
            sock.close()
            raise
        self._unix_paths.append(path)
        return sock

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

    async def drain(self, timeout: float = 30.0) -> None:
        """Stop gracefully: no new connections, idle ones closed, running answers finished.

        Connections that are still open after ``timeout`` seconds are closed; their handlers are cancelled.
        """
        loop = asyncio.get_running_loop()
        emptied = loop.create_future()

        def on_emptied() -> None:
            if not emptied.done():
                emptied.set_result(None)

        self._drain(on_emptied)
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
