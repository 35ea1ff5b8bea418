"""Exceptions of fasterapi-mcp.

FasterAPIError
└── MCPError               a JSON-RPC error: .rpc_code .data
    └── InvalidParams      -32602
FasterAPIError
└── ToolError              a failed tool: the client gets a result with isError
"""

from __future__ import annotations

from typing import Any

from fasterapi_core import FasterAPIError

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
HEADER_MISMATCH = -32020
MISSING_CLIENT_CAPABILITY = -32021
UNSUPPORTED_VERSION = -32022


class MCPError(FasterAPIError):
    """Answers the request with a JSON-RPC error instead of a result.

    Args:
        code: JSON-RPC error code. Codes of your own belong outside -32768..-32000.
        message: One sentence for the client; it is sent as it is.
        data: Anything JSON can express, sent as ``error.data``.
    """

    code = "mcp.error"

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.rpc_code = code
        self.message = message
        self.data = data


class InvalidParams(MCPError):
    """The request's parameters are wrong (-32602)."""

    code = "mcp.invalid_params"

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(INVALID_PARAMS, message, data)


class ToolError(FasterAPIError):
    """Raised by a tool: the client gets this text as a result with ``isError`` set."""

    code = "mcp.tool_error"
