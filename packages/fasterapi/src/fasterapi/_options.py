"""What can be said about a route, and how the layers (route, router, include, app) combine."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from . import params
from .datastructures import Default, chosen, first_given
from .responses import JSONResponse


def generate_unique_id(route: Any) -> str:
    """Return the default operation id: name, path and method."""
    name = re.sub(r"\W", "_", f"{route.name}{route.path_format}")
    return f"{name}_{sorted(route.methods)[0].lower()}"


@dataclasses.dataclass
class RouteOptions:
    """The arguments of ``app.get(...)`` and its siblings.

    Beyond FastAPI's: ``tool=True`` also offers the route as an MCP tool, ``inline=True`` runs its sync
    functions on the event loop.
    """

    response_model: Any = dataclasses.field(default_factory=lambda: Default(None))
    status_code: int | None = None
    tags: list[str | Enum] | None = None
    dependencies: Sequence[params.Depends] | None = None
    summary: str | None = None
    description: str | None = None
    response_description: str = "Successful Response"
    responses: dict[int | str, dict[str, Any]] | None = None
    deprecated: bool | None = None
    operation_id: str | None = None
    response_model_include: Any = None
    response_model_exclude: Any = None
    response_model_by_alias: bool = True
    response_model_exclude_unset: bool = False
    response_model_exclude_defaults: bool = False
    response_model_exclude_none: bool = False
    include_in_schema: bool = True
    response_class: Any = dataclasses.field(default_factory=lambda: Default(JSONResponse))
    name: str | None = None
    callbacks: list[Any] | None = None
    openapi_extra: dict[str, Any] | None = None
    generate_unique_id_function: Any = dataclasses.field(default_factory=lambda: Default(generate_unique_id))
    strict_content_type: Any = dataclasses.field(default_factory=lambda: Default(True))
    max_body_size: int | None = None
    form_limits: Any = None
    tool: bool | str = False
    inline: bool | None = None

    def under(self, layer: LayerOptions) -> RouteOptions:
        """Return these options as they are inside ``layer``."""
        return dataclasses.replace(
            self,
            tags=[*(layer.tags or ()), *(self.tags or ())],
            dependencies=[*(layer.dependencies or ()), *(self.dependencies or ())],
            responses={**(layer.responses or {}), **(self.responses or {})},
            callbacks=[*(layer.callbacks or ()), *(self.callbacks or ())],
            deprecated=self.deprecated or layer.deprecated,
            include_in_schema=self.include_in_schema and layer.include_in_schema,
            response_class=first_given(self.response_class, layer.default_response_class),
            generate_unique_id_function=first_given(
                self.generate_unique_id_function, layer.generate_unique_id_function
            ),
            strict_content_type=first_given(self.strict_content_type, layer.strict_content_type),
            max_body_size=self.max_body_size if self.max_body_size is not None else layer.max_body_size,
            form_limits=self.form_limits if self.form_limits is not None else layer.form_limits,
            inline=self.inline if self.inline is not None else layer.inline,
        )


@dataclasses.dataclass
class LayerOptions:
    """What a router, an include or the app adds to the routes inside it."""

    tags: list[str | Enum] | None = None
    dependencies: Sequence[params.Depends] | None = None
    responses: dict[int | str, dict[str, Any]] | None = None
    callbacks: list[Any] | None = None
    deprecated: bool | None = None
    include_in_schema: bool = True
    default_response_class: Any = dataclasses.field(default_factory=lambda: Default(JSONResponse))
    generate_unique_id_function: Any = dataclasses.field(default_factory=lambda: Default(generate_unique_id))
    strict_content_type: Any = dataclasses.field(default_factory=lambda: Default(True))
    max_body_size: int | None = None
    form_limits: Any = None
    inline: bool | None = None


UniqueId = Callable[[Any], str]

__all__ = ["LayerOptions", "RouteOptions", "chosen", "generate_unique_id"]
