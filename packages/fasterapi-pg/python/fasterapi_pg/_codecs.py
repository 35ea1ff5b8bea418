"""Lookup of types by name and the codecs that are chosen by name."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .exceptions import InterfaceError, UnsupportedClientFeatureError

if TYPE_CHECKING:
    from .connection import Connection

_TYPE_QUERY = """
SELECT t.oid, t.typtype::text AS kind, t.typelem != 0 AND t.typlen = -1 AS is_array
FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.typname = $1 AND n.nspname = $2
"""
# asyncpg looks for these spellings of the SQL standard too
_STANDARD_NAMES = {
    "bigint": "int8",
    "bit varying": "varbit",
    "boolean": "bool",
    "character": "bpchar",
    "character varying": "varchar",
    "decimal": "numeric",
    "double precision": "float8",
    "int": "int4",
    "integer": "int4",
    "real": "float4",
    "smallint": "int2",
    "time with time zone": "timetz",
    "time without time zone": "time",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}


async def type_oid(connection: Connection, typename: str, schema: str, *, composite: bool) -> int:
    """Return the OID of a type that may get a codec; raises ``ValueError`` for an unknown one."""
    name = _STANDARD_NAMES.get(typename, typename) if schema == "pg_catalog" else typename
    row = await connection.fetchrow(_TYPE_QUERY, name, schema)
    if row is None:
        raise ValueError(f"unknown type: {schema}.{typename}")
    if row["is_array"] or row["kind"] == "p":
        raise InterfaceError(
            f"cannot use custom codec on type {schema}.{typename}: it is not a scalar or composite type"
        )
    if composite and row["kind"] != "c":
        raise UnsupportedClientFeatureError("the 'tuple' format is for composite types only")
    if composite:
        # The driver has to know what the type is made of before a codec can take it apart.
        await connection.fetchval(f"SELECT NULL::{_quoted(schema)}.{_quoted(name)}")
    return int(row["oid"])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# ------------------------------------------------------------------------------------------------- hstore
def _hstore_encode(value: dict[str, str | None]) -> bytes:
    out = [struct.pack("!i", len(value))]
    for key, text in value.items():
        raw = key.encode()
        out.append(struct.pack("!i", len(raw)) + raw)
        if text is None:
            out.append(struct.pack("!i", -1))
        else:
            raw = text.encode()
            out.append(struct.pack("!i", len(raw)) + raw)
    return b"".join(out)


def _hstore_decode(data: bytes) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    (count,) = struct.unpack_from("!i", data)
    at = 4

    def text() -> str | None:
        nonlocal at
        (size,) = struct.unpack_from("!i", data, at)
        at += 4
        if size < 0:
            return None
        if at + size > len(data):
            raise ValueError("hstore value is cut short")
        at += size
        return bytes(data[at - size : at]).decode()

    for _ in range(count):
        key = text()
        if key is None:
            raise ValueError("hstore key is NULL")
        found[key] = text()
    return found


async def set_named_codec(connection: Connection, typename: str, schema: str, codec_name: str) -> None:
    """Attach the codec ``codec_name`` (``pg_contrib.hstore``) to a type."""
    if codec_name != "pg_contrib.hstore":
        raise UnsupportedClientFeatureError(
            f"codec {codec_name!r} is not implemented; there is 'pg_contrib.hstore'"
        )
    oid = await type_oid(connection, typename, schema, composite=False)
    connection.set_codec(oid, _hstore_encode, _hstore_decode, "binary")
