"""ASGI hosting over real sockets: what an application sees, and what a client gets."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgi_support import Hosted
from http_client import Client


@pytest.fixture
def host() -> Iterator[Callable[..., Hosted]]:
    running: list[Hosted] = []

    def start(app: Callable[..., Any], **options: Any) -> Hosted:
        running.append(Hosted(app, **options))
        return running[-1]

    yield start
    for one in running:
        one.stop()


def connect(hosted: Hosted, timeout: float = 5) -> Client:
    return Client(hosted.port, timeout)


def get(hosted: Hosted, path: str = "/", method: str = "GET", body: bytes = b"", headers: str = "") -> Any:
    with connect(hosted) as client:
        return client.request(method, path, body, headers)


async def respond(send: Any, body: bytes = b"", status: int = 200, headers: Any = ()) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def http_only(handler: Any) -> Any:
    """An application without lifespan."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await handler(scope, receive, send)

    return app


# ---- requests


def test_scope_is_complete(host: Any) -> None:
    seen: list[Any] = []

    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await respond(send, b"ok")

    hosted = host(app)
    with connect(hosted) as client:
        client.request("GET", "/a%20b/%C3%A9?x=%31&y", headers="X-Thing: 1\r\nx-thing:  2 \r\n")
        local = client.sock.getsockname()
    scope = seen[0]
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}
    assert scope["http_version"] == "1.1"
    assert scope["method"] == "GET"
    assert scope["scheme"] == "http"
    assert scope["path"] == "/a b/é"
    assert scope["raw_path"] == b"/a%20b/%C3%A9"
    assert scope["query_string"] == b"x=%31&y"
    assert scope["root_path"] == ""
    assert scope["headers"] == [(b"host", b"test"), (b"x-thing", b"1"), (b"x-thing", b"2")]
    assert scope["client"] == local
    assert scope["server"] == ("127.0.0.1", hosted.port)
    assert scope["state"] == {}
    assert scope["extensions"] == {
        "http.response.early_hint": {},
        "http.response.pathsend": {},
        "http.response.trailers": {},
        "http.response.zerocopysend": {},
    }


def test_one_letter_names_leave_the_interpreters_letters_alone(host: Any) -> None:
    """CPython has one object per one-byte string: lower-casing a name in place would change it for everybody."""
    letters = [bytes([code]) for code in range(ord("A"), ord("Z") + 1)]

    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"".join(name for name, _ in scope["headers"] if len(name) == 1))

    answer = get(host(app), headers="".join(f"{letter.decode()}: 1\r\n" for letter in letters))
    assert answer.body == b"abcdefghijklmnopqrstuvwxyz"
    alphabet = bytes(range(ord("A"), ord("Z") + 1))
    assert [alphabet[i : i + 1][0] for i in range(26)] == list(range(ord("A"), ord("Z") + 1))


def test_requests_share_nothing_mutable(host: Any) -> None:
    seen: list[Any] = []

    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(dict(scope))
        scope["headers"].append((b"added", b"1"))
        scope["extensions"]["added"] = 1
        scope["state"]["added"] = 1
        await respond(send)

    hosted = host(app)
    with connect(hosted) as client:
        for _ in range(3):
            client.request("GET", "/")
    assert all(len(scope["headers"]) == 2 for scope in seen)
    assert len({id(scope["headers"]) for scope in seen}) == 3
    assert len({id(scope["state"]) for scope in seen}) == 3
    assert len({id(scope["extensions"]) for scope in seen}) == 3


def test_root_path_is_put_in_front(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, repr((scope["root_path"], scope["path"], scope["raw_path"])).encode())

    assert (
        get(host(app, root_path="/api"), "/x%20y").body == repr(("/api", "/api/x y", b"/api/x%20y")).encode()
    )


@pytest.mark.parametrize(
    "trusted, client, scheme", [(["127.0.0.1"], "9.9.9.9", "https"), ([], "127.0.0.1", "http")]
)
def test_forwarded_fields_of_trusted_peers_count(host: Any, trusted: Any, client: str, scheme: str) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, json.dumps([scope["client"][0], scope["scheme"]]).encode())

    hosted = host(app, proxy_headers=True, trusted=trusted)
    fields = "X-Forwarded-Proto: https\r\nX-Forwarded-For: 6.6.6.6, 9.9.9.9, 127.0.0.1\r\n"
    assert get(hosted, headers=fields).json() == [client, scheme]


def test_methods_and_versions(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, f"{scope['method']} {scope['http_version']} {scope['path']}".encode())

    hosted = host(app)
    assert get(hosted, method="PROPFIND").body == b"PROPFIND 1.1 /"
    assert get(hosted, "http://other/x", "PATCH").body == b"PATCH 1.1 /x"
    assert get(hosted, "*", "OPTIONS").body == b"OPTIONS 1.1 *"
    with connect(hosted) as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read().body == b"GET 1.0 /"
        assert client.at_end()


def test_bodies_with_length_and_chunked(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            assert message["type"] == "http.request"
            body += message["body"]
            if not message["more_body"]:
                break
        await respond(send, b"%d:" % len(body) + body[:10])

    hosted = host(app)
    assert get(hosted, method="POST", body=b"hello").body == b"5:hello"
    assert get(hosted, method="POST", body=b"x" * 1_000_000).body == b"1000000:xxxxxxxxxx"
    with connect(hosted) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        time.sleep(0.05)
        client.send(b"2\r\nde\r\n0\r\n\r\n")
        assert client.read().body == b"5:abcde"


# ---- responses


def test_one_piece_gets_a_length(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(
            send, b"hello", headers=[(b"content-type", b"text/plain"), (b"x-a", b"1"), [b"x-a", b"2"]]
        )

    answer = get(host(app))
    assert answer.status == 200
    assert answer.headers["content-length"] == "5"
    assert "transfer-encoding" not in answer.headers
    assert answer.headers["x-a"] == "1, 2"
    assert "date" in answer.headers


def test_pieces_are_chunked_or_have_the_announced_length(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"6")] if scope["path"] == "/length" else []
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for piece in (b"abc", b"", bytearray(b"de"), memoryview(b"f")):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0.001)
        await send({"type": "http.response.body"})

    hosted = host(app)
    with connect(hosted) as client:
        for _ in range(2):
            answer = client.request("GET", "/")
            assert answer.headers["transfer-encoding"] == "chunked"
            assert answer.body == b"abcdef"
            answer = client.request("GET", "/length")
            assert answer.headers["content-length"] == "6"
            assert answer.body == b"abcdef"


def test_http10_streams_end_with_the_connection(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        await send({"type": "http.response.body", "body": b"def"})

    with connect(host(app)) as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = client.read()
        assert answer.body == b"abcdef"
        assert "transfer-encoding" not in answer.headers


def test_head_and_bodyless_statuses(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        status = int(scope["path"][1:])
        headers = [(b"content-length", b"5")] if status == 200 else []
        await respond(send, b"hello" if scope["method"] == "GET" and status == 200 else b"", status, headers)

    hosted = host(app)
    with connect(hosted) as client:
        answer = client.request("HEAD", "/200")
        assert (answer.headers["content-length"], answer.body) == ("5", b"")
        assert client.request("GET", "/204").status == 204
        assert client.request("GET", "/304").status == 304
        assert client.request("GET", "/200").body == b"hello"


def test_connection_close_is_the_servers_to_write(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Connection", b"close"), (b"Transfer-Encoding", b"chunked"), (b"Date", b"never")]
        await respond(send, b"x", headers=headers)

    with connect(host(app)) as client:
        answer = client.request("GET", "/")
        assert answer.headers["connection"] == "close"
        assert answer.headers["content-length"] == "1"
        assert answer.raw_head.lower().count(b"date:") == 1
        assert client.at_end()


def test_many_different_heads(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, headers=[(b"x-path", scope["raw_path"])])

    hosted = host(app)
    with connect(hosted) as client:
        for i in range(100):
            assert client.request("GET", f"/{i % 37}").headers["x-path"] == f"/{i % 37}"


# ---- mistakes of the application

START = {"type": "http.response.start", "status": 200, "headers": []}
MISTAKES: dict[str, tuple[list[Any], str]] = {
    "body_first": ([{"type": "http.response.body"}], "Expected ASGI message 'http.response.start'"),
    "start_twice": ([START, START], "Expected ASGI message 'http.response.body'"),
    "no_type": ([{}], "type"),
    "no_dict": (["x"], "an ASGI message is a dict"),
    "no_status": ([{"type": "http.response.start"}], "status"),
    "bad_status": ([{**START, "status": 99}], "'status' must be between"),
    "str_header": ([{**START, "headers": [("a", b"b")]}], "must be bytes"),
    "triple_header": ([{**START, "headers": [(b"a", b"b", b"c")]}], "pair"),
    "crlf_in_header": ([{**START, "headers": [(b"a", b"b\r\nc: d")]}], "not allow"),
    "blank_in_name": ([{**START, "headers": [(b"a b", b"c")]}], "not allow"),
    "bad_length": ([{**START, "headers": [(b"content-length", b"x")]}], "content-length"),
    "str_body": ([START, {"type": "http.response.body", "body": "x"}], "bytes-like"),
    "too_long": (
        [{**START, "headers": [(b"content-length", b"1")]}, {"type": "http.response.body", "body": b"xx"}],
        "longer than Content-Length",
    ),
    "too_short": (
        [{**START, "headers": [(b"content-length", b"3")]}, {"type": "http.response.body", "body": b"xx"}],
        "shorter than Content-Length",
    ),
    "nothing": ([], "without starting response"),
    "only_start": ([START], "without completing response"),
    "raises": ([ValueError("mine")], "mine"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_answered_with_500_and_reported_once(host: Any, name: str) -> None:
    messages, text = MISTAKES[name]

    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            if isinstance(message, Exception):
                raise message
            await send(message)

    hosted = host(app)
    answer = get(hosted)
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert len(hosted.errors) == 1
    assert text in str(hosted.errors[0])


def test_a_message_after_the_end_is_an_error_of_the_application_only(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"fine")
        await send({"type": "http.response.body"})

    hosted = host(app)
    assert get(hosted).body == b"fine"
    assert "already completed" in str(hosted.errors[0])


def test_an_error_in_the_middle_breaks_the_connection(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        raise ValueError("half")

    hosted = host(app)
    with connect(hosted) as client:
        with pytest.raises((EOFError, ConnectionResetError)):
            client.request("GET", "/")
    assert str(hosted.errors[0]) == "half"


def test_a_returned_value_is_reported(host: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> int:
        await respond(send, b"ok")
        return 1

    hosted = host(app, lifespan="off")
    assert get(hosted).body == b"ok"
    assert "should return None" in str(hosted.errors[0])


# ---- clients that leave, and slow ones


def test_receive_tells_when_the_client_has_left(host: Any) -> None:
    events: list[str] = []
    done = threading.Event()

    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        events.append((await receive())["type"])
        events.append((await receive())["type"])
        events.append((await receive())["type"])
        await respond(send, b"nobody reads this")  # dropped, no error
        done.set()

    hosted = host(app)
    with connect(hosted) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
    assert done.wait(5)
    assert events == ["http.request", "http.disconnect", "http.disconnect"]
    assert hosted.errors == []


def test_receive_after_the_answer_is_a_disconnect(host: Any) -> None:
    events: list[str] = []
    done = threading.Event()

    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        events.append((await waiting)["type"])
        later = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await respond(send, b"ok")
        events.append((await later)["type"])
        done.set()

    hosted = host(app)
    with connect(hosted) as client:
        assert client.request("GET", "/").body == b"ok"
        assert done.wait(5)
    assert events == ["http.request", "http.disconnect"]


def test_a_cancelled_receive_can_be_tried_again(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        for _ in range(3):
            try:
                await asyncio.wait_for(receive(), 0.01)
            except TimeoutError:
                pass
        await respond(send, b"still here")

    assert get(host(app)).body == b"still here"


def test_a_slow_reader_holds_the_application_back(host: Any) -> None:
    sent = 0
    finished = threading.Event()
    piece = b"x" * 65536

    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send(START)
        for _ in range(400):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            sent += len(piece)
        await send({"type": "http.response.body"})
        finished.set()

    hosted = host(app)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.connect(("127.0.0.1", hosted.port))
        sock.settimeout(5)
        sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        time.sleep(0.5)
        assert sent < 15_000_000
        total = 0
        while data := sock.recv(1 << 20):
            total += len(data)
    assert finished.wait(5)
    assert total > 400 * 65536


def test_a_slow_reader_that_leaves_frees_the_application(host: Any) -> None:
    finished = threading.Event()

    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        for _ in range(400):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        finished.set()

    hosted = host(app)
    with connect(hosted) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.2)
    assert finished.wait(5)


def test_pipelined_requests_are_answered_in_order(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        number = int(scope["path"][1:])
        await asyncio.sleep(0.02 if number % 2 == 0 else 0)
        await respond(send, b"%d" % number)

    with connect(host(app)) as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(6)))
        assert [client.read().body for _ in range(6)] == [b"%d" % i for i in range(6)]


# ---- the world that an application lives in


def test_contextvars_are_those_of_the_request(host: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")

    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        before = variable.get()
        variable.set(scope["path"])
        await asyncio.sleep(0.001)
        await respond(send, f"{before} {variable.get()}".encode())

    hosted = host(app)
    with connect(hosted) as client:
        for i in range(3):
            assert client.request("GET", f"/{i}").body == f"unset /{i}".encode()


def test_tasks_timeouts_and_groups_work(host: Any) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert asyncio.current_task() is not None
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(5)
        except TimeoutError:
            pass
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(asyncio.sleep(0, i)) for i in range(3)]
        loop = asyncio.get_running_loop()
        number = await loop.run_in_executor(None, lambda: 39)
        await respond(send, b"%d" % (number + sum(task.result() for task in tasks)))

    assert get(host(app)).body == b"42"


def test_asgi2_applications_are_wrapped(host: Any) -> None:
    class App:
        def __init__(self, scope: Any) -> None:
            self.scope = scope

        async def __call__(self, receive: Any, send: Any) -> None:
            await respond(send, self.scope["path"].encode())

    assert get(host(App, lifespan="off"), "/two").body == b"/two"


def test_lifespan_state_reaches_requests(host: Any) -> None:
    events: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["answer"] = 42
            while True:
                message = await receive()
                events.append(message["type"])
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        await respond(send, str(scope["state"]["answer"]).encode())
        scope["state"]["answer"] = 0

    hosted = host(app)
    assert get(hosted).body == b"42"
    assert get(hosted).body == b"42"
    hosted.stop()
    assert events == ["lifespan.startup", "lifespan.shutdown"]


def test_lifespan_may_be_unknown_to_the_application(host: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        await respond(send, b"ok")

    assert get(host(app)).body == b"ok"


@pytest.mark.parametrize("path", ["/", "/sleep", "/stream", "/error"])
def test_requests_leave_nothing_behind(host: Any, path: str) -> None:
    @http_only
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if path == "/sleep":
            await asyncio.sleep(0)
        if path == "/error":
            raise ValueError
        await send(START)
        if path == "/stream":
            await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        await send({"type": "http.response.body", "body": b"def"})

    hosted = host(app)

    def ask(count: int) -> tuple[int, int]:
        while count > 0:
            with connect(hosted) as client:
                for _ in range(1 if path == "/error" else count):
                    client.request("POST", path, b"x")
                    count -= 1
        hosted.errors.clear()
        gc.collect()
        return sys.getallocatedblocks(), len(gc.get_objects())

    ask(600)  # also fills what is cached per connection
    blocks, objects = ask(50)
    more_blocks, more_objects = ask(400)
    assert more_blocks - blocks < 200
    assert more_objects - objects < 50
