"""How a client reaches a server: a child process over pipes, or Streamable HTTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import ssl
import urllib.parse
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from fasterapi_core import json_dumps, json_loads

from ._errors import MCPError

OnMessage = Callable[[dict[str, Any]], None]

MAX_MESSAGE_BYTES = 64 << 20
_HEADER_LIMIT = 64 << 10


class LinkClosed(ConnectionError):
    """The server is gone, or what it sent is not the protocol."""


class HttpStatus(LinkClosed):
    """The server answered with an HTTP error and no JSON-RPC error in it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text[:200]}")
        self.status = status


class Link:
    """One way to a server. ``exchange`` returns the answer to a request; other messages go to ``on_message``."""

    #: Whether answers and requests share one stream, so that a cancelled request must be told.
    shared = False

    async def open(self, on_message: OnMessage) -> None:
        """Makes the server reachable."""
        raise NotImplementedError

    async def exchange(
        self, message: dict[str, Any], headers: Mapping[str, str], on_message: OnMessage
    ) -> dict[str, Any]:
        """Sends a request and waits for its answer."""
        raise NotImplementedError

    async def post(self, message: dict[str, Any], headers: Mapping[str, str]) -> None:
        """Sends a notification or an answer."""
        raise NotImplementedError

    async def close(self) -> None:
        """Lets go of the server."""
        raise NotImplementedError


class StdioLink(Link):
    """A server as a child process.

    Args:
        command: Program and arguments; no shell is involved.
        env: Variables added to this process's environment.
        cwd: Folder to start in.
    """

    shared = True

    def __init__(
        self, command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | None = None
    ) -> None:
        self._command = list(command)
        self._env = {**os.environ, **env} if env else None
        self._cwd = cwd
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[Any, asyncio.Future[dict[str, Any]]] = {}
        self._closed = False

    async def open(self, on_message: OnMessage) -> None:
        """Starts the process."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._env,
            cwd=self._cwd,
            limit=MAX_MESSAGE_BYTES,
        )
        self._reader = asyncio.create_task(self._read(on_message))

    async def _read(self, on_message: OnMessage) -> None:
        assert self._process is not None and self._process.stdout is not None
        why = "the server has closed its output"
        try:
            while line := await self._process.stdout.readline():
                try:
                    message = json_loads(line)
                except ValueError:
                    continue  # not ours: servers print by mistake
                if not isinstance(message, dict):
                    continue
                future = self._waiting.pop(message.get("id"), None) if "method" not in message else None
                if future is None:
                    on_message(message)
                elif not future.done():
                    future.set_result(message)
        except (ValueError, OSError) as error:
            why = str(error)
        self._closed = True
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(LinkClosed(why))
        self._waiting.clear()

    def _write(self, message: dict[str, Any]) -> None:
        if self._closed or self._process is None or self._process.stdin is None:
            raise LinkClosed("the server is not running")
        self._process.stdin.write(json_dumps(message) + b"\n")

    async def exchange(
        self, message: dict[str, Any], headers: Mapping[str, str], on_message: OnMessage
    ) -> dict[str, Any]:
        """Writes the request; `_read` finds its answer."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._write(message)
        self._waiting[message["id"]] = future
        try:
            return await future
        finally:
            self._waiting.pop(message["id"], None)

    async def post(self, message: dict[str, Any], headers: Mapping[str, str]) -> None:
        """Writes one line."""
        self._write(message)

    async def close(self) -> None:
        """Closes the server's input and waits; then SIGTERM, then SIGKILL."""
        self._closed = True
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError, RuntimeError):
            if process.stdin is not None:
                process.stdin.close()
        for stop in (None, process.terminate, process.kill):
            with contextlib.suppress(ProcessLookupError):
                if stop is not None:
                    stop()
            try:
                await asyncio.wait_for(process.wait(), 2.0)
                break
            except TimeoutError:
                continue
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader


def header_value(text: str) -> str:
    """A header value as the protocol codes it: plain ASCII, or ``=?base64?...?=``."""
    plain = all(0x20 <= ord(c) < 0x7F or c == "\t" for c in text)
    if plain and text == text.strip(" \t") and not (text.startswith("=?base64?") and text.endswith("?=")):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode('ascii')}?="


class _Connection:
    """One keep-alive HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.fresh = True

    def close(self) -> None:
        self.writer.close()


_RESUMES = 100  # times that one answer is come back for


class _Place:
    """How far an event stream has been read."""

    def __init__(self) -> None:
        self.last_id = ""
        self.retry_s = 1.0


class HttpLink(Link):
    """A server behind an http(s) URL, over a pool of keep-alive connections.

    Args:
        url: The endpoint.
        headers: Added to every request, for instance ``{"Authorization": "Bearer ..."}``.
        max_idle: Connections kept open when nothing is asked.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str] | None = None, max_idle: int = 16) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http(s) URL: {url!r}")
        self.url = url
        self._host = parts.hostname
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._authority = parts.netloc.rpartition("@")[2]
        self._headers = dict(headers or {})
        for name, value in self._headers.items():
            if "\r" in name + value or "\n" in name + value:
                raise ValueError(f"header {name!r} holds a line break")
        self._idle: list[_Connection] = []
        self._max_idle = max_idle
        self._ssl: ssl.SSLContext | None = None
        self.session_id: str | None = None

    async def open(self, on_message: OnMessage) -> None:
        """Nothing to do: connections are made when they are needed."""

    async def _connect(self) -> _Connection:
        if self._tls and self._ssl is None:
            self._ssl = ssl.create_default_context()  # once: loading the CA bundle costs milliseconds
        reader, writer = await asyncio.open_connection(
            self._host, self._port, ssl=self._ssl, limit=MAX_MESSAGE_BYTES
        )
        return _Connection(reader, writer)

    def _request(self, method: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{method} {self._target} HTTP/1.1", f"Host: {self._authority}"]
        fields = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            **self._headers,
            **headers,
            "Content-Length": str(len(body)),
        }
        if self.session_id is not None:
            fields["Mcp-Session-Id"] = self.session_id
        lines += [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    async def _send(self, data: bytes) -> tuple[_Connection, int, dict[str, str]]:
        while True:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                connection.writer.write(data)
                head = await connection.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, OSError) as error:
                connection.close()
                # A kept connection that the server had closed meanwhile: nothing of the answer was seen.
                partial = getattr(error, "partial", b"")
                if not connection.fresh and not partial:
                    continue
                raise LinkClosed(f"{self.url}: {error}") from error
            except BaseException:
                connection.close()
                raise
            if len(head) > _HEADER_LIMIT:
                connection.close()
                raise LinkClosed(f"{self.url}: the response header is too long")
            lines = head.decode("latin-1").split("\r\n")
            try:
                status = int(lines[0].split(" ", 2)[1])
            except (IndexError, ValueError):
                connection.close()
                raise LinkClosed(f"{self.url}: not an HTTP response") from None
            headers = {}
            for line in lines[1:]:
                name, colon, value = line.partition(":")
                if colon:
                    headers[name.strip().lower()] = value.strip()
            return connection, status, headers

    async def _chunks(
        self, connection: _Connection, headers: Mapping[str, str]
    ) -> AsyncGenerator[bytes, None]:
        reader = connection.reader
        try:
            if headers.get("transfer-encoding", "").lower() == "chunked":
                while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                    if size > MAX_MESSAGE_BYTES:
                        raise LinkClosed("a chunk of the response is too long")
                    yield await reader.readexactly(size)
                    await reader.readexactly(2)
                while (await reader.readuntil(b"\r\n")) != b"\r\n":
                    pass
            elif "content-length" in headers:
                size = int(headers["content-length"])
                if size > MAX_MESSAGE_BYTES:
                    raise LinkClosed("the response is too long")
                if size:
                    yield await reader.readexactly(size)
            else:
                headers = {"connection": "close"}
                while data := await reader.read(65536):
                    yield data
        except (asyncio.IncompleteReadError, ValueError) as error:
            connection.close()
            raise LinkClosed(f"{self.url}: {error}") from error
        except BaseException:
            connection.close()
            raise
        connection.fresh = False
        if headers.get("connection", "").lower() == "close" or len(self._idle) >= self._max_idle:
            connection.close()
        else:
            self._idle.append(connection)

    async def _body(self, connection: _Connection, headers: Mapping[str, str]) -> bytes:
        body = b""
        async for data in self._chunks(connection, headers):
            body = body + data if body else data
        return body

    async def exchange(
        self, message: dict[str, Any], headers: Mapping[str, str], on_message: OnMessage
    ) -> dict[str, Any]:
        """Posts the request; cancelling closes its connection, which tells the server."""
        connection, status, fields = await self._send(self._request("POST", headers, json_dumps(message)))
        kind = fields.get("content-type", "").partition(";")[0].strip().lower()
        if status == 200 and "mcp-session-id" in fields:
            self.session_id = fields["mcp-session-id"]
        if status == 200 and kind == "text/event-stream":
            return await self._until_answer(message["id"], connection, fields, headers, on_message)
        body = await self._body(connection, fields)
        if kind == "application/json":
            try:
                answer = json_loads(body)
            except ValueError as error:
                raise LinkClosed(f"{self.url}: {error}") from error
            if isinstance(answer, dict) and ("result" in answer or "error" in answer):
                answer["status"] = status
                return answer
        raise HttpStatus(status, body[:300].decode("utf-8", "replace"))

    async def _until_answer(
        self,
        ident: Any,
        connection: _Connection,
        fields: Mapping[str, str],
        headers: Mapping[str, str],
        on_message: OnMessage,
    ) -> dict[str, Any]:
        """Reads the stream of one request; comes back for the rest where the server allows it (2025-11-25)."""
        place = _Place()
        for _ in range(_RESUMES):
            try:
                async with contextlib.aclosing(self._events(connection, fields, place)) as events:
                    async for event in events:
                        if "method" not in event and event.get("id") == ident:
                            return event
                        on_message(event)
            except LinkClosed:
                if not place.last_id:
                    raise
            if not place.last_id:
                break
            await asyncio.sleep(place.retry_s)
            resume = {**headers, "Accept": "text/event-stream", "Last-Event-ID": place.last_id}
            connection, status, fields = await self._send(self._request("GET", resume, b""))
            if status != 200:
                raise HttpStatus(status, (await self._body(connection, fields)).decode("utf-8", "replace"))
        raise LinkClosed("the stream ended before the answer")

    async def listen(self, headers: Mapping[str, str], on_message: OnMessage) -> None:
        """The stream on which a legacy server speaks unasked; returns when the server has none."""
        place = _Place()
        while True:
            wish = {**headers, "Accept": "text/event-stream"}
            if place.last_id:
                wish["Last-Event-ID"] = place.last_id
            connection, status, fields = await self._send(self._request("GET", wish, b""))
            if status != 200 or not fields.get("content-type", "").startswith("text/event-stream"):
                await self._body(connection, fields)
                return
            async with contextlib.aclosing(self._events(connection, fields, place)) as events:
                async for event in events:
                    on_message(event)
            await asyncio.sleep(place.retry_s)

    async def _events(
        self, connection: _Connection, headers: Mapping[str, str], place: _Place
    ) -> AsyncGenerator[dict[str, Any], None]:
        buffer = b""
        data: list[bytes] = []
        async with contextlib.aclosing(self._chunks(connection, headers)) as chunks:
            async for chunk in chunks:
                buffer += chunk
                *lines, buffer = buffer.split(b"\n")
                if len(buffer) > MAX_MESSAGE_BYTES:
                    raise LinkClosed("an event is too long")
                for raw in lines:
                    line = raw.rstrip(b"\r")
                    if line.startswith(b"data:"):
                        data.append(line[5:].removeprefix(b" "))
                    elif line.startswith(b"id:"):
                        place.last_id = line[3:].strip().decode("latin-1")
                    elif line.startswith(b"retry:") and line[6:].strip().isdigit():
                        place.retry_s = min(int(line[6:]) / 1000, 60.0)
                    elif not line and data:
                        text, data = b"\n".join(data), []
                        if text:
                            with contextlib.suppress(ValueError):
                                event = json_loads(text)
                                if isinstance(event, dict):
                                    yield event

    async def post(self, message: dict[str, Any], headers: Mapping[str, str]) -> None:
        """Posts a notification or an answer."""
        connection, status, fields = await self._send(self._request("POST", headers, json_dumps(message)))
        body = await self._body(connection, fields)
        if status >= 400:
            raise HttpStatus(status, body[:300].decode("utf-8", "replace"))

    async def close(self) -> None:
        """Ends a legacy session and closes the connections."""
        if self.session_id is not None:
            with contextlib.suppress(LinkClosed, OSError, MCPError, asyncio.TimeoutError):
                connection, _, fields = await asyncio.wait_for(
                    self._send(self._request("DELETE", {}, b"")), 2.0
                )
                await self._body(connection, fields)
            self.session_id = None
        for connection in self._idle:
            connection.close()
        self._idle.clear()


def make_link(
    target: str | Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Link:
    """The link for a target: an http(s) URL, or a command as a list of arguments."""
    if isinstance(target, str):
        if "://" in target:
            return HttpLink(target, headers=headers)
        raise ValueError(f"{target!r} is not a URL; give a command as a list: ['python', 'server.py']")
    return StdioLink(target, env=env, cwd=cwd)
