"""Routing, middleware, exception handlers and the request object, compared with FastAPI."""

import gzip
import json
import re
from typing import Any

import fasterapi
import feature_app
import pytest
from asgi_client import asgi_request
from fasterapi.testclient import TestClient

fastapi = pytest.importorskip("fastapi")


def digest(response: Any, log: list[str]) -> dict[str, Any]:
    headers = {
        k: v for k, v in response.headers.multi_items() if k not in ("content-length", "date", "connection")
    }
    headers.pop("transfer-encoding", None)
    # Names in Vary and Allow are sets: their order says nothing. The date of a deleted cookie is now.
    for name in ("vary", "allow", "access-control-allow-methods"):
        if name in headers:
            headers[name] = ",".join(sorted(headers[name].replace(" ", "").split(",")))
    if "set-cookie" in headers:
        headers["set-cookie"] = re.sub(r"expires=[^;]*", "expires=?", headers["set-cookie"])
    return {"status": response.status_code, "headers": headers, "body": response.text, "log": list(log)}


def on_asgi(built: tuple[Any, list[str]], case: Any) -> dict[str, Any]:
    app, log = built
    method, url, options = case
    return digest(asgi_request(app, method, url, **options), log)


@pytest.mark.parametrize("middleware", [True, False], ids=["middleware", "bare"])
@pytest.mark.parametrize("case", feature_app.CASES, ids=lambda case: f"{case[0]} {case[1]}")
def test_asgi_lane_answers_as_fastapi(case: Any, middleware: bool) -> None:
    expected = on_asgi(feature_app.build(fastapi, middleware), case)
    assert on_asgi(feature_app.build(fasterapi, middleware), case) == expected


@pytest.mark.parametrize("middleware", [True, False], ids=["middleware", "bare"])
@pytest.mark.parametrize("case", feature_app.CASES, ids=lambda case: f"{case[0]} {case[1]}")
def test_native_server_answers_as_fastapi(case: Any, middleware: bool) -> None:
    method, url, options = case
    expected = on_asgi(feature_app.build(fastapi, middleware), case)
    app, log = feature_app.build(fasterapi, middleware)
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        del client.headers["user-agent"]
        log.clear()
        assert digest(client.request(method, url, **options), log) == expected


def test_gzip_body_is_the_compressed_text() -> None:
    app, _ = feature_app.build(fasterapi)
    response = asgi_request(app, "GET", "/long", headers={"accept-encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert json.loads(response.text)["text"] == "x" * 500  # httpx has decompressed it
    assert len(gzip.compress(response.content)) < 500
