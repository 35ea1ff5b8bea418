"""MCPServer: registration, the handlers of every method, and running on a transport."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, TypeVar

from fasterapi_core import json_dumps

from ._context import LEVELS, Context, InputNeeded
from ._errors import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    InvalidParams,
    MCPError,
    ToolError,
)
from ._features import Prompt, Resource, ResourceTemplate, Tool
from ._mcp import LEGACY_VERSIONS, MODERN_VERSION, Call, Engine
from ._mirror import check_param_headers
from ._registry import Registry
from ._schema import to_json
from ._types import Completion, Icon, InputRequired, _without_none

logger = logging.getLogger("fasterapi.mcp")

F = TypeVar("F", bound=Callable[..., Any])
Lifespan = Callable[["MCPServer"], AbstractAsyncContextManager[Any]]
Transport = Literal["stdio", "http", "streamable-http"]

SUBSCRIPTION_ID = "io.modelcontextprotocol/subscriptionId"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"

_LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
_COMMON = ("tools/call", "prompts/get", "resources/read", *_LISTS)
_CHANGED = {
    "tools": ("notifications/tools/list_changed", "toolsListChanged"),
    "prompts": ("notifications/prompts/list_changed", "promptsListChanged"),
    "resources": ("notifications/resources/list_changed", "resourcesListChanged"),
}


class MCPServer(Registry):
    """A Model Context Protocol server: typed functions become tools, resources and prompts.

    Args:
        name: Name shown to clients.
        version: Version of your server shown to clients.
        title: Name for people, when it differs.
        description: What the server is for.
        instructions: How a model should use it; sent when a client connects.
        website_url: Link shown to people.
        icons: Icons shown to people.
        lifespan: ``async`` context manager factory, entered before serving; what it yields is ``server.state``.
        mask_errors: Hide the text of unexpected exceptions from clients (`ToolError` is always shown).
        cache_ttl_ms: How long clients of the 2026-07-28 revision may keep lists, in milliseconds.
        cache_scope: "private", or "public" when lists are the same for every user.
        request_state_key: At least 16 bytes, shared by all processes that serve the same clients; random when
            left out.
        max_message_bytes: Longest message accepted.
        max_sessions: Legacy HTTP sessions kept at most.
        session_idle_s: Idle legacy HTTP sessions may be dropped after so many seconds.
        max_in_flight: Calls worked on at once; more are refused.
        max_threads: Threads for ``def`` functions that may block.

    >>> server = MCPServer("calculator")
    >>> @server.tool
    ... def add(a: int, b: int) -> int:
    ...     "Add two integers"
    ...     return a + b
    >>> server.run()  # doctest: +SKIP
    """

    def __init__(
        self,
        name: str,
        version: str = "0.1.0",
        *,
        title: str | None = None,
        description: str | None = None,
        instructions: str | None = None,
        website_url: str | None = None,
        icons: Sequence[Icon] | None = None,
        lifespan: Lifespan | None = None,
        mask_errors: bool = False,
        cache_ttl_ms: int = 0,
        cache_scope: Literal["private", "public"] = "private",
        request_state_key: bytes | None = None,
        max_message_bytes: int = 4 << 20,
        max_sessions: int = 10_000,
        session_idle_s: float = 1800.0,
        max_in_flight: int = 1024,
        max_threads: int = 40,
    ) -> None:
        self.name = name
        self.version = version
        self.instructions = instructions
        self.state: Any = None
        self._info = _without_none(
            {
                "name": name,
                "version": version,
                "title": title,
                "description": description,
                "websiteUrl": website_url,
                "icons": [icon.to_dict() for icon in icons] if icons else None,
            }
        )
        self._lifespan = lifespan
        self._mask_errors = mask_errors
        self._cache = {"ttlMs": max(0, cache_ttl_ms), "cacheScope": cache_scope}
        self._state_key = request_state_key
        self._seal_object: Any = None
        self._max_threads = max_threads
        self._pool: Any = None
        self._tools: dict[str, Tool] = {}
        self._resources: dict[str, Resource] = {}
        self._templates: dict[str, ResourceTemplate] = {}
        self._prompts: dict[str, Prompt] = {}
        self._completion: Callable[..., Any] | None = None
        self._tasks: Any = None
        self._listeners: dict[Call, dict[str, Any]] = {}
        self._closing: set[asyncio.Future[None]] = set()
        self._dirty = True
        self._tail = b',"resultType":"complete","_meta":' + json_dumps({SERVER_INFO: self._info})
        self._engine = Engine(self._handle, self._tool_failed)
        self._engine.set_suffix(self._tail)
        self._engine.set_limits(max_message_bytes, max_sessions, max_in_flight, session_idle_s)
        self._engine.set_http(False, False, [], [], False)
        self._handlers: dict[str, Callable[[Call, dict[str, Any]], Awaitable[bytes]]] = {
            "initialize": self._initialize,
            "tools/call": self._call_tool,
            "resources/read": self._read,
            "prompts/get": self._get_prompt,
            "logging/setLevel": self._set_level,
            "resources/subscribe": self._subscribe,
            "resources/unsubscribe": self._unsubscribe,
            "subscriptions/listen": self._listen,
            "completion/complete": self._complete,
            **dict.fromkeys(_LISTS, self._list_page),
        }
        self._set_methods()

    def __repr__(self) -> str:
        return f"MCPServer({self.name!r}, version={self.version!r})"

    # ------------------------------------------------------------------------------ notifications
    def notify_tools_changed(self) -> None:
        """Tells listening clients that the list of tools has changed. Registration does it by itself."""
        self._announce("tools")

    def notify_prompts_changed(self) -> None:
        """Tells listening clients that the list of prompts has changed."""
        self._announce("prompts")

    def notify_resources_changed(self) -> None:
        """Tells listening clients that the list of resources has changed."""
        self._announce("resources")

    def notify_resource_updated(self, uri: str) -> None:
        """Tells clients that subscribed to ``uri`` that its contents have changed."""
        method = "notifications/resources/updated"
        for call, wanted in list(self._listeners.items()):
            if uri in wanted.get("resourceSubscriptions", ()):
                call.notify(method, json_dumps({"uri": uri, "_meta": {SUBSCRIPTION_ID: call.id}}))
        for peer in self._engine.peers():
            if uri in peer.state.get("subscriptions", ()):
                peer.send(method, json_dumps({"uri": uri}))

    def _task_changed(self, task_id: str, wire: dict[str, Any]) -> None:
        for call, wanted in list(self._listeners.items()):
            if task_id in wanted.get("taskIds", ()):
                call.notify("notifications/tasks", json_dumps({**wire, "_meta": {SUBSCRIPTION_ID: call.id}}))

    def _changed(self, kind: str) -> None:
        self._dirty = True
        if self._engine.calls or self._listeners or self._engine.peers():
            self._prepare()
            self._announce(kind)

    def _announce(self, kind: str) -> None:
        method, wish = _CHANGED[kind]
        for call, wanted in list(self._listeners.items()):
            if wanted.get(wish):
                call.notify(method, json_dumps({"_meta": {SUBSCRIPTION_ID: call.id}}))
        for peer in self._engine.peers():
            if peer.version:
                peer.send(method, b"{}")

    # ----------------------------------------------------------------------------------- answers
    def _set_methods(self) -> None:
        more = ("completion/complete",) if self._completion else ()
        tasks = ("tasks/get", "tasks/update", "tasks/cancel") if self._tasks else ()
        self._engine.set_methods(
            [*_COMMON, *more, *tasks, "subscriptions/listen"],
            [*_COMMON, *more, "logging/setLevel", "resources/subscribe", "resources/unsubscribe"],
        )

    def _capabilities(self, *, modern: bool) -> dict[str, Any]:
        found: dict[str, Any] = {
            "tools": {"listChanged": True},
            "resources": {"listChanged": True, "subscribe": True},
            "prompts": {"listChanged": True},
            "logging": {},
        }
        if self._completion:
            found["completions"] = {}
        if modern and self._tasks:
            found["extensions"] = {"io.modelcontextprotocol/tasks": {}}
        return found

    def _prepare(self) -> None:
        """Makes the bytes that list requests are answered with."""
        if not self._dirty:
            return
        self._dirty = False
        for method in _LISTS:
            wire = {_LISTS[method]: self._entries(method)}
            self._engine.set_answer(method, False, json_dumps(wire, default=str))
            self._engine.set_answer(method, True, self._finish({**wire, **self._cache}))
        discover = _without_none(
            {
                "supportedVersions": [MODERN_VERSION],
                "capabilities": self._capabilities(modern=True),
                "instructions": self.instructions,
                **self._cache,
            }
        )
        self._engine.set_answer("server/discover", True, self._finish(discover))

    def _entries(self, method: str) -> list[dict[str, Any]]:
        features: Iterable[Tool | Resource | Prompt]
        if method == "tools/list":
            features = self._tools.values()
        elif method == "prompts/list":
            features = self._prompts.values()
        else:
            features = self._resources.values() if method == "resources/list" else self._templates.values()
        return [feature.to_dict() for feature in features]

    def _finish(self, wire: dict[str, Any]) -> bytes:
        """A complete result of the modern era."""
        return self._finish_as("complete", wire)

    def _finish_as(self, kind: str, wire: dict[str, Any]) -> bytes:
        """A result of another type than complete."""
        return json_dumps({"resultType": kind, **wire, "_meta": {SERVER_INFO: self._info}}, default=str)

    def _result(self, call: Call, wire: dict[str, Any], *, cacheable: bool = False) -> bytes:
        if not call.modern:
            return json_dumps(wire, default=str)
        return self._finish({**wire, **self._cache} if cacheable else wire)

    def _tool_result(self, tool: Tool, value: Any, modern: bool) -> bytes:
        body = tool.result_json(value)
        if not modern:
            return body + b"}"
        if b'"_meta":' in body and getattr(value, "meta", None):
            merged = {**value.meta, SERVER_INFO: self._info}
            plain = type(value)(
                value.content, structured_content=value.structured_content, is_error=value.is_error
            )
            body = tool.result_json(plain)
            return body + b',"resultType":"complete","_meta":' + to_json(merged) + b"}"
        return body + self._tail + b"}"

    def _tool_failed(self, name: str, error: BaseException, modern: bool) -> bytes:
        """The answer to a call whose function raised. Native calls come here too."""
        if isinstance(error, MCPError):
            raise error
        text = f"Error executing tool {name}"
        if isinstance(error, ToolError):
            text = str(error)
        else:
            if isinstance(error, asyncio.CancelledError):
                text += ": cancelled"
            elif not self._mask_errors:
                text += f": {error}"
            logger.warning("tool %s raised", name, exc_info=error)
        body = b'{"content":[{"type":"text","text":' + json_dumps(text) + b'}],"isError":true'
        return body + (self._tail if modern else b"") + b"}"

    # ---------------------------------------------------------------------------------- dispatch
    async def _handle(self, call: Call) -> bytes:
        """Works on one request that the native side does not answer itself."""
        try:
            return await self._handlers[call.method](call, call.params)
        except MCPError:
            raise
        except Exception as error:
            logger.exception("%s failed", call.method)
            raise MCPError(INTERNAL_ERROR, "Internal error") from error

    async def _initialize(self, call: Call, params: dict[str, Any]) -> bytes:
        wanted = params.get("protocolVersion")
        if not isinstance(wanted, str):
            raise InvalidParams("protocolVersion is missing")
        version = wanted if wanted in LEGACY_VERSIONS else LEGACY_VERSIONS[-1]
        peer = call.peer
        peer.version = version
        peer.state["capabilities"] = params.get("capabilities")
        peer.state["client_info"] = params.get("clientInfo")
        return json_dumps(
            _without_none(
                {
                    "protocolVersion": version,
                    "capabilities": self._capabilities(modern=False),
                    "serverInfo": self._info,
                    "instructions": self.instructions,
                }
            )
        )

    async def _list_page(self, call: Call, params: dict[str, Any]) -> bytes:
        # Lists are sent whole, so the only cursor that leads anywhere is the empty one.
        if params.get("cursor", "") != "":
            raise InvalidParams("Invalid cursor")
        return self._result(call, {_LISTS[call.method]: self._entries(call.method)}, cacheable=True)

    async def _set_level(self, call: Call, params: dict[str, Any]) -> bytes:
        level = params.get("level")
        if not isinstance(level, str) or level not in LEVELS:
            raise InvalidParams("Unknown log level")
        call.peer.state["log_level"] = level
        return b"{}"

    async def _subscribe(self, call: Call, params: dict[str, Any]) -> bytes:
        uri = params.get("uri")
        if not isinstance(uri, str):
            raise InvalidParams("uri is missing")
        self._find_resource(uri, call.modern)
        call.peer.state.setdefault("subscriptions", set()).add(uri)
        return b"{}"

    async def _unsubscribe(self, call: Call, params: dict[str, Any]) -> bytes:
        call.peer.state.setdefault("subscriptions", set()).discard(params.get("uri"))
        return b"{}"

    async def _listen(self, call: Call, params: dict[str, Any]) -> bytes:
        wishes = params.get("notifications")
        if not isinstance(wishes, dict):
            raise InvalidParams("notifications is missing")
        if not call.streams:
            raise MCPError(
                METHOD_NOT_FOUND, "subscriptions/listen needs a client that accepts text/event-stream"
            )
        wanted: dict[str, Any] = {wish: True for _, wish in _CHANGED.values() if wishes.get(wish) is True}
        uris = wishes.get("resourceSubscriptions")
        if isinstance(uris, list):
            wanted["resourceSubscriptions"] = [uri for uri in uris if isinstance(uri, str)][:1000]
        ids = wishes.get("taskIds")
        if isinstance(ids, list) and self._tasks:
            self._tasks.require(call, params)
            wanted["taskIds"] = [id for id in ids if isinstance(id, str)][:1000]
        meta = {SUBSCRIPTION_ID: call.id}
        call.notify(
            "notifications/subscriptions/acknowledged", json_dumps({"notifications": wanted, "_meta": meta})
        )
        closing = asyncio.get_running_loop().create_future()
        self._listeners[call] = wanted
        self._closing.add(closing)
        try:
            await closing
        finally:
            self._closing.discard(closing)
            del self._listeners[call]
        return json_dumps({"resultType": "complete", "_meta": {**meta, SERVER_INFO: self._info}})

    async def _complete(self, call: Call, params: dict[str, Any]) -> bytes:
        ref, argument = params.get("ref"), params.get("argument")
        if not isinstance(ref, dict) or not isinstance(argument, dict):
            raise InvalidParams("ref and argument are needed")
        kind = ref.get("type")
        if kind == "ref/prompt" and ref.get("name") not in self._prompts:
            raise InvalidParams(f"Unknown prompt: {ref.get('name')}")
        if kind not in ("ref/prompt", "ref/resource"):
            raise InvalidParams("Unknown type of ref")
        assert self._completion is not None
        value = self._completion(ref, argument, params.get("context"))
        if asyncio.iscoroutine(value):
            value = await value
        if not isinstance(value, Completion):
            value = Completion(value or [])
        return self._result(call, {"completion": value.to_dict()})

    # ------------------------------------------------------------------------------------- calls
    async def _in_thread(self, fn: Callable[..., Any], keywords: dict[str, Any]) -> Any:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(self._max_threads, thread_name_prefix="fasterapi-mcp")
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, functools.partial(context.run, fn, **keywords))

    @property
    def _seal(self) -> Any:
        if self._seal_object is None:
            from ._state import StateSeal

            self._seal_object = StateSeal(self._state_key)
        return self._seal_object

    def _context(self, call: Call, params: dict[str, Any]) -> Context:
        context = Context(self, call, params)
        self._open_state(context, call, params)
        return context

    def _open_state(self, context: Context, call: Call, params: dict[str, Any]) -> None:
        """Checks what a retried call brings, and gives the context its earlier rounds."""
        if call.modern:
            answers = params.get("inputResponses")
            if answers is not None and (
                not isinstance(answers, dict) or not all(isinstance(a, dict) for a in answers.values())
            ):
                raise InvalidParams("inputResponses must be an object of objects")
            for answer in (answers or {}).values():
                self._check_answer(answer)
            sealed = params.get("requestState")
            if sealed is not None:
                digest = self._seal.digest(call.method, params)
                context._state, context._answers = self._seal.open(digest, sealed)

    @staticmethod
    def _check_answer(answer: Any) -> None:
        """An answer is the result of elicitation/create, sampling/createMessage or roots/list."""
        if not isinstance(answer, dict):
            good = False
        elif "action" in answer:
            good = answer["action"] in ("accept", "decline", "cancel") and isinstance(
                answer.get("content", {}), (dict, type(None))
            )
        elif "roots" in answer:
            good = isinstance(answer["roots"], list)
        else:
            good = "role" in answer and "content" in answer
        if not good:
            raise InvalidParams("An entry of inputResponses is malformed")

    def _input_required(
        self, context: Context, params: dict[str, Any], call: Call, wish: InputRequired
    ) -> bytes:
        if not call.modern:
            raise MCPError(INTERNAL_ERROR, "The client's protocol version has no input_required results")
        wire: dict[str, Any] = {"resultType": "input_required"}
        if wish.input_requests:
            wire["inputRequests"] = wish.input_requests
        if wish.request_state is not None or context._answers:
            digest = self._seal.digest(call.method, params)
            wire["requestState"] = self._seal.seal(digest, wish.request_state, context._answers)
        wire["_meta"] = {SERVER_INFO: self._info}
        return json_dumps(wire)

    async def _run(self, call: Call, params: dict[str, Any], feature: Any, arguments: dict[str, Any]) -> Any:
        """The function's result, or bytes when the client must be asked first."""
        context = self._context(call, params)
        try:
            value = await feature.run(arguments, context, self._in_thread)
        except InputNeeded as needed:
            # The state carries the answers of earlier rounds, which the client does not repeat.
            value = InputRequired({needed.key: needed.request}, "")
        if isinstance(value, InputRequired):
            return self._input_required(context, params, call, value)
        return _Done(value)

    async def _call_tool(self, call: Call, params: dict[str, Any]) -> bytes:
        tool = self._tools.get(params["name"])
        if tool is None:
            raise InvalidParams(f"Unknown tool: {params['name']}")
        arguments = params.get("arguments") or {}
        if call.modern and call.http and tool.header_params:
            check_param_headers(call, tool.header_params, arguments)
        try:
            try:
                keywords = tool.bind(arguments)
            except ToolError as error:
                raise ToolError(f"Error executing tool {tool.name}: {error}") from None
            if tool.task is not None and call.modern:
                if self._tasks.declared(Context(self, call, params)):
                    return bytes(await self._tasks.run(call, params, tool, keywords))
                if tool.task == "required":
                    self._tasks.require(call, params)
            done = await self._run(call, params, tool, keywords)
            return (
                self._tool_result(tool, done.value, call.modern) if isinstance(done, _Done) else bytes(done)
            )
        except Exception as error:
            return self._tool_failed(tool.name, error, call.modern)

    def _find_resource(self, uri: str, modern: bool) -> tuple[Resource, dict[str, Any]]:
        resource = self._resources.get(uri)
        if resource is not None:
            return resource, {}
        for template in self._templates.values():
            arguments = template.match(uri)
            if arguments is not None:
                return template, arguments
        raise MCPError(INVALID_PARAMS if modern else -32002, "Resource not found", {"uri": uri})

    async def _read(self, call: Call, params: dict[str, Any]) -> bytes:
        uri = params.get("uri")
        if not isinstance(uri, str):
            raise InvalidParams("uri is missing")
        resource, arguments = self._find_resource(uri, call.modern)
        done = await self._run(call, params, resource, arguments)
        if not isinstance(done, _Done):
            return bytes(done)
        return self._result(call, {"contents": resource.contents(uri, done.value)}, cacheable=True)

    async def read_resource(self, uri: str) -> list[dict[str, Any]]:
        """``contents`` of one of this server's resources. Raises `MCPError` when there is none."""
        resource, arguments = self._find_resource(uri, True)
        if resource.context_name is not None:
            raise MCPError(INTERNAL_ERROR, "This resource needs the context of a client's call")
        return resource.contents(uri, await resource.run(arguments, None, self._in_thread))

    async def _get_prompt(self, call: Call, params: dict[str, Any]) -> bytes:
        prompt = self._prompts.get(params.get("name", ""))
        if prompt is None:
            raise InvalidParams(f"Unknown prompt: {params.get('name')}")
        arguments = params.get("arguments") or {}
        if not isinstance(arguments, dict):
            raise InvalidParams("arguments must be an object")
        done = await self._run(call, params, prompt, prompt.bind(arguments))
        if not isinstance(done, _Done):
            return bytes(done)
        wire: dict[str, Any] = {"messages": prompt.messages(done.value)}
        if prompt.description:
            wire = {"description": prompt.description, **wire}
        return self._result(call, wire)

    # ---------------------------------------------------------------------------------- serving
    def endpoint(
        self,
        *,
        json_response: bool = False,
        stateless: bool = False,
        allowed_hosts: Sequence[str] = (),
        allowed_origins: Sequence[str] = (),
        allow_ip_hosts: bool = False,
    ) -> object:
        """A native endpoint (a capsule) for an HTTP server of the family to mount, for instance at ``/mcp``.

        Args:
            json_response: Never answer with an event stream; notifications of running calls are dropped.
            stateless: No sessions for legacy clients: any process can answer any request.
            allowed_hosts: Host names beside the loopback ones, ``name`` or ``name:port``; "*" for any.
            allowed_origins: Origins of browsers beside the loopback ones; "*" for any.
            allow_ip_hosts: Also allow a Host that is an IP address.
        """
        self._engine.set_http(
            json_response, stateless, list(allowed_hosts), list(allowed_origins), allow_ip_hosts
        )
        self._prepare()
        return self._engine.endpoint()

    def running(self) -> AbstractAsyncContextManager[None]:
        """What must surround serving: ``async with server.running():``.

        It enters the server's lifespan, and opens what a proxy stands in front of. `run` and `asgi_app` do it
        themselves; whoever mounts `endpoint` does it around its own serving.
        """
        from ._run import lifespan

        return lifespan(self)

    def asgi_app(self, **options: Any) -> Callable[..., Awaitable[None]]:
        """An ASGI application with the endpoint, for other servers; options as in `endpoint`."""
        from ._asgi import application

        return application(self, self.endpoint(**options))

    def run(
        self,
        transport: Transport = "stdio",
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        path: str = "/mcp",
        json_response: bool = False,
        stateless: bool = False,
        allowed_hosts: Sequence[str] = (),
        allowed_origins: Sequence[str] = (),
    ) -> None:
        """Serves until the client leaves (stdio) or the process is told to stop (http).

        Args:
            transport: "stdio", or "http" (Streamable HTTP; needs ``pip install 'fasterapi-mcp[http]'``).
            host: Address to listen on.
            port: TCP port.
            path: Path of the endpoint.
            json_response, stateless, allowed_hosts, allowed_origins: as in `endpoint`.

        Raises:
            ValueError: unknown transport.
            ImportError: no HTTP server is installed.
        """
        from . import _run

        if transport == "stdio":
            _run.stdio(self)
        elif transport in ("http", "streamable-http"):
            _run.http(
                self,
                host=host,
                port=port,
                path=path,
                json_response=json_response,
                stateless=stateless,
                allowed_hosts=allowed_hosts,
                allowed_origins=allowed_origins,
            )
        else:
            raise ValueError(f"unknown transport {transport!r}: use 'stdio' or 'http'")

    async def run_stdio_async(self) -> None:
        """Serves stdin and stdout inside a running event loop until the input ends."""
        from . import _run

        await _run.stdio_async(self)

    async def _start(self) -> None:
        """Runs before the first message."""

    async def _stop(self) -> None:
        """Runs after the last one."""

    def close(self) -> None:
        """Ends subscriptions and legacy sessions, and cancels their calls."""
        for closing in list(self._closing):
            if not closing.done():
                closing.set_result(None)
        self._engine.close()
        if self._tasks is not None:
            self._tasks.close()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


class _Done:
    """A function's result, told apart from an answer that is complete already."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value
