"""EventLoop: asyncio's selector loop with the native reactor, timers and ready queue under it.

Hot parts (scheduling, timers, descriptor callbacks, the run loop itself, stream transports, servers, the sock_*
calls) are native and come first in the method resolution order; subprocesses, pipes, signals, executors and
name resolution are asyncio's own, running on them. docs/loop.md has the list.
"""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import socket
import sys
import weakref
from asyncio import constants, format_helpers
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from . import _core

T = TypeVar("T")
logger = logging.getLogger("asyncio")


class _NoSelector:
    """Stands where asyncio keeps its selector: the reactor is underneath the loop, not beside it."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = weakref.ref(loop)

    def get_map(self) -> dict[Any, Any]:
        return {}

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """What add_reader() and add_writer() wait for; asyncio's pipe transports ask in their texts."""
        loop = self._loop()
        fd = fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
        events = loop._core_interest(fd) if loop is not None else 0
        if not events:
            raise KeyError(f"{fileobj!r} is not registered")
        return selectors.SelectorKey(fileobj, fd, events, (None, None))

    def close(self) -> None:
        return None


class EventLoop(_core.LoopCore, asyncio.SelectorEventLoop):  # type: ignore[misc]
    """An asyncio event loop whose poll step is the native reactor.

    HTTP, PostgreSQL and MCP connections of the FasterAPI packages are handled inside that step, in the same
    thread. Use it through ``asyncio.Runner(loop_factory=fasterapi_core.new_event_loop)``,
    :func:`fasterapi_core.run` or :func:`fasterapi_core.install`.

    ``backend`` names the reactor's backend ("epoll", "io_uring"); None asks the environment's
    ``FASTERAPI_REACTOR`` and then takes the platform's default. Raises RuntimeError for a name that this
    build does not know.
    """

    def __init__(self, *, backend: str | None = None) -> None:
        super().__init__(_NoSelector(self))  # type: ignore[arg-type]

    # ---- running

    def stop(self) -> None:
        """Stop the loop after the callbacks of the current iteration."""
        self._stopping = True
        self._core_stop()

    def close(self) -> None:
        """Close the loop; pending callbacks are dropped. The loop must not be running."""
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if self.is_closed():
            return
        super().close()
        self._core_close()

    def set_debug(self, enabled: bool) -> None:
        """Switch asyncio's debug mode: thread checks, source tracebacks, slow-callback log."""
        super().set_debug(enabled)
        self._core_set_debug(bool(enabled))

    def _debug_check(self, callback: object, method: str, threadsafe: bool) -> Any:
        if not threadsafe:
            self._check_thread()  # type: ignore[attr-defined]
        self._check_callback(callback, method)  # type: ignore[attr-defined]
        traceback = format_helpers.extract_stack(sys._getframe(1))
        return traceback

    def _debug_run(self, handle: Any) -> None:
        started = self.time()
        handle._run()
        elapsed = self.time() - started
        if elapsed >= self.slow_callback_duration:
            text = asyncio.base_events._format_handle(handle)  # type: ignore[attr-defined]
            logger.warning("Executing %s took %.3f seconds", text, elapsed)
        handle = None  # a traceback that keeps this frame must not keep the callback

    # ---- executors

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Any, *args: Any
    ) -> Any:
        """Run ``func(*args)`` in the executor (None: the loop's own); returns a future of its result.

        While such work is out, the loop lets other threads have the GIL in every poll.
        """
        future = super().run_in_executor(executor, func, *args)
        self._core_foreign_work(1)
        future.add_done_callback(self._work_is_back)
        return future

    def _work_is_back(self, future: Any) -> None:
        self._core_foreign_work(-1)

    # ---- transports

    def _make_ssl_transport(  # type: ignore[no-untyped-def]
        self,
        rawsock,
        protocol,
        sslcontext,
        waiter=None,
        *,
        server_side=False,
        server_hostname=None,
        extra=None,
        server=None,
        ssl_handshake_timeout=constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout=constants.SSL_SHUTDOWN_TIMEOUT,
    ):
        self._ensure_fd_no_transport(rawsock)
        from ._tls_protocol import TlsProtocol

        ssl_protocol = TlsProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        self._make_socket_transport(rawsock, ssl_protocol, extra=extra, server=server)
        return ssl_protocol._app_transport

    async def start_tls(  # type: ignore[no-untyped-def]
        self,
        transport,
        protocol,
        sslcontext,
        *,
        server_side=False,
        server_hostname=None,
        ssl_handshake_timeout=None,
        ssl_shutdown_timeout=None,
    ):
        """Upgrade the transport to TLS; returns the transport that the protocol uses from now on."""
        import ssl

        from ._tls_protocol import TlsProtocol

        if not isinstance(sslcontext, ssl.SSLContext):
            raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
        if not getattr(transport, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        waiter = self.create_future()
        ssl_protocol = TlsProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
            call_connection_made=False,
        )
        # Nothing may arrive before the protocol knows its transport.
        transport.pause_reading()
        transport.set_protocol(ssl_protocol)
        made = self.call_soon(ssl_protocol.connection_made, transport)
        resume = self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            made.cancel()
            resume.cancel()
            raise
        return ssl_protocol._app_transport

    def _stop_serving(self, sock: socket.socket) -> None:
        self._core_stop_serving(sock)
        super()._stop_serving(sock)  # type: ignore[misc]

    async def _sendfile_native(self, transp: Any, file: Any, offset: int, count: int | None) -> int:
        transp._guard_descriptor(False)
        resume_reading = transp.is_reading()
        transp.pause_reading()
        await transp._make_empty_waiter()
        try:
            sent: int = await self.sock_sendfile(transp._sock, file, offset, count, fallback=False)
            return sent
        finally:
            transp._reset_empty_waiter()
            if resume_reading:
                transp.resume_reading()
            transp._guard_descriptor(True)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect the non-blocking socket to the address; names are resolved first."""
        if type(sock) is not socket.socket:
            await super().sock_connect(sock, address)
            return
        if self.get_debug() and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            resolved = await self._ensure_resolved(  # type: ignore[attr-defined]
                address, family=sock.family, type=sock.type, proto=sock.proto, loop=self
            )
            address = resolved[0][4]
        await self._core_connect(sock, address)

    # ---- where asyncio's own code would touch its queue

    def _add_callback(self, handle: Any) -> None:
        if not handle._cancelled:
            self._core_enqueue(handle)

    def _add_callback_signalsafe(self, handle: Any) -> None:
        self._add_callback(handle)

    def _timer_handle_cancelled(self, handle: Any) -> None:
        return None

    def _process_events(self, event_list: Any) -> None:
        raise RuntimeError("events are dispatched by the reactor")

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} running={self.is_running()} closed={self.is_closed()} "
            f"debug={self.get_debug()} backend={self._core_info()['backend']}>"
        )


def new_event_loop(backend: str | None = None) -> EventLoop:
    """Return a new EventLoop, on the named backend; fits ``asyncio.Runner(loop_factory=...)``."""
    return EventLoop(backend=backend)


def run(
    main: Coroutine[Any, Any, T],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = new_event_loop,
    debug: bool | None = None,
) -> T:
    """Run the coroutine on a new EventLoop and return its result, as ``asyncio.run`` does.

    ``loop_factory`` makes the loop, for one that is set up differently, as in
    ``loop_factory=functools.partial(new_event_loop, "epoll")``. ``debug`` switches the loop's debug mode; None
    leaves it to asyncio's own rules (``PYTHONASYNCIODEBUG``, ``-X dev``).

    Raises RuntimeError when a loop is already running in this thread, TypeError when ``loop_factory`` returns
    something else than an EventLoop, and what ``main`` raises.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("fasterapi_core.run() cannot be called from a running event loop")

    def make() -> asyncio.AbstractEventLoop:
        loop = loop_factory()
        if not isinstance(loop, EventLoop):
            loop.close()
            raise TypeError(
                f"fasterapi_core.run() needs a fasterapi_core.EventLoop, loop_factory made {loop!r}"
            )
        return loop

    with asyncio.Runner(debug=debug, loop_factory=make) as runner:
        return runner.run(main)


class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
    """asyncio's default policy that makes EventLoop."""

    def _loop_factory(self) -> EventLoop:
        return new_event_loop()


def install() -> None:
    """Make EventLoop what ``asyncio.run`` and ``asyncio.new_event_loop`` use in this process."""
    asyncio.set_event_loop_policy(EventLoopPolicy())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_core._loops_after_fork)
