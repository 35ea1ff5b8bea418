"""COPY in asyncpg's form: the methods are there, and say that this version does not do it."""

from __future__ import annotations

from typing import Any, NoReturn

from .exceptions import UnsupportedClientFeatureError


def _refuse(method: str) -> NoReturn:
    raise UnsupportedClientFeatureError(
        f"{method}() is not implemented in this version",
        hint="Use executemany() to load rows and cursor() to read many.",
    )


class CopyMethods:
    """The COPY methods of connections and pools; each raises ``UnsupportedClientFeatureError``."""

    async def copy_from_table(self, table_name: str, *, output: Any, **options: Any) -> str:
        """Not implemented: raises ``UnsupportedClientFeatureError``."""
        _refuse("copy_from_table")

    async def copy_from_query(self, query: str, *args: Any, output: Any, **options: Any) -> str:
        """Not implemented: raises ``UnsupportedClientFeatureError``."""
        _refuse("copy_from_query")

    async def copy_to_table(self, table_name: str, *, source: Any, **options: Any) -> str:
        """Not implemented: raises ``UnsupportedClientFeatureError``."""
        _refuse("copy_to_table")

    async def copy_records_to_table(self, table_name: str, *, records: Any, **options: Any) -> str:
        """Not implemented: raises ``UnsupportedClientFeatureError``."""
        _refuse("copy_records_to_table")
