"""Options: names, environment, contradictions, and the same things from a program."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fasterapi_core
import fasterapi_http
import options_table
import pytest
from asgi_support import Program, free_port
from fasterapi_http import Config, ConfigError, Limits, Server
from fasterapi_http._cli import command
from fasterapi_http._config import load_env_file
from fasterapi_http._reload import Sources
from http_client import Client

APP = """
import os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("no lifespan")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": os.environ.get("GREETING", "hello").encode()})
"""
RUNNING = "fasterapi-http running on"

# uvicorn 0.54, without what TLS and WebSocket have of their own
UVICORN = """
host port uds fd reload reload-dir reload-include reload-exclude reload-delay workers loop lifespan interface env-file
log-config log-level access-log use-colors proxy-headers server-header date-header forwarded-allow-ips root-path
limit-concurrency backlog limit-max-requests limit-max-requests-jitter timeout-keep-alive timeout-graceful-shutdown
timeout-worker-healthcheck header version app-dir h11-max-incomplete-event-size factory
""".split()


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


def usage_error(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "fasterapi_http", *arguments], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_options_have_the_names_of_uvicorn() -> None:
    ours = {name.lstrip("-") for parameter in command().params for name in parameter.opts}
    assert set(UVICORN) <= ours


def test_the_documented_tables_are_those_of_the_source() -> None:
    assert options_table.DOCUMENT.read_text() == options_table.document_with(options_table.table()), (
        "run python packages/fasterapi-http/tests/options_table.py"
    )


def test_every_option_has_a_help_text_and_every_limit_an_option() -> None:
    ours = {name for parameter in command().params for name in parameter.opts}
    for entry in dataclasses.fields(Limits):
        assert "--limit-" + entry.name.replace("_", "-") in ours
    for parameter in command().params[1:]:
        assert parameter.help  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "arguments, text",
    [
        (["main:app", "--nothing"], "No such option"),
        (["main:app", "--uds", "a", "--fd", "3"], "--uds and --fd exclude each other"),
        (["main:app", "--reload", "--workers", "2"], "--reload and --workers exclude each other"),
        (["main:app", "--reload-dir", "."], "need --reload"),
        (["main:app", "--port", "70000"], "--port: 70000 is more than 65535"),
        (["main:app", "--port", "x"], "'x' is not a valid integer"),
        (["main:app", "--workers", "0"], "--workers: 0 is less than 1"),
        (["main:app", "--timeout-keep-alive", "nan"], "--timeout-keep-alive"),
        (["main:app", "--loop", "uvloop"], "--loop"),
        (["main:app", "--limit-max-requests-jitter", "3"], "needs --limit-max-requests"),
        (["main:app", "--header", "x"], "--header"),
        (["main:app", "--header", "a: b\r\nc: d"], "--header"),
        (["main:app", "--header", "Content-Length: 3"], "--header"),
        (["main:app", "--env-file", "nowhere"], "--env-file"),
        (["main:app", "--log-config", "nowhere.json"], "--log-config"),
        ([], "Missing argument 'APP'"),
    ],
)
def test_what_is_wrong_is_one_line_and_code_2(arguments: list[str], text: str) -> None:
    assert text in usage_error(*arguments)


def test_the_environment_has_each_option(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("UVICORN_PORT", "1")
    monkeypatch.setenv("FASTERAPI_HTTP_PORT", str(port))
    monkeypatch.setenv("UVICORN_ACCESS_LOG", "0")
    monkeypatch.setenv("FASTERAPI_HTTP_HEADER", "X-One: a b\nX-Two: c")
    monkeypatch.setenv("FASTERAPI_HTTP_LIMIT_MAX_URI_BYTES", "30")
    program = start("main:app", port=port, options_of_port=False)
    program.wait_for(RUNNING)
    with Client(port) as client:
        answer = client.request("GET", "/")
        assert answer.headers["X-One"] == "a b"
        assert answer.headers["X-Two"] == "c"
        assert client.request("GET", "/" + "x" * 40).status == 414
    assert program.stop() == 0
    assert "GET /" not in program.text


def test_the_command_line_beats_the_environment(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTERAPI_HTTP_SERVER_HEADER", "1")
    program = start("main:app", "--no-server-header")
    program.wait_for(RUNNING)
    with Client(program.port) as client:
        assert "server" not in client.request("GET", "/").headers
    assert program.stop() == 0


def test_env_file_and_server_header(start: Any, tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("# comment\n\nexport GREETING='good # day'\nOTHER=a # b\n")
    program = start("main:app", "--env-file", "settings", "--server-header")
    program.wait_for(RUNNING)
    with Client(program.port) as client:
        answer = client.request("GET", "/")
        assert answer.body == b"good # day"
        assert answer.headers["server"] == "fasterapi-http"
    assert program.stop() == 0


def test_env_file_keeps_what_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTERAPI_TEST_A", "before")
    monkeypatch.delenv("FASTERAPI_TEST_B", raising=False)
    (tmp_path / "f").write_text('FASTERAPI_TEST_A=after\nFASTERAPI_TEST_B="x" \n')
    load_env_file(tmp_path / "f")
    assert os.environ["FASTERAPI_TEST_A"] == "before"
    assert os.environ.pop("FASTERAPI_TEST_B") == "x"
    (tmp_path / "f").write_text("no assignment\n")
    with pytest.raises(ConfigError, match=":1 is not of the form"):
        load_env_file(tmp_path / "f")


def test_watched_files(tmp_path: Path) -> None:
    for name in ("a.py", "b.html", "c.txt", ".hidden.py", "deep/d.py", "skip/e.py", ".git/f.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")

    def seen(**options: Any) -> set[str]:
        config = Config("main:app", reload=True, reload_dirs=[str(tmp_path)], **options)
        return {os.path.relpath(path, tmp_path) for path in Sources(config).look()}

    assert seen() == {"a.py", "deep/d.py", "skip/e.py"}
    assert seen(reload_includes=["*.html"]) == {"a.py", "b.html", "deep/d.py", "skip/e.py"}
    assert seen(reload_excludes=[str(tmp_path / "skip"), "a.*"]) == {"deep/d.py"}


def test_limits_come_from_both_sides() -> None:
    config = Config("m:a", limits=Limits(max_uri_bytes=99, keep_alive_ms=5), limit_concurrency=7)
    assert config.server_limits() == Limits(max_uri_bytes=99, keep_alive_ms=5, max_connections=7)
    assert Config("m:a", timeout_keep_alive=2.5).server_limits().keep_alive_ms == 2500
    assert Config("m:a", h11_max_incomplete_event_size=4096).server_limits().max_header_bytes == 4096


def test_a_config_survives_the_way_to_another_process() -> None:
    config = Config(
        "m:a", headers=["A: b"], limits=Limits(max_headers=3), forwarded_allow_ips=["10.0.0.0/8", "::1"]
    )
    assert Config.from_json(config.to_json()) == config
    assert config.forwarded_allow_ips == "10.0.0.0/8,::1"


def test_unknown_options_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="nothing"):
        fasterapi_http.run("main:app", nothing=1)  # type: ignore[call-arg]
    with pytest.raises(ConfigError):
        fasterapi_http.run("main:app", port=-1)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


def test_a_server_object_runs_in_a_thread_until_told(caplog: Any) -> None:
    server = Server(Config(hello, port=0, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
        with Client(server.port) as client:
            assert client.request("GET", "/").body == b"hello"
    finally:
        server.should_exit = True
        thread.join(10)
    assert not thread.is_alive()
    assert not server.ready


def test_serve_on_a_running_loop_ends_when_cancelled() -> None:
    port = free_port()

    async def main() -> None:
        task = asyncio.ensure_future(fasterapi_http.serve(hello, port=port, access_log=False))
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                assert not task.done()
                await asyncio.sleep(0.01)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).endswith(b"hello")
        writer.close()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    fasterapi_core.run(main())


def test_serve_says_why_it_cannot() -> None:
    async def main() -> None:
        with pytest.raises(SystemExit) as stop:
            await fasterapi_http.serve("nowhere:app", port=0)
        assert stop.value.code == 3

    fasterapi_core.run(main())
