"""``Record`` where code written for asyncpg looks for it."""

from ._pg import Record

__all__ = ["Record"]
