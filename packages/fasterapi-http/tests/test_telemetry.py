"""Metrics over all workers, health and readiness, hooks, trace context, deadlines."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi_support import Hosted, Program, free_port
from fasterapi_http import Config
from fasterapi_http._observe import (
    parse_traceparent,
    trace_context,
    with_deadline,
    with_hooks,
    with_trace_context,
)
from http_client import Client

APP = """
import asyncio

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    if scope["path"] == "/slow":
        await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 404 if scope["path"] == "/no" else 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""
RUNNING = "fasterapi-http running on"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    (tmp_path / "main.py").write_text(APP)
    running: list[Program] = []

    def run(*arguments: str, count: int = 1) -> Program:
        program = Program(tmp_path, "main:app", "--no-access-log", *arguments)
        running.append(program)
        program.wait_for(RUNNING, count=count)
        return program

    yield run
    for program in running:
        program.stop()


def get(port: int, path: str) -> tuple[int, str]:
    with Client(port) as client:
        answer = client.request("GET", path)
        return answer.status, answer.body.decode()


def values(text: str) -> dict[str, float]:
    return {
        match[1]: float(match[2]) for match in re.finditer(r"^(\w+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)
    }


def test_metrics_are_those_of_all_workers(start: Any) -> None:
    port = free_port()
    program = start("--workers", "2", "--metrics-port", str(port), count=2)
    clients = [Client(program.port) for _ in range(6)]
    for client in clients:
        for _ in range(5):
            client.request("GET", "/")
        client.request("POST", "/no", b"x")
    time.sleep(0.7)  # the other worker copies its counters now and then
    found = values(get(port, "/metrics")[1])
    assert found['fasterapi_http_requests_total{method="GET",status="2xx"}'] == 30
    assert found['fasterapi_http_requests_total{method="POST",status="4xx"}'] == 6
    assert found["fasterapi_http_request_duration_seconds_count"] == 36
    assert found["fasterapi_http_response_body_bytes_total"] == 36 * 5
    assert found["fasterapi_http_connections"] == 6
    assert found["fasterapi_http_connections_accepted_total"] >= 6
    assert found["fasterapi_http_worker_starts_total"] == 2
    assert 'fasterapi_http_rejected_total{reason="protocol"}' in found
    assert "fasterapi_loop_lag_seconds_count" in found
    with Client(program.port) as bad:
        bad.send(b"nonsense\r\n\r\n")
        assert bad.read().status == 400
    time.sleep(0.7)
    assert values(get(port, "/metrics")[1])['fasterapi_http_rejected_total{reason="protocol"}'] == 1
    assert get(program.port, "/metrics")[1] == "hello"  # the application's own path
    for client in clients:
        client.sock.close()


def test_a_killed_worker_leaves_its_counters(start: Any) -> None:
    program = start("--workers", "2", "--metrics-path", "/metrics", count=2)
    for _ in range(20):
        get(program.port, "/")
    time.sleep(0.6)
    pids = re.findall(r"Started server process \[(\d+)\]", program.text)
    import os

    os.kill(int(pids[0]), signal.SIGKILL)
    program.wait_for(RUNNING, count=3)
    found = values(get(program.port, "/metrics")[1])
    assert found['fasterapi_http_requests_total{method="GET",status="2xx"}'] >= 20
    assert found['fasterapi_http_worker_restarts_total{reason="died"}'] == 1


def test_health_and_readiness(start: Any) -> None:
    program = start("--health-path", "/live", "--ready-path", "/ready", "--shutdown-delay", "0.6")
    assert get(program.port, "/live") == (200, "ok\n")
    assert get(program.port, "/ready") == (200, "ready\n")
    with Client(program.port) as client:
        assert client.request("POST", "/live", b"x").status == 405
        program.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        answer = client.request("GET", "/ready")
        assert (answer.status, answer.body) == (503, b"stopping\n")
        assert get(program.port, "/live")[0] == 200  # it still serves, new connections too
    assert program.end() == 0


def test_a_deadline_is_kept(start: Any) -> None:
    program = start("--request-deadline", "0.3", "--deadline-header", "X-Deadline")
    with Client(program.port) as client:
        assert client.request("GET", "/").status == 200
        for fields, expected in (("", 0.3), ("X-Deadline: 100ms\r\n", 0.1), ("X-Deadline: 9\r\n", 0.3)):
            begun = time.monotonic()
            answer = client.request("GET", "/slow", headers=fields)
            assert answer.status == 504
            assert expected <= time.monotonic() - begun < expected + 0.15


def test_hooks_see_start_and_end() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/bad":
            raise ValueError("bad")
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    hosted = Hosted(
        with_hooks(
            app,
            lambda scope: seen.append(scope["path"]),
            lambda scope, status, seconds, error: seen.append((status, 0 <= seconds < 1, repr(error))),
        ),
        lifespan="off",
    )
    try:
        get(hosted.port, "/good")
        get(hosted.port, "/bad")
    finally:
        hosted.stop()
    assert seen == ["/good", (201, True, "None"), "/bad", (0, True, "ValueError('bad')")]


TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"00",
        TRACE[:-1],
        TRACE + b"-x",
        TRACE.upper(),
        b"ff" + TRACE[2:],
        b"00-" + b"0" * 32 + TRACE[35:],
        TRACE[:36] + b"0" * 16 + b"-01",
        b" " + TRACE,
    ],
)
def test_trace_contexts_that_are_none(value: bytes) -> None:
    assert parse_traceparent(value) is None


def test_the_trace_context_reaches_scope_and_context() -> None:
    found: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        found.append((scope["trace_context"], trace_context.get()))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    hosted = Hosted(with_trace_context(app), lifespan="off")
    try:
        with Client(hosted.port) as client:
            client.request(
                "GET", "/", headers=f"traceparent: {TRACE.decode()}\r\ntracestate: a=b\r\ntracestate: c=d\r\n"
            )
            client.request("GET", "/")
            client.request("GET", "/", headers=f"traceparent: {TRACE.decode()}\r\n" * 2)
    finally:
        hosted.stop()
    context = found[0][0]
    assert context is found[0][1]
    assert (context.trace_id, context.parent_id) == (TRACE[3:35].decode(), TRACE[36:52].decode())
    assert context.sampled and context.state == "a=b,c=d" and context.traceparent.encode() == TRACE
    assert found[1] == (None, None)
    assert found[2] == (None, None)
    assert parse_traceparent(b"cc" + TRACE[2:] + b"-more") is not None  # a later version


def test_an_answer_that_was_begun_is_cut_off_at_the_deadline() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        await asyncio.sleep(5)

    hosted = Hosted(with_deadline(app, 0.2, None), lifespan="off")
    try:
        with Client(hosted.port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises(EOFError):
                client.read()
    finally:
        hosted.stop()


def test_spans(tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk")
    (tmp_path / "main.py").write_text(
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from opentelemetry.sdk.trace.export import SimpleSpanProcessor, ConsoleSpanExporter\n"
        "import sys\n"
        "provider = TracerProvider()\n"
        "provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=sys.stdout)))\n"
        "trace.set_tracer_provider(provider)\n" + APP
    )
    program = Program(tmp_path, "main:app", "--otel", "--no-access-log")
    try:
        program.wait_for(RUNNING)
        with Client(program.port) as client:
            client.request("GET", "/no", headers=f"traceparent: {TRACE.decode()}\r\n")
        program.wait_for(TRACE[3:35].decode())
        program.wait_for('"http.response.status_code": 404')
        assert '"parent_id": "0x' + TRACE[36:52].decode() in program.text
    finally:
        program.stop()


def test_spans_without_the_package_say_so(tmp_path: Path) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('no opentelemetry here')\n")
    (tmp_path / "main.py").write_text(APP)
    program = Program(tmp_path, "main:app", "--otel")
    assert program.end() == 3
    assert "opentelemetry" in program.text
    assert sys.modules.get("opentelemetry") is None or Config("m:a", otel=True).otel
