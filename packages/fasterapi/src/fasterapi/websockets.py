"""WebSocket connections over ASGI."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Iterable
from typing import Any

from fasterapi_core import json_loads

from .encoders import json_text
from .requests import HTTPConnection
from .types import Message, Receive, Scope, Send


class WebSocketState(enum.Enum):
    """Life of one direction of a WebSocket."""

    CONNECTING = 0
    CONNECTED = 1
    DISCONNECTED = 2
    RESPONSE = 3


class WebSocketDisconnect(Exception):
    """The peer closed the connection."""

    def __init__(self, code: int = 1000, reason: str | None = None) -> None:
        self.code = code
        self.reason = reason or ""
        super().__init__(code, self.reason)


class WebSocketDisconnected(RuntimeError):
    """The WebSocket is used before it was accepted, or after its end."""


_FIRST = {  # what may answer a handshake, and what it leads to
    "websocket.accept": WebSocketState.CONNECTED,
    "websocket.close": WebSocketState.DISCONNECTED,
    "websocket.http.response.start": WebSocketState.RESPONSE,
}


def _expected(got: str, *wanted: str) -> str:
    *first, last = [f'"{one}"' for one in wanted]
    names = f"{', '.join(first)} or {last}" if first else last
    return f"Expected ASGI message {names}, but got {got!r}"


class WebSocket(HTTPConnection):
    """A WebSocket: ``accept()`` it, then receive and send until ``WebSocketDisconnect``."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope)
        self._receive = receive
        self._send = send
        self.client_state = WebSocketState.CONNECTING
        self.application_state = WebSocketState.CONNECTING

    async def receive(self) -> Message:
        """Return the next ASGI message; WebSocketDisconnected after the disconnect message."""
        state = self.client_state
        if state is WebSocketState.DISCONNECTED:
            raise WebSocketDisconnected('Cannot call "receive" once a disconnect message has been received.')
        message = await self._receive()
        kind = message["type"]
        if state is WebSocketState.CONNECTED:
            if kind == "websocket.disconnect":
                self.client_state = WebSocketState.DISCONNECTED
            elif kind != "websocket.receive":
                raise RuntimeError(_expected(kind, "websocket.receive", "websocket.disconnect"))
        elif kind == "websocket.connect":
            self.client_state = WebSocketState.CONNECTED
        else:
            raise RuntimeError(_expected(kind, "websocket.connect"))
        return message

    async def send(self, message: Message) -> None:
        """Send an ASGI message; WebSocketDisconnected after close, WebSocketDisconnect when the client has left."""
        state, kind = self.application_state, message["type"]
        if state is WebSocketState.CONNECTED:
            if kind == "websocket.close":
                self.application_state = WebSocketState.DISCONNECTED
            elif kind != "websocket.send":
                raise RuntimeError(_expected(kind, "websocket.send", "websocket.close"))
            try:
                await self._send(message)
            except OSError as exc:
                self.application_state = WebSocketState.DISCONNECTED
                raise WebSocketDisconnect(code=1006) from exc
            return
        if state is WebSocketState.CONNECTING:
            after = _FIRST.get(kind)
            if after is None:
                raise RuntimeError(_expected(kind, *_FIRST))
            self.application_state = after
        elif state is WebSocketState.RESPONSE:
            if kind != "websocket.http.response.body":
                raise RuntimeError(_expected(kind, "websocket.http.response.body"))
            if not message.get("more_body", False):
                self.application_state = WebSocketState.DISCONNECTED
        else:
            raise WebSocketDisconnected('Cannot call "send" once a close message has been sent.')
        await self._send(message)

    async def accept(
        self, subprotocol: str | None = None, headers: Iterable[tuple[bytes, bytes]] | None = None
    ) -> None:
        """Complete the handshake."""
        if self.client_state is WebSocketState.CONNECTING:
            await self.receive()
        await self.send(
            {"type": "websocket.accept", "subprotocol": subprotocol, "headers": list(headers or ())}
        )

    def _connected(self) -> None:
        if self.application_state is not WebSocketState.CONNECTED:
            raise WebSocketDisconnected('WebSocket is not connected. Need to call "accept" first.')

    async def _data(self) -> Message:
        self._connected()
        message = await self.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000), message.get("reason"))
        return message

    async def receive_text(self) -> str:
        """Return the next text message."""
        text = (await self._data())["text"]
        assert isinstance(text, str)
        return text

    async def receive_bytes(self) -> bytes:
        """Return the next binary message."""
        data = (await self._data())["bytes"]
        assert isinstance(data, bytes)
        return data

    async def receive_json(self, mode: str = "text") -> Any:
        """Return the next message decoded from JSON; ``mode`` says whether it is a text or a binary
        message.
        """
        if mode not in ("text", "binary"):
            raise RuntimeError('The "mode" argument should be "text" or "binary".')
        message = await self._data()
        return json_loads(message["text"] if mode == "text" else message["bytes"])

    async def iter_text(self) -> AsyncIterator[str]:
        """Yield text messages until the peer closes."""
        try:
            while True:
                yield await self.receive_text()
        except WebSocketDisconnect:
            pass

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Yield binary messages until the peer closes."""
        try:
            while True:
                yield await self.receive_bytes()
        except WebSocketDisconnect:
            pass

    async def iter_json(self) -> AsyncIterator[Any]:
        """Yield decoded JSON messages until the peer closes."""
        try:
            while True:
                yield await self.receive_json()
        except WebSocketDisconnect:
            pass

    async def send_text(self, data: str) -> None:
        """Send a text message."""
        await self.send({"type": "websocket.send", "text": data})

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        await self.send({"type": "websocket.send", "bytes": data})

    async def send_json(self, data: Any, mode: str = "text") -> None:
        """Send ``data`` as JSON in a text or binary message."""
        if mode not in ("text", "binary"):
            raise RuntimeError('The "mode" argument should be "text" or "binary".')
        text = json_text(data)
        if mode == "text":
            await self.send({"type": "websocket.send", "text": text})
        else:
            await self.send({"type": "websocket.send", "bytes": text.encode()})

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the connection, or refuse the handshake (403) when it was not accepted."""
        await self.send({"type": "websocket.close", "code": code, "reason": reason or ""})

    async def send_denial_response(self, response: Any) -> None:
        """Refuse the handshake with a full HTTP response (needs the server's ``websocket.http.response``
        extension).
        """
        if "websocket.http.response" not in self.scope.get("extensions", {}):
            raise RuntimeError("The server doesn't support the Websocket Denial Response extension.")

        async def send(message: Message) -> None:
            kind = message["type"]
            await self.send({**message, "type": f"websocket.{kind}"} if kind.startswith("http.") else message)

        await response(self.scope, self.receive, send)


class WebSocketClose:
    """An ASGI application that refuses or closes the WebSocket."""

    def __init__(self, code: int = 1000, reason: str | None = None) -> None:
        self.code = code
        self.reason = reason or ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close", "code": self.code, "reason": self.reason})


__all__ = ["WebSocket", "WebSocketClose", "WebSocketDisconnect", "WebSocketDisconnected", "WebSocketState"]
