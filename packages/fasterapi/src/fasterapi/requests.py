"""The request as handlers see it.

``Request`` works on an ASGI scope. On the native lane a subclass reads from the server's own request object;
it has the same interface, so handlers cannot tell the difference.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from http.cookies import _unquote
from typing import Any

from fasterapi_http import ClientDisconnect

from . import _multipart
from .datastructures import URL, Address, FormData, Headers, QueryParams, State
from .exceptions import HTTPException
from .types import Message, Receive, Scope, Send


def parse_cookies(header: str) -> dict[str, str]:
    """Parse a Cookie header leniently, as browsers write it."""
    cookies: dict[str, str] = {}
    for chunk in header.split(";"):
        key, found, value = chunk.partition("=")
        if not found:
            key, value = "", key
        key, value = key.strip(), value.strip()
        if key or value:
            cookies[key] = _unquote(value)
    return cookies


async def _no_receive() -> Message:
    raise RuntimeError("Receive channel has not been made available")


async def _no_send(message: Message) -> None:
    raise RuntimeError("Send channel has not been made available")


class HTTPConnection(Mapping[str, Any]):
    """What HTTP requests and WebSockets share: URL, headers, parameters, state."""

    def __init__(self, scope: Scope, receive: Receive | None = None) -> None:
        self.scope = scope

    def __getitem__(self, key: str) -> Any:
        return self.scope[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.scope)

    def __len__(self) -> int:
        return len(self.scope)

    # A request is equal only to itself, although it is a mapping.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @property
    def app(self) -> Any:
        """The application that handles the request."""
        return self.scope["app"]

    @property
    def url(self) -> URL:
        """The full URL as the client sent it."""
        if "_fasterapi_url" not in self.scope:
            self.scope["_fasterapi_url"] = URL(scope=self.scope)
        url: URL = self.scope["_fasterapi_url"]
        return url

    @property
    def base_url(self) -> URL:
        """The URL of the application's root, with a slash at the end."""
        scope = dict(self.scope)
        path = scope.get("app_root_path", scope.get("root_path", ""))
        scope["path"] = path if path.endswith("/") else path + "/"
        scope["query_string"] = b""
        return URL(scope=scope)

    @property
    def headers(self) -> Headers:
        """The request's headers."""
        found = self.__dict__.get("_headers")
        if found is None:
            found = self.__dict__["_headers"] = Headers(scope=self.scope)
        return found

    @property
    def query_params(self) -> QueryParams:
        """The decoded query string."""
        found = self.__dict__.get("_query_params")
        if found is None:
            found = self.__dict__["_query_params"] = QueryParams(self.scope.get("query_string", b""))
        return found

    @property
    def path_params(self) -> dict[str, Any]:
        """The parameters of the matched path."""
        params: dict[str, Any] = self.scope.get("path_params", {})
        return params

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies the client sent."""
        found = self.__dict__.get("_cookies")
        if found is None:
            found = self.__dict__["_cookies"] = {}
            for header in self.headers.getlist("cookie"):
                found.update(parse_cookies(header))
        return found

    @property
    def client(self) -> Address | None:
        """Host and port of the peer, if known."""
        peer = self.scope.get("client")
        return Address(*peer) if peer is not None else None

    @property
    def session(self) -> dict[str, Any]:
        """The session; needs SessionMiddleware."""
        assert "session" in self.scope, "SessionMiddleware must be installed to access request.session"
        session: dict[str, Any] = self.scope["session"]
        return session

    @property
    def auth(self) -> Any:
        """Credentials set by an authentication middleware."""
        assert "auth" in self.scope, "AuthenticationMiddleware must be installed to access request.auth"
        return self.scope["auth"]

    @property
    def user(self) -> Any:
        """The user set by an authentication middleware."""
        assert "user" in self.scope, "AuthenticationMiddleware must be installed to access request.user"
        return self.scope["user"]

    @property
    def state(self) -> State:
        """State of this request; starts with what the lifespan yielded."""
        found = self.__dict__.get("_state")
        if found is None:
            # The dict in the scope is the state itself, so middleware and handler see the same attributes.
            self.scope.setdefault("state", {})
            found = self.__dict__["_state"] = State(self.scope["state"])
        return found

    def url_for(self, name: str, /, **path_params: Any) -> URL:
        """Return the absolute URL of the route ``name``."""
        provider = self.scope.get("router") or self.scope.get("app")
        if provider is None:
            raise RuntimeError("The `url_for` method can only be used inside a FasterAPI application.")
        path = provider.url_path_for(name, **path_params)
        url: URL = path.make_absolute_url(base_url=self.base_url)
        return url


class Request(HTTPConnection):
    """An HTTP request."""

    def __init__(self, scope: Scope, receive: Receive | None = None, send: Send | None = None) -> None:
        super().__init__(scope)
        self._receive: Receive = receive or _no_receive
        self._send: Send = send or _no_send
        self._stream_consumed = False
        self._is_disconnected = False
        self._form: FormData | None = None

    @property
    def method(self) -> str:
        """The request method in upper case."""
        method: str = self.scope["method"]
        return method

    @property
    def receive(self) -> Receive:
        """The ASGI receive channel."""
        return self._receive

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the body in pieces as it arrives."""
        body = self.__dict__.get("_body")
        if body is not None:
            yield body
            yield b""
            return
        if self._stream_consumed:
            raise RuntimeError("Stream consumed")
        while not self._stream_consumed:
            message = await self._receive()
            if message["type"] == "http.request":
                chunk = message.get("body", b"")
                if not message.get("more_body", False):
                    self._stream_consumed = True
                if chunk:
                    yield chunk
            elif message["type"] == "http.disconnect":
                self._is_disconnected = True
                raise ClientDisconnect()
        yield b""

    async def body(self) -> bytes:
        """Return the whole body."""
        found = self.__dict__.get("_body")
        if found is None:
            found = self.__dict__["_body"] = b"".join([chunk async for chunk in self.stream()])
        assert isinstance(found, bytes)
        return found

    async def json(self) -> Any:
        """Return the body decoded from JSON; ``json.JSONDecodeError`` when it is not JSON."""
        if "_json" not in self.__dict__:
            self.__dict__["_json"] = json.loads(await self.body())
        return self.__dict__["_json"]

    def form(
        self,
        *,
        max_files: int | float = 1000,
        max_fields: int | float = 1000,
        max_part_size: int = 1024 * 1024,
    ) -> _FormAwaitable:
        """Parse the form: ``await request.form()`` or ``async with request.form() as form`` (which closes
        its files).

        ``max_part_size`` (bytes) bounds each field that is not a file. HTTPException(400) when the body is
        malformed or a limit is passed.
        """
        return _FormAwaitable(self, max_files, max_fields, max_part_size)

    async def _read_form(self, max_files: float, max_fields: float, max_part_size: int) -> FormData:
        if self._form is None:
            content_type = self.headers.get("content-type", "")
            try:
                self._form = await _multipart.parse_form(
                    content_type,
                    self.stream(),
                    max_files=max_files,
                    max_fields=max_fields,
                    max_part_size=max_part_size,
                )
            except _multipart.FormError as exc:
                raise HTTPException(status_code=400, detail=str(exc)) from exc
        return self._form

    async def close(self) -> None:
        """Close the files of a parsed form."""
        if self._form is not None:
            await self._form.close()

    async def is_disconnected(self) -> bool:
        """Say whether the client has gone away."""
        if not self._is_disconnected:
            try:
                async with asyncio.timeout(0):
                    message = await self._receive()
            except TimeoutError:
                return False
            if message.get("type") == "http.disconnect":
                self._is_disconnected = True
        return self._is_disconnected

    async def send_push_promise(self, path: str) -> None:
        """Push ``path`` over HTTP/2 where the server can; otherwise do nothing."""
        if "http.response.push" in self.scope.get("extensions", {}):
            await self._send({"type": "http.response.push", "path": path, "headers": []})


class _FormAwaitable:
    """Result of ``Request.form()``: awaitable, or an async context manager that closes the files."""

    __slots__ = ("_limits", "_request")

    def __init__(self, request: Request, *limits: Any) -> None:
        self._request = request
        self._limits = limits

    def __await__(self) -> Any:
        return self._request._read_form(*self._limits).__await__()

    async def __aenter__(self) -> FormData:
        return await self._request._read_form(*self._limits)

    async def __aexit__(self, *exc: object) -> None:
        await self._request.close()


class SyncRequest(Request):
    """The request of a sync handler on the ASGI lane: the body is read beforehand, ``json()`` and ``body()``
    return it.
    """

    def body(self) -> bytes:  # type: ignore[override]
        """Return the whole body."""
        found: bytes = self.__dict__["_body"]
        return found

    def json(self) -> Any:
        """Return the body decoded from JSON."""
        return json.loads(self.__dict__["_body"])


__all__ = ["ClientDisconnect", "HTTPConnection", "Request"]
