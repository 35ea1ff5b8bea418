"""Applications of the frameworks that people have, unchanged."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgi_support import Hosted

httpx = pytest.importorskip("httpx")
starlette = pytest.importorskip("starlette")
fastapi = pytest.importorskip("fastapi")

from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from starlette.applications import Starlette  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402
from starlette.middleware.base import BaseHTTPMiddleware  # noqa: E402
from starlette.middleware.gzip import GZipMiddleware  # noqa: E402
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse  # noqa: E402
from starlette.routing import Mount, Route  # noqa: E402


@pytest.fixture
def host() -> Iterator[Callable[..., Any]]:
    running: list[Any] = []

    def start(app: Any, **options: Any) -> tuple[Any, Hosted]:
        hosted = Hosted(app, **options)
        client = httpx.Client(base_url=f"http://127.0.0.1:{hosted.port}")
        running.append((client, hosted))
        return client, hosted

    yield start
    for client, hosted in running:
        client.close()
        hosted.stop()


def test_starlette(host: Any) -> None:
    async def home(request: Any) -> Response:
        return JSONResponse(
            {"path": request.url.path, "query": dict(request.query_params), "client": request.client.host}
        )

    async def echo(request: Any) -> Response:
        return Response(await request.body(), media_type=request.headers["content-type"])

    async def form(request: Any) -> Response:
        return JSONResponse({key: str(value) for key, value in (await request.form()).items()})

    async def stream(request: Any) -> Response:
        async def pieces() -> AsyncIterator[bytes]:
            for i in range(5):
                yield b"%d," % i
                await asyncio.sleep(0)

        return StreamingResponse(pieces(), media_type="text/plain")

    def blocking(request: Any) -> Response:
        time.sleep(0.01)
        return PlainTextResponse(threading.current_thread().name)

    class Stamp(BaseHTTPMiddleware):
        async def dispatch(self, request: Any, call_next: Any) -> Any:
            response = await call_next(request)
            response.headers["x-stamp"] = request.state.name
            return response

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[dict[str, str]]:
        yield {"name": "from lifespan"}

    app = Starlette(
        routes=[
            Route("/", home),
            Route("/echo", echo, methods=["POST"]),
            Route("/form", form, methods=["POST"]),
            Route("/stream", stream),
            Mount("/sub", routes=[Route("/blocking", blocking)]),
        ],
        middleware=[Middleware(Stamp), Middleware(GZipMiddleware, minimum_size=10)],
        lifespan=lifespan,
    )
    client, hosted = host(app)
    answer = client.get("/?a=1&b=%20")
    assert answer.json() == {"path": "/", "query": {"a": "1", "b": " "}, "client": "127.0.0.1"}
    assert answer.headers["x-stamp"] == "from lifespan"
    assert (
        client.post("/echo", content=b"x" * 200_000, headers={"content-type": "a/b"}).content
        == b"x" * 200_000
    )
    assert client.post("/form", data={"k": "v w"}).json() == {"k": "v w"}
    assert client.get("/stream").text == "0,1,2,3,4,"
    assert client.get("/sub/blocking").text != threading.current_thread().name
    assert client.get("/missing").status_code == 404
    assert client.get("/echo").status_code == 405
    assert hosted.errors == []


class Item(BaseModel):
    name: str
    price: float


closed: list[str] = []


async def resource() -> AsyncIterator[str]:
    yield "resource"
    closed.append("resource")


def test_fastapi(host: Any) -> None:
    closed.clear()
    after = threading.Event()
    app = FastAPI()

    @app.get("/users/{user_id}")
    async def user(user_id: int, q: str | None = None) -> dict[str, Any]:
        return {"id": user_id, "q": q}

    @app.post("/items", response_model=Item, status_code=201)
    async def item(item: Item, background: BackgroundTasks, value: str = Depends(resource)) -> Item:
        background.add_task(after.set)
        assert value == "resource"
        return item

    @app.get("/sync")
    def blocking() -> str:
        return "sync"

    @app.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout")

    @app.get("/boom")
    async def boom() -> None:
        raise ValueError("boom")

    client, hosted = host(app)
    assert client.get("/users/7?q=x").json() == {"id": 7, "q": "x"}
    assert client.get("/users/x").status_code == 422
    answer = client.post("/items", json={"name": "a", "price": 1.5})
    assert (answer.status_code, answer.json()) == (201, {"name": "a", "price": 1.5})
    assert after.wait(5)
    deadline = time.monotonic() + 5
    while not closed and time.monotonic() < deadline:  # the dependency is closed after the background task
        time.sleep(0.01)
    assert closed == ["resource"]
    assert client.get("/sync").json() == "sync"
    assert client.get("/teapot").status_code == 418
    assert "/items" in client.get("/openapi.json").json()["paths"]
    assert hosted.errors == []
    assert client.get("/boom").status_code == 500
    assert isinstance(hosted.errors[0], ValueError)


def test_disconnects_are_seen_by_starlette(host: Any) -> None:
    seen = threading.Event()
    stopped = threading.Event()
    app = FastAPI()

    @app.get("/poll")
    async def poll(request: Request) -> str:
        while not await request.is_disconnected():
            await asyncio.sleep(0.01)
        seen.set()
        return "gone"

    @app.get("/endless")
    async def endless() -> Any:
        async def pieces() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 100
                    await asyncio.sleep(0.01)
            finally:
                stopped.set()

        return StreamingResponse(pieces())

    client, _ = host(app)
    with pytest.raises(httpx.ReadTimeout):
        client.get("/poll", timeout=0.2)
    assert seen.wait(5)
    with client.stream("GET", "/endless") as answer:
        next(answer.iter_raw())
    assert stopped.wait(5)


def test_many_clients_at_once(host: Any) -> None:
    app = FastAPI()

    @app.get("/{number}")
    async def one(number: int) -> int:
        await asyncio.sleep(number % 5 / 1000)
        return number

    _, hosted = host(app)

    async def ask() -> list[int]:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{hosted.port}") as client:
            answers = await asyncio.gather(*(client.get(f"/{i}") for i in range(200)))
        return [answer.json() for answer in answers]

    assert asyncio.run(ask()) == list(range(200))
