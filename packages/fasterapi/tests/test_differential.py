"""The same application under FastAPI and under FasterAPI: the same answers, byte for byte where it matters.

FastAPI is only the oracle here (extra ``test``); nothing of it is used by the package.
"""

import json
import warnings
from collections.abc import Iterator
from typing import Any

import fasterapi
import httpx
import pytest
import sample_app
from asgi_client import asgi_request
from fasterapi.testclient import TestClient

fastapi = pytest.importorskip("fastapi")

JSON = {"content-type": "application/json"}
ITEM = {"id": 1, "itemName": "n", "price": 2.5, "tags": ["a"], "owner": {"name": "me"}, "color": "blue"}
UUID = "c892496f-b1fd-4b91-bdb8-b46f92df1716"

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/", {}),
    ("GET", "/items/3?q=a", {}),
    ("GET", "/items/3?short=true", {}),
    ("GET", "/items/3?short=maybe", {}),
    ("GET", "/items/03", {}),
    ("GET", "/items/-3", {}),
    ("GET", "/items/99999999999999999999", {}),
    ("GET", "/items/3.0", {}),
    ("GET", "/items/x", {}),
    ("GET", "/items/%20", {}),
    ("DELETE", "/items/3", {}),
    ("DELETE", "/items/x", {}),
    ("POST", "/items", {"json": ITEM}),
    ("POST", "/items", {"json": {**ITEM, "made": "2024-01-01T00:00:00Z"}}),
    (
        "POST",
        "/items",
        {"json": {**ITEM, "itemName": "far too long for it", "price": "abc", "owner": {"name": "x"}}},
    ),
    ("POST", "/items", {"json": {}}),
    ("POST", "/items", {"json": []}),
    ("POST", "/items", {"json": None}),
    ("POST", "/items", {}),
    ("POST", "/items", {"content": b"{bad", "headers": JSON}),
    ("POST", "/items", {"content": b'{"id": 1, "itemName": "x"}'}),
    ("POST", "/items", {"content": b'{"id": 1, "itemName": "x"}', "headers": {"content-type": "text/plain"}}),
    (
        "POST",
        "/items",
        {
            "content": b'{"id": 1, "itemName": "x"}',
            "headers": {"content-type": "application/geo+json; charset=utf-8"},
        },
    ),
    ("POST", "/items", {"content": b"\xff\xfe", "headers": JSON}),
    ("POST", "/items", {"content": b'{"id": 1, "itemName": "\xc3\xa9"}', "headers": JSON}),
    ("POST", "/items", {"content": b'{"id": NaN, "itemName": "x"}', "headers": JSON}),
    ("PUT", "/items/1", {"json": {"item": ITEM, "owner": {"name": "bob"}, "importance": 3}}),
    ("PUT", "/items/0?q=z", {"json": {"item": {}, "importance": 0}}),
    ("PUT", "/items/1", {"json": [1]}),
    ("PUT", "/items/1", {"content": b"null", "headers": JSON}),
    ("PUT", "/items/1", {}),
    ("PATCH", "/embed", {"json": {"item": ITEM}}),
    ("PATCH", "/embed", {"json": ITEM}),
    ("GET", "/query?a=abc&bee=1&bee=2&c=2&d=2024-02-03&e=red&g=3&h=x&h=x&i=y&j=12&m=2&n=3.5", {}),
    ("GET", "/query", {}),
    ("GET", "/query?a=A", {}),
    ("GET", "/query?a=abc&a=def", {}),
    ("GET", "/query?a=abc&bee=x&bee=1&c=nan&d=no&e=green&f=1&g=11&i=z&m=3&n=bad", {}),
    ("GET", f"/query?a=abc&f={UUID}&j=text&c=1e3", {}),
    ("GET", "/query?a=abc&c=inf", {}),
    ("GET", "/query?a=abc&c=", {}),
    ("GET", "/query?a=", {}),
    ("GET", "/query?a=a%20b", {}),
    ("GET", "/query?a=abc&bee=", {}),
    ("GET", "/query-model?limit=5&tags=a&tags=b", {}),
    ("GET", "/query-model?limit=0&nope=1&order_by=x", {}),
    ("GET", "/query-model", {}),
    ("GET", "/headers", {"headers": {"x-token": "a", "need-int": "7", "X_Strange": "s"}}),
    ("GET", "/headers", {"headers": [("x-token", "a"), ("x-token", "b"), ("cookie", "session=abc; ads=3")]}),
    ("GET", "/headers", {"headers": {"need-int": "x", "cookie": "ads=-1"}}),
    ("POST", "/form", {"data": {"username": "a", "password": "b", "age": "4"}}),
    ("POST", "/form", {"data": {"username": "", "age": "x"}}),
    ("POST", "/form", {"json": {"username": "a"}}),
    ("POST", "/form", {"files": {"username": (None, "a"), "password": (None, "p+%")}}),
    ("POST", "/form-model", {"data": {"username": "a", "password": "b", "remember": "on"}}),
    ("POST", "/form-model", {"data": {"username": "a"}}),
    (
        "POST",
        "/files",
        {"files": [("file", ("a.txt", b"hello")), ("blob", ("b", b"xyz")), ("many", ("c", b""))]},
    ),
    ("POST", "/files", {"files": {"file": ("é.txt", b"hello"), "blob": b"1"}, "data": {"note": "n"}}),
    ("POST", "/files", {"data": {"file": "x"}}),
    ("POST", "/files", {}),
    ("POST", "/pets", {"json": {"kind": "dog", "good": False}}),
    ("POST", "/pets", {"json": {"kind": "cow"}}),
    ("POST", "/pets", {"json": {}}),
    ("POST", "/union", {"json": {"name": "bob"}}),
    ("POST", "/union", {"json": [1, "2"]}),
    ("POST", "/union", {"json": "x"}),
    ("POST", "/union", {}),
    ("POST", "/point", {"json": {"x": 1}}),
    ("POST", "/point", {"json": {"y": "q"}}),
    ("POST", "/dict", {"json": {"data": {"a": 1}}}),
    ("POST", "/dict", {"json": {"data": {"a": "x"}, "extra": [{}]}}),
    ("POST", "/scalar", {"json": 3}),
    ("POST", "/scalar", {"json": "x"}),
    ("POST", "/scalar", {}),
    ("GET", "/text", {}),
    ("GET", "/html", {}),
    ("GET", "/more", {}),
    ("GET", "/redirect", {}),
    ("GET", "/response-type", {}),
    ("GET", "/injected?a=1&b=2", {}),
    ("GET", "/me", {}),
    ("GET", "/me", {"headers": {"authorization": "Bearer tok", "x-key": "k"}}),
    ("GET", "/me", {"headers": {"authorization": "Bearer bad"}}),
    ("GET", "/me", {"headers": {"authorization": "Basic x"}}),
    ("GET", "/basic", {}),
    ("GET", "/basic", {"headers": {"authorization": "Basic dXNlcjpwYXNz"}}),
    ("GET", "/basic", {"headers": {"authorization": "Basic !!!"}}),
    ("GET", "/bearer", {}),
    ("GET", "/bearer", {"headers": {"authorization": "bearer abc"}}),
    ("POST", "/token", {"data": {"username": "u", "password": "p", "scope": "a b"}}),
    ("POST", "/token", {"data": {"grant_type": "other"}}),
    ("GET", "/api/v1/users/", {}),
    ("GET", "/api/v1/users/?limit=1", {"headers": {"x-secret": "s3cret"}}),
    ("GET", "/api/v1/users/?limit=x", {"headers": {"x-secret": "s3cret"}}),
    ("GET", "/api/v1/users/", {"headers": {"x-secret": "no"}}),
    ("GET", f"/api/v1/users/{UUID}/files/a/b.txt?tags=1", {"headers": {"x-secret": "s3cret"}}),
    ("GET", "/api/v1/users/1/files/x", {"headers": {"x-secret": "s3cret"}}),
    ("GET", "/api/v1/users", {}),
    ("GET", "/any", {}),
    ("GET", "/hidden", {}),
    ("GET", "/none", {}),
    ("PUT", "/text", {}),
    ("HEAD", "/text", {}),
    ("GET", "/text/", {}),
]


@pytest.fixture(scope="module")
def oracle() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sample_app.build(fastapi)


@pytest.fixture(scope="module")
def ours() -> Any:
    return sample_app.build(fasterapi)


def comparable(response: httpx.Response) -> dict[str, Any]:
    headers = sorted(
        (k, v) for k, v in response.headers.multi_items() if k not in ("date", "server", "connection")
    )
    body: Any = response.content
    if response.headers.get("content-type", "") == "application/json" and body:
        body = json.loads(body)
    return {"status": response.status_code, "headers": headers, "body": body}


def name_of(case: Any) -> str:
    return f"{case[0]} {case[1][:40]} {str(case[2])[:40]}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_asgi_lane_answers_as_fastapi(case: Any, oracle: Any, ours: Any) -> None:
    method, url, options = case
    expected = comparable(asgi_request(oracle, method, url, **options))
    assert comparable(asgi_request(ours, method, url, **options)) == expected


@pytest.fixture(scope="module")
def native_client(ours: Any) -> Iterator[TestClient]:
    with TestClient(ours, raise_server_exceptions=False, follow_redirects=False) as client:
        del client.headers["user-agent"]
        yield client


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_native_lane_answers_as_fastapi(case: Any, oracle: Any, native_client: TestClient) -> None:
    method, url, options = case
    expected = comparable(asgi_request(oracle, method, url, **options))
    assert comparable(native_client.request(method, url, **options)) == expected


def test_openapi_document_is_fastapis(oracle: Any, ours: Any) -> None:
    assert ours.openapi() == oracle.openapi()
