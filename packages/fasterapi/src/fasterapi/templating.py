"""Jinja2 templates (install ``jinja2``): ``templates.TemplateResponse(request, "page.html", {...})``."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .responses import HTMLResponse


class Jinja2Templates:
    """Renders the templates of ``directory``, or of a given ``env``; ``url_for`` works inside them."""

    def __init__(
        self,
        directory: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        *,
        context_processors: Sequence[Callable[[Any], dict[str, Any]]] = (),
        env: Any = None,
    ) -> None:
        assert (directory is None) != (env is None), "either 'directory' or 'env' arguments must be passed"
        import jinja2

        folders: Any = directory
        self.context_processors = list(context_processors)
        self.env = env or jinja2.Environment(loader=jinja2.FileSystemLoader(folders), autoescape=True)
        self.env.globals.setdefault("url_for", jinja2.pass_context(_url_for))

    def get_template(self, name: str) -> Any:
        """Return a template by name."""
        return self.env.get_template(name)

    def TemplateResponse(  # noqa: N802
        self,
        request: Any,
        name: str,
        context: Mapping[str, Any] | None = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: Any = None,
    ) -> HTMLResponse:
        """Return the rendered template as a response; the context gets ``request``."""
        values = {**(context or {})}
        values.setdefault("request", request)
        for processor in self.context_processors:
            values.update(processor(request))
        content = self.get_template(name).render(values)
        return HTMLResponse(content, status_code, headers, media_type, background)


def _url_for(context: Any, name: str, /, **path_params: Any) -> Any:
    return context["request"].url_for(name, **path_params)


__all__ = ["Jinja2Templates"]
