"""What does one tools/call of add(a, b) cost the server? ``python3 dev.py bench mcp [--quick]``

Over stdio with 32 calls in flight and one at a time, and over Streamable HTTP (JSON answers) with 16
connections; the 2026-07-28 wire. CPU time of the server process tree per call. Server on the first core, load on
the last one, rounds alternating.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "http")]

import report  # noqa: E402
from load import build_load, measure  # noqa: E402

SERVERS = {"fasterapi-mcp": "fasterapi_server.py", "mcp": "sdk_server.py", "fastmcp": "fastmcp_server.py"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def call(number: int) -> bytes:
    params = {"name": "add", "arguments": {"a": 2, "b": 3}, "_meta": META}
    message = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    return json.dumps(message, separators=(",", ":")).encode()


def stdio(script: Path, window: int, seconds: float) -> dict[str, float]:
    """Calls over pipes with a window of calls in flight."""
    server = subprocess.Popen(
        [sys.executable, str(script), "stdio"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {report.SERVER_CORE}),
    )
    assert server.stdin is not None and server.stdout is not None
    try:
        number = 0
        latencies = []

        def send(count: int) -> None:
            nonlocal number
            lines = b"".join(call(number + i) + b"\n" for i in range(count))
            number += count
            server.stdin.write(lines)  # type: ignore[union-attr]
            server.stdin.flush()  # type: ignore[union-attr]

        def receive() -> None:
            answer = server.stdout.readline()  # type: ignore[union-attr]
            if b'"result"' not in answer:
                raise RuntimeError(f"not a result: {answer[:300]!r}")

        send(1)
        receive()
        cpu, answers, begin = report.cpu_seconds(server.pid), 0, time.perf_counter()
        end = begin + seconds
        send(window)
        while True:
            sent = time.perf_counter()
            if sent > end:
                break
            receive()
            answers += 1
            if window == 1:
                latencies.append(time.perf_counter() - sent)
            send(1)
        for _ in range(window):
            receive()
            answers += 1
        spent = time.perf_counter() - begin
        result = {
            "cpu_us": (report.cpu_seconds(server.pid) - cpu) / answers * 1e6,
            "per_second": answers / spent,
        }
        if latencies:
            result["p50_us"] = sorted(latencies)[len(latencies) // 2] * 1e6
        return result
    finally:
        with contextlib.suppress(OSError):
            server.stdin.close()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def http(script: Path, binary: str, seconds: float) -> dict[str, Any]:
    body = call(1)
    port = report.free_port()
    request = (
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
        b"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
        b"Mcp-Method: tools/call\r\nMcp-Name: add\r\nContent-Length: %d\r\n\r\n" % (port, len(body))
    ) + body
    with report.process([sys.executable, str(script), "http"], port) as pid:
        measure(binary, port, pid, request, 1, 0.3, 16)
        return measure(binary, port, pid, request, 1, seconds, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", help=f"some of: {', '.join(SERVERS)}")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of half a second")
    arguments = parser.parse_args()
    rounds, seconds = (1, 0.5) if arguments.quick else (arguments.rounds, arguments.seconds)
    chosen = [name for name in SERVERS if not arguments.servers or name in arguments.servers]
    versions = {name: report.version(name) for name in chosen}
    chosen = [name for name in chosen if versions[name]]
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    os.sched_setaffinity(0, {report.LOAD_CORE})
    with tempfile.TemporaryDirectory() as folder:
        binary = build_load(folder)
        for number in range(rounds):
            for name in chosen:
                script = HERE / "servers" / SERVERS[name]
                for workload, run in (
                    ("stdio, 32 in flight", lambda s=script: stdio(s, 32, seconds)),
                    ("stdio, one at a time", lambda s=script: stdio(s, 1, seconds)),
                    ("HTTP JSON, 16 connections", lambda s=script: http(s, binary, seconds)),
                ):
                    try:
                        result = run()
                    except (RuntimeError, OSError) as error:
                        print(f"{name}, {workload}: {error}", flush=True)
                        continue
                    runs.setdefault((workload, name), []).append(result)
                    print(
                        f"round {number + 1}  {name:14} {workload:26} {result['cpu_us']:9.2f} CPU us"
                        f" {result['per_second']:10,.0f}/s",
                        flush=True,
                    )
    workloads = list(dict.fromkeys(workload for workload, _ in runs))
    cells = {key: report.middle([run["cpu_us"] for run in found]) for key, found in runs.items()}
    details = [{"workload": w, "server": s, "runs": found} for (w, s), found in runs.items()]
    title = "MCP: server CPU time per tools/call"
    report.publish("mcp", title, workloads, chosen, cells, "CPU us per call", details, versions)


if __name__ == "__main__":
    main()
