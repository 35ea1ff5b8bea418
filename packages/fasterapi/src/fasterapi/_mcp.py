"""Tools of the application: declared with ``@app.tool``, or routes declared with ``tool=True``."""

from __future__ import annotations

from typing import Any


class ToolRegistry:
    """Holds the application's MCP server; it is made when the first tool is declared."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._server: Any = None

    def __bool__(self) -> bool:
        return self._server is not None

    @property
    def server(self) -> Any:
        """The MCP server."""
        if self._server is None:
            from fasterapi_mcp import MCPServer

            self._server = MCPServer(self._app.title, version=self._app.version)
        return self._server
