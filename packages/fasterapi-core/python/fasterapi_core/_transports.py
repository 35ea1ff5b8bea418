"""Cold paths of the native transports: representations, reports, what asyncio keeps in Python."""

from __future__ import annotations

import asyncio
import logging
import socket
import warnings
from asyncio import constants, format_helpers, trsock
from collections.abc import Callable
from typing import Any

logger = logging.getLogger("asyncio")


def reraise() -> Callable[[BaseException], None]:
    """What a handle runs to end the loop with KeyboardInterrupt or SystemExit."""
    return _raise


def _raise(exception: BaseException) -> None:
    raise exception


def report(loop: Any, message: str, exception: BaseException, transport: Any, protocol: Any) -> None:
    """Tells the loop's exception handler about a transport."""
    loop.call_exception_handler(
        {"message": message, "exception": exception, "transport": transport, "protocol": protocol}
    )


def report_fatal(loop: Any, message: str, exception: BaseException, transport: Any, protocol: Any) -> None:
    """What asyncio's transports say before they give up: connection errors only in debug mode."""
    if isinstance(exception, OSError):
        logger.debug("%r: %s", transport, message, exc_info=exception)
    else:
        report(loop, message, exception, transport, protocol)


def report_callback(loop: Any, callback: Any, exception: BaseException, _: object) -> None:
    """The words for what a callback of the loop raised."""
    source = format_helpers._format_callback_source(callback, ())
    loop.call_exception_handler({"message": f"Exception in callback {source}", "exception": exception})


def report_accept(loop: Any, exception: BaseException, protocol: Any) -> None:
    """A connection that could not be handed to its protocol is closed; asyncio says so in debug mode only."""
    context = {"message": "Error on transport creation for incoming connection", "exception": exception}
    if protocol is not None:
        context["protocol"] = protocol
    loop.call_exception_handler(context)


def report_slow(loop: Any, transport: Any, what: str, elapsed: float) -> None:
    """The slow-callback log of debug mode, for callbacks that have no handle."""
    if elapsed >= loop.slow_callback_duration:
        logger.warning("Executing <%s of %r> took %.3f seconds", what, transport, elapsed)


def accept_exhausted(loop: Any, exception: OSError, sock: Any, resume: Callable[[], object]) -> None:
    """Out of descriptors or memory: says so, and accepts again after a second."""
    loop.call_exception_handler(
        {
            "message": "socket.accept() out of system resource",
            "exception": exception,
            "socket": trsock.TransportSocket(sock),
        }
    )
    loop.call_later(constants.ACCEPT_RETRY_DELAY, resume)


def accepted_socket(listener: Any, fd: int) -> socket.socket:
    """The socket object of an accepted descriptor, as socket.accept() makes it."""
    sock = socket.socket(listener.family, listener.type, listener.proto, fileno=fd)
    sock.setblocking(False)
    return sock


def accept_tls(
    loop: Any, listener: Any, fd: int, peername: Any, factory: Any, server: Any, options: tuple[Any, Any, Any]
) -> None:
    """Lets a task of asyncio's own wait for the handshake of an accepted connection."""
    sock = accepted_socket(listener, fd)
    sslcontext, handshake_timeout, shutdown_timeout = options
    loop.create_task(
        loop._accept_connection2(
            factory, sock, {"peername": peername}, sslcontext, server, handshake_timeout, shutdown_timeout
        )
    )


def raise_connect(error: int, address: Any) -> None:
    """Raises the OSError of a connection attempt, in asyncio's words."""
    raise OSError(error, f"Connect call failed {address}")


def log_eof(transport: Any) -> None:
    """Debug mode."""
    logger.debug("%r received EOF", transport)


def log_debug(message: str, transport: Any) -> None:
    """Debug mode."""
    logger.debug(message, transport)


def warn_lost_write() -> None:
    """A protocol goes on writing to a connection that is lost."""
    logger.warning("socket.send() raised exception.")


def warn_unclosed(transport: Any) -> None:
    """A transport was dropped without close()."""
    warnings.warn(f"unclosed transport {transport!r}", ResourceWarning, source=transport, stacklevel=2)


def fail_empty_waiter(waiter: asyncio.Future[None]) -> None:
    """Ends a sendfile() that waits for the buffer to drain."""
    if not waiter.done():
        waiter.set_exception(ConnectionError("Connection is closed by peer"))


def flow_limits(high: int | None, low: int | None) -> tuple[int, int]:
    """The write buffer limits with asyncio's defaults. Raises ValueError unless high >= low >= 0."""
    if high is None:
        high = 64 * 1024 if low is None else 4 * low
    if low is None:
        low = high // 4
    if not high >= low >= 0:
        raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
    return high, low


def try_native() -> Any:
    """asyncio's mark of transports that loop.sendfile() may bypass."""
    return constants._SendfileMode.TRY_NATIVE


def wrap_socket(sock: socket.socket) -> trsock.TransportSocket:
    """What get_extra_info('socket') returns."""
    return trsock.TransportSocket(sock)


def transport_repr(state: dict[str, Any]) -> str:
    """The text of a transport."""
    info = [state["name"]]
    if state["closed"]:
        info.append("closed")
    elif state["closing"]:
        info.append("closing")
    info.append(f"fd={state['fd']}")
    if state["loop"] is not None and not state["loop"].is_closed():
        info.append("read=polling" if state["read"] else "read=idle")
        info.append(f"write=<{'polling' if state['write'] else 'idle'}, bufsize={state['size']}>")
    return f"<{' '.join(info)}>"
