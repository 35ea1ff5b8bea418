"""Queries that travel together: own results, own errors, own cancellation; and connections cut anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from collections.abc import AsyncIterator
from typing import Any

import fasterapi_core
import fasterapi_pg
import pytest
from fasterapi_pg import Connection, Pool

LOST = (fasterapi_core.FasterAPIError, OSError)


async def test_queries_of_one_connection_may_be_issued_together(con: Connection) -> None:
    results = await asyncio.gather(*(con.fetchval("select $1::int", i) for i in range(200)))
    assert list(results) == list(range(200))


async def test_an_error_is_its_own_querys(con: Connection) -> None:
    async def one(i: int) -> Any:
        if i % 7 == 3:
            return await con.fetchval("select 1 / ($1::int - $1::int)", i)
        if i % 7 == 4:
            return await con.fetchval("select $1::int", "not a number")
        return await con.fetchval("select $1::int", i)

    results = await asyncio.gather(*(one(i) for i in range(70)), return_exceptions=True)
    for i, result in enumerate(results):
        if i % 7 == 3:
            assert isinstance(result, fasterapi_pg.DivisionByZeroError)
        elif i % 7 == 4:
            assert isinstance(result, fasterapi_pg.DataError)
        else:
            assert result == i


async def test_in_a_transaction_an_error_fails_what_follows(con: Connection) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(pytest.raises(ZeroDivisionError))
        await stack.enter_async_context(con.transaction())
        queries = ["select 1", "select 1/0", "select 2"]
        results = await asyncio.gather(*(con.fetchval(q) for q in queries), return_exceptions=True)
        assert results[0] == 1
        assert isinstance(results[1], fasterapi_pg.DivisionByZeroError)
        assert isinstance(results[2], fasterapi_pg.InFailedSQLTransactionError)
        raise ZeroDivisionError
    assert await con.fetchval("select 3") == 3


async def test_cancelling_one_of_many_leaves_the_others(con: Connection) -> None:
    async def one(i: int) -> Any:
        return await con.fetchval("select $1::int from pg_sleep(0.01)", i)

    for victim in (0, 3, 9):
        tasks = [asyncio.create_task(one(i)) for i in range(10)]
        await asyncio.sleep(0.005)
        tasks[victim].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for i, result in enumerate(results):
            if i == victim:
                assert isinstance(result, asyncio.CancelledError)
            else:
                assert result == i, result


async def test_cancelling_a_shared_query_leaves_other_tasks_alone(pool: Pool) -> None:
    async def one(i: int) -> Any:
        return await pool.fetchval("select $1::int from pg_sleep(0.005)", i)

    for round_ in range(5):
        tasks = [asyncio.create_task(one(i)) for i in range(40)]
        await asyncio.sleep(0.004 * round_)
        for i in range(0, 40, 4):
            tasks[i].cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for i, result in enumerate(results):
            assert result == i or (i % 4 == 0 and isinstance(result, asyncio.CancelledError)), (i, result)


async def test_slow_query_does_not_hold_up_the_pool(pool: Pool) -> None:
    slow = asyncio.ensure_future(pool.fetchval("select 'slow' from pg_sleep(1.5)"))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(1.2):
        for i in range(20):
            assert await pool.fetchval("select $1::int", i) == i
    assert not slow.done()
    assert await slow == "slow"


# --------------------------------------------------------------------------------------------- cut anywhere
@contextlib.asynccontextmanager
async def cutting_proxy(dsn: str, after: int | None) -> AsyncIterator[tuple[str, list[int]]]:
    """Forward to the server; close both sides when ``after`` bytes of answers have passed (``None``: never)."""
    from fasterapi_pg import _config

    host, port = _config.resolve(dsn).hosts[0]
    passed = [0]

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if counted and after is not None and passed[0] + len(data) >= after:
                    writer.write(data[: after - passed[0]])
                    with contextlib.suppress(ConnectionError):
                        await writer.drain()
                    passed[0] = after
                    break
                if counted:
                    passed[0] += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if _config.is_unix(host):
            there_reader, there_writer = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        else:
            there_reader, there_writer = await asyncio.open_connection(host, port)
        back = asyncio.ensure_future(pump(there_reader, writer, True))
        forth = asyncio.ensure_future(pump(reader, there_writer, False))
        await back
        there_writer.close()
        forth.cancel()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield (
            f"postgresql://postgres@127.0.0.1:{server.sockets[0].getsockname()[1]}/postgres?sslmode=disable",
            passed,
        )
    finally:
        server.close()


async def exchange(dsn: str) -> None:
    con = await fasterapi_pg.connect(dsn, timeout=5)
    try:
        rows = await con.fetch(
            "select i, 'text ' || i as t, array[i, null] as a from generate_series(1, 3) i", timeout=5
        )
        assert [r["i"] for r in rows] == [1, 2, 3]
        async with con.transaction():
            assert await con.fetchval("select $1::text", "x", timeout=5) == "x"
        with pytest.raises(fasterapi_pg.DivisionByZeroError):
            await con.execute("select 1/0", timeout=5)
    finally:
        con.terminate()


@pytest.mark.parametrize("start", range(8))
async def test_connection_cut_after_any_byte_is_a_clean_error(pg_dsn: str, start: int) -> None:
    async with cutting_proxy(pg_dsn, None) as (dsn, passed):
        await exchange(dsn)
        await asyncio.sleep(0.01)
        total = passed[0]
    assert total > 500
    for after in range(start, total, 8 * 5):
        async with cutting_proxy(pg_dsn, after) as (dsn, _):
            try:
                await exchange(dsn)
            except (*LOST, AssertionError) as error:
                assert not isinstance(error, (AssertionError, TimeoutError)), (after, error)


# -------------------------------------------------------------------------------------------------- no leaks
async def work(dsn: str, rounds: int) -> None:
    con = await fasterapi_pg.connect(dsn)
    for i in range(rounds):
        await con.fetchrow("select $1::int as a, 'x' as b, array[1, 2] as c", i)
        with contextlib.suppress(fasterapi_pg.DivisionByZeroError):
            await con.fetch("select 1/0")
        with contextlib.suppress(fasterapi_pg.DataError):
            await con.fetch("select $1::int", "x")
    await con.close()
    for _ in range(rounds // 10):
        with contextlib.suppress(OSError):
            await fasterapi_pg.connect("postgresql://u@127.0.0.1:1/d")
        with contextlib.suppress(fasterapi_pg.InvalidCatalogNameError):
            await fasterapi_pg.connect(dsn, database="nosuchdb")
        async with fasterapi_pg.create_pool(dsn, min_size=1, max_size=2) as pool:
            await asyncio.gather(*(pool.fetchval("select $1::int", i) for i in range(5)))
            async with pool.acquire() as lease, lease.transaction():
                await (await lease.prepare("select $1::int")).fetch(1)
            task = asyncio.ensure_future(pool.fetchval("select pg_sleep(1)"))
            await asyncio.sleep(0)
            task.cancel()


async def test_nothing_is_left_over(pg_dsn: str) -> None:
    await work(pg_dsn, 30)
    await asyncio.sleep(0.05)
    gc.collect()
    objects, descriptors = len(gc.get_objects()), len(os.listdir("/proc/self/fd"))
    await work(pg_dsn, 60)
    await asyncio.sleep(0.05)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= descriptors
    assert len(gc.get_objects()) - objects < 60
