"""Worker processes: crashes, stuck workers, rolling restart, another parent, systemd; real processes under load."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi_support import Program, free_port
from http_client import Client
from load_support import Load

APP = """
import asyncio, os, time

VERSION = "one"

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]
    if path == "/stuck":
        the_loop_that_never_ends()
    if path == "/slow":
        await asyncio.sleep(0.2)
    text = {"/pid": str(os.getpid()), "/version": VERSION}.get(path, "hello")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})

def the_loop_that_never_ends():
    while True:
        pass
"""
RUNNING = "fasterapi-http running on"
QUIET = "--no-access-log"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    (tmp_path / "main.py").write_text(APP)
    running: list[Program] = []

    def run(*arguments: str, **options: Any) -> Program:
        running.append(Program(tmp_path, "main:app", QUIET, *arguments, **options))
        return running[-1]

    yield run
    for program in running:
        if program.process.poll() is None:
            program.stop(signal.SIGTERM)
        try:
            os.killpg(program.process.pid, signal.SIGKILL)  # a successor, a worker that did not end
        except ProcessLookupError:
            pass


def ask(port: int, path: str = "/") -> str:
    with Client(port) as client:
        return str(client.request("GET", path).body.decode())


def worker_pids(program: Program) -> set[int]:
    return {int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", program.text)}


def wait_until(condition: Callable[[], Any], timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_stuck_worker_is_named_with_its_stack_and_replaced(start: Any) -> None:
    program = start("--workers", "2", "--timeout-worker-healthcheck", "0.6")
    program.wait_for(RUNNING, count=2)
    with Client(program.port) as client:
        client.send(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
        assert ask(program.port) == "hello"  # the other one takes what comes
        program.wait_for("the_loop_that_never_ends")
        program.wait_for(RUNNING, count=3)
    assert "has shown no sign of life for 0." in program.text
    assert len({ask(program.port, "/pid") for _ in range(10)} & {str(pid) for pid in worker_pids(program)})
    assert program.stop() == 0


def test_a_worker_that_does_not_start_in_time_is_replaced(start: Any, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import time\ntime.sleep(30)\n" + APP)
    program = start("--workers", "2", "--timeout-worker-start", "0.5")
    program.wait_for("has not started within")
    program.wait_for("Workers do not start. Stopping.")
    assert program.end() == 3


def test_a_killed_worker_fails_only_its_own_requests(start: Any) -> None:
    program = start("--workers", "2")
    program.wait_for(RUNNING, count=2)
    load = Load(program.port, clients=4)
    load.wait_for_more(50)
    victim = min(worker_pids(program))
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    program.wait_for(RUNNING, count=3)
    assert time.monotonic() - killed < 5
    load.wait_for_more(50)
    load.stop()
    assert len(load.failed) <= 4  # one request per connection at most
    assert not load.refused
    assert program.stop() == 0


def test_rolling_restart_under_load_fails_nothing(start: Any, tmp_path: Path) -> None:
    program = start("--workers", "2", "--drain-idle-grace", "0.2")
    program.wait_for(RUNNING, count=2)
    before = worker_pids(program)
    load = Load(program.port, clients=4, path="/version")
    churn = Load(program.port, clients=2, path="/version", reconnect_every=3)
    load.wait_for_more(50)
    (tmp_path / "main.py").write_text(APP.replace('"one"', '"two"'))
    program.process.send_signal(signal.SIGHUP)
    program.wait_for(RUNNING, count=4)
    program.wait_for("Finished server process", count=2)
    load.wait_for_more(20)
    for one in (load, churn):
        one.stop()
        assert not one.failed
        assert not one.refused
        assert set(one.bodies) == {b"one", b"two"}
    wait_until(lambda: not any(alive(pid) for pid in before))
    assert ask(program.port, "/version") == "two"
    assert program.stop() == 0


def test_a_restart_during_a_restart_replaces_everybody_again(start: Any) -> None:
    program = start("--workers", "2", "--drain-idle-grace", "0.1")
    program.wait_for(RUNNING, count=2)
    program.process.send_signal(signal.SIGHUP)
    program.wait_for("Started server process", count=3)  # the first new one is not ready yet
    program.process.send_signal(signal.SIGHUP)
    program.wait_for(RUNNING, count=5)  # one of the first round, two of the second
    first = [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", program.text)][:3]
    wait_until(lambda: not any(alive(pid) for pid in first))
    assert ask(program.port) == "hello"
    assert program.stop() == 0


def test_a_restart_that_cannot_start_leaves_the_old_workers(start: Any, tmp_path: Path) -> None:
    program = start("--workers", "2")
    program.wait_for(RUNNING, count=2)
    (tmp_path / "main.py").write_text("raise RuntimeError('a mistake')\n")
    load = Load(program.port, clients=2)
    program.process.send_signal(signal.SIGHUP)
    program.wait_for("a mistake")
    program.wait_for("goes on; the replacement of others is given up")
    load.wait_for_more(50)
    load.stop()
    assert not load.failed and not load.refused
    assert program.stop() == 0


def test_the_end_under_load_fails_nothing(start: Any) -> None:
    program = start("--workers", "2")
    program.wait_for(RUNNING, count=2)
    load = Load(program.port, clients=4)
    load.wait_for_more(50)
    program.process.send_signal(signal.SIGTERM)
    code = program.end()
    load.stop()
    assert code == 0
    assert not load.failed
    assert load.refused  # it did end


def test_the_end_under_load_fails_nothing_without_workers(start: Any) -> None:
    program = start()
    program.wait_for(RUNNING)
    load = Load(program.port, clients=4)
    load.wait_for_more(50)
    program.process.send_signal(signal.SIGTERM)
    assert program.end() == 0
    load.stop()
    assert not load.failed


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]])
def test_another_process_takes_over_under_load(start: Any, tmp_path: Path, workers: list[str]) -> None:
    program = start(*workers)
    program.wait_for(RUNNING, count=len(workers) or 1)
    load = Load(program.port, clients=4, path="/version")
    load.wait_for_more(50)
    (tmp_path / "main.py").write_text(APP.replace('"one"', '"two"'))
    program.process.send_signal(signal.SIGUSR2)
    program.wait_for("has taken over", timeout=15)
    assert program.process.wait(15) == 0
    load.wait_for_more(50)
    load.stop()
    assert not load.failed
    assert not load.refused
    assert set(load.bodies) == {b"one", b"two"}
    successor = int(re.findall(r"Started process \[(\d+)\] to take over", program.text)[0])
    os.kill(successor, signal.SIGTERM)
    wait_until(lambda: not alive(successor) or _is_zombie(successor))


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_successor_that_does_not_start_changes_nothing(start: Any, tmp_path: Path) -> None:
    program = start("--workers", "2")
    program.wait_for(RUNNING, count=2)
    (tmp_path / "main.py").write_text("raise RuntimeError('a mistake')\n")
    program.process.send_signal(signal.SIGUSR2)
    program.wait_for("did not start (code 3); this one goes on")
    assert ask(program.port) == "hello"
    assert program.stop() == 0


def test_workers_are_added_and_removed(start: Any) -> None:
    program = start("--workers", "1", "--supervise")
    program.wait_for(RUNNING)
    program.process.send_signal(signal.SIGTTIN)
    program.wait_for(RUNNING, count=2)
    load = Load(program.port, clients=2)
    load.wait_for_more(20)
    program.process.send_signal(signal.SIGTTOU)
    program.wait_for("Finished server process")
    program.process.send_signal(signal.SIGTTOU)  # the last one stays
    load.wait_for_more(20)
    load.stop()
    assert not load.failed and not load.refused
    assert program.text.count("Finished server process") == 1
    assert program.stop() == 0


def test_a_worker_with_enough_requests_serves_until_the_next_one_does(start: Any) -> None:
    program = start("--workers", "1", "--supervise", "--limit-max-requests", "100")
    program.wait_for(RUNNING)
    load = Load(program.port, clients=2, path="/pid")
    program.wait_for("Maximum request limit of 100 exceeded", count=2, timeout=20)
    program.wait_for("Finished server process", count=2)
    load.stop()
    assert not load.failed and not load.refused
    assert len(load.bodies) >= 2
    assert program.stop() == 0


@pytest.mark.parametrize(
    "option, text",
    [(["--limit-worker-age", "1"], "limit_worker_age"), (["--limit-worker-rss", "1000"], "limit_worker_rss")],
)
def test_a_worker_is_replaced_by_age_or_memory(start: Any, option: list[str], text: str) -> None:
    program = start("--workers", "1", "--supervise", *option)
    program.wait_for(text)
    program.wait_for(RUNNING, count=2)
    assert program.stop() == 0


def test_workers_end_when_their_parent_is_killed(start: Any) -> None:
    program = start("--workers", "2")
    program.wait_for(RUNNING, count=2)
    workers = worker_pids(program)
    program.process.kill()
    wait_until(lambda: not any(alive(pid) and not _is_zombie(pid) for pid in workers))


def test_systemd_activation_and_notification(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP)
    notify = tmp_path / "notify"
    with socket.socket() as listener, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        manager.bind(str(notify))
        manager.settimeout(15)
        # LISTEN_PID is the process that execs; descriptor 3 is the first
        script = (
            f"exec env LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web {sys.executable} -m fasterapi_http main:app"
            " --workers 2 3<&0"
        )
        process = subprocess.Popen(
            ["/bin/sh", "-c", script],
            cwd=tmp_path,
            stdin=listener.fileno(),
            env={**os.environ, "NOTIFY_SOCKET": str(notify), "WATCHDOG_USEC": "200000"},
            stderr=subprocess.DEVNULL,
        )
        try:
            lines = manager.recv(1024).decode()
            while "READY=1" not in lines:
                lines += "\n" + manager.recv(1024).decode()
            assert f"MAINPID={process.pid}" in lines
            assert ask(listener.getsockname()[1]) == "hello"
            while "WATCHDOG=1" not in lines:
                lines += "\n" + manager.recv(1024).decode()
            process.send_signal(signal.SIGHUP)
            while "RELOADING=1" not in lines or "MONOTONIC_USEC=" not in lines:
                lines += "\n" + manager.recv(1024).decode()
        finally:
            process.terminate()
        while "STOPPING=1" not in lines:
            lines += "\n" + manager.recv(1024).decode()
        assert process.wait(10) == 0


def test_sockets_of_another_process_are_not_taken(start: Any) -> None:
    port = free_port()
    os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"] = "1", "1"
    try:
        program = start(port=port)
    finally:
        del os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"]
    program.wait_for(RUNNING)
    assert ask(port) == "hello"


def test_the_unix_socket_outlives_a_take_over(start: Any, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    program = start("--uds", str(path))
    program.wait_for(RUNNING)
    program.process.send_signal(signal.SIGUSR2)
    program.wait_for("has taken over", timeout=15)
    assert program.process.wait(10) == 0
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.settimeout(5)
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
    successor = int(re.findall(r"Started process \[(\d+)\] to take over", program.text)[0])
    os.kill(successor, signal.SIGTERM)
    wait_until(lambda: not path.exists())
