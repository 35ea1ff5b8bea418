"""Tools of the application: declared with ``@app.tool``, or routes declared with ``tool=True``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .applications import App

PATH = "/mcp"


class ToolRegistry:
    """Holds the application's MCP server; it is made when the first tool is declared."""

    def __init__(self, app: App) -> None:
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

    def add_to(self, server: Any, native: bool) -> None:
        """Serve the tools at /mcp of a native server."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the MCP server's own resources open."""
        yield
