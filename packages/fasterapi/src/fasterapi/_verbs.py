"""``get``, ``post`` and the other decorators, shared by the app and the routers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, TypedDict, Unpack

from .params import Depends
from .types import DecoratedCallable


class RouteArguments(TypedDict, total=False):
    """The keyword arguments of the decorators; their meaning is FastAPI's, see ``RouteOptions`` for ours."""

    response_model: Any
    status_code: int | None
    tags: list[str | Enum] | None
    dependencies: Sequence[Depends] | None
    summary: str | None
    description: str | None
    response_description: str
    responses: dict[int | str, dict[str, Any]] | None
    deprecated: bool | None
    operation_id: str | None
    response_model_include: Any
    response_model_exclude: Any
    response_model_by_alias: bool
    response_model_exclude_unset: bool
    response_model_exclude_defaults: bool
    response_model_exclude_none: bool
    include_in_schema: bool
    response_class: type[Any]
    name: str | None
    callbacks: list[Any] | None
    openapi_extra: dict[str, Any] | None
    generate_unique_id_function: Callable[[Any], str]
    strict_content_type: bool
    max_body_size: int | None
    form_limits: Any
    tool: bool | str
    inline: bool | None


class Verbs:
    """Decorators over ``add_api_route``."""

    def add_api_route(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """Add a route."""
        raise NotImplementedError

    def api_route(
        self, path: str, *, methods: Sequence[str] | None = None, **options: Unpack[RouteArguments]
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Declare a handler for several methods (GET when ``methods`` is not given)."""

        def decorate(func: DecoratedCallable) -> DecoratedCallable:
            self.add_api_route(path, func, methods=methods or ["GET"], **options)
            return func

        return decorate

    def get(
        self, path: str, **options: Unpack[RouteArguments]
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Declare a handler for GET."""
        return self.api_route(path, methods=["GET"], **options)

    def put(
        self, path: str, **options: Unpack[RouteArguments]
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Declare a handler for PUT."""
        return self.api_route(path, methods=["PUT"], **options)

    def post(
        self, path: str, **options: Unpack[RouteArguments]
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Declare a handler for POST."""
        return self.api_route(path, methods=["POST"], **options)

    def delete(
        self, path: str, **options: Unpack[RouteArguments]
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Declare a handler for DELETE."""
        return self.api_route(path, methods=["DELETE"], **options)

    def patch(
        self, path: str, **options: Unpack[RouteArguments]
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Declare a handler for PATCH."""
        return self.api_route(path, methods=["PATCH"], **options)

    def options(
        self, path: str, **options: Unpack[RouteArguments]
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Declare a handler for OPTIONS."""
        return self.api_route(path, methods=["OPTIONS"], **options)

    def head(
        self, path: str, **options: Unpack[RouteArguments]
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Declare a handler for HEAD."""
        return self.api_route(path, methods=["HEAD"], **options)

    def trace(
        self, path: str, **options: Unpack[RouteArguments]
    ) -> Callable[[DecoratedCallable], DecoratedCallable]:
        """Declare a handler for TRACE."""
        return self.api_route(path, methods=["TRACE"], **options)
