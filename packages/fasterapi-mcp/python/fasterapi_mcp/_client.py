"""MCPClient: talks to a server of either era over stdio or Streamable HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from ._errors import HEADER_MISMATCH, METHOD_NOT_FOUND, UNSUPPORTED_VERSION, MCPError
from ._links import HttpLink, HttpStatus, Link, LinkClosed, header_value, make_link
from ._mcp import LEGACY_VERSIONS, MODERN_VERSION

logger = logging.getLogger("fasterapi.mcp.client")

PREFIX = "io.modelcontextprotocol/"
_NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
_MODERN_ERRORS = (-32020, -32021, -32022)

ProgressHandler = Callable[[float, float | None, str | None], Any]
NotificationHandler = Callable[[str, dict[str, Any]], Any]
RequestHandler = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


class MCPClient:
    """A client of one server; use it as ``async with MCPClient(target) as client``.

    Which era the server speaks is found out when it is opened: a modern request first, the `initialize`
    handshake when that is not understood.

    Args:
        target: A URL, or the command of a stdio server as a list.
        name, version: What the server is told about this client.
        env, cwd: Environment and folder of the command.
        headers: HTTP headers for every request, e.g. authorization.
        timeout_s: Seconds to wait for an answer.
        handlers: What the server may ask for: "elicitation/create", "sampling/createMessage", "roots/list" ->
            ``async`` function of the parameters that returns the result. Their capabilities are declared.
        on_notification: Called with method and parameters of what no call claims.

    Raises:
        MCPError: the server answered with an error.
        ConnectionError: it cannot be reached, or is gone.
        TimeoutError: no answer in time.
    """

    def __init__(
        self,
        target: str | Sequence[str] | Link,
        *,
        name: str = "fasterapi-mcp",
        version: str = "0.1.0",
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        handlers: Mapping[str, RequestHandler] | None = None,
        on_notification: NotificationHandler | None = None,
    ) -> None:
        self._link = (
            target if isinstance(target, Link) else make_link(target, env=env, cwd=cwd, headers=headers)
        )
        self._info = {"name": name, "version": version}
        self._timeout_s = timeout_s
        self._handlers = dict(handlers or {})
        self._on_notification = on_notification
        self._capabilities: dict[str, Any] = {
            method.partition("/")[0]: {} for method in self._handlers if "/" in method
        }
        self._ids = itertools.count(1)
        self._progress: dict[Any, ProgressHandler] = {}
        self._mirrored: dict[str, list[tuple[str, tuple[str, ...], str]]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self.modern = False
        self.protocol_version = ""
        self.server_info: dict[str, Any] = {}
        self.server_capabilities: dict[str, Any] = {}
        self.instructions: str | None = None

    async def __aenter__(self) -> MCPClient:
        try:
            await self._link.open(self._on_message)
            await self._probe()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Lets go of the server; a stdio server is stopped."""
        for task in list(self._background):
            task.cancel()
        await self._link.close()

    # ------------------------------------------------------------------------------------- era
    async def _probe(self) -> None:
        self.modern = True
        try:
            found = await self._request("server/discover", {}, timeout_s=min(self._timeout_s, 5.0))
        except MCPError as error:
            if error.rpc_code == UNSUPPORTED_VERSION:
                supported = error.data.get("supported") if isinstance(error.data, dict) else None
                raise ConnectionError(f"no common protocol version; the server has {supported}") from error
            if error.rpc_code in _MODERN_ERRORS:
                raise
        except (TimeoutError, HttpStatus):
            pass
        else:
            if isinstance(found.get("supportedVersions"), list):
                self.protocol_version = MODERN_VERSION
                self._learn(found, found.get("_meta", {}).get(f"{PREFIX}serverInfo"))
                return
        self.modern = False
        found = await self._request(
            "initialize",
            {
                "protocolVersion": LEGACY_VERSIONS[-1],
                "capabilities": self._capabilities,
                "clientInfo": self._info,
            },
        )
        version = found.get("protocolVersion")
        if version not in LEGACY_VERSIONS:
            raise ConnectionError(f"no common protocol version; the server has {version}")
        self.protocol_version = str(version)
        self._learn(found, found.get("serverInfo"))
        await self.notify("notifications/initialized")
        if isinstance(self._link, HttpLink):
            self._in_background(self._listen(self._link))

    async def _listen(self, link: HttpLink) -> None:
        # A server may have no such stream, and what travels on it is never an answer to us.
        with contextlib.suppress(ConnectionError, OSError):
            await link.listen(self._headers("", {}), self._on_message)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _learn(self, found: dict[str, Any], info: Any) -> None:
        self.server_info = info if isinstance(info, dict) else {}
        capabilities = found.get("capabilities")
        self.server_capabilities = capabilities if isinstance(capabilities, dict) else {}
        self.instructions = found.get("instructions")

    # -------------------------------------------------------------------------------- messages
    def _headers(self, method: str, params: Mapping[str, Any]) -> dict[str, str]:
        if not self.modern:
            return {"MCP-Protocol-Version": self.protocol_version} if self.protocol_version else {}
        headers = {"MCP-Protocol-Version": MODERN_VERSION, "Mcp-Method": method}
        if method in _NAMED:
            headers["Mcp-Name"] = header_value(str(params.get(_NAMED[method], "")))
        if method == "tools/call":
            for header, path, _ in self._mirrored.get(str(params.get("name")), ()):
                value: Any = params.get("arguments")
                for key in path:
                    value = value.get(key) if isinstance(value, dict) else None
                if isinstance(value, bool):
                    headers[header] = "true" if value else "false"
                elif value is not None:
                    headers[header] = header_value(str(value))
        return headers

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        on_progress: ProgressHandler | None = None,
        meta: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Sends any request and returns its result.

        Args:
            method: Method name.
            params: Parameters without ``_meta``.
            on_progress: Called with (progress, total, message).
            meta: Entries for ``_meta``.
            headers: HTTP headers for this request.
            timeout_s: Instead of the client's.
        """
        wire = dict(params or {})
        while True:
            result = await self._request(
                method, wire, on_progress=on_progress, meta=meta, headers=headers, timeout_s=timeout_s
            )
            kind = result.get("resultType", "complete")
            if kind == "complete" or kind == "task":
                return result
            if kind != "input_required":
                raise LinkClosed(f"unknown resultType {kind!r}")
            if not self._handlers:
                return result
            wire = {
                key: value for key, value in wire.items() if key not in ("inputResponses", "requestState")
            }
            wire["inputResponses"] = {
                key: await self._answer(ask["method"], ask.get("params") or {})
                for key, ask in (result.get("inputRequests") or {}).items()
            }
            if "requestState" in result:
                wire["requestState"] = result["requestState"]

    async def _answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        handler = self._handlers.get(method)
        if handler is None:
            raise MCPError(
                METHOD_NOT_FOUND, f"The server asks for {method}, which this client does not offer"
            )
        return await handler(params)

    async def _request(
        self,
        method: str,
        params: Mapping[str, Any],
        *,
        on_progress: ProgressHandler | None = None,
        meta: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        number = next(self._ids)
        wire = dict(params)
        extra = dict(meta or {})
        if self.modern:
            extra.setdefault(f"{PREFIX}protocolVersion", MODERN_VERSION)
            extra.setdefault(f"{PREFIX}clientInfo", self._info)
            extra.setdefault(f"{PREFIX}clientCapabilities", self._capabilities)
        if on_progress is not None:
            extra["progressToken"] = number
            self._progress[number] = on_progress
        if extra:
            wire["_meta"] = extra
        message = {"jsonrpc": "2.0", "id": number, "method": method, "params": wire}
        fields = self._headers(method, params)
        if headers:
            fields.update(headers)
        try:
            async with asyncio.timeout(self._timeout_s if timeout_s is None else timeout_s):
                answer = await self._link.exchange(message, fields, self._on_message)
        except (asyncio.CancelledError, TimeoutError):
            if self._link.shared and method != "initialize":
                with contextlib.suppress(LinkClosed):
                    await self._link.post(
                        {
                            "jsonrpc": "2.0",
                            "method": "notifications/cancelled",
                            "params": {"requestId": number},
                        },
                        {},
                    )
            raise
        finally:
            self._progress.pop(number, None)
        error = answer.get("error")
        if isinstance(error, dict):
            raise MCPError(int(error.get("code", -32603)), str(error.get("message", "")), error.get("data"))
        result = answer.get("result")
        if not isinstance(result, dict):
            raise LinkClosed("the result is not an object")
        return result

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Sends a notification."""
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = dict(params)
        await self._link.post(message, self._headers(method, params or {}))

    def _on_message(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        if not isinstance(method, str):
            return
        if "id" in message:
            self._in_background(self._serve(message["id"], method, params))
            return
        if method == "notifications/progress":
            handler = self._progress.get(params.get("progressToken"))
            if handler is not None:
                handler(params.get("progress", 0), params.get("total"), params.get("message"))
                return
        if self._on_notification is not None:
            self._on_notification(method, params)

    async def _serve(self, ident: Any, method: str, params: dict[str, Any]) -> None:
        """Answers a request of a legacy server."""
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": ident}
        try:
            answer["result"] = {} if method == "ping" else await self._answer(method, params)
        except MCPError as error:
            answer["error"] = {"code": error.rpc_code, "message": error.message}
        except Exception as error:
            answer["error"] = {"code": -32603, "message": str(error)}
        with contextlib.suppress(ConnectionError):
            await self._link.post(answer, self._headers(method, params))

    # ------------------------------------------------------------------------------- methods
    async def _all(self, method: str, key: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        params: dict[str, Any] = {}
        for _ in range(1000):  # a server that never ends its pages must not keep us for ever
            page = await self.request(method, params)
            found += page.get(key) or []
            if page.get("nextCursor") is None:
                break
            params = {"cursor": page["nextCursor"]}
        return found

    async def list_tools(self) -> list[dict[str, Any]]:
        """All tools, as on the wire. Over modern HTTP, tools with a bad ``x-mcp-header`` are left out."""
        tools = await self._all("tools/list", "tools")
        if not self.modern or self._link.shared:
            return tools
        from ._features import header_params

        good = []
        for tool in tools:
            try:
                self._mirrored[tool["name"]] = header_params(tool["name"], tool.get("inputSchema") or {})
            except ValueError as error:
                logger.warning("%s; the tool is left out", error)
            else:
                good.append(tool)
        return good

    async def list_prompts(self) -> list[dict[str, Any]]:
        """All prompts, as on the wire."""
        return await self._all("prompts/list", "prompts")

    async def list_resources(self) -> list[dict[str, Any]]:
        """All resources, as on the wire."""
        return await self._all("resources/list", "resources")

    async def list_resource_templates(self) -> list[dict[str, Any]]:
        """All resource templates, as on the wire."""
        return await self._all("resources/templates/list", "resourceTemplates")

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        on_progress: ProgressHandler | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Calls a tool; the result has ``content``, maybe ``structuredContent``, and ``isError`` when it failed."""
        params = {"name": name, "arguments": dict(arguments or {})}
        try:
            return await self.request("tools/call", params, on_progress=on_progress, timeout_s=timeout_s)
        except MCPError as error:
            if error.rpc_code != HEADER_MISMATCH:
                raise
        # The tool's mirrored parameters are not what we know: learn them, and try once more.
        await self.list_tools()
        return await self.request("tools/call", params, on_progress=on_progress, timeout_s=timeout_s)

    async def read_resource(self, uri: str) -> list[dict[str, Any]]:
        """``contents`` of a resource."""
        found: list[dict[str, Any]] = (await self.request("resources/read", {"uri": uri})).get(
            "contents"
        ) or []
        return found

    async def get_prompt(self, name: str, arguments: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A prompt's messages."""
        return await self.request("prompts/get", {"name": name, "arguments": dict(arguments or {})})
