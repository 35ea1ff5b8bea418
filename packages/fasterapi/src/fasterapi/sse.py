"""Server-sent events: yield ``ServerSentEvent`` (or plain data) from a handler with
``response_class=EventSourceResponse``.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from .encoders import json_text, jsonable_encoder
from .responses import EventSourceResponse

PING_SECONDS = 15.0
KEEP_ALIVE = b": ping\n\n"


def format_event(
    *,
    data: str | None = None,
    event: str | None = None,
    id: str | None = None,
    retry: int | None = None,
    comment: str | None = None,
) -> bytes:
    """Return one event as it goes over the wire; ``retry`` is in milliseconds."""
    lines: list[str] = []
    if comment is not None:
        lines += [f": {line}" for line in comment.splitlines()]
    if event is not None:
        lines.append(f"event: {event}")
    if data is not None:
        lines += [f"data: {line}" for line in data.split("\n")]
    if id is not None:
        lines.append(f"id: {id}")
    if retry is not None:
        lines.append(f"retry: {retry}")
    return ("\n".join(lines) + "\n\n").encode()


class ServerSentEvent(BaseModel):
    """One event: ``data`` is sent as JSON, ``raw_data`` as it is."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    data: Any = None
    raw_data: str | None = None
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None

    def encode(self) -> bytes:
        """Return the event as bytes."""
        text = self.raw_data
        if text is None and self.data is not None:
            text = json_text(jsonable_encoder(self.data))
        return format_event(data=text, event=self.event, id=self.id, retry=self.retry, comment=self.comment)


__all__ = ["EventSourceResponse", "ServerSentEvent", "format_event"]
