"""The add tool on the Python SDK: ``sdk_server.py stdio|http``."""

from __future__ import annotations

import os
import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("bench")


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run(transport="stdio")
    else:
        port = int(os.environ["PORT"])
        import uvicorn

        application = server.streamable_http_app(json_response=True, stateless_http=True)
        uvicorn.run(application, host="127.0.0.1", port=port, log_level="error", access_log=False)
