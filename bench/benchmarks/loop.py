"""What do core's loop, futures and native tasks cost beside asyncio, uvloop and rloop?

Each number is 1,000 operations on a running loop.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Coroutine
from typing import Any

import fasterapi_core

N = 1000
LOOPS = ["fasterapi", "asyncio", "uvloop", "rloop"]


def new_loop(name: str) -> asyncio.AbstractEventLoop:
    if name == "fasterapi":
        return fasterapi_core.new_event_loop()
    if name == "asyncio":
        return asyncio.SelectorEventLoop()
    try:
        loop: asyncio.AbstractEventLoop = importlib.import_module(name).new_event_loop()
    except ImportError:
        raise NotImplementedError from None
    return loop


async def nothing() -> None:
    return None


async def suspending() -> None:
    await asyncio.sleep(0)


def callback() -> None:
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

    def time_call_soon(self, name: str) -> None:
        async def main() -> None:
            for _ in range(N // 100):
                for _ in range(100):
                    self.loop.call_soon(callback)
                await asyncio.sleep(0)

        self.run(main)

    def time_call_soon_chain(self, name: str) -> None:
        left = N

        def step() -> None:
            nonlocal left
            left -= 1
            if left:
                self.loop.call_soon(step)
            else:
                self.loop.stop()

        self.loop.call_soon(step)
        self.loop.run_forever()

    def time_call_later_fires(self, name: str) -> None:
        async def main() -> None:
            done = self.loop.create_future()
            for _ in range(N - 1):
                self.loop.call_later(0.001, callback)
            self.loop.call_later(0.001, done.set_result, None)
            await done

        self.run(main)

    def time_executor(self, name: str) -> None:
        async def main() -> None:
            for _ in range(N):
                await self.loop.run_in_executor(None, callback)

        self.run(main)

    def time_call_later_and_cancel(self, name: str) -> None:
        async def main() -> None:
            for _ in range(N):
                self.loop.call_later(60, callback).cancel()

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


class NativeTasks:
    """Handlers as a server starts them, outside any task."""

    params = (["native", "asyncio"], ["immediate", "suspending"])
    param_names = ("task", "handler")

    def setup(self, task: str, handler: str) -> None:
        self.loop = fasterapi_core.new_event_loop()
        self.handler = nothing if handler == "immediate" else suspending

    def teardown(self, task: str, handler: str) -> None:
        self.loop.close()

    def time_start_and_finish(self, task: str, handler: str) -> None:
        loop, run, left = self.loop, self.handler, N

        def finished(_: object) -> None:
            nonlocal left
            left -= 1
            if left:
                loop.call_soon(start)
            else:
                loop.stop()

        def start() -> None:
            if task == "native":
                fasterapi_core._core.task_call(run)[1].add_done_callback(finished)
            else:
                loop.create_task(run()).add_done_callback(finished)

        loop.call_soon(start)
        loop.run_forever()
