"""Order, caching, cleanup and exceptions of dependencies: FastAPI's, event by event."""

import time
from typing import Any

import dependency_app
import fasterapi
import pytest
from asgi_client import asgi_request
from fasterapi.testclient import TestClient

fastapi = pytest.importorskip("fastapi")


def digest(response: Any, log: list[str]) -> tuple[Any, ...]:
    headers = sorted((k, v) for k, v in response.headers.items() if k.startswith(("x-", "content-type")))
    return response.status_code, headers, response.text, list(log)


def on_asgi(app: Any, log: list[str], url: str) -> tuple[Any, ...]:
    response = asgi_request(app, "GET", url)
    return digest(response, log)


@pytest.mark.parametrize("url", dependency_app.URLS)
def test_asgi_lane_runs_dependencies_as_fastapi(url: str) -> None:
    expected = on_asgi(*dependency_app.build(fastapi), url)
    assert on_asgi(*dependency_app.build(fasterapi), url) == expected


@pytest.mark.parametrize("url", dependency_app.URLS)
def test_native_lane_runs_dependencies_as_fastapi(url: str) -> None:
    expected = on_asgi(*dependency_app.build(fastapi), url)
    app, log = dependency_app.build(fasterapi)
    with TestClient(app, raise_server_exceptions=False) as client:
        response = client.get(url)
        deadline = time.monotonic() + 2  # what follows the answer may still be running
        while len(log) < len(expected[3]) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert digest(response, log) == expected
