"""What proxies say about the client: X-Forwarded-*, Forwarded, the PROXY protocol; believed only from trusted peers."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi_support import Program

APP = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError
    host = dict(scope["headers"]).get(b"host", b"-").decode()
    text = f"{scope['client'][0]} {scope['client'][1]} {scope['scheme']} {scope['server'][0]}:{scope['server'][1]} {host}"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})
"""
RUNNING = "fasterapi-http running on"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


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


def exchange(port: int, data: bytes, *, slowly: bool = False) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        pieces = [data[i : i + 1] for i in range(len(data))] if slowly else [data]
        for piece in pieces:
            sock.sendall(piece)
            if slowly:
                time.sleep(0.001)
        sock.settimeout(5)
        answer = b""
        try:
            while piece := sock.recv(65536):
                answer += piece
        except ConnectionResetError:
            pass
        return answer


def ask(port: int, fields: str, before: bytes = b"", **options: Any) -> str:
    request = f"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{fields}\r\n".encode()
    answer = exchange(port, before + request, **options)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return answer.split(b"\r\n\r\n", 1)[1].decode()


def test_forwarded_headers_are_read_right_to_left_from_listed_proxies(start: Any) -> None:
    """django-bolt #302."""
    program = start("--forwarded-allow-ips", "127.0.0.1,10.0.0.0/8,2001:db8:ffff::/48")

    def client(fields: str) -> str:
        return ask(program.port, fields).split()[0]

    assert client("X-Forwarded-For: 203.0.113.9\r\n") == "203.0.113.9"
    assert client("X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.1.2.3\r\n") == "203.0.113.9"
    assert client("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 203.0.113.9\r\n") == "203.0.113.9"
    assert client("X-Forwarded-For: 203.0.113.9, 10.1.2.3\r\nX-Forwarded-For: 10.9.9.9\r\n") == "203.0.113.9"
    assert client("X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n") == "10.0.0.1"  # all trusted: the farthest
    assert client("X-Forwarded-For: 2001:db8::7, [2001:db8:ffff::1]:99\r\n") == "2001:db8::7"
    assert client("X-Forwarded-For: 203.0.113.9:4711\r\n") == "203.0.113.9"
    assert (
        client("X-Forwarded-For: 1.1.1.1, unknown, 10.0.0.1\r\n") == "10.0.0.1"
    )  # not past what is no address
    assert client("X-Forwarded-For: unknown\r\n") == "127.0.0.1"
    assert client("X-Forwarded-For: 1.2.3.4.5\r\n") == "127.0.0.1"
    assert client("X-Forwarded-For: \r\n") == "127.0.0.1"
    assert client("X_Forwarded_For: 203.0.113.9\r\n") == "127.0.0.1"  # another name
    assert client("Forwarded: for=203.0.113.9\r\n") == "127.0.0.1"  # the other style is the client's own
    program.wait_for("203.0.113.9:4711 - ")  # the access log has it


def test_schemes_go_with_their_hop(start: Any) -> None:
    program = start("--forwarded-allow-ips", "127.0.0.1,10.0.0.0/8")

    def scheme(fields: str) -> str:
        return ask(program.port, fields).split()[2]

    assert scheme("X-Forwarded-Proto: https\r\n") == "https"
    assert scheme("X-Forwarded-Proto: WSS\r\n") == "https"
    assert scheme("X-Forwarded-Proto: gopher\r\n") == "http"
    assert (
        scheme("X-Forwarded-For: 1.1.1.1, 203.0.113.9, 10.0.0.1\r\nX-Forwarded-Proto: x, https, http\r\n")
        == "https"
    )
    assert scheme("X-Forwarded-Proto: https, http\r\n") == "http"


def test_nobody_else_is_believed(start: Any) -> None:
    program = start("--forwarded-allow-ips", "10.0.0.0/8")
    fields = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n"
    assert ask(program.port, fields).split()[0::2][:2] == ["127.0.0.1", "http"]
    off = start("--no-proxy-headers", "--forwarded-allow-ips", "*")
    assert ask(off.port, fields).split()[0] == "127.0.0.1"


def test_everybody_may_be_trusted(start: Any) -> None:
    program = start("--forwarded-allow-ips", "*")
    assert ask(program.port, "X-Forwarded-For: 203.0.113.9, 8.8.8.8\r\n").split()[0] == "203.0.113.9"


def test_the_host_is_believed_only_when_asked_for(start: Any) -> None:
    fields = "X-Forwarded-Host: shop.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 8443\r\n"
    program = start()
    assert ask(program.port, fields).split()[3:] == [f"127.0.0.1:{program.port}", "h"]
    program = start("--forwarded-host")
    assert ask(program.port, fields).split()[3:] == ["shop.example:8443", "shop.example:8443"]
    assert ask(program.port, "X-Forwarded-Host: a.example:99\r\n").split()[3:] == [
        "a.example:99",
        "a.example:99",
    ]
    assert ask(program.port, "X-Forwarded-Host: a/b\r\n").split()[4] == "h"


def test_the_standard_field(start: Any) -> None:
    """RFC 7239."""
    program = start(
        "--forwarded-style", "forwarded", "--forwarded-host", "--forwarded-allow-ips", "127.0.0.1,10.0.0.1"
    )
    text = ask(
        program.port,
        'Forwarded: for=1.1.1.1, For="[2001:db8::1]:4711";proto=https;host="a.example", for=10.0.0.1;proto=http\r\n',
    )
    assert text.split() == ["2001:db8::1", "4711", "https", "a.example:443", "a.example"]
    assert ask(program.port, "X-Forwarded-For: 203.0.113.9\r\n").split()[0] == "127.0.0.1"
    assert ask(program.port, "Forwarded: for=_hidden;proto=https\r\n").split()[0] == "127.0.0.1"
    assert (
        ask(program.port, 'Forwarded: for="1.2.3.4, 10.0.0.1\r\n').split()[0] == "127.0.0.1"
    )  # no end of quotes


# ---- PROXY protocol


def v2(
    command: int = 1,
    family: int = 0x11,
    body: bytes | None = None,
    version: int = 2,
    length: int | None = None,
) -> bytes:
    if body is None:
        body = socket.inet_aton("203.0.113.9") + socket.inet_aton("192.0.2.1") + struct.pack("!HH", 4711, 443)
    size = len(body) if length is None else length
    return SIGNATURE + bytes([version << 4 | command, family]) + struct.pack("!H", size) + body


V4 = v2()
V6 = v2(
    family=0x21,
    body=socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::2")
    + struct.pack("!HH", 1, 2),
)
TLVS = v2(body=V4[16:] + b"\x03\0\x04abcd\x04\0\x00")


@pytest.mark.parametrize(
    "header, client",
    [
        (b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n", ["203.0.113.9", "4711"]),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", ["2001:db8::1", "1"]),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN whatever it says\r\n", None),
        (V4, ["203.0.113.9", "4711"]),
        (V6, ["2001:db8::1", "1"]),
        (TLVS, ["203.0.113.9", "4711"]),
        (v2(command=0, family=0, body=b""), None),
        (v2(command=1, family=0, body=b""), None),
        (v2(family=0x31, body=bytes(216)), None),
    ],
)
@pytest.mark.parametrize("slowly", [False, True])
def test_proxy_protocol(start: Any, header: bytes, client: list[str] | None, slowly: bool) -> None:
    program = start("--proxy-protocol", "--forwarded-allow-ips", "127.0.0.1")
    words = ask(program.port, "X-Forwarded-For: 6.6.6.6\r\n", header, slowly=slowly).split()
    if client is None:
        assert words[0] == "6.6.6.6"  # the connection speaks for itself, and its peer is trusted
    else:
        assert words[:2] == client  # who is not a trusted proxy
        assert words[3] in ("192.0.2.1:443", "2001:db8::2:2")


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 4711\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443 5\r\n",
        b"PROXY TCP4 2001:db8::1 192.0.2.1 4711 443\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 04711 443\r\n",
        b"PROXY TCP4 203.0.113.9 192.0.2.1 70000 443\r\n",
        b"PROXY TCP5 203.0.113.9 192.0.2.1 1 2\r\n",
        b"PROXY  TCP4 203.0.113.9 192.0.2.1 1 2\r\n",
        b"PROXY TCP4 " + b"1" * 120,
        v2(version=1),
        v2(command=2),
        v2(family=0x12),
        v2(body=b"short"),
        v2(length=5000, body=b""),
    ],
)
def test_what_is_no_proxy_header_ends_the_connection(start: Any, header: bytes) -> None:
    program = start("--proxy-protocol")
    assert exchange(program.port, header + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n") == b""


def test_a_proxy_header_has_to_arrive_in_time(start: Any) -> None:
    program = start("--proxy-protocol", "--limit-header-timeout-ms", "300")
    begun = time.monotonic()
    assert exchange(program.port, b"PROXY TCP4 203") == b""
    assert 0.2 < time.monotonic() - begun < 3


def test_peers_that_are_not_trusted_send_no_proxy_header(start: Any) -> None:
    program = start("--proxy-protocol", "--forwarded-allow-ips", "10.0.0.1")
    assert ask(program.port, "").split()[0] == "127.0.0.1"
    assert exchange(program.port, V4 + b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").startswith(b"HTTP/1.1 400")
