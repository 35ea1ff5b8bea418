"""A client that speaks raw bytes and reads answers strictly."""

from __future__ import annotations

import socket
from typing import Any


class Answer:
    """One parsed response."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes, raw_head: bytes) -> None:
        self.status, self.headers, self.body, self.raw_head = status, headers, body, raw_head

    def json(self) -> Any:
        import json

        return json.loads(self.body)


class Client:
    """A socket with a minimal response reader."""

    def __init__(self, port: int, timeout: float = 5) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exc: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(self, method: str, path: str, body: bytes = b"", headers: str = "") -> Answer:
        head = f"{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}"
        if body:
            head += f"Content-Length: {len(body)}\r\n"
        self.send(head.encode() + b"\r\n" + body)
        return self.read(method)

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise EOFError(self.buffer)
        self.buffer += data

    def read(self, method: str = "GET") -> Answer:
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        body = b""
        if method == "HEAD" or status in (204, 304) or status < 200:
            pass
        elif headers.get("transfer-encoding") == "chunked":
            while True:
                while b"\r\n" not in self.buffer:
                    self._more()
                size, _, self.buffer = self.buffer.partition(b"\r\n")
                wanted = int(size, 16) + 2
                while len(self.buffer) < wanted:
                    self._more()
                body += self.buffer[: wanted - 2]
                assert self.buffer[wanted - 2 : wanted] == b"\r\n"
                self.buffer = self.buffer[wanted:]
                if wanted == 2:
                    break
        elif "content-length" in headers:
            wanted = int(headers["content-length"])
            while len(self.buffer) < wanted:
                self._more()
            body, self.buffer = self.buffer[:wanted], self.buffer[wanted:]
        else:
            try:
                while True:
                    self._more()
            except EOFError:
                body, self.buffer = self.buffer, b""
        return Answer(status, headers, body, head)

    def at_end(self, timeout: float = 3) -> bool:
        """Whether the server closes the connection without another byte."""
        self.sock.settimeout(timeout)
        try:
            return not self.buffer and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False
