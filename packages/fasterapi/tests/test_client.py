"""TestClient, lifespan, overrides, WebSockets and exceptions on the native server."""

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import Annotated, Any

import fasterapi
import feature_app
import pytest
from fasterapi import App, Depends, HTTPException, Request
from fasterapi.testclient import TestClient
from fasterapi.websockets import WebSocketDisconnect


def test_lifespan_runs_around_the_context_manager() -> None:
    app, log = feature_app.build(fasterapi)
    with TestClient(app) as client:
        assert log == ["start"]
        client.get("/users/me")
    assert log[-1] == "stop"


def test_without_context_manager_no_lifespan_runs() -> None:
    app, log = feature_app.build(fasterapi, middleware=False)
    client = TestClient(app)
    assert client.get("/users/me").json() == "me"
    client.close()
    assert "start" not in log


def test_lifespan_state_reaches_requests_and_events_run_in_order() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App):
        log.append("up")
        yield {"pool": "pool"}
        log.append("down")

    app = App(lifespan=lifespan)

    @app.on_event("startup")
    async def started() -> None:
        log.append("event up")

    @app.on_event("shutdown")
    def stopped() -> None:
        log.append("event down")

    @app.get("/")
    async def read(request: Request) -> str:
        request.app.state.hits = 1
        return request.state.pool

    with TestClient(app) as client:
        assert client.get("/").json() == "pool"
    assert log == ["up", "event up", "event down", "down"]
    assert app.state.hits == 1


def test_failing_lifespan_raises_in_the_test() -> None:
    @asynccontextmanager
    async def lifespan(app: App):
        raise ValueError("no database")
        yield

    with pytest.raises(ValueError, match="no database"), TestClient(App(lifespan=lifespan)):
        pass


def test_server_exceptions_are_raised_or_answered() -> None:
    app, _ = feature_app.build(fasterapi, middleware=False)
    with TestClient(app) as client, pytest.raises(RuntimeError, match="unexpected"):
        client.get("/error")
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/error")
        assert (answer.status_code, answer.text) == (500, "Internal Server Error")


def test_handler_of_exception_answers_and_the_error_is_still_raised() -> None:
    app = App()

    @app.exception_handler(Exception)
    async def any_error(request: Request, exc: Exception) -> Any:
        return fasterapi.Response(f"sorry: {exc}", status_code=500)

    @app.get("/")
    def fail() -> None:
        raise KeyError("x")

    with TestClient(app) as client, pytest.raises(KeyError):
        client.get("/")
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.get("/").text == "sorry: 'x'"


def test_overrides_swap_plans_while_the_server_runs() -> None:
    app = App()
    calls: list[str] = []

    def number(q: int = 1) -> int:
        calls.append("number")
        return q

    async def doubled(n: Annotated[int, Depends(number)]) -> int:
        return n * 2

    @app.get("/")
    async def read(n: Annotated[int, Depends(doubled)]) -> int:
        return n

    @app.get("/sync")
    def read_sync(n: Annotated[int, Depends(number)]) -> int:
        return n

    def replacement(z: int) -> int:
        return z + 100

    async def generator():
        calls.append("enter")
        yield 7
        calls.append("exit")

    with TestClient(app) as client:
        assert client.get("/?q=3").json() == 6
        app.dependency_overrides[number] = replacement
        assert client.get("/?z=1").json() == 202
        assert client.get("/?q=1").status_code == 422
        assert client.get("/sync?z=5").json() == 105
        app.dependency_overrides[number] = generator
        assert client.get("/").json() == 14
        assert client.get("/sync").json() == 7
        app.dependency_overrides = {}
        assert client.get("/?q=4").json() == 8
        assert client.get("/sync?q=4").json() == 4
    assert calls == ["number", "enter", "exit", "enter", "exit", "number", "number"]


def test_override_may_refuse() -> None:
    app = App()

    async def user() -> str:
        return "real"

    @app.get("/")
    async def read(u: Annotated[str, Depends(user)]) -> str:
        return u

    def refuse() -> None:
        raise HTTPException(403, "no", headers={"x-why": "test"})

    with TestClient(app) as client:
        app.dependency_overrides[user] = refuse
        answer = client.get("/")
        assert (answer.status_code, answer.json(), answer.headers["x-why"]) == (403, {"detail": "no"}, "test")


def test_threads_and_loop_are_chosen_by_what_the_function_does() -> None:
    app = App()

    def where() -> bool:
        return threading.current_thread().name.startswith("fasterapi-testclient")

    @app.get("/calls")
    def calls() -> bool:
        return where()

    @app.get("/inline", inline=True)
    def inline() -> bool:
        return where()

    @app.get("/async")
    async def on_loop() -> bool:
        return where() and asyncio.current_task() is not None

    with TestClient(app) as client:
        assert client.get("/calls").json() is False
        assert client.get("/inline").json() is True
        assert client.get("/async").json() is True


def test_websocket_with_parameters() -> None:
    app, _ = feature_app.build(fasterapi, middleware=False)
    with TestClient(app) as client:
        with client.websocket_connect("/ws/3?q=hello", subprotocols=["chat"]) as ws:
            assert ws.accepted_subprotocol == "chat"
            assert ws.receive_json() == {"room": 3, "q": "hello"}
            ws.send_text("one")
            assert ws.receive_text() == "echo one"
            ws.send_text("bye")
            with pytest.raises(WebSocketDisconnect) as closed:
                ws.receive_text()
            assert (closed.value.code, closed.value.reason) == (4000, "bye")


@pytest.mark.parametrize(("url", "code"), [("/ws/x", 1008), ("/ws-refuse", 1008), ("/nowhere", 1000)])
def test_websocket_refused(url: str, code: int) -> None:
    app, _ = feature_app.build(fasterapi, middleware=False)
    with TestClient(app) as client:
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect(url):
            pass
        assert closed.value.code == code


def test_encoded_slash_stays_inside_a_parameter_on_the_native_lane() -> None:
    # Starlette routes on the decoded path and would not find it.
    app, _ = feature_app.build(fasterapi, middleware=False)
    with TestClient(app) as client:
        assert client.get("/users/b%2Fob").json() == ["b/ob", {"name": "b/ob"}]


def test_any_asgi_application_can_be_tested() -> None:
    async def plain(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"b")]})
        await send({"type": "http.response.body", "body": scope["path"].encode()})

    client = TestClient(plain)
    assert client.get("/x").text == "/x"
    client.close()


def test_sync_streams_and_unclosed_bodies_of_uploads() -> None:
    app = App()

    @app.post("/upload")
    async def upload(request: Request) -> int:
        total = 0
        async for piece in request.stream():
            total += len(piece)
        return total

    with TestClient(app) as client:
        assert client.post("/upload", content=b"x" * 300_000).json() == 300_000


def test_lifespan_runs_once_and_its_state_arrives_behind_middleware() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App):
        log.append("up")
        yield {"pool": "pool"}
        log.append("down")

    app = App(lifespan=lifespan)

    @app.middleware("http")
    async def passing(request: Request, call_next: Any) -> Any:
        request.state.seen = request.state.pool + "!"
        return await call_next(request)

    @app.get("/")
    async def read(request: Request) -> list[str]:
        return [request.state.pool, request.state.seen, request.client.host]

    with TestClient(app) as client:
        assert client.get("/").json() == ["pool", "pool!", "testclient"]
    assert log == ["up", "down"]


def test_form_limits_of_a_route() -> None:
    app = App(form_limits={"max_fields": 2})

    @app.post("/")
    async def form(request: Request, a: Annotated[str, fasterapi.Form()]) -> str:
        return a

    with TestClient(app) as client:
        assert client.post("/", data={"a": "1", "b": "2"}).json() == "1"
        answer = client.post("/", data={"a": "1", "b": "2", "c": "3"})
        assert (answer.status_code, answer.json()) == (
            400,
            {"detail": "Too many fields. Maximum number of fields is 2."},
        )
