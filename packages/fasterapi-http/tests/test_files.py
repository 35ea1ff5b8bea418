"""Files: FileResponse on native routes, and static directories."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fasterapi_http import FileResponse, Server
from http_client import Client

DATA = bytes(range(256)) * 40  # 10,240 bytes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def served(serve: Any, file: Path) -> Callable[..., Any]:
    def setup(server: Server) -> None:
        async def answer() -> FileResponse:
            return FileResponse(file, headers={"cache-control": "no-cache"})

        async def named() -> FileResponse:
            return FileResponse(file, filename="\u00fcber/alles.bin")

        server.add_route(["GET", "HEAD", "PUT"], "/", answer, mode="async")
        server.add_route(["GET"], "/named", named, mode="async")

    running = serve(setup)

    def ask(headers: str = "", method: str = "GET", path: str = "/") -> Any:
        return running.get(path, method, headers=headers)

    return ask


def test_a_file_and_its_validators(served: Any) -> None:
    answer = served()
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["content-length"] == str(len(DATA))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert served(f"If-None-Match: {answer.headers['etag']}\r\n").status == 304
    assert served(f"If-Modified-Since: {answer.headers['last-modified']}\r\n").status == 304
    assert served('If-Match: "other"\r\n').status == 412
    assert served("If-None-Match: *\r\n", "PUT").status == 412
    unmodified = served(f'If-None-Match: "x", W/{answer.headers["etag"]}\r\n')
    assert set(unmodified.headers) == {"etag", "cache-control", "date"}


def test_head_tells_the_length(served: Any) -> None:
    answer = served(method="HEAD")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, str(len(DATA)), b"")
    assert served("Range: bytes=0-1\r\n", "HEAD").status == 200  # RFC 9110 section 14.2: for GET only


@pytest.mark.parametrize(
    ("field", "first", "end"), [("0-0", 0, 1), ("100-199", 100, 200), ("-1", 10239, 10240), ("5-", 5, 10240)]
)
def test_one_range(served: Any, field: str, first: int, end: int) -> None:
    answer = served(f"Range: bytes={field}\r\n")
    assert (answer.status, answer.body) == (206, DATA[first:end])
    assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{len(DATA)}"
    assert answer.headers["content-length"] == str(end - first)


def test_several_ranges_are_parts(served: Any) -> None:
    answer = served("Range: bytes=0-3,100-102,-2\r\n")
    assert answer.status == 206
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    head = f"--{boundary}\r\ncontent-type: application/octet-stream\r\ncontent-range: bytes ".encode()
    assert answer.body == (
        head
        + b"0-3/10240\r\n\r\n"
        + DATA[:4]
        + b"\r\n"
        + head
        + b"100-102/10240\r\n\r\n"
        + DATA[100:103]
        + b"\r\n"
        + head
        + b"10238-10239/10240\r\n\r\n"
        + DATA[-2:]
        + f"\r\n--{boundary}--\r\n".encode()
    )


def test_ranges_that_are_none(served: Any) -> None:
    for field in ("bytes=x", "lines=1-2", "bytes=5-2", "bytes=" + ",".join(["0-0", "2-2"] * 60)):
        assert served(f"Range: {field}\r\n").status == 200
    answer = served("Range: bytes=99999-\r\n")
    assert (answer.status, answer.headers["content-range"]) == (416, f"bytes */{len(DATA)}")


def test_if_range(served: Any) -> None:
    tag = served().headers["etag"]
    assert served(f"Range: bytes=0-1\r\nIf-Range: {tag}\r\n").status == 206
    assert served(f"Range: bytes=0-1\r\nIf-Range: W/{tag}\r\n").status == 200
    assert served('Range: bytes=0-1\r\nIf-Range: "old"\r\n').status == 200


def test_content_disposition_is_rfc_8187(served: Any) -> None:
    named = served(path="/named").headers["content-disposition"]
    assert named == "attachment; filename*=utf-8''%C3%BCber%2Falles.bin"


def test_large_parts_wait_for_a_slow_client(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "large"
    data = os.urandom(1 << 20) * 4 + b"end"
    path.write_bytes(data)

    async def answer() -> FileResponse:
        return FileResponse(path)

    running = serve(lambda server: server.add_route(["GET"], "/", answer, mode="async"))
    with running.connect(10) as client:
        for _ in range(2):  # and the connection goes on
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1999999,2000002-3999999\r\n\r\n")
            time.sleep(0.3)
            body = client.read().body
            assert data[:2_000_000] in body and data[2_000_002:4_000_000] in body
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with running.connect() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1999999,2000002-3999999\r\n\r\n")
            client.sock.recv(10)
    deadline = time.monotonic() + 5
    while len(os.listdir("/proc/self/fd")) > descriptors:
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---------------------------------------------------------------- static directories


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "static"
    (root / "sub" / ".git").mkdir(parents=True)
    (tmp_path / "static-secret").mkdir()
    (tmp_path / "static-secret" / "key").write_text("secret")
    (tmp_path / "secret").write_text("secret")
    (root / "a.txt").write_text("a")
    (root / "app.js").write_text("plain js")
    (root / "app.js.gz").write_bytes(b"gz")
    (root / "app.js.br").write_bytes(b"br")
    (root / "app.js.zst").write_bytes(b"zst")
    (root / "index.html").write_text("index")
    (root / "sub" / "index.html").write_text("sub index")
    (root / "sub" / ".git" / "config").write_text("secret")
    (root / ".env").write_text("secret")
    (root / "404.html").write_text("gone")
    (root / "\u00e4 b.txt").write_text("umlaut")
    os.mkfifo(root / "fifo")
    (root / "link").symlink_to("a.txt")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "null").symlink_to("/dev/null")
    return root


def start(serve: Any, tree: Path, path: str = "/static", **options: Any) -> Callable[..., Any]:
    running = serve(lambda server: server.add_static_directory(path, tree, **options))

    def ask(path: str, headers: str = "", method: str = "GET") -> Any:
        with Client(running.port) as client:
            return client.request(method, path, headers=headers)

    return ask


def test_static_files(serve: Any, tree: Path) -> None:
    ask = start(serve, tree, cache_control="max-age=60")
    answer = ask("/static/a.txt")
    assert (answer.status, answer.body) == (200, b"a")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "max-age=60"
    assert ask("/static/a.txt", f"If-None-Match: {answer.headers['etag']}\r\n").status == 304
    assert ask("/static/a.txt", "Range: bytes=0-0\r\n").status == 206
    assert ask("/static/a.txt", method="HEAD").headers["content-length"] == "1"
    assert ask("/static/%C3%A4%20b.txt").body == b"umlaut"
    assert ask("/static/a.txt", method="POST").status == 405
    assert ask("/static/").body == b"index"
    assert ask("/static/sub/").body == b"sub index"
    redirect = ask("/static/sub?x=1")
    assert (redirect.status, redirect.headers["location"]) == (308, "/static/sub/?x=1")
    assert ask("/static/absent").status == 404


# Starlette CVE-2023-29159, CVE-2026-48818; Werkzeug CVE-2024-49766, CVE-2025-66221; nginx CVE-2026-27654
@pytest.mark.parametrize(
    "path",
    [
        "/static/../secret",
        "/static/%2e%2e/secret",
        "/static/..%2fsecret",
        "/static/%2e%2e%2fsecret",
        "/static/sub/../../secret",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/..%5csecret",
        "/static/%5c%5cserver%5cshare",
        "/static/a.txt%00.html",
        "/static/./a.txt",
        "/static-secret/key",
        "/static/../static-secret/key",
        "/static/.env",
        "/static/sub/.git/config",
        "/static/fifo",
        "/static/null",
        "/static/link",
        "/static/out",
        "/static/sub/index.html/x",
        "/static/" + "a" * 300,
        "/static/" + "a/" * 3000,
        "/static",
    ],
)
def test_advisory_static_paths_do_not_lead_out(serve: Any, tree: Path, path: str) -> None:
    answer = start(serve, tree)(path)
    assert answer.status in (307, 404)
    assert b"secret" not in answer.body and answer.headers.get("location", "").endswith(
        "/static/" * (answer.status == 307)
    )


def test_symbolic_links_by_option(serve: Any, tree: Path) -> None:
    ask = start(serve, tree, follow_symlinks=True)
    assert ask("/static/link").body == b"a"
    assert ask("/static/out").body == b"secret"
    assert ask("/static/null").status == 404


def test_hidden_files_by_option(serve: Any, tree: Path) -> None:
    assert start(serve, tree, hidden_files=True)("/static/.env").body == b"secret"


def test_a_page_for_what_is_not_found(serve: Any, tree: Path) -> None:
    answer = start(serve, tree, not_found="404.html", index=None)("/static/absent")
    assert (answer.status, answer.body) == (404, b"gone")
    assert "accept-ranges" not in answer.headers


def test_precompressed_siblings(serve: Any, tree: Path) -> None:
    ask = start(serve, tree, precompressed=True)
    for accept, body, coding in (
        ("", b"plain js", None),
        ("gzip", b"gz", "gzip"),
        ("gzip, br, zstd", b"br", "br"),
        ("zstd;q=1, br;q=0.5", b"zst", "zstd"),
        ("gzip;q=0", b"plain js", None),
    ):
        answer = ask("/static/app.js", f"Accept-Encoding: {accept}\r\n" if accept else "")
        assert (answer.body, answer.headers.get("content-encoding")) == (body, coding)
        assert answer.headers["vary"] == "accept-encoding"
        assert "javascript" in answer.headers["content-type"]
    assert ask("/static/a.txt", "Accept-Encoding: gzip\r\n").body == b"a"
    assert (
        ask("/static/app.js").headers["etag"]
        != ask("/static/app.js", "Accept-Encoding: br\r\n").headers["etag"]
    )


def test_a_directory_at_the_root(serve: Any, tree: Path) -> None:
    ask = start(serve, tree, path="/")
    assert ask("/").body == b"index"
    assert ask("/a.txt").body == b"a"
    assert ask("//a.txt").status == 404


def test_what_is_no_directory(tree: Path) -> None:
    with pytest.raises(OSError):
        Server().add_static_directory("/x", tree / "absent")
    with pytest.raises(OSError):
        Server().add_static_directory("/x", tree / "a.txt")


def test_curl_resumes_a_download(serve: Any, file: Path, tmp_path: Path) -> None:
    running = serve(lambda server: server.add_static_directory("/f", file.parent))
    part = tmp_path / "part"
    part.write_bytes(DATA[:1000])
    url = f"http://127.0.0.1:{running.port}/f/data.bin"
    subprocess.run(["curl", "-sSf", "-C", "-", "-o", part, url], check=True, timeout=20)
    assert part.read_bytes() == DATA
