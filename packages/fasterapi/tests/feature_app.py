"""Routing, middleware, errors, WebSockets and lifespan in one application, built by either framework."""

import importlib
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Annotated, Any

from pydantic import BaseModel


class Thing(BaseModel):
    name: str


def build(fw: ModuleType, middleware: bool = True) -> tuple[Any, list[str]]:
    def module(name: str) -> ModuleType:
        return importlib.import_module(f"{fw.__name__}.{name}")

    log: list[str] = []
    responses = module("responses")
    routing = module("routing")
    Request, Response, WebSocket = fw.Request, fw.Response, fw.WebSocket

    @asynccontextmanager
    async def lifespan(app: Any):
        log.append("start")
        yield {"pool": "the pool"}
        log.append("stop")

    app = fw.FastAPI(lifespan=lifespan, root_path="")
    if middleware:
        app.add_middleware(module("middleware.gzip").GZipMiddleware, minimum_size=100)
        app.add_middleware(
            module("middleware.cors").CORSMiddleware,
            allow_origins=["https://a.example"],
            allow_origin_regex=r"https://.*\.b\.example",
            allow_methods=["GET", "POST"],
            allow_headers=["X-Own"],
            allow_credentials=True,
            expose_headers=["x-seen"],
        )
        app.add_middleware(
            module("middleware.trustedhost").TrustedHostMiddleware,
            allowed_hosts=["testserver", "*.ok.example"],
        )

        @app.middleware("http")
        async def timing(request: Request, call_next: Any) -> Any:
            log.append(f"before {request.url.path}")
            response = await call_next(request)
            response.headers["x-seen"] = "yes"
            log.append(f"after {response.status_code}")
            return response

    class Teapot(Exception):
        pass

    class SpecialTeapot(Teapot):
        pass

    @app.exception_handler(Teapot)
    def teapot(request: Request, exc: Teapot):
        return responses.PlainTextResponse(f"{type(exc).__name__} {request.url.path}", status_code=418)

    @app.exception_handler(404)
    async def not_found(request: Request, exc: fw.HTTPException):
        return responses.JSONResponse({"missing": request.url.path, "detail": exc.detail}, status_code=404)

    @app.get("/teapot/{kind}")
    async def raise_teapot(kind: str):
        raise SpecialTeapot() if kind == "special" else Teapot()

    @app.get("/missing-item")
    async def missing_item():
        raise fw.HTTPException(404, detail={"item": "gone"})

    @app.get("/error")
    async def error():
        raise RuntimeError("unexpected")

    @app.get("/http-error/{code}")
    async def http_error(code: int):
        raise fw.HTTPException(code, headers={"x-why": "because"})

    @app.get("/long")
    def long_text():
        return {"text": "x" * 500}

    @app.post("/echo")
    async def echo(request: Request):
        form = await request.form() if "form" in request.headers.get("content-type", "") else None
        body = (await request.body()).decode() if form is None else dict(form)
        return {
            "method": request.method,
            "body": body,
            "cookies": request.cookies,
            "type": request.headers["content-type"],
        }

    @app.get("/request-info")
    async def info(request: Request):
        request.state.seen = 1
        return {
            "url": str(request.url),
            "path": request.url.path,
            "base": str(request.base_url),
            "query": request.query_params.multi_items(),
            "client": request.client is not None,
            "named": str(request.url_for("user_page", name="bob")),
            "state": request.state.seen,
            "accept": request.headers.get("ACCEPT"),
            "values": request.headers.getlist("x-multi"),
            "params": request.path_params,
            "method": request["method"],
        }

    @app.get("/users/me")
    def me():
        return "me"

    @app.get("/users/{name}", name="user_page")
    def user_page(name: str, request: Request):
        return [name, request.path_params]

    @app.get("/typed/{a:int}/{b:float}/{c:uuid}/{d:path}")
    def typed(a: int, b: float, c: Any, d: str):
        return [a, b, str(c), d]

    @app.api_route("/multi", methods=["PUT", "DELETE"])
    def multi(request: Request):
        return request.method

    @app.get("/same")
    def same_get():
        return "get"

    @app.post("/same")
    def same_post():
        return "post"

    @app.get("/slash/")
    def slash():
        return "slash"

    @app.get("/model", response_model=Thing)
    def model():
        return {"name": "n", "extra": 1}

    @app.get("/generator")
    async def generator():
        def lines():
            yield "a"
            yield "b"

        return responses.StreamingResponse(lines(), media_type="text/csv", headers={"x-s": "1"})

    @app.get("/cookies")
    def cookies(response: Response):
        response.set_cookie("one", "1", max_age=10, httponly=True)
        response.set_cookie("two", "2", secure=True, samesite="strict")
        response.delete_cookie("three")
        return None

    class LoggingRoute(routing.APIRoute):
        def get_route_handler(self):
            original = super().get_route_handler()

            async def handler(request: Request):
                log.append("custom route")
                response = await original(request)
                response.headers["x-custom"] = "route"
                return response

            return handler

    custom = fw.APIRouter(route_class=LoggingRoute, prefix="/custom")

    @custom.get("/{item}")
    async def custom_item(item: int):
        return item

    app.include_router(custom)

    late = fw.APIRouter()
    app.include_router(late, prefix="/late")

    @late.get("/added")
    def added():
        return "late"

    @app.websocket("/ws/{room}")
    async def ws(websocket: WebSocket, room: int, q: Annotated[str, fw.Query()] = "none"):
        await websocket.accept(subprotocol="chat")
        await websocket.send_json({"room": room, "q": q})
        while True:
            text = await websocket.receive_text()
            if text == "bye":
                await websocket.close(code=4000, reason="bye")
                return
            await websocket.send_text(f"echo {text}")

    @app.websocket("/ws-refuse")
    async def refuse(websocket: WebSocket):
        raise fw.WebSocketException(code=1008, reason="no")

    sub = fw.FastAPI()

    @sub.get("/inner/{x}")
    def inner(x: int, request: Request):
        return {"x": x, "path": request.url.path, "root": request.scope["root_path"]}

    app.mount("/sub", sub)
    return app, log


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/teapot/plain", {}),
    ("GET", "/teapot/special", {}),
    ("GET", "/missing-item", {}),
    ("GET", "/nowhere", {}),
    ("GET", "/error", {}),
    ("GET", "/http-error/403", {}),
    ("GET", "/http-error/304", {}),
    ("GET", "/http-error/500", {}),
    ("GET", "/long", {"headers": {"accept-encoding": "gzip"}}),
    ("GET", "/long", {"headers": {"accept-encoding": "identity"}}),
    ("GET", "/long", {"headers": {"origin": "https://a.example"}}),
    ("GET", "/users/me", {"headers": {"origin": "https://x.b.example", "cookie": "a=b"}}),
    ("GET", "/users/me", {"headers": {"origin": "https://evil.example"}}),
    ("GET", "/users/me", {"headers": {"host": "evil.example"}}),
    ("GET", "/users/me", {"headers": {"host": "x.ok.example:80"}}),
    (
        "OPTIONS",
        "/users/me",
        {
            "headers": {
                "origin": "https://a.example",
                "access-control-request-method": "GET",
                "access-control-request-headers": "x-own, accept",
            }
        },
    ),
    (
        "OPTIONS",
        "/users/me",
        {
            "headers": {
                "origin": "https://evil.example",
                "access-control-request-method": "DELETE",
                "access-control-request-headers": "x-bad",
            }
        },
    ),
    (
        "POST",
        "/echo",
        {"content": b"raw", "headers": {"content-type": "text/x", "cookie": 'a=b; c="d e"; f'}},
    ),
    ("POST", "/echo", {"data": {"a": "1"}}),
    (
        "GET",
        "/request-info?a=1&a=2&b=%20x",
        {"headers": [("x-multi", "1"), ("x-multi", "2"), ("accept", "*/*")]},
    ),
    ("GET", "/users/me", {}),
    ("GET", "/users/J%C3%BCrgen", {}),
    ("GET", "/typed/1/2.5/c892496f-b1fd-4b91-bdb8-b46f92df1716/a/b/c", {}),
    ("GET", "/typed/x/2.5/c892496f-b1fd-4b91-bdb8-b46f92df1716/a", {}),
    ("PUT", "/multi", {}),
    ("DELETE", "/multi", {}),
    ("GET", "/multi", {}),
    ("POST", "/same", {}),
    ("GET", "/slash", {}),
    ("GET", "/users/me/?q=1", {}),
    ("GET", "/model", {}),
    ("GET", "/generator", {}),
    ("GET", "/cookies", {}),
    ("GET", "/custom/3", {}),
    ("GET", "/custom/x", {}),
    ("GET", "/late/added", {}),
    ("GET", "/sub/inner/4", {}),
    ("GET", "/sub/inner/x", {}),
    ("GET", "/sub/nothing", {}),
    ("GET", "/sub", {}),
]
