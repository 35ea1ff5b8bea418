"""``python -m fasterapi_http``: options, signals, workers, reload."""

from __future__ import annotations

import os
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

APP = """
import asyncio, os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            print(message["type"], flush=True)
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    text = {"/pid": str(os.getpid()), "/root": scope["root_path"]}.get(scope["path"], "hello")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})

def make():
    return app

async def no_start(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})
        return

not_callable = 1
"""
RUNNING = "fasterapi-http running on"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    (tmp_path / "main.py").write_text(APP)
    running: list[Program] = []

    def run(*arguments: str, **options: Any) -> Program:
        running.append(Program(tmp_path, *arguments, **options))
        return running[-1]

    yield run
    for program in running:
        if program.process.poll() is None:
            program.stop(signal.SIGKILL)


def ask(port: int, path: str = "/") -> str:
    with Client(port) as client:
        return str(client.request("GET", path).body.decode())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_a_signal(start: Any, number: int) -> None:
    program = start("main:app")
    program.wait_for(RUNNING)
    assert ask(program.port) == "hello"
    assert program.stop(number) == 0
    assert '"GET / HTTP/1.1" 200' in program.text
    assert program.text.index("lifespan.startup") < program.text.index("lifespan.shutdown")


def test_a_request_that_runs_is_finished(start: Any) -> None:
    program = start("main:app", "--no-access-log")
    program.wait_for(RUNNING)
    with Client(program.port) as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
        program.process.send_signal(signal.SIGTERM)
        answer = client.read()
        assert answer.body == b"hello"
        assert client.at_end()
    assert program.end() == 0
    assert "HTTP/1.1" not in program.text


def test_a_second_signal_does_not_wait(start: Any) -> None:
    program = start("main:app")
    program.wait_for(RUNNING)
    with Client(program.port) as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
        program.process.send_signal(signal.SIGINT)
        program.wait_for("Shutting down")
        program.process.send_signal(signal.SIGINT)
        assert client.at_end(0.3)
    assert program.end() == 0


@pytest.mark.parametrize(
    "name, text",
    [
        ("main", "not of the form"),
        ("nowhere:app", "no module named 'nowhere'"),
        ("main:nothing", "no attribute 'nothing'"),
        ("main:not_callable", "not callable"),
        ("main:no_start", "no database"),
    ],
)
def test_what_cannot_start_says_so(start: Any, name: str, text: str) -> None:
    program = start(name)
    assert program.end() == 3
    assert text in program.text


def test_a_port_that_is_taken(start: Any) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        program = start("main:app", port=sock.getsockname()[1])
        assert program.end() == 1
    assert "cannot listen on 127.0.0.1" in program.text


def test_factory_root_path_and_unix_socket(start: Any, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    program = start("main:make", "--factory", "--root-path", "/api", "--uds", str(path))
    program.wait_for(RUNNING)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.settimeout(5)
        sock.sendall(b"GET /root HTTP/1.0\r\n\r\n")
        data = b""
        while piece := sock.recv(4096):
            data += piece
    assert b"hello" in data  # "/api/root" is not "/root"
    assert program.stop() == 0
    assert not path.exists()


def test_inherited_descriptor(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "fasterapi_http", "main:app", "--fd", str(sock.fileno())],
            cwd=tmp_path,
            pass_fds=[sock.fileno()],
        )
        assert ask(port) == "hello"
        process.terminate()
        assert process.wait(10) == 0


def test_workers_answer_and_are_replaced(start: Any) -> None:
    program = start("main:app", "--workers", "2")
    program.wait_for(RUNNING, count=2)

    def pids() -> set[int]:
        found = set()
        clients = [Client(program.port) for _ in range(12)]  # at once: none of the workers gets all of them
        for client in clients:
            try:
                found.add(int(client.request("GET", "/pid").body))
            except (EOFError, OSError):
                pass
            client.sock.close()
        return found

    before = pids()
    assert len(before) == 2
    victim = before.pop()
    os.kill(victim, signal.SIGKILL)
    program.wait_for(RUNNING, count=3)
    after = pids()
    assert victim not in after
    assert len(after) == 2
    program.process.send_signal(signal.SIGHUP)
    program.wait_for(RUNNING, count=5)
    time.sleep(0.3)
    assert not (pids() & after)
    assert program.stop() == 0
    for pid in after:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize("mode", [["--workers", "2"], ["--reload"], []])
def test_control_c_reaches_the_whole_group_and_is_graceful(start: Any, mode: list[str]) -> None:
    program = start("main:app", *mode)
    program.wait_for(RUNNING, count=2 if "--workers" in mode else 1)
    with Client(program.port) as client:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
        os.killpg(program.process.pid, signal.SIGINT)
        assert client.read().body == b"hello"
    assert program.end() == 0


def test_workers_that_cannot_start_end_the_parent(start: Any) -> None:
    program = start("main:no_start", "--workers", "2")
    assert program.end() == 3
    assert "Workers do not start" in program.text


def test_a_process_may_have_enough_requests(start: Any) -> None:
    program = start("main:app", "--limit-max-requests", "3")
    program.wait_for(RUNNING)
    for _ in range(3):
        assert ask(program.port) == "hello"
    assert program.end() == 0
    assert "Maximum request limit of 3 exceeded" in program.text


def test_log_configuration_of_ones_own(start: Any, tmp_path: Path) -> None:
    (tmp_path / "log.json").write_text(
        '{"version": 1, "handlers": {"out": {"class": "logging.StreamHandler", "formatter": "f"}},'
        ' "formatters": {"f": {"format": "mine %(message)s"}},'
        ' "root": {"handlers": ["out"], "level": "INFO"}}'
    )
    program = start("main:app", "--log-config", "log.json")
    program.wait_for("mine " + RUNNING)
    assert program.stop() == 0


def test_reload(start: Any, tmp_path: Path) -> None:
    program = start("main:app", "--reload", "--reload-delay", "0.05")
    program.wait_for(RUNNING)
    assert ask(program.port) == "hello"
    (tmp_path / "main.py").write_text(APP.replace('"hello"', '"changed"'))
    program.wait_for(RUNNING, count=2)
    assert ask(program.port) == "changed"
    assert program.stop() == 0


def test_run_takes_an_application_object(tmp_path: Path) -> None:
    port = free_port()
    script = (
        APP + f"\nimport fasterapi_http\nfasterapi_http.run(app, host='127.0.0.1', port={port}, workers=2)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                assert ask(port) == "hello"
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_version() -> None:
    out = subprocess.run(
        [sys.executable, "-m", "fasterapi_http", "--version"], capture_output=True, text=True, check=True
    )
    assert out.stdout.startswith("fasterapi-http ")
