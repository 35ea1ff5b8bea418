"""Single parts: multipart parser, encoders, JSON mode, sessions, static files, ranges, OpenAPI and docs pages."""

import asyncio
import dataclasses
import datetime as dt
import decimal
import enum
import json
import pathlib
import re
import uuid
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import fasterapi
import pytest
from asgi_client import asgi_request
from fasterapi import App, Request
from fasterapi._calls import calls_nothing
from fasterapi._json_mode import json_mode_is_equal
from fasterapi._multipart import FormError, parse_form
from fasterapi._serialize import encode_plain
from fasterapi.encoders import jsonable_encoder
from fasterapi.middleware.sessions import SessionMiddleware
from fasterapi.responses import FileResponse
from fasterapi.staticfiles import StaticFiles
from fasterapi.testclient import TestClient
from pydantic import BaseModel, Field, TypeAdapter


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


MULTIPART = (
    b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue\r\n--X not a boundary\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="f"; filename="\xc3\xa9 \\"q\\".txt"\r\nContent-Type: text/x\r\n\r\n'
    + b"\x00\r\n-" * 100
    + b"\r\n--XX--\r\nepilogue"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_multipart_in_any_pieces(size: int) -> None:
    async def parse() -> Any:
        form = await parse_form("multipart/form-data; boundary=XX", pieces(MULTIPART, size))
        file = form["f"]
        return form["a"], file.filename, file.content_type, await file.read(), file.size

    text, name, kind, content, length = asyncio.run(parse())
    assert text == "value\r\n--X not a boundary"
    assert (name, kind, content, length) == ('é "q".txt', "text/x", b"\x00\r\n-" * 100, 400)


@pytest.mark.parametrize(
    ("body", "match"),
    [
        (b"", "ended too early"),
        (b"junk\r\n--XX--", "before the first boundary"),
        (b"--XX\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XX--", "name"),
        (b"--XX\r\nno colon\r\n\r\nx\r\n--XX--", "Malformed header"),
        (b"--XXjunk\r\n\r\n", "Malformed boundary"),
        (
            b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"x" * 3000 + b"\r\n--XX--",
            "maximum size",
        ),
        (b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 5 + b"--XX--", "Too many fields"),
        (b"--XX\r\nX: " + b"y" * 20_000, "larger than 8192"),
        (
            b'--XX\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nunfinished',
            "ended too early",
        ),
    ],
)
def test_multipart_errors_say_what_is_wrong(body: bytes, match: str) -> None:
    with pytest.raises(FormError, match=match):
        asyncio.run(
            parse_form("multipart/form-data; boundary=XX", pieces(body, 11), max_fields=3, max_part_size=2048)
        )


def test_urlencoded_limits() -> None:
    with pytest.raises(FormError, match="Too many fields"):
        asyncio.run(parse_form("application/x-www-form-urlencoded", pieces(b"a=1&b=2&c=3", 4), max_fields=2))
    form = asyncio.run(
        parse_form("application/x-www-form-urlencoded; charset=utf-8", pieces(b"a=%C3%A9+x&b&a=2", 2))
    )
    assert form.multi_items() == [("a", "é x"), ("b", ""), ("a", "2")]


class Color(enum.Enum):
    red = "r"


@dataclasses.dataclass
class Point:
    x: int
    when: dt.date


class Aliased(BaseModel):
    name: str = Field(alias="fullName")
    price: decimal.Decimal = decimal.Decimal("1.10")


VALUES: list[Any] = [
    {"a": 1, "b": [1.5, None, True, "é"]},
    {1: "int key", None: "none key"},
    {"n": decimal.Decimal("2.50"), "i": decimal.Decimal("3")},
    {"m": Aliased(fullName="x"), "l": [Aliased(fullName="y")]},
    [Point(1, dt.date(2024, 1, 2)), Color.red, uuid.UUID(int=5)],
    {"s": {1}, "f": frozenset({2}), "d": deque([3]), "t": (4, 5)},
    dt.timedelta(seconds=1.5),
    dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
    pathlib.PurePosixPath("/a/b"),
    b"bytes",
    re.compile("x+"),
    (item for item in [1, 2]),
    "text",
    None,
]


@pytest.mark.parametrize("index", range(len(VALUES)))
def test_plain_encoding_equals_fastapis(index: int) -> None:
    encoders = pytest.importorskip("fastapi.encoders")
    value = VALUES[index]
    if index == 11:  # a generator can be read once
        assert jsonable_encoder(value) == [1, 2]
        return
    expected = encoders.jsonable_encoder(value)
    assert jsonable_encoder(value) == expected
    assert json.loads(encode_plain(value)) == json.loads(json.dumps(expected))


def test_nan_is_refused_as_json_dumps_refuses_it() -> None:
    with pytest.raises(ValueError, match="JSON"):
        encode_plain({"a": float("nan")})


def test_encoder_options() -> None:
    model = Aliased(fullName="x")
    assert jsonable_encoder(model, by_alias=False, exclude={"price"}) == {"name": "x"}
    assert jsonable_encoder(model, exclude_unset=True) == {"fullName": "x"}
    assert jsonable_encoder({"a": 1, "b": 2}, include=["a"]) == {"a": 1}
    assert jsonable_encoder([dt.date(2024, 1, 1)], custom_encoder={dt.date: lambda value: value.year}) == [
        2024
    ]
    with pytest.raises(ValueError):
        jsonable_encoder(object.__new__(type("Odd", (), {"__slots__": ()})))


class Plain(BaseModel):
    a: int
    b: dt.date | None = None
    c: list[str] = []


class Dated(BaseModel):
    when: dt.date | str


class Strict(BaseModel):
    model_config = {"strict": True}
    when: dt.date


@pytest.mark.parametrize(
    ("kind", "equal"), [(Plain, True), (Dated, False), (Strict, False), (list[int], True), (bytes, False)]
)
def test_json_mode_is_used_only_where_it_gives_the_same(kind: Any, equal: bool) -> None:
    assert json_mode_is_equal(TypeAdapter(kind).core_schema) is equal


def test_union_of_date_and_text_keeps_the_text_as_fastapi_does() -> None:
    app = App()

    @app.post("/")
    async def echo(body: Dated) -> str:
        return type(body.when).__name__

    with TestClient(app) as client:
        assert client.post("/", json={"when": "2024-01-01"}).json() == "str"


def loops(n: int) -> int:
    total = 0
    for item in (1, 2, 3):
        total += item * n
    return total


def test_only_functions_that_call_nothing_run_on_the_loop() -> None:
    assert calls_nothing(lambda a, b: {"a": a, "b": [b, a + 1]})
    assert not calls_nothing(lambda a: print(a))
    assert not calls_nothing(loops)
    assert not calls_nothing(len)
    assert not calls_nothing(open)


def test_session_cookie_is_signed() -> None:
    app = App()
    app.add_middleware(SessionMiddleware, secret_key="secret")

    @app.get("/set")
    async def put(request: Request) -> None:
        request.session["user"] = "ada"

    @app.get("/get")
    async def get(request: Request) -> Any:
        return request.session.get("user")

    @app.get("/clear")
    async def clear(request: Request) -> None:
        request.session.clear()

    with TestClient(app) as client:
        assert client.get("/get").json() is None
        assert "httponly" in client.get("/set").headers["set-cookie"]
        assert client.get("/get").json() == "ada"
        cookie = client.cookies["session"]
        client.cookies.clear()
        assert client.get("/get", headers={"cookie": f"session={cookie[:-2]}xx"}).json() is None
        client.cookies.set("session", cookie)
        assert "expires=Thu, 01 Jan 1970" in client.get("/clear").headers["set-cookie"]


def test_static_files(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "index.html").write_text("<p>index")
    (tmp_path / "404.html").write_text("missing page")
    (tmp_path.parent / "secret.txt").write_text("secret")
    (tmp_path / "link").symlink_to(tmp_path.parent / "secret.txt")
    app = App()
    app.mount("/static", StaticFiles(directory=tmp_path, html=True), name="static")
    with TestClient(app) as client:
        answer = client.get("/static/a.txt")
        assert (answer.text, answer.headers["content-type"]) == ("hello", "text/plain; charset=utf-8")
        again = client.get("/static/a.txt", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        part = client.get("/static/a.txt", headers={"range": "bytes=1-3"})
        assert (part.status_code, part.text, part.headers["content-range"]) == (206, "ell", "bytes 1-3/5")
        assert client.get("/static/a.txt", headers={"range": "bytes=9-"}).status_code == 416
        assert client.get("/static/dir").text == "<p>index"
        assert (client.get("/static/nope").status_code, client.get("/static/nope").text) == (
            404,
            "missing page",
        )
        for path in ("/static/../secret.txt", "/static/%2e%2e/secret.txt", "/static/link"):
            assert client.get(path).status_code == 404
        assert client.post("/static/a.txt").status_code == 405
    assert app.url_path_for("static", path="/a.txt") == "/static/a.txt"


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.parametrize(
    ("header", "status", "content", "content_range"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=2-", 206, b"23456789", "bytes 2-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=0-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=0-4,3-6", 206, b"0123456", "bytes 0-6/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=a-b", 400, b"Malformed range header.", None),
        ("bytes=1-2,4-5", 206, None, None),
    ],
)
def test_file_response_ranges(
    tmp_path: pathlib.Path, middleware: bool, header: str, status: int, content: Any, content_range: Any
) -> None:
    path = tmp_path / "digits"
    path.write_bytes(b"0123456789")
    app = App()

    @app.get("/file")
    def file() -> FileResponse:
        return FileResponse(path)

    if middleware:

        @app.middleware("http")
        async def passes(request: Any, call_next: Any) -> Any:
            return await call_next(request)

    with TestClient(app) as client:
        answer = client.get("/file", headers={"range": header})
        assert answer.status_code == status
        assert answer.headers.get("content-range") == content_range
        if content is not None:
            assert answer.content == content
        else:
            kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
            assert kind == "multipart/byteranges"
            first, second = answer.content.split(f"--{boundary}".encode())[1:3]
            assert first.endswith(b"content-range: bytes 1-2/10\r\n\r\n12\r\n")
            assert second.endswith(b"content-range: bytes 4-5/10\r\n\r\n45\r\n")
        stale = client.get("/file", headers={"range": header, "if-range": '"other"'})
        assert (stale.status_code, stale.content) == (200, b"0123456789")


def test_file_response_on_both_lanes(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "ü report.csv"
    path.write_bytes(b"a,b\n" * 1000)
    app = App()

    @app.get("/file")
    def file() -> FileResponse:
        return FileResponse(path, filename=path.name)

    with TestClient(app) as client:
        native = client.get("/file")
    asgi = asgi_request(app, "GET", "/file")
    for answer in (native, asgi):
        assert answer.content == b"a,b\n" * 1000
        assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''%C3%BC%20report.csv"
        assert answer.headers["content-length"] == "4000"
    assert native.headers["etag"] == asgi.headers["etag"]
    with pytest.raises(RuntimeError, match="does not exist"):
        FileResponse(tmp_path / "nothing")


def test_openapi_is_bytes_with_an_etag_and_docs_need_no_network() -> None:
    app = App(title="A <b> title")

    @app.get("/x")
    async def x() -> int:
        return 1

    with TestClient(app) as client:
        answer = client.get("/openapi.json")
        assert answer.json() == app.openapi()
        again = client.get("/openapi.json", headers={"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        page = client.get("/docs").text
        assert client.get("/redoc").status_code == 200
    assert "A &lt;b&gt; title" in page and 'const OPENAPI_URL = "/openapi.json"' in page
    assert not re.search(r"(src|href)=[\"']https?://|@import|url\(", page)


def test_openapi_can_be_replaced_and_turned_off() -> None:
    app = App()
    app.openapi = lambda: {"openapi": "3.1.0", "custom": True}  # type: ignore[method-assign]
    with TestClient(app) as client:
        assert client.get("/openapi.json").json()["custom"] is True
    with TestClient(App(openapi_url=None)) as client:
        assert client.get("/docs").status_code == 404


def test_yielding_handlers_send_lines_and_events() -> None:
    from fasterapi.sse import EventSourceResponse, ServerSentEvent

    app = App()

    @app.get("/lines")
    async def lines() -> AsyncIterator[Plain]:
        yield Plain(a=1)
        yield Plain(a=2)

    @app.get("/events", response_class=EventSourceResponse)
    def events():
        yield {"n": 1}
        yield ServerSentEvent(data="x", event="named", id="7", retry=100, comment="c")

    with TestClient(app) as client:
        answer = client.get("/lines")
        assert answer.headers["content-type"] == "application/jsonl"
        assert [json.loads(line)["a"] for line in answer.text.splitlines()] == [1, 2]
        stream = client.get("/events")
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.text == 'data: {"n":1}\n\n: c\nevent: named\ndata: "x"\nid: 7\nretry: 100\n\n'


def test_exports_are_sorted_and_complete() -> None:
    assert sorted(fasterapi.__all__) == fasterapi.__all__
    for name in fasterapi.__all__:
        assert hasattr(fasterapi, name)


def test_function_names_that_fastapi_has_exist_here() -> None:
    fastapi = pytest.importorskip("fastapi")
    public = {
        "APIRouter",
        "BackgroundTasks",
        "Body",
        "Cookie",
        "Depends",
        "FastAPI",
        "File",
        "Form",
        "HTTPException",
        "Header",
    }
    public |= {
        "Path",
        "Query",
        "Request",
        "Response",
        "Security",
        "UploadFile",
        "WebSocket",
        "WebSocketDisconnect",
        "WebSocketException",
        "status",
    }
    assert all(hasattr(fastapi, name) and hasattr(fasterapi, name) for name in public)
