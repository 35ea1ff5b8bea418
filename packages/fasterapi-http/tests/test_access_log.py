"""The access log: formats, escaping, files, a reader that does not read."""

from __future__ import annotations

import json
import os
import re
import signal
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
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    await send({"type": "http.response.start", "status": 404 if scope["path"] == "/no" else 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""
RUNNING = "fasterapi-http running on"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    (tmp_path / "main.py").write_text(APP)
    running: list[Program] = []

    def run(*arguments: str) -> Program:
        program = Program(tmp_path, "main:app", *arguments)
        running.append(program)
        program.wait_for(RUNNING)
        return program

    yield run
    for program in running:
        program.stop()


def read(path: Path, lines: int) -> list[str]:
    deadline = time.monotonic() + 5
    while True:
        found = path.read_text().splitlines() if path.exists() else []
        if len(found) >= lines:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def test_lines_are_those_of_uvicorn(start: Any) -> None:
    program = start()
    with Client(program.port) as client:
        client.request("GET", "/a?b=c")
        client.request("GET", "/no")
        port = client.sock.getsockname()[1]
    program.wait_for("/no")
    assert f'INFO:     127.0.0.1:{port} - "GET /a?b=c HTTP/1.1" 200 OK\n' in program.text
    assert f'INFO:     127.0.0.1:{port} - "GET /no HTTP/1.1" 404 Not Found\n' in program.text


def test_a_format_of_ones_own(start: Any, tmp_path: Path) -> None:
    text = "%(h)s|%(l)s|%(u)s|%(t)s|%(r)s|%(m)s|%(U)s|%(q)s|%(H)s|%(s)s|%(B)s|%(b)s|%(f)s|%(a)s|%(T)s|%(M)s|%(D)s|%(L)s|%(p)s|%({X-Id}i)s|100%%"
    program = start("--access-log-file", "log", "--access-log-format", text)
    with Client(program.port) as client:
        client.request("GET", "/a%20b?c=d", headers='User-Agent: me "x"\r\nX-Id: 7\r\n')
    parts = read(tmp_path / "log", 1)[0].split("|")
    assert parts[0:3] == ["127.0.0.1", "-", "-"]
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]", parts[3])
    assert parts[4:13] == [
        "GET /a%20b?c=d HTTP/1.1",
        "GET",
        "/a%20b",
        "c=d",
        "HTTP/1.1",
        "200",
        "5",
        "5",
        "-",
    ]
    assert parts[13] == r"me \"x\""
    assert [parts[14], parts[15]] == ["0", "0"]
    assert 0 < int(parts[16]) < 1_000_000
    assert re.fullmatch(r"0\.\d{6}", parts[17])
    assert parts[18:] == [f"<{program.process.pid}>", "7", "100%"]


def test_json_lines(start: Any, tmp_path: Path) -> None:
    program = start("--access-log-file", "log", "--access-log-format", "json")
    with Client(program.port) as client:
        client.request("GET", "/x?y", headers='User-Agent: a"b\\c\xff\r\n'.encode().decode("latin-1"))
    record = json.loads(read(tmp_path / "log", 1)[0])
    assert record["method"] == "GET" and record["path"] == "/x" and record["query"] == "y"
    assert record["status"] == 200 and record["bytes"] == 5 and record["pid"] == program.process.pid
    assert record["user_agent"].startswith('a"b\\c')
    assert 0 <= record["ms"] < 1000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["time"])


def test_no_byte_of_a_client_can_make_a_line(start: Any, tmp_path: Path) -> None:
    """uvicorn CVE-2020-7694 (control characters in the log)."""
    program = start("--access-log-file", "log", "--access-log-format", "%(r)s %(a)s")
    with Client(program.port) as client:
        client.send(b"GET /\x1b[31m HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read().status == 400  # never gets that far
    with Client(program.port) as client:
        client.send(b"GET /%0d%0aINFO HTTP/1.1\r\nHost: a\r\nUser-Agent: x\xc2\x9b\t\xff\r\n\r\n")
        assert client.read().status == 200
    (line,) = read(tmp_path / "log", 1)
    assert line == r"GET /%0d%0aINFO HTTP/1.1 x\xc2\x9b\x09\xff"


def test_a_file_is_opened_anew(start: Any, tmp_path: Path) -> None:
    program = start("--access-log-file", "log")
    with Client(program.port) as client:
        client.request("GET", "/one")
        read(tmp_path / "log", 1)
        (tmp_path / "log").rename(tmp_path / "log.1")
        program.process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 5
        while not (tmp_path / "log").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        client.request("GET", "/two")
    assert "/two" in read(tmp_path / "log", 1)[0]
    assert "/two" not in (tmp_path / "log.1").read_text()


def test_workers_open_it_anew_and_write_whole_lines(start: Any, tmp_path: Path) -> None:
    program = start("--access-log-file", "log", "--workers", "2")
    program.wait_for(RUNNING, count=2)
    (tmp_path / "log").rename(tmp_path / "log.1")
    program.process.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + 5
    while not (tmp_path / "log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    clients = [Client(program.port) for _ in range(8)]
    for _ in range(50):
        for client in clients:
            client.request("GET", "/" + "x" * 200)
    for client in clients:
        client.sock.close()
    lines = read(tmp_path / "log", 400)
    assert len(lines) == 400
    assert all(line.startswith("INFO:") and line.endswith("200 OK") for line in lines)


def test_a_reader_that_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(APP)
    read_end, write_end = os.pipe()
    port = free_port()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "fasterapi_http",
            "main:app",
            "--port",
            str(port),
            "--access-log-format",
            "%(U)s",
        ],
        cwd=tmp_path,
        stdout=write_end,
        stderr=subprocess.DEVNULL,
    )
    os.close(write_end)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                client = Client(port)
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        path = "/" + "x" * 4000
        begun = time.monotonic()
        for _ in range(400):  # 1.6 MB: the pipe and the bound of 1 MiB are full
            assert client.request("GET", path).status == 200
        assert time.monotonic() - begun < 5
        client.sock.close()
        data = b""
        while b"were dropped" not in data:
            data += os.read(read_end, 65536)
        dropped = int(re.findall(rb"\((\d+) lines of the access log were dropped\)", data)[0])
        assert 0 < dropped < 400
        assert all(line in (path.encode(), b"") or b"dropped" in line for line in data.split(b"\n")[:-1])
    finally:
        os.close(read_end)
        process.terminate()
        assert process.wait(10) == 0


def test_a_bad_format_is_a_usage_error() -> None:
    for text in ("%(nope)s", "%d"):
        done = subprocess.run(
            [sys.executable, "-m", "fasterapi_http", "m:a", "--access-log-format", text],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert "--access-log-format" in done.stderr
