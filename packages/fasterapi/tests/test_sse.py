"""Server-sent events and JSON Lines by ``yield``: FastAPI's wire format, keep-alive, ends, on the native server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from types import ModuleType
from typing import Annotated, Any

import fastapi
import fastapi.sse
import fasterapi
import fasterapi.sse
import pytest
from fasterapi import _streams
from fasterapi.testclient import TestClient
from pydantic import BaseModel, ValidationError

starlette_client = pytest.importorskip("starlette.testclient")


class Item(BaseModel):
    name: str
    price: float | None = None


def build(fw: ModuleType) -> Any:
    app = fw.FastAPI()
    sse = fw.sse
    Event = sse.ServerSentEvent

    async def plain() -> AsyncIterator[Item]:
        yield Item(name="a")
        yield Item(name="zwölf", price=1.5)

    def sync() -> Iterable[Item]:
        yield Item(name="b")

    async def events(
        last_event_id: Annotated[int | None, fw.Header()] = None,
    ) -> AsyncIterator[Event]:
        first = 0 if last_event_id is None else last_event_id + 1
        for number in range(first, first + 2):
            yield Event(data={"n": number}, event="tick", id=str(number), retry=1000, comment="a\r\nb\rc")
        yield Event(raw_data="one\rtwo\r\nthree\n")
        yield Event(data="text")
        yield Event(comment="only")

    async def loose():
        yield {"any": [1, None]}
        yield "text"

    for path, endpoint in {"/plain": plain, "/sync": sync, "/events": events, "/loose": loose}.items():
        app.get(path, response_class=sse.EventSourceResponse)(endpoint)
    app.post("/posted", response_class=sse.EventSourceResponse)(plain)
    app.get("/lines")(plain)
    app.get("/lines-sync")(sync)
    return app


@pytest.mark.parametrize("path", ["/plain", "/sync", "/events", "/loose", "/posted", "/lines", "/lines-sync"])
def test_the_bytes_are_fastapis(path: str) -> None:
    method = "POST" if path == "/posted" else "GET"
    headers = {"Last-Event-ID": "41"}
    with TestClient(build(fasterapi)) as ours, starlette_client.TestClient(build(fastapi)) as theirs:
        got = ours.request(method, path, headers=headers)
        wanted = theirs.request(method, path, headers=headers)
    # JSON may be spaced differently
    assert got.text.replace('": ', '":').replace(", ", ",") == wanted.text.replace('": ', '":').replace(
        ", ", ","
    )
    for name in ("content-type", "cache-control", "x-accel-buffering"):
        assert got.headers.get(name) == wanted.headers.get(name), name


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "a\nb"},
        {"event": "a\rb"},
        {"id": "1\n2"},
        {"id": "1\x002"},
        {"retry": -1},
        {"data": 1, "raw_data": "x"},
    ],
)
def test_fields_cannot_break_out_of_their_line(fields: dict[str, Any]) -> None:
    for module in (fasterapi.sse, fastapi.sse):
        with pytest.raises(ValidationError):
            module.ServerSentEvent(**fields)


class Probe:
    def __init__(self) -> None:
        self.closed = threading.Event()
        self.tasks: set[Any] = set()

    def app(self, *, middleware: bool) -> Any:
        app = fasterapi.FastAPI()
        if middleware:

            class Nothing:
                def __init__(self, app: Any) -> None:
                    self.app = app

                async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                    await self.app(scope, receive, send)

            app.add_middleware(Nothing)

        @app.get("/idle", response_class=fasterapi.sse.EventSourceResponse)
        async def idle():
            try:
                async with asyncio.timeout(60):
                    for number in range(3):
                        self.tasks.add(asyncio.current_task())
                        yield number
                    await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0)
                self.closed.set()

        @app.get("/fails", response_class=fasterapi.sse.EventSourceResponse)
        async def fails():
            yield 1
            raise ZeroDivisionError

        return app


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_streams, "PING_SECONDS", 0.1)
    yield


@pytest.mark.parametrize("middleware", [False, True])
@pytest.mark.usefixtures("quick")
def test_idle_streams_ping_and_a_client_that_leaves_ends_the_generator(middleware: bool) -> None:
    probe = Probe()
    with TestClient(probe.app(middleware=middleware)) as client:
        with client.stream("GET", "/idle") as response:
            text = ""
            for piece in response.iter_text():
                text += piece
                if text.count(": ping\n\n") == 2:
                    break
        assert text.startswith("data: 0\n\ndata: 1\n\ndata: 2\n\n: ping\n\n")
        begun = time.monotonic()
        assert probe.closed.wait(5), "the generator was not closed"
        assert time.monotonic() - begun < 2
    assert len(probe.tasks) == 1  # its whole life in one task


def test_an_exception_in_the_generator_cuts_the_stream() -> None:
    import httpx

    probe = Probe()
    with TestClient(probe.app(middleware=False), raise_server_exceptions=False) as client:
        with pytest.raises(httpx.HTTPError), client.stream("GET", "/fails") as response:
            for piece in response.iter_text():
                assert piece == "data: 1\n\n"
