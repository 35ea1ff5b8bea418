"""Answers compressed by Accept-Encoding, requests decoded within limits."""

from __future__ import annotations

import gzip
import os
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asgi_support import Hosted
from fasterapi_http import Compression, FileResponse, Limits, Request, Response, Server, StreamingResponse
from fasterapi_http._http import available_codings, host_asgi

TEXT = b"The quick brown fox jumps over the lazy dog. " * 200


def decode(coding: str | None, body: bytes) -> bytes:
    if coding == "gzip":
        return gzip.decompress(body)
    if coding == "br":
        return bytes(pytest.importorskip("brotli").decompress(body))
    if coding == "zstd":
        return bytes(pytest.importorskip("zstandard").ZstdDecompressor().decompressobj().decompress(body))
    return body


@pytest.fixture
def ask(serve: Any, tmp_path: Path) -> Callable[..., Any]:
    (tmp_path / "file.txt").write_bytes(TEXT)

    async def text() -> Response:
        return Response(TEXT, media_type="text/plain", headers={"etag": '"x"'})

    async def small() -> Response:
        return Response(b"small", media_type="text/plain")

    async def image() -> Response:
        return Response(TEXT, media_type="image/png")

    async def kept() -> Response:
        return Response(TEXT, media_type="text/plain", headers={"cache-control": "private, No-Transform"})

    async def coded() -> Response:
        return Response(gzip.compress(TEXT), media_type="text/plain", headers={"content-encoding": "gzip"})

    async def varied() -> Response:
        return Response(TEXT, media_type="text/plain", headers={"vary": "cookie, Accept-Encoding"})

    async def large() -> Response:
        return Response(TEXT * 200, media_type="application/json")

    async def huge() -> Response:
        return Response(b"x" * 5_000_000, media_type="text/plain")

    async def stream() -> StreamingResponse:
        async def pieces() -> Any:
            for at in range(0, len(TEXT), 1000):
                yield TEXT[at : at + 1000]

        return StreamingResponse(pieces(), media_type="text/plain")

    async def events() -> StreamingResponse:
        return StreamingResponse(iter([TEXT]), media_type="text/event-stream")

    async def file() -> FileResponse:
        return FileResponse(tmp_path / "file.txt")

    def setup(server: Server) -> None:
        for handler in (text, small, image, kept, coded, varied, large, huge, stream, events, file):
            server.add_route(["GET", "HEAD"], f"/{handler.__name__}", handler, mode="async")

    running = serve(setup, compression=True)

    def ask(path: str, accept: str | None = "gzip", method: str = "GET", more: str = "") -> Any:
        headers = f"Accept-Encoding: {accept}\r\n" if accept is not None else ""
        return running.get(path, method, headers=headers + more)

    return ask


@pytest.mark.parametrize("path", ["/text", "/stream", "/large"])
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_each_coding(ask: Any, path: str, coding: str) -> None:
    if coding not in available_codings():
        pytest.skip(f"built without {coding}")
    answer = ask(path, coding)
    assert answer.headers["content-encoding"] == coding
    assert answer.headers["vary"] == "accept-encoding"
    assert decode(coding, answer.body) == TEXT * (200 if path == "/large" else 1)
    assert len(answer.body) < len(TEXT)
    assert ("content-length" in answer.headers) == (path != "/stream")


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("deflate", None),
        ("gzip;q=0.5, identity;q=1", None),
        ("gzip, deflate", "gzip"),
        ("br;q=0.2, gzip;q=0.8", "gzip"),
        ("*;q=0, gzip", "gzip"),
    ],
)
def test_negotiation(ask: Any, accept: str | None, coding: str | None) -> None:
    answer = ask("/text", accept)
    assert answer.headers.get("content-encoding") == coding
    assert decode(coding, answer.body) == TEXT
    assert answer.headers["vary"] == "accept-encoding"
    assert answer.headers["etag"] == ('W/"x"' if coding else '"x"')


@pytest.mark.parametrize("path", ["/small", "/image", "/kept", "/events", "/file", "/huge"])
def test_what_is_left_alone(ask: Any, path: str) -> None:
    answer = ask(path)
    assert "content-encoding" not in answer.headers
    assert "vary" not in answer.headers


def test_what_is_coded_already_is_not_coded_again(ask: Any) -> None:
    assert gzip.decompress(ask("/coded").body) == TEXT


def test_vary_is_not_repeated(ask: Any) -> None:
    assert ask("/varied").headers["vary"] == "cookie, Accept-Encoding"


def test_head_has_the_fields_of_get(ask: Any) -> None:
    answer = ask("/text", method="HEAD")
    assert answer.headers["content-encoding"] == "gzip"
    assert "content-length" not in answer.headers


def test_http_1_0_gets_a_stream_to_the_end_of_the_connection(serve: Any) -> None:
    async def stream() -> StreamingResponse:
        return StreamingResponse(
            iter([TEXT]), media_type="text/plain", headers={"content-length": str(len(TEXT))}
        )

    running = serve(lambda s: s.add_route(["GET"], "/", stream, mode="async"), compression=True)
    with running.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
        assert gzip.decompress(client.read().body) == TEXT


def test_each_piece_of_a_stream_can_be_read_at_once(serve: Any) -> None:
    import threading

    go = threading.Event()

    async def stream() -> StreamingResponse:
        async def pieces() -> Any:
            import asyncio

            yield b"first"
            while not go.is_set():
                await asyncio.sleep(0.01)
            yield b"second"

        return StreamingResponse(pieces(), media_type="text/plain")

    running = serve(lambda s: s.add_route(["GET"], "/", stream, mode="async"), compression=True)
    with running.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n")
        decoder = zlib.decompressobj(31)
        while b"\r\n\r\n" not in client.buffer:
            client._more()
        client.buffer = client.buffer.partition(b"\r\n\r\n")[2]
        got = b""
        while got != b"first":
            while b"\r\n" not in client.buffer:
                client._more()
            size, _, client.buffer = client.buffer.partition(b"\r\n")
            while len(client.buffer) < int(size, 16) + 2:
                client._more()
            got += decoder.decompress(client.buffer[: int(size, 16)])
            client.buffer = client.buffer[int(size, 16) + 2 :]
        go.set()


def test_asgi_answers_are_compressed_and_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(TEXT)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError
        kind = [(b"content-type", b"text/plain"), (b"content-length", str(len(TEXT)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": kind})
        if scope["path"] == "/file":
            await send({"type": "http.response.pathsend", "path": str(tmp_path / "file")})
            return
        if scope["path"] == "/pieces":
            await send({"type": "http.response.body", "body": TEXT[:500], "more_body": True})
            await send({"type": "http.response.body", "body": TEXT[500:]})
            return
        await send({"type": "http.response.body", "body": TEXT})

    hosted = Hosted(app)

    async def replace() -> None:
        server = Server(compression=True)
        host_asgi(server, app)
        await server.start("127.0.0.1", 0)
        hosted.second = server  # type: ignore[attr-defined]

    import asyncio

    asyncio.run_coroutine_threadsafe(replace(), hosted.loop).result(5)
    from http_client import Client

    for path, coding in (("/", "gzip"), ("/pieces", "gzip"), ("/file", None)):
        with Client(hosted.second.port) as client:  # type: ignore[attr-defined]
            answer = client.request("GET", path, headers="Accept-Encoding: gzip\r\n")
            assert answer.headers.get("content-encoding") == coding
            assert decode(coding, answer.body) == TEXT
    asyncio.run_coroutine_threadsafe(hosted.second.drain(1), hosted.loop).result(5)  # type: ignore[attr-defined]
    hosted.stop()


def test_curl_decodes(ask: Any, serve: Any) -> None:
    async def text() -> Response:
        return Response(TEXT, media_type="text/plain")

    running = serve(lambda s: s.add_route(["GET"], "/", text, mode="async"), compression=True)
    run = subprocess.run(
        ["curl", "-sS", "--compressed", f"http://127.0.0.1:{running.port}/"], capture_output=True, timeout=20
    )
    assert run.stdout == TEXT


def test_options_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no content coding"):
        Server(compression=Compression(codings=["deflate"]))
    with pytest.raises(ValueError, match="gzip_level"):
        Server(compression=Compression(gzip_level=10))


# ---------------------------------------------------------------- requests


@pytest.fixture
def post(serve: Any) -> Callable[..., Any]:
    async def size(body: bytes) -> dict[str, Any]:
        return {"size": len(body), "start": body[:10].decode("latin-1")}

    async def streamed(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    def setup(server: Server) -> None:
        server.add_route(
            ["POST"], "/{x}/size", size, mode="async", args=[("body_bytes", None, None, True, None)]
        )
        request = [("request", None, None, True, None)]
        server.add_route(["POST"], "/stream", streamed, mode="async", args=request, stream_body=True)

    running = serve(setup, decode_requests=True, limits=Limits(max_body_bytes=1_000_000))

    def post(body: bytes, coding: str, path: str = "/a/size") -> Any:
        return running.get(path, "POST", body, f"Content-Encoding: {coding}\r\n")

    return post


def test_a_compressed_request_is_decoded(post: Any) -> None:
    assert post(gzip.compress(TEXT), "gzip").json() == {"size": len(TEXT), "start": "The quick "}
    assert post(gzip.compress(os.urandom(200_000)), "gzip", "/stream").json() == {"size": 200_000}
    assert post(TEXT, "identity").json()["size"] == len(TEXT)
    if "br" in available_codings():
        assert post(pytest.importorskip("brotli").compress(TEXT), "br").json()["size"] == len(TEXT)
    if "zstd" in available_codings():
        assert post(pytest.importorskip("zstandard").compress(TEXT), "zstd").json()["size"] == len(TEXT)


# aiohttp zip bombs, undici CVE-2026-1526
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_advisory_limits_inflate_ratio_and_size(post: Any, coding: str) -> None:
    if coding not in available_codings():
        pytest.skip(f"built without {coding}")

    def compress(data: bytes) -> bytes:
        if coding == "gzip":
            return gzip.compress(data)
        if coding == "br":
            return bytes(pytest.importorskip("brotli").compress(data))
        return bytes(pytest.importorskip("zstandard").compress(data))

    bomb = compress(bytes(900_000))  # within max_body_bytes, but a thousand times what is sent
    assert post(bomb, coding).status == 413
    assert post(compress(bytes(100_000_000)), coding).status == 413
    noise = os.urandom(600_000) + b"y" * 600_000  # a small ratio, but too much
    assert post(compress(noise), coding).status == 413


def test_malformed_and_unknown_codings(post: Any) -> None:
    whole = gzip.compress(TEXT)
    for body in (whole[:-5], b"not gzip", whole + b"more", b"x"):
        assert post(body, "gzip").status == 400
    for coding in ("deflate", "gzip, br", "x"):
        assert post(whole, coding).status == 415


def test_requests_are_not_decoded_by_default(serve: Any) -> None:
    async def size(body: bytes) -> int:
        return len(body)

    running = serve(
        lambda s: s.add_route(
            ["POST"], "/", size, mode="async", args=[("body_bytes", None, None, True, None)]
        )
    )
    body = gzip.compress(TEXT)
    assert running.get("/", "POST", body, "Content-Encoding: gzip\r\n").json() == len(body)
