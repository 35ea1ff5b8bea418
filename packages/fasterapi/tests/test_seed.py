"""The examples of the document the project was ordered from, unchanged."""

import asyncio
import logging
import pdb
import time
from typing import Any

import pytest
from asgi_client import asgi_request
from fasterapi import App
from fasterapi.pg import PgPool
from fasterapi.testclient import TestClient


async def fetch_user_async():
    await asyncio.sleep(0)
    return {"name": "ada"}


def expensive_cpu_work():
    time.sleep(0.001)
    return 42


def build() -> App:
    logging.basicConfig(level=logging.DEBUG, force=False)

    app = App()

    @app.get("/users/{user_id}")
    def get_user(req, res):
        user_id = req.path_params["user_id"]
        return {"id": user_id}

    @app.get("/mixed")
    async def mixed_endpoint(req, res):
        # I/O: runs async on event loop
        user = await fetch_user_async()

        # CPU work: should use thread pool
        result = await asyncio.to_thread(expensive_cpu_work)

        return {"user": user, "result": result}

    @app.get("/debug")
    def debug_endpoint(req, res):
        pdb.set_trace()  # Breakpoint
        return {"ok": True}

    @app.post("/echo")
    def echo(req, res):
        body = req.json()
        res.headers["x-query"] = req.query_params.get("q", "")
        if body is None:
            return res.status(404).json({"error": "nothing"})
        return {"got": body}

    @app.post("/echo-async")
    async def echo_async(req, res):
        res.status(201)
        return {"got": await req.json()}

    @app.get("/text")
    def text(req, res):
        res.text("hello")

    @app.get("/only-request")
    def only_request(req):
        return {"method": req.method, "path": req.path if hasattr(req, "path") else req.url.path}

    return app


@pytest.fixture(params=["native", "asgi"])
def call(request: pytest.FixtureRequest) -> Any:
    app = build()
    if request.param == "asgi":
        yield lambda method, url, **options: asgi_request(app, method, url, **options)
        return
    with TestClient(app) as client:
        yield client.request


def test_the_seeds_examples_answer(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hits = []
    monkeypatch.setattr(pdb, "set_trace", lambda: hits.append(1))
    assert call("GET", "/users/123").json() == {"id": "123"}
    assert call("GET", "/mixed").json() == {"user": {"name": "ada"}, "result": 42}
    assert call("GET", "/debug").json() == {"ok": True}
    assert hits == [1]


def test_response_object_of_the_seed(call: Any) -> None:
    found = call("POST", "/echo?q=abc", json={"a": 1})
    assert (found.status_code, found.json(), found.headers["x-query"]) == (200, {"got": {"a": 1}}, "abc")
    missing = call("POST", "/echo", content=b"null", headers={"content-type": "application/json"})
    assert (missing.status_code, missing.json()) == (404, {"error": "nothing"})
    made = call("POST", "/echo-async", json=[1])
    assert (made.status_code, made.json()) == (201, {"got": [1]})
    plain = call("GET", "/text")
    assert (plain.text, plain.headers["content-type"]) == ("hello", "text/plain; charset=utf-8")
    assert call("GET", "/only-request").json() == {"method": "GET", "path": "/only-request"}


def test_seed_handlers_are_not_documented_with_parameters() -> None:
    operation = build().openapi()["paths"]["/mixed"]["get"]
    assert "parameters" not in operation


def test_blocking_queries_in_req_res_handlers(pg_dsn: str) -> None:
    pg = PgPool(pg_dsn, min_size=1, max_size=4)
    app = App()

    @app.get("/users/{user_id}")
    def get_user(req, res):
        user_id = int(req.path_params["user_id"])
        result = pg.exec("SELECT * FROM (VALUES (1, 'ada'), (2, 'bob')) users(id, name) WHERE id=$1", user_id)
        user = result.one_or_none()
        if user is None:
            res.status(404)
            return {"error": "no such user"}
        return dict(user)

    @app.get("/moved")
    def moved(req, res):
        with pg.tx():
            pg.exec("create temp table accounts (id int, balance int) on commit drop")
            pg.exec("insert into accounts values ($1, $2)", 1, 100)
            return {"balance": pg.exec("select balance from accounts where id=$1", 1).scalar()}

    @app.get("/async/{user_id}")
    async def get_user_async(req, res):
        result = await pg.exec_async("SELECT $1::int AS id", int(req.path_params["user_id"]))
        return dict(result.one())

    with TestClient(app) as client:
        assert client.get("/users/1").json() == {"id": 1, "name": "ada"}
        missing = client.get("/users/9")
        assert (missing.status_code, missing.json()) == (404, {"error": "no such user"})
        assert client.get("/moved").json() == {"balance": 100}
        assert client.get("/async/5").json() == {"id": 5}
    answer = asgi_request(app, "GET", "/users/2")
    assert answer.json() == {"id": 2, "name": "bob"}
    pg.close()
