"""Running blocking code beside the event loop.

Two pools on purpose: ``run_in_threadpool`` serves handlers and dependencies, ``run_cleanup`` only the code
after ``yield`` of sync dependencies. Cleanup therefore never waits for a thread held by a request that waits
for what the cleanup would free.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

# 40 as anyio's limiter has, so that programs sized for FastAPI behave alike; FASTERAPI_THREADS changes it.
HANDLER_THREADS = int(os.environ.get("FASTERAPI_THREADS", "40"))
CLEANUP_THREADS = 16

_pools: dict[str, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def _pool(name: str, size: int) -> ThreadPoolExecutor:
    pool = _pools.get(name)
    if pool is None:
        with _lock:
            pool = _pools.get(name)
            if pool is None:
                pool = _pools[name] = ThreadPoolExecutor(size, thread_name_prefix=f"fasterapi-{name}")
    return pool


async def _run(
    name: str, size: int, func: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> T:
    context = contextvars.copy_context()
    call = functools.partial(context.run, func, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_pool(name, size), _no_stop_iteration, call)


def _no_stop_iteration(call: Callable[[], T]) -> T:
    # A StopIteration cannot travel through a future; generators in threads are stepped by helpers that avoid
    # it.
    try:
        return call()
    except StopIteration as stop:
        raise RuntimeError("StopIteration escaped from a function run in a thread") from stop


async def run_in_threadpool(func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``func`` in the handler pool, with a copy of the current context variables, and await its
    result.
    """
    return await _run("worker", HANDLER_THREADS, func, args, kwargs)


async def run_cleanup(func: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call ``func`` in the pool reserved for cleanup code."""
    return await _run("cleanup", CLEANUP_THREADS, func, args, kwargs)


_END: Any = object()


def _next_or_end(iterator: Iterator[T]) -> T:
    return next(iterator, _END)


async def iterate_in_threadpool(iterable: Iterable[T]) -> AsyncIterator[T]:
    """Iterate a blocking iterable, each step in the handler pool."""
    iterator = iter(iterable)
    while True:
        item = await run_in_threadpool(_next_or_end, iterator)
        if item is _END:
            return
        yield item


@asynccontextmanager
async def contextmanager_in_threadpool(cm: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter a blocking context manager in the handler pool; leave it in the cleanup pool."""
    value = await run_in_threadpool(cm.__enter__)
    try:
        yield value
    except Exception as exc:
        if not await run_cleanup(cm.__exit__, type(exc), exc, None):
            raise
    else:
        await run_cleanup(cm.__exit__, None, None, None)


def inline(func: F) -> F:
    """Mark a sync handler or dependency as safe to run on the event loop: it neither blocks nor computes for
    long.
    """
    func.__fasterapi_inline__ = True  # type: ignore[attr-defined]
    return func


__all__ = [
    "contextmanager_in_threadpool",
    "inline",
    "iterate_in_threadpool",
    "run_cleanup",
    "run_in_threadpool",
]
