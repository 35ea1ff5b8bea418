"""Server-side cursors: a large result is read in portions, inside a transaction."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Self

from . import _pg
from .exceptions import InterfaceError, NoActiveSQLTransactionError, UnsupportedClientFeatureError

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["BaseCursor", "Cursor", "CursorFactory", "CursorIterator"]

DEFAULT_PREFETCH = 50


class CursorFactory:
    """What ``Connection.cursor()`` returns: ``async for`` it, or await it for a ``Cursor``."""

    __slots__ = ("_args", "_connection", "_prefetch", "_query", "_timeout")

    def __init__(
        self,
        connection: Connection,
        query: str | _pg.BaseStatement,
        args: tuple[object, ...],
        prefetch: int | None,
        timeout: float | None,
        record_class: type[_pg.Record] | None,
    ) -> None:
        if record_class is not None:
            raise UnsupportedClientFeatureError(
                "a cursor takes the connection's record_class, not one of its own"
            )
        if prefetch is not None and prefetch <= 0:
            raise InterfaceError("prefetch argument must be greater than zero")
        self._connection = connection
        self._query = query
        self._args = args
        self._prefetch = prefetch
        self._timeout = timeout

    def __aiter__(self) -> CursorIterator:
        return CursorIterator(self)

    def __await__(self) -> Generator[Any, None, Cursor]:
        if self._prefetch is not None:
            raise InterfaceError("prefetch argument can only be specified for iterable cursor")
        return self._cursor().__await__()

    async def _cursor(self) -> Cursor:
        cursor = Cursor(self)
        await cursor._open()
        return cursor


class BaseCursor:
    """The open portal behind both kinds of cursor."""

    __slots__ = ("_connection", "_exhausted", "_factory", "_portal")

    def __init__(self, factory: CursorFactory) -> None:
        self._factory = factory
        self._connection = factory._connection
        self._portal: _pg.Portal | None = None
        self._exhausted = False

    async def _open(self) -> None:
        factory = self._factory
        if not self._connection.is_in_transaction():
            # The portal ends with the transaction, and without one that is at once.
            raise NoActiveSQLTransactionError("cursor cannot be created outside of a transaction")
        self._portal = await self._connection.portal(factory._query, *factory._args, timeout=factory._timeout)

    async def _fetch(self, limit: int, timeout: float | None) -> list[_pg.Record]:
        if self._exhausted:
            return []
        if self._portal is None:
            await self._open()
        assert self._portal is not None
        rows = await self._portal.fetch(limit, timeout=timeout)
        self._exhausted = self._portal.exhausted
        return rows

    def __repr__(self) -> str:
        state = "exhausted" if self._exhausted else "open" if self._portal is not None else "new"
        query = self._factory._query
        text = query if isinstance(query, str) else query.query
        return f"<{type(self).__module__}.{type(self).__qualname__} {state} {text!r}>"


class CursorIterator(BaseCursor):
    """Reads ``prefetch`` rows at a time."""

    __slots__ = ("_rows",)

    def __init__(self, factory: CursorFactory) -> None:
        super().__init__(factory)
        self._rows: deque[_pg.Record] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _pg.Record:
        if not self._rows:
            factory = self._factory
            self._rows.extend(await self._fetch(factory._prefetch or DEFAULT_PREFETCH, factory._timeout))
            if not self._rows:
                raise StopAsyncIteration
        return self._rows.popleft()


class Cursor(BaseCursor):
    """A cursor that is moved by hand, forwards only."""

    __slots__ = ()

    async def fetch(self, n: int, *, timeout: float | None = None) -> list[_pg.Record]:
        """Return at most the next ``n`` rows."""
        if n <= 0:
            raise InterfaceError("n must be greater than zero")
        return await self._fetch(n, timeout)

    async def fetchrow(self, *, timeout: float | None = None) -> _pg.Record | None:
        """Return the next row, ``None`` after the last."""
        rows = await self._fetch(1, timeout)
        return rows[0] if rows else None

    async def forward(self, n: int, *, timeout: float | None = None) -> int:
        """Skip at most ``n`` rows; return how many were skipped."""
        if n <= 0:
            raise InterfaceError("n must be greater than zero")
        return len(await self._fetch(n, timeout))
