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
