"""asyncio's SSLProtocol with its path for data made native."""

from __future__ import annotations

from asyncio import sslproto
from typing import Any

from . import _core


class TlsProtocol(_core.TlsPath, sslproto.SSLProtocol):
    """What TLS transports of the loop run on; every option, error and state is SSLProtocol's."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        native = self._sslobj._sslobj  # type: ignore[attr-defined]  # what ssl.SSLObject wraps
        self._core_read = native.read
        self._core_write = native.write

    def _set_app_protocol(self, app_protocol: Any) -> None:
        # As the transports without TLS decide: by what the protocol has, not by what it derives from.
        super()._set_app_protocol(app_protocol)
        if not self._app_protocol_is_buffer and not hasattr(app_protocol, "data_received"):
            get_buffer = getattr(app_protocol, "get_buffer", None)
            buffer_updated = getattr(app_protocol, "buffer_updated", None)
            if get_buffer is not None and buffer_updated is not None:
                self._app_protocol_get_buffer = get_buffer
                self._app_protocol_buffer_updated = buffer_updated
                self._app_protocol_is_buffer = True
