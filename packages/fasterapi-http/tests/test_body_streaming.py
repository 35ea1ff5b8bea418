"""Request bodies that arrive while their handler runs: ASGI applications and native handlers."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgi_support import Hosted
from fasterapi_http import ClientDisconnect, HTTPException, Limits, Request, Server
from http_client import Client

WINDOW = 64 * 1024
CHUNKED = "Transfer-Encoding: chunked\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def head(path: str = "/", headers: str = "", method: str = "POST") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}\r\n".encode()


class App:
    """Records the pieces it gets; what it does with them is its path."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.started = threading.Event()
        self.go = threading.Event()
        self.done = threading.Event()
        self.ended: BaseException | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        self.started.set()
        try:
            await getattr(self, scope["path"].strip("/") or "echo_size")(receive, send)
        except BaseException as error:
            self.ended = error
            raise
        finally:
            self.done.set()

    async def body(self, receive: Any) -> bytes:
        body = b""
        while True:
            message = await receive()
            self.messages.append(message)
            if message["type"] == "http.disconnect":
                raise ConnectionError("client left")
            body += message["body"]
            if not message["more_body"]:
                return body

    async def answer(self, send: Any, body: bytes, status: int = 200) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def echo_size(self, receive: Any, send: Any) -> None:
        body = await self.body(receive)
        await self.answer(send, b"%d %s" % (len(body), hashlib.sha256(body).hexdigest().encode()))

    async def ignore(self, receive: Any, send: Any) -> None:
        await self.answer(send, b"unread")

    async def wait(self, receive: Any, send: Any) -> None:
        while not self.go.is_set():
            await asyncio.sleep(0.01)
        await self.echo_size(receive, send)

    async def started_first(self, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        body = await self.body(receive)
        await send({"type": "http.response.body", "body": b"%d" % len(body)})

    async def two_readers(self, receive: Any, send: Any) -> None:
        got = await asyncio.gather(receive(), receive(), receive())
        await self.answer(send, b"|".join(message["body"] for message in got))

    async def cancelled_reader(self, receive: Any, send: Any) -> None:
        try:
            async with asyncio.timeout(0.05):
                await receive()
        except TimeoutError:
            self.go.set()
        await self.echo_size(receive, send)


@pytest.fixture
def host() -> Iterator[Callable[..., tuple[App, Hosted]]]:
    hosted: list[Hosted] = []

    def start(**limits: int) -> tuple[App, Hosted]:
        app = App()
        hosted.append(Hosted(app, Limits(**limits)))
        return app, hosted[-1]

    yield start
    for one in hosted:
        one.stop()


def digest(body: bytes) -> bytes:
    return b"%d %s" % (len(body), hashlib.sha256(body).hexdigest().encode())


def test_the_application_starts_before_a_chunked_body_is_complete(host: Any) -> None:
    app, server = host()
    with Client(server.port) as client:
        client.send(head("/", CHUNKED) + chunk(b"one"))
        assert app.started.wait(5)
        wait_until(lambda: len(app.messages) == 1)
        client.send(chunk(b"two"))
        wait_until(lambda: len(app.messages) == 2)
        client.send(b"0\r\n\r\n")
        assert client.read().body == digest(b"onetwo")
    assert [m["body"] for m in app.messages] == [b"one", b"two", b""]
    assert [m["more_body"] for m in app.messages] == [True, True, False]


def test_a_short_body_is_whole_when_the_application_starts(host: Any) -> None:
    app, server = host()
    with Client(server.port) as client:
        client.send(head("/", "Content-Length: 6\r\n") + b"abc")
        time.sleep(0.1)
        assert not app.started.is_set()
        client.send(b"def")
        assert client.read().body == digest(b"abcdef")
    assert [(m["body"], m["more_body"]) for m in app.messages] == [(b"abcdef", False)]


def test_a_chunked_body_that_is_complete_at_once_is_one_message(host: Any) -> None:
    app, server = host()
    with Client(server.port) as client:
        client.send(head("/", CHUNKED) + chunk(b"one") + chunk(b"two") + b"0\r\n\r\n")
        assert client.read().body == digest(b"onetwo")
    assert len(app.messages) == 1


def test_reading_pauses_while_the_window_is_unread(host: Any) -> None:
    app, server = host()
    body = bytes(range(256)) * (32 * 1024)  # 8 MiB: more than every buffer on the way
    with Client(server.port, 10) as client:
        client.send(head("/wait", f"Content-Length: {len(body)}\r\n"))
        client.sock.settimeout(0.5)
        sent = 0
        try:
            while sent < len(body):
                sent += client.sock.send(body[sent : sent + 65536])
        except TimeoutError:
            pass
        assert sent < len(body), "everything was taken although nobody read it"
        app.go.set()
        client.sock.settimeout(10)
        client.send(body[sent:])
        assert client.read().body == digest(body)
    # one read of the socket (256 KiB) may come on top of the window
    assert max(len(m["body"]) for m in app.messages) <= WINDOW + 256 * 1024
    assert len(app.messages) > 8


def test_100_continue_is_sent_when_the_application_reads(host: Any) -> None:
    app, server = host()
    with Client(server.port) as client:
        client.send(head("/wait", "Content-Length: 3\r\nExpect: 100-continue\r\n"))
        assert app.started.wait(5)
        client.sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
        app.go.set()
        client.sock.settimeout(5)
        assert client.read().status == 100
        client.send(b"abc")
        assert client.read().body == digest(b"abc")
        client.send(head("/", method="GET"))  # and the connection goes on
        assert client.read().status == 200


def test_an_expectation_that_is_answered_unread_closes(host: Any) -> None:
    _, server = host()
    with Client(server.port) as client:
        client.send(head("/ignore", "Content-Length: 3\r\nExpect: 100-continue\r\n"))
        answer = client.read()
        assert (answer.status, answer.headers["connection"], answer.body) == (200, "close", b"unread")
        assert client.at_end()


def test_no_100_when_the_body_is_there_already(host: Any) -> None:
    _, server = host()
    with Client(server.port) as client:
        client.send(head("/", "Content-Length: 3\r\nExpect: 100-continue\r\n") + b"abc")
        assert client.read().status == 200


@pytest.mark.parametrize("size", [1, 20 * 1024])
def test_a_small_unread_rest_is_skipped_and_the_next_request_served(host: Any, size: int) -> None:
    _, server = host(body_window_bytes=1024)
    with Client(server.port) as client:
        client.send(head("/ignore", f"Content-Length: {1024 + size}\r\n") + b"x" * 1024)
        assert client.read().body == b"unread"
        client.send(b"GET /smuggled HTTP/1.1\r\n\r\n"[:size].ljust(size, b"x") + head("/", method="GET"))
        assert client.read().body == digest(b"")


def test_a_large_unread_rest_ends_the_connection(host: Any) -> None:
    _, server = host()
    with Client(server.port) as client:
        client.send(head("/ignore", "Content-Length: 1000000\r\n") + b"x" * 1000)
        answer = client.read()
        assert (answer.body, answer.headers["connection"]) == (b"unread", "close")
        assert client.at_end()


def test_an_unread_chunked_body_ends_the_connection(host: Any) -> None:
    _, server = host()
    with Client(server.port) as client:
        client.send(head("/ignore", CHUNKED) + chunk(b"abc"))
        answer = client.read()
        assert (answer.body, answer.headers["connection"]) == (b"unread", "close")
        assert client.at_end()


def test_an_unread_rest_that_does_not_come_is_not_waited_for(host: Any) -> None:
    _, server = host(body_window_bytes=1024, body_grace_ms=300)
    with Client(server.port) as client:
        client.send(head("/ignore", "Content-Length: 2000\r\n") + b"x" * 1024)
        assert client.read().body == b"unread"
        assert client.at_end(5)


def test_pipelined_requests_wait_behind_a_streamed_body(host: Any) -> None:
    _, server = host()
    rest = b"0\r\n\r\n" + head("/", "Content-Length: 2\r\n") + b"hi" + head("/", CHUNKED) + chunk(b"x")
    with Client(server.port) as client:
        client.send(head("/", CHUNKED) + chunk(b"one"))
        time.sleep(0.05)
        client.send(rest)
        assert client.read().body == digest(b"one")
        assert client.read().body == digest(b"hi")
        client.send(chunk(b"y") + b"0\r\n\r\n")
        assert client.read().body == digest(b"xy")


def test_every_split_of_a_chunked_body_with_trailers(host: Any) -> None:
    _, server = host()
    body = b'5;a="\\"b"\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n'
    with Client(server.port) as client:
        for split in range(1, len(body)):
            client.send(head("/", CHUNKED) + body[:split])
            time.sleep(0.002)
            client.send(body[split:] + head("/", method="GET"))
            assert client.read().body == digest(b"hello!"), split
            assert client.read().body == digest(b""), split


@pytest.mark.parametrize(
    "bad",
    [b"xyz\r\n", b"3\r\nabcXX", b"3\nabc", b"0\r\nContent-Length: 5\r\n\r\n", b"-1\r\n", b"0x5\r\nhello\r\n"],
)
def test_a_malformed_chunk_in_a_stream_is_400_and_ends_the_connection(host: Any, bad: bytes) -> None:
    app, server = host()
    with Client(server.port) as client:
        client.send(head("/", CHUNKED) + chunk(b"good"))
        wait_until(lambda: len(app.messages) == 1)
        client.send(bad + head("/", method="GET"))
        answer = client.read()
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert client.at_end()
    assert app.done.wait(5)
    assert app.messages[-1]["type"] == "http.disconnect"


def test_limits_body_bytes_while_streaming(host: Any) -> None:
    app, server = host(max_body_bytes=100_000)
    with Client(server.port) as client:
        client.send(head("/", CHUNKED) + chunk(b"x" * 60_000))
        wait_until(lambda: app.messages != [])
        client.send(chunk(b"x" * 60_000))
        answer = client.read()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert client.at_end()
    assert app.done.wait(5)


def test_limits_body_bytes_after_the_answer_has_begun_cuts_it_off(host: Any) -> None:
    app, server = host(max_body_bytes=1000)
    with Client(server.port) as client:
        client.send(head("/started_first", CHUNKED) + chunk(b"x" * 600))
        wait_until(lambda: b"first" in client.buffer or client._more())  # type: ignore[func-returns-value]
        client.send(chunk(b"x" * 600))
        with pytest.raises((EOFError, ConnectionResetError)):
            client.read()  # never a complete chunked answer
    assert app.done.wait(5)
    assert app.messages[-1]["type"] == "http.disconnect"


def test_limits_slow_body_while_streaming(host: Any) -> None:
    app, server = host(body_grace_ms=300)
    with Client(server.port, 10) as client:
        client.send(head("/", CHUNKED) + chunk(b"x"))
        assert app.started.wait(5)
        assert client.read().status == 408
        assert client.at_end()


def test_an_application_that_does_not_read_is_not_the_clients_fault(host: Any) -> None:
    app, server = host(body_grace_ms=200, body_window_bytes=1000)
    body = b"x" * 5000
    with Client(server.port, 10) as client:
        client.send(head("/wait", f"Content-Length: {len(body)}\r\n") + body[:2000])
        time.sleep(1.5)
        app.go.set()
        time.sleep(0.05)
        client.send(body[2000:])
        assert client.read().body == digest(body)


def test_a_client_that_leaves_while_streaming_is_a_disconnect(host: Any) -> None:
    app, server = host()
    with Client(server.port) as client:
        client.send(head("/", CHUNKED) + chunk(b"one"))
        wait_until(lambda: len(app.messages) == 1)
    assert app.done.wait(5)
    assert app.messages[-1] == {"type": "http.disconnect"}
    assert isinstance(app.ended, ConnectionError)


def test_several_receivers_get_a_piece_each(host: Any) -> None:
    app, server = host()
    with Client(server.port) as client:
        client.send(head("/two_readers", CHUNKED) + b"3\r\n")
        assert app.started.wait(5)
        for piece in (b"one\r\n", chunk(b"two"), b"0\r\n\r\n"):
            time.sleep(0.05)
            client.send(piece)
        assert client.read().body == b"one|two|"


def test_a_receiver_that_is_cancelled_loses_nothing(host: Any) -> None:
    app, server = host()
    with Client(server.port) as client:
        client.send(head("/cancelled_reader", CHUNKED) + b"3\r\n")
        assert app.go.wait(5)
        client.send(b"abc\r\n0\r\n\r\n")
        assert client.read().body == digest(b"abc")


def test_a_full_duplex_answer_comes_while_the_body_is_sent(host: Any) -> None:
    _, server = host()
    with Client(server.port) as client:
        client.send(head("/started_first", CHUNKED) + chunk(b"abc"))
        while b"first" not in client.buffer:
            client._more()
        client.send(b"0\r\n\r\n")
        assert client.read().body == b"first3"


# ---------------------------------------------------------------- native handlers


class Native:
    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.error: BaseException | None = None
        self.done = threading.Event()

    def setup(self, server: Server) -> None:
        args = [("request", None, None, True, None)]
        for method in (self.stream, self.body, self.json, self.text, self.caught, self.both, self.unread):
            server.add_route(
                ["POST"], f"/{method.__name__}/{{name}}", method, mode="async", args=args, stream_body=True
            )

    async def stream(self, request: Request) -> dict[str, Any]:
        try:
            async for piece in request.stream():
                self.pieces.append(piece)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self.done.set()
        return {"size": sum(map(len, self.pieces)), "name": request.path_params["name"]}

    async def body(self, request: Request) -> Any:
        body = await request.body()
        again = await request.body()
        return [len(body), body == again, request.path_params["name"]]

    async def json(self, request: Request) -> Any:
        return await request.json()

    async def text(self, request: Request) -> Any:
        return await request.text()

    async def caught(self, request: Request) -> Any:
        try:
            await request.body()
        except HTTPException as error:
            return {"caught": error.status_code}

    async def both(self, request: Request) -> Any:
        async for _ in request.stream():
            break
        try:
            await request.body()
        except RuntimeError as error:
            return str(error)

    async def unread(self, request: Request) -> Any:
        return "unread"


@pytest.fixture
def native(serve: Any) -> tuple[Native, Any]:
    handlers = Native()
    return handlers, serve(handlers.setup, limits=Limits(max_body_bytes=10_000_000))


def test_native_stream_yields_pieces_as_they_arrive(native: Any) -> None:
    handlers, server = native
    with server.connect() as client:
        client.send(head("/stream/n", CHUNKED) + chunk(b"one"))
        wait_until(lambda: handlers.pieces == [b"one"])
        client.send(chunk(b"two"))
        wait_until(lambda: handlers.pieces == [b"one", b"two"])
        client.send(b"0\r\n\r\n")
        assert client.read().json() == {"size": 6, "name": "n"}
    assert handlers.pieces == [b"one", b"two", b""]


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_native_body_waits_for_everything(native: Any, framing: str) -> None:
    _, server = native
    data = b"x" * 3_000_000
    with server.connect(10) as client:
        if framing == "length":
            client.send(head("/body/n", f"Content-Length: {len(data)}\r\n") + data)
        else:
            client.send(head("/body/n", CHUNKED) + chunk(data) + b"0\r\n\r\n")
        assert client.read().json() == [len(data), True, "n"]


def test_native_json_and_text_of_a_streamed_body(native: Any) -> None:
    _, server = native
    for path, body, expected in (("json", b'{"a": [1]}', {"a": [1]}), ("text", "\u00e4".encode(), "\u00e4")):
        with server.connect() as client:
            client.send(head(f"/{path}/n", CHUNKED) + chunk(body))
            time.sleep(0.05)
            client.send(b"0\r\n\r\n")
            assert client.read().json() == expected


def test_native_reader_gets_the_limit_as_an_exception(native: Any) -> None:
    handlers, server = native
    for path, expected in (("stream", 413), ("caught", 200)):
        with server.connect(10) as client:
            client.send(head(f"/{path}/n", CHUNKED) + chunk(b"abc"))
            time.sleep(0.05)
            client.send(b"9000000\r\n")  # announced is enough
            answer = client.read()
            assert (answer.status, answer.headers["connection"]) == (expected, "close")
            assert client.at_end()
    assert isinstance(handlers.error, HTTPException)


def test_native_reader_of_a_client_that_left(native: Any) -> None:
    handlers, server = native
    with server.connect() as client:
        client.send(head("/stream/n", CHUNKED) + chunk(b"one"))
        wait_until(lambda: handlers.pieces == [b"one"])
    assert handlers.done.wait(5)
    assert isinstance(handlers.error, ClientDisconnect | asyncio.CancelledError)


def test_native_body_after_stream_is_an_error(native: Any) -> None:
    _, server = native
    with server.connect() as client:
        client.send(head("/both/n", CHUNKED) + chunk(b"one"))
        assert client.read().json() == "Stream consumed"


def test_native_handler_that_does_not_read(native: Any) -> None:
    _, server = native
    with server.connect() as client:
        client.send(head("/unread/n", "Content-Length: 70000\r\n") + b"x" * 60000)
        assert client.read().json() == "unread"
        client.send(b"x" * 10000 + head("/body/n", "Content-Length: 1\r\n") + b"x")
        assert client.read().json() == [1, True, "n"]


def test_a_route_that_takes_its_body_as_an_argument_cannot_stream(serve: Any) -> None:
    def setup(server: Server) -> None:
        with pytest.raises(ValueError, match="reads it from the request"):
            server.add_route(
                ["POST"],
                "/",
                print,
                mode="async",
                args=[("body_bytes", None, None, True, None)],
                stream_body=True,
            )
        with pytest.raises(ValueError, match="async"):
            server.add_route(["POST"], "/", print, mode="thread", stream_body=True)

    serve(setup)


# ---------------------------------------------------------------- real clients


def test_curl_uploads_with_and_without_a_length(host: Any, tmp_path: Any) -> None:
    _, server = host()
    file = tmp_path / "data"
    data = bytes(range(256)) * 20_000  # 5 MB: curl asks for 100-continue
    file.write_bytes(data)
    url = f"http://127.0.0.1:{server.port}/"
    for how in (["--data-binary", f"@{file}"], ["-T", "-", "-X", "POST"]):
        with open(file, "rb") as source:
            run = subprocess.run(["curl", "-sS", *how, url], stdin=source, capture_output=True, timeout=20)
        assert run.stdout == digest(data), run.stderr


def test_httpx_streams_up(host: Any) -> None:
    httpx = pytest.importorskip("httpx")
    _, server = host()
    pieces = [bytes([i]) * 10_000 for i in range(100)]
    answer = httpx.post(f"http://127.0.0.1:{server.port}/", content=iter(pieces))
    assert answer.content == digest(b"".join(pieces))


def test_aiohttp_streams_both_ways(host: Any) -> None:
    aiohttp = pytest.importorskip("aiohttp")
    _, server = host()

    async def run() -> bytes:
        async def pieces() -> Any:
            for i in range(50):
                yield bytes([i]) * 20_000

        async with aiohttp.ClientSession() as session:
            async with session.post(f"http://127.0.0.1:{server.port}/started_first", data=pieces()) as answer:
                first = await answer.content.readexactly(5)
                return first + await answer.read()

    assert asyncio.run(run()) == b"first1000000"


def wait_until(condition: Callable[[], Any], timeout: float = 5) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
