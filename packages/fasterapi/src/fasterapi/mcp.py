"""``fasterapi_mcp`` under the name of the framework: MCP servers, clients and proxies."""

from fasterapi_mcp import *  # noqa: F403
from fasterapi_mcp import __all__ as __all__
