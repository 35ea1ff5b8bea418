"""The add tool on FastMCP: ``fastmcp_server.py stdio|http``."""

from __future__ import annotations

import os
import sys

from fastmcp import FastMCP as MCPServer

server = MCPServer("bench")


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


if __name__ == "__main__":
    if sys.argv[1] == "stdio":
        server.run(transport="stdio", show_banner=False)
    else:
        port = int(os.environ["PORT"])
        import uvicorn

        application = server.http_app(json_response=True, stateless_http=True)
        uvicorn.run(application, host="127.0.0.1", port=port, log_level="error", access_log=False)
