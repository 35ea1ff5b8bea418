"""The opening handshake (RFC 6455 section 4, RFC 7692 section 7), by table, over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgi_support import Hosted
from websocket_client import ACCEPT, KEY, TEXT, WebSocketClient, frame, handshake


async def echo(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "websocket"
    assert await receive() == {"type": "websocket.connect"}
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


@pytest.fixture(scope="module")
def hosted() -> Iterator[Hosted]:
    one = Hosted(echo, lifespan="off")
    yield one
    assert one.errors == []
    one.stop()


@pytest.fixture
def host() -> Iterator[Callable[..., Hosted]]:
    running: list[Hosted] = []

    def start(app: Callable[..., Any], **options: Any) -> Hosted:
        running.append(Hosted(app, lifespan="off", **options))
        return running[-1]

    yield start
    for one in running:
        one.stop()


# (id, changed fields, status, section)
REQUESTS: list[tuple[str, dict[str, str | None], int, str]] = [
    ("plain", {}, 101, "4.1"),
    ("lower case tokens", {"Upgrade": "WebSocket", "Connection": "upgrade"}, 101, "4.2.1 3, 4"),
    ("Connection is a list", {"Connection": "keep-alive, Upgrade"}, 101, "4.2.1 4"),
    ("Upgrade is a list", {"Upgrade": "h2c, websocket"}, 101, "4.2.1 3"),
    ("version missing", {"Sec-WebSocket-Version": None}, 426, "4.2.2 4"),
    ("version 8", {"Sec-WebSocket-Version": "8"}, 426, "4.4"),
    ("version 13.0", {"Sec-WebSocket-Version": "13.0"}, 426, "4.4"),
    ("key missing", {"Sec-WebSocket-Key": None}, 400, "4.2.1 5"),
    ("key empty", {"Sec-WebSocket-Key": ""}, 400, "4.2.1 5"),
    ("key of 15 bytes", {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2Rl"}, 400, "4.2.1 5"),
    ("key of 17 bytes", {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZmc="}, 400, "4.2.1 5"),
    ("key not base64", {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2R!Zg=="}, 400, "4.2.1 5"),
    ("key with spare bits", {"Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZh=="}, 400, "RFC 4648 3.5"),
    ("key is not UTF-8", {"Sec-WebSocket-Key": "\xff" * 24}, 400, "4.2.1 5"),
    ("subprotocols", {"Sec-WebSocket-Protocol": "chat, superchat"}, 101, "4.2.1 8"),
    ("subprotocol not a token", {"Sec-WebSocket-Protocol": "cha t"}, 400, "4.1 10"),
    ("subprotocol not ASCII", {"Sec-WebSocket-Protocol": "ch\xe4t"}, 400, "4.1 10"),
    ("subprotocol twice", {"Sec-WebSocket-Protocol": "chat, chat"}, 400, "4.1 10"),
    ("extensions malformed", {"Sec-WebSocket-Extensions": "permessage-deflate; ="}, 400, "9.1"),
    ("extension unknown", {"Sec-WebSocket-Extensions": "x-foo; bar=1"}, 101, "9.1"),
    ("extension value not ASCII", {"Sec-WebSocket-Extensions": "x-foo; bar=\xe9"}, 400, "9.1"),
    ("Origin is anything without cookies", {"Origin": "https://elsewhere.example"}, 101, "10.2"),
    ("any header may be bytes", {"X-Name": "\xff\xfe"}, 101, "RFC 9110 5.5"),
]


@pytest.mark.parametrize(
    ("changes", "status"), [row[1:3] for row in REQUESTS], ids=[row[0] for row in REQUESTS]
)
def test_handshake(hosted: Hosted, changes: dict[str, str | None], status: int) -> None:
    request = handshake(**changes)
    # whole, then cut at a few places and followed by a frame in the same segment
    for cut in (len(request), 1, len(request) // 2, len(request) - 1):
        with WebSocketClient(hosted.port) as client:
            client.send(request[:cut])
            client.send(request[cut:] + frame(TEXT, b"early"))
            answer = client.answer()
            assert answer.status == status
            if status == 101:
                assert answer.headers["sec-websocket-accept"] == ACCEPT
                assert answer.headers["upgrade"] == "websocket"
                assert answer.headers["connection"] == "Upgrade"
                assert client.frame().payload == b"early"
            else:
                assert answer.headers["connection"] == "close"
                assert client.at_end()
            if status == 426:
                assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize(
    "repeated", ["Sec-WebSocket-Key: " + KEY, "Sec-WebSocket-Version: 13"], ids=["key", "version"]
)
def test_fields_that_come_once(hosted: Hosted, repeated: str) -> None:
    with WebSocketClient(hosted.port) as client:
        assert client.open(extra=repeated + "\r\n").status == 400


def test_other_methods_are_refused(hosted: Hosted) -> None:
    with WebSocketClient(hosted.port) as client:
        client.send(handshake().replace(b"GET", b"PUT", 1))
        answer = client.answer()
        assert (answer.status, answer.headers["allow"]) == (405, "GET")
        assert client.at_end()


def test_a_body_is_refused(hosted: Hosted) -> None:
    with WebSocketClient(hosted.port) as client:
        client.send(handshake(extra="Content-Length: 5\r\n") + b"hello")
        assert client.answer().status == 400
        assert client.at_end()


def test_bytes_after_a_failed_upgrade_are_never_a_request(hosted: Hosted) -> None:
    # aiohttp GHSA-mfx4-hv73-q22v
    with WebSocketClient(hosted.port) as client:
        client.send(handshake(Sec_WebSocket_Key="x") + b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n")
        assert client.answer().status == 400
        assert client.at_end()


def test_bytes_after_an_upgrade_that_nobody_takes_are_never_a_request(
    host: Callable[..., Hosted],
) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"plain"})

    with WebSocketClient(host(app, websockets=False).port) as client:
        client.send(handshake("/first") + b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n")
        answer = client.answer()
        assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"plain", "close")
        assert client.at_end()
    assert seen == ["/first"]


def test_the_scope(host: Callable[..., Hosted]) -> None:
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await receive()
        await send(
            {"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x-a", b"1"), (b"x-a", b"2")]}
        )

    with WebSocketClient(host(app).port) as client:
        answer = client.open("/caf%C3%A9?q=1", Sec_WebSocket_Protocol="a, b", X_Name="v\xe9")
        assert answer.headers["sec-websocket-protocol"] == "b"
        assert b"x-a: 1\r\nx-a: 2" in answer.raw_head
    (scope,) = scopes
    assert scope["type"] == "websocket"
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.4"}
    assert scope["scheme"] == "ws"
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/café", b"/caf%C3%A9", b"q=1")
    assert scope["subprotocols"] == ["a", "b"]
    assert scope["extensions"] == {"websocket.http.response": {}}
    assert (b"x-name", b"v\xe9") in scope["headers"]
    assert "method" not in scope


def test_forwarded_proto_makes_it_wss(host: Callable[..., Hosted]) -> None:
    schemes: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        schemes.append(scope["scheme"])
        await send({"type": "websocket.close"})

    hosted = host(app, proxy_headers=True, trusted=["127.0.0.1"])
    for proto in ("https", "wss", "http"):
        with WebSocketClient(hosted.port) as client:
            assert client.open(X_Forwarded_Proto=proto).status == 403
    assert schemes == ["wss", "wss", "ws"]


# ---- Origin (CSWSH; mcp CVE-2026-59950)

ORIGINS = [
    ("same host", "http://test", 101),
    ("same host, other case", "HTTP://TEST", 101),
    ("default port", "http://test:80", 101),
    ("https in front of us", "https://test", 101),
    ("other host", "http://evil.example", 403),
    ("suffix trick", "http://test.evil.example", 403),
    ("prefix trick", "http://eviltest", 403),
    ("other port", "http://test:8080", 403),
    ("null", "null", 403),
    ("empty", "", 403),
    ("allowed", "https://app.example", 101),
    ("allowed, other scheme", "http://app.example", 403),
    ("allowed, suffix trick", "https://app.example.evil", 403),
]


@pytest.mark.parametrize(("origin", "status"), [row[1:] for row in ORIGINS], ids=[row[0] for row in ORIGINS])
def test_cookies_need_an_origin_of_this_host(host: Callable[..., Hosted], origin: str, status: int) -> None:
    hosted = host(echo, server_options={"ws_allowed_origins": ["https://app.example"]})
    with WebSocketClient(hosted.port) as client:
        assert client.open(Origin=origin, Cookie="session=1").status == status


def test_origins_without_cookies_and_cookies_without_origin_pass(host: Callable[..., Hosted]) -> None:
    hosted = host(echo)
    for fields in ({"Origin": "http://evil.example"}, {"Cookie": "session=1"}):
        with WebSocketClient(hosted.port) as client:
            assert client.open(**fields).status == 101


def test_any_origin_can_be_allowed(host: Callable[..., Hosted]) -> None:
    hosted = host(echo, server_options={"ws_allowed_origins": ["*"]})
    with WebSocketClient(hosted.port) as client:
        assert client.open(Origin="http://evil.example", Cookie="session=1").status == 101


# ---- permessage-deflate offers: (offer, answer with shared windows, answer with windows of 12 bits)

SHARED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
OFFERS: list[tuple[str, str | None, str | None]] = [
    (
        "permessage-deflate",
        SHARED,
        "permessage-deflate; client_no_context_takeover; server_max_window_bits=12",
    ),
    (
        "permessage-deflate; client_max_window_bits",
        SHARED,
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
    ),
    (
        "permessage-deflate; client_max_window_bits=10; server_max_window_bits=9",
        SHARED + "; server_max_window_bits=9",
        "permessage-deflate; server_max_window_bits=9; client_max_window_bits=10",
    ),
    (
        'permessage-deflate; server_max_window_bits="10"',
        SHARED + "; server_max_window_bits=10",
        "permessage-deflate; client_no_context_takeover; server_max_window_bits=10",
    ),
    (
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        SHARED,
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
    ),
    (
        "PERMESSAGE-DEFLATE; Server_Max_Window_Bits=8",
        SHARED + "; server_max_window_bits=8",
        "permessage-deflate; client_no_context_takeover; server_max_window_bits=8",
    ),
    # what section 7.1 declines: the connection goes on without
    ("permessage-deflate; server_max_window_bits=7", None, None),
    ("permessage-deflate; server_max_window_bits=16", None, None),
    ("permessage-deflate; server_max_window_bits=08", None, None),
    ("permessage-deflate; server_max_window_bits=+9", None, None),
    ("permessage-deflate; server_max_window_bits=999999999999999999999", None, None),
    ("permessage-deflate; server_max_window_bits", None, None),
    ("permessage-deflate; client_max_window_bits=0", None, None),
    ("permessage-deflate; server_no_context_takeover=1", None, None),
    ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None, None),
    ("permessage-deflate; unknown", None, None),
    ("x-webkit-deflate-frame", None, None),
    # the first offer that is acceptable
    (
        "permessage-deflate; unknown, permessage-deflate",
        SHARED,
        "permessage-deflate; client_no_context_takeover; server_max_window_bits=12",
    ),
    (
        "foo, permessage-deflate; server_max_window_bits=11",
        SHARED + "; server_max_window_bits=11",
        "permessage-deflate; client_no_context_takeover; server_max_window_bits=11",
    ),
]


@pytest.mark.parametrize(("offer", "shared", "own"), OFFERS, ids=[row[0] for row in OFFERS])
def test_deflate_negotiation(
    host: Callable[..., Hosted], offer: str, shared: str | None, own: str | None
) -> None:
    for window, wanted in ((0, shared), (12, own)):
        hosted = host(echo, server_options={"ws_deflate_window": window})
        with WebSocketClient(hosted.port) as client:
            answer = client.open(Sec_WebSocket_Extensions=offer)
            assert answer.status == 101
            assert answer.headers.get("sec-websocket-extensions") == wanted


def test_deflate_can_be_turned_off(host: Callable[..., Hosted]) -> None:
    hosted = host(echo, server_options={"ws_per_message_deflate": False})
    with WebSocketClient(hosted.port) as client:
        answer = client.open(Sec_WebSocket_Extensions="permessage-deflate")
        assert "sec-websocket-extensions" not in answer.headers
        client.send(frame(TEXT, b"x", rsv=4))
        assert client.frame().close_code == 1002


@pytest.mark.parametrize("window", [1, 8, 16, -9])
def test_window_sizes_that_do_not_exist(window: int) -> None:
    from fasterapi_http import Server

    with pytest.raises(ValueError, match="ws_deflate_window"):
        Server(ws_deflate_window=window)
