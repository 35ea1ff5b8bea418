"""``PgPool``: one pool for blocking and for asynchronous code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from . import _pg
from .connection import Connection
from .exceptions import InFailedSQLTransactionError, InterfaceError
from .pool import Pool
from .transaction import begin_statement, next_savepoint

if TYPE_CHECKING:
    from fasterapi_core import Future

    from ._result import Result

__all__ = ["PgPool", "Tx"]


#: The innermost transaction of this task or thread.
_current: ContextVar[Tx | None] = ContextVar("fasterapi_pg.transaction", default=None)


class _Done:
    """What ``close()`` returns when it has done its work already: awaiting it is allowed and does nothing."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class PgPool(Pool):
    """A pool that may be made at import time and used from the loop, from threads and from plain scripts.

    Blocking code calls ``exec(sql, *args)`` and uses ``with pool.tx() as tx``. Coroutines await
    ``exec_async``, ``fetch``, ``fetchrow``, ``fetchval`` and ``execute``, and use ``async with pool.tx() as
    tx``. A blocking call on the thread of a running loop would stop that loop: it raises
    ``InterfaceError``.

    Inside the block of ``tx()`` the pool's own methods join that transaction, in the same task or thread:
    ``with pool.tx(): pool.exec(...)``. Tasks started inside join it while it is open.

    No connection is opened before the first use. The options are those of ``create_pool``.

    >>> pg = PgPool("postgresql://app@localhost/shop", min_size=2, max_size=8)
    >>> pg.exec("select name from product where id = $1", 7).scalar()
    'tea'
    """

    def __init__(
        self, dsn: str | None = None, *, min_size: int = 1, max_size: int = 10, **options: Any
    ) -> None:
        super().__init__(dsn, min_size=min(min_size, max_size), max_size=max_size, **options)

    def _joined(self) -> Tx | None:
        tx = _current.get()
        while tx is not None and (tx._pool is not self or tx._connection is None):
            tx = tx._outer
        return tx

    def exec(self, query: str, /, *args: object, timeout: float | None = None) -> Result:
        """Run a statement and return its ``Result``; blocks."""
        if _current.get() is not None and (tx := self._joined()) is not None:
            return tx.exec(query, *args, timeout=timeout)
        return super().exec(query, *args, timeout=timeout)

    def exec_async(self, query: str, /, *args: object, timeout: float | None = None) -> Future[Result]:
        """Run a statement; awaiting it gives the ``Result``."""
        if _current.get() is not None and (tx := self._joined()) is not None:
            return tx.exec_async(query, *args, timeout=timeout)
        return self.query(query, *args, timeout=timeout)  # type: ignore[return-value]

    def fetch(self, query: str, /, *args: object, **options: Any) -> Future[list[_pg.Record]]:
        """Return all rows. Options: ``timeout`` in seconds, ``record_class``."""
        if _current.get() is not None and (tx := self._joined()) is not None:
            return tx.connection.fetch(query, *args, **options)
        return super().fetch(query, *args, **options)

    def fetchrow(self, query: str, /, *args: object, **options: Any) -> Future[_pg.Record | None]:
        """Return the first row or ``None``. Options: ``timeout`` in seconds, ``record_class``."""
        if _current.get() is not None and (tx := self._joined()) is not None:
            return tx.connection.fetchrow(query, *args, **options)
        return super().fetchrow(query, *args, **options)

    def fetchval(self, query: str, /, *args: object, **options: Any) -> Future[Any]:
        """Return one value of the first row, ``None`` without rows. Options: ``column``, ``timeout``."""
        if _current.get() is not None and (tx := self._joined()) is not None:
            return tx.connection.fetchval(query, *args, **options)
        return super().fetchval(query, *args, **options)

    def execute(self, query: str, /, *args: object, timeout: float | None = None) -> Future[str]:
        """Run a statement (without arguments: a script) and return the command tag."""
        if _current.get() is not None and (tx := self._joined()) is not None:
            return tx.connection.execute(query, *args, timeout=timeout)
        return super().execute(query, *args, timeout=timeout)

    def executemany(self, query: str, args: Any, /, *, timeout: float | None = None) -> Future[None]:
        """Run a statement once for each tuple of arguments."""
        if _current.get() is not None and (tx := self._joined()) is not None:
            return tx.connection.executemany(query, args, timeout=timeout)
        return super().executemany(query, args, timeout=timeout)

    def tx(
        self,
        *,
        isolation: str | None = None,
        readonly: bool = False,
        deferrable: bool = False,
        timeout: float | None = None,
    ) -> Tx:
        """Return a transaction for ``with`` (blocking code) or ``async with`` (coroutines).

        It commits at the end of the block and rolls back when an exception leaves it. ``timeout`` (seconds)
        is the time to wait for a connection.
        """
        return Tx(self, isolation=isolation, readonly=readonly, deferrable=deferrable, timeout=timeout)

    def tx_async(
        self,
        *,
        isolation: str | None = None,
        readonly: bool = False,
        deferrable: bool = False,
        timeout: float | None = None,
    ) -> Tx:
        """Return a transaction; the same as ``tx()``, for those who like to see it in the name."""
        return Tx(self, isolation=isolation, readonly=readonly, deferrable=deferrable, timeout=timeout)

    def close(self, *, timeout: float | None = None) -> Awaitable[None]:  # type: ignore[override]
        """Close the pool when its work in progress has ended; what is left after ``timeout`` seconds is cut.

        Blocks in blocking code. Where a loop is running it returns at once, and the result is to be awaited.
        """
        if _on_loop():
            return super().close(timeout=timeout)
        self.close_blocking(timeout=timeout)
        return _Done()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, extype: type[BaseException] | None, ex: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


class Tx:
    """A transaction of a ``PgPool`` on a connection of its own.

    In ``with`` use ``exec()``; in ``async with`` use ``exec_async``, ``fetch``, ``fetchrow``, ``fetchval``,
    ``execute``, ``executemany``. ``tx.tx()`` is a savepoint.
    """

    __slots__ = ("_begin", "_connection", "_outer", "_parent", "_pool", "_savepoint", "_timeout", "_token")

    def __init__(
        self,
        pool: PgPool,
        *,
        isolation: str | None = None,
        readonly: bool = False,
        deferrable: bool = False,
        timeout: float | None = None,
        parent: Tx | None = None,
    ) -> None:
        self._pool = pool
        self._begin = begin_statement(isolation, readonly, deferrable)
        self._timeout = timeout
        self._parent = parent
        self._connection: Connection | None = None
        self._savepoint = ""
        self._outer: Tx | None = None
        self._token: Token[Tx | None] | None = None

    # ------------------------------------------------------------------------------------------- blocking
    def __enter__(self) -> Self:
        self._check_new()
        if _on_loop():
            raise InterfaceError(
                "'with pool.tx()' would block the running event loop; use 'async with pool.tx()'"
            )
        if self._parent is not None:
            connection = self._parent.connection
            connection.exec_script(self._set_savepoint())
        else:
            connection = self._pool.acquire_blocking(timeout=self._timeout)
            try:
                connection.exec_script(self._begin)
            except BaseException:
                _pg.BasePool.release(self._pool, connection)
                raise
        self._opened(connection)
        return self

    def __exit__(
        self, extype: type[BaseException] | None, ex: BaseException | None, tb: TracebackType | None
    ) -> None:
        connection = self._taken()
        try:
            if connection.closed:
                if extype is None:
                    raise InterfaceError("connection is closed; the transaction was not committed")
            else:
                self._check_end(connection.exec_script(self._end_statement(extype is None)), extype is None)
        finally:
            self._give_back(connection)

    def exec(self, query: str, /, *args: object, timeout: float | None = None) -> Result:
        """Run a statement in the transaction and return its ``Result``; blocks."""
        return self.connection.exec(query, *args, timeout=timeout)  # type: ignore[return-value]

    # ---------------------------------------------------------------------------------------- asynchronous
    async def __aenter__(self) -> Self:
        self._check_new()
        if self._parent is not None:
            connection = self._parent.connection
            await connection.simple(self._set_savepoint())
        else:
            connection = await self._pool.acquire(timeout=self._timeout)
            try:
                await connection.simple(self._begin)
            except BaseException:
                _pg.BasePool.release(self._pool, connection)
                raise
        self._opened(connection)
        return self

    async def __aexit__(
        self, extype: type[BaseException] | None, ex: BaseException | None, tb: TracebackType | None
    ) -> None:
        connection = self._taken()
        try:
            if connection.closed:
                if extype is None:
                    raise InterfaceError("connection is closed; the transaction was not committed")
            else:
                self._check_end(await connection.simple(self._end_statement(extype is None)), extype is None)
        finally:
            self._give_back(connection)

    def exec_async(self, query: str, /, *args: object, timeout: float | None = None) -> Future[Result]:
        """Run a statement in the transaction; awaiting it gives the ``Result``."""
        return self.connection.query(query, *args, timeout=timeout)  # type: ignore[return-value]

    def fetch(self, query: str, /, *args: object, timeout: float | None = None) -> Future[list[_pg.Record]]:
        """Return all rows."""
        return self.connection.fetch(query, *args, timeout=timeout)

    def fetchrow(
        self, query: str, /, *args: object, timeout: float | None = None
    ) -> Future[_pg.Record | None]:
        """Return the first row or ``None``."""
        return self.connection.fetchrow(query, *args, timeout=timeout)

    def fetchval(
        self, query: str, /, *args: object, column: int | str = 0, timeout: float | None = None
    ) -> Future[Any]:
        """Return one value of the first row, ``None`` without rows."""
        return self.connection.fetchval(query, *args, column=column, timeout=timeout)

    def execute(self, query: str, /, *args: object, timeout: float | None = None) -> Future[str]:
        """Run a statement (without arguments: a script) and return the command tag."""
        return self.connection.execute(query, *args, timeout=timeout)

    def executemany(self, query: str, args: Any, /, *, timeout: float | None = None) -> Future[None]:
        """Run a statement once for each tuple of arguments."""
        return self.connection.executemany(query, args, timeout=timeout)

    # ---------------------------------------------------------------------------------------------- common
    def tx(self) -> Tx:
        """Return a savepoint in this transaction, for ``with`` or ``async with``."""
        return Tx(self._pool, parent=self)

    tx_async = tx

    @property
    def connection(self) -> Connection:
        """The leased connection; raises ``InterfaceError`` outside of the block."""
        if self._connection is None:
            raise InterfaceError("the transaction is not open; use it inside its 'with' block")
        return self._connection

    def _check_new(self) -> None:
        if self._connection is not None:
            raise InterfaceError("the transaction is open already")

    def _set_savepoint(self) -> str:
        self._savepoint = next_savepoint()
        return f"SAVEPOINT {self._savepoint}"

    def _end_statement(self, commit: bool) -> str:
        if self._parent is not None:
            return f"RELEASE SAVEPOINT {self._savepoint}" if commit else f"ROLLBACK TO {self._savepoint}"
        return "COMMIT" if commit else "ROLLBACK"

    @staticmethod
    def _check_end(tag: str, commit: bool) -> None:
        # The server answers COMMIT of a failed transaction with a rollback, and does not call that an error.
        if commit and tag == "ROLLBACK":
            raise InFailedSQLTransactionError(
                "the transaction was rolled back: a statement in it had failed and the error was ignored"
            )

    def _opened(self, connection: Connection) -> None:
        self._connection = connection
        self._outer = _current.get()
        self._token = _current.set(self)

    def _taken(self) -> Connection:
        connection = self.connection
        self._connection = None
        if self._token is not None:
            try:
                _current.reset(self._token)
            except ValueError:  # ended in another context than it began in; closed as it is, it joins nobody
                pass
            self._token = None
        return connection

    def _give_back(self, connection: Connection) -> None:
        if self._parent is None:
            _pg.BasePool.release(self._pool, connection)
