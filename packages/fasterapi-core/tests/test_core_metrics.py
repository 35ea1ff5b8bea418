"""Metrics: types, labels, text, loop metrics, several processes; the text is read by prometheus_client's parser."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import fasterapi_core
import pytest
from fasterapi_core import metrics, shared
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse


def families(parser: Callable[[str], Any] = parse) -> dict[str, Any]:
    text = metrics.text(openmetrics=parser is parse_open).decode()
    return {family.name: family for family in parser(text)}


def sample(name: str, **labels: str) -> float:
    for family in parse(metrics.text().decode()):
        for found in family.samples:
            if found.name == name and found.labels == labels:
                return float(found.value)
    raise AssertionError(f"no sample {name} {labels}")


def test_types_and_values_read_back_by_the_parser() -> None:
    metrics.counter("t1_requests_total", "Requests.", ["method"]).labels("GET").inc(3)
    metrics.counter("t1_busy_seconds_total", "Busy.", floating=True).inc(0.25)
    gauge = metrics.gauge("t1_open", "Open.")
    gauge.set(5)
    gauge.inc()
    gauge.dec(2.5)
    times = metrics.histogram("t1_seconds", "Took.", ["route"], buckets=[0.1, 1, 10])
    for value in (0.05, 0.1, 5, 50):
        times.labels(route="/x").observe(value)
    for parser in (parse, parse_open):
        found = families(parser)
        assert found["t1_requests"].type == "counter"
        assert found["t1_requests"].documentation == "Requests."
        assert found["t1_open"].samples[0].value == 3.5
        assert sample("t1_requests_total", method="GET") == 3
        assert sample("t1_busy_seconds_total") == 0.25
        assert found["t1_seconds"].type == "histogram"
        assert [(s.name, s.labels.get("le"), s.value) for s in found["t1_seconds"].samples] == [
            ("t1_seconds_bucket", "0.1", 2),
            ("t1_seconds_bucket", "1.0", 2),
            ("t1_seconds_bucket", "10.0", 3),
            ("t1_seconds_bucket", "+Inf", 4),
            ("t1_seconds_sum", None, 55.15),
            ("t1_seconds_count", None, 4),
        ]


NASTY = ['"', "\\", "\n", 'a"b\\c\nd', "\\n", "é\u2028💥", "", "}", '",x="', '{le="1"} 1']


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("parser", [parse, parse_open])
def test_label_values_and_help_survive_the_text(parser: Callable[[str], Any], value: str) -> None:
    metrics.counter("t2_total", 'Help with \\ and \n and "quotes".', ["v"]).labels(value).inc()
    family = families(parser)["t2"]
    assert family.documentation == 'Help with \\ and \n and "quotes".'
    assert value in [found.labels["v"] for found in family.samples]


def test_nul_in_a_label_value_cannot_reach_into_the_next() -> None:
    metrics.counter("t3_total", "", ["a", "b"]).labels("x\0y", "z").inc(2)
    assert sample("t3_total", a="x\ufffdy", b="z") == 2


def test_wrong_use_is_refused_in_words() -> None:
    metrics.counter("t4_total", "One help.")
    with pytest.raises(ValueError, match="'t4_total' exists with another type, help, label names"):
        metrics.counter("t4_total", "Another help.")
    with pytest.raises(ValueError, match="exists with another"):
        metrics.gauge("t4_total", "One help.")
    with pytest.raises(ValueError, match="cannot be the name of a metric"):
        metrics.counter("no-dashes", "")
    with pytest.raises(ValueError, match="reserved"):
        metrics.histogram("t4_h", "", ["le"]).labels("x")
    with pytest.raises(ValueError, match="must be finite, grow"):
        metrics.histogram("t4_h", "", buckets=[2, 1])
    with pytest.raises(ValueError, match="start > 0"):
        metrics.exponential_buckets(0, 2, 3)
    with pytest.raises(TypeError, match="not one string"):
        metrics.counter("t4_labels_total", "", "method")
    with pytest.raises(ValueError, match="merge is"):
        metrics.gauge("t4_gauge", "", merge="average")  # type: ignore[arg-type]
    family = metrics.counter("t4_labels_total", "", ["a", "b"])
    for call in (
        lambda: family.labels("1"),
        lambda: family.labels("1", b="2"),
        lambda: family.labels(a="1", c="2"),
        family.inc,
    ):
        with pytest.raises(ValueError, match="t4_labels_total: "):
            call()
    with pytest.raises(TypeError):
        metrics.counter("t4_whole_total", "").inc(0.5)
    with pytest.raises(TypeError):
        metrics.counter("t4_whole_total", "").inc(-1)
    with pytest.raises(ValueError, match="only grows"):
        metrics.counter("t4_float_total", "", floating=True).inc(-0.5)
    assert metrics.exponential_buckets(1, 2, 4) == (1, 2, 4, 8)


def test_same_name_is_the_same_counter() -> None:
    metrics.counter("t5_total", "Five.").inc(2)
    again = metrics.counter("t5_total", "Five.")
    again.inc()
    assert again.value == 3 == sample("t5_total")


def test_timing_observes_the_seconds_of_a_block() -> None:
    times = metrics.histogram("t6_seconds", "Six.")
    with times.time():
        time.sleep(0.02)
    with pytest.raises(KeyError), times.time():
        raise KeyError
    assert times.count == 2
    assert 0.02 <= times.sum < 2


def in_child(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("FASTERAPI_")}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=env | environment,
        pass_fds=[shared.fileno()],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_one_process_tells_what_all_counted_also_those_killed() -> None:
    program = (
        "import os, signal, sys\n"
        "from fasterapi_core import metrics, shared\n"
        "assert shared.slot() > 0\n"
        "metrics.counter('t7_total', 'Seven.', ['worker']).labels(sys.argv[1] if len(sys.argv) > 1 else 'w').inc(1000)\n"
        "metrics.gauge('t7_alive', 'Seven.').set(1)\n"
        "print(metrics.text().decode().split('\\nt7_alive ')[1].split()[0])\n"
        "sys.stdout.flush()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    metrics.gauge("t7_alive", "Seven.").set(1)
    for turn in range(3):
        done = in_child(program, **shared.environment())
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert done.stdout.strip() == "2.0"
        assert sample("t7_total", worker="w") == 1000 * (turn + 1)
        assert sample("t7_alive") == 1.0
    assert list(shared.processes().values()) == [os.getpid()]


def test_descriptor_that_is_no_block_is_told_and_the_process_counts_for_itself() -> None:
    done = in_child(
        "from fasterapi_core import metrics\n"
        "metrics.counter('t8_total', '').inc()\n"
        "print('t8_total 1' in metrics.text().decode())\n",
        FASTERAPI_SHARED_FD="0",
    )
    assert done.stdout == "True\n"
    assert "FASTERAPI_SHARED_FD=0: shared block: the descriptor is none" in done.stderr


def test_forked_child_counts_in_its_own_slot_through_the_same_handles() -> None:
    done = in_child(
        "import os\n"
        "from fasterapi_core import metrics, shared\n"
        "c = metrics.counter('t9_total', ''); c.inc(5)\n"
        "pids = []\n"
        "for i in range(4):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        assert shared.slot() not in (-1, 0)\n"
        "        for _ in range(10000): c.inc()\n"
        "        os._exit(0 if c.value == 10000 else 1)\n"
        "    pids.append(pid)\n"
        "assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 4\n"
        "assert c.value == 5\n"
        "print([line for line in metrics.text().decode().splitlines() if line.startswith('t9_total')])\n"
    )
    assert done.stdout == "['t9_total 40005']\n", done.stderr


# ---- loop metrics


def test_loop_tells_lag_turns_and_slow_callbacks_by_name(caplog: pytest.LogCaptureFixture) -> None:
    def culprit() -> None:
        time.sleep(0.65)

    async def main() -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, fasterapi_core.EventLoop)
        loop.slow_callback_duration = 0.4  # a busy machine may stop us for a while, not for that long
        loop.enable_metrics()
        loop.enable_metrics()
        before = loop.metrics()
        for _ in range(50):
            await asyncio.sleep(0)
        await asyncio.sleep(0.15)
        loop.call_soon(culprit)
        await asyncio.sleep(0.15)
        after = loop.metrics()
        assert after["turns"] - before["turns"] >= 50
        assert after["lag_count"] - before["lag_count"] >= 2
        assert 0.4 <= after["lag_max"] < 5  # the timer of 100 ms had to wait for the culprit
        assert after["slow_callbacks"] - before["slow_callbacks"] == 1
        assert after["timers"] >= 1 or after["descriptors"] >= 0
        return after

    with caplog.at_level(logging.WARNING, "fasterapi"):
        fasterapi_core.run(main())
    (line,) = [
        record.getMessage() for record in caplog.records if "held the event loop" in record.getMessage()
    ]
    assert "culprit" in line and "held the event loop for 0.6" in line
    found = families()
    assert found["fasterapi_loop_lag_seconds"].type == "histogram"
    assert sample("fasterapi_loop_turns_total") > 50
    assert sample("fasterapi_loop_slow_callbacks_total") >= 1
    assert sample("fasterapi_loop_descriptors") == 0  # the loop is closed


def test_slow_callback_duration_of_the_loop_is_the_limit(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, fasterapi_core.EventLoop)
        loop.slow_callback_duration = 0.005
        loop.enable_metrics()
        await asyncio.sleep(0.15)  # the limit is read ten times a second
        before = loop.metrics()["slow_callbacks"]
        loop.call_soon(time.sleep, 0.012)
        await asyncio.sleep(0.05)
        assert loop.metrics()["slow_callbacks"] - before >= 1

    fasterapi_core.run(main())


def test_loop_metrics_are_off_unless_asked_for() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, fasterapi_core.EventLoop)
        with pytest.raises(RuntimeError, match="FASTERAPI_METRICS=1"):
            loop.metrics()

    fasterapi_core.run(main())


@pytest.mark.parametrize(("value", "kept"), [("1", "True"), ("0", "False"), ("", "False")])
def test_environment_turns_loop_metrics_on(value: str, kept: str) -> None:
    done = in_child(
        "import asyncio, fasterapi_core\n"
        "from fasterapi_core import metrics\n"
        "async def main():\n"
        "    await asyncio.sleep(0.25)\n"
        "    counts = [x for x in metrics.text().decode().splitlines() if x.startswith('fasterapi_loop_lag_seconds_count ')]\n"
        "    print(bool(counts) and int(counts[0].split()[1]) >= 1)\n"
        "fasterapi_core.run(main())\n",
        FASTERAPI_METRICS=value,
    )
    assert done.stdout.strip() == kept, done.stderr
