"""Native tasks, or asyncio's: chosen once, at import.

Handlers run under a pooled native task instead of an ``asyncio.Task`` (see docs/loop.md). That leans on how
this interpreter's asyncio keeps its books, so a tiny handler proves it before anybody relies on it; when it
does not hold, or ``FASTERAPI_NATIVE_TASKS=0`` says so, handlers get real tasks.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
from typing import Any

from . import _core
from ._loop import new_event_loop

logger = logging.getLogger("fasterapi.core")
_probe: contextvars.ContextVar[int] = contextvars.ContextVar("fasterapi_native_task_probe", default=0)


async def _handler() -> Any:
    task = asyncio.current_task()
    if not isinstance(task, asyncio.Task):
        raise AssertionError(f"current_task() is {task!r}")
    _probe.set(1)
    await asyncio.sleep(0)
    if asyncio.current_task() is not task:
        raise AssertionError("current_task() changed over a suspension")
    if task not in asyncio.all_tasks():
        raise AssertionError("all_tasks() does not list the task")
    try:
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()
    except TimeoutError:
        pass
    else:
        raise AssertionError("asyncio.timeout() did not cancel the task")
    if _probe.get() != 1:
        raise AssertionError("context variables were lost over a suspension")
    return task


def self_test() -> None:
    """Run a handler under a native task. Raises what is wrong; also usable while a loop is running."""
    outer = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        loop = new_event_loop()
        started: list[Any] = []

        def start() -> None:  # from a plain callback, as a server does; asyncio.Task is not involved
            started.extend(_core.task_call(_handler))
            started[1].add_done_callback(lambda _: loop.stop())

        loop.call_soon(start)
        try:
            loop.run_forever()
            task, outcome = started
            if outcome.result() is not task:
                raise AssertionError("the handler saw another task than the one that was started")
            if task in asyncio.all_tasks(loop) or _probe.get() != 0:
                raise AssertionError("the task left something behind")
        finally:
            loop.close()
    finally:
        asyncio._set_running_loop(outer)


def choose_tasks() -> bool:
    """Decide by environment and self-test; returns whether native tasks are in use."""
    if os.environ.get("FASTERAPI_NATIVE_TASKS", "1").lower() in ("0", "false", "no", "off"):
        _core._set_native_tasks(False)
        return False
    try:
        self_test()
    except Exception as error:
        _core._set_native_tasks(False)
        logger.warning("native tasks are off, handlers run as asyncio tasks: self-test failed: %s", error)
        return False
    return True
