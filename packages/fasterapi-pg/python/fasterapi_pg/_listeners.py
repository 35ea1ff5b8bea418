"""Callbacks that users attach to a connection: notifications, notices, termination, query logs."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ._pg import ConnectConfig
    from .connection import Connection

_tasks: set[asyncio.Future[Any]] = set()


class LoggedQuery(NamedTuple):
    """What a query logger is told about one query."""

    query: str
    args: Any
    timeout: float | None
    #: Seconds from the call to its result, waiting included.
    elapsed: float
    exception: BaseException | None
    conn_addr: tuple[str, int] | str
    conn_params: ConnectConfig


def call(callback: Callable[..., object], *args: object) -> None:
    """Call a callback on the loop; what a coroutine function returns runs as a task.

    An exception goes to the loop's exception handler: one bad listener does not stop the others.
    """
    loop = asyncio.get_running_loop()
    try:
        made = callback(*args)
    except Exception as error:  # noqa: BLE001  whatever the listener raises
        loop.call_exception_handler(
            {
                "message": "Unhandled exception in a fasterapi_pg listener",
                "exception": error,
                "callback": callback,
            }
        )
        return
    if inspect.isawaitable(made):
        task = asyncio.ensure_future(made)
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


def on_notification(connection: Connection) -> Callable[[int, str, str], None]:
    """Return the native handler that hands notifications to the connection's listeners."""
    ref = weakref.ref(connection)

    def handler(pid: int, channel: str, payload: str) -> None:
        target = ref()
        if target is not None:
            for callback in list(target._listeners.get(channel, ())):
                call(callback, target, pid, channel, payload)

    return handler


def on_notice(connection: Connection) -> Callable[[dict[str, str]], None]:
    """Return the native handler that hands notices to the connection's log listeners."""
    from .exceptions import PostgresLogMessage

    ref = weakref.ref(connection)

    def handler(fields: dict[str, str]) -> None:
        target = ref()
        if target is not None:
            message = PostgresLogMessage.new(fields)
            for callback in list(target._log_listeners):
                call(callback, target, message)

    return handler


def on_close(connection: Connection) -> Callable[[], None]:
    """Return the native handler that tells the connection's termination listeners."""
    ref = weakref.ref(connection)

    def handler() -> None:
        target = ref()
        if target is not None:
            for callback in list(target._termination_listeners):
                call(callback, target)

    return handler
