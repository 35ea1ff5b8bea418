"""An application with WebSocket routes of every kind, built by either framework."""

from contextlib import asynccontextmanager
from types import ModuleType
from typing import Annotated, Any


def build(fw: ModuleType) -> tuple[Any, list[str]]:
    """``fw`` is ``fasterapi`` or ``fastapi``; also returns the log that dependencies write."""
    log: list[str] = []
    WebSocket, Depends = fw.WebSocket, fw.Depends

    @asynccontextmanager
    async def lifespan(app: Any) -> Any:
        yield {"greeting": "hello"}

    app = fw.FastAPI(lifespan=lifespan)
    router = fw.APIRouter(prefix="/api", dependencies=[Depends(lambda: log.append("router dependency"))])

    async def resource() -> Any:
        log.append("open")
        try:
            yield "resource"
        finally:
            log.append("closed")

    def token(websocket: WebSocket, token: Annotated[str | None, fw.Query()] = None) -> str:
        if token is None:
            raise fw.WebSocketException(code=fw.status.WS_1008_POLICY_VIOLATION, reason="no token")
        return f"{token}@{websocket.url.path}"

    class Fault(Exception):
        pass

    @app.exception_handler(Fault)
    async def on_fault(websocket: WebSocket, exc: Fault) -> None:
        await websocket.close(code=4100, reason="fault")

    @app.websocket("/echo")
    async def echo(websocket: WebSocket):
        await websocket.accept()
        async for text in websocket.iter_text():
            await websocket.send_text(f"echo {text}")
        log.append(f"left {websocket.client_state.name} {websocket.application_state.name}")

    @app.get("/echo")
    async def same_path():
        return "http"

    @app.websocket("/bytes")
    async def bytes_(websocket: WebSocket):
        await websocket.accept(headers=[(b"x-extra", b"1")])
        async for data in websocket.iter_bytes():
            await websocket.send_bytes(data[::-1])

    @app.websocket("/json")
    async def json_(websocket: WebSocket):
        await websocket.accept()
        async for data in websocket.iter_json():
            await websocket.send_json({"got": data})
            await websocket.send_json(data, mode="binary")

    @app.websocket("/mode")
    async def mode(websocket: WebSocket):
        await websocket.accept()
        try:
            await websocket.send_json(1, mode="other")
        except RuntimeError as error:
            await websocket.send_text(str(error))
        await websocket.send_json(await websocket.receive_json(mode="binary"))

    @app.websocket("/items/{item_id}/{rest:path}")
    async def items(
        websocket: WebSocket,
        item_id: int,
        rest: str,
        q: int = 7,
        many: Annotated[list[str], fw.Query()] = [],  # noqa: B006
        x_token: Annotated[str, fw.Header()] = "none",
        session: Annotated[str | None, fw.Cookie()] = None,
    ):
        await websocket.accept(subprotocol="b" if "b" in websocket.scope["subprotocols"] else None)
        await websocket.send_json([item_id, rest, q, many, x_token, session])
        await websocket.send_json([websocket.path_params, dict(websocket.query_params), websocket.cookies])
        await websocket.send_json([websocket.headers["x-token"] if "x-token" in websocket.headers else None])
        await websocket.send_json([websocket.url.scheme, websocket.url.path, websocket.url.query])
        await websocket.send_text(websocket.state.greeting)
        await websocket.close(3001, "enough")

    @app.websocket("/depends")
    async def depends(
        websocket: WebSocket,
        who: Annotated[str, Depends(token)],
        thing: Annotated[str, Depends(resource)],
    ):
        await websocket.accept()
        await websocket.send_text(f"{who} {thing}")
        await websocket.receive_text()

    @app.websocket("/fault")
    async def fault(websocket: WebSocket, early: bool = False):
        if not early:
            await websocket.accept()
        raise Fault

    @app.websocket("/raises")
    async def raises(websocket: WebSocket, thing: Annotated[str, Depends(resource)]):
        await websocket.accept()
        raise ZeroDivisionError("boom")

    @app.websocket("/http-exception")
    async def http_exception(websocket: WebSocket):
        raise fw.HTTPException(status_code=418, detail="teapot", headers={"x-tea": "green"})

    @app.websocket("/denied")
    async def denied(websocket: WebSocket):
        response = fw.responses.JSONResponse({"detail": "pay"}, status_code=402, headers={"x-why": "money"})
        await websocket.send_denial_response(response)

    @app.websocket("/refused")
    async def refused(websocket: WebSocket):
        await websocket.close(code=4001, reason="not you")

    @app.websocket("/misuse")
    async def misuse(websocket: WebSocket):
        errors = []
        for call in (websocket.receive_text, lambda: websocket.send_text("x")):
            try:
                await call()
            except RuntimeError as error:
                errors.append(str(error))
        await websocket.accept()
        await websocket.send_json(errors)
        await websocket.close()
        try:
            await websocket.send_text("late")
        except RuntimeError as error:
            log.append(str(error))

    @router.websocket("/rooms/{room}")
    async def rooms(websocket: WebSocket, room: str):
        await websocket.accept()
        await websocket.send_text(room)

    async def plain(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(f"plain {websocket.path_params}")
        await websocket.close()

    app.router.add_websocket_route("/plain/{name}", plain)
    app.include_router(router, prefix="/v1")
    sub = fw.FastAPI()

    @sub.websocket("/inner/{n}")
    async def inner(websocket: WebSocket, n: int):
        await websocket.accept()
        await websocket.send_json([n, websocket.scope["root_path"], websocket.url.path])

    app.mount("/sub", sub)
    return app, log
