"""Native log lines in Python's logging: names, levels, limits, threads, loops, fork and the end of the program."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import fasterapi_core
import pytest
import uvloop
from fasterapi_core import _support, log


class Collect(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.threads: list[int] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.threads.append(threading.get_ident())

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def collect() -> Iterator[Collect]:
    handler = Collect()
    logger = logging.getLogger("fasterapi")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield handler
    log.flush()
    logger.removeHandler(handler)
    logger.setLevel(level)
    logger.propagate = propagate


def in_child(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("FASTERAPI_")} | environment
    return subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=30
    )


def test_line_arrives_under_its_name_with_level_fields_and_the_time_of_the_event(collect: Collect) -> None:
    before = time.time()
    assert log.write("warning", "fasterapi.one", "bad request", fields={"client": "10.1.2.3", "status": 400})
    written = time.time()
    time.sleep(0.02)
    log.flush()
    (record,) = collect.records
    assert (record.name, record.levelno) == ("fasterapi.one", logging.WARNING)
    assert record.getMessage() == "bad request client=10.1.2.3 status=400"
    assert record.fields == {"client": "10.1.2.3", "status": "400"}  # type: ignore[attr-defined]
    assert before - 0.001 <= record.created <= written + 0.001
    assert abs(record.created % 1 * 1000 - record.msecs) < 1


def test_loop_delivers_before_it_sleeps(collect: Collect) -> None:
    async def main() -> None:
        log.write("info", "fasterapi.two", "from a callback")
        await asyncio.sleep(0.01)
        assert collect.lines == ["from a callback"]

    fasterapi_core.run(main())
    assert collect.threads == [threading.get_ident()]


@pytest.mark.parametrize(
    "factory", [fasterapi_core.new_event_loop, asyncio.new_event_loop, uvloop.new_event_loop]
)
def test_line_of_another_thread_is_delivered_on_the_loop_thread(factory: object, collect: Collect) -> None:
    name = f"fasterapi.three.{getattr(factory, '__module__', '')}"

    async def main() -> None:
        if factory is not fasterapi_core.new_event_loop:
            _support.bridge_of(asyncio.get_running_loop())
        await asyncio.sleep(0.02)  # the loop sleeps without a timer of its own that would wake it in time
        done = threading.Event()

        def work() -> None:
            log.write("warning", name, "from a thread", kind=name)
            done.set()

        asyncio.get_running_loop().call_later(5, lambda: None)
        threading.Timer(0.05, work).start()
        for _ in range(100):
            await asyncio.sleep(0.02)
            if collect.lines:
                break

    with asyncio.Runner(loop_factory=factory) as runner:  # type: ignore[arg-type]
        runner.run(main())
    assert collect.lines == ["from a thread"]
    assert collect.threads == [threading.get_ident()]


def test_sleeping_loop_is_woken_for_a_line_of_another_thread(collect: Collect) -> None:
    arrived: list[float] = []

    class Arrival(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            arrived.append(time.monotonic())

    handler = Arrival()
    logging.getLogger("fasterapi").addHandler(handler)
    written: list[float] = []

    def work() -> None:
        time.sleep(0.1)
        written.append(time.monotonic())
        log.write("warning", "fasterapi.four", "wake up")

    async def main() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        await asyncio.sleep(1.5)  # one sleep: without the wake-up the line comes at its end
        thread.join()

    try:
        fasterapi_core.run(main())
    finally:
        logging.getLogger("fasterapi").removeHandler(handler)
    assert arrived and arrived[0] - written[0] < 0.7


def test_without_a_loop_the_main_thread_delivers(collect: Collect) -> None:
    log.write("warning", "fasterapi.five", "no loop")
    deadline = time.monotonic() + 5
    while not collect.lines and time.monotonic() < deadline:
        time.sleep(0.001)
    assert collect.lines == ["no loop"]


def test_flood_is_one_line_and_a_summary_a_second_later(collect: Collect) -> None:
    async def main() -> None:
        for _ in range(5000):
            log.write("warning", "fasterapi.six", "bad request", kind="six")
        await asyncio.sleep(1.4)

    fasterapi_core.run(main())
    assert collect.lines[0] == "bad request"
    assert len(collect.lines) <= 3
    assert any(line.endswith("more in the last second)") for line in collect.lines[1:])
    told = sum(int(line.split("(")[1].split()[0].replace(",", "")) for line in collect.lines if "(" in line)
    assert told + len([line for line in collect.lines if "(" not in line]) == 5000


def test_control_characters_cannot_make_a_second_line(collect: Collect) -> None:
    log.write(
        "error", "fasterapi.seven", "GET /\r\n2026 CRITICAL fasterapi: hacked\x1b[2J\u2028x\0y\udc80"[:-1]
    )
    log.flush()
    assert collect.lines == ["GET /\\x0d\\x0a2026 CRITICAL fasterapi: hacked\\x1b[2J\\xe2\\x80\\xa8x\\x00y"]


def test_full_ring_drops_counts_and_says_so() -> None:
    done = in_child(
        "import threading, time\n"
        "from fasterapi_core import log\n"
        "def fill():\n"  # while the main thread waits in a lock and cannot deliver
        "    for _ in range(4):\n"
        "        for i in range(250): log.write('error', 'fasterapi.ring', 'x', kind=f'kind {i}')\n"
        "        time.sleep(1.05)\n"
        "thread = threading.Thread(target=fill); thread.start(); thread.join()\n"
        "log.flush()\n"
        "print(log.dropped())\n"
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    dropped = int(done.stdout)
    assert 200 <= dropped <= 488  # the main thread may deliver once while it starts the other
    assert lines.count("x") == 1000 - dropped
    assert f"{dropped} log lines were dropped: the ring of 512 was full" in lines


def test_level_hides_and_shows_native_lines(collect: Collect) -> None:
    assert log.get_level("fasterapi.nine") == "info"
    assert not log.write("debug", "fasterapi.nine", "hidden")
    log.set_level("debug", "fasterapi.nine")
    assert log.write("debug", "fasterapi.nine.child", "shown")
    log.set_level("off", "fasterapi.nine")
    assert not log.write("error", "fasterapi.nine", "hidden")
    log.flush()
    assert collect.lines == ["shown"]
    with pytest.raises(ValueError, match="no log level 'loud'"):
        log.set_level("loud")
    with pytest.raises(KeyError):
        log.write("loud", "fasterapi", "x")


def test_handler_that_raises_is_reported_and_does_not_stop_the_loop(
    capfd: pytest.CaptureFixture[str],
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("broken handler")

    seen: list[object] = []
    handler = Broken()
    logger = logging.getLogger("fasterapi")
    logger.addHandler(handler)
    hook, sys.unraisablehook = sys.unraisablehook, lambda args: seen.append(args.exc_value)

    async def main() -> str:
        log.write("error", "fasterapi.ten", "x")
        await asyncio.sleep(0.01)
        return "alive"

    try:
        assert fasterapi_core.run(main()) == "alive"
    finally:
        sys.unraisablehook = hook
        logger.removeHandler(handler)
    assert [str(value) for value in seen] == ["broken handler"]


def test_keyboard_interrupt_of_a_handler_ends_the_loop() -> None:
    class Interrupt(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise KeyboardInterrupt

    handler = Interrupt()
    logger = logging.getLogger("fasterapi")
    logger.addHandler(handler)

    async def main() -> None:
        log.write("error", "fasterapi.eleven", "x")
        await asyncio.sleep(5)

    try:
        with pytest.raises(KeyboardInterrupt):
            fasterapi_core.run(main())
    finally:
        logger.removeHandler(handler)


def test_handler_that_logs_natively_is_served_in_a_later_turn(collect: Collect) -> None:
    class Again(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "first":
                log.write("info", "fasterapi.twelve", "second")

    handler = Again()
    logging.getLogger("fasterapi").addHandler(handler)

    async def main() -> None:
        log.write("info", "fasterapi.twelve", "first")
        await asyncio.sleep(0.05)

    try:
        fasterapi_core.run(main())
    finally:
        logging.getLogger("fasterapi").removeHandler(handler)
    assert collect.lines == ["first", "second"]


def test_environment_sets_levels_and_shows_lines_without_any_configuration() -> None:
    done = in_child(
        "from fasterapi_core import log\n"
        "log.write('debug', 'fasterapi.pg', 'seen')\n"
        "log.write('debug', 'fasterapi.http', 'not seen')\n"
        "log.write('info', 'fasterapi.http', 'seen too')\n",
        FASTERAPI_LOG="debug,fasterapi.http=info",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [line.split(" ", 2)[2] for line in lines if "seen" in line] == [
        "DEBUG fasterapi.pg: seen",
        "INFO fasterapi.http: seen too",
    ]


def test_environment_wins_over_the_level_that_a_program_gave_its_logger() -> None:
    done = in_child(
        "import logging, sys\n"
        "from fasterapi_core import log\n"
        "logging.basicConfig(stream=sys.stdout, format='%(name)s|%(message)s')\n"
        "log.write('debug', 'fasterapi.http', 'seen')\n"
        "log.write('debug', 'fasterapi.pg', 'not')\n",
        FASTERAPI_LOG="fasterapi.http=debug",
    )
    assert done.stdout.splitlines() == ["fasterapi.http|seen"]


def test_wrong_environment_is_told_once() -> None:
    done = in_child("import fasterapi_core", FASTERAPI_LOG="loud,fasterapi.http=debug")
    assert done.returncode == 0
    assert done.stderr.count("FASTERAPI_LOG: no log level 'loud' (debug, info, warning, error, off)") == 1


def test_nothing_is_said_unasked() -> None:
    done = in_child(
        "import asyncio, fasterapi_core\n"
        "from fasterapi_core import log\n"
        "log.write('info', 'fasterapi.core', 'x')\n"
        "fasterapi_core.run(asyncio.sleep(0))\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_lines_and_counts_that_wait_at_the_end_are_delivered() -> None:
    done = in_child(
        "import threading\n"
        "from fasterapi_core import log\n"
        "def work():\n"
        "    for i in range(1235): log.write('warning', 'fasterapi.end', 'bad')\n"
        "t = threading.Thread(target=work); t.start(); t.join()\n"
    )
    assert done.stderr.splitlines() == ["bad", "bad (1,234 more in the last second)"]


def test_lines_after_the_end_of_logging_go_to_stderr_from_warning_on() -> None:
    program = (
        "import atexit\n"
        "def late():\n"  # registered first: runs last
        "    from fasterapi_core import log\n"
        "    log.write('info', 'fasterapi.late', 'hidden')\n"
        "    log.write('warning', 'fasterapi.late', 'shown')\n"
        "    log.write('info', 'fasterapi.asked', 'asked for')\n"
        "atexit.register(late)\n"
        "import fasterapi_core\n"
    )
    done = in_child(program, FASTERAPI_LOG="fasterapi.asked=info")
    assert done.returncode == 0
    assert [line.split(" ", 1)[1] for line in done.stderr.splitlines()] == [
        "WARNING fasterapi.late: shown",
        "INFO fasterapi.asked: asked for",
    ]


def test_child_of_a_fork_does_not_repeat_the_lines_of_its_parent() -> None:
    done = in_child(
        "import asyncio, os, fasterapi_core\n"
        "from fasterapi_core import log\n"
        "async def main():\n"
        "    log.write('warning', 'fasterapi.fork', 'of the parent')\n"  # waits for the end of the turn
        "    if os.fork() == 0:\n"
        "        log.write('warning', 'fasterapi.fork', 'of the child')\n"
        "        log.flush()\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "fasterapi_core.run(main())\n"
    )
    assert done.stderr.splitlines() == ["of the child", "of the parent"]


def test_debug_log_tells_backend_and_late_timers() -> None:
    done = in_child(
        "import asyncio, time, fasterapi_core\n"
        "from fasterapi_core import _core\n"
        "async def main():\n"
        "    await asyncio.sleep(0)\n"
        "fasterapi_core.run(main())\n",
        FASTERAPI_LOG="debug",
    )
    assert "DEBUG fasterapi.core: reactor uses " in done.stderr
