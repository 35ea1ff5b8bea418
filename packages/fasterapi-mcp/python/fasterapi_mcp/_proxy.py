"""MCPProxy: one server in front of several."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from fasterapi_core import json_dumps

from ._client import PREFIX, MCPClient
from ._errors import INTERNAL_ERROR, InvalidParams, MCPError
from ._features import header_params
from ._links import Link
from ._mcp import Call
from ._mirror import check_param_headers
from ._server import SERVER_INFO, MCPServer

logger = logging.getLogger("fasterapi.mcp.proxy")

RETRY_S = 1.0  # first wait for an upstream that was down at the start; doubles up to a minute

_KINDS = {
    "tools/list": ("tools", "name"),
    "prompts/list": ("prompts", "name"),
    "resources/list": ("resources", "uri"),
    "resources/templates/list": ("resourceTemplates", "uriTemplate"),
}
_CHANGED = {
    "notifications/tools/list_changed": "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
}
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u206a-\u206f\ufeff\U000e0000-\U000e007f]")


class Upstream:
    """One server behind the proxy."""

    def __init__(
        self, name: str, prefix: str, timeout_s: float, connect: Callable[[Upstream], MCPClient]
    ) -> None:
        self.name = name
        self.prefix = prefix
        self.timeout_s = timeout_s
        self._connect = connect
        self._client: MCPClient | None = None
        self._lock = asyncio.Lock()
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.error: str | None = "not connected yet"

    async def client(self) -> MCPClient:
        """The open client; opened anew when the last one broke."""
        if self._client is not None:
            return self._client
        async with self._lock:
            if self._client is None:
                client = self._connect(self)
                async with asyncio.timeout(self.timeout_s):
                    await client.__aenter__()
                self._client = client
                self.error = None
            return self._client

    async def request(self, method: str, params: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """Forwards one request. Raises `MCPError` that names this upstream when it cannot be reached."""
        try:
            client = await self.client()
            return await client.request(method, params, timeout_s=self.timeout_s, **options)
        except TimeoutError as error:
            raise MCPError(
                INTERNAL_ERROR, f"Upstream {self.name} did not answer in {self.timeout_s:g} s"
            ) from error
        except (ConnectionError, OSError) as error:
            self.error = str(error)
            client_, self._client = self._client, None
            if client_ is not None:
                await client_.close()
            raise MCPError(INTERNAL_ERROR, f"Upstream {self.name} is not reachable") from error

    async def refresh(self) -> None:
        """Fetches the lists anew. An upstream that fails keeps its last lists."""
        client = await self.client()
        for method, (key, _) in _KINDS.items():
            feature = method.partition("/")[0]
            if feature in client.server_capabilities:
                self.lists[key] = await (client.list_tools() if key == "tools" else client._all(method, key))

    async def close(self) -> None:
        """Lets go of the server."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()


class MCPProxy(MCPServer):
    """Serves the tools, prompts and resources of several servers as one.

    Clients of either era may be in front, servers of either era behind. Tools and prompts get the upstream's
    name as a prefix (``docs_search``); resources keep their URIs, the first upstream wins. The client's
    credentials are never passed on; give each upstream its own headers. Tools of the proxy's own may be
    registered as in `MCPServer`.

    >>> proxy = MCPProxy("all")
    >>> proxy.add_upstream("docs", "https://docs.example.com/mcp")  # doctest: +SKIP
    >>> proxy.add_upstream("files", ["python", "files.py"])  # doctest: +SKIP
    >>> proxy.run("http", port=9000)  # doctest: +SKIP
    """

    def __init__(self, name: str, version: str = "0.1.0", **options: Any) -> None:
        super().__init__(name, version, **options)
        self._upstreams: dict[str, Upstream] = {}
        self._routes: dict[str, tuple[Upstream, str]] = {}
        self._refreshing: set[asyncio.Task[None]] = set()
        self._own_tools: set[str] = set()
        self._mirrored: dict[str, list[tuple[str, tuple[str, ...], str]]] = {}

    def add_upstream(
        self,
        name: str,
        target: str | Sequence[str] | Link,
        *,
        prefix: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        """Adds a server behind the proxy, before it runs.

        Args:
            name: Its name in logs and errors.
            target: A URL, or the command of a stdio server as a list.
            prefix: Goes before the names of its tools and prompts, with an underscore; "" for none, ``name``
                when left out.
            env, cwd: Environment and folder of the command.
            headers: HTTP headers of every request to it.
            timeout_s: Seconds it has for an answer.

        Raises:
            ValueError: the name is taken, or the target is no URL and no list.
        """
        if name in self._upstreams:
            raise ValueError(f"there is an upstream {name!r} already")
        if isinstance(target, str) and not target.startswith(("http://", "https://")):
            raise ValueError(f"{target!r} is not an http(s) URL; give a command as a list")

        def connect(upstream: Upstream) -> MCPClient:
            return MCPClient(
                target,
                name=self.name,
                version=self.version,
                env=env,
                cwd=cwd,
                headers=headers,
                timeout_s=timeout_s,
                on_notification=lambda method, params: self._upstream_says(upstream, method),
            )

        self._upstreams[name] = Upstream(name, name if prefix is None else prefix, timeout_s, connect)

    @property
    def upstreams(self) -> dict[str, str | None]:
        """Name of each upstream -> what is wrong with it, None when it is well."""
        return {name: upstream.error for name, upstream in self._upstreams.items()}

    # ------------------------------------------------------------------------------------ lists
    async def _start(self) -> None:
        await asyncio.gather(*(self._refresh(upstream) for upstream in self._upstreams.values()))
        self._merge()
        for upstream in self._upstreams.values():
            if upstream.error is not None:
                self._in_background(self._retry(upstream))

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._refreshing.add(task)
        task.add_done_callback(self._refreshing.discard)

    async def _retry(self, upstream: Upstream) -> None:
        """An upstream that was down at the start joins when it comes up."""
        delay_s = RETRY_S
        while upstream.error is not None:
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, 60.0)
            await self._refresh(upstream)
        self._merge()
        for kind in ("tools", "prompts", "resources"):
            self._announce(kind)

    async def _stop(self) -> None:
        for task in list(self._refreshing):
            task.cancel()
        await asyncio.gather(*(upstream.close() for upstream in self._upstreams.values()))

    async def _refresh(self, upstream: Upstream) -> None:
        # One dead upstream must not keep the others from being served.
        try:
            async with asyncio.timeout(upstream.timeout_s):
                await upstream.refresh()
        except (OSError, MCPError, TimeoutError) as error:
            upstream.error = str(error) or type(error).__name__
            logger.warning("upstream %s: %s", upstream.name, upstream.error)

    def _upstream_says(self, upstream: Upstream, method: str) -> None:
        kind = _CHANGED.get(method)
        if kind is None:
            return

        async def again() -> None:
            await self._refresh(upstream)
            self._merge()
            self._changed(kind)

        self._in_background(again())

    def _merge(self) -> None:
        self._routes.clear()
        self._mirrored.clear()
        names: set[str] = set()
        for upstream in self._upstreams.values():
            for key, field in _KINDS.values():
                for entry in upstream.lists.get(key, ()):
                    public = self._public(upstream, field, str(entry.get(field, "")))
                    route = f"{key}:{public}"
                    if route in self._routes or (key == "tools" and public in self._tools):
                        logger.warning(
                            "%s of upstream %s is hidden: the name is taken", public, upstream.name
                        )
                        continue
                    if key == "tools":
                        try:
                            self._mirrored[public] = header_params(public, entry.get("inputSchema") or {})
                        except ValueError as error:
                            logger.warning("upstream %s: %s; the tool is left out", upstream.name, error)
                            continue
                    self._routes[route] = (upstream, str(entry[field]))
                    if key == "tools":
                        names.add(public)
        for gone in self._own_tools - names:
            self._engine.remove_tool(gone)
        for name in names:
            self._engine.add_tool(name, _nothing, "slow", [], "*", False, _nothing)
        self._own_tools = names
        self._dirty = True
        self._prepare()

    @staticmethod
    def _public(upstream: Upstream, field: str, name: str) -> str:
        return f"{upstream.prefix}_{name}" if field == "name" and upstream.prefix else name

    def _entries(self, method: str) -> list[dict[str, Any]]:
        found = super()._entries(method)
        key, field = _KINDS[method]
        for upstream in self._upstreams.values():
            for entry in upstream.lists.get(key, ()):
                public = self._public(upstream, field, str(entry.get(field, "")))
                if self._routes.get(f"{key}:{public}") != (upstream, entry.get(field)):
                    continue
                wire = {**entry, field: public}
                if isinstance(wire.get("description"), str):
                    # Characters that people do not see but models read have no honest use here.
                    wire["description"] = _INVISIBLE.sub("", wire["description"])
                found.append(wire)
        return found

    # ------------------------------------------------------------------------------------ calls
    async def _forward(
        self, call: Call, params: dict[str, Any], upstream: Upstream, changes: Mapping[str, Any]
    ) -> bytes:
        wire = {key: value for key, value in params.items() if key != "_meta"}
        wire.update(changes)
        options: dict[str, Any] = {}
        token = call.progress_token
        if token is not None:

            def progress(value: float, total: float | None, message: str | None) -> None:
                note: dict[str, Any] = {"progressToken": token, "progress": value}
                if total is not None:
                    note["total"] = total
                if message is not None:
                    note["message"] = message
                call.notify("notifications/progress", json_dumps(note))

            options["on_progress"] = progress
        client = await _reach(upstream)
        if call.modern and client.modern:
            meta = params.get("_meta") or {}
            capabilities = meta.get(f"{PREFIX}clientCapabilities")
            options["meta"] = {f"{PREFIX}clientCapabilities": capabilities}
        result = await upstream.request(call.method, wire, **options)
        if call.modern:
            result.setdefault("resultType", "complete")
            if call.method == "resources/read":
                result.setdefault("ttlMs", 0)
                result.setdefault("cacheScope", "private")
            result["_meta"] = {**(result.get("_meta") or {}), SERVER_INFO: self._info}
        else:
            if result.get("resultType", "complete") != "complete":
                raise MCPError(INTERNAL_ERROR, "The upstream asks for input, which this client cannot give")
            for name in ("resultType", "ttlMs", "cacheScope"):
                result.pop(name, None)
        return json_dumps(result)

    async def _call_tool(self, call: Call, params: dict[str, Any]) -> bytes:
        route = self._routes.get(f"tools:{params['name']}")
        if route is None:
            return await super()._call_tool(call, params)
        mirrored = self._mirrored.get(params["name"])
        if mirrored and call.modern and call.http:
            check_param_headers(call, mirrored, params.get("arguments") or {})
        return await self._forward(call, params, route[0], {"name": route[1]})

    async def _get_prompt(self, call: Call, params: dict[str, Any]) -> bytes:
        route = self._routes.get(f"prompts:{params.get('name')}")
        if route is None:
            return await super()._get_prompt(call, params)
        return await self._forward(call, params, route[0], {"name": route[1]})

    async def _read(self, call: Call, params: dict[str, Any]) -> bytes:
        uri = params.get("uri")
        if not isinstance(uri, str):
            raise InvalidParams("uri is missing")
        route = self._routes.get(f"resources:{uri}")
        if route is not None:
            return await self._forward(call, params, route[0], {})
        for upstream in self._upstreams.values():
            for template in upstream.lists.get("resourceTemplates", ()):
                if _matches(str(template.get("uriTemplate", "")), uri):
                    return await self._forward(call, params, upstream, {})
        return await super()._read(call, params)


async def _reach(upstream: Upstream) -> MCPClient:
    try:
        return await upstream.client()
    except (OSError, TimeoutError) as error:
        upstream.error = str(error) or type(error).__name__
        raise MCPError(INTERNAL_ERROR, f"Upstream {upstream.name} is not reachable") from error


def _matches(template: str, uri: str) -> bool:
    parts = re.split(r"\{[^{}]*\}", template)
    return len(parts) > 1 and re.fullmatch(".+".join(re.escape(part) for part in parts), uri) is not None


def _nothing(*_: Any) -> bytes:
    raise MCPError(INTERNAL_ERROR, "Internal error")


__all__ = ["MCPProxy"]
