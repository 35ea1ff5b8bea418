"""Cold paths of the native objects: representations, error reports, blocking waits."""

from __future__ import annotations

import asyncio
import threading
import weakref
from asyncio import format_helpers
from collections.abc import Callable
from typing import Any

from . import _core


def handle_repr(handle: Any) -> str:
    """The text of asyncio's own handles."""
    parts = ["TimerHandle" if isinstance(handle, asyncio.TimerHandle) else "Handle"]
    if handle.cancelled():
        parts.append("cancelled")
    if isinstance(handle, asyncio.TimerHandle):
        parts.append(f"when={handle.when()}")
    if handle._callback is not None:
        parts.append(format_helpers._format_callback_source(handle._callback, handle._args))
    if handle._source_traceback:
        frame = handle._source_traceback[-1]
        parts.append(f"created at {frame[0]}:{frame[1]}")
    return "<{}>".format(" ".join(parts))


def report_callback_error(handle: Any, exception: BaseException) -> None:
    """Tells the loop's exception handler what a callback raised, in asyncio's words."""
    source = format_helpers._format_callback_source(handle._callback, handle._args or ())
    context = {"message": f"Exception in callback {source}", "exception": exception, "handle": handle}
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    handle._loop.call_exception_handler(context)


def report_lost_exception(future: Any, exception: BaseException) -> None:
    """A future died with an exception that nobody asked for."""
    future.get_loop().call_exception_handler(
        {
            "message": f"{type(future).__name__} exception was never retrieved",
            "exception": exception,
            "future": future,
        }
    )


def future_get(future: Any, timeout: float | None) -> Any:
    """Waits in this thread, which must not be the loop's, for the outcome of a future."""
    loop = future.get_loop()
    if asyncio._get_running_loop() is loop:
        raise RuntimeError(
            "Future.get() would block the event loop that has to finish it: use 'await future'"
        )
    done = threading.Event()
    loop.call_soon_threadsafe(future.add_done_callback, lambda _: done.set())
    if not done.wait(timeout):
        raise TimeoutError(f"Future.get(): no result within timeout={timeout} seconds")
    return future.result()


def future_then(future: Any, target: Any, function: Callable[[Any], Any]) -> None:
    """Fills `target` with function(result); a future that the function returns is waited for."""

    def copy(source: Any) -> None:
        if target.done():
            return
        if source.cancelled():
            target.cancel()
        elif (exception := source.exception()) is not None:
            target.set_exception(exception)
        else:
            target.set_result(source.result())

    def apply(source: Any) -> None:
        if source.cancelled() or source.exception() is not None:
            copy(source)
            return
        try:
            value = function(source.result())
            if asyncio.iscoroutine(value):
                value = source.get_loop().create_task(value)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exception:
            if not target.done():
                target.set_exception(exception)
            return
        if asyncio.isfuture(value):
            value.add_done_callback(copy)
        elif not target.done():
            target.set_result(value)

    future.add_done_callback(apply)


_bridges: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = weakref.WeakKeyDictionary()


def bridge_of(loop: asyncio.AbstractEventLoop) -> Any:
    """The bridge that drives a native reactor from a loop that is not ours (asyncio's own, uvloop)."""
    bridge = _bridges.get(loop)
    if bridge is None:
        bridge = _core.Bridge(loop)
        loop.add_reader(bridge.fileno(), bridge.turn)
        _bridges[loop] = bridge
    return bridge
