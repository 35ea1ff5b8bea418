"""The wire: keep-alive, pipelining, framing, limits, malformed input, drain."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from fasterapi_http import Limits, Server

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def hello():
    return {"message": "hello"}


def echo(body):
    return body


async def sleeper():
    await asyncio.sleep(0.05)
    return {"slept": True}


def routes(server: Server) -> None:
    from fasterapi_http import ResponseSpec

    server.add_route(["GET", "HEAD"], "/", hello, mode="async")
    server.add_route(
        ["POST"],
        "/echo",
        echo,
        mode="inline",
        args=[("body_bytes", "body", None, True, None)],
        response=ResponseSpec(media_type="application/octet-stream", encode="bytes"),
    )
    server.add_route(["GET"], "/sleep", sleeper, mode="async")


def test_keep_alive(serve):
    server = serve(routes)
    with server.connect() as client:
        for _ in range(3):
            answer = client.request("GET", "/")
            assert (answer.status, answer.json()) == (200, {"message": "hello"})
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["date"].endswith(" GMT")
            assert "connection" not in answer.headers
    assert server.server.requests == 3


def test_pipelined_answers_come_in_order_even_when_one_suspends(serve):
    server = serve(routes)
    with server.connect() as client:
        client.send(GET + b"GET /sleep HTTP/1.1\r\nHost: x\r\n\r\n" + GET * 30)
        bodies = [client.read().json() for _ in range(32)]
    assert bodies == [{"message": "hello"}, {"slept": True}] + [{"message": "hello"}] * 30


def test_requests_split_at_every_byte(serve):
    server = serve(routes)
    request = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd" + GET
    with server.connect() as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(1, len(request)):
            client.send(request[:at])
            time.sleep(0.0005)
            client.send(request[at:])
            assert client.read().body == b"abcd"
            assert client.read().status == 200


def test_chunked_body(serve):
    server = serve(routes)
    with server.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"3\r\nab", b"c\r\n", b"2;a=b\r\nde\r\n0\r\nX: y\r\n", b"\r\n"):
            client.send(piece)
            time.sleep(0.01)
        assert client.read().body == b"abcde"
        assert client.request("GET", "/").status == 200


def test_large_body_and_answer(serve):
    server = serve(routes)
    body = bytes(range(256)) * 4096 * 8  # 8 MiB
    with server.connect(20) as client:
        import threading

        sender = threading.Thread(
            target=client.send,
            args=(f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body,),
        )
        sender.start()
        assert client.read().body == body
        sender.join()


def test_head_and_options_star(serve):
    server = serve(routes)
    with server.connect() as client:
        answer = client.request("HEAD", "/")
        assert (answer.status, answer.headers["content-length"]) == (200, "19")
        assert client.request("OPTIONS", "*").status == 200
        assert client.request("GET", "/").json() == {"message": "hello"}


def test_http_1_0(serve):
    server = serve(routes)
    with server.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert client.read().headers["connection"] == "keep-alive"
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert client.read().headers["connection"] == "close"
        assert client.at_end()


def test_connection_close(serve):
    server = serve(routes)
    with server.connect() as client:
        answer = client.request("GET", "/", headers="Connection: close\r\n")
        assert answer.headers["connection"] == "close"
        assert client.at_end()


def test_absolute_form(serve):
    server = serve(routes)
    with server.connect() as client:
        client.send(b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read().status == 200


def test_half_close_still_answers(serve):
    server = serve(routes)
    with server.connect() as client:
        client.send(GET)
        client.sock.shutdown(socket.SHUT_WR)
        assert client.read().status == 200
        assert client.at_end()


def test_expect_continue(serve):
    server = serve(routes)
    with server.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        assert client.read().status == 100
        client.send(b"abc")
        assert client.read().body == b"abc"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcXX", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 120 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 40000 + b"\r\n\r\n", 431),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
    ],
)
def test_refused_requests_are_answered_and_the_connection_ends(serve, request_bytes, status):
    server = serve(routes)
    with server.connect() as client:
        client.send(GET + request_bytes + GET)
        assert client.read().status == 200
        answer = client.read()
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        assert answer.json()["code"].startswith("http.")
        assert client.at_end()
    assert server.get("/").status == 200


def test_not_found_and_wrong_method(serve):
    server = serve(routes)
    with server.connect() as client:
        assert client.request("GET", "/nope").json() == {"detail": "Not Found"}
        answer = client.request("DELETE", "/echo")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_redirect_slashes(serve):
    server = serve(routes)
    with server.connect() as client:
        answer = client.request("POST", "/echo/?a=1")
        assert (answer.status, answer.headers["location"]) == (307, "http://test/echo?a=1")


def test_slow_header_times_out(serve):
    server = serve(routes, limits=Limits(header_timeout_ms=200))
    with server.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHo")
        began = time.monotonic()
        assert client.read().status == 408
        assert 0.1 < time.monotonic() - began < 2
        assert client.at_end()


def test_slow_body_times_out(serve):
    server = serve(routes, limits=Limits(body_grace_ms=200))
    with server.connect() as client:
        client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc")
        assert client.read().status == 408
        assert client.at_end()


def test_idle_connection_is_closed(serve):
    server = serve(routes, limits=Limits(keep_alive_ms=200))
    with server.connect() as client:
        assert client.request("GET", "/").status == 200
        assert client.at_end()


def test_connection_limit(serve):
    server = serve(routes, limits=Limits(max_connections=2))
    with server.connect() as one, server.connect() as two:
        assert one.request("GET", "/").status == two.request("GET", "/").status == 200
        with server.connect() as three:
            assert three.read().status == 503
    assert server.server.connections_refused == 1


def test_client_that_does_not_read_is_held_back_and_cut_off(serve):
    served = 0

    async def big():
        nonlocal served
        served += 1
        return "x" * 500_000

    server = serve(
        lambda s: s.add_route(["GET"], "/big", big, mode="async"), limits=Limits(write_stall_ms=400)
    )
    with server.connect() as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
        time.sleep(0.3)
        assert served < 40
        deadline = time.monotonic() + 5
        while server.server.connections and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.server.connections == 0


def test_drain_finishes_what_runs(serve):
    server = serve(routes)
    with server.connect() as idle, server.connect() as busy:
        assert idle.request("GET", "/").status == 200
        busy.send(b"GET /sleep HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.02)
        server.stop()
        answer = busy.read()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert idle.at_end() and busy.at_end()


def test_unix_socket(serve, tmp_path):
    server = serve(routes)
    path = str(tmp_path / "http.sock")
    server.run(lambda: server.server.start(uds=path))
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(GET)
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


def test_port_in_use_is_a_clear_error(serve):
    server = serve(routes)
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        server.run(lambda: Server().start("127.0.0.1", server.port))


def test_static_with_etag(serve):
    server = serve(
        lambda s: s.add_static(["GET"], "/s", 200, "text/css", b"body{}", {"cache-control": "max-age=60"})
    )
    with server.connect() as client:
        answer = client.request("GET", "/s")
        assert (answer.body, answer.headers["content-type"]) == (b"body{}", "text/css; charset=utf-8")
        assert answer.headers["cache-control"] == "max-age=60"
        again = client.request("GET", "/s", headers=f"If-None-Match: {answer.headers['etag']}\r\n")
        assert (again.status, again.body) == (304, b"")
        assert client.request("GET", "/s").status == 200


def test_access_log(serve, caplog):
    caplog.set_level("INFO", logger="fasterapi.access")
    server = serve(routes, access_log=True)
    assert server.get("/?x=1").status == 200
    assert server.get("/sleep").status == 200
    lines = [record.getMessage() for record in caplog.records if record.name == "fasterapi.access"]
    assert '"GET /?x=1 HTTP/1.1" 200 19 ' in lines[0] and lines[0].startswith("127.0.0.1:")
    assert '"GET /sleep HTTP/1.1" 200 ' in lines[1]


def test_churn_leaves_nothing(serve):
    server = serve(routes)
    for i in range(300):
        client = server.connect()
        if i % 3 == 0:
            client.send(GET)
        elif i % 3 == 1:
            client.send(b"GET /sleep HTTP/1.1\r\nHost: x\r\n\r\n")
        else:
            client.send(b"GET / HT")
        client.sock.close()
    deadline = time.monotonic() + 5
    while server.server.connections and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.server.connections == 0
    assert server.get("/").status == 200
