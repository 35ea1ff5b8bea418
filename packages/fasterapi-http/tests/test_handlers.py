"""Endpoints: arguments, modes, results, exceptions, cancellation, context."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time

import pytest
from fasterapi_http import (
    HTTPException,
    JSONResponse,
    Request,
    Response,
    ResponseSpec,
    RouteConflict,
    Server,
    StreamingResponse,
    SyncRequest,
)

var: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="unset")


def one(path, endpoint, *, methods=("GET",), mode="async", **options):
    return lambda server: server.add_route(list(methods), path, endpoint, mode=mode, **options)


async def slow_422(request):
    return JSONResponse({"slow": request.path, "query": request.query_params.get("q")}, 422)


def test_path_parameters(serve):
    async def handler(user_id, name):
        return {"id": user_id, "name": name}

    server = serve(
        one(
            "/users/{id}/{name}",
            handler,
            args=[("path", "id", "int", True, None), ("path", "name", "str", True, None)],
            slow=slow_422,
        )
    )
    with server.connect() as client:
        assert client.request("GET", "/users/-42/a%20b%C3%A9").json() == {"id": -42, "name": "a bé"}
        assert client.request("GET", "/users/x/y").status == 422
        assert client.request("GET", "/users/+1/y").json()["slow"] == "/users/+1/y"
        assert client.request("GET", "/users/1234567890123456789/y").status == 422


def test_query_header_cookie_arguments(serve):
    async def handler(q, n, flag, tags, agent, session, price):
        return [q, n, flag, tags, agent, session, price]

    args = [
        ("query", "q", "str", True, None),
        ("query", "n", "int", False, 7),
        ("query", "flag", "bool", False, False),
        ("query_list", "tag", "str", False, []),
        ("header", "user-agent", "str", False, None),
        ("cookie", "session", "str", False, None),
        ("query", "price", "float", False, 0.5),
    ]
    server = serve(one("/", handler, args=args, slow=slow_422))
    with server.connect() as client:
        assert client.request(
            "GET",
            "/?q=a+b%26&n=5&flag=true&tag=x&tag=y&price=1.25",
            headers=('User-Agent: me\r\nCookie: a=b; session="s 1"; c=d\r\n'),
        ).json() == ["a b&", 5, True, ["x", "y"], "me", "s 1", 1.25]
        assert client.request("GET", "/?q=").json() == ["", 7, False, [], None, None, 0.5]
        for query in ("", "?q=1&n=x", "?q=1&flag=maybe", "?q=1&price=1e5", "?q=1&n="):
            assert client.request("GET", "/" + query).status == 422, query


def test_json_body(serve):
    async def handler(body):
        return {"got": body}

    def positive(data: bytes):
        value = int(data)
        if value < 0:
            raise ValueError("negative")
        return value

    def setup(server):
        server.add_route(
            ["POST"],
            "/any",
            handler,
            mode="async",
            slow=slow_422,
            args=[("body_json", "body", None, True, None)],
        )
        server.add_route(
            ["POST"],
            "/int",
            handler,
            mode="async",
            slow=slow_422,
            args=[("body_json", "body", positive, True, None)],
        )

    server = serve(setup)
    json_type = "Content-Type: application/json\r\n"
    with server.connect() as client:
        assert client.request("POST", "/any", b'{"a": [1, null]}', json_type).json() == {
            "got": {"a": [1, None]}
        }
        assert client.request("POST", "/any", b'{"a": ', json_type).status == 422
        assert client.request("POST", "/any", b"1", "Content-Type: text/plain\r\n").status == 422
        assert client.request("POST", "/any", b"").status == 422
        assert client.request("POST", "/int", b"5", "Content-Type: application/x+json; v=1\r\n").json() == {
            "got": 5
        }
        assert client.request("POST", "/int", b"-5", json_type).status == 422


def test_missing_slow_implementation_is_422(serve):
    async def handler(q):
        return q

    server = serve(one("/", handler, args=[("query", "q", "int", True, None)]))
    assert server.get("/?q=x").status == 422


def test_the_scope_of_a_native_request_leaves_the_interpreters_letters_alone(serve):
    async def handler(request):
        return [name.decode() for name, _ in request.scope["headers"] if len(name) == 1]

    server = serve(one("/", handler, args=[("request", None, None, True, None)]))
    assert server.get("/", headers="X: 1\r\n").json() == ["x"]
    assert b"XX"[0:1][0] == ord("X")


def test_native_request(serve):
    seen = {}

    async def handler(request):
        assert isinstance(request, Request)
        seen["request"] = request
        client = request.client
        return {
            "method": request.method,
            "url": request.url,
            "host": request.url.hostname,
            "path": request.path,
            "raw": request.raw_path.decode(),
            "query": request.query_string.decode(),
            "accept": request.headers["ACCEPT"],
            "missing": request.headers.get("nope", "default"),
            "x": request.headers.getlist("x"),
            "params": request.path_params,
            "q": request.query_params.getlist("q"),
            "cookies": request.cookies,
            "client": client.host,
            "body": (await request.body()).decode(),
            "json": await request.json(),
            "chunks": [chunk.decode() async for chunk in request.stream()],
            "scope": request.scope["path"],
            "gone": await request.is_disconnected(),
        }

    server = serve(one("/a/{n:int}", handler, methods=["POST"], args=[("request", None, None, True, None)]))
    answer = server.get(
        "/a/5?q=1&q=2", "POST", b'{"k":1}', "Accept: */*\r\nX: 1\r\nx: 2\r\nCookie: a=b\r\n"
    ).json()
    assert answer == {
        "method": "POST",
        "url": "http://test/a/5?q=1&q=2",
        "host": "test",
        "path": "/a/5",
        "raw": "/a/5",
        "query": "q=1&q=2",
        "accept": "*/*",
        "missing": "default",
        "x": ["1", "2"],
        "params": {"n": 5},
        "q": ["1", "2"],
        "cookies": {"a": "b"},
        "client": "127.0.0.1",
        "body": '{"k":1}',
        "json": {"k": 1},
        "chunks": ['{"k":1}', ""],
        "scope": "/a/5",
        "gone": False,
    }
    # the request outlives its answer and its connection
    for _ in range(20):
        server.get("/a/777?other=1", "POST", b'{"other":1}', "Accept: other\r\nX: 1\r\n")
    request = seen["request"]
    assert request.path == "/a/777"
    del seen["request"]


def test_request_outlives_the_answer(serve):
    kept = []

    def handler(request):
        kept.append(request)
        return None

    server = serve(one("/{name}", handler, mode="inline", args=[("request", None, None, True, None)]))
    with server.connect() as client:
        for i in range(50):
            client.request("GET", f"/n{i}?q={i}", headers=f"X-N: {i}\r\n")
    for i, request in enumerate(kept):
        assert isinstance(request, SyncRequest)
        assert request.path == f"/n{i}"
        assert request.headers["x-n"] == str(i)
        assert request.query_params["q"] == str(i)
        assert request.path_params == {"name": f"n{i}"}
    kept.clear()


def test_sync_request_and_injected_response(serve):
    def handler(req, res):
        data = req.json()
        res.status(201)
        res.headers["X-Kind"] = "made"
        res.set_cookie("a", "b", httponly=True)
        return {"got": data}

    def chained(req, res):
        return res.status(404).json({"error": "no"})

    def only_body(req, res):
        res.text("plain")

    both = [("request", None, None, True, None), ("response", None, None, True, None)]

    def setup(server):
        server.add_route(["POST"], "/", handler, mode="inline", args=both)
        server.add_route(["GET"], "/chained", chained, mode="inline", args=both)
        server.add_route(["GET"], "/text", only_body, mode="inline", args=both)

    server = serve(setup)
    with server.connect() as client:
        answer = client.request("POST", "/", b"[1]")
        assert (answer.status, answer.json()) == (201, {"got": [1]})
        assert answer.headers["x-kind"] == "made"
        assert answer.headers["set-cookie"] == "a=b; HttpOnly; Path=/; SameSite=lax"
        answer = client.request("GET", "/chained")
        assert (answer.status, answer.json()) == (404, {"error": "no"})
        answer = client.request("GET", "/text")
        assert (answer.body, answer.headers["content-type"]) == (b"plain", "text/plain; charset=utf-8")


def test_header_injection_is_refused(serve):
    async def handler():
        response = Response("x")
        with pytest.raises(ValueError):
            response.headers["X"] = "a\r\nSet-Cookie: evil"
        with pytest.raises(ValueError):
            response.headers["X\r\n"] = "a"
        with pytest.raises(ValueError):
            Response("x", headers={"X": "a\x00"})
        with pytest.raises(ValueError):
            response.set_cookie("a", "b", path="/\r\nX: y")
        return response

    server = serve(one("/", handler))
    assert server.get("/").status == 200


def test_response_specs(serve):
    async def text():
        return "grüße"

    async def made():
        return 5

    def setup(server):
        server.add_route(
            ["GET"],
            "/text",
            text,
            mode="async",
            response=ResponseSpec(media_type="text/plain", encode="text"),
        )
        server.add_route(
            ["GET"],
            "/made",
            made,
            mode="async",
            response=ResponseSpec(202, "application/x", lambda v: b"<%d>" % v, {"x-a": "1"}),
        )

    server = serve(setup)
    answer = server.get("/text")
    assert (answer.body.decode(), answer.headers["content-type"]) == ("grüße", "text/plain; charset=utf-8")
    answer = server.get("/made")
    assert (answer.status, answer.body, answer.headers["x-a"]) == (202, b"<5>", "1")


def test_exceptions(serve, caplog):
    async def http():
        raise HTTPException(418, {"why": ["tea"]}, {"X-Tea": "green"})

    async def late():
        await asyncio.sleep(0)
        raise HTTPException(404)

    async def broken():
        return 1 / 0

    def inline():
        raise KeyError("x")

    async def unencodable():
        return object()

    def setup(server):
        for name, fn, mode in (
            ("http", http, "async"),
            ("late", late, "async"),
            ("broken", broken, "async"),
            ("inline", inline, "inline"),
            ("thread", inline, "thread"),
            ("unencodable", unencodable, "async"),
        ):
            server.add_route(["GET"], "/" + name, fn, mode=mode)

    server = serve(setup)
    with server.connect() as client:
        answer = client.request("GET", "/http")
        assert (answer.status, answer.json(), answer.headers["x-tea"]) == (
            418,
            {"detail": {"why": ["tea"]}},
            "green",
        )
        assert client.request("GET", "/late").json() == {"detail": "Not Found"}
        for name in ("broken", "inline", "thread", "unencodable"):
            answer = client.request("GET", "/" + name)
            assert (answer.status, answer.json()) == (500, {"detail": "Internal Server Error"}), name
    assert any("ZeroDivisionError" in str(r.exc_info[1].__class__) for r in caplog.records if r.exc_info)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_exception_handler_is_asked_for_everything(serve, asynchronous):
    def answer(request, exc):
        status = exc.status_code if isinstance(exc, HTTPException) else 500
        return JSONResponse({"path": request.path, "type": type(exc).__name__}, status)

    async def answer_later(request, exc):
        await asyncio.sleep(0)
        return answer(request, exc)

    async def broken(request):
        await asyncio.sleep(0)
        raise LookupError

    def setup(server):
        server.set_exception_handler(answer_later if asynchronous else answer)
        server.add_route(["GET"], "/broken", broken, mode="async", args=[("request", None, None, True, None)])

    server = serve(setup)
    with server.connect() as client:
        assert client.request("GET", "/broken").json() == {"path": "/broken", "type": "LookupError"}
        answer_ = client.request("GET", "/nope")
        assert (answer_.status, answer_.json()) == (404, {"path": "/nope", "type": "HTTPException"})
        assert client.request("POST", "/broken").status == 405


def test_on_error_hears_of_500(serve):
    heard = []

    async def broken():
        raise RuntimeError("x")

    server = serve(one("/", broken), on_error=lambda request, exc: heard.append((request.path, str(exc))))
    assert server.get("/").status == 500
    assert heard == [("/", "x")]


def test_disconnect_cancels_the_handler(serve):
    state = {"cancelled": 0, "started": 0}

    async def handler():
        state["started"] += 1
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            state["cancelled"] += 1
            raise

    server = serve(one("/", handler))
    clients = [server.connect() for _ in range(10)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    while state["started"] < 10:
        time.sleep(0.005)
    began = time.monotonic()
    for client in clients:
        client.sock.close()
    while state["cancelled"] < 10 and time.monotonic() - began < 3:
        time.sleep(0.002)
    assert state["cancelled"] == 10
    assert time.monotonic() - began < 0.5


def test_cancellation_from_outside_is_503_and_no_error(serve, caplog):
    tasks = []

    async def handler():
        tasks.append(asyncio.current_task())
        await asyncio.sleep(30)

    async def awaits_something_cancelled():
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    def setup(server):
        server.add_route(["GET"], "/", handler, mode="async")
        server.add_route(["GET"], "/future", awaits_something_cancelled, mode="async")

    server = serve(setup)
    with server.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        while not tasks:
            time.sleep(0.005)
        server.run(lambda: tasks[0].cancel())
        answer = client.read()
        assert (answer.status, answer.headers["connection"]) == (503, "close")
    assert not caplog.records
    assert server.get("/future").status == 500
    assert caplog.records


def test_current_task_and_timeouts_inside_handlers(serve):
    async def handler():
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0)
        assert asyncio.current_task() is task
        try:
            async with asyncio.timeout(0.02):
                await asyncio.sleep(5)
        except TimeoutError:
            timed_out = True
        async with asyncio.TaskGroup() as group:
            a = group.create_task(asyncio.sleep(0.01, 1))
            b = group.create_task(asyncio.sleep(0.01, 2))
        return {"timeout": timed_out, "sum": a.result() + b.result()}

    server = serve(one("/", handler))
    assert server.get("/").json() == {"timeout": True, "sum": 3}


@pytest.mark.parametrize("mode", ["async", "inline", "thread"])
def test_context_is_isolated(serve, mode):
    def sync():
        before = var.get()
        var.set("touched")
        return before

    async def coro():
        before = var.get()
        var.set("touched")
        await asyncio.sleep(0)
        assert var.get() == "touched"
        return before

    server = serve(one("/", coro if mode == "async" else sync, mode=mode))
    with server.connect() as client:
        assert [client.request("GET", "/").json() for _ in range(3)] == ["unset"] * 3


def test_threads_run_beside_the_loop(serve):
    def block(n):
        time.sleep(0.2)
        return {"n": n, "thread": threading.current_thread() is not threading.main_thread()}

    async def quick():
        return "quick"

    def setup(server):
        server.add_route(["GET"], "/block/{n}", block, mode="thread", args=[("path", "n", "int", True, None)])
        server.add_route(["GET"], "/quick", quick, mode="async")

    server = serve(setup)
    clients = [server.connect() for _ in range(8)]
    began = time.monotonic()
    for n, client in enumerate(clients):
        client.send(f"GET /block/{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert server.get("/quick").json() == "quick"
    assert time.monotonic() - began < 0.15
    assert [c.read().json()["n"] for c in clients] == list(range(8))
    assert time.monotonic() - began < 1.0
    for client in clients:
        client.sock.close()


def test_streaming(serve):
    async def numbers():
        for i in range(5):
            yield f"{i},"
            await asyncio.sleep(0)

    def plain():
        yield b"a"
        yield b"b" * 100_000

    async def handler():
        return StreamingResponse(numbers(), media_type="text/plain", headers={"x-s": "1"})

    async def sync():
        return StreamingResponse(plain())

    async def broken():
        async def pieces():
            yield b"first"
            raise RuntimeError("half way")

        return StreamingResponse(pieces())

    def setup(server):
        server.add_route(["GET"], "/async", handler, mode="async")
        server.add_route(["GET"], "/sync", sync, mode="async")
        server.add_route(["GET"], "/broken", broken, mode="async")

    server = serve(setup)
    with server.connect() as client:
        answer = client.request("GET", "/async")
        assert (answer.body, answer.headers["x-s"]) == (b"0,1,2,3,4,", "1")
        assert client.request("GET", "/sync").body == b"a" + b"b" * 100_000
        with pytest.raises((EOFError, ConnectionError)):
            client.request("GET", "/broken")


def test_stream_stops_for_a_slow_client_and_is_cancelled_when_it_leaves(serve):
    state = {"made": 0, "closed": False}

    async def endless():
        try:
            while True:
                state["made"] += 1
                yield b"x" * 65536
        finally:
            state["closed"] = True

    async def handler():
        return StreamingResponse(endless())

    server = serve(one("/", handler))
    client = server.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.3)
    made = state["made"]
    time.sleep(0.2)
    assert state["made"] == made < 2000
    client.sock.close()
    deadline = time.monotonic() + 3
    while not state["closed"] and time.monotonic() < deadline:
        time.sleep(0.01)
    assert state["closed"]


def test_head_of_an_endless_stream_ends(serve):
    async def endless():
        while True:
            yield b"x"

    async def handler():
        return StreamingResponse(endless(), media_type="text/plain")

    server = serve(one("/", handler, methods=["HEAD"]))
    with server.connect() as client:
        for _ in range(2):
            answer = client.request("HEAD", "/")
            assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")


def test_background_runs_after_the_answer(serve):
    ran = threading.Event()

    async def background():
        await asyncio.sleep(0.01)
        ran.set()

    async def handler():
        return Response("x", background=background)

    server = serve(one("/", handler))
    assert server.get("/").body == b"x"
    assert ran.wait(2)


def test_file_response(serve, tmp_path):
    from fasterapi_http import FileResponse

    path = tmp_path / "f.txt"
    path.write_bytes(b"0123456789" * 20000)

    async def handler():
        return FileResponse(path, filename="ü.txt")

    server = serve(one("/", handler, methods=["GET", "HEAD"]))
    with server.connect() as client:
        answer = client.request("GET", "/")
        assert answer.body == path.read_bytes()
        assert answer.headers["content-length"] == "200000"
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert "etag" in answer.headers and "last-modified" in answer.headers
        assert client.request("HEAD", "/").headers["content-length"] == "200000"
        assert client.request("GET", "/").status == 200


def test_routes_in_specificity_order_conflict():
    async def handler(**_):
        return None

    server = Server(order="specificity")
    server.add_route(["GET"], "/a/{x}", handler, mode="async")
    server.add_route(["GET"], "/a/{y}", handler, mode="async")
    with pytest.raises(RouteConflict):
        server.freeze()


def test_bad_routes_are_refused():
    async def handler():
        return None

    server = Server()
    with pytest.raises(ValueError):
        server.add_route(["GET"], "no-slash", handler, mode="async")
    with pytest.raises(ValueError):
        server.add_route(["GET"], "/", handler, mode="sometimes")
    with pytest.raises(ValueError):
        server.add_route(["GET"], "/", handler, mode="async", args=[("nowhere", "x", None, True, None)])
    server.add_route(["GET"], "/{a}", handler, mode="async", args=[("path", "b", None, True, None)])
    with pytest.raises(ValueError, match="'b'"):
        server.freeze()


def test_httpx_as_a_real_client(serve):
    httpx = pytest.importorskip("httpx")

    async def handler(body, q):
        return {"body": body, "q": q}

    server = serve(
        one(
            "/x",
            handler,
            methods=["POST"],
            args=[("body_json", "body", None, True, None), ("query", "q", "str", True, None)],
        )
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as client:
        for i in range(5):
            answer = client.post("/x", json={"i": i}, params={"q": "ä&b"})
            assert answer.json() == {"body": {"i": i}, "q": "ä&b"}

    async def many():
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client:
            return await asyncio.gather(*(client.post("/x", json=i, params={"q": i}) for i in range(50)))

    assert [a.json()["body"] for a in asyncio.run(many())] == list(range(50))
