"""One driver's run in a process of its own: ``drivers.py DRIVER DSN SECONDS`` prints JSON.

Each workload runs for SECONDS; the figure is CPU time of this process per query, and queries per second.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

KEY = "select id, name, price, stock, tags, created from bench_item where id = $1"
MIXED = "select * from bench_item order by id limit 100"
INTS = "select i from generate_series(1, 1000) as g(i)"
BLOB = "select blob from bench_blob"
SETUP = """
drop table if exists bench_item, bench_blob, bench_sink;
create table bench_item as select i as id, 'item ' || i as name, i * 1.25::float8 as price, i % 100 as stock,
    array['a', 'b'] as tags, now() as created, (i * 3)::bigint as big, i % 2 = 0 as flag,
    md5(i::text)::uuid as key, (i || '.5')::numeric as amount from generate_series(1, 10000) as g(i);
alter table bench_item add primary key (id);
create table bench_blob as select decode(repeat('ab', 1048576), 'hex') as blob;
create table bench_sink (id int, name text);
analyze;
"""

Work = Callable[[int], Awaitable[Any]]


async def timed(work: Work, per_call: int, seconds: float) -> dict[str, float]:
    """Calls ``work(n)`` until the time is over; per_call is the number of queries in one call."""
    for n in range(3):
        await work(n)
    calls = 0
    cpu, wall = time.process_time(), time.perf_counter()
    end = wall + seconds
    while time.perf_counter() < end:
        await work(calls)
        calls += 1
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_us": cpu / calls / per_call * 1e6, "per_second": calls * per_call / wall}


async def measure(connection: Any, pool: Any, seconds: float) -> dict[str, dict[str, float]]:
    """The workloads, for drivers with asyncpg's interface."""
    results: dict[str, dict[str, float]] = {}

    async def run(name: str, work: Work, per_call: int = 1) -> None:
        results[name] = await timed(work, per_call, seconds)

    async def gather(n: int) -> None:
        await asyncio.gather(*(connection.fetchrow(KEY, i + 1) for i in range(20)))

    async def tasks(n: int) -> None:
        async def one(k: int) -> None:
            for j in range(10):
                await pool.fetchrow(KEY, (k * 10 + j) % 10000 + 1)

        await asyncio.gather(*(one(k) for k in range(100)))

    async def many(n: int) -> None:
        await connection.executemany("insert into bench_sink values ($1, $2)", rows)

    async def lease(n: int) -> None:
        async with pool.acquire():
            pass

    rows = [(i, f"name {i}") for i in range(1000)]
    await run("select 1", lambda n: connection.fetchval("select 1"))
    await run("row by key", lambda n: connection.fetchrow(KEY, n % 10000 + 1))
    if type(connection).__module__.startswith("fasterapi"):
        await run("20 in gather, one connection", gather, 20)
    await run("100 tasks over a pool", tasks, 1000)
    await run("1,000 rows x 1 int", lambda n: connection.fetch(INTS))
    await run("100 rows x 10 mixed", lambda n: connection.fetch(MIXED))
    await run("bytea 1 MiB", lambda n: connection.fetchval(BLOB))
    await run("executemany insert, per row", many, 1000)
    await run("acquire + release", lease)
    return results


async def fasterapi_main(dsn: str, seconds: float) -> dict[str, Any]:
    import fasterapi_pg

    connection = await fasterapi_pg.connect(dsn)
    await connection.execute(SETUP)
    async with fasterapi_pg.create_pool(dsn, min_size=1, max_size=10) as pool:
        results = await measure(connection, pool, seconds)
    await connection.close()
    return results


async def asyncpg_main(dsn: str, seconds: float) -> dict[str, Any]:
    import asyncpg

    connection = await asyncpg.connect(dsn)
    await connection.execute(SETUP)
    async with asyncpg.create_pool(dsn, min_size=10, max_size=10) as pool:
        results = await measure(connection, pool, seconds)
    await connection.close()
    return results


class Psycopg:
    """psycopg's asynchronous connection under the names that ``measure`` calls."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def fetch(self, sql: str, *args: object) -> list[Any]:
        cursor = await self.connection.execute(sql.replace("$1", "%s"), args, prepare=True, binary=True)
        return list(await cursor.fetchall())

    async def fetchrow(self, sql: str, *args: object) -> Any:
        return (await self.fetch(sql, *args))[0]

    async def fetchval(self, sql: str, *args: object) -> Any:
        return (await self.fetch(sql, *args))[0][0]

    async def executemany(self, sql: str, rows: list[Any]) -> None:
        async with self.connection.cursor() as cursor:
            await cursor.executemany(sql.replace("$1", "%s").replace("$2", "%s"), rows)


async def psycopg_main(dsn: str, seconds: float) -> dict[str, Any]:
    import psycopg
    import psycopg_pool

    connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
    await connection.execute(SETUP)

    class Pool:
        def __init__(self, pool: Any) -> None:
            self.pool = pool

        async def fetchrow(self, sql: str, *args: object) -> Any:
            async with self.pool.connection() as leased:
                return await Psycopg(leased).fetchrow(sql, *args)

        def acquire(self) -> Any:
            return self.pool.connection()

    async with psycopg_pool.AsyncConnectionPool(
        dsn, min_size=10, max_size=10, kwargs={"autocommit": True}, open=False
    ) as pool:
        results = await measure(Psycopg(connection), Pool(pool), seconds)
    await connection.close()
    return results


def blocking(execute: Callable[[str, tuple[Any, ...]], Any], key_sql: str, seconds: float) -> dict[str, Any]:
    """The two workloads of blocking code."""
    results = {}
    for name, sql, args in (("select 1", "select 1", ()), ("row by key", key_sql, (77,))):
        for _ in range(10):
            execute(sql, args)
        calls, cpu, wall = 0, time.process_time(), time.perf_counter()
        while time.perf_counter() < wall + seconds:
            execute(sql, args)
            calls += 1
        spent = time.perf_counter() - wall
        results[name] = {"cpu_us": (time.process_time() - cpu) / calls * 1e6, "per_second": calls / spent}
    return results


def fasterapi_blocking(dsn: str, seconds: float) -> dict[str, Any]:
    import fasterapi_pg

    with fasterapi_pg.PgPool(dsn, min_size=1, max_size=1) as pool:
        return blocking(lambda sql, args: pool.exec(sql, *args).all(), KEY, seconds)


def psycopg_blocking(dsn: str, seconds: float) -> dict[str, Any]:
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as connection:
        return blocking(
            lambda sql, args: connection.execute(sql, args, prepare=True, binary=True).fetchall(),
            KEY.replace("$1", "%s"),
            seconds,
        )


def main() -> None:
    driver, dsn, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    if driver == "fasterapi-pg":
        import fasterapi_core

        results = fasterapi_core.run(fasterapi_main(dsn, seconds))
    elif driver == "asyncpg":
        import uvloop

        results = uvloop.run(asyncpg_main(dsn, seconds))
    elif driver == "psycopg":
        import uvloop

        results = uvloop.run(psycopg_main(dsn, seconds))
    elif driver == "fasterapi-pg-blocking":
        results = fasterapi_blocking(dsn, seconds)
    else:
        results = psycopg_blocking(dsn, seconds)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
