"""Values that tools, resources and prompts return: content blocks, messages, icons, annotations."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Literal

__all__ = [
    "AssistantMessage",
    "Audio",
    "AudioContent",
    "CallToolResult",
    "Completion",
    "Content",
    "ElicitResult",
    "EmbeddedResource",
    "Icon",
    "Image",
    "ImageContent",
    "InputRequired",
    "Message",
    "ResourceLink",
    "TextContent",
    "ToolAnnotations",
    "UserMessage",
]


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _base64(data: bytes | str) -> str:
    return data if isinstance(data, str) else base64.b64encode(data).decode("ascii")


class Content:
    """A content block; ``to_dict()`` is its wire form."""

    __slots__ = ("_wire",)

    def __init__(self, wire: dict[str, Any]) -> None:
        self._wire = _without_none(wire)

    def to_dict(self) -> dict[str, Any]:
        """The block as JSON-ready data."""
        return self._wire

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and other._wire == self._wire

    def __hash__(self) -> int:
        return hash(repr(self._wire))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._wire!r})"


class TextContent(Content):
    """Text. ``annotations``: ``{"audience": [...], "priority": 0..1, "lastModified": ISO 8601}``."""

    __slots__ = ()

    def __init__(self, text: str, *, annotations: Mapping[str, Any] | None = None) -> None:
        super().__init__({"type": "text", "text": text, "annotations": annotations})


class ImageContent(Content):
    """An image: raw bytes, or text that is base64 already."""

    __slots__ = ()

    def __init__(
        self, data: bytes | str, mime_type: str = "image/png", *, annotations: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(
            {"type": "image", "data": _base64(data), "mimeType": mime_type, "annotations": annotations}
        )


class AudioContent(Content):
    """A sound: raw bytes, or text that is base64 already."""

    __slots__ = ()

    def __init__(
        self, data: bytes | str, mime_type: str = "audio/wav", *, annotations: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(
            {"type": "audio", "data": _base64(data), "mimeType": mime_type, "annotations": annotations}
        )


class ResourceLink(Content):
    """A pointer to a resource that the client may read."""

    __slots__ = ()

    def __init__(
        self,
        uri: str,
        name: str,
        *,
        title: str | None = None,
        description: str | None = None,
        mime_type: str | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(
            {
                "type": "resource_link",
                "uri": uri,
                "name": name,
                "title": title,
                "description": description,
                "mimeType": mime_type,
                "size": size,
            }
        )


class EmbeddedResource(Content):
    """The contents of a resource inside an answer: ``str`` becomes text, ``bytes`` a blob."""

    __slots__ = ()

    def __init__(
        self,
        uri: str,
        content: str | bytes,
        mime_type: str | None = None,
        *,
        annotations: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            {
                "type": "resource",
                "resource": resource_contents(uri, content, mime_type),
                "annotations": annotations,
            }
        )


def resource_contents(uri: str, content: str | bytes, mime_type: str | None) -> dict[str, Any]:
    """One entry of ``contents`` in the answer to resources/read."""
    if isinstance(content, str):
        return _without_none({"uri": uri, "mimeType": mime_type or "text/plain", "text": content})
    return {"uri": uri, "mimeType": mime_type or "application/octet-stream", "blob": _base64(bytes(content))}


class _File:
    _types: dict[str, str] = {}
    _fallback = ""

    def __init__(self, path: str | None = None, data: bytes | None = None, format: str | None = None) -> None:
        if (path is None) == (data is None):
            raise ValueError("give either path or data")
        self.path = path
        self.data = data
        suffix = format or (str(path).rpartition(".")[2].lower() if path is not None else "")
        self.mime_type = self._types.get(suffix, self._fallback)

    def _bytes(self) -> bytes:
        if self.data is not None:
            return self.data
        assert self.path is not None
        with open(self.path, "rb") as file:
            return file.read()


class Image(_File):
    """An image to return from a tool, from a file or from bytes.

    Args:
        path: File to read when the tool has returned.
        data: The image itself, instead of a path.
        format: "png", "jpeg", "gif" or "webp"; taken from the file name when left out.
    """

    _types = {
        "png": "image/png",
        "jpg": "image/jpeg",
        "jpeg": "image/jpeg",
        "gif": "image/gif",
        "webp": "image/webp",
    }
    _fallback = "image/png"

    def to_content(self) -> ImageContent:
        """The content block."""
        return ImageContent(self._bytes(), self.mime_type)


class Audio(_File):
    """A sound to return from a tool; arguments as in `Image` ("wav", "mp3", "ogg", "flac")."""

    _types = {
        "wav": "audio/wav",
        "mp3": "audio/mpeg",
        "ogg": "audio/ogg",
        "flac": "audio/flac",
        "m4a": "audio/mp4",
    }
    _fallback = "audio/wav"

    def to_content(self) -> AudioContent:
        """The content block."""
        return AudioContent(self._bytes(), self.mime_type)


class CallToolResult:
    """A tool's answer said in full, for tools that want to decide every part of it."""

    __slots__ = ("content", "is_error", "meta", "structured_content")

    def __init__(
        self,
        content: Sequence[Any] = (),
        *,
        structured_content: Any = None,
        is_error: bool = False,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        self.content = content
        self.structured_content = structured_content
        self.is_error = is_error
        self.meta = meta


class Icon:
    """An icon: ``src`` is an https: or data: URI; ``sizes`` like ``["48x48"]`` or ``["any"]``."""

    __slots__ = ("mime_type", "sizes", "src", "theme")

    def __init__(
        self,
        src: str,
        mime_type: str | None = None,
        sizes: Sequence[str] | None = None,
        theme: Literal["light", "dark"] | None = None,
    ) -> None:
        self.src = src
        self.mime_type = mime_type
        self.sizes = sizes
        self.theme = theme

    def to_dict(self) -> dict[str, Any]:
        """Wire form."""
        return _without_none(
            {
                "src": self.src,
                "mimeType": self.mime_type,
                "sizes": list(self.sizes) if self.sizes else None,
                "theme": self.theme,
            }
        )


class ToolAnnotations:
    """Hints about what a tool does. Clients must not trust them from servers that they do not trust."""

    __slots__ = ("destructive_hint", "idempotent_hint", "open_world_hint", "read_only_hint", "title")

    def __init__(
        self,
        title: str | None = None,
        *,
        read_only_hint: bool | None = None,
        destructive_hint: bool | None = None,
        idempotent_hint: bool | None = None,
        open_world_hint: bool | None = None,
    ) -> None:
        self.title = title
        self.read_only_hint = read_only_hint
        self.destructive_hint = destructive_hint
        self.idempotent_hint = idempotent_hint
        self.open_world_hint = open_world_hint

    def to_dict(self) -> dict[str, Any]:
        """Wire form."""
        return _without_none(
            {
                "title": self.title,
                "readOnlyHint": self.read_only_hint,
                "destructiveHint": self.destructive_hint,
                "idempotentHint": self.idempotent_hint,
                "openWorldHint": self.open_world_hint,
            }
        )


class Message:
    """One message of a prompt: text, a content block, an `Image` or an `Audio`."""

    __slots__ = ("content", "role")

    def __init__(self, content: Any, role: Literal["user", "assistant"] = "user") -> None:
        self.content = content
        self.role = role


class UserMessage(Message):
    """A message of the user."""

    __slots__ = ()

    def __init__(self, content: Any) -> None:
        super().__init__(content, "user")


class AssistantMessage(Message):
    """A message of the assistant."""

    __slots__ = ()

    def __init__(self, content: Any) -> None:
        super().__init__(content, "assistant")


class Completion:
    """Suggestions for an argument; at most 100 values are sent."""

    __slots__ = ("has_more", "total", "values")

    def __init__(
        self, values: Sequence[str], *, total: int | None = None, has_more: bool | None = None
    ) -> None:
        self.values = values
        self.total = total
        self.has_more = has_more

    def to_dict(self) -> dict[str, Any]:
        """Wire form."""
        values = list(self.values)
        more = self.has_more if self.has_more is not None else (True if len(values) > 100 else None)
        return _without_none({"values": values[:100], "total": self.total, "hasMore": more})


class InputRequired:
    """Asks the client for input (2026-07-28): the call is retried with ``inputResponses``.

    Args:
        input_requests: key -> ``{"method": "elicitation/create", "params": {...}}``. See `Context.elicit`
            for the way that writes this itself.
        request_state: Anything the tool wants back with the answers. It is signed, expires, and is bound to
            the call, but the client can read it.
    """

    __slots__ = ("input_requests", "request_state")

    def __init__(
        self, input_requests: Mapping[str, Mapping[str, Any]] | None = None, request_state: str | None = None
    ) -> None:
        if not input_requests and request_state is None:
            raise ValueError("give input_requests, request_state or both")
        self.input_requests = input_requests
        self.request_state = request_state


class ElicitResult:
    """What the user did: ``action`` is "accept", "decline" or "cancel"; ``data`` only with accept."""

    __slots__ = ("action", "data")

    def __init__(self, action: str, data: Any = None) -> None:
        self.action = action
        self.data = data

    def __repr__(self) -> str:
        return f"ElicitResult(action={self.action!r}, data={self.data!r})"
