"""Prepared statements."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import _pg
from .cursor import CursorFactory
from .types import Attribute, Type

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["PreparedStatement"]


def _type(column: _pg.Column) -> Type:
    name = column.type_name
    if column.type_kind == "array" and name.startswith("_"):
        name = f"{name[1:]}[]"  # as asyncpg shows them
    return Type(column.type_oid, name, column.type_kind, column.type_schema)


class PreparedStatement(_pg.BaseStatement):
    """A prepared statement of one connection; made by ``Connection.prepare()``.

    ``fetch``, ``fetchrow``, ``fetchval``, ``fetchmany``, ``execute`` and ``executemany`` are those of the
    connection without the query text.
    """

    def get_name(self) -> str:
        """Return the statement's name on the server."""
        return self.name

    def get_query(self) -> str:
        """Return the SQL text."""
        return self.query

    def get_statusmsg(self) -> str:
        """Return the command tag of the last execution, ``""`` before the first."""
        return self.status or ""

    def get_parameters(self) -> tuple[Type, ...]:
        """Return the types of the parameters."""
        return tuple(map(_type, self.parameters))

    def get_attributes(self) -> tuple[Attribute, ...]:
        """Return names and types of the result's columns."""
        return tuple(Attribute(column.name, _type(column)) for column in self.attributes)

    def cursor(
        self, *args: object, prefetch: int | None = None, timeout: float | None = None
    ) -> CursorFactory:
        """Return a cursor over the result; ``async for`` it, or await it for a ``Cursor``."""
        connection: Connection = self.connection  # type: ignore[assignment]
        return CursorFactory(connection, self, args, prefetch, timeout, None)

    async def explain(self, *args: object, analyze: bool = False) -> Any:
        """Return the plan as decoded JSON.

        With ``analyze`` the statement is executed, inside a transaction that is rolled back.
        """
        connection: Connection = self.connection  # type: ignore[assignment]
        options = "FORMAT JSON, VERBOSE, ANALYZE" if analyze else "FORMAT JSON, VERBOSE"
        sql = f"EXPLAIN ({options}) {self.query}"
        if not analyze:
            plan = await connection.fetchval(sql, *args)
        else:
            transaction = connection.transaction()
            await transaction.start()
            try:
                plan = await connection.fetchval(sql, *args)
            finally:
                await transaction.rollback()
        return json.loads(plan) if isinstance(plan, (str, bytes)) else plan
