"""HTTPS: certificates, names, client certificates, reload, and clients that do not behave."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_support import Hosted, Program
from fasterapi_http import Certificate, Limits, Request, Response, Server, TlsError, TlsOptions
from fasterapi_http._tls import from_uvicorn
from http_client import Client
from tls_support import Authority

HELLO = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["scheme"].encode()})
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def identity(authority: Authority) -> tuple[str, str]:
    return authority.issue("server")


def options(identity: tuple[str, str], **more: Any) -> TlsOptions:
    return TlsOptions(cert_file=identity[0], key_file=identity[1], **more)


def routes(server: Server) -> None:
    async def url(request: Request) -> str:
        return str(request.url)

    async def echo(request: Request) -> Response:
        return Response(await request.body())

    async def big(request: Request) -> Response:
        return Response(b"x" * 3_000_000)

    from fasterapi_http import ResponseSpec

    text = ResponseSpec(media_type="text/plain", encode="text")
    server.add_route(
        ["GET"], "/url", url, mode="async", args=[("request", None, None, True, None)], response=text
    )
    server.add_route(
        ["GET"], "/url/", url, mode="async", args=[("request", None, None, True, None)], response=text
    )
    server.add_route(["POST"], "/echo", echo, mode="async", args=[("request", None, None, True, None)])
    server.add_route(["GET"], "/big", big, mode="async", args=[("request", None, None, True, None)])


class TlsClient(Client):
    """The raw client of the other tests, over TLS."""

    def __init__(
        self, port: int, context: ssl.SSLContext, name: str = "localhost", timeout: float = 5
    ) -> None:
        super().__init__(port, timeout)
        try:
            self.sock = context.wrap_socket(self.sock, server_hostname=name)
        except BaseException:
            self.sock.close()
            raise

    @property
    def tls(self) -> ssl.SSLSocket:
        assert isinstance(self.sock, ssl.SSLSocket)
        return self.sock


async def scope_app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body = json.dumps({"scheme": scope["scheme"], "extensions": scope["extensions"]}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def host() -> Iterator[Callable[..., Hosted]]:
    running: list[Hosted] = []

    def start(app: Any, tls: TlsOptions, **more: Any) -> Hosted:
        running.append(Hosted(app, server_options={"tls": tls}, **more))
        return running[-1]

    yield start
    for each in running:
        each.stop()


# ---- clients


def test_curl(serve, authority, identity):
    server = serve(routes, tls=options(identity))
    done = subprocess.run(
        ["curl", "-sS", "--cacert", authority.ca, f"https://localhost:{server.port}/url?a=1"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"https://localhost:{server.port}/url?a=1"), done.stderr
    wrong = subprocess.run(
        ["curl", "-sS", f"https://localhost:{server.port}/url"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert wrong.returncode == 60, wrong.stderr  # the certificate is nobody's whom curl knows


def test_httpx_keeps_its_connection_and_sends_bodies(serve, authority, identity):
    server = serve(routes, tls=options(identity))
    with httpx.Client(verify=authority.client(), base_url=f"https://localhost:{server.port}") as client:
        body = os.urandom(2_000_000)
        assert client.post("/echo", content=body).content == body
        assert client.get("/big").content == b"x" * 3_000_000
        assert client.get("/url").text == f"https://localhost:{server.port}/url"
    assert server.run(lambda: server.server.connections_accepted) == 1


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_s_client(serve, authority, identity, version):
    server = serve(routes, tls=options(identity))
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-servername", "localhost", "-CAfile",
         authority.ca, "-verify_return_error", "-verify_hostname", "localhost", "-alpn", "h2,http/1.1", version,
         "-ign_eof"],
        input="GET /url HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "https://localhost/url" in done.stdout
    assert "ALPN protocol: http/1.1" in done.stdout
    assert "Verify return code: 0 (ok)" in done.stdout


def test_a_client_without_a_common_protocol_is_refused(serve, authority, identity):
    server = serve(routes, tls=options(identity))
    context = authority.client()
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match="(?i)no.application.protocol"):
        TlsClient(server.port, context)


def test_redirects_stay_on_https(serve, authority, identity):
    server = serve(lambda s: s.add_static(["GET"], "/a", 200, "text/plain", b"a"), tls=options(identity))
    with TlsClient(server.port, authority.client()) as client:
        assert client.request("GET", "/a/").headers["location"] == "https://test/a"


def test_pipelined_requests_and_byte_by_byte(serve, authority, identity):
    server = serve(routes, tls=options(identity))
    with TlsClient(server.port, authority.client()) as client:
        client.send(b"GET /url HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
        assert [client.read().body for _ in range(3)] == [b"https://a/url"] * 3
        for byte in b"GET /url HTTP/1.1\r\nHost: b\r\n\r\n":
            client.send(bytes([byte]))
        assert client.read().body == b"https://b/url"


# ---- names


def test_certificates_by_name(serve, authority, identity):
    more = [
        Certificate(cert_file=cert, key_file=key)
        for cert, key in (authority.issue("one", "DNS:one.test"), authority.issue("wild", "DNS:*.wild.test"))
    ]
    server = serve(routes, tls=options(identity, more_certs=more))
    for name, subject in [("localhost", "server"), ("one.test", "one"), ("a.wild.test", "wild")]:
        with TlsClient(server.port, authority.client(), name) as client:
            assert client.request("GET", "/url").status == 200
            certificate = client.tls.getpeercert()
            assert certificate is not None
            assert certificate["subject"] == ((("commonName", subject),),)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        TlsClient(server.port, authority.client(), "other.test")


def test_unknown_names_may_be_refused(serve, authority, identity):
    server = serve(routes, tls=options(identity, refuse_unknown_names=True))
    with pytest.raises(ssl.SSLError, match="(?i)unrecognized.name"):
        TlsClient(server.port, authority.client(), "other.test")


# ---- the scope


def test_scope_of_a_client_without_certificate(host, authority, identity):
    server = host(scope_app, options(identity))
    with TlsClient(server.port, authority.client()) as client:
        scope = client.request("GET", "/").json()
        cipher = client.tls.cipher()
    tls = scope["extensions"]["tls"]
    assert scope["scheme"] == "https"
    assert tls["server_cert"].strip() == Path(identity[0]).read_text().strip()
    assert tls["client_cert_chain"] == []
    assert tls["client_cert_name"] is None
    assert tls["client_cert_error"] is None
    assert tls["tls_version"] == 0x0304
    assert cipher is not None
    assert (tls["cipher_suite"], cipher[0]) in [(0x1301, "TLS_AES_128_GCM_SHA256"), (0x1302, "TLS_AES_256_GCM_SHA384"),
                                                (0x1303, "TLS_CHACHA20_POLY1305_SHA256")]  # fmt: skip


def test_scope_of_a_client_with_certificate(host, authority, identity):
    visitor = authority.issue("visitor", "DNS:visitor.test", subject="/O=Example, Inc./CN=visitor")
    server = host(scope_app, options(identity, verify_client="required", client_ca_file=authority.ca))
    with TlsClient(server.port, authority.client(visitor)) as client:
        for _ in range(2):
            tls = client.request("GET", "/").json()["extensions"]["tls"]
            # OpenSSL's clients send the authority too, which they know.
            assert tls["client_cert_chain"][0].strip() == Path(visitor[0]).read_text().strip()
            assert tls["client_cert_name"] == "CN=visitor,O=Example\\, Inc."  # RFC 4514


def test_the_scope_of_plain_http_says_nothing_of_tls(asgi_plain_port):
    with Client(asgi_plain_port) as client:
        scope = client.request("GET", "/").json()
    assert scope["scheme"] == "http"
    assert "tls" not in scope["extensions"]


@pytest.fixture
def asgi_plain_port() -> Iterator[int]:
    hosted = Hosted(scope_app)
    yield hosted.port
    hosted.stop()


# ---- client certificates


def refused(port: int, context: ssl.SSLContext) -> bool:
    try:
        with TlsClient(port, context) as client:  # TLS 1.3: the client hears of it after its own handshake
            client.request("GET", "/url")
            return False
    except (ssl.SSLError, ConnectionError, EOFError):
        return True


def test_required_client_certificates(serve, authority, identity, tmp_path):
    server = serve(routes, tls=options(identity, verify_client="required", client_ca_file=authority.ca))
    good = authority.issue("good")
    stranger = Authority(tmp_path / "strangers", "another authority").issue("stranger")
    assert not refused(server.port, authority.client(good))
    assert refused(server.port, authority.client())
    assert refused(server.port, authority.client(stranger))


def test_optional_client_certificates(serve, authority, identity, tmp_path):
    server = serve(routes, tls=options(identity, verify_client="optional", client_ca_file=authority.ca))
    stranger = Authority(tmp_path / "strangers", "another authority").issue("stranger")
    assert not refused(server.port, authority.client())
    assert refused(server.port, authority.client(stranger))


# ---- reload


def serial(port: int, authority: Authority) -> str:
    with TlsClient(port, authority.client()) as client:
        assert client.request("GET", "/url").status == 200
        certificate = client.tls.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])


def test_reload_leaves_connections_alone(serve, authority):
    server = serve(routes, tls=options(authority.issue("changing")))
    before = serial(server.port, authority)
    with TlsClient(server.port, authority.client()) as old:
        assert old.request("GET", "/url").status == 200
        authority.issue("changing")
        server.run(lambda: server.server.reload_tls())
        assert serial(server.port, authority) != before
        assert old.request("GET", "/url").status == 200
    assert server.server.tls_counters["reloads"] == 1


def test_a_reload_that_fails_changes_nothing(serve, authority):
    certificate = authority.issue("broken")
    server = serve(routes, tls=options(certificate))
    before = serial(server.port, authority)
    Path(certificate[0]).write_text("garbage")
    with pytest.raises(TlsError, match=f'cert_file "{certificate[0]}"') as caught:
        server.run(lambda: server.server.reload_tls())
    assert caught.value.code == "http.tls"
    assert serial(server.port, authority) == before
    other = authority.issue("other")
    server.run(lambda: server.server.reload_tls(options(other)))
    assert serial(server.port, authority) != before


def test_reload_needs_tls(serve):
    server = serve(routes)
    with pytest.raises(RuntimeError, match="without tls"):
        server.server.reload_tls()
    assert server.server.tls_counters == {"handshakes": 0, "resumed": 0, "failed": 0, "reloads": 0}


def test_sessions_resume_and_it_is_counted(serve, authority, identity):
    server = serve(routes, tls=options(identity))
    context = authority.client()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for expected in (False, True, True):
        raw = socket.create_connection(("127.0.0.1", server.port), 5)
        with context.wrap_socket(raw, server_hostname="localhost", session=session) as sock:
            assert sock.session_reused is expected
            session = sock.session
    counters = server.run(lambda: server.server.tls_counters)
    assert (counters["handshakes"], counters["resumed"]) == (3, 2)


# ---- clients that do not behave


@pytest.fixture
def fresh_second() -> None:
    """Lines of one kind are limited to one per second: those of other tests must not take this one's."""
    time.sleep(1.1)


def info_lines(caplog: pytest.LogCaptureFixture, part: str, timeout: float = 5) -> list[str]:
    deadline = time.monotonic() + timeout
    while True:
        found = [record.getMessage() for record in caplog.records if part in record.getMessage()]
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.02)


def test_plain_http_to_the_tls_port(serve, identity, caplog, fresh_second):
    caplog.set_level(logging.INFO, "fasterapi.http")
    server = serve(routes, tls=options(identity))
    with Client(server.port) as client:
        client.send(b"GET /url HTTP/1.1\r\nHost: a\r\n\r\n")
        client.sock.settimeout(5)
        assert client.sock.recv(100) == b"", "a clean end, no reset and no bytes of another protocol"
        address = "{}:{}".format(*client.sock.getsockname())
    (line,) = info_lines(caplog, "plain HTTP")
    assert line.startswith(f"{address} spoke plain HTTP to the TLS port")
    assert server.server.tls_counters["failed"] == 1


def test_limits_tls_handshake(serve, authority, identity, caplog, fresh_second):
    caplog.set_level(logging.INFO, "fasterapi.http")
    server = serve(routes, tls=options(identity), limits=Limits(tls_handshake_timeout_ms=200))
    with (
        Client(server.port) as silent,
        Client(server.port) as slow,
        TlsClient(server.port, authority.client()) as good,
    ):
        slow.send(b"\x16\x03\x01")  # the start of a ClientHello
        began = time.monotonic()
        assert silent.at_end()
        assert slow.at_end()
        assert 0.1 < time.monotonic() - began < 2
        assert good.request("GET", "/url").status == 200
    assert server.server.timeouts == 2
    assert "tls_handshake_timeout_ms" in info_lines(caplog, "TLS handshake with")[0]


def test_garbage_and_cut_handshakes_leave_nothing_open(serve, authority, identity):
    server = serve(routes, tls=options(identity))
    for data in (b"\x00" * 100, b"\x16\x03\x01\xff\xff" + b"x" * 1000, b"\x15\x03\x01\x00\x02\x02\x28", b""):
        with Client(server.port) as client:
            client.send(data)
            client.sock.shutdown(socket.SHUT_WR)
            client.sock.settimeout(5)
            try:
                while client.sock.recv(1000):  # an alert
                    pass
            except ConnectionResetError:
                pass
    deadline = time.monotonic() + 5
    while server.run(lambda: server.server.connections) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.run(lambda: server.server.connections) == 0
    assert server.get is not None
    with TlsClient(server.port, authority.client()) as client:
        assert client.request("GET", "/url").status == 200


def test_an_end_without_close_notify_is_an_end(host, authority, identity):
    gone = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await receive()
        message = await receive()
        if message["type"] == "http.disconnect":
            gone.set()

    server = host(app, options(identity))
    client = TlsClient(server.port, authority.client())
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(0.1)
    os.close(client.tls.detach())  # behind the back of its TLS
    deadline = time.monotonic() + 5
    while not gone.is_set() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone.is_set()
    assert server.errors == []


def test_a_full_server_just_closes(serve, authority, identity):
    server = serve(routes, tls=options(identity), limits=Limits(max_connections=1))
    with TlsClient(server.port, authority.client()) as client:
        assert client.request("GET", "/url").status == 200
        with Client(server.port) as other:
            assert other.at_end()
        assert client.request("GET", "/url").status == 200


def test_drain_ends_handshakes(serve, identity):
    server = serve(routes, tls=options(identity))
    with Client(server.port) as client:
        deadline = time.monotonic() + 5
        while not server.run(lambda: server.server.connections) and time.monotonic() < deadline:
            time.sleep(0.01)
        server.stop()
        assert client.at_end()


# ---- options


def test_bad_options_are_named(authority, identity):
    with pytest.raises(TlsError, match='cert_file "/nowhere.pem": No such file'):
        Server(tls=TlsOptions(cert_file="/nowhere.pem"))
    with pytest.raises(TlsError, match="key values mismatch|does not belong"):
        Server(tls=TlsOptions(cert_file=identity[0], key_file=authority.issue("third")[1]))
    with pytest.raises(TlsError, match="verify_client needs a client_ca_file"):
        Server(tls=options(identity, verify_client="required"))
    with pytest.raises(TlsError, match='ciphers "nonsense"'):
        Server(tls=options(identity, ciphers="nonsense"))


def test_encrypted_keys(serve, authority):
    certificate = authority.issue("secret", password="open sesame")
    with pytest.raises(TlsError, match="encrypted: set key_password"):
        Server(tls=options(certificate))
    with pytest.raises(TlsError, match="wrong key_password"):
        Server(tls=options(certificate, key_password="shut sesame"))
    server = serve(routes, tls=options(certificate, key_password=lambda: "open sesame"))
    with TlsClient(server.port, authority.client()) as client:
        assert client.request("GET", "/url").status == 200


def test_versions(serve, authority, identity):
    server = serve(routes, tls=options(identity, min_version="TLSv1.3"))
    old = authority.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        TlsClient(server.port, old)


def uvicorns(**more: Any) -> TlsOptions:
    values: dict[str, Any] = {
        "certfiles": ["a.crt"], "keyfiles": [], "password": None, "version": None, "cert_reqs": 0, "ca_certs": None,
        "ciphers": "",
    }  # fmt: skip
    return from_uvicorn(**{**values, **more})


def test_options_of_uvicorn(tmp_path):
    assert uvicorns() == TlsOptions(cert_file="a.crt")
    both = uvicorns(certfiles=["a.crt", "b.crt"], keyfiles=["a.key", "b.key"], password="x")
    assert (both.cert_file, both.key_file, both.key_password) == ("a.crt", "a.key", "x")
    assert both.more_certs == (Certificate(cert_file="b.crt", key_file="b.key", key_password="x"),)
    assert uvicorns(version=int(ssl.PROTOCOL_TLS_SERVER)).min_version == "TLSv1.2"
    assert uvicorns(version="5").max_version == "TLSv1.2"
    assert uvicorns(version="TLSv1.3").min_version == "TLSv1.3"
    asked = uvicorns(cert_reqs=int(ssl.CERT_OPTIONAL), ca_certs="ca.pem")
    assert (asked.verify_client, asked.client_ca_file, asked.client_ca_dir) == ("optional", "ca.pem", None)
    assert uvicorns(cert_reqs=2, ca_certs=str(tmp_path)).client_ca_dir == str(tmp_path)
    assert uvicorns(ca_certs="ca.pem").client_ca_file is None
    for wrong, text in [
        ({"certfiles": [], "keyfiles": ["a.key"]}, "needs an --ssl-certfile"),
        ({"certfiles": ["a", "b"], "keyfiles": ["a"]}, "give each its own"),
        ({"version": 99}, "ssl-version: 99"),
        ({"cert_reqs": 3}, "ssl-cert-reqs: 3"),
    ]:
        with pytest.raises(ValueError, match=text):
            uvicorns(**wrong)


# ---- the program


def get(port: int, authority: Authority) -> tuple[bytes, str]:
    with TlsClient(port, authority.client()) as client:
        answer = client.request("GET", "/")
        certificate = client.tls.getpeercert()
        assert certificate is not None
        return answer.body, str(certificate["serialNumber"])


def test_program_reloads_at_hangup(tmp_path, authority):
    (tmp_path / "main.py").write_text(HELLO)
    certificate = authority.issue("program")
    program = Program(tmp_path, "--ssl-certfile", certificate[0], "--ssl-keyfile", certificate[1], "main:app")
    try:
        program.wait_for(f"running on https://127.0.0.1:{program.port}")
        body, before = get(program.port, authority)
        assert body == b"https"
        with TlsClient(program.port, authority.client()) as old:
            assert old.request("GET", "/").status == 200
            authority.issue("program")
            program.process.send_signal(signal.SIGHUP)
            program.wait_for("Certificates loaded again")
            assert get(program.port, authority)[1] != before
            Path(certificate[0]).write_text("garbage")
            program.process.send_signal(signal.SIGHUP)
            program.wait_for(
                f'The certificates stay as they were: TLS: cannot use cert_file "{certificate[0]}"'
            )
            assert old.request("GET", "/").status == 200
    finally:
        assert program.stop() == 0


def test_workers_share_tickets_and_take_new_certificates_at_hangup(tmp_path, authority):
    (tmp_path / "main.py").write_text(HELLO)
    certificate = authority.issue("workers")
    program = Program(
        *(
            tmp_path,
            "--workers",
            "2",
            "--ssl-certfile",
            certificate[0],
            "--ssl-keyfile",
            certificate[1],
            "main:app",
        )
    )
    try:
        program.wait_for("running on https://", count=2)
        context = authority.client()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        session, reused = None, []
        for _ in range(12):  # the kernel chooses a worker for each
            raw = socket.create_connection(("127.0.0.1", program.port), 5)
            with context.wrap_socket(raw, server_hostname="localhost", session=session) as sock:
                reused.append(sock.session_reused)
                session = session or sock.session
        assert reused == [False] + [True] * 11
        before = get(program.port, authority)[1]
        authority.issue("workers")
        program.process.send_signal(signal.SIGHUP)
        program.wait_for("running on https://", count=4)
        deadline = time.monotonic() + 10
        while get(program.port, authority)[1] == before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert get(program.port, authority)[1] != before
    finally:
        assert program.stop() == 0


def test_workers_with_broken_certificates_at_hangup_stay_as_they_are(tmp_path, authority):
    (tmp_path / "main.py").write_text(HELLO)
    certificate = authority.issue("kept")
    program = Program(
        *(
            tmp_path,
            "--workers",
            "2",
            "--ssl-certfile",
            certificate[0],
            "--ssl-keyfile",
            certificate[1],
            "main:app",
        )
    )
    try:
        program.wait_for("running on https://", count=2)
        before = get(program.port, authority)[1]
        Path(certificate[0]).write_text("garbage")
        program.process.send_signal(signal.SIGHUP)
        program.wait_for("TLS: cannot use cert_file")
        time.sleep(1)
        assert program.process.poll() is None, program.text
        assert get(program.port, authority)[1] == before
    finally:
        assert program.stop() == 0


def test_websockets_are_wss(host, authority, identity):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            headers = [
                (b"x-scheme", scope["scheme"].encode()),
                (b"x-tls", str("tls" in scope["extensions"]).encode()),
            ]
            await send({"type": "websocket.accept", "headers": headers})
            await send({"type": "websocket.close"})

    server = host(app, options(identity))
    with TlsClient(server.port, authority.client()) as client:
        client.send(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        answer = client.read()
        assert (answer.status, answer.headers["x-scheme"], answer.headers["x-tls"]) == (101, "wss", "True")


def test_program_says_what_is_wrong(tmp_path, authority, identity):
    (tmp_path / "main.py").write_text(HELLO)
    program = Program(tmp_path, "--ssl-certfile", "/nowhere.pem", "main:app")
    assert program.end() == 3
    assert 'TLS: cannot use cert_file "/nowhere.pem": No such file or directory' in program.text
    program = Program(tmp_path, "--ssl-keyfile", identity[1], "main:app")
    assert program.end() == 2
    assert "--ssl-keyfile needs an --ssl-certfile" in program.text
