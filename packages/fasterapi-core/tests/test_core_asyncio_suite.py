"""CPython's own asyncio tests pass with EventLoop in SelectorEventLoop's place."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MODULES = [
    "test_buffered_proto",
    "test_context",
    "test_events",
    "test_locks",
    "test_runners",
    "test_sendfile",
    "test_server",
    "test_sock_lowlevel",
    "test_ssl",
    "test_sslproto",
    "test_streams",
    "test_subprocess",
    "test_taskgroups",
    "test_timeouts",
    "test_unix_events",
]
# What fails for a reason that is ours to keep: {test: reason}
KNOWN: dict[str, str] = {}


@pytest.mark.parametrize("name", MODULES)
def test_cpythons_own_suite(name: str) -> None:
    if importlib.util.find_spec("test.test_asyncio") is None:
        pytest.skip("this interpreter comes without its test package (test.test_asyncio)")
    if importlib.util.find_spec(f"test.test_asyncio.{name}") is None:
        pytest.skip(f"this Python version has no test.test_asyncio.{name}")
    done = subprocess.run(
        [sys.executable, str(HERE / "asyncio_suite.py"), name], capture_output=True, text=True, timeout=300
    )
    assert done.stdout, done.stderr[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])
    failed = [test for test in result["failed"] if test not in KNOWN]
    assert not failed, done.stderr[-6000:]
    assert result["run"] > 0
