"""WSGI applications after PEP 3333, Flask and Django among them, in the program that users start."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi_support import Program
from http_client import Client

APP = """
import sys, time
from io import StringIO
from wsgiref.validate import validator

closed = []

class Body:
    def __init__(self, pieces):
        self.pieces = pieces
    def __iter__(self):
        return iter(self.pieces)
    def close(self):
        closed.append("yes")

def raw(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/echo":
        data = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(data)))])
        return [data]
    if path == "/lines":
        count = sum(1 for line in environ["wsgi.input"])
        start_response("201 Made", [("Content-Type", "text/plain")])
        return [str(count).encode()]
    if path == "/environ":
        text = "\\n".join(f"{k}={v!r}" for k, v in sorted(environ.items()) if isinstance(v, (str, bool, tuple)))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [text.encode()]
    if path == "/write":
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"one ")
        write(b"two ")
        return [b"three"]
    if path == "/replaced":
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Sorry", [("Content-Type", "text/plain")], sys.exc_info())
        return [b"sorry"]
    if path == "/too-late":
        def pieces():
            start_response("200 OK", [("Content-Type", "text/plain")])
            yield b"begun"
            try:
                raise ValueError("too late")
            except ValueError:
                start_response("500 Sorry", [("Content-Type", "text/plain")], sys.exc_info())
            yield b"never"
        return Body(pieces())
    if path == "/twice":
        start_response("200 OK", [("Content-Type", "text/plain")])
        start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/str":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return ["text"]
    if path == "/silent":
        return [b"x"]
    if path == "/big":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return Body(b"x" * 65536 for _ in range(2000))
    if path == "/file":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return environ["wsgi.file_wrapper"](open(__file__, "rb"))
    if path == "/closed":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(len(closed)).encode()]
    if path == "/slow":
        time.sleep(0.3)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]

def app(environ, start_response):
    return raw(environ, start_response)

def checked(environ, start_response):
    def answer(environ, start_response):
        data = environ["wsgi.input"].read(3)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [data]
    environ["QUERY_STRING"] = str(environ["QUERY_STRING"])
    return validator(answer)(environ, start_response)
"""
RUNNING = "fasterapi-http running on"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    (tmp_path / "main.py").write_text(APP)
    running: list[Program] = []

    def run(*arguments: str) -> Program:
        program = Program(tmp_path, *arguments)
        running.append(program)
        program.wait_for(RUNNING)
        return program

    yield run
    for program in running:
        if program.process.poll() is None:
            program.stop(signal.SIGKILL)


@pytest.fixture
def program(start: Any) -> Any:
    return start("main:app", "--interface", "wsgi")


def test_bodies_are_read_whole_and_in_pieces(program: Any) -> None:
    with Client(program.port) as client:
        assert client.request("POST", "/echo", b"x" * 10).body == b"x" * 10
        big = bytes(range(256)) * 4096
        assert client.request("POST", "/echo", big).body == big  # one MiB: streamed
        chunked = b"POST /lines HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        client.send(chunked + b"4\r\na\nb\n\r\n")
        time.sleep(0.1)
        client.send(b"3\r\nc\nd\r\n0\r\n\r\n")
        answer = client.read()
        assert (answer.status, answer.body) == (201, b"4")
        assert client.request("GET", "/echo").body == b""


def test_the_environment(program: Any) -> None:
    with Client(program.port) as client:
        fields = "X-A: 1\r\nX-A: 2\r\nX_A: 3\r\nProxy: evil\r\nCookie: a=b\r\nContent-Type: text/x\r\n"
        text = client.request("GET", "/environ?q=%20", headers=fields).body.decode()
        lines = dict(line.split("=", 1) for line in text.splitlines())
        assert lines["HTTP_X_A"] == "'1,2'"
        assert "HTTP_PROXY" not in lines
        assert lines["CONTENT_TYPE"] == "'text/x'"
        assert lines["QUERY_STRING"] == "'q=%20'"
        assert lines["RAW_URI"] == "'/environ?q=%20'"
        assert lines["SERVER_PROTOCOL"] == "'HTTP/1.1'"
        assert lines["SERVER_PORT"] == f"'{program.port}'"
        assert lines["REMOTE_ADDR"] == "'127.0.0.1'"
        assert lines["wsgi.version"] == "(1, 0)"
        assert lines["wsgi.url_scheme"] == "'http'"
        assert lines["wsgi.multithread"] == "True"
        assert lines["wsgi.multiprocess"] == "False"


def test_paths_are_bytes_in_latin_1(start: Any, tmp_path: Path) -> None:
    (tmp_path / "paths.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [repr((environ['SCRIPT_NAME'], environ['PATH_INFO'])).encode()]\n"
    )
    program = start("paths:app", "--root-path", "/api")
    with Client(program.port) as client:
        assert client.request("GET", "/caf%C3%A9%FF").body.decode() == repr(("/api", "/cafÃ©ÿ"))


def test_write_close_and_exc_info(program: Any) -> None:
    with Client(program.port) as client:
        assert client.request("GET", "/write").body == b"one two three"
        answer = client.request("GET", "/replaced")
        assert (answer.status, answer.body) == (500, b"sorry")
        assert b"def raw" in client.request("GET", "/file").body
    with Client(program.port) as client:
        client.send(b"GET /too-late HTTP/1.1\r\nHost: a\r\n\r\n")
        with pytest.raises(EOFError):
            client.read()
    with Client(program.port) as client:
        assert client.request("GET", "/closed").body == b"1"
    program.wait_for("ValueError: too late")


@pytest.mark.parametrize(
    "path, text",
    [
        ("/twice", "a second time without exc_info"),
        ("/str", "body is bytes, not str"),
        ("/silent", "did not call start_response"),
    ],
)
def test_mistakes_of_an_application_are_500_and_logged(program: Any, path: str, text: str) -> None:
    with Client(program.port) as client:
        assert client.request("GET", path).status == 500
    program.wait_for(text)


def test_who_does_not_read_holds_the_application_back_and_its_end_closes_it(program: Any) -> None:
    with socket.create_connection(("127.0.0.1", program.port)) as sock:
        sock.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        sock.recv(1000)
        time.sleep(0.3)
        status = Path(f"/proc/{program.process.pid}/statm").read_text().split()
        assert int(status[1]) * 4096 < 120 * 1024 * 1024  # the answer is 131 MB
    deadline = time.monotonic() + 5
    with Client(program.port) as client:
        while client.request("GET", "/closed").body != b"1":
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_threads_are_bounded(start: Any) -> None:
    program = start("main:app", "--interface", "wsgi", "--threads", "2")
    clients = [Client(program.port) for _ in range(4)]
    begun = time.monotonic()
    for client in clients:
        client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    for client in clients:
        assert client.read().body == b"hello"
    assert 0.55 < time.monotonic() - begun < 1.1  # two at a time
    for client in clients:
        client.sock.close()


def test_head_and_the_validator_of_the_standard_library(start: Any) -> None:
    program = start("main:checked")  # found to be WSGI by its two arguments
    with Client(program.port) as client:
        assert client.request("POST", "/x", b"abcdef").body == b"abc"
        client.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.read("HEAD")
        assert answer.status == 200
        assert client.request("GET", "/").status == 200
    assert "Exception" not in program.text
    assert program.stop() == 0


def test_flask(start: Any, tmp_path: Path) -> None:
    pytest.importorskip("flask")
    (tmp_path / "web.py").write_text(
        "from flask import Flask, request, jsonify, Response, session\n"
        "app = Flask(__name__)\n"
        "app.secret_key = 'x'\n"
        "@app.get('/user/<int:number>')\n"
        "def user(number):\n"
        "    session['seen'] = number\n"
        "    return jsonify(number=number, agent=request.headers.get('X-Agent'))\n"
        "@app.post('/upload')\n"
        "def upload():\n"
        "    return {'size': len(request.files['f'].read()), 'form': request.form['a']}\n"
        "@app.get('/stream')\n"
        "def stream():\n"
        "    return Response((f'{i} ' for i in range(5)), mimetype='text/plain')\n"
    )
    program = start("web:app")
    with Client(program.port) as client:
        answer = client.request("GET", "/user/7", headers="X-Agent: me\r\n")
        assert answer.json() == {"number": 7, "agent": "me"}
        assert "session=" in answer.headers["Set-Cookie"]
        body = (
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nv\r\n'
            b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
            + b"x" * 200_000
            + b"\r\n--b--\r\n"
        )
        answer = client.request("POST", "/upload", body, "Content-Type: multipart/form-data; boundary=b\r\n")
        assert answer.json() == {"size": 200_000, "form": "v"}
        assert client.request("GET", "/stream").body == b"0 1 2 3 4 "
        assert client.request("GET", "/nowhere").status == 404
    assert program.stop() == 0


def test_django(start: Any, tmp_path: Path) -> None:
    pytest.importorskip("django")
    (tmp_path / "site_.py").write_text(
        "import sys\n"
        "from django.conf import settings\n"
        "settings.configure(DEBUG=False, SECRET_KEY='x', ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__,\n"
        "    MIDDLEWARE=['django.middleware.common.CommonMiddleware'])\n"
        "from django.core.wsgi import get_wsgi_application\n"
        "from django.http import JsonResponse, StreamingHttpResponse\n"
        "from django.urls import path\n"
        "def index(request, name):\n"
        "    return JsonResponse({'name': name, 'method': request.method, 'size': len(request.body)})\n"
        "def stream(request):\n"
        "    return StreamingHttpResponse([b'a', b'b', b'c'])\n"
        "urlpatterns = [path('hello/<str:name>', index), path('stream', stream)]\n"
        "application = get_wsgi_application()\n"
    )
    program = start("site_:application")
    with Client(program.port) as client:
        answer = client.request("POST", "/hello/J%C3%BCrgen", b"12345")
        assert answer.json() == {"name": "Jürgen", "method": "POST", "size": 5}
        assert client.request("GET", "/stream").body == b"abc"
        assert client.request("GET", "/nowhere").status == 404
    assert program.stop() == 0
