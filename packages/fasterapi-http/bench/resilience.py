"""How the server behaves when things go wrong: each scenario starts a server, hurts it and prints its figures as JSON.

    python bench/resilience.py kill reload term slowloris slow_reader churn emfile overload   [--seconds 10]

The clients run in this process, on the same machine: rates are those of a Python client, not of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import resource
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from asgi_support import Program
from load_support import Load

APP = """
import asyncio, os
capacity = asyncio.Semaphore(5)
big = b"x" * 10_000_000

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    body = b"hello"
    if scope["path"] == "/work":
        async with capacity:
            await asyncio.sleep(0.02)
    elif scope["path"] == "/big":
        body = big
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})
"""
RUNNING = "fasterapi-http running on"
CAPACITY = 250.0  # requests per second of /work


def serve(*arguments: str, workers: int = 1) -> Program:
    directory = Path(tempfile.mkdtemp())
    (directory / "main.py").write_text(APP)
    more = ["--workers", str(workers)] if workers > 1 else []
    program = Program(directory, "main:app", "--no-access-log", *more, *arguments)
    program.wait_for(RUNNING, count=workers, timeout=30)
    return program


def pids(program: Program) -> list[int]:
    return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", program.text)]


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def summary(load: Load) -> dict[str, Any]:
    times = sorted(seconds for _, seconds in load.latencies)
    return {
        "answered": sum(load.answered.values()),
        "failed": len(load.failed),
        "refused_connections": load.refused,
        "p50_ms": round(times[len(times) // 2] * 1e3, 2),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 2),
    }


def kill(seconds: float) -> dict[str, Any]:
    """kill -9 of a worker every second: only its own requests fail, and when does another one serve?"""
    program = serve(workers=4)
    load = Load(program.port, clients=8)
    replaced, kills = [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(1)
        before = program.text.count(RUNNING)
        begun = time.monotonic()
        os.kill(pids(program)[kills], signal.SIGKILL)
        kills += 1
        program.wait_for(RUNNING, count=before + 1)
        replaced.append(time.monotonic() - begun)
    load.stop()
    program.stop()
    times = {"replaced_median_ms": statistics.median(replaced) * 1e3, "replaced_max_ms": max(replaced) * 1e3}
    return {"kills": kills, **{name: round(value) for name, value in times.items()}, **summary(load)}


def reload(seconds: float) -> dict[str, Any]:
    """Rolling restarts (SIGHUP) under load, keep-alive clients and ones that reconnect."""
    program = serve("--drain-idle-grace", "0.2", workers=2)
    load, churn = Load(program.port, clients=4), Load(program.port, clients=2, reconnect_every=3)
    reloads = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = program.text.count(RUNNING)
        program.process.send_signal(signal.SIGHUP)
        program.wait_for(RUNNING, count=before + 2, timeout=20)
        reloads += 1
    load.stop()
    churn.stop()
    program.stop()
    return {"reloads": reloads, "keep_alive": summary(load), "reconnecting": summary(churn)}


def term(seconds: float) -> dict[str, Any]:
    """SIGTERM under load."""
    program = serve(workers=2)
    load = Load(program.port, clients=8)
    time.sleep(1)
    begun = time.monotonic()
    code = program.stop()
    took = time.monotonic() - begun
    load.stop()
    figures = summary(load)
    del figures["refused_connections"]  # those after its end
    return {"exit_code": code, "stopped_after_s": round(took, 2), **figures}


def _alone(seconds: float) -> tuple[Program, float]:
    program = serve()
    load = Load(program.port, clients=2)
    time.sleep(seconds)
    load.stop()
    return program, summary(load)["p99_ms"]


def slowloris(seconds: float) -> dict[str, Any]:
    """1,000 sockets send a byte of a head every 3 s beside good clients; the limit is 10 s for a head."""
    program, alone = _alone(3)
    memory = rss_mib(program.process.pid)
    slow: list[socket.socket] = []
    for _ in range(1000):
        slow.append(socket.create_connection(("127.0.0.1", program.port)))
        slow[-1].setblocking(False)
        slow[-1].send(b"GET / HTTP/1.1\r\nX: ")
    load = Load(program.port, clients=2)
    begun, closed_at, peak = time.monotonic(), 0.0, memory
    while time.monotonic() - begun < 15 and slow:
        time.sleep(3)
        peak = max(peak, rss_mib(program.process.pid))
        for sock in list(slow):
            try:
                sock.send(b"x")
                if not sock.recv(1024):
                    raise ConnectionResetError
                slow.remove(sock)  # 408
            except BlockingIOError:
                continue
            except OSError:
                slow.remove(sock)
        closed_at = time.monotonic() - begun
    load.stop()
    program.stop()
    return {
        "slow_clients_left": len(slow),
        "closed_by_s": round(closed_at, 1),
        "extra_rss_mib": round(peak - memory, 1),
        "p99_ms_alone": alone,
        **summary(load),
    }


def slow_reader(seconds: float) -> dict[str, Any]:
    """200 clients ask for 10 MB and read nothing: memory, and what the others notice; stall limit 3 s."""
    program = serve("--limit-write-stall-ms", "3000")
    memory = rss_mib(program.process.pid)
    load = Load(program.port, clients=2)
    readers = []
    for _ in range(200):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", program.port))
        sock.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        readers.append(sock)
    time.sleep(2)
    peak = rss_mib(program.process.pid)
    time.sleep(4)
    left = sum(1 for sock in readers if _alive(sock))
    load.stop()
    program.stop()
    return {
        "extra_rss_kib_each": round((peak - memory) * 1024 / 200, 1),
        "left_after_6_s": left,
        **summary(load),
    }


def _alive(sock: socket.socket) -> bool:
    sock.settimeout(1)
    try:
        while sock.recv(1 << 20):
            pass
        return False
    except TimeoutError:
        return True
    except OSError:
        return False


def churn(seconds: float) -> dict[str, Any]:
    """Connections opened and closed, every third by a reset, every third half-closed."""
    program = serve()
    fds = len(os.listdir(f"/proc/{program.process.pid}/fd"))
    wrong = count = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", program.port), 5) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            if count % 3 == 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                if count % 3 == 1:
                    sock.shutdown(socket.SHUT_WR)
                wrong += not sock.recv(4096).endswith(b"hello")
        count += 1
    time.sleep(0.5)
    left = len(os.listdir(f"/proc/{program.process.pid}/fd")) - fds
    program.stop()
    return {"connections": count, "wrong_answers": wrong, "descriptors_left": left}


def emfile(seconds: float) -> dict[str, Any]:
    """RLIMIT_NOFILE 256 and 1,000 clients."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    program = serve("--limit-concurrency", "5000", "--limit-max-connections-per-address", "5000")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, before[1]), before[1]))
    load = Load(program.port, clients=1)
    load.wait_for_more(10)
    crowd = [socket.create_connection(("127.0.0.1", program.port), 5) for _ in range(1000)]
    load_before, cpu, begun = load.total(), cpu_seconds(program.process.pid), time.monotonic()
    load.stop()
    time.sleep(3)
    idle_cpu = cpu_seconds(program.process.pid) - cpu
    took = time.monotonic() - begun
    for sock in crowd:
        sock.close()
    begun = time.monotonic()
    late = Load(program.port, clients=1)
    late.wait_for_more(1)
    resumed = time.monotonic() - begun
    late.stop()
    program.stop()
    return {
        "cpu_percent_while_exhausted": round(100 * idle_cpu / took, 1),
        "first_client_answered": load_before,
        "failed": len(load.failed),
        "accepts_again_after_ms": round(resumed * 1e3, 1),
    }


async def _open_loop(port: int, rate: float, seconds: float) -> list[tuple[float, float, int]]:
    results: list[tuple[float, float, int]] = []
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def one(due: float) -> None:
        reader, writer = idle.pop() if idle else await asyncio.open_connection("127.0.0.1", port)
        sent = time.monotonic()
        writer.write(b"GET /work HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        now = time.monotonic()
        results.append((now - due, now - sent, int(head[9:12])))
        idle.append((reader, writer))

    tasks, begun = [], time.monotonic()
    for number in range(int(rate * seconds)):
        due = begun + number / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.append(asyncio.create_task(one(due)))
    await asyncio.gather(*tasks)
    for _, writer in idle:
        writer.close()
    return results


def overload(seconds: float) -> dict[str, Any]:
    """Open loop at three times what the handlers can do, with --limit-adaptive."""
    program = serve("--limit-adaptive")
    peak = Counter(status for *_, status in asyncio.run(_open_loop(program.port, CAPACITY * 0.95, 3)))
    begun = time.monotonic()
    results = asyncio.run(_open_loop(program.port, CAPACITY * 3, seconds))
    took = time.monotonic() - begun
    after = time.monotonic()
    recovered = asyncio.run(_open_loop(program.port, CAPACITY * 0.5, 1))
    program.stop()
    good = sorted(late for late, _, status in results if status == 200)
    refused = sorted(waited for _, waited, status in results if status == 503)
    return {
        "capacity_per_s": CAPACITY,
        "at_95_percent": dict(peak),
        "goodput_percent_of_capacity": round(100 * len(good) / took / CAPACITY, 1),
        "answered_p50_ms": round(good[len(good) // 2] * 1e3, 1),
        "answered_p99_ms": round(good[int(len(good) * 0.99)] * 1e3, 1),
        "refused": len(refused),
        "refused_p50_ms": round(refused[len(refused) // 2] * 1e3, 2),
        "refused_p99_ms": round(refused[int(len(refused) * 0.99)] * 1e3, 2),
        "recovery": {"seconds": round(time.monotonic() - after, 1), **Counter(str(s) for *_, s in recovered)},
    }


SCENARIOS = {
    function.__name__: function
    for function in (kill, reload, term, slowloris, slow_reader, churn, emfile, overload)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="*", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--seconds", type=float, default=10)
    arguments = parser.parse_args()
    for name in arguments.scenario:
        print(json.dumps({name: SCENARIOS[name](arguments.seconds)}), flush=True)


if __name__ == "__main__":
    main()
