"""Compiles and runs load.cpp."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import report

HERE = Path(__file__).resolve().parent


def build_load(folder: str) -> str:
    binary = str(Path(folder, "load"))
    compiler = os.environ.get("CXX", "c++")
    subprocess.run([compiler, "-std=c++20", "-O2", "-o", binary, str(HERE / "load.cpp")], check=True)
    return binary


def measure(
    binary: str, port: int, pid: int, request: bytes, depth: int, seconds: float, connections: int = 64
) -> dict[str, Any]:
    before = report.cpu_seconds(pid)
    done = subprocess.run(
        [binary, "127.0.0.1", str(port), str(connections), str(depth), str(seconds)],
        input=request,
        capture_output=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {report.LOAD_CORE}),
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    result: dict[str, Any] = json.loads(done.stdout)
    if result["bad"] or not result["answers"]:
        raise RuntimeError(f"answers that are not 2xx: {result}")
    result["cpu_us"] = (report.cpu_seconds(pid) - before) / result["answers"] * 1e6
    result["per_second"] = result["answers"] / result["seconds"]
    return result
