"""EventLoop against asyncio's documented behaviour."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from typing import Any

import fasterapi_core
import pytest
from fasterapi_core import EventLoop, new_event_loop


@pytest.fixture
def loop() -> Any:
    made = new_event_loop()
    yield made
    made.close()


def test_run_returns_and_refuses_nesting() -> None:
    async def main() -> str:
        assert isinstance(asyncio.get_running_loop(), EventLoop)
        inner = asyncio.sleep(0)
        with pytest.raises(RuntimeError):
            fasterapi_core.run(inner)
        inner.close()
        return "done"

    assert fasterapi_core.run(main()) == "done"


def test_run_takes_a_loop_factory_and_debug() -> None:
    made = []

    class Own(EventLoop):
        pass

    def factory() -> EventLoop:
        made.append(Own(backend="epoll"))
        return made[-1]

    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    loop = fasterapi_core.run(main(), loop_factory=factory)
    assert made == [loop] and loop.is_closed() and not loop.get_debug()
    assert fasterapi_core.run(main(), loop_factory=factory, debug=True).get_debug()


def test_run_refuses_another_loop() -> None:
    made = []

    def factory() -> asyncio.AbstractEventLoop:
        made.append(asyncio.SelectorEventLoop())
        return made[-1]

    async def main() -> None:
        pytest.fail("ran on a loop of asyncio's")

    coroutine = main()
    with pytest.raises(TypeError, match="EventLoop, loop_factory made"):
        fasterapi_core.run(coroutine, loop_factory=factory)
    coroutine.close()
    assert made[0].is_closed()


def test_call_soon_order_arguments_and_cancel(loop: Any) -> None:
    seen: list[Any] = []
    loop.call_soon(seen.append, 1)
    handle = loop.call_soon(seen.append, 2)
    loop.call_soon(lambda *a: seen.append(a), 3, 4, 5)
    loop.call_soon(loop.stop)
    handle.cancel()
    assert handle.cancelled() and isinstance(handle, asyncio.Handle)
    loop.run_forever()
    assert seen == [1, (3, 4, 5)]


def test_callbacks_added_by_callbacks_run_in_the_next_iteration(loop: Any) -> None:
    seen: list[int] = []

    def first() -> None:
        loop.call_soon(seen.append, 1)
        loop.stop()

    loop.call_soon(first)
    loop.run_forever()
    assert seen == []
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [1]


def test_timers_fire_in_order_and_never_early(loop: Any) -> None:
    seen: list[Any] = []
    started = loop.time()
    for delay in (0.02, 0.005, 0.0101, 0.0100, 0.005):
        loop.call_later(delay, lambda d=delay: seen.append((d, loop.time() - started)))
    cancelled = loop.call_later(0.001, seen.append, "never")
    assert isinstance(cancelled, asyncio.TimerHandle) and cancelled.when() > started
    cancelled.cancel()
    loop.call_at(started + 0.03, loop.stop)
    loop.run_forever()
    assert [d for d, _ in seen] == [0.005, 0.005, 0.01, 0.0101, 0.02]
    assert all(at >= d for d, at in seen)


def test_many_timers_cancelled_in_any_order(loop: Any) -> None:
    fired: list[int] = []
    base = loop.time() + 0.001
    handles = [loop.call_at(base + (i * 7919 % 101) / 1e4, fired.append, i) for i in range(500)]
    for handle in handles[::3]:
        handle.cancel()
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    expected = [i for i in range(500) if i % 3]
    assert sorted(fired) == expected
    assert [i * 7919 % 101 for i in fired] == sorted(i * 7919 % 101 for i in expected)


def test_bad_times_are_refused(loop: Any) -> None:
    with pytest.raises(TypeError):
        loop.call_later(None, print)
    with pytest.raises(TypeError):
        loop.call_at(None, print)
    with pytest.raises(ValueError):
        loop.call_later(float("nan"), print)
    with pytest.raises(TypeError):
        loop.call_soon()
    with pytest.raises(TypeError):
        loop.call_soon(print, wrong=1)


def test_context_of_callbacks(loop: Any) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    seen: list[int] = []
    context = contextvars.copy_context()
    context.run(variable.set, 7)
    loop.call_soon(lambda: seen.append(variable.get()), context=context)
    variable.set(1)
    loop.call_soon(lambda: (seen.append(variable.get()), variable.set(2)))
    loop.call_soon(lambda: (seen.append(variable.get()), loop.stop()))
    loop.run_forever()
    assert seen == [7, 1, 1]


def test_exceptions_of_callbacks_reach_the_handler(loop: Any) -> None:
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    loop.call_soon(lambda: 1 // 0)
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert isinstance(reports[0]["exception"], ZeroDivisionError)
    assert reports[0]["message"].startswith("Exception in callback")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_end_the_run(loop: Any, error: type[BaseException]) -> None:
    def interrupt() -> None:
        raise error

    loop.call_soon(interrupt)
    with pytest.raises(error):
        loop.run_forever()
    loop.call_soon(loop.stop)
    loop.run_forever()  # still usable


def test_threadsafe_calls_wake_a_sleeping_loop(loop: Any) -> None:
    def later() -> None:
        time.sleep(0.02)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=later)
    started = time.monotonic()
    thread.start()
    loop.run_forever()
    thread.join()
    assert time.monotonic() - started < 5


def test_other_threads_run_while_the_loop_is_busy(loop: Any) -> None:
    counted = 0

    def spin() -> None:
        loop.call_soon(spin)

    def count() -> None:
        nonlocal counted
        for _ in range(1000):
            counted += 1
        loop.call_soon_threadsafe(loop.stop)

    loop.call_soon(spin)
    thread = threading.Thread(target=count)
    thread.start()
    loop.run_forever()
    thread.join()
    assert counted == 1000


def test_readers_and_writers(loop: Any) -> None:
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    got: list[bytes] = []

    def read() -> None:
        got.append(b.recv(10))
        assert loop.remove_reader(b) is True
        assert loop.remove_reader(b) is False
        loop.stop()

    def write() -> None:
        a.send(b"hello")
        loop.remove_writer(a.fileno())

    loop.add_reader(b, read)
    loop.add_writer(a.fileno(), write)
    loop.run_forever()
    assert got == [b"hello"]
    a.close()
    b.close()


def test_a_descriptor_closed_without_removing_its_reader_can_be_reused(loop: Any) -> None:
    a, b = socket.socketpair()
    number = b.fileno()
    loop.add_reader(b, lambda: None)
    b.close()
    c, d = socket.socketpair()
    reused = next((s for s in (c, d) if s.fileno() == number), None)
    assert reused is not None
    reused.setblocking(False)
    loop.add_reader(reused, loop.stop)
    (d if reused is c else c).send(b"x")
    loop.run_forever()
    for s in (a, c, d):
        loop.remove_reader(s) if s is reused else None
        s.close()


def test_a_regular_file_cannot_be_watched(loop: Any, tmp_path: Any) -> None:
    with open(tmp_path / "file", "wb") as file, pytest.raises(PermissionError):
        loop.add_reader(file, print)


def test_streams_unix_and_tcp(tmp_path: Any) -> None:
    async def main() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        payload = os.urandom(1 << 20)
        for server in (
            await asyncio.start_server(echo, "127.0.0.1", 0),
            await asyncio.start_unix_server(echo, str(tmp_path / "s")),
        ):
            address = server.sockets[0].getsockname()
            if isinstance(address, tuple):
                reader, writer = await asyncio.open_connection(*address[:2])
            else:
                reader, writer = await asyncio.open_unix_connection(address)
            writer.write(payload)
            assert await reader.readexactly(len(payload)) == payload
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()

    fasterapi_core.run(main())


def test_datagrams_sockets_and_getaddrinfo() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got = loop.create_future()

        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                got.set_result(data)

        receiver, _ = await loop.create_datagram_endpoint(Protocol, local_addr=("127.0.0.1", 0))
        sender, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=receiver.get_extra_info("sockname")
        )
        sender.sendto(b"ping")
        assert await got == b"ping"
        sender.close()
        receiver.close()
        a, b = socket.socketpair()
        a.setblocking(False)
        b.setblocking(False)
        reading = asyncio.ensure_future(loop.sock_recv(b, 100))
        await loop.sock_sendall(a, b"raw")
        assert await reading == b"raw"
        a.close()
        b.close()
        assert await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)

    fasterapi_core.run(main())


def test_subprocesses_pipes_and_executors() -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import sys; sys.stdout.write(sys.stdin.read().upper())",
            stdin=-1,
            stdout=-1,
        )
        out, _ = await process.communicate(b"hello")
        assert out == b"HELLO" and process.returncode == 0
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
        process.kill()
        assert await process.wait() == -signal.SIGKILL
        assert await asyncio.get_running_loop().run_in_executor(None, os.getpid) == os.getpid()

    fasterapi_core.run(main())


def test_signal_handlers() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, got.set_result, "usr1")
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await asyncio.wait_for(got, 5) == "usr1"
        assert loop.remove_signal_handler(signal.SIGUSR1) is True

    fasterapi_core.run(main())


def test_interrupt_from_the_keyboard_cancels_main_and_exits() -> None:
    program = (
        "import asyncio, fasterapi_core, os, signal\n"
        "async def main():\n"
        "    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)\n"
        "    try:\n"
        "        await asyncio.sleep(30)\n"
        "    except asyncio.CancelledError:\n"
        "        print('cancelled', flush=True); raise\n"
        "try:\n"
        "    fasterapi_core.run(main())\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["cancelled", "interrupted"], done.stderr


def test_debug_mode_checks_threads_and_logs_slow_callbacks(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = 0.01
        loop.call_soon(time.sleep, 0.02)
        with pytest.raises(TypeError):
            loop.call_soon("not callable")  # type: ignore[arg-type]
        errors: list[Exception] = []

        def wrong_thread() -> None:
            try:
                loop.call_soon(print)
            except RuntimeError as error:
                errors.append(error)

        await asyncio.to_thread(wrong_thread)
        assert "Non-thread-safe" in str(errors[0])
        await asyncio.sleep(0)
        handle = loop.call_soon(print)
        assert "created at" in repr(handle)
        handle.cancel()

    with (
        caplog.at_level(logging.WARNING, "asyncio"),
        asyncio.Runner(debug=True, loop_factory=new_event_loop) as r,
    ):
        r.run(main())
    assert any("took 0.0" in record.getMessage() for record in caplog.records)


def test_closed_loop_refuses_work() -> None:
    loop = new_event_loop()
    loop.close()
    assert loop.is_closed()
    for attempt in (
        lambda: loop.call_soon(print),
        lambda: loop.call_later(1, print),
        lambda: loop.run_forever(),
    ):
        with pytest.raises(RuntimeError, match="closed"):
            attempt()
    loop.close()


def test_policy_and_install() -> None:
    program = (
        "import asyncio, fasterapi_core\n"
        "fasterapi_core.install()\n"
        "async def main(): return type(asyncio.get_running_loop()).__name__\n"
        "print(asyncio.run(main()))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "EventLoop", done.stderr


def test_unknown_backend_is_named_in_the_error() -> None:
    program = "import fasterapi_core; fasterapi_core.new_event_loop()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=30,
        env={**os.environ, "FASTERAPI_REACTOR": "nonsense"},
    )
    assert "FASTERAPI_REACTOR" in done.stderr and "nonsense" in done.stderr and done.returncode == 1


def test_loops_are_freed() -> None:
    import gc
    import weakref

    references = []
    for _ in range(5):
        loop = new_event_loop()
        loop.call_later(10, print)
        loop.call_soon(print)
        loop.close()
        references.append(weakref.ref(loop))
        del loop
    gc.collect()
    assert all(reference() is None for reference in references)


def test_require_abi_names_both_versions() -> None:
    fasterapi_core.require_abi(fasterapi_core.ABI, "fasterapi-x 1.0")
    with pytest.raises(ImportError, match=r"fasterapi-x 1.0 was built for fasterapi-core 9.9.x.*pip install"):
        fasterapi_core.require_abi("9.9", "fasterapi-x 1.0")


# ---------------------------------------------------------------- busy loops, tasks, fork


def test_a_busy_loop_still_sees_io_and_timers() -> None:
    """A loop that never runs out of callbacks polls at least once per 20 us."""

    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        busy = True

        def spin() -> None:
            if busy:
                loop.call_soon(spin)

        loop.call_soon(spin)
        await asyncio.sleep(0.01)  # the timer fires although the loop is busy
        started = loop.time()
        theirs.send(b"x")
        assert await loop.sock_recv(ours, 1) == b"x"
        readable = loop.time() - started
        started = loop.time()
        await loop.run_in_executor(None, time.sleep, 0.001)
        executor = loop.time() - started
        busy = False
        ours.close()
        theirs.close()
        return readable, executor

    readable, executor = fasterapi_core.run(main())
    assert readable < 0.5
    assert executor < 2


def test_tasks_and_futures_are_asyncio_s_own() -> None:
    async def nothing() -> int:
        return 7

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert type(loop.create_future()) is asyncio.Future
        variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
        context = contextvars.copy_context()
        context.run(variable.set, "given")

        async def see() -> str:
            return variable.get("none")

        named = loop.create_task(see(), name="a name", context=context)
        assert type(named) is asyncio.Task
        assert named.get_name() == "a name"
        assert await named == "given"
        assert await loop.create_task(see()) == "none"
        with pytest.raises(TypeError):
            await loop.create_task(7)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await loop.create_task(nothing(), colour="red")  # type: ignore[call-arg]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the coroutine of the last line is never awaited
        fasterapi_core.run(main())
    loop = fasterapi_core.new_event_loop()
    loop.close()
    coroutine = nothing()
    with pytest.raises(RuntimeError, match="closed"):
        loop.create_task(coroutine)
    coroutine.close()


def test_task_factories_are_asked() -> None:
    made: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, coroutine: Any, **kwargs: Any) -> asyncio.Task[Any]:
        made.append(kwargs)
        return asyncio.Task(coroutine, loop=loop, **kwargs)

    async def nothing() -> None:
        return None

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        await loop.create_task(nothing())
        await asyncio.create_task(nothing(), context=contextvars.copy_context())
        loop.set_task_factory(None)
        assert loop.get_task_factory() is None
        await loop.create_task(nothing())
        with pytest.raises(TypeError):
            loop.set_task_factory(7)  # type: ignore[arg-type]

    fasterapi_core.run(main())
    assert len(made) == 2
    assert "context" in made[1]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
def test_eager_tasks_run_to_their_first_suspension_at_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        seen: list[str] = []

        async def work() -> str:
            seen.append("before")
            await asyncio.sleep(0)
            seen.append("after")
            return "done"

        task = loop.create_task(work())
        assert seen == ["before"]
        assert await task == "done"
        assert seen == ["before", "after"]

    fasterapi_core.run(main())


FORK = """
import asyncio, os, socket, sys, fasterapi_core

async def in_child():
    left, right = socket.socketpair()
    left.setblocking(False); right.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(left, b"child")
    assert await loop.sock_recv(right, 5) == b"child"
    await asyncio.sleep(0.01)
    left.close(); right.close()

async def main():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    got = []
    loop.add_reader(ours, lambda: got.append(ours.recv(100)))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert asyncio._get_running_loop() is None
            fasterapi_core.run(in_child())       # a loop of the child's own
            loop.remove_reader(ours)             # must not reach the parent's epoll
            status = 0
        except BaseException as error:
            print("child:", repr(error), file=sys.stderr)
        finally:
            os._exit(status)
    _, status = await loop.run_in_executor(None, os.waitpid, child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
    theirs.send(b"parent")
    while not got:
        await asyncio.sleep(0.01)
    assert got == [b"parent"]
    loop.remove_reader(ours)

asyncio.Runner(loop_factory=fasterapi_core.new_event_loop).run(main())
print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_of_fork_has_its_own_kernel_objects() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "fine", done.stderr


def test_threads_get_the_gil_from_a_busy_loop() -> None:
    """Calls in an executor come back although the loop never sleeps, and a thread that computes does not starve it."""

    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        turns = 0
        busy = True

        def spin() -> None:
            nonlocal turns
            turns += 1
            if busy:
                loop.call_soon(spin)

        loop.call_soon(spin)
        for _ in range(20):
            assert await loop.run_in_executor(None, sum, (1, 2)) == 3
        before = turns
        computed = await loop.run_in_executor(None, lambda: sum(i for i in range(2_000_000)))
        busy = False
        assert computed == 1999999000000
        assert loop._core_info()["foreign_work"] == 0  # type: ignore[attr-defined]
        return before, turns - before

    handed_over, beside_computing = fasterapi_core.run(main())
    assert handed_over > 0
    assert beside_computing > 100  # an iteration per switch interval would be fewer than 50


def test_the_backend_is_chosen_by_name() -> None:
    for name in ("epoll", "io_uring"):
        loop = fasterapi_core.new_event_loop(backend=name)
        try:
            backend = loop._core_info()["backend"]
            assert backend in (name, "epoll"), "where the kernel refuses io_uring, epoll takes its place"
            assert f"backend={backend}" in repr(loop)
            assert loop.run_until_complete(asyncio.sleep(0, "ran")) == "ran"
        finally:
            loop.close()
    with pytest.raises(RuntimeError, match="no reactor backend named 'abacus'"):
        fasterapi_core.EventLoop(backend="abacus")
