"""Programs from asyncpg's documentation, with one line changed: ``import fasterapi_pg as asyncpg``."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import json
from typing import Any

import fasterapi_pg as asyncpg
import pytest


async def test_usage(pg_dsn: str) -> None:
    conn = await asyncpg.connect(pg_dsn)
    await conn.execute("DROP TABLE IF EXISTS doc_users")
    await conn.execute(
        """
        CREATE TABLE doc_users(
            id serial PRIMARY KEY,
            name text,
            dob date
        )
    """
    )
    await conn.execute(
        """
        INSERT INTO doc_users(name, dob) VALUES($1, $2)
    """,
        "Bob",
        datetime.date(1984, 3, 1),
    )
    row = await conn.fetchrow("SELECT * FROM doc_users WHERE name = $1", "Bob")
    assert row is not None
    assert repr(row) == "<Record id=1 name='Bob' dob=datetime.date(1984, 3, 1)>"
    await conn.execute("DROP TABLE doc_users")
    await conn.close()


async def test_automatic_json_conversion(pg_dsn: str) -> None:
    conn = await asyncpg.connect(pg_dsn)
    try:
        await conn.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
        data = {"foo": "bar", "spam": 1}
        res = await conn.fetchval("SELECT $1::json", data)
        assert res == data
    finally:
        await conn.close()


async def test_custom_codec_complex(pg_dsn: str) -> None:
    conn = await asyncpg.connect(pg_dsn)
    try:
        await conn.execute("DROP TYPE IF EXISTS doc_complex; CREATE TYPE doc_complex AS (r float, i float)")
        await conn.set_type_codec(
            "doc_complex",
            encoder=lambda x: (x.real, x.imag),
            decoder=lambda t: complex(t[0], t[1]),
            format="tuple",
        )
        res = await conn.fetchval("SELECT $1::doc_complex", (1 + 2j))
        assert res == (1 + 2j)
        await conn.execute("DROP TYPE doc_complex")
    finally:
        await conn.close()


async def test_decoding_numeric_as_float(pg_dsn: str) -> None:
    conn = await asyncpg.connect(pg_dsn)
    try:
        await conn.set_type_codec("numeric", encoder=str, decoder=float, schema="pg_catalog", format="text")
        res = await conn.fetchval("SELECT $1::numeric", 11.123)
        assert res == 11.123
        await conn.reset_type_codec("numeric", schema="pg_catalog")
        assert await conn.fetchval("SELECT 1.5::numeric") == decimal.Decimal("1.5")
    finally:
        await conn.close()


async def test_hstore(pg_dsn: str) -> None:
    conn = await asyncpg.connect(pg_dsn)
    try:
        try:
            await conn.execute("CREATE EXTENSION IF NOT EXISTS hstore")
        except asyncpg.PostgresError:
            pytest.skip("this server has no hstore extension")
        await conn.set_builtin_type_codec("hstore", codec_name="pg_contrib.hstore")
        result = await conn.fetchval("SELECT 'a=>1, b=>NULL'::hstore")
        assert result == {"a": "1", "b": None}
        assert await conn.fetchval("SELECT $1::hstore -> 'x'", {"x": "y", "n": None}) == "y"
    finally:
        await conn.close()


async def test_transactions(pg_dsn: str) -> None:
    connection = await asyncpg.connect(pg_dsn)
    async with connection.transaction():
        await connection.execute("CREATE TEMP TABLE mytab (a int)")
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO mytab(a) VALUES(1), (2)")
                raise Exception
        except Exception:
            pass
        result = await connection.fetch("SELECT a FROM mytab")
        assert result == []
    await connection.close()


async def test_connection_pool_web_service(pg_dsn: str) -> None:
    async def handle(pool: asyncpg.Pool, power: int) -> str:
        async with pool.acquire() as connection:
            async with connection.transaction():
                result = await connection.fetchval("select 2 ^ $1", power)
                return f"2 ^ {power} is {result}"

    async with asyncpg.create_pool(dsn=pg_dsn, command_timeout=60, min_size=1, max_size=3) as pool:
        answers = await asyncio.gather(*(handle(pool, n) for n in range(10)))
    assert answers[8] == "2 ^ 8 is 256.0"


async def test_cursor_usage(pg_dsn: str) -> None:
    con = await asyncpg.connect(pg_dsn)
    async with con.transaction():
        values = []
        async for record in con.cursor("SELECT generate_series(0, 100)"):
            values.append(record[0])
        assert values == list(range(101))
        cur = await con.cursor("SELECT generate_series(0, 100)")
        first = await cur.fetchrow()
        assert first is not None
        assert await cur.forward(10) == 10
        second = await cur.fetchrow()
        assert second is not None
        assert (first[0], second[0]) == (0, 11)
    await con.close()


async def test_prepared_statements(pg_dsn: str) -> None:
    conn = await asyncpg.connect(pg_dsn)
    stmt = await conn.prepare("""SELECT 2 ^ $1""")
    assert (await stmt.fetchval(10), await stmt.fetchval(20)) == (1024.0, 1048576.0)
    await conn.close()


async def test_pool_init_hook_with_codecs(pg_dsn: str) -> None:
    async def init_connection(conn: Any) -> None:
        await conn.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")

    async with asyncpg.create_pool(pg_dsn, init=init_connection, min_size=1, max_size=2) as pool:
        assert await pool.fetchval("select $1::jsonb", {"a": 1}) == {"a": 1}
        async with pool.acquire() as con:
            assert await con.fetchval("select '{\"b\": [2]}'::jsonb") == {"b": [2]}


async def test_create_task_and_gather_take_queries(pg_dsn: str) -> None:
    async with asyncpg.create_pool(pg_dsn, min_size=1, max_size=2) as pool:
        fetchval: Any = pool.fetchval
        task = asyncio.create_task(fetchval("select 1"))
        assert await task == 1
        assert list(await asyncio.gather(fetchval("select 2"), fetchval("select 3"))) == [2, 3]
        assert await asyncio.wait_for(pool.fetchval("select 4"), 5) == 4
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(fetchval("select $1::int", i)) for i in range(5)]
        assert [t.result() for t in tasks] == list(range(5))


async def test_copy_says_that_it_is_not_there(pg_dsn: str) -> None:
    con = await asyncpg.connect(pg_dsn)
    calls = [
        con.copy_from_table("t", output="x"),
        con.copy_from_query("select 1", output="x"),
        con.copy_to_table("t", source="x"),
        con.copy_records_to_table("t", records=[(1,)]),
    ]
    for call in calls:
        with pytest.raises(asyncpg.UnsupportedClientFeatureError, match="not implemented"):
            await call
    for script in ("copy (select 1) to stdout", "copy pg_class from stdin"):
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)):
            await con.execute(script)
    assert await con.fetchval("select 1") == 1
    await con.close()
