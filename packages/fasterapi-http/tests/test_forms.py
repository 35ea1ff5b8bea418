"""``Request.form()`` of native handlers: multipart and urlencoded, limits, spooling."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

import pytest
from fasterapi_http import FormError, Limits, Request, Server, UploadFile
from fasterapi_http._forms import parse_form


async def pieces(body: bytes, size: int) -> Any:
    for at in range(0, len(body), size):
        yield body[at : at + size]


def parse(body: bytes, kind: str = "multipart/form-data; boundary=XX", size: int = 7, **limits: Any) -> Any:
    return asyncio.run(parse_form(kind, pieces(body, size), UploadFile, **limits))


BODY = (
    b'--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\nvalue\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="f"; filename="dir/\xc3\xa9.txt"\r\nContent-Type: text/x\r\n\r\n'
    + b"\x00\r\n-" * 100
    + b"\r\n--XX--\r\n"
)


@pytest.fixture
def served(serve: Any) -> Any:
    async def handler(request: Request) -> Any:
        form = await request.form(max_files=2)
        answer = []
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                answer.append([name, value.filename, value.content_type, value.size, len(await value.read())])
            else:
                answer.append([name, value])
        await form.close()
        return answer

    def setup(server: Server) -> None:
        args = [("request", None, None, True, None)]
        server.add_route(["POST"], "/stream", handler, mode="async", args=args, stream_body=True)
        server.add_route(["POST"], "/buffered", handler, mode="async", args=args)

    return serve(setup, limits=Limits(max_body_bytes=20_000_000))


@pytest.mark.parametrize("path", ["/stream", "/buffered"])
def test_a_form_with_curl(served: Any, path: str, tmp_path: Path) -> None:
    (tmp_path / "large.bin").write_bytes(b"x" * 5_000_000)
    url = f"http://127.0.0.1:{served.port}{path}"
    run = subprocess.run(
        ["curl", "-sS", "-F", "a=1", "-F", f"f=@{tmp_path}/large.bin", "-F", "a=2", url],
        capture_output=True,
        timeout=20,
    )
    assert run.stdout == (
        b'[["a","1"],["f","large.bin","application/octet-stream",5000000,5000000],["a","2"]]'
    ), run.stderr
    run = subprocess.run(
        ["curl", "-sS", "--data-urlencode", "a=\u00e9 &", "-d", "b=", url], capture_output=True, timeout=20
    )
    assert run.stdout.decode() == '[["a","\u00e9 &"],["b",""]]'


def test_errors_are_400(served: Any) -> None:
    kind = "Content-Type: multipart/form-data; boundary=XX\r\n"
    for body, text in (
        (b"--XX\r\nno colon\r\n\r\n", "Malformed header in multipart."),
        (b"--XX\r\nContent-Disposition: form-data; name=a\r\n\r\n1", "Multipart body ended too early."),
        (
            b'--XX\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\n1\r\n' * 3 + b"--XX--",
            "Too many files. Maximum number of files is 2.",
        ),
    ):
        answer = served.get("/buffered", "POST", body, kind)
        assert (answer.status, answer.json()) == (400, {"detail": text})
    answer = served.get("/buffered", "POST", b"x", "Content-Type: multipart/form-data\r\n")
    assert answer.json() == {"detail": "Missing boundary in multipart."}
    answer = served.get("/buffered", "POST", b"{}", "Content-Type: application/json\r\n")
    assert (answer.status, answer.json()) == (200, [])


def test_the_pieces_of_a_form() -> None:
    (a, value), (f, file) = parse(BODY)
    assert (a, value, f) == ("a", "value", "f")
    assert (file.filename, file.content_type, file.size) == ("\u00e9.txt", "text/x", 400)
    assert file.file.read() == b"\x00\r\n-" * 100


# Starlette CVE-2025-54121
def test_advisory_spooling_to_disk_never_blocks_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    wrote: list[tuple[bool, bool]] = []
    loop_thread = threading.current_thread()
    original = SpooledTemporaryFile.write

    def write(self: Any, data: Any) -> int:
        before = self._rolled
        size: int = original(self, data)
        on_disk = before or self._rolled
        wrote.append((on_disk, threading.current_thread() is loop_thread))
        return size

    monkeypatch.setattr(SpooledTemporaryFile, "write", write)
    body = BODY.replace(b"\x00\r\n-" * 100, b"y" * 3_000_000)
    [_, (_, file)] = parse(body, size=100_000)
    assert file.size == 3_000_000
    assert (False, True) in wrote and (True, False) in wrote
    assert (True, True) not in wrote


# Starlette CVE-2024-47874, CVE-2026-54283
def test_advisory_form_limits() -> None:
    urlencoded = "application/x-www-form-urlencoded"
    with pytest.raises(FormError, match="Too many fields. Maximum number of fields is 2"):
        parse(b"a=1&b=2&c=3", urlencoded, max_fields=2)
    with pytest.raises(FormError, match="Field exceeded maximum size of 1KB"):
        parse(b"a=" + b"x" * 2000, urlencoded, max_part_size=1024)
    with pytest.raises(FormError, match="Too many files"):
        parse(BODY, max_files=0)
    with pytest.raises(FormError, match="Part exceeded maximum size of 0KB"):
        parse(BODY, max_part_size=4)
    with pytest.raises(FormError, match="longer than 256"):
        parse(b"", "multipart/form-data; boundary=" + "x" * 257)
    assert len(parse(b"&".join([b"a=1"] * 500), urlencoded)) == 500


# Tornado CVE-2025-47287, aiohttp CVE-2024-30251
def test_advisory_a_malformed_form_ends_and_closes_its_files() -> None:
    made: list[UploadFile] = []

    def make(*args: Any) -> UploadFile:
        made.append(UploadFile(*args))
        return made[-1]

    with pytest.raises(FormError):
        asyncio.run(parse_form("multipart/form-data; boundary=XX", pieces(BODY[:-20], 50), make))
    assert made[0].file.closed
