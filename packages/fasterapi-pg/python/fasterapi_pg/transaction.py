"""Transactions of a connection; inside one, savepoints."""

from __future__ import annotations

import enum
import itertools
from types import TracebackType
from typing import TYPE_CHECKING

from .exceptions import InterfaceError

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Transaction", "TransactionState"]

_ISOLATION = {
    "serializable": "SERIALIZABLE",
    "repeatable_read": "REPEATABLE READ",
    "read_committed": "READ COMMITTED",
    "read_uncommitted": "READ UNCOMMITTED",
}

_savepoints = itertools.count(1)


class TransactionState(enum.Enum):
    """Where a ``Transaction`` object is in its life."""

    NEW = 0
    STARTED = 1
    COMMITTED = 2
    ROLLEDBACK = 3
    FAILED = 4


def begin_statement(isolation: str | None, readonly: bool, deferrable: bool) -> str:
    """Return the BEGIN for these options; raises ``ValueError`` for an unknown isolation level."""
    if isolation is not None and isolation not in _ISOLATION:
        raise ValueError(f"isolation must be one of {', '.join(sorted(_ISOLATION))}, not {isolation!r}")
    sql = "BEGIN"
    if isolation is not None:
        sql += f" ISOLATION LEVEL {_ISOLATION[isolation]}"
    if readonly:
        sql += " READ ONLY"
    if deferrable:
        sql += " DEFERRABLE"
    return sql


def next_savepoint() -> str:
    """Return a savepoint name that no other of this process has."""
    return f"fasterapi_sp_{next(_savepoints)}"


class Transaction:
    """A transaction, or a savepoint when the connection is in one already.

    Made by ``Connection.transaction()``. Use it in ``async with`` (an exception rolls back), or call
    ``start()``, then ``commit()`` or ``rollback()``.
    """

    __slots__ = (
        "_connection",
        "_deferrable",
        "_isolation",
        "_managed",
        "_nested",
        "_readonly",
        "_savepoint",
        "_sql",
        "_state",
    )

    def __init__(
        self, connection: Connection, isolation: str | None, readonly: bool, deferrable: bool
    ) -> None:
        self._sql = begin_statement(isolation, readonly, deferrable)
        self._connection = connection
        self._isolation = isolation
        self._readonly = readonly
        self._deferrable = deferrable
        self._state = TransactionState.NEW
        self._nested = False
        self._managed = False
        self._savepoint = ""

    async def __aenter__(self) -> None:
        if self._managed:
            raise InterfaceError("cannot enter context: already in an `async with` block")
        self._managed = True
        await self.start()

    async def __aexit__(
        self, extype: type[BaseException] | None, ex: BaseException | None, tb: TracebackType | None
    ) -> None:
        try:
            if extype is None:
                await self._commit()
            elif self._connection.is_closed():
                # The server rolls back by itself; the error that ended the block is the one to see.
                self._end(TransactionState.FAILED)
            else:
                await self._rollback()
        finally:
            self._managed = False

    async def start(self) -> None:
        """Begin the transaction (or set the savepoint)."""
        if self._state is TransactionState.STARTED:
            raise InterfaceError("cannot start; the transaction is already started")
        self._check_new("start")
        connection = self._connection
        top = connection._top_xact
        if top is None:
            if connection.is_in_transaction():
                raise InterfaceError("cannot use Connection.transaction() in a manually started transaction")
            connection._top_xact = self
            sql = self._sql
        else:
            self._check_nested(top)
            self._nested = True
            self._savepoint = next_savepoint()
            sql = f"SAVEPOINT {self._savepoint}"
        try:
            await connection.simple(sql)
        except BaseException:
            self._end(TransactionState.FAILED)
            raise
        self._state = TransactionState.STARTED

    def _check_nested(self, top: Transaction) -> None:
        if self._isolation is not None and self._isolation != top._isolation:
            raise InterfaceError(
                f"nested transaction has a different isolation level: current {self._isolation!r} != outer "
                f"{top._isolation!r}"
            )
        if self._readonly and not top._readonly:
            raise InterfaceError("a nested transaction cannot be read-only in one that is not")

    async def commit(self) -> None:
        """Commit (or release the savepoint)."""
        if self._managed:
            raise InterfaceError("cannot manually commit from within an `async with` block")
        await self._commit()

    async def rollback(self) -> None:
        """Roll back (to the savepoint)."""
        if self._managed:
            raise InterfaceError("cannot manually rollback from within an `async with` block")
        await self._rollback()

    async def _commit(self) -> None:
        self._check_started("commit")
        await self._finish(
            f"RELEASE SAVEPOINT {self._savepoint}" if self._nested else "COMMIT", TransactionState.COMMITTED
        )

    async def _rollback(self) -> None:
        self._check_started("rollback")
        await self._finish(
            f"ROLLBACK TO {self._savepoint}" if self._nested else "ROLLBACK", TransactionState.ROLLEDBACK
        )

    async def _finish(self, sql: str, state: TransactionState) -> None:
        try:
            await self._connection.simple(sql)
        except BaseException:
            self._end(TransactionState.FAILED)
            raise
        self._end(state)

    def _end(self, state: TransactionState) -> None:
        self._state = state
        if self._connection._top_xact is self:
            self._connection._top_xact = None

    def _check_new(self, verb: str) -> None:
        if self._state is TransactionState.COMMITTED:
            raise InterfaceError(f"cannot {verb}; the transaction is already committed")
        if self._state is TransactionState.ROLLEDBACK:
            raise InterfaceError(f"cannot {verb}; the transaction is already rolled back")
        if self._state is TransactionState.FAILED:
            raise InterfaceError(f"cannot {verb}; the transaction is in error state")

    def _check_started(self, verb: str) -> None:
        if self._state is not TransactionState.STARTED:
            if self._state is TransactionState.NEW:
                raise InterfaceError(f"cannot {verb}; the transaction is not yet started")
            self._check_new(verb)

    def __repr__(self) -> str:
        words = [f"state:{self._state.name.lower()}"]
        if self._isolation is not None:
            words.append(self._isolation)
        if self._readonly:
            words.append("readonly")
        if self._deferrable:
            words.append("deferrable")
        return f"<{type(self).__module__}.{type(self).__qualname__} {' '.join(words)} {id(self):#x}>"
