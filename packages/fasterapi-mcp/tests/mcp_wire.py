"""Servers to test against: in this process through the endpoint, as a child over pipes, and over TCP."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import fasterapi_core
from fasterapi_mcp import MCPServer
from fasterapi_mcp._mcp import Exchange

HERE = Path(__file__).parent
MODERN_META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
}


class Child:
    """A server script on pipes, spoken to in lines."""

    def __init__(self, script: str, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", script] if "\n" in script else [sys.executable, str(HERE / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": "", **env},
        )
        self.lines: queue.Queue[bytes] = queue.Queue()
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(b"")

    def send(self, *messages: Any) -> None:
        assert self.process.stdin is not None
        for message in messages:
            data = message if isinstance(message, bytes) else json.dumps(message).encode()
            self.process.stdin.write(data + b"\n")
        self.process.stdin.flush()

    def receive(self, timeout: float = 10.0) -> Any:
        line = self.lines.get(timeout=timeout)
        assert line, "the server has closed its output: " + self.errors()
        return json.loads(line)

    def ask(self, message: Any) -> Any:
        self.send(message)
        return self.receive()

    def initialize(self, version: str = "2025-11-25", **capabilities: Any) -> Any:
        answer = self.ask(
            request(
                "initialize",
                {
                    "protocolVersion": version,
                    "capabilities": capabilities,
                    "clientInfo": {"name": "tests", "version": "1"},
                },
                id="init",
            )
        )
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def finish(self) -> int:
        """Closes the input; exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(10)
        self.thread.join(10)
        return status

    def errors(self) -> str:
        assert self.process.stderr is not None
        self.process.kill()
        return self.process.stderr.read().decode()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.thread.join(10)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def request(method: str, params: Any = None, *, id: Any = 1, modern: bool = False) -> dict[str, Any]:
    wire: dict[str, Any] = {"jsonrpc": "2.0", "id": id, "method": method}
    if modern:
        params = {**(params or {}), "_meta": {**MODERN_META, **(params or {}).get("_meta", {})}}
    if params is not None:
        wire["params"] = params
    return wire


class Answer:
    """What an endpoint answered to one request."""

    def __init__(self) -> None:
        self.status = 0
        self.content_type = ""
        self.headers: dict[str, str] = {}
        self.body = b""
        self.done = asyncio.Event()
        self.changed = asyncio.Event()

    def respond(self, status: int, content_type: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.start(status, content_type, headers)
        self.body += body
        self.finish()

    def start(self, status: int, content_type: str, headers: list[tuple[str, str]]) -> None:
        self.status, self.content_type = status, content_type
        self.headers = {name.lower(): value for name, value in headers}

    def write(self, chunk: bytes) -> bool:
        self.body += chunk
        self.changed.set()
        return True

    def finish(self) -> None:
        self.done.set()
        self.changed.set()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        return [
            json.loads(line[5:])
            for block in self.body.decode().split("\n\n")
            for line in block.split("\n")
            if line.startswith("data:") and line[5:].strip()
        ]

    async def until(self, count: int) -> list[Any]:
        async with asyncio.timeout(5):
            while len(self.events) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.events


class Web:
    """Requests to a server's endpoint, without a network."""

    def __init__(self, server: MCPServer, **options: Any) -> None:
        self.server = server
        self.endpoint = server.endpoint(**options)
        self.session: str | None = None
        self.exchange: Exchange | None = None

    def open(self, method: str, body: bytes, headers: dict[str, str]) -> Answer:
        answer = Answer()
        fields = {"host": "localhost:8000", **{name.lower(): value for name, value in headers.items()}}
        self.exchange = Exchange(
            self.endpoint,
            answer,
            method,
            "/mcp",
            "",
            [(k, v) for k, v in fields.items() if v is not None],
            body,
        )
        return answer

    def start(self, message: Any, **headers: Any) -> Answer:
        """Posts a message with the headers that belong to it; ``header_name=None`` leaves one out."""
        fields: dict[str, Any] = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        if isinstance(message, dict):
            params = message.get("params")
            params = params if isinstance(params, dict) else {}
            version = (params.get("_meta") or {}).get("io.modelcontextprotocol/protocolVersion")
            if version:
                fields["MCP-Protocol-Version"] = version
                fields["Mcp-Method"] = message.get("method")
                if "name" in params or "uri" in params:
                    fields["Mcp-Name"] = params.get("name", params.get("uri"))
            elif self.session:
                fields["Mcp-Session-Id"] = self.session
                fields["MCP-Protocol-Version"] = "2025-11-25"
        fields = {name.lower(): value for name, value in fields.items()}
        fields.update({name.replace("_", "-").lower(): value for name, value in headers.items()})
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return self.open("POST", body, fields)

    async def post(self, message: Any, **headers: Any) -> Answer:
        answer = self.start(message, **headers)
        async with asyncio.timeout(5):
            await answer.done.wait()
        return answer

    async def initialize(self, **capabilities: Any) -> Answer:
        answer = await self.post(
            request(
                "initialize",
                {
                    "protocolVersion": "2025-11-25",
                    "capabilities": capabilities,
                    "clientInfo": {"name": "tests", "version": "1"},
                },
            )
        )
        self.session = answer.headers.get("mcp-session-id")
        return answer


def run(main: Any) -> Any:
    return fasterapi_core.run(main)
