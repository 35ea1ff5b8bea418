"""Native Model Context Protocol servers, clients and proxies.

>>> from fasterapi_mcp import MCPServer
>>> server = MCPServer("calculator")
>>> @server.tool
... def add(a: int, b: int) -> int:
...     "Add two integers"
...     return a + b
>>> server.run()  # doctest: +SKIP
"""

import fasterapi_core as _core

from . import _build

_core.require_abi(_build.CORE_ABI, "fasterapi-mcp " + _build.VERSION)

from ._client import MCPClient  # noqa: E402
from ._context import Context  # noqa: E402
from ._errors import InvalidParams, MCPError, ToolError  # noqa: E402
from ._proxy import MCPProxy  # noqa: E402
from ._server import MCPServer  # noqa: E402
from ._types import (  # noqa: E402
    AssistantMessage,
    Audio,
    AudioContent,
    CallToolResult,
    Completion,
    ElicitResult,
    EmbeddedResource,
    Icon,
    Image,
    ImageContent,
    InputRequired,
    Message,
    ResourceLink,
    TextContent,
    ToolAnnotations,
    UserMessage,
)

__version__ = _build.VERSION

__all__ = [
    "AssistantMessage",
    "Audio",
    "AudioContent",
    "CallToolResult",
    "Completion",
    "Context",
    "ElicitResult",
    "EmbeddedResource",
    "Icon",
    "Image",
    "ImageContent",
    "InputRequired",
    "InvalidParams",
    "MCPClient",
    "MCPError",
    "MCPProxy",
    "MCPServer",
    "Message",
    "ResourceLink",
    "TextContent",
    "ToolAnnotations",
    "ToolError",
    "UserMessage",
]
