"""WebSockets of ASGI applications: events, states, limits, back-pressure and ends, over real sockets."""

from __future__ import annotations

import asyncio
import os
import resource
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgi_support import Hosted
from fasterapi_http import Limits, WebSocketDisconnected
from websocket_client import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    WebSocketClient,
    close_frame,
    frame,
)


@pytest.fixture
def host() -> Iterator[Callable[..., Hosted]]:
    running: list[Hosted] = []

    def start(app: Callable[..., Any], **options: Any) -> Hosted:
        running.append(Hosted(app, lifespan="off", **options))
        return running[-1]

    yield start
    for one in running:
        one.stop()


class Recorder:
    """An echo application that keeps the events it has seen."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while True:
            event = await receive()
            self.events.append(event)
            if event["type"] == "websocket.connect":
                await send({"type": "websocket.accept"})
            elif event["type"] == "websocket.receive":
                await send({**event, "type": "websocket.send"})
            else:
                return

    def disconnect(self, timeout: float = 5) -> Any:
        return wait_for(
            lambda: next((one for one in self.events if one["type"] == "websocket.disconnect"), None), timeout
        )


def wait_for(condition: Callable[[], Any], timeout: float = 5) -> Any:
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.01)
    return value


def accepting(handler: Any) -> Any:
    """An application that accepts and then does what ``handler(receive, send)`` does."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await handler(receive, send)

    return app


# ---- messages and the closing handshake


def test_echo_and_close(host: Callable[..., Hosted]) -> None:
    app = Recorder()
    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        assert client.open().status == 101
        messages = [(TEXT, b""), (TEXT, "é€😀".encode()), (BINARY, b"\x00\xff"), (BINARY, b"z" * 70_000)]
        for opcode, payload in messages:
            client.send(frame(opcode, payload))
            assert (client.frame().opcode, payload) == (opcode, payload)
        client.send(close_frame(4001, "tschüß".encode()))
        answer = client.frame()
        assert answer.close_code == 4001
        assert client.at_end()
    assert app.disconnect() == {"type": "websocket.disconnect", "code": 4001, "reason": "tschüß"}
    assert app.events[1] == {"type": "websocket.receive", "text": ""}
    assert app.events[2] == {"type": "websocket.receive", "text": "é€😀"}
    assert app.events[3] == {"type": "websocket.receive", "bytes": b"\x00\xff"}
    assert hosted.errors == []


def test_a_close_without_code_is_1005(host: Callable[..., Hosted]) -> None:
    app = Recorder()
    with WebSocketClient(host(app).port) as client:
        client.open()
        client.send(frame(CLOSE))
        assert client.frame().close_code == 1005
    assert app.disconnect()["code"] == 1005


@pytest.mark.parametrize("gone", ["fin", "reset"])
def test_a_client_that_vanishes_is_1006(host: Callable[..., Hosted], gone: str) -> None:
    app = Recorder()
    with WebSocketClient(host(app).port) as client:
        client.open()
        if gone == "reset":
            client.sock.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SO_LINGER 0: RST
    assert app.disconnect() == {"type": "websocket.disconnect", "code": 1006, "reason": ""}


def test_the_application_closes(host: Callable[..., Hosted]) -> None:
    events: list[Any] = []

    @accepting
    async def app(receive: Any, send: Any) -> None:
        await send({"type": "websocket.send", "text": "bye"})
        await send({"type": "websocket.close", "code": 3000, "reason": "x" * 200})
        events.append(await receive())

    with WebSocketClient(host(app).port) as client:
        client.open()
        assert client.frame().payload == b"bye"
        closing = client.frame()
        assert (closing.close_code, len(closing.payload)) == (3000, 125)
        client.send(frame(TEXT, b"too late") + close_frame(3000))
        assert client.at_end()
    assert wait_for(lambda: events) == [{"type": "websocket.disconnect", "code": 3000, "reason": ""}]


def test_pings_are_answered_and_pongs_ignored(host: Callable[..., Hosted]) -> None:
    app = Recorder()
    with WebSocketClient(host(app).port) as client:
        client.open()
        client.send(frame(PING, b"a") + frame(PONG, b"?") + frame(TEXT, b"1", fin=False) + frame(PING, b"b"))
        client.send(frame(0, b"2"))
        assert (client.frame(), client.frame()) == (
            client_frame(PONG, b"a"),
            client_frame(PONG, b"b"),
        )
        assert client.frame().payload == b"12"


def client_frame(opcode: int, payload: bytes) -> Any:
    from websocket_client import Frame

    return Frame(opcode, payload)


# ---- protocol errors: (id, bytes, close code, RFC 6455 section)

VIOLATIONS: list[tuple[str, bytes, int, str]] = [
    ("RSV1 without negotiation (aiohttp CVE-2026-59881)", frame(TEXT, b"x", rsv=4), 1002, "5.2"),
    ("RSV2", frame(TEXT, b"x", rsv=2), 1002, "5.2"),
    ("not masked", b"\x81\x01x", 1002, "5.1"),
    ("opcode 3", frame(3), 1002, "5.2"),
    ("long ping", frame(PING, b"x" * 126), 1002, "5.5"),
    ("fragmented ping", frame(PING, fin=False), 1002, "5.5"),
    ("continuation of nothing", frame(0, b"x"), 1002, "5.4"),
    ("message inside a message", frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"), 1002, "5.4"),
    ("length not minimal", b"\x82\xfe\x00\x01\0\0\0\0x", 1002, "5.2"),
    ("64-bit length with top bit (undici CVE-2026-1528)", b"\x82\xff\x80" + b"\0" * 11, 1002, "5.2"),
    ("64-bit length of 2^63-1", b"\x82\xff\x7f" + b"\xff" * 7 + b"\0" * 4, 1009, "7.4.1"),
    ("text that is not UTF-8", frame(TEXT, b"\xff"), 1007, "8.1"),
    ("bad text in an unfinished fragment", frame(TEXT, b"\xf4\x90", fin=False), 1007, "8.1"),
    ("close with one byte", frame(CLOSE, b"\x03"), 1002, "5.5.1"),
    ("close with code 1005", close_frame(1005), 1002, "7.4.1"),
    ("close with code 999", close_frame(999), 1002, "7.4.2"),
    ("close reason not UTF-8", close_frame(1000, b"\xff"), 1007, "8.1"),
]


@pytest.mark.parametrize(
    ("data", "code"), [row[1:3] for row in VIOLATIONS], ids=[row[0] for row in VIOLATIONS]
)
def test_violations_fail_the_connection(host: Callable[..., Hosted], data: bytes, code: int) -> None:
    app = Recorder()
    hosted = host(app)
    for pieces in ([data], [data[:1], data[1:]], [bytes([byte]) for byte in data[:20]] + [data[20:]]):
        app.events.clear()
        with WebSocketClient(hosted.port) as client:
            client.open()
            client.send(frame(TEXT, b"ok"))
            assert client.frame().payload == b"ok"
            for piece in pieces:
                if piece:
                    client.send(piece)
            closing = client.frame()
            assert closing.close_code == code
            assert closing.payload[2:]  # says why
            assert client.at_end()
        assert app.disconnect()["code"] == code
    assert hosted.errors == []
    assert hosted.server.protocol_errors == 3


# ---- limits


def test_limits_ws_message(host: Callable[..., Hosted]) -> None:
    # daphne CVE-2026-44545, Bandit CVE-2026-42786: the limit counts all fragments
    hosted = host(Recorder(), limits=Limits(max_ws_message_bytes=1000))
    for parts in ([1000], [400, 600], [1001], [999, 2], [500, 0, 501]):
        with WebSocketClient(hosted.port) as client:
            client.open()
            for index, size in enumerate(parts):
                client.send(frame(BINARY if index == 0 else 0, b"x" * size, fin=index == len(parts) - 1))
            answer = client.frame()
            if sum(parts) <= 1000:
                assert len(answer.payload) == 1000
            else:
                assert answer.close_code == 1009
                assert b"max_ws_message_bytes" in answer.payload


def test_limits_ws_fragments(host: Callable[..., Hosted]) -> None:
    with WebSocketClient(host(Recorder()).port) as client:
        client.open()
        client.send(frame(TEXT, fin=False) + frame(0, fin=False) * 62 + frame(0))
        assert client.frame().opcode == TEXT
        client.send(frame(TEXT, fin=False) + frame(0, fin=False) * 64)
        closing = client.frame()
        assert closing.close_code == 1008
        assert b"max_ws_fragments" in closing.payload


def test_incomplete_frames_and_empty_fragments_cost_bounded_memory(host: Callable[..., Hosted]) -> None:
    # aiohttp CVE-2026-54274 and PR 13350, ws CVE-2026-48779
    hosted = host(Recorder(), limits=Limits(max_ws_fragments=10**9))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    empty = frame(0, fin=False, key=b"\0\0\0\0") * 10_000
    with WebSocketClient(hosted.port, 30) as client:
        client.open()
        client.send(frame(TEXT, fin=False))
        for _ in range(100):
            client.send(empty)
        client.send(frame(0, b"end"))
        assert client.frame().payload == b"end"
    clients = []
    for _ in range(20):
        client = WebSocketClient(hosted.port)
        client.open()
        client.send(b"\x82\xff" + (1 << 20).to_bytes(8, "big") + b"\0\0\0\0" + b"x")  # and nothing more
        clients.append(client)
    time.sleep(0.2)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    for client in clients:
        client.sock.close()
    assert grown < 16 * 1024, f"{grown} KiB"


def test_limits_ws_inflate_ratio(host: Callable[..., Hosted]) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = (squeeze.compress(bytes(8 << 20)) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]
    for limits in (Limits(), Limits(max_ws_message_bytes=64 << 20)):
        with WebSocketClient(host(Recorder(), limits=limits).port) as client:
            client.open(Sec_WebSocket_Extensions="permessage-deflate")
            client.send(frame(BINARY, bomb, rsv=4))
            closing = client.frame()
            assert closing.close_code == 1009
            wanted = b"max_ws_message_bytes" if limits == Limits() else b"max_ws_inflate_ratio"
            assert wanted in closing.payload


def test_limits_ws_queue_pauses_reading(host: Callable[..., Hosted]) -> None:
    gate = asyncio.Event()
    taken: list[str] = []

    @accepting
    async def app(receive: Any, send: Any) -> None:
        await gate.wait()
        while (event := await receive())["type"] == "websocket.receive":
            taken.append(event["text"])

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        client.open()
        client.sock.settimeout(0.5)
        big, count = frame(TEXT, b"x" * 60_000), 0
        with pytest.raises(TimeoutError):  # somewhere the kernel's buffers are full
            for _ in range(1000):
                client.send(big)
                count += 1
        assert count < 500
        hosted.loop.call_soon_threadsafe(gate.set)
        wait_for(lambda: len(taken) >= count)
    wait_for(lambda: hosted.server.connections == 0)


def test_send_waits_for_a_slow_reader(host: Callable[..., Hosted]) -> None:
    sent: list[int] = []

    @accepting
    async def app(receive: Any, send: Any) -> None:
        for number in range(300):
            await send({"type": "websocket.send", "bytes": bytes(50_000)})
            sent.append(number)

    with WebSocketClient(host(app).port) as client:
        client.open()
        time.sleep(0.4)
        stuck = len(sent)
        assert stuck < 250
        for _ in range(300):
            assert len(client.frame().payload) == 50_000
        assert client.frame().close_code == 1000
        assert len(sent) == 300


def test_limits_slow_reader_of_a_websocket_is_cut_off(host: Callable[..., Hosted]) -> None:
    raised: list[BaseException] = []

    @accepting
    async def app(receive: Any, send: Any) -> None:
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(100_000)})
        except OSError as error:
            raised.append(error)

    hosted = host(app, limits=Limits(write_stall_ms=300))
    with WebSocketClient(hosted.port) as client:
        client.open()
        wait_for(lambda: raised)
        assert type(raised[0]) is WebSocketDisconnected
        assert hosted.server.timeouts == 1


def test_pings_of_a_client_that_does_not_read_cost_one_pong(host: Callable[..., Hosted]) -> None:
    blocked = asyncio.Event()

    @accepting
    async def app(receive: Any, send: Any) -> None:
        await send({"type": "websocket.send", "bytes": bytes(8 << 20)})
        await blocked.wait()

    hosted = host(app)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with WebSocketClient(hosted.port) as client:
        client.open()
        for _ in range(200):
            client.send(frame(PING, b"x" * 125, key=b"\0\0\0\0") * 1000)
        client.send(frame(PING, b"last"))
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 30 * 1024, f"{grown} KiB"
        assert len(client.frame().payload) == 8 << 20
        assert client.frame() == client_frame(PONG, b"last")
        hosted.loop.call_soon_threadsafe(blocked.set)


# ---- pings of the server


def test_limits_ws_ping(host: Callable[..., Hosted]) -> None:
    app = Recorder()
    hosted = host(app, limits=Limits(ws_ping_interval_ms=50, ws_ping_timeout_ms=150))
    with WebSocketClient(hosted.port) as client:
        client.open()
        for _ in range(3):
            ping = client.frame()
            assert ping.opcode == PING
            client.send(frame(PONG, ping.payload))
        assert client.frame().opcode == PING
        client.send(frame(PONG, b"something else"))
        closing = client.frame()
        assert (closing.close_code, closing.payload[2:]) == (1011, b"keepalive ping timeout")
        assert client.at_end()
    assert app.disconnect()["code"] == 1011


def test_limits_ws_close(host: Callable[..., Hosted]) -> None:
    events: list[Any] = []

    @accepting
    async def app(receive: Any, send: Any) -> None:
        await send({"type": "websocket.close"})
        events.append(await receive())

    hosted = host(app, limits=Limits(ws_close_timeout_ms=100))
    with WebSocketClient(hosted.port) as client:
        client.open()
        assert client.frame().close_code == 1000  # and it is not answered
        wait_for(lambda: hosted.server.connections == 0)
    assert events == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


# ---- the application's side of the protocol


def test_close_before_accept_is_403(host: Callable[..., Hosted]) -> None:
    events: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4000})
        events.append(await receive())
        with pytest.raises(RuntimeError, match="after sending 'websocket.close'"):
            await send({"type": "websocket.accept"})

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        answer = client.open()
        assert (answer.status, answer.body) == (403, b"")
        assert client.at_end()
    assert wait_for(lambda: events)[0]["code"] == 1006
    assert hosted.errors == []


def test_denial_response(host: Callable[..., Hosted]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert scope["extensions"] == {"websocket.http.response": {}}
        headers = [(b"content-type", b"text/plain"), (b"x-why", b"no")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        if scope["path"] == "/whole":
            await send({"type": "websocket.http.response.body", "body": b"denied"})
        else:
            await send({"type": "websocket.http.response.body", "body": b"den", "more_body": True})
            await send({"type": "websocket.http.response.body", "body": b"ied"})
        with pytest.raises(RuntimeError):
            await send({"type": "websocket.http.response.body", "body": b"more"})

    hosted = host(app)
    for path in ("/whole", "/pieces"):
        with WebSocketClient(hosted.port) as client:
            answer = client.open(path)
            assert (answer.status, answer.body, answer.headers["x-why"]) == (401, b"denied", "no")
            assert client.at_end()
    assert hosted.errors == []


def test_an_exception_closes_with_1011(host: Callable[..., Hosted]) -> None:
    @accepting
    async def app(receive: Any, send: Any) -> None:
        await receive()
        raise ZeroDivisionError("oops")

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        client.open()
        client.send(frame(TEXT, b"x"))
        closing = client.frame()
        assert closing.close_code == 1011
        assert b"oops" not in closing.payload
    assert [type(error) for error in hosted.errors] == [ZeroDivisionError]


def test_an_exception_before_accept_is_500(host: Callable[..., Hosted]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        assert client.open().status == 500
        assert client.at_end()
    assert [type(error) for error in hosted.errors] == [ZeroDivisionError]


def test_an_application_that_returns_without_a_word_is_500(host: Callable[..., Hosted]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        assert client.open().status == 500
    assert "without sending handshake" in str(hosted.errors[0])


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"type": "websocket.send", "text": 1}, TypeError),
        ({"type": "websocket.send", "bytes": "text"}, TypeError),
        ({"type": "websocket.send"}, TypeError),
        ({"type": "websocket.send", "text": "\ud800"}, UnicodeEncodeError),
        ({"type": "websocket.accept"}, RuntimeError),
        ({"type": "websocket.close", "code": 1006}, ValueError),
        ({"type": "websocket.close", "code": "x"}, TypeError),
        ({"type": "websocket.close", "reason": b"x"}, TypeError),
        ({"type": "http.response.start", "status": 200}, RuntimeError),
        ({"type": 1}, RuntimeError),
        ({}, KeyError),
        ([], TypeError),
    ],
)
def test_wrong_messages_raise_in_the_application(
    host: Callable[..., Hosted], message: Any, error: Any
) -> None:
    # Robyn #1234: the process goes on, and so does the connection
    @accepting
    async def app(receive: Any, send: Any) -> None:
        with pytest.raises(error):
            await send(message)
        await send({"type": "websocket.send", "text": "fine"})

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        client.open()
        assert client.frame().payload == b"fine"
    assert hosted.errors == []


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.accept", "subprotocol": "a b"},
        {"type": "websocket.accept", "subprotocol": b"a"},
        {"type": "websocket.accept", "headers": [(b"x", b"a\r\nb: c")]},
        {"type": "websocket.accept", "headers": [(b"sec-websocket-accept", b"x")]},
        {"type": "websocket.accept", "headers": [("x", "y")]},
        {"type": "websocket.send", "text": "early"},
    ],
)
def test_wrong_accepts_raise(host: Callable[..., Hosted], message: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with pytest.raises((ValueError, TypeError, RuntimeError)):
            await send(message)
        await send({"type": "websocket.accept"})

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        assert client.open().status == 101
    assert hosted.errors == []


def test_bytes_like_payloads(host: Callable[..., Hosted]) -> None:
    @accepting
    async def app(receive: Any, send: Any) -> None:
        await send({"type": "websocket.send", "bytes": bytearray(b"one")})
        await send({"type": "websocket.send", "bytes": memoryview(b"two"), "text": None})
        await send({"type": "websocket.send", "bytes": None, "text": "three"})

    with WebSocketClient(host(app).port) as client:
        client.open()
        assert [client.frame().payload for _ in range(3)] == [b"one", b"two", b"three"]


def test_sending_after_the_client_has_left(host: Callable[..., Hosted]) -> None:
    raised: list[BaseException] = []

    @accepting
    async def app(receive: Any, send: Any) -> None:
        await asyncio.sleep(0.2)
        for message in ({"type": "websocket.send", "text": "x"}, {"type": "websocket.close"}):
            try:
                await send(message)
            except OSError as error:
                raised.append(error)
        assert (await receive())["code"] == 1006
        try:
            await send({"type": "websocket.send", "text": "x"})
        except RuntimeError as error:
            raised.append(error)

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        client.open()
    wait_for(lambda: len(raised) == 3)
    assert [type(error) for error in raised] == [WebSocketDisconnected, WebSocketDisconnected, RuntimeError]
    assert hosted.errors == []


def test_an_escaping_disconnect_is_not_an_error(host: Callable[..., Hosted]) -> None:
    left = asyncio.Event()

    @accepting
    async def app(receive: Any, send: Any) -> None:
        await asyncio.sleep(0.1)
        left.set()
        await send({"type": "websocket.send", "text": "x"})

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        client.open()
    wait_for(left.is_set)
    time.sleep(0.05)
    assert hosted.errors == []


def test_a_client_that_leaves_before_accept(host: Callable[..., Hosted]) -> None:
    events: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        events.append(await receive())
        with pytest.raises(WebSocketDisconnected):
            await send({"type": "websocket.accept"})
        events.append("raised")

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        from websocket_client import handshake

        client.send(handshake())
        time.sleep(0.1)
    wait_for(lambda: len(events) == 2)
    assert events[0]["code"] == 1006
    assert hosted.errors == []


def test_a_cancelled_receive_loses_nothing(host: Callable[..., Hosted]) -> None:
    @accepting
    async def app(receive: Any, send: Any) -> None:
        lost = 0
        for number in range(50):
            while True:
                try:
                    async with asyncio.timeout(0.001):
                        event = await receive()
                    break
                except TimeoutError:
                    lost += 1
            assert event == {"type": "websocket.receive", "text": str(number)}
        await send({"type": "websocket.send", "text": "all"})

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        client.open()
        for number in range(50):
            client.send(frame(TEXT, str(number).encode()))
            time.sleep(0.001)
        assert client.frame().payload == b"all"
    assert hosted.errors == []


def test_receive_may_be_a_task_and_may_wait_twice(host: Callable[..., Hosted]) -> None:
    @accepting
    async def app(receive: Any, send: Any) -> None:
        first, second = asyncio.create_task(receive()), asyncio.ensure_future(receive())
        third = asyncio.create_task(receive())
        await asyncio.sleep(0.01)
        third.cancel()
        texts = sorted(event["text"] for event in await asyncio.gather(first, second))
        assert texts == ["a", "b"]
        assert third.cancelled()
        await send({"type": "websocket.send", "text": "both"})

    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        client.open()
        time.sleep(0.05)
        client.send(frame(TEXT, b"a") + frame(TEXT, b"b"))
        assert client.frame().payload == b"both"
    assert hosted.errors == []


# ---- compression


@pytest.mark.parametrize("window", [0, 9, 15])
def test_compressed_messages_round_trip(host: Callable[..., Hosted], window: int) -> None:
    hosted = host(Recorder(), server_options={"ws_deflate_window": window})
    with WebSocketClient(hosted.port) as client:
        extension = client.open(
            Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits"
        ).headers["sec-websocket-extensions"]
        keep_client = "client_no_context_takeover" not in extension
        keep_server = "server_no_context_takeover" not in extension
        bits = -(window or 15)
        squeeze = zlib.compressobj(6, zlib.DEFLATED, bits)
        expand = zlib.decompressobj(bits)
        for size in (0, 10, 500, 500, 20_000, 300):
            text = (b"%d," % size) * (size // 3)
            packed = (squeeze.compress(text) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4] or b"\0"
            half = len(packed) // 2
            client.send(
                frame(TEXT, packed[:half], fin=False, rsv=4) + frame(PING, b"p") + frame(0, packed[half:])
            )
            assert client.frame().opcode == PONG
            answer = client.frame()
            body = answer.payload
            if answer.rsv:
                body = expand.decompress(body + b"\0\0\xff\xff")
                assert len(answer.payload) < len(body)
                if not keep_server:
                    expand = zlib.decompressobj(bits)
            assert body == text
            if not keep_client:
                squeeze = zlib.compressobj(6, zlib.DEFLATED, bits)


@pytest.mark.parametrize(
    "payload", [b"\xff\xff\xff", os.urandom(100), b"\xf2\x48\xcd"], ids=["invalid", "random", "cut"]
)
def test_what_does_not_inflate_is_1007(host: Callable[..., Hosted], payload: bytes) -> None:
    with WebSocketClient(host(Recorder()).port) as client:
        client.open(Sec_WebSocket_Extensions="permessage-deflate")
        client.send(frame(BINARY, payload, rsv=4))
        assert client.frame().close_code == 1007


# ---- the server's end


def test_drain_closes_with_1012(host: Callable[..., Hosted]) -> None:
    app = Recorder()
    hosted = host(app)
    with WebSocketClient(hosted.port) as client:
        client.open()
        drained = asyncio.run_coroutine_threadsafe(hosted.server.drain(5), hosted.loop)
        assert client.frame().close_code == 1012
        assert app.disconnect()["code"] == 1012
        client.send(close_frame(1012))
        assert client.at_end()
    drained.result(2)


def test_drain_does_not_wait_for_who_does_not_answer(host: Callable[..., Hosted]) -> None:
    hosted = host(Recorder())
    with WebSocketClient(hosted.port) as client:
        client.open()
        begun = time.monotonic()
        asyncio.run_coroutine_threadsafe(hosted.server.drain(0.3), hosted.loop).result(3)
        assert time.monotonic() - begun < 2


def test_nothing_is_left_behind(host: Callable[..., Hosted]) -> None:
    import gc
    import weakref

    app = Recorder()
    marks: list[Any] = []

    class Mark:
        pass

    async def marked(scope: Any, receive: Any, send: Any) -> None:
        mark = Mark()
        marks.append(weakref.ref(mark))
        await app(scope, receive, send)
        del mark

    hosted = host(marked)
    for index in range(50):
        with WebSocketClient(hosted.port) as client:
            client.open()
            client.send(frame(TEXT, b"x"))
            client.frame()
            if index % 2:
                client.send(close_frame())
                client.frame()
    wait_for(lambda: hosted.server.connections == 0)
    wait_for(lambda: not gc.collect() and all(mark() is None for mark in marks))
    assert hosted.errors == []
