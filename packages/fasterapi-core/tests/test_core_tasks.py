"""Soundness of the native task: whatever asyncio, anyio and httpx may ask of the current task of a handler."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fasterapi_core import Future, _core, new_event_loop

Main = Callable[[], Awaitable[Any]]


def loops() -> list[Any]:
    return [new_event_loop, asyncio.SelectorEventLoop]


@pytest.fixture(params=loops(), ids=["fasterapi", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    """Runs a coroutine function to its end; handlers are started from a plain callback, as a server does."""

    def runner(main: Main) -> Any:
        with asyncio.Runner(loop_factory=request.param) as r:
            return r.run(main())

    return runner


async def start(handler: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
    """(task, future) of a handler started outside any task."""
    loop = asyncio.get_running_loop()
    box = loop.create_future()
    loop.call_soon(lambda: box.set_result(_core.task_call(handler, *args)))
    return await box


async def call(handler: Callable[..., Any], *args: Any) -> Any:
    _, future = await start(handler, *args)
    return await future


def test_current_task_is_there_from_the_first_instruction(run: Any) -> None:
    async def main() -> None:
        seen: list[Any] = []

        def decorated() -> Any:
            seen.append(asyncio.current_task())

            async def inner() -> Any:
                seen.append(asyncio.current_task())
                await asyncio.sleep(0)
                seen.append(asyncio.current_task())

            return inner()

        task, future = await start(decorated)
        await future
        assert seen == [task, task, task]
        assert isinstance(task, asyncio.Task)
        assert asyncio.current_task() is not task

    run(main)


def test_concurrent_handlers_have_their_own_tasks(run: Any) -> None:
    async def main() -> None:
        async def handler() -> Any:
            before = asyncio.current_task()
            await asyncio.sleep(0.001)
            assert asyncio.current_task() is before
            return before

        tasks = await asyncio.gather(*[call(handler) for _ in range(50)])
        assert len({id(task) for task in tasks}) == 50

    run(main)


def test_timeouts_fire_nested_and_at_zero(run: Any) -> None:
    async def main() -> None:
        async def late() -> None:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(5)

        with pytest.raises(TimeoutError):
            await call(late)

        async def nested() -> str:
            try:
                async with asyncio.timeout(5):
                    async with asyncio.timeout(0.01):
                        await asyncio.sleep(5)
            except TimeoutError:
                return "inner"
            return "none"

        assert await call(nested) == "inner"

        async def zero() -> None:
            async with asyncio.timeout(0):
                await asyncio.sleep(1)

        with pytest.raises(TimeoutError):
            await call(zero)

    run(main)


def test_task_groups_cancel_parent_and_children(run: Any) -> None:
    async def main() -> None:
        cancelled: list[str] = []

        async def child() -> None:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                cancelled.append("child")
                raise

        async def failing() -> None:
            raise KeyError("x")

        async def handler() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                await asyncio.sleep(0)
                group.create_task(failing())
                await asyncio.sleep(5)

        with pytest.raises(BaseExceptionGroup) as caught:
            await call(handler)
        assert caught.group_contains(KeyError)
        assert cancelled == ["child"]

        async def waits() -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())

        task, future = await start(waits)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        assert cancelled == ["child", "child"]

    run(main)


def test_cancel_reaches_what_is_awaited_with_its_message(run: Any) -> None:
    async def main() -> None:
        got: list[Any] = []

        async def handler() -> str:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError as error:
                got.append(error.args)
                task = asyncio.current_task()
                assert task is not None
                got.append(task.cancelling())
                got.append(task.uncancel())
            await asyncio.sleep(0)
            return "alive"

        task, future = await start(handler)
        await asyncio.sleep(0)
        assert task.cancel("why") is True
        assert await future == "alive"
        assert got == [("why",), 1, 0]
        assert task.cancel() is False
        assert task.done() and not task.cancelled() and task.result() == "alive"

    run(main)


def test_cancelling_itself_before_the_first_suspension(run: Any) -> None:
    async def main() -> None:
        async def handler() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(5)

        task, future = await start(handler)
        with pytest.raises(asyncio.CancelledError):
            await future
        assert task.cancelled()

        async def never_delivered() -> str:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            return "lost"

        with pytest.raises(asyncio.CancelledError):
            await call(never_delivered)

    run(main)


def test_anyio_scopes_and_groups(run: Any) -> None:
    anyio = pytest.importorskip("anyio")

    async def main() -> None:
        async def scoped() -> str:
            with anyio.move_on_after(0.01) as scope:
                await anyio.sleep(5)
            assert scope.cancelled_caught
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.001)
            with pytest.raises(TimeoutError):
                with anyio.fail_after(0.01):
                    await anyio.sleep(5)
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 5)
                await anyio.sleep(0.001)
                group.cancel_scope.cancel()
            assert await anyio.to_thread.run_sync(threading.get_ident) != threading.get_ident()
            event = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(event.wait)
                event.set()
            return "ok"

        assert await call(scoped) == "ok"

        async def child_fails() -> None:
            async def bad() -> None:
                raise KeyError

            async with anyio.create_task_group() as group:
                group.start_soon(bad)
                await anyio.sleep(5)

        with pytest.raises(BaseExceptionGroup):
            await call(child_fails)

    run(main)


def test_wait_for_shield_gather_and_wait(run: Any) -> None:
    async def main() -> None:
        async def handler() -> Any:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.sleep(5), 0.01)
            values = await asyncio.gather(asyncio.sleep(0, "a"), asyncio.sleep(0.001, "b"))
            shielded = await asyncio.shield(asyncio.sleep(0, "s"))
            done, pending = await asyncio.wait(
                [asyncio.ensure_future(asyncio.sleep(0, 1)), asyncio.ensure_future(asyncio.sleep(5))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in pending:
                task.cancel()
            return values, shielded, len(done)

        assert await call(handler) == (["a", "b"], "s", 1)

    run(main)


def test_executors_queues_and_locks(run: Any) -> None:
    async def main() -> None:
        async def handler() -> Any:
            queue: asyncio.Queue[int] = asyncio.Queue()
            asyncio.get_running_loop().call_later(0.001, queue.put_nowait, 3)
            lock = asyncio.Lock()
            async with lock:
                value = await queue.get()
            return value + await asyncio.to_thread(lambda: 4)

        assert await call(handler) == 7

    run(main)


def test_all_tasks_lists_suspended_handlers_only_while_they_run(run: Any) -> None:
    async def main() -> None:
        async def handler() -> None:
            await asyncio.sleep(0.01)

        task, future = await start(handler)
        assert task in asyncio.all_tasks()
        await future
        assert task not in asyncio.all_tasks()

    run(main)


def test_referenced_tasks_are_never_recycled_and_weak_references_clear(run: Any) -> None:
    async def main() -> None:
        async def handler(value: int) -> int:
            return value

        kept = [(await start(handler, i))[0] for i in range(20)]
        assert [task.result() for task in kept] == list(range(20))
        reference = weakref.ref(kept[0])
        kept[0].mark = "mine"
        del kept
        gc.collect()
        assert reference() is None
        fresh = [(await start(handler, i))[0] for i in range(40)]
        assert not any(hasattr(task, "mark") for task in fresh)

    run(main)


def test_exceptions_and_bad_yields(run: Any) -> None:
    async def main() -> None:
        async def raises() -> None:
            raise ValueError("v")

        task, future = await start(raises)
        with pytest.raises(ValueError, match="v"):
            await future
        assert isinstance(task.exception(), ValueError)
        with pytest.raises(ValueError):
            await task

        class Yields:
            def __init__(self, value: Any) -> None:
                self.value = value

            def __await__(self) -> Any:
                yield self.value

        async def yields(value: Any) -> str:
            with pytest.raises(RuntimeError):
                await Yields(value)
            return "went on"

        assert await call(yields, 42) == "went on"
        assert await call(yields, asyncio.get_running_loop().create_future()) == "went on"
        assert await call(yields, Future()) == "went on"
        other = asyncio.new_event_loop()
        foreign = other.create_future()

        async def foreign_future() -> str:
            with pytest.raises(RuntimeError, match="different loop"):
                await foreign
            return "went on"

        assert await call(foreign_future) == "went on"
        other.close()

        async def fails_later() -> None:
            future: Any = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(future.set_exception, OSError("later"))
            with pytest.raises(OSError, match="later"):
                await future

        await call(fails_later)

    run(main)


def test_handlers_await_each_other(run: Any) -> None:
    async def main() -> None:
        async def inner() -> int:
            await asyncio.sleep(0.001)
            return 5

        async def outer() -> int:
            task, _ = await start(inner)
            return 1 + (await task)

        assert await call(outer) == 6

    run(main)


def test_done_callbacks_run_in_their_context(run: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    async def main() -> None:
        seen: list[Any] = []

        async def handler() -> None:
            await asyncio.sleep(0.01)

        task, future = await start(handler)
        context = contextvars.copy_context()
        context.run(variable.set, "mine")

        def removed(_: Any) -> None:
            seen.append("removed")

        task.add_done_callback(lambda t: seen.append((t, variable.get())), context=context)
        task.add_done_callback(removed)
        assert task.remove_done_callback(removed) == 1
        await future
        await asyncio.sleep(0)
        assert seen == [(task, "mine")]
        late: list[Any] = []
        task.add_done_callback(late.append)
        await asyncio.sleep(0)
        assert late == [task]

    run(main)


def test_context_variables_are_isolated_and_last_over_suspensions(run: Any) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def main() -> None:
        async def handler(value: int) -> int:
            assert variable.get() == 0
            variable.set(value)
            await asyncio.sleep(0.001)
            return variable.get()

        assert await asyncio.gather(*[call(handler, i) for i in range(1, 9)]) == list(range(1, 9))
        assert variable.get() == 0

    run(main)


def test_names_stack_and_logging(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def handler() -> Any:
            task = asyncio.current_task()
            assert task is not None
            task.set_name("renamed")
            logging.getLogger("here").warning("hello")
            await asyncio.sleep(0.01)

        task, future = await start(handler)
        assert task.get_name() == "renamed"
        assert len(task.get_stack()) == 1
        assert "renamed" in repr(task)
        assert task.get_coro() is not None and task.get_context() is not None
        assert task.get_loop() is asyncio.get_running_loop()
        await future

    run(main)
    if sys.version_info >= (3, 12):
        assert [record.taskName for record in caplog.records if record.name == "here"] == ["renamed"]


def test_a_custom_task_factory_gets_real_tasks(run: Any) -> None:
    async def main() -> None:
        made: list[Any] = []

        def factory(loop: Any, coro: Any, **kwargs: Any) -> Any:
            task: Any = asyncio.Task(coro, loop=loop, **kwargs)
            made.append(task)
            return task

        asyncio.get_running_loop().set_task_factory(factory)

        async def handler() -> Any:
            return asyncio.current_task()

        assert await call(handler) in made

        async def fails() -> None:
            raise KeyError("k")

        with pytest.raises(KeyError):
            await call(fails)

    run(main)


def test_debug_mode_uses_real_tasks() -> None:
    async def main() -> None:
        async def handler() -> Any:
            return asyncio.current_task()

        assert type(await call(handler)) is asyncio.Task

    with asyncio.Runner(debug=True, loop_factory=new_event_loop) as runner:
        runner.run(main())


def test_nested_start_inside_a_task_restores_the_outer_one(run: Any) -> None:
    async def main() -> None:
        outer = asyncio.current_task()

        async def handler() -> Any:
            return asyncio.current_task()

        inner, _ = _core.task_call(handler)
        assert asyncio.current_task() is outer
        assert inner.result() is inner

    run(main)


def test_keyboard_interrupt_ends_the_loop_and_leaves_no_current_task() -> None:
    async def main() -> None:
        async def handler() -> None:
            raise KeyboardInterrupt

        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: _core.task_call(handler))
        await asyncio.sleep(1)

    loop = new_event_loop()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(main())
    assert asyncio.current_task(loop) is None
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_plain_values_and_awaitables_are_accepted(run: Any) -> None:
    async def main() -> None:
        assert await call(lambda: 3) == 3

        class Later:
            def __await__(self) -> Any:
                yield from asyncio.sleep(0.001).__await__()
                return "later"

        assert await call(Later) == "later"

    run(main)


def test_runner_shutdown_cancels_handlers(run: Any) -> None:
    events: list[str] = []

    async def handler() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    async def main() -> None:
        _, future = await start(handler)
        future.add_done_callback(lambda f: f.cancelled() or f.exception())

    run(main)
    assert events == ["cancelled"]


def test_core_may_be_imported_before_asyncio() -> None:
    program = (
        "import fasterapi_core\n"
        "import asyncio\n"
        "async def main():\n"
        "    task = asyncio.current_task()\n"
        "    assert task is not None\n"
        "    handled, future = fasterapi_core._core.task_call(handler)\n"
        "    assert await future is handled\n"
        "async def handler():\n"
        "    await asyncio.sleep(0)\n"
        "    return asyncio.current_task()\n"
        "fasterapi_core.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- chosen at import


def test_the_self_test_passes_also_inside_a_running_loop(run: Any) -> None:
    from fasterapi_core import _native_tasks

    async def main() -> asyncio.AbstractEventLoop:
        before = asyncio.get_running_loop()
        _native_tasks.self_test()
        assert asyncio.get_running_loop() is before
        await asyncio.sleep(0)
        return before

    run(main)


def test_a_failed_self_test_turns_to_real_tasks_with_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fasterapi_core import _native_tasks

    async def handler() -> Any:
        return asyncio.current_task()

    async def broken() -> Any:
        raise AssertionError("current_task() is None")

    async def main() -> Any:
        return await call(handler)

    monkeypatch.setattr(_native_tasks, "_handler", broken)
    try:
        with caplog.at_level(logging.WARNING):
            assert _native_tasks.choose_tasks() is False
        assert [r.getMessage() for r in caplog.records] == [
            "native tasks are off, handlers run as asyncio tasks: self-test failed: current_task() is None"
        ]
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            assert type(runner.run(main())) is asyncio.Task
    finally:
        _core._set_native_tasks(True)
    monkeypatch.undo()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert type(runner.run(main())) is _core.NativeTask


def test_the_environment_can_ask_for_real_tasks() -> None:
    program = (
        "import fasterapi_core, asyncio\n"
        "async def handler(): return asyncio.current_task()\n"
        "async def main():\n"
        "    task, outcome = fasterapi_core._core.task_call(handler)\n"
        "    return await outcome\n"
        "print(type(fasterapi_core.run(main())).__module__)\n"
    )
    for value, module in (("0", "_asyncio"), ("1", "fasterapi_core._core")):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "FASTERAPI_NATIVE_TASKS": value},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert done.stdout.strip() == module
