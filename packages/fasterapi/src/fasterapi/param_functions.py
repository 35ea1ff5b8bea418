"""``Path``, ``Query``, ``Header``, ``Cookie``, ``Body``, ``Form``, ``File``, ``Depends`` and ``Security``.

They are functions so that type checkers accept them as default values of any type. Arguments are those of
pydantic's ``Field`` plus ``openapi_examples``, ``include_in_schema`` and, per kind, ``convert_underscores``,
``embed``, ``media_type``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Unpack

from . import params

Unset = params.Unset


def Path(default: Any = ..., **options: Unpack[params.ParamOptions]) -> Any:  # noqa: N802
    """Declare a path parameter; path parameters are always required."""
    return params.Path(default, **options)


def Query(default: Any = Unset, **options: Unpack[params.ParamOptions]) -> Any:  # noqa: N802
    """Declare a query parameter; without ``default`` it is required."""
    return params.Query(default, **options)


def Header(
    default: Any = Unset, *, convert_underscores: bool = True, **options: Unpack[params.ParamOptions]
) -> Any:  # noqa: N802
    """Declare a header parameter; ``x_token`` reads the header ``x-token`` unless
    ``convert_underscores=False``.
    """
    return params.Header(default, convert_underscores=convert_underscores, **options)


def Cookie(default: Any = Unset, **options: Unpack[params.ParamOptions]) -> Any:  # noqa: N802
    """Declare a cookie parameter."""
    return params.Cookie(default, **options)


def Body(  # noqa: N802
    default: Any = Unset,
    *,
    embed: bool | None = None,
    media_type: str = "application/json",
    **options: Unpack[params.ParamOptions],
) -> Any:
    """Declare a body parameter; ``embed=True`` expects it under its own key."""
    return params.Body(default, embed=embed, media_type=media_type, **options)


def Form(default: Any = Unset, **options: Unpack[params.MediaOptions]) -> Any:  # noqa: N802
    """Declare a form field; urlencoded and multipart bodies are both accepted."""
    return params.Form(default, **options)


def File(default: Any = Unset, **options: Unpack[params.MediaOptions]) -> Any:  # noqa: N802
    """Declare an uploaded file: annotate with ``UploadFile`` (spooled) or ``bytes`` (in memory)."""
    return params.File(default, **options)


def Depends(  # noqa: N802
    dependency: Callable[..., Any] | None = None,
    *,
    use_cache: bool = True,
    scope: Literal["function", "request"] | None = None,
    max_concurrency: int | None = None,
    inline: bool = False,
) -> Any:
    """Declare a dependency.

    ``use_cache=False`` calls it again for every use within a request. ``scope="function"`` runs the code
    after ``yield`` before the response is sent, ``"request"`` (the default) after. ``max_concurrency``
    bounds how many requests run it at once in this process. ``inline=True`` runs a sync dependency on the
    event loop.
    """
    return params.Depends(
        dependency=dependency,
        use_cache=use_cache,
        scope=scope,
        max_concurrency=max_concurrency,
        inline=inline,
    )


def Security(  # noqa: N802
    dependency: Callable[..., Any] | None = None,
    *,
    scopes: Sequence[str] | None = None,
    use_cache: bool = True,
) -> Any:
    """Declare a dependency that requires OAuth2 ``scopes``; they are joined along the chain in
    ``SecurityScopes``.
    """
    return params.Security(dependency=dependency, scopes=scopes, use_cache=use_cache)


__all__ = ["Body", "Cookie", "Depends", "File", "Form", "Header", "Path", "Query", "Security"]
