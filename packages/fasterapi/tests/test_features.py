"""Routing, middleware, exception handlers and the request object, compared with FastAPI."""

import gzip
import json
from typing import Any

import feature_app
import pytest
from asgi_client import asgi_request

import fasterapi

fastapi = pytest.importorskip("fastapi")


def observed(app: Any, log: list[str], case: Any) -> dict[str, Any]:
    log.clear()
    method, url, options = case
    response = asgi_request(app, method, url, **options)
    headers = {k: v for k, v in response.headers.multi_items() if k != "content-length"}
    # Names in Vary and Allow are sets: their order says nothing.
    for name in ("vary", "allow", "access-control-allow-methods"):
        if name in headers:
            headers[name] = ",".join(sorted(headers[name].replace(" ", "").split(",")))
    return {"status": response.status_code, "headers": headers, "body": response.text, "log": list(log)}


@pytest.mark.parametrize("middleware", [True, False], ids=["middleware", "bare"])
@pytest.mark.parametrize("case", feature_app.CASES, ids=lambda case: f"{case[0]} {case[1]}")
def test_answers_as_fastapi(case: Any, middleware: bool) -> None:
    expected = observed(*feature_app.build(fastapi, middleware), case)
    assert observed(*feature_app.build(fasterapi, middleware), case) == expected


def test_gzip_body_is_the_compressed_text() -> None:
    app, _ = feature_app.build(fasterapi)
    response = asgi_request(app, "GET", "/long", headers={"accept-encoding": "gzip"})
    assert response.headers["content-encoding"] == "gzip"
    assert json.loads(response.text)["text"] == "x" * 500  # httpx has decompressed it
    assert len(gzip.compress(response.content)) < 500
