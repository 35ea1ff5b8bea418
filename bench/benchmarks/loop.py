"""What do core's loop and futures cost beside asyncio's and uvloop's?

Each number is 1,000 operations on a running loop.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from typing import Any

import fasterapi_core

N = 1000
LOOPS = ["fasterapi", "asyncio", "uvloop"]


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    if name == "fasterapi":
        return fasterapi_core.new_event_loop()
    if name == "asyncio":
        return asyncio.SelectorEventLoop()
    try:
        loop: asyncio.AbstractEventLoop = importlib.import_module("uvloop").new_event_loop()
    except ImportError:
        raise NotImplementedError from None
    return loop


async def nothing() -> None:
    return None


class Loop:
    params = LOOPS
    param_names = ("loop",)

    def setup(self, name: str) -> None:
        self.loop = new_loop(name)

    def teardown(self, name: str) -> None:
        self.loop.close()

    def run(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.loop.run_until_complete(main())

    def time_sleep_0(self, name: str) -> None:
        async def main() -> None:
            for _ in range(N):
                await asyncio.sleep(0)

        self.run(main)

    def time_create_task_and_await(self, name: str) -> None:
        async def main() -> None:
            for _ in range(N):
                await asyncio.create_task(nothing())

        self.run(main)

    def time_future_round_trip(self, name: str) -> None:
        async def main() -> None:
            for _ in range(N):
                future = self.loop.create_future()
                self.loop.call_soon(future.set_result, None)
                await future

        self.run(main)

    def time_call_later_and_cancel(self, name: str) -> None:
        async def main() -> None:
            for _ in range(N):
                self.loop.call_later(60, nothing).cancel()

        self.run(main)


class Future:
    """fasterapi_core.Future: the awaitable of the C table."""

    def setup(self) -> None:
        self.loop = fasterapi_core.new_event_loop()

    def teardown(self) -> None:
        self.loop.close()

    def time_ready_future_awaited(self) -> None:
        async def main() -> None:
            for _ in range(N):
                future = fasterapi_core.Future()
                future.set_result(None)
                await future

        self.loop.run_until_complete(main())
