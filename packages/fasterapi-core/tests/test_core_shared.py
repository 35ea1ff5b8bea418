"""Rate limits and membership across processes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time

import pytest
from fasterapi_core import shared


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | shared.environment(),
        pass_fds=[shared.fileno()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_burst_then_refusal_with_the_time_to_wait() -> None:
    limit = shared.RateLimit("s1", rate=0.5, burst=3)
    decisions = [limit.take("client") for _ in range(4)]
    assert [decision.allowed for decision in decisions] == [True, True, True, False]
    assert decisions[0].remaining == pytest.approx(2, abs=0.01)
    assert decisions[0].retry_after == 0
    assert 1.5 < decisions[3].retry_after <= 2
    assert limit.take("another client").allowed
    assert shared.RateLimit("other name", rate=0.5, burst=3).take("client").allowed
    never = limit.take("client", 4)
    assert not never.allowed and never.retry_after == math.inf


def test_tokens_come_back_at_the_rate() -> None:
    limit = shared.RateLimit("s2", rate=200, burst=1)
    begin = time.monotonic()
    allowed = 0
    while time.monotonic() - begin < 0.5:
        allowed += limit.take("k").allowed
        time.sleep(0.0005)
    elapsed = time.monotonic() - begin
    assert 10 <= allowed <= 200 * elapsed + 1


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (math.nan, 1), (2e9, 1), (1, 0), (1, math.inf)])
def test_limits_out_of_range_are_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        shared.RateLimit("s3", rate=rate, burst=burst)


def test_processes_share_one_bucket() -> None:
    program = (
        "from fasterapi_core import shared\n"
        "limit = shared.RateLimit('s4', rate=0.001, burst=1000)\n"
        "input()\n"
        "print(sum(limit.take('k').allowed for _ in range(600)))\n"
    )
    workers = [start(program) for _ in range(3)]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    allowed = [int(worker.communicate(timeout=60)[0]) for worker in workers]
    assert sum(allowed) == 1000, allowed


def test_processes_are_listed_and_those_killed_are_reaped() -> None:
    worker = start("from fasterapi_core import shared\nprint(shared.slot(), flush=True)\ninput()\n")
    assert worker.stdout is not None
    slot = int(worker.stdout.readline())
    shared.reap()  # those of other tests
    assert shared.processes() == {shared.slot(): os.getpid(), slot: worker.pid}
    assert shared.reap() == 0
    assert slot != shared.slot()
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert shared.reap() == 1
    assert shared.processes() == {shared.slot(): os.getpid()}
    worker.communicate()
