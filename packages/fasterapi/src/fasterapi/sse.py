"""Server-sent events: yield ``ServerSentEvent`` (or plain data) from a handler with
``response_class=EventSourceResponse``.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, model_validator

from .encoders import json_text, jsonable_encoder
from .responses import EventSourceResponse

PING_SECONDS = 15.0
KEEP_ALIVE = b": ping\n\n"


def _lines(text: str) -> list[str]:
    # A lone CR ends a line of an event stream too: whatever is in a text, it stays inside its field.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def format_sse_event(
    *,
    data_str: str | None = None,
    event: str | None = None,
    id: str | None = None,
    retry: int | None = None,
    comment: str | None = None,
) -> bytes:
    """Return one event as it goes over the wire; ``retry`` is in milliseconds."""
    lines: list[str] = []
    if comment is not None:
        lines += [f": {line}" for line in _lines(comment)]
    if event is not None:
        lines.append(f"event: {event}")
    if data_str is not None:
        lines += [f"data: {line}" for line in _lines(data_str)]
    if id is not None:
        lines.append(f"id: {id}")
    if retry is not None:
        lines.append(f"retry: {retry}")
    return "\n".join([*lines, "", ""]).encode()


def _single_line(name: str) -> AfterValidator:
    def check(value: str | None) -> str | None:
        if value is not None and ("\r" in value or "\n" in value):
            raise ValueError(f"SSE '{name}' must be a single line")
        if value is not None and name == "id" and "\0" in value:
            raise ValueError("SSE 'id' must not contain null characters")
        return value

    return AfterValidator(check)


class ServerSentEvent(BaseModel):
    """One event: ``data`` is sent as JSON, ``raw_data`` as it is; ``retry`` is in milliseconds.

    Raises pydantic's ValidationError when both are given, when ``event`` or ``id`` is not one line, or ``retry`` is
    negative.
    """

    data: Any = None
    raw_data: str | None = None
    event: Annotated[str | None, _single_line("event")] = None
    id: Annotated[str | None, _single_line("id")] = None
    retry: Annotated[int | None, Field(ge=0)] = None
    comment: str | None = None

    @model_validator(mode="after")
    def _one_kind_of_data(self) -> ServerSentEvent:
        if self.data is not None and self.raw_data is not None:
            raise ValueError("Cannot set both 'data' and 'raw_data' on the same ServerSentEvent.")
        return self

    def encode(self) -> bytes:
        """Return the event as bytes."""
        text = self.raw_data
        if text is None and self.data is not None:
            text = json_text(jsonable_encoder(self.data))
        return format_sse_event(
            data_str=text, event=self.event, id=self.id, retry=self.retry, comment=self.comment
        )


__all__ = ["EventSourceResponse", "ServerSentEvent", "format_sse_event"]
