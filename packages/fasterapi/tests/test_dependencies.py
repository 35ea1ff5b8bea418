"""Order, caching, cleanup and exceptions of dependencies: FastAPI's, event by event."""

from typing import Any

import dependency_app
import pytest
from asgi_client import asgi_request

import fasterapi

fastapi = pytest.importorskip("fastapi")


def observed(app: Any, log: list[str], url: str) -> tuple[Any, ...]:
    log.clear()
    response = asgi_request(app, "GET", url)
    headers = sorted((k, v) for k, v in response.headers.items() if k.startswith(("x-", "content-type")))
    return response.status_code, headers, response.text, list(log)


@pytest.mark.parametrize("url", dependency_app.URLS)
def test_asgi_lane_runs_dependencies_as_fastapi(url: str) -> None:
    expected = observed(*dependency_app.build(fastapi), url)
    assert observed(*dependency_app.build(fasterapi), url) == expected
