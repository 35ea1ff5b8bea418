"""What does a WebSocket message cost the server, ours beside its installed peers? ``python3 dev.py bench ws [--quick]``

One server process on the first core, the load (load.cpp, echo over 32 connections) on the last one, rounds
alternating between the servers. The figure is CPU time of the whole server process tree per echoed message, without
compression. Every echo must be a text frame of the right length.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import report  # noqa: E402

# name: bytes of a message, messages in flight per connection
WORKLOADS: dict[str, tuple[int, int]] = {
    "125 B, one at a time": (125, 1),
    "125 B, 16 in flight": (125, 16),
    "4 KiB, one at a time": (4096, 1),
    "64 KiB, one at a time": (65536, 1),
}
SERVERS: dict[str, tuple[str, str]] = {
    "http ASGI": ("fasterapi_http", "fasterapi-http"),
    "uvicorn+websockets": ("uvicorn", "uvicorn"),
    "uvicorn+wsproto": ("wsproto", "wsproto"),
    "granian": ("granian", "granian"),
    "FasterAPI": ("fasterapi", "fasterapi"),
    "FastAPI+uvicorn": ("fastapi", "fastapi"),
}


def build_load(folder: str) -> str:
    binary = str(Path(folder, "load"))
    compiler = os.environ.get("CXX", "c++")
    subprocess.run([compiler, "-std=c++20", "-O2", "-o", binary, str(HERE / "load.cpp")], check=True)
    return binary


def measure(binary: str, port: int, pid: int, size: int, depth: int, seconds: float) -> dict[str, Any]:
    before = report.cpu_seconds(pid)
    done = subprocess.run(
        [binary, "127.0.0.1", str(port), "32", str(depth), str(seconds), str(size)],
        capture_output=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {report.LOAD_CORE}),
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    result: dict[str, Any] = json.loads(done.stdout)
    if result["bad"] or not result["answers"]:
        raise RuntimeError(f"echoes that are not right: {result}")
    result["cpu_us"] = (report.cpu_seconds(pid) - before) / result["answers"] * 1e6
    result["per_second"] = result["answers"] / result["seconds"]
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", help=f"some of: {', '.join(SERVERS)}")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of one second")
    arguments = parser.parse_args()
    rounds, seconds = (1, 1.0) if arguments.quick else (arguments.rounds, arguments.seconds)
    chosen = [name for name in SERVERS if not arguments.servers or name in arguments.servers]
    versions = {SERVERS[name][1]: report.version(SERVERS[name][1]) for name in chosen}
    chosen = [name for name in chosen if versions[SERVERS[name][1]]]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        binary = build_load(folder)
        for number in range(rounds):
            for name in chosen:
                port = report.free_port()
                command = [sys.executable, str(HERE / "servers" / "echo.py")]
                try:
                    with report.process(command, port, {"SERVER": SERVERS[name][0]}) as pid:
                        time.sleep(0.3)
                        measure(binary, port, pid, 125, 1, 0.3)  # warm-up
                        for workload, (size, depth) in WORKLOADS.items():
                            result = measure(binary, port, pid, size, depth, seconds)
                            runs.setdefault((workload, name), []).append(result)
                            print(
                                f"round {number + 1}  {name:20} {workload:24} {result['cpu_us']:8.2f} CPU us"
                                f" {result['per_second']:10,.0f}/s  p99 {result['p99_us']:8,.0f} us",
                                flush=True,
                            )
                except RuntimeError as error:
                    print(f"{name}: {error}", flush=True)
    cells = {key: report.middle([run["cpu_us"] for run in found]) for key, found in runs.items()}
    details = [{"workload": w, "server": s, "runs": found} for (w, s), found in runs.items()]
    report.publish(
        "ws",
        "WebSocket: server CPU time per echoed message",
        list(WORKLOADS),
        chosen,
        cells,
        "CPU us per message",
        details,
        versions,
    )


if __name__ == "__main__":
    main()
