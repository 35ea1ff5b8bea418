"""An application that writes down what its dependencies do, built by either framework."""

import asyncio
import contextvars
import importlib
from types import ModuleType
from typing import Annotated, Any

current: contextvars.ContextVar[str] = contextvars.ContextVar("current", default="unset")


def build(fw: ModuleType) -> tuple[Any, list[str]]:
    log: list[str] = []
    Depends, HTTPException, Request, Response = fw.Depends, fw.HTTPException, fw.Request, fw.Response
    responses = importlib.import_module(fw.__name__ + ".responses")
    BackgroundTasks = fw.BackgroundTasks
    app = fw.FastAPI()

    class Handled(Exception):
        pass

    class Inner(Exception):
        pass

    @app.exception_handler(Handled)
    async def on_handled(request: Request, exc: Handled):
        log.append(f"handler {exc}")
        return responses.JSONResponse({"handled": str(exc)}, status_code=418)

    async def outer():
        log.append("outer enter")
        try:
            yield "outer"
        except Exception as exc:
            log.append(f"outer saw {type(exc).__name__}")
            raise
        finally:
            log.append("outer exit")

    def inner(value: Annotated[str, Depends(outer)]):
        log.append("inner enter")
        try:
            yield value + "+inner"
        except Inner:
            log.append("inner converts")
            raise Handled("converted") from None
        finally:
            log.append("inner exit")

    def plain(number: int = 1):
        log.append("plain")
        return number

    async def plain_async(number: Annotated[int, Depends(plain)]):
        log.append("plain_async")
        return number + 1

    def swallowing():
        try:
            yield 1
        except Inner:
            log.append("swallowed")

    def failing_exit():
        yield 1
        log.append("failing exit")
        raise Handled("too late")

    def needs_header(x_key: Annotated[str, fw.Header()]):
        log.append("needs_header")
        return x_key

    def sets_context():
        current.set("dependency")
        yield
        log.append(f"context {current.get()}")

    async def sets_context_async():
        current.set("async dependency")
        return 1

    class Guard:
        def __init__(self, name: str):
            self.name = name

        def __call__(self, request: Request, q: str = "none"):
            log.append(f"guard {self.name} {q}")
            if q == self.name:
                raise HTTPException(403, detail=self.name, headers={"x-guard": self.name})
            return self.name

    def uncached():
        log.append("uncached")
        return len(log)

    @app.get("/order")
    async def order(
        a: Annotated[int, Depends(plain)],
        b: Annotated[int, Depends(plain_async)],
        c: Annotated[str, Depends(inner)],
        d: Annotated[str, Depends(outer)],
    ):
        log.append("handler")
        return [a, b, c, d]

    @app.get("/sync-order")
    def sync_order(b: Annotated[int, Depends(plain_async)], c: Annotated[str, Depends(inner)]):
        log.append("handler")
        return [b, c]

    @app.get("/raise/{kind}")
    async def raises(kind: str, c: Annotated[str, Depends(inner)], e: int = Depends(plain)):
        log.append("handler")
        if kind == "http":
            raise HTTPException(status_code=409, detail="conflict")
        if kind == "handled":
            raise Handled("direct")
        if kind == "inner":
            raise Inner()
        if kind == "value":
            raise ValueError("boom")
        return c

    @app.get("/swallow")
    async def swallow(a: Annotated[int, Depends(swallowing)], b: Annotated[str, Depends(outer)]):
        raise Inner()

    @app.get("/late")
    async def late(a: Annotated[int, Depends(failing_exit)]):
        return "sent"

    @app.get("/invalid")
    async def invalid(a: Annotated[str, Depends(inner)], k: Annotated[str, Depends(needs_header)], n: int):
        log.append("handler")
        return n

    @app.get("/guards", dependencies=[Depends(Guard("one")), Depends(Guard("two"))])
    def guards(three: Annotated[str, Depends(Guard("three"))]):
        log.append("handler")
        return three

    @app.get("/uncached")
    def get_uncached(
        a: Annotated[int, Depends(uncached, use_cache=False)],
        b: Annotated[int, Depends(uncached, use_cache=False)],
        c: Annotated[int, Depends(uncached)],
    ):
        return a != b

    @app.get("/background")
    async def background(tasks: BackgroundTasks, c: Annotated[str, Depends(outer)], response: Response):
        def task(name: str):
            log.append(f"task {name}")

        async def async_task(name: str):
            await asyncio.sleep(0)
            log.append(f"async task {name}")

        tasks.add_task(task, "one")
        tasks.add_task(async_task, name="two")
        response.headers["x-tasks"] = "2"
        response.status_code = 202
        return "accepted"

    @app.get("/only-background")
    async def only_background(tasks: BackgroundTasks):
        tasks.add_task(log.append, "only")
        return "ok"

    @app.get("/background-response")
    async def background_response(tasks: BackgroundTasks):
        tasks.add_task(log.append, "attached")
        return responses.PlainTextResponse("own")

    @app.get("/stream")
    async def stream(c: Annotated[str, Depends(inner)]):
        async def pieces():
            log.append("first piece")
            yield b"a"
            yield b"b"
            log.append("last piece")

        return responses.StreamingResponse(pieces(), media_type="text/plain")

    @app.get("/context")
    def context(a: Annotated[Any, Depends(sets_context)], b: Annotated[int, Depends(sets_context_async)]):
        return current.get()

    @app.get("/function-scope")
    async def function_scope(
        a: Annotated[str, Depends(inner, scope="function")],
        b: Annotated[str, Depends(outer)],
        tasks: BackgroundTasks,
    ):
        tasks.add_task(log.append, "task")
        log.append("handler")
        return a

    @app.get("/partial-failure")
    async def partial_failure(
        a: Annotated[str, Depends(outer)], b: Annotated[str, Depends(Guard("x"))], bad: int = 0
    ):
        log.append("handler")
        return 1 // bad

    @app.get("/bad-result")
    async def bad_result(a: Annotated[str, Depends(outer)]) -> list[int]:
        return ["x"]

    @app.get("/classes")
    def classes(one: Annotated[Any, Depends(Guard("p"))], req: Request, res: Response):
        res.headers["x-path"] = req.url.path
        return one

    sub = fw.APIRouter(dependencies=[Depends(plain)])

    @sub.get("/sub", dependencies=[Depends(plain_async)])
    def in_router(a: Annotated[int, Depends(plain_async)]):
        return a

    app.include_router(sub, dependencies=[Depends(Guard("router"))])
    return app, log


URLS = [
    "/order",
    "/order?number=5",
    "/order?number=x",
    "/sync-order",
    "/raise/none",
    "/raise/http",
    "/raise/handled",
    "/raise/inner",
    "/raise/value",
    "/swallow",
    "/late",
    "/invalid?n=1",
    "/invalid",
    "/guards",
    "/guards?q=one",
    "/guards?q=two",
    "/guards?q=three",
    "/uncached",
    "/background",
    "/only-background",
    "/background-response",
    "/stream",
    "/context",
    "/function-scope",
    "/partial-failure",
    "/partial-failure?bad=1",
    "/partial-failure?q=x",
    "/bad-result",
    "/classes",
    "/classes?q=p",
    "/sub",
    "/sub?q=router",
]
