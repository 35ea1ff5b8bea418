"""Tool, Resource, ResourceTemplate and Prompt: registered functions and how they appear in lists."""

from __future__ import annotations

import inspect
import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from ._context import Context
from ._errors import InvalidParams, ToolError
from ._inline import cannot_block
from ._schema import Parameters, Returns, content_of, hints_of, to_json
from ._types import (
    CallToolResult,
    Icon,
    Message,
    ToolAnnotations,
    _without_none,
    resource_contents,
)

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


def context_parameter(fn: Callable[..., Any]) -> str | None:
    """Name of the parameter that is annotated with `Context`."""
    for name, annotation in hints_of(fn).items():
        if isinstance(annotation, type) and issubclass(annotation, Context) and name != "return":
            return name
    return None


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling ``fn`` gives a coroutine."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004


def _name_of(fn: Callable[..., Any], name: str | None) -> str:
    found = name or getattr(fn, "__name__", "")
    if not found or found == "<lambda>":
        raise ValueError("a lambda needs a name: name=...")
    return found


def _icons(icons: Sequence[Icon] | None) -> list[dict[str, Any]] | None:
    return [icon.to_dict() for icon in icons] if icons else None


class Feature:
    """What the four kinds have in common."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str | None,
        title: str | None,
        description: str | None,
        icons: Sequence[Icon] | None,
        meta: Mapping[str, Any] | None,
    ) -> None:
        self.fn = fn
        self.name = _name_of(fn, name)
        self.title = title
        self.description = description if description is not None else (inspect.getdoc(fn) or None)
        self.icons = _icons(icons)
        self.meta = dict(meta) if meta else None
        self.context_name = context_parameter(fn)
        self.is_async = is_async(fn)
        self.blocking = not self.is_async and not cannot_block(fn)

    async def run(
        self, arguments: Mapping[str, Any], context: Context | None, in_thread: Callable[..., Any]
    ) -> Any:
        """Calls the function: awaited, on the loop, or in a worker thread, as it needs."""
        keywords = dict(arguments)
        if self.context_name is not None:
            keywords[self.context_name] = context
        if self.is_async:
            return await self.fn(**keywords)
        result = await in_thread(self.fn, keywords) if self.blocking else self.fn(**keywords)
        return await result if inspect.isawaitable(result) else result


class Tool(Feature):
    """A registered tool."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        annotations: ToolAnnotations | Mapping[str, Any] | None = None,
        icons: Sequence[Icon] | None = None,
        meta: Mapping[str, Any] | None = None,
        structured_output: bool | None = None,
        inline: bool = False,
        input_schema: Mapping[str, Any] | None = None,
        output_schema: Mapping[str, Any] | None = None,
        task: Literal["optional", "required", "manual"] | None = None,
    ) -> None:
        super().__init__(fn, name=name, title=title, description=description, icons=icons, meta=meta)
        if task not in (None, "optional", "required", "manual"):
            raise ValueError(f"tool {self.name}: task must be 'optional', 'required', 'manual' or None")
        self.task = task
        self.parameters = Parameters(fn, skip=self.context_name, title=f"{self.name}Arguments")
        self.returns = Returns(fn, name=self.name, structured=structured_output)
        self.annotations = annotations
        self.inline = inline
        if inline:
            self.blocking = False
        self.input_schema = dict(input_schema) if input_schema is not None else self.parameters.schema
        self.output_schema = dict(output_schema) if output_schema is not None else self.returns.schema
        self.header_params = header_params(self.name, self.input_schema)

    @property
    def mode(self) -> str:
        """How the native path may call it: inline, context, async or slow."""
        native = self.parameters.native is not None and self.context_name is None and not self.header_params
        if not native or self.blocking or self.task is not None:
            return "slow"
        if self.is_async:
            return "async"
        return "context" if self.inline else "inline"

    def to_dict(self) -> dict[str, Any]:
        """Entry in tools/list."""
        annotations = self.annotations
        if isinstance(annotations, ToolAnnotations):
            annotations = annotations.to_dict()
        return _without_none(
            {
                "name": self.name,
                "title": self.title,
                "description": self.description,
                "inputSchema": self.input_schema,
                "outputSchema": self.output_schema,
                "annotations": dict(annotations) if annotations else None,
                "icons": self.icons,
                "_meta": self.meta,
            }
        )

    def bind(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Checked keyword arguments. Raises `ToolError` with pydantic's text."""
        from pydantic import ValidationError

        try:
            return self.parameters.validate(dict(arguments))
        except ValidationError as error:
            raise ToolError(str(error)) from error

    def result_json(self, value: Any) -> bytes:
        """The result object as JSON without its closing brace."""
        if isinstance(value, CallToolResult):
            parts = [b'{"content":', to_json(content_of(list(value.content)))]
            if value.structured_content is not None:
                parts += [b',"structuredContent":', to_json(value.structured_content)]
            if value.is_error:
                parts.append(b',"isError":true')
            if value.meta:
                parts += [b',"_meta":', to_json(value.meta)]
            return b"".join(parts)
        structured = self.returns.structured_json(value)
        content = content_of(value)
        if structured is not None and not self.returns.wrapped:
            content = [{"type": "text", "text": structured.decode()}]
        text = b'{"content":' + to_json(content)
        return text if structured is None else text + b',"structuredContent":' + structured


def header_params(tool: str, schema: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...], str]]:
    """``(header, path in the arguments, JSON type)`` for each parameter with ``x-mcp-header``."""
    found: list[tuple[str, tuple[str, ...], str]] = []

    def walk(node: Any, path: tuple[str, ...]) -> None:
        if not isinstance(node, dict):
            return
        name = node.get("x-mcp-header")
        if name is not None and path:
            kind = node.get("type")
            if not isinstance(name, str) or not _TOKEN.match(name):
                raise ValueError(f"tool {tool}: x-mcp-header {name!r} is not an HTTP token")
            if kind not in ("string", "integer", "boolean"):
                raise ValueError(f"tool {tool}: x-mcp-header needs a string, integer or boolean parameter")
            header = "mcp-param-" + name.lower()
            if any(header == other for other, _, _ in found):
                raise ValueError(f"tool {tool}: x-mcp-header {name!r} is used twice")
            found.append((header, path, kind))
        properties = node.get("properties")
        if isinstance(properties, dict):
            for key, child in properties.items():
                walk(child, (*path, key))

    walk(schema, ())
    if _count_annotations(schema) != len(found):
        raise ValueError(
            f"tool {tool}: x-mcp-header may only stand in properties that are reached by properties"
        )
    return found


def _count_annotations(node: Any, names: bool = False) -> int:
    """How often x-mcp-header stands in a schema, as a keyword (not as the name of a property)."""
    if isinstance(node, list):
        return sum(_count_annotations(child) for child in node)
    if not isinstance(node, dict):
        return 0
    own = int(not names and "x-mcp-header" in node)
    return own + sum(
        _count_annotations(child, not names and key in ("properties", "$defs", "patternProperties"))
        for key, child in node.items()
        if names or key not in ("default", "const", "enum", "examples")
    )


class Resource(Feature):
    """A registered resource with a fixed URI."""

    def __init__(
        self,
        fn: Callable[..., Any],
        uri: str,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        mime_type: str | None = None,
        annotations: Mapping[str, Any] | None = None,
        icons: Sequence[Icon] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(fn, name=name, title=title, description=description, icons=icons, meta=meta)
        self.uri = uri
        self.mime_type = mime_type
        self.annotations = dict(annotations) if annotations else None

    def to_dict(self) -> dict[str, Any]:
        """Entry in resources/list."""
        return _without_none(
            {
                "uri": self.uri,
                "name": self.name,
                "title": self.title,
                "description": self.description,
                "mimeType": self.mime_type or "text/plain",
                "annotations": self.annotations,
                "icons": self.icons,
                "_meta": self.meta,
            }
        )

    def contents(self, uri: str, value: Any) -> list[dict[str, Any]]:
        """``contents`` of resources/read."""
        if isinstance(value, (bytes, bytearray, memoryview)):
            return [resource_contents(uri, bytes(value), self.mime_type)]
        if isinstance(value, str):
            return [resource_contents(uri, value, self.mime_type)]
        mime_type = self.mime_type or "application/json"
        return [resource_contents(uri, to_json(value).decode(), mime_type)]


class ResourceTemplate(Resource):
    """A registered family of resources: ``note://{id}``; ``{path*}`` also takes slashes."""

    def __init__(self, fn: Callable[..., Any], uri: str, **more: Any) -> None:
        super().__init__(fn, uri, **more)
        names: list[str] = []
        pattern = ""
        for part in re.split(r"(\{[^{}]*\})", uri):
            if part.startswith("{"):
                name = part[1:-1]
                deep = name.endswith("*") or name.startswith("+")
                name = name.strip("*+")
                if not name.isidentifier():
                    raise ValueError(f"resource template {uri!r}: {part} is not a simple variable")
                names.append(name)
                pattern += f"(?P<{name}>{'.+' if deep else '[^/?#]+'})"
            else:
                pattern += re.escape(part)
        self.pattern = re.compile(pattern + r"\Z", re.DOTALL)
        self.parameters = Parameters(fn, skip=self.context_name, title=f"{self.name}Arguments")
        if set(names) != set(self.parameters.fields):
            raise ValueError(
                f"resource template {uri!r}: variables {sorted(names)} differ from the parameters "
                f"{sorted(self.parameters.fields)} of {self.name}"
            )

    def match(self, uri: str) -> dict[str, Any] | None:
        """Arguments for a concrete URI, or None when it is not of this family."""
        found = self.pattern.match(uri)
        if found is None:
            return None
        values: dict[str, Any] = {}
        for name, raw in found.groupdict().items():
            value = urllib.parse.unquote(raw)
            # A variable is one value: nothing in it may climb out of where it stands.
            if "\0" in value or (".." in value.replace("\\", "/").split("/")):
                return None
            if "/" in value and "/" not in raw:
                return None
            values[name] = value
        if self.parameters.simple and all(kind is str for kind, _ in self.parameters.fields.values()):
            return values
        from pydantic import ValidationError

        try:
            return self.parameters.validate(values)
        except ValidationError:
            return None

    def to_dict(self) -> dict[str, Any]:
        """Entry in resources/templates/list."""
        wire = super().to_dict()
        wire["uriTemplate"] = wire.pop("uri").replace("*}", "}")
        return wire


class Prompt(Feature):
    """A registered prompt."""

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        icons: Sequence[Icon] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(fn, name=name, title=title, description=description, icons=icons, meta=meta)
        self.parameters = Parameters(fn, skip=self.context_name, title=f"{self.name}Arguments")

    def to_dict(self) -> dict[str, Any]:
        """Entry in prompts/list."""
        properties = self.parameters.schema.get("properties", {})
        arguments = [
            _without_none(
                {
                    "name": name,
                    "description": properties.get(name, {}).get("description"),
                    "required": default is inspect.Parameter.empty,
                }
            )
            for name, (_, default) in self.parameters.fields.items()
        ]
        return _without_none(
            {
                "name": self.name,
                "title": self.title,
                "description": self.description,
                "arguments": arguments or None,
                "icons": self.icons,
                "_meta": self.meta,
            }
        )

    def bind(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments. Raises `InvalidParams` when one is missing or does not fit."""
        for name, (_, default) in self.parameters.fields.items():
            if default is inspect.Parameter.empty and name not in arguments:
                raise InvalidParams(f"Missing argument of prompt {self.name}: {name}")
        if self.parameters.simple and all(kind is str for kind, _ in self.parameters.fields.values()):
            wanted = {name: arguments[name] for name in self.parameters.fields if name in arguments}
            if all(isinstance(value, str) for value in wanted.values()):
                return wanted
        from pydantic import ValidationError

        try:
            return self.parameters.validate(dict(arguments))
        except ValidationError as error:
            raise InvalidParams(f"Invalid arguments of prompt {self.name}: {error}") from error

    def messages(self, value: Any) -> list[dict[str, Any]]:
        """``messages`` of prompts/get."""
        items = value if isinstance(value, (list, tuple)) else [value]
        wire = []
        for item in items:
            if isinstance(item, dict) and "role" in item:
                content = item["content"]
                wire.append({"role": item["role"], "content": _single(content)})
                continue
            message = item if isinstance(item, Message) else Message(item)
            wire.append({"role": message.role, "content": _single(message.content)})
        return wire


def _single(content: Any) -> dict[str, Any]:
    if isinstance(content, dict) and "type" in content:
        return content
    blocks = content_of(content)
    if len(blocks) != 1:
        raise ValueError("a prompt message holds exactly one content block")
    return blocks[0]
