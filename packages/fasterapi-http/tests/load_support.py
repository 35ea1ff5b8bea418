"""A few clients that ask all the time, and what happened to each request."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter


class Load:
    """``clients`` threads with keep-alive connections; each asks again as soon as it has its answer.

    ``answered`` counts answers by status, ``failed`` has a line for each request that was sent and not answered,
    ``refused`` counts connections that nobody accepted. ``latencies`` are (when, seconds) of answers.
    """

    def __init__(self, port: int, clients: int = 4, path: str = "/", *, reconnect_every: int = 0) -> None:
        self.port, self.path = port, path
        self.answered: Counter[int] = Counter()
        self.bodies: Counter[bytes] = Counter()
        self.failed: list[str] = []
        self.refused = 0
        self.latencies: list[tuple[float, float]] = []
        self._reconnect_every = reconnect_every
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(15)
            assert not thread.is_alive()

    def total(self) -> int:
        return sum(self.answered.values())

    def wait_for_more(self, count: int, timeout: float = 15) -> None:
        """Until this many more requests are answered."""
        goal, deadline = self.total() + count, time.monotonic() + timeout
        while self.total() < goal:
            assert time.monotonic() < deadline, f"{self.answered} {self.failed[:3]} {self.refused}"
            time.sleep(0.01)

    def _run(self) -> None:
        request = f"GET {self.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        sock: socket.socket | None = None
        used = 0
        while not self._end.is_set():
            if sock is None:
                try:
                    sock = socket.create_connection(("127.0.0.1", self.port), 10)
                except OSError:
                    with self._lock:
                        self.refused += 1
                    time.sleep(0.01)
                    continue
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                used = 0
            begun = time.monotonic()
            try:
                sock.sendall(request)
                status, close, body = self._read(sock)
            except OSError as error:
                with self._lock:
                    self.failed.append(f"request {used + 1} of a connection: {error!r}")
                sock.close()
                sock = None
                continue
            used += 1
            now = time.monotonic()
            with self._lock:
                self.answered[status] += 1
                self.bodies[body] += 1
                self.latencies.append((now, now - begun))
            if close or used == self._reconnect_every:
                sock.close()
                sock = None
        if sock is not None:
            sock.close()

    @staticmethod
    def _read(sock: socket.socket) -> tuple[int, bool, bytes]:
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            piece = sock.recv(65536)
            if not piece:
                raise ConnectionResetError(f"closed after {len(data)} bytes of the answer")
            data += piece
        head = data[:end].lower()
        at = head.find(b"content-length: ")
        length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        body = data[end + 4 :]
        while len(body) < length:
            piece = sock.recv(65536)
            if not piece:
                raise ConnectionResetError("closed within the body of the answer")
            body += piece
        return int(data[9:12]), b"connection: close" in head, body
