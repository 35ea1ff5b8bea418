"""The add tool on fasterapi-mcp: ``fasterapi_server.py stdio|http``."""

from __future__ import annotations

import os
import sys

from fasterapi_mcp import MCPServer

server = MCPServer("bench", version="1")


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run(transport="stdio")
    else:
        port = int(os.environ["PORT"])
        server.run(transport="http", host="127.0.0.1", port=port, json_response=True, stateless=True)
