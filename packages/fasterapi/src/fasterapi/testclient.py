"""``TestClient``: an httpx client on the real native server, which runs in a thread and listens on a unix
socket.
"""

from __future__ import annotations

import asyncio
import os
import queue
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urljoin

import fasterapi_core as _core
import httpx

from .applications import App
from .encoders import json_text
from .websockets import WebSocketDisconnect

START_TIMEOUT = 30.0  # seconds


class _Portal:
    """An event loop in a thread, with the application's server on it."""

    def __init__(self, app: Any, lifespan: bool, capture: Callable[[Any, BaseException], None]) -> None:
        self._app = app
        self._lifespan = lifespan
        self._capture = capture
        self._directory = tempfile.TemporaryDirectory(prefix="fasterapi-test-")
        self.path = os.path.join(self._directory.name, "s")
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._stop: asyncio.Event | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="fasterapi-testclient", daemon=True)

    def start(self) -> None:
        self._thread.start()
        if not self._started.wait(START_TIMEOUT):
            raise RuntimeError("The test server did not start in time")
        if self._failure is not None:
            self._thread.join()
            self._directory.cleanup()
            raise self._failure

    def _run(self) -> None:
        try:
            _core.run(self._main())
        except BaseException as exc:
            self._failure = exc
        finally:
            self._started.set()

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        if self._lifespan and isinstance(self._app, App):
            async with self._app.router.lifespan_context(self._app) as state:
                self._app.lifespan_state = dict(state or {})
                await self._serve()
        else:
            await self._serve()

    async def _serve(self) -> None:
        assert self._stop is not None
        server: Any
        if isinstance(self._app, App):
            from ._native import build_server

            # A unix socket has no peer address; programs expect one.
            self._app.test_peer = ("testclient", 50000)
            self._app.tools.options.setdefault("allowed_hosts", ["testserver"])
            server = build_server(self._app, report=self._capture)
        else:
            import fasterapi_http

            server = fasterapi_http.Server(asgi=_capturing(self._app, self._capture))
        await server.start(uds=self.path)
        self._started.set()
        try:
            async with self._app.tools.running() if isinstance(self._app, App) else nullcontext():
                await self._stop.wait()
        finally:
            await server.drain(5.0)

    def stop(self) -> None:
        if self.loop is not None and self._stop is not None and self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(START_TIMEOUT)
        self._directory.cleanup()
        if self._failure is not None:
            raise self._failure


def _capturing(app: Any, capture: Callable[[Any, BaseException], None]) -> Any:
    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except Exception as exc:
            capture(None, exc)
            raise

    return wrapped


class TestClient(httpx.Client):
    """Calls an application as a browser would: over HTTP, through the native server.

    Exceptions that the application does not handle are raised in the test unless
    ``raise_server_exceptions=False``. Used as a context manager it runs the lifespan.
    """

    __test__ = False

    def __init__(
        self,
        app: Any,
        base_url: str = "http://testserver",
        raise_server_exceptions: bool = True,
        root_path: str = "",
        cookies: Any = None,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = True,
        **ignored: Any,
    ) -> None:
        self.app = app
        self.raise_server_exceptions = raise_server_exceptions
        if root_path and isinstance(app, App):
            app.root_path = root_path
        self._portal: _Portal | None = None
        self._errors: queue.SimpleQueue[BaseException] = queue.SimpleQueue()
        self._transport_of_test = _Transport(self)
        super().__init__(
            base_url=base_url,
            headers={"user-agent": "testclient", **(headers or {})},
            cookies=cookies,
            follow_redirects=follow_redirects,
            transport=self._transport_of_test,
        )

    # -- the server

    def _capture(self, request: Any, exc: BaseException) -> None:
        self._errors.put(exc)

    def portal(self, lifespan: bool = False) -> _Portal:
        """Return the running server, starting it on first use."""
        if self._portal is None:
            portal = _Portal(self.app, lifespan, self._capture)
            portal.start()
            self._portal = portal
        return self._portal

    def take_error(self) -> BaseException | None:
        """Return an exception of the application that was not reported yet."""
        try:
            return self._errors.get_nowait()
        except queue.Empty:
            return None

    def __enter__(self) -> TestClient:
        self.portal(lifespan=True)
        super().__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        super().__exit__(exc_type, exc_value, traceback)
        self._stop()

    def close(self) -> None:
        super().close()
        self._stop()

    def _stop(self) -> None:
        portal, self._portal = self._portal, None
        if portal is not None:
            portal.stop()

    def __del__(self) -> None:
        try:
            self._transport_of_test.close()
            self._stop()
        except Exception:
            pass

    # -- WebSockets

    def websocket_connect(
        self, url: str, subprotocols: Sequence[str] | None = None, **kwargs: Any
    ) -> WebSocketTestSession:
        """Open a WebSocket; use it as a context manager."""
        absolute = httpx.URL(urljoin("ws://testserver", url))
        headers = httpx.Headers(self.headers)
        headers.update(kwargs.get("headers") or {})
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if cookies and "cookie" not in headers:
            headers["cookie"] = cookies
        headers.setdefault("host", absolute.netloc.decode())
        if subprotocols:
            headers["sec-websocket-protocol"] = ", ".join(subprotocols)
        scope = {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": absolute.scheme,
            "path": unquote(absolute.path),
            "raw_path": absolute.raw_path.split(b"?")[0],
            "root_path": "",
            "query_string": absolute.query,
            "headers": [(name.lower(), value) for name, value in headers.raw],
            "client": ("testclient", 50000),
            "server": ("testserver", 80),
            "subprotocols": list(subprotocols or ()),
            "state": dict(getattr(self.app, "lifespan_state", {})),
            "extensions": {"websocket.http.response": {}},
        }
        return WebSocketTestSession(self, scope)


class _Transport(httpx.BaseTransport):
    """Connects to the unix socket and raises the application's exceptions."""

    def __init__(self, client: TestClient) -> None:
        self._client = client
        self._inner: httpx.HTTPTransport | None = None
        self._path = ""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = self._client.portal().path
        if self._inner is None or self._path != path:
            if self._inner is not None:
                self._inner.close()
            self._inner, self._path = httpx.HTTPTransport(uds=path), path
        response = self._inner.handle_request(request)
        if self._client.raise_server_exceptions:
            if response.status_code >= 500:
                response.read()
            error = self._client.take_error()
            if error is not None:
                response.close()
                raise error
        return response

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()
            self._inner = None


class WebSocketTestSession:
    """The client's end of a WebSocket: messages go straight to the application, without a socket."""

    def __init__(self, client: TestClient, scope: dict[str, Any]) -> None:
        self._client = client
        self.scope = scope
        self.accepted_subprotocol: str | None = None
        self.extra_headers: list[tuple[bytes, bytes]] = []
        self._to_client: queue.Queue[Any] = queue.Queue()
        self._future: Any = None
        self._to_app: asyncio.Queue[Any] | None = None

    def __enter__(self) -> WebSocketTestSession:
        loop = self._client.portal().loop
        assert loop is not None
        self._loop = loop
        ready = threading.Event()

        async def main() -> None:
            self._to_app = asyncio.Queue()
            ready.set()

            async def send(message: Any) -> None:
                self._to_client.put(message)

            try:
                await self._client.app(self.scope, self._to_app.get, send)
            except BaseException as exc:
                self._to_client.put(exc)
                return
            self._to_client.put({"type": "websocket.close", "code": 1000, "reason": ""})

        self._future = asyncio.run_coroutine_threadsafe(main(), loop)
        ready.wait(START_TIMEOUT)
        self.send({"type": "websocket.connect"})
        message = self.receive()
        self._raise_on_close(message)
        self.accepted_subprotocol = message.get("subprotocol")
        self.extra_headers = list(message.get("headers", ()))
        return self

    def __exit__(self, *exc: object) -> None:
        self.close(1000)
        self._future.result(START_TIMEOUT)
        while not self._to_client.empty():
            left = self._to_client.get()
            if isinstance(left, BaseException) and exc[0] is None:
                raise left

    def _raise_on_close(self, message: Any) -> None:
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message.get("code", 1000), message.get("reason", ""))
        if message["type"] == "websocket.http.response.start":
            body = b""
            while True:
                part = self.receive()
                body += part.get("body", b"")
                if not part.get("more_body", False):
                    break
            raise WebSocketDenialResponse(message["status"], headers=message["headers"], content=body)

    def send(self, message: Any) -> None:
        """Send a raw ASGI message to the application."""
        assert self._to_app is not None
        self._loop.call_soon_threadsafe(self._to_app.put_nowait, message)

    def receive(self) -> Any:
        """Return the next raw ASGI message of the application; raises what it raised."""
        message = self._to_client.get(timeout=START_TIMEOUT)
        if isinstance(message, BaseException):
            raise message
        return message

    def send_text(self, data: str) -> None:
        """Send a text message."""
        self.send({"type": "websocket.receive", "text": data})

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        self.send({"type": "websocket.receive", "bytes": data})

    def send_json(self, data: Any, mode: str = "text") -> None:
        """Send JSON."""
        text = json_text(data)
        if mode == "text":
            self.send_text(text)
        else:
            self.send_bytes(text.encode())

    def receive_text(self) -> str:
        """Return the next text message; WebSocketDisconnect when the application closed."""
        message = self.receive()
        self._raise_on_close(message)
        return str(message["text"])

    def receive_bytes(self) -> bytes:
        """Return the next binary message; WebSocketDisconnect when the application closed."""
        message = self.receive()
        self._raise_on_close(message)
        return bytes(message["bytes"])

    def receive_json(self, mode: str = "text") -> Any:
        """Return the next message decoded from JSON."""
        import json

        return json.loads(self.receive_text() if mode == "text" else self.receive_bytes())

    def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the connection."""
        self.send({"type": "websocket.disconnect", "code": code, "reason": reason})


class WebSocketDenialResponse(httpx.Response, WebSocketDisconnect):  # type: ignore[misc]
    """The application refused the handshake with an HTTP response."""


__all__ = ["TestClient", "WebSocketDenialResponse", "WebSocketTestSession"]
