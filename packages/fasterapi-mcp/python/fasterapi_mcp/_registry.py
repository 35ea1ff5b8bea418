"""What users register on a server: tools, resources, prompts, completion."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

from ._features import Prompt, Resource, ResourceTemplate, Tool
from ._mcp import Call, Engine
from ._types import Icon, ToolAnnotations

F = TypeVar("F", bound=Callable[..., Any])


class Registry:
    """The registering half of `MCPServer`."""

    _engine: Engine
    _tools: dict[str, Tool]
    _resources: dict[str, Resource]
    _templates: dict[str, ResourceTemplate]
    _prompts: dict[str, Prompt]
    _completion: Callable[..., Any] | None
    _tasks: Any
    _handlers: dict[str, Callable[[Call, dict[str, Any]], Awaitable[bytes]]]
    _dirty: bool

    def _changed(self, kind: str) -> None:
        raise NotImplementedError

    def _set_methods(self) -> None:
        raise NotImplementedError

    def _tool_result(self, tool: Tool, value: Any, modern: bool) -> bytes:
        raise NotImplementedError

    @overload
    def tool(self, fn: F, /) -> F: ...
    @overload
    def tool(
        self,
        /,
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
    ) -> Callable[[F], F]: ...
    def tool(self, fn: Any = None, /, **options: Any) -> Any:
        """Registers a function as a tool; ``@server.tool`` or ``@server.tool(...)``.

        Args:
            name: Name of the tool; the function's name when left out.
            title: Name for people.
            description: The function's docstring when left out.
            annotations: Hints such as ``ToolAnnotations(read_only_hint=True)``.
            icons: Icons for people.
            meta: The tool's ``_meta``.
            structured_output: None: when the return annotation has a schema. True: it must. False: never.
            inline: Run a ``def`` on the event loop instead of a worker thread: for short functions that never
                block.
            input_schema: Sent instead of the schema made from the annotations.
            output_schema: Sent instead of the schema made from the return annotation.
            task: For clients that know the tasks extension: "optional" and "required" answer with a task at
                once ("required" refuses other clients), "manual" leaves it to `Context.become_task`.

        Raises:
            TypeError: the signature has no schema.
            ValueError: a lambda without a name, or a bad ``x-mcp-header``.
        """
        if isinstance(fn, str):
            options["name"], fn = fn, None
        if fn is not None:
            self.add_tool(fn, **options)
            return fn

        def decorate(function: F) -> F:
            self.add_tool(function, **options)
            return function

        return decorate

    def add_tool(self, fn: Callable[..., Any], **options: Any) -> None:
        """Registers a tool as `tool` does. A tool of the same name is replaced."""
        tool = Tool(fn, **options)
        self._tools[tool.name] = tool
        if tool.task is not None and self._tasks is None:
            from ._tasks import Tasks

            self._tasks = Tasks(self)  # type: ignore[arg-type]  # this is an MCPServer
            self._handlers.update(
                {
                    "tasks/get": self._tasks.get,
                    "tasks/update": self._tasks.update,
                    "tasks/cancel": self._tasks.cancel,
                }
            )
            self._set_methods()
        self._engine.add_tool(
            tool.name,
            tool.fn,
            tool.mode,
            tool.parameters.native or [],
            tool.returns.kind,
            tool.returns.wrapped,
            functools.partial(self._tool_result, tool),
        )
        self._changed("tools")

    def remove_tool(self, name: str) -> None:
        """Removes a tool. Raises KeyError when there is none of that name."""
        del self._tools[name]
        self._engine.remove_tool(name)
        self._changed("tools")

    def resource(
        self,
        uri: str,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        mime_type: str | None = None,
        annotations: Mapping[str, Any] | None = None,
        icons: Sequence[Icon] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]:
        """Registers a function as a resource, or as a template when ``uri`` has ``{variables}``.

        The function returns ``str``, ``bytes``, or anything JSON can express.

        Args:
            uri: ``config://app`` or ``note://{id}``; the variables are the function's parameters.
            mime_type: ``text/plain`` for text when left out.
            name, title, description, annotations, icons, meta: as in `tool`.
        """

        def decorate(fn: F) -> F:
            options: dict[str, Any] = {
                "name": name,
                "title": title,
                "description": description,
                "mime_type": mime_type,
                "annotations": annotations,
                "icons": icons,
                "meta": meta,
            }
            if "{" in uri:
                self._templates[uri] = ResourceTemplate(fn, uri, **options)
            else:
                self._resources[uri] = Resource(fn, uri, **options)
            self._changed("resources")
            return fn

        return decorate

    def remove_resource(self, uri: str) -> None:
        """Removes a resource or template. Raises KeyError when there is none of that URI."""
        if uri in self._templates:
            del self._templates[uri]
        else:
            del self._resources[uri]
        self._changed("resources")

    @overload
    def prompt(self, fn: F, /) -> F: ...
    @overload
    def prompt(
        self,
        /,
        *,
        name: str | None = None,
        title: str | None = None,
        description: str | None = None,
        icons: Sequence[Icon] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]: ...
    def prompt(self, fn: Any = None, /, **options: Any) -> Any:
        """Registers a function as a prompt; it returns text, a `Message`, or a list of them."""
        if isinstance(fn, str):
            options["name"], fn = fn, None

        def decorate(function: F) -> F:
            prompt = Prompt(function, **options)
            self._prompts[prompt.name] = prompt
            self._changed("prompts")
            return function

        return decorate(fn) if fn is not None else decorate

    def remove_prompt(self, name: str) -> None:
        """Removes a prompt. Raises KeyError when there is none of that name."""
        del self._prompts[name]
        self._changed("prompts")

    def completion(self, fn: F) -> F:
        """Registers the function that completes arguments.

        It is called with ``(ref, argument, context)``, the dictionaries of the wire, and returns a
        `Completion`, a list of strings, or None.
        """
        self._completion = fn
        self._set_methods()
        self._dirty = True
        return fn
