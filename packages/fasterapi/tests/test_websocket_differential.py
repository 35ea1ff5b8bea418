"""WebSockets of the App beside FastAPI's: one application, both frameworks, the same transcript. Through the test
clients, and on real sockets.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import fastapi
import fasterapi
import fasterapi_core
import fasterapi_http
import pytest
import websocket_app
from fasterapi.testclient import TestClient as FasterClient

starlette_client = pytest.importorskip("starlette.testclient")

# (id, url, options, what the client does): ">text" sends, ">b:..." sends bytes, "<" receives, "x" closes
SCENARIOS: list[tuple[str, str, dict[str, Any], list[str]]] = [
    ("echo", "/echo", {}, [">one", "<", ">zwölf €", "<", "x"]),
    ("client closes with code", "/echo", {}, [">one", "<", "x3005"]),
    ("bytes", "/bytes", {}, [">b:abc", "<", ">b:", "<", "x"]),
    ("json", "/json", {}, ['>{"a": [1, null]}', "<", "<", "x"]),
    ("json modes", "/mode", {}, ["<", '>b:{"x": 1}', "<"]),
    (
        "parameters",
        "/items/5/a/b?q=9&many=x&many=y",
        {"headers": {"x-token": "t", "cookie": "session=s"}, "subprotocols": ["a", "b"]},
        ["<"] * 6,
    ),
    ("defaults", "/items/5/", {}, ["<"] * 6),
    ("bad path parameter", "/items/x/a", {}, []),
    ("bad query parameter", "/items/1/a?q=x", {}, []),
    ("dependencies", "/depends?token=me", {}, ["<", "x"]),
    ("dependency refuses", "/depends", {}, []),
    ("handled exception", "/fault", {}, ["<"]),
    ("handled exception before accept", "/fault?early=1", {}, []),
    ("unhandled exception", "/raises", {}, ["<"]),
    ("HTTPException", "/http-exception", {}, []),
    ("denial response", "/denied", {}, []),
    ("refused", "/refused", {}, []),
    ("misuse", "/misuse", {}, ["<", "<"]),
    ("router with prefixes", "/v1/api/rooms/blue", {}, ["<"]),
    ("plain route", "/plain/x", {}, ["<", "<"]),
    ("mounted application", "/sub/inner/4", {}, ["<"]),
    ("mounted application, bad parameter", "/sub/inner/x", {}, []),
    ("nowhere", "/nowhere", {}, []),
    ("nowhere in the mount", "/sub/nowhere", {}, []),
]
IDS = [row[0] for row in SCENARIOS]


def describe(error: BaseException) -> list[Any]:
    name = type(error).__name__
    if name == "WebSocketDenialResponse":
        response: Any = error
        return [
            name,
            response.status_code,
            response.headers.get("x-why"),
            response.headers.get("x-tea"),
            response.text,
        ]
    reason = getattr(error, "reason", None)
    if isinstance(reason, list):  # FastAPI hands the test client the errors themselves
        reason = str(reason)
    return [name, getattr(error, "code", None), reason, str(error) if name == "ZeroDivisionError" else None]


def play(client: Any, url: str, options: dict[str, Any], steps: list[str]) -> list[Any]:
    transcript: list[Any] = []
    try:
        with client.websocket_connect(url, **options) as session:
            extra = sorted((k, v) for k, v in session.extra_headers if k.startswith(b"x-"))
            transcript.append(["accepted", session.accepted_subprotocol, extra])
            for step in steps:
                if step == "<":
                    message = dict(session.receive())
                    transcript.append({key: value for key, value in message.items() if value is not None})
                elif step.startswith("x"):
                    session.close(int(step[1:] or 1000))
                elif step.startswith(">b:"):
                    session.send_bytes(step[3:].encode())
                else:
                    session.send_text(step[1:])
    except BaseException as error:
        transcript.append(describe(error))
    return transcript


def normal(transcript: list[Any]) -> list[Any]:
    """JSON texts compare by value: only their spacing may differ."""

    def value(one: Any) -> Any:
        if isinstance(one, dict):
            for key in ("text", "bytes"):
                if isinstance(one.get(key), (str, bytes)):
                    try:
                        one = {**one, key: ["json", json.loads(one[key])]}
                    except ValueError:
                        pass
            if one.get("reason") == "":
                one = {key: value for key, value in one.items() if key != "reason"}
        return one

    if transcript and isinstance(transcript[-1], list) and transcript[-1][0] == "ZeroDivisionError":
        return transcript[-1:]  # whether the client hears of accept before is a race of threads
    return [value(one) for one in transcript]


@pytest.mark.parametrize(("url", "options", "steps"), [row[1:] for row in SCENARIOS], ids=IDS)
def test_the_same_transcript(url: str, options: dict[str, Any], steps: list[str]) -> None:
    ours, our_log = websocket_app.build(fasterapi)
    theirs, their_log = websocket_app.build(fastapi)
    with FasterClient(ours) as client:
        got = normal(play(client, url, options, steps))
    with starlette_client.TestClient(theirs) as client:
        wanted = normal(play(client, url, options, steps))
    assert got == wanted
    assert our_log == their_log


# ---- on real sockets


class Served:
    """Both applications on our server, in a thread."""

    def __init__(self) -> None:
        self.ports: dict[str, int] = {}
        self.logs: dict[str, list[str]] = {}
        self.errors: list[BaseException] = []
        self._ready: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        if (failure := self._ready.get(timeout=20)) is not None:
            raise failure

    def _run(self) -> None:
        try:
            fasterapi_core.run(self._main())
        except BaseException as error:
            self._ready.put(error)

    async def _main(self) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        ours, self.logs["fasterapi"] = websocket_app.build(fasterapi)
        theirs, self.logs["fastapi"] = websocket_app.build(fastapi)
        started = asyncio.Event()

        def ready(server: Any) -> None:
            self.ports["fasterapi"] = server.port
            started.set()

        main = asyncio.create_task(ours.serve(port=0, access_log=False, stop=self._stop, ready=ready))
        await started.wait()
        from fasterapi_http._http import host_asgi

        server = fasterapi_http.Server()
        host_asgi(server, theirs, state={"greeting": "hello"}, report=self.errors.append)
        await server.start("127.0.0.1", 0)
        self.ports["fastapi"] = server.port
        self._ready.put(None)
        await main
        await server.drain(1)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    one = Served()
    yield one
    one.stop()


def play_on_sockets(port: int, url: str, options: dict[str, Any], steps: list[str]) -> list[Any]:
    from websockets.exceptions import ConnectionClosed, InvalidStatus
    from websockets.sync.client import connect

    transcript: list[Any] = []
    try:
        with connect(
            f"ws://127.0.0.1:{port}{url}",
            additional_headers=options.get("headers"),
            subprotocols=options.get("subprotocols"),
            close_timeout=5,
        ) as session:
            assert session.response is not None
            transcript.append(["accepted", session.subprotocol, session.response.headers.get("x-extra")])
            for step in steps:
                if step == "<":
                    data = session.recv(timeout=5)
                    transcript.append({"text": data} if isinstance(data, str) else {"bytes": data})
                elif step.startswith("x"):
                    session.close(int(step[1:] or 1000))
                elif step.startswith(">b:"):
                    session.send(step[3:].encode())
                else:
                    session.send(step[1:])
    except InvalidStatus as error:
        answer = error.response
        transcript.append(["refused", answer.status_code, answer.headers.get("x-why"), answer.body.decode()])
    except ConnectionClosed as error:
        transcript.append(["closed", error.rcvd and (error.rcvd.code, error.rcvd.reason)])
    return transcript


@pytest.mark.parametrize(("url", "options", "steps"), [row[1:] for row in SCENARIOS], ids=IDS)
def test_the_same_on_the_wire(served: Served, url: str, options: dict[str, Any], steps: list[str]) -> None:
    pytest.importorskip("websockets")
    got = normal(play_on_sockets(served.ports["fasterapi"], url, options, steps))
    wanted = normal(play_on_sockets(served.ports["fastapi"], url, options, steps))
    assert got == wanted


def test_a_route_of_the_same_path_answers_http(served: Served) -> None:
    import httpx

    assert httpx.get(f"http://127.0.0.1:{served.ports['fasterapi']}/echo").json() == "http"
    assert play_on_sockets(served.ports["fasterapi"], "/echo", {}, [">x", "<"])[1] == {"text": "echo x"}


def test_the_native_lane_is_kept_beside_websockets() -> None:
    from fasterapi._native import runs_native

    app, _ = websocket_app.build(fasterapi)
    assert runs_native(app)
