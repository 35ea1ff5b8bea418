"""fasterapi_core.Future in our loop, asyncio's and uvloop."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest
from fasterapi_core import Future, new_event_loop

try:
    import uvloop
except ImportError:
    uvloop = None

FACTORIES: dict[str, Any] = {"fasterapi": new_event_loop, "asyncio": asyncio.SelectorEventLoop}
if uvloop is not None:
    FACTORIES["uvloop"] = uvloop.new_event_loop


@pytest.fixture(params=sorted(FACTORIES))
def run(request: pytest.FixtureRequest) -> Any:
    def runner(main: Any) -> Any:
        with asyncio.Runner(loop_factory=FACTORIES[request.param]) as r:
            return r.run(main())

    return runner


def test_await_gives_result_or_raises(run: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future: Future[int] = Future()
        loop.call_later(0.001, future.set_result, 5)
        assert await future == 5
        assert await future == 5
        failed: Future[int] = Future()
        loop.call_soon(failed.set_exception, KeyError("k"))
        with pytest.raises(KeyError):
            await failed
        ready: Future[tuple[int, int]] = Future()
        ready.set_result((1, 2))
        assert await ready == (1, 2)

    run(main)


def test_asyncio_functions_take_it(run: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert asyncio.isfuture(Future())
        a: Future[int] = Future()
        b: Future[int] = Future()
        loop.call_soon(a.set_result, 1)
        loop.call_later(0.001, b.set_result, 2)
        assert await asyncio.gather(a, b) == [1, 2]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(Future(), 0.01)
        done, pending = await asyncio.wait({a, Future()}, timeout=0.01)
        assert len(done) == 1 and len(pending) == 1
        assert await asyncio.shield(a) == 1

    run(main)


def test_cancel_reaches_the_awaiting_task(run: Any) -> None:
    async def main() -> None:
        future: Future[int] = Future()

        async def waits() -> int:
            return await future

        task = asyncio.ensure_future(waits())
        await asyncio.sleep(0)
        task.cancel("stop")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert future.cancelled()
        assert future.cancel() is False

    run(main)


def test_then_chains_values_futures_and_errors(run: Any) -> None:
    async def main() -> None:
        future: Future[int] = Future()
        inner: Future[int] = Future()
        doubled = future.then(lambda v: v * 2)
        chained = future.then(lambda v: inner)

        async def slowly(value: int) -> int:
            await asyncio.sleep(0.001)
            return value + 100

        awaited = future.then(slowly)
        future.set_result(4)
        inner.set_result(9)
        assert (await doubled, await chained, await awaited) == (8, 9, 104)
        bad: Future[int] = Future()
        through = bad.then(lambda v: v)
        bad.set_exception(ValueError("v"))
        with pytest.raises(ValueError):
            await through
        raised = future.then(lambda v: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            await raised

    run(main)


def test_callbacks_keep_order_and_can_be_removed(run: Any) -> None:
    async def main() -> None:
        future: Future[int] = Future()
        seen: list[int] = []
        callbacks = [lambda f, i=i: seen.append(i) for i in range(5)]
        for callback in callbacks:
            future.add_done_callback(callback)
        assert future.remove_done_callback(callbacks[0]) == 1
        assert future.remove_done_callback(callbacks[3]) == 1
        future.set_result(0)
        assert seen == []
        await asyncio.sleep(0)
        assert seen == [1, 2, 4]

    run(main)


def test_get_waits_in_another_thread_and_refuses_on_the_loop(run: Any) -> None:
    async def main() -> None:
        future: Future[int] = Future()
        got: list[Any] = []

        def waiter() -> None:
            got.append(future.get(timeout=5))

        thread = threading.Thread(target=waiter)
        thread.start()
        await asyncio.sleep(0.02)
        with pytest.raises(RuntimeError, match="await future"):
            future.get()
        future.set_result(3)
        await asyncio.to_thread(thread.join)
        assert got == [3]
        never: Future[int] = Future()
        with pytest.raises(TimeoutError, match="timeout=0.01"):
            await asyncio.to_thread(never.get, 0.01)

    run(main)


def test_states_are_checked(run: Any) -> None:
    async def main() -> None:
        future: Future[int] = Future()
        with pytest.raises(asyncio.InvalidStateError):
            future.result()
        with pytest.raises(asyncio.InvalidStateError):
            future.exception()
        future.set_result(1)
        with pytest.raises(asyncio.InvalidStateError):
            future.set_result(2)
        with pytest.raises(TypeError):
            Future().set_exception(StopIteration)
        assert repr(future) == "<Future finished result=1>"
        assert future.exception() is None

    run(main)


def test_a_lost_exception_is_reported(run: Any) -> None:
    reports: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))
        future: Future[int] = Future()
        future.set_exception(KeyError("lost"))
        del future
        gc.collect()

    run(main)
    assert [str(r["exception"]) for r in reports] == ["'lost'"]


def test_needs_a_running_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        Future()
