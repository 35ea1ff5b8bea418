"""ASGI's response extensions: early hints, pathsend, zerocopysend, trailers; and clients that read slowly."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi_support import Hosted
from fasterapi_http import Limits, Server, StreamingResponse
from http_client import Client

App = Callable[..., Any]
DATA = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def host() -> Iterator[Callable[..., Hosted]]:
    hosted: list[Hosted] = []

    def start(app: App, **limits: int) -> Hosted:
        hosted.append(Hosted(app, Limits(**limits)))
        return hosted[-1]

    yield start
    for one in hosted:
        one.stop()


def answering(*messages: dict[str, Any]) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        for message in messages:
            await send(message)

    return app


def start(headers: list[tuple[bytes, bytes]] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": headers or [], **more}


def get(server: Hosted, method: str = "GET", headers: str = "", version: str = "1.1") -> Client:
    client = Client(server.port, 10)
    client.send(f"{method} / HTTP/{version}\r\nHost: test\r\n{headers}\r\n".encode())
    return client


def test_the_scope_names_the_extensions(host: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = ",".join(sorted(scope["extensions"])).encode()
        await send(start())
        await send({"type": "http.response.body", "body": body})

    with get(host(app)) as client:
        assert client.read().body.split(b",") == [
            b"http.response.early_hint",
            b"http.response.pathsend",
            b"http.response.trailers",
            b"http.response.zerocopysend",
        ]


# ---------------------------------------------------------------- early hints


def test_early_hints_precede_the_answer(host: Any) -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload", b"</b.js>; rel=preload"]}
    server = host(answering(hint, hint, start(), {"type": "http.response.body", "body": b"x"}))
    with get(server) as client:
        for _ in range(2):
            answer = client.read()
            assert answer.status == 103
            assert answer.headers["link"] == "</a.css>; rel=preload, </b.js>; rel=preload"
        assert client.read().body == b"x"


def test_http_1_0_gets_no_early_hints(host: Any) -> None:
    hint = {"type": "http.response.early_hint", "links": [b"</a.css>"]}
    server = host(answering(hint, start(), {"type": "http.response.body", "body": b"x"}))
    with get(server, version="1.0") as client:
        assert client.read().status == 200


def test_a_link_cannot_split_the_head(host: Any) -> None:
    hint = {"type": "http.response.early_hint", "links": [b"a\r\nset-cookie: x"]}
    server = host(answering(hint))
    with get(server) as client:
        assert client.read().status == 500
    assert isinstance(server.errors[0], ValueError)


# ---------------------------------------------------------------- files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(DATA)
    return tmp_path / "file"


def test_pathsend(host: Any, file: Path) -> None:
    server = host(answering(start(), {"type": "http.response.pathsend", "path": str(file)}))
    with get(server) as client:
        answer = client.read()
        assert answer.body == DATA
        assert answer.headers["content-length"] == str(len(DATA))
        client.send(b"HEAD / HTTP/1.1\r\nHost: test\r\n\r\n")
        answer = client.read("HEAD")
        assert answer.headers["content-length"] == str(len(DATA))
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 3)
        for _ in range(3):
            assert client.read().body == DATA
    assert not server.errors


def test_pathsend_with_an_announced_length(host: Any, file: Path) -> None:
    head = start([(b"content-length", b"1000")])
    server = host(answering(head, {"type": "http.response.pathsend", "path": str(file)}))
    with get(server) as client:
        assert client.read().body == DATA[:1000]


def test_pathsend_of_a_file_that_is_too_short(host: Any, file: Path) -> None:
    head = start([(b"content-length", b"10000000")])
    server = host(answering(head, {"type": "http.response.pathsend", "path": str(file)}))
    with get(server) as client:
        assert client.read().status == 500
    assert "shorter" in str(server.errors[0])


@pytest.mark.parametrize("name", ["absent", "."])
def test_pathsend_of_what_is_no_file(host: Any, file: Path, name: str) -> None:
    server = host(answering(start(), {"type": "http.response.pathsend", "path": str(file.parent / name)}))
    with get(server) as client:
        assert client.read().status == 500
    assert isinstance(server.errors[0], OSError)


def test_zerocopysend_in_pieces(host: Any, file: Path) -> None:
    with open(file, "rb") as source:
        server = host(
            answering(
                start(),
                {
                    "type": "http.response.zerocopysend",
                    "file": source,
                    "offset": 5,
                    "count": 10,
                    "more_body": True,
                },
                {"type": "http.response.body", "body": b"|", "more_body": True},
                {"type": "http.response.zerocopysend", "file": source.fileno(), "offset": len(DATA) - 3},
            )
        )
        with get(server) as client:
            assert client.read().body == DATA[5:15] + b"|" + DATA[-3:]


def test_zerocopysend_without_an_offset_moves_the_file(host: Any, file: Path) -> None:
    with open(file, "rb", buffering=0) as source:
        source.seek(100)
        piece = {"type": "http.response.zerocopysend", "file": source, "count": 300_000, "more_body": True}
        server = host(
            answering(start([(b"content-length", b"600000")]), piece, {**piece, "more_body": False})
        )
        with get(server) as client:
            assert client.read().body == DATA[100:600_100]
        assert source.tell() == 600_100


def test_zerocopysend_may_close_its_file_at_once(host: Any, file: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start())
        with open(file, "rb") as source:
            await send({"type": "http.response.zerocopysend", "file": source})

    with get(host(app)) as client:
        assert client.read().body == DATA


def test_zerocopysend_refuses_what_is_not_a_regular_file(host: Any) -> None:
    reading, writing = os.pipe()
    server = host(answering(start(), {"type": "http.response.zerocopysend", "file": reading}))
    with get(server) as client:
        assert client.read().status == 500
    os.close(reading), os.close(writing)
    assert "regular" in str(server.errors[0])


def test_files_do_not_leak_descriptors(host: Any, file: Path) -> None:
    server = host(answering(start(), {"type": "http.response.pathsend", "path": str(file)}))
    with get(server) as client:
        client.read()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with get(server) as client:
            client.sock.recv(1000)  # and leaves in the middle
    deadline = time.monotonic() + 5
    while len(os.listdir("/proc/self/fd")) > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---------------------------------------------------------------- trailers


def read_raw(client: Client) -> bytes:
    data = client.buffer
    while not data.endswith(b"\r\n\r\n") or b"0\r\n" not in data:
        data += client.sock.recv(65536)
    return data


def test_trailers_follow_a_chunked_body(host: Any) -> None:
    server = host(
        answering(
            start(trailers=True),
            {"type": "http.response.body", "body": b"abc"},
            {"type": "http.response.trailers", "headers": [(b"x-sum", b"6")], "more_trailers": True},
            {"type": "http.response.trailers", "headers": [(b"x-last", b"yes")]},
        )
    )
    with get(server) as client:
        assert read_raw(client).endswith(b"\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\nx-last: yes\r\n\r\n")
    assert not server.errors


def test_trailers_are_dropped_where_there_is_no_room(host: Any) -> None:
    server = host(
        answering(
            start([(b"content-length", b"3")], trailers=True),
            {"type": "http.response.body", "body": b"abc"},
            {"type": "http.response.trailers", "headers": [(b"x-sum", b"6")]},
        )
    )
    with get(server) as client:
        assert client.read().body == b"abc"
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.read().body == b"abc"


@pytest.mark.parametrize("name", [b"content-length", b"Transfer-Encoding", b"Set-Cookie", b"a b", b"x\r\ny"])
def test_trailers_that_frame_or_route_are_refused(host: Any, name: bytes) -> None:
    server = host(
        answering(
            start(trailers=True),
            {"type": "http.response.body", "body": b"abc"},
            {"type": "http.response.trailers", "headers": [(name, b"1")]},
        )
    )
    with get(server) as client, pytest.raises((EOFError, ConnectionResetError)):
        client.read()  # never complete
    assert isinstance(server.errors[0], ValueError)


def test_an_application_that_forgets_its_trailers(host: Any) -> None:
    server = host(answering(start(trailers=True), {"type": "http.response.body", "body": b"abc"}))
    with get(server) as client, pytest.raises((EOFError, ConnectionResetError)):
        client.read()
    assert "without completing" in str(server.errors[0])


# ---------------------------------------------------------------- slow readers


def test_send_waits_for_a_client_that_does_not_read(host: Any) -> None:
    sent = 0
    done = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        if scope["type"] != "http":
            raise NotImplementedError
        await send(start())
        for _ in range(400):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent += 65536
        await send({"type": "http.response.body"})
        done.set()

    with get(host(app)) as client:
        time.sleep(0.5)
        before = sent
        time.sleep(0.3)
        assert sent == before < 400 * 65536
        assert len(client.read().body) == 400 * 65536
        assert done.wait(5)


def test_limits_slow_reader(host: Any) -> None:
    server = host(
        answering(start(), {"type": "http.response.body", "body": b"x" * 20_000_000}), write_stall_ms=500
    )
    with get(server) as client:
        client.sock.recv(200)
        deadline = time.monotonic() + 5
        while (
            server.server.connections
        ):  # 64 KiB are wanted each half second, the client takes 4 KB in a second
            assert time.monotonic() < deadline, "a client that hardly reads was not cut off"
            client.sock.recv(200)
            time.sleep(0.05)
        assert server.server.timeouts == 1
    assert not server.errors


def test_a_reader_that_is_fast_enough_is_left_alone(host: Any) -> None:
    body = b"x" * 8_000_000
    server = host(answering(start(), {"type": "http.response.body", "body": body}), write_stall_ms=400)
    with get(server) as client:
        got = 0
        while b"\r\n\r\n" not in client.buffer:
            client._more()
        got = len(client.buffer.partition(b"\r\n\r\n")[2])
        while got < len(body):
            got += len(client.sock.recv(100_000))
            if got < 3_000_000:
                time.sleep(0.05)
        assert got == len(body)


def rss() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_slow_readers_of_a_large_answer_cost_no_copy_each(host: Any) -> None:
    body = b"x" * 10_000_000
    server = host(answering(start(), {"type": "http.response.body", "body": body}))
    with get(server) as client:
        client.read()
    before = rss()
    clients = [get(server) for _ in range(100)]
    for client in clients:
        client.sock.recv(1000)
    time.sleep(0.5)
    grown = (rss() - before) / len(clients)
    for client in clients:
        client.sock.close()
    assert grown < 64 * 1024, f"{grown:.0f} bytes each"


def test_many_small_pieces_in_one_go_are_held_back_too(host: Any) -> None:
    piece = {"type": "http.response.body", "body": b"x" * 10_000, "more_body": True}
    server = host(answering(start(), *[piece] * 1000, {"type": "http.response.body"}))
    with get(server) as client:
        assert len(client.read().body) == 10_000_000
    before = rss()
    clients = [get(server) for _ in range(50)]
    for client in clients:
        client.sock.recv(1000)
    time.sleep(0.5)
    grown = (rss() - before) / len(clients)
    for client in clients:
        client.sock.close()
    assert grown < 256 * 1024, f"{grown:.0f} bytes each"


def test_a_native_stream_waits_as_well(serve: Any) -> None:
    made = 0

    async def pieces() -> Any:
        nonlocal made
        for _ in range(400):
            made += 1
            yield b"x" * 65536

    async def handler() -> StreamingResponse:
        return StreamingResponse(pieces())

    def setup(server: Server) -> None:
        server.add_route(["GET"], "/", handler, mode="async")

    running = serve(setup)
    with running.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        time.sleep(0.5)
        before = made
        time.sleep(0.3)
        assert made == before < 400
        assert len(client.read().body) == 400 * 65536


def test_starlette_sends_files_by_path(host: Any, file: Path) -> None:
    responses = pytest.importorskip("starlette.responses")
    server = host(responses.FileResponse(file))
    with get(server) as client:
        assert client.read().body == DATA
    assert asyncio.iscoroutinefunction(responses.FileResponse.__call__)
