"""The documentation page: one HTML file from the wheel, no CDN, no cookies, works offline."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path


@lru_cache(maxsize=1)
def _template() -> str:
    return Path(__file__).with_name("docs.html").read_text(encoding="utf-8")


def docs_page(*, openapi_url: str, title: str) -> str:
    """Return the page that shows the document at ``openapi_url`` and lets one try its operations."""
    import html

    url = json.dumps(openapi_url).replace("<", "\\u003c")
    return _template().replace("__TITLE__", html.escape(title)).replace('"__OPENAPI_URL__"', url)


def get_swagger_ui_html(*, openapi_url: str, title: str, **ignored: object) -> str:
    """Return the documentation page; the arguments about script locations of Swagger UI are accepted and
    ignored.
    """
    return docs_page(openapi_url=openapi_url, title=title)


def get_redoc_html(*, openapi_url: str, title: str, **ignored: object) -> str:
    """Return the documentation page."""
    return docs_page(openapi_url=openapi_url, title=title)


def oauth2_redirect_page() -> str:
    """Return the page that OAuth2 providers redirect to; it hands the answer to the window that opened it."""
    return (
        "<!doctype html><meta charset=utf-8><title>OAuth2 redirect</title><script>"
        "if(window.opener){window.opener.postMessage({fasterapiOAuth2:location.search+location.hash},location.origin)}"
        "window.close()</script>"
    )


__all__ = ["docs_page", "get_redoc_html", "get_swagger_ui_html", "oauth2_redirect_page"]
