"""A WebSocket client that sends exactly the bytes it is told to, and reads frames strictly."""

from __future__ import annotations

import base64
import hashlib
import os
import struct
from dataclasses import dataclass

from http_client import Answer, Client

KEY = base64.b64encode(b"0123456789abcdef").decode()
ACCEPT = base64.b64encode(
    hashlib.sha1(KEY.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
).decode()
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def handshake(path: str = "/", extra: str = "", **changes: str | None) -> bytes:
    """The opening request; a field given as None is left out."""
    fields: dict[str, str | None] = {
        "Host": "test",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": KEY,
    }
    fields.update({name.replace("_", "-"): value for name, value in changes.items()})
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value is not None)
    return f"GET {path} HTTP/1.1\r\n{lines}{extra}\r\n".encode("latin-1")


def mask(payload: bytes, key: bytes) -> bytes:
    return bytes(byte ^ key[index & 3] for index, byte in enumerate(payload))


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, key: bytes | None = None
) -> bytes:
    """A masked frame; lengths are minimal."""
    key = os.urandom(4) if key is None else key
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    body = mask(payload, key) if key != b"\0\0\0\0" else payload
    return head + key + body


def close_frame(code: int = 1000, reason: bytes = b"") -> bytes:
    return frame(CLOSE, struct.pack("!H", code) + reason)


@dataclass
class Frame:
    opcode: int
    payload: bytes
    rsv: int = 0
    fin: bool = True

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE
        return struct.unpack("!H", self.payload[:2])[0] if self.payload else 1005


class WebSocketClient(Client):
    """A connection after (or before) its handshake."""

    def open(self, path: str = "/", extra: str = "", **changes: str | None) -> Answer:
        """Send the handshake and return the answer's head."""
        self.send(handshake(path, extra, **changes))
        return self.answer()

    def answer(self) -> Answer:
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        if not self.buffer.startswith(b"HTTP/1.1 101"):
            return self.read()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n")[1:])
        return Answer(101, fields, b"", head)

    def _need(self, size: int) -> None:
        while len(self.buffer) < size:
            self._more()

    def frame(self) -> Frame:
        """The next frame; EOFError when the server has closed."""
        self._need(2)
        first, second = self.buffer[0], self.buffer[1]
        assert not second & 0x80, "a server does not mask"
        size, at = second & 0x7F, 2
        if size == 126:
            self._need(4)
            (size,), at = struct.unpack("!H", self.buffer[2:4]), 4
            assert size >= 126
        elif size == 127:
            self._need(10)
            (size,), at = struct.unpack("!Q", self.buffer[2:10]), 10
            assert size >= 65536
        self._need(at + size)
        payload, self.buffer = self.buffer[at : at + size], self.buffer[at + size :]
        return Frame(first & 15, payload, first >> 4 & 7, bool(first & 0x80))

    def at_end(self) -> bool:
        """Whether the server has closed its side, with nothing left to read."""
        if self.buffer:
            return False
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
