"""A native HTTP server for Python: ASGI applications, or native handlers, on one reactor."""

from __future__ import annotations

import asyncio as _asyncio

import fasterapi_core as _core

from . import _build

_core.require_abi(_build.CORE_ABI, "fasterapi-http " + _build.VERSION)

import uuid as _uuid  # noqa: E402

from . import _cookies, _http  # noqa: E402
from ._compression import Compression  # noqa: E402
from ._config import Config, ConfigError  # noqa: E402
from ._datastructures import URL, Address, State  # noqa: E402
from ._embed import serve_endpoint, serve_endpoint_blocking  # noqa: E402
from ._exceptions import (  # noqa: E402
    ClientDisconnect,
    HTTPException,
    RouteConflict,
    TlsError,
    WebSocketDisconnected,
)
from ._forms import FormData, FormError, UploadFile, read_form  # noqa: E402
from ._http import (  # noqa: E402
    Headers,
    HTMLResponse,
    JSONResponse,
    MutableHeaders,
    PlainTextResponse,
    QueryParams,
    Request,
    Response,
    SyncRequest,
)
from ._limits import Limits  # noqa: E402
from ._observe import TraceContext, trace_context  # noqa: E402
from ._responses import (  # noqa: E402
    FileResponse,
    RedirectResponse,
    StreamingResponse,
    drive_stream,
    send_as_asgi,
)
from ._run import run, serve  # noqa: E402
from ._server import ResponseSpec, Server, make_executor, report  # noqa: E402
from ._tls import Certificate, TlsOptions  # noqa: E402

__version__ = _build.VERSION

_http.configure(
    http_exception=HTTPException,
    route_conflict=RouteConflict,
    address=Address,
    url=URL,
    state=State,
    drive_stream=drive_stream,
    file_response=FileResponse,
    form_error=FormError,
    read_form=read_form,
    client_disconnect=ClientDisconnect,
    ws_disconnected=WebSocketDisconnected,
    tls_error=TlsError,
    identity=lambda value: value,
    cancelled=_asyncio.CancelledError,
    report=report,
    uuid=_uuid.UUID,
    make_executor=make_executor,
    format_cookie=_cookies.format_cookie,
    format_deletion=_cookies.format_deletion,
)
Response.__call__ = send_as_asgi  # type: ignore[method-assign]

__all__ = [
    "Address",
    "Certificate",
    "ClientDisconnect",
    "Compression",
    "Config",
    "ConfigError",
    "FileResponse",
    "FormData",
    "FormError",
    "HTMLResponse",
    "HTTPException",
    "Headers",
    "JSONResponse",
    "Limits",
    "MutableHeaders",
    "PlainTextResponse",
    "QueryParams",
    "RedirectResponse",
    "Request",
    "Response",
    "ResponseSpec",
    "RouteConflict",
    "Server",
    "State",
    "StreamingResponse",
    "SyncRequest",
    "TlsError",
    "TlsOptions",
    "TraceContext",
    "URL",
    "UploadFile",
    "WebSocketDisconnected",
    "run",
    "serve",
    "serve_endpoint",
    "serve_endpoint_blocking",
    "trace_context",
]
