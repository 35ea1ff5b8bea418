"""``Request`` over the native server's request object: the same interface, nothing built that is not asked
for.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

from ._cleanup import CleanupStack
from .datastructures import URL, Address, Headers, QueryParams, State
from .requests import Request
from .types import Message, Receive, Scope, Send


class NativeRequest(Request):
    """What handlers get for ``request: Request`` on the native lane."""

    _stream_consumed = False
    _is_disconnected = False
    _form = None

    def __init__(self, native: Any, cleanup: CleanupStack | None = None) -> None:
        self._native = native
        self._cleanup = cleanup

    @property
    def scope(self) -> Scope:  # type: ignore[override]
        """The ASGI scope, built when somebody asks for it."""
        found: Scope | None = self.__dict__.get("_scope")
        if found is None:
            found = self.__dict__["_scope"] = dict(self._native.scope)
            app = self._native.app
            found["app"] = app
            found["router"] = app.router
            found["root_path"] = app.root_path or found.get("root_path", "")
            found["path_params"] = self.path_params
            found.setdefault("state", self._native_state())
            if self._cleanup is not None:
                found["fasterapi.cleanup"] = self._cleanup
        return found

    def _native_state(self) -> dict[str, Any]:
        state = self.__dict__.get("_state")
        return state._state if state is not None else dict(self._native.app.lifespan_state)

    @property
    def app(self) -> Any:
        return self._native.app

    @property
    def client(self) -> Address | None:
        peer = self._native.client or self._native.app.test_peer
        return Address(*peer) if peer is not None else None

    @property
    def method(self) -> str:
        method: str = self._native.method
        return method

    @property
    def url(self) -> URL:
        found: URL | None = self.__dict__.get("_url")
        if found is None:
            found = self.__dict__["_url"] = URL(str(self._native.url))
        return found

    @property
    def headers(self) -> Headers:
        found: Headers | None = self.__dict__.get("_headers")
        if found is None:
            found = self.__dict__["_headers"] = Headers(raw=self._native.headers.raw)
        return found

    @property
    def query_params(self) -> QueryParams:
        found: QueryParams | None = self.__dict__.get("_query_params")
        if found is None:
            found = self.__dict__["_query_params"] = QueryParams(self._native.query_string)
        return found

    @property
    def path_params(self) -> dict[str, Any]:
        params: dict[str, Any] = self._native.path_params
        return params

    @property
    def state(self) -> State:
        found: State | None = self.__dict__.get("_state")
        if found is None:
            state = self.__dict__["_scope"]["state"] if "_scope" in self.__dict__ else self._native_state()
            found = self.__dict__["_state"] = State(state)
        return found

    @property
    def receive(self) -> Receive:
        """An ASGI receive channel that replays the body, for code that makes a Request of its own."""
        return self._replay

    @property
    def _receive(self) -> Receive:  # type: ignore[override]
        return self._replay

    @property
    def _send(self) -> Send:  # type: ignore[override]
        return _refuse_send

    async def _replay(self) -> Message:
        return {"type": "http.request", "body": await self.body(), "more_body": False}

    async def body(self) -> bytes:
        found = self.__dict__.get("_body")
        if found is None:
            data = self._native.body()
            found = self.__dict__["_body"] = await data if inspect.isawaitable(data) else data
        assert isinstance(found, bytes)
        return found

    async def stream(self) -> AsyncIterator[bytes]:
        if "_body" in self.__dict__:
            yield self.__dict__["_body"]
            yield b""
            return
        if self._stream_consumed:
            raise RuntimeError("Stream consumed")
        self._stream_consumed = True
        pieces = self._native.stream()
        if hasattr(pieces, "__aiter__"):
            async for piece in pieces:
                yield piece
        else:
            for piece in pieces:
                yield piece
        yield b""

    async def is_disconnected(self) -> bool:
        gone = self._native.is_disconnected()
        return bool(await gone if inspect.isawaitable(gone) else gone)


async def _refuse_send(message: Message) -> None:
    raise RuntimeError("Send channel has not been made available")
