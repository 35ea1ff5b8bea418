"""Handlers that ``yield``: JSON Lines, server-sent events, or raw pieces."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
)
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from ._fields import Field
from .concurrency import iterate_in_threadpool
from .encoders import json_text, jsonable_encoder
from .exceptions import ResponseValidationError
from .responses import Response, StreamingResponse
from .sse import KEEP_ALIVE, PING_SECONDS, ServerSentEvent, format_event

StreamKind = Literal["jsonl", "sse", "raw"]

_ORIGINS = (AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator)


def stream_item_type(annotation: Any) -> Any:
    """Return T of ``AsyncIterator[T]`` and the like, None for other annotations."""
    if get_origin(annotation) in _ORIGINS:
        args = get_args(annotation)
        item = args[0] if args else Any
        return Any if item is ServerSentEvent else item
    return None


def _item_text(item: Any, field: Field | None) -> str:
    if field is None:
        return json_text(jsonable_encoder(item))
    try:
        value = field.adapter.validate_python(item, from_attributes=True)
    except ValidationError as exc:
        raise ResponseValidationError(exc.errors(include_url=False), body=item) from exc
    return field.adapter.dump_json(value, by_alias=True).decode()


async def _items(source: Any) -> AsyncIterator[Any]:
    if inspect.isasyncgen(source) or isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        async for item in iterate_in_threadpool(source):
            yield item


async def _json_lines(source: Any, field: Field | None) -> AsyncIterator[bytes]:
    async for item in _items(source):
        yield _item_text(item, field).encode() + b"\n"


async def _events(source: Any, field: Field | None) -> AsyncIterator[bytes]:
    iterator = _items(source)
    pending: asyncio.Task[Any] | None = None
    try:
        while True:
            pending = asyncio.ensure_future(anext(iterator))
            while not (await asyncio.wait({pending}, timeout=PING_SECONDS))[0]:
                # Nothing to say for a while: a comment keeps proxies from closing the connection.
                yield KEEP_ALIVE
            try:
                item = pending.result()
            except StopAsyncIteration:
                return
            if isinstance(item, ServerSentEvent):
                yield item.encode()
            else:
                yield format_event(data=_item_text(item, field))
    finally:
        if pending is not None and not pending.done():
            pending.cancel()


def stream_response(
    kind: StreamKind, source: Any, field: Field | None, response_class: type[Any], status: int | None
) -> Response:
    """Wrap what a generator handler returned into a streaming response."""
    if kind == "raw":
        return response_class(source, status_code=status or 200)  # type: ignore[no-any-return]
    if kind == "sse":
        headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
        events: Response = response_class(_events(source, field), status_code=status or 200, headers=headers)
        return events
    return StreamingResponse(
        _json_lines(source, field), status_code=status or 200, media_type="application/jsonl"
    )


async def pieces(source: Any) -> AsyncGenerator[Any, None]:
    """Iterate a response body of either kind: plain iterables run in the thread pool."""
    async for item in _items(source):
        yield item
