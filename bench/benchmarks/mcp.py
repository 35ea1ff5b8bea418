"""How long does a tools/call take through the server's own process over pipes, 100 of them in flight?"""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
from fasterapi_mcp import MCPServer
server = MCPServer("bench", version="1")

@server.tool()
def add(a: int, b: int) -> int:
    return a + b

server.run(transport="stdio")
"""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
N = 100


def call(number: int) -> bytes:
    params = {"name": "add", "arguments": {"a": 2, "b": 3}, "_meta": META}
    return (
        json.dumps({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}).encode()
        + b"\n"
    )


class Stdio:
    def setup(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.calls = b"".join(call(i) for i in range(N))
        self.time_100_tool_calls()

    def teardown(self) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait(10)

    def time_100_tool_calls(self) -> None:
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(self.calls)
        self.server.stdin.flush()
        for _ in range(N):
            if b'"result"' not in self.server.stdout.readline():
                raise RuntimeError("not a result")
