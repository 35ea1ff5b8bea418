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
from contextlib import aclosing
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError

from ._fields import Field
from .concurrency import iterate_in_threadpool
from .encoders import json_text, jsonable_encoder
from .exceptions import ResponseValidationError
from .responses import Response, StreamingResponse
from .sse import KEEP_ALIVE, PING_SECONDS, ServerSentEvent, format_sse_event

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


async def _items(source: Any) -> AsyncGenerator[Any, None]:
    if inspect.isasyncgen(source) or isinstance(source, AsyncIterable):
        try:
            async for item in source:
                yield item
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()  # at once, when the client has left
    else:
        async for item in iterate_in_threadpool(source):
            yield item


async def _json_lines(source: Any, field: Field | None) -> AsyncIterator[bytes]:
    async with aclosing(_items(source)) as items:
        async for item in items:
            yield _item_text(item, field).encode() + b"\n"


_END = object()


async def _produce(source: Any, field: Field | None, slot: asyncio.Queue[Any]) -> None:
    """Run the handler's generator in one task of its own from its first to its last step: cancel scopes and
    timeouts around a ``yield`` need that.
    """
    last: Any = _END
    try:
        async with aclosing(_items(source)) as items:
            async for item in items:
                if isinstance(item, ServerSentEvent):
                    await slot.put(item.encode())
                else:
                    await slot.put(format_sse_event(data_str=_item_text(item, field)))
    except Exception as exc:
        last = exc
    await slot.put(last)


async def _events(source: Any, field: Field | None) -> AsyncIterator[bytes]:
    slot: asyncio.Queue[Any] = asyncio.Queue(1)
    producer = asyncio.create_task(_produce(source, field, slot))
    try:
        while True:
            try:
                async with asyncio.timeout(PING_SECONDS):
                    piece = await slot.get()
            except TimeoutError:
                # Nothing to say for a while: a comment keeps proxies from closing the connection.
                piece = KEEP_ALIVE
            if piece is _END:
                return
            if isinstance(piece, Exception):
                raise piece
            yield piece
    finally:
        if not producer.done():
            producer.cancel()  # the client has left
            await asyncio.wait({producer})


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
    async with aclosing(_items(source)) as items:
        async for item in items:
            yield item
