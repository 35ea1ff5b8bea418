"""WSGI applications (PEP 3333) as ASGI ones: each request runs in a thread of a bounded pool.

An answer that is one piece crosses to the loop once, with its head; a longer one piece by piece, and the thread waits
while the client does not read.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from ._asgi import Message, Receive, Scope, Send

Environ = dict[str, Any]
ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
WSGIApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
T = TypeVar("T")

_BLOCK = 64 * 1024


class ClientLeft(OSError):
    """Raised inside ``write()`` and between pieces of an answer that nobody reads any more."""


class FileWrapper:
    """``wsgi.file_wrapper``: a file's blocks."""

    def __init__(self, file: Any, block_size: int = _BLOCK) -> None:
        self._file, self._size = file, block_size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        while block := self._file.read(self._size):
            yield block


class _Input(io.RawIOBase):
    """The rest of a request body that comes while the application reads; ``wsgi.input`` buffers it."""

    def __init__(self, call: _Call, first: bytes) -> None:
        self._call, self._have, self._more = call, first, True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._have and self._more:
            message = self._call.wait_for(self._call.next_message())
            if message["type"] == "http.disconnect":
                raise ClientLeft("the client left before the end of its request")
            self._have, self._more = message.get("body", b""), message.get("more_body", False)
        size = min(len(buffer), len(self._have))
        buffer[:size] = self._have[:size]
        self._have = self._have[size:]
        return size


class _Call:
    """One request: made on the loop, ``run()`` in a thread."""

    def __init__(self, app: WSGIApp, environ: Environ, receive: Receive, send: Send) -> None:
        self._app, self._environ = app, environ
        self.receive, self._send = receive, send
        self._loop = asyncio.get_running_loop()
        self._head: Message | None = None  # given to start_response() and not sent yet
        self._started = False
        self._left = False
        self._watcher: asyncio.Task[None] | None = None

    # ---- in the thread

    def wait_for(self, what: Coroutine[Any, Any, T]) -> T:
        future: Future[T] = asyncio.run_coroutine_threadsafe(what, self._loop)
        return future.result()

    def run(self) -> tuple[Message, bytes] | None:
        """Head and body of an answer that is one piece; None when it has been sent."""
        result = self._app(self._environ, self.start_response)
        try:
            if isinstance(result, (list, tuple)) and len(result) <= 1 and not self._started:
                body = result[0] if result else b""
                _check_bytes(body)
                return self._take_head(), body
            for piece in result:
                _check_bytes(piece)
                if piece:
                    self._write(piece)
            if not self._started:
                return self._take_head(), b""
            self.wait_for(self._finish())
        except ClientLeft:
            pass  # as any answer to somebody who has gone
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()
        return None

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self._started:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no cycle through the frame
        elif self._head is not None or self._started:
            raise AssertionError("start_response() was called a second time without exc_info")
        code = status[:3]
        if not (code.isascii() and code.isdigit()) or (len(status) > 3 and status[3] != " "):
            raise ValueError(f"start_response(): {status!r} is not a status")
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        self._head = {"type": "http.response.start", "status": int(code), "headers": fields}
        return self._write_from_application

    def _write_from_application(self, data: bytes) -> None:
        _check_bytes(data)
        self._write(data)

    def _take_head(self) -> Message:
        if self._head is None:
            raise RuntimeError("the application did not call start_response()")
        head, self._head = self._head, None
        self._started = True
        return head

    def _write(self, data: bytes) -> None:
        if self._left:
            raise ClientLeft("the client has left")
        head = None if self._started else self._take_head()
        self.wait_for(self._put(head, data))

    # ---- on the loop

    async def next_message(self) -> Message:
        return await self.receive()

    async def _put(self, head: Message | None, data: bytes) -> None:
        if head is not None:
            await self._send(head)
            self._watcher = self._loop.create_task(self._watch())
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def _finish(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def _watch(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass  # what the application did not read of the request
        self._left = True

    async def serve(self, pool: ThreadPoolExecutor) -> None:
        try:
            whole = await self._loop.run_in_executor(pool, contextvars.copy_context().run, self.run)
        finally:
            if self._watcher is not None:
                self._watcher.cancel()
        if whole is not None:
            head, body = whole
            await self._send(head)
            await self._send({"type": "http.response.body", "body": body})


def _check_bytes(piece: object) -> None:
    if not isinstance(piece, bytes):
        raise TypeError(f"a WSGI application's body is bytes, not {type(piece).__name__}")


class Wsgi:
    """``Wsgi(app)`` is an ASGI application that answers with the WSGI application ``app``.

    ``threads`` requests run at a time, others wait. Field names with an underscore, and ``Proxy``, do not reach the
    application: they could pass for other variables.
    """

    def __init__(self, app: WSGIApp, *, threads: int = 40, multiprocess: bool = False) -> None:
        self._app = app
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fasterapi-http wsgi")
        self._base: Environ = {
            "wsgi.version": (1, 0),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": threads > 1,
            "wsgi.multiprocess": multiprocess,
            "wsgi.run_once": False,
            "wsgi.input_terminated": True,  # chunked bodies end, without CONTENT_LENGTH
            "wsgi.file_wrapper": FileWrapper,
            "SERVER_SOFTWARE": "fasterapi-http",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"a WSGI application does not take '{scope['type']}'")
        environ = {**self._base, **environ_of(scope)}
        call = _Call(self._app, environ, receive, send)
        first: Message = {}
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            first = await receive()
            if first["type"] == "http.disconnect":
                return
        if first.get("more_body"):
            environ["wsgi.input"] = io.BufferedReader(_Input(call, first.get("body", b"")), _BLOCK)
        else:
            environ["wsgi.input"] = io.BytesIO(first.get("body", b""))
        await call.serve(self._pool)

    def close(self) -> None:
        """Let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def environ_of(scope: MutableMapping[str, Any]) -> Environ:
    """The request's part of a WSGI environment."""
    root, raw = scope["root_path"].encode(), scope["raw_path"]
    path = unquote_to_bytes(raw) if b"%" in raw else raw
    if root and path.startswith(root):
        path = path[len(root) :]
    host, port = scope["server"] or ("localhost", None)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.decode("latin-1"),
        "PATH_INFO": path.decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": host,
        "SERVER_PORT": str(port if port is not None else 80),
        "wsgi.url_scheme": scope["scheme"],
    }
    target = raw + b"?" + scope["query_string"] if scope["query_string"] else raw
    environ["REQUEST_URI"] = environ["RAW_URI"] = target.decode("latin-1")
    if scope["client"] is not None:
        environ["REMOTE_ADDR"] = scope["client"][0]
        if scope["client"][1]:
            environ["REMOTE_PORT"] = str(scope["client"][1])
    for raw_name, raw_value in scope["headers"]:
        if b"_" in raw_name or raw_name == b"proxy":
            continue
        name, value = raw_name.decode("latin-1").upper().replace("-", "_"), raw_value.decode("latin-1")
        if name not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            name = "HTTP_" + name
        if name in environ:
            value = environ[name] + ("; " if name == "HTTP_COOKIE" else ",") + value
        environ[name] = value
    return environ
