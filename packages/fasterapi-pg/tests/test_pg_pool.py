"""The pool with asyncpg's methods: leases, hooks, fairness, limits, shutdown, recovery."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING, Any

import fasterapi_pg
import pytest
from fasterapi_pg import Connection, Pool

if TYPE_CHECKING:
    import pg_servers

LOST = (fasterapi_pg.PostgresError, fasterapi_pg.InterfaceError, OSError)


async def test_direct_queries(pool: Pool) -> None:
    assert await pool.fetchval("select $1::int", 5) == 5
    assert [tuple(r) for r in await pool.fetch("select generate_series(1, 2)")] == [(1,), (2,)]
    row = await pool.fetchrow("select 1 as a")
    assert row is not None
    assert row["a"] == 1
    assert await pool.execute("drop table if exists pool_t; create table pool_t (a int)") == "CREATE TABLE"
    await pool.executemany("insert into pool_t values ($1)", [(i,) for i in range(10)])
    assert await pool.fetchval("select count(*) from pool_t") == 10
    rows = await pool.fetchmany("insert into pool_t values ($1) returning a", [(100,), (101,)])
    assert [r[0] for r in rows] == [100, 101]
    with pytest.raises(fasterapi_pg.UndefinedTableError):
        await pool.fetch("select * from nowhere")
    await pool.execute("drop table pool_t")


async def test_many_tasks_get_their_own_rows(pool: Pool) -> None:
    async def one(i: int) -> None:
        if i % 10 == 3:
            with pytest.raises(fasterapi_pg.DivisionByZeroError):
                await pool.fetchval("select $1::int / 0", i)
        elif i % 10 == 4:
            with pytest.raises(fasterapi_pg.DataError):
                await pool.fetchval("select $1::int", "x")
        else:
            row = await pool.fetchrow("select $1::int as i, $2::text as t", i, f"text {i}")
            assert row is not None
            assert (row["i"], row["t"]) == (i, f"text {i}")

    await asyncio.gather(*(one(i) for i in range(500)))
    assert pool.get_size() <= pool.get_max_size()


async def test_acquire_and_release(pool: Pool) -> None:
    async with pool.acquire() as con:
        assert await con.fetchval("select 1") == 1
    with pytest.raises(fasterapi_pg.InterfaceError, match="released"):
        await con.fetchval("select 1")
    with pytest.raises(fasterapi_pg.InterfaceError, match="released"):
        con.transaction()
    con = await pool.acquire()
    assert isinstance(con, Connection)
    assert await con.fetchval("select 2") == 2
    await pool.release(con)
    await pool.release(con)
    assert pool.get_idle_size() == pool.get_size()


async def test_foreign_connection_is_refused(pool: Pool, con: Connection) -> None:
    with pytest.raises(fasterapi_pg.InterfaceError):
        await pool.release(con)
    with pytest.raises(fasterapi_pg.InterfaceError):
        await pool.release("x")


async def test_lease_leaves_no_state_behind(pg_dsn: str) -> None:
    async with fasterapi_pg.create_pool(pg_dsn, min_size=1, max_size=1) as pool:
        async with pool.acquire() as con:
            await con.execute("set search_path = pg_catalog; create temp table leftover (a int)")
            await con.execute("select pg_advisory_lock(77)")
            await con.execute("listen something")
            await con.execute("begin")
            await con.execute("select 1")
        async with pool.acquire() as con:
            assert not con.is_in_transaction()
            assert await con.fetchval("show search_path") == '"$user", public'
            locks = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
            assert await con.fetchval(locks) == 0
            assert await con.fetch("select * from pg_listening_channels()") == []


async def test_session_commands_on_the_pool_itself_do_not_leak(pg_dsn: str) -> None:
    async with fasterapi_pg.create_pool(pg_dsn, min_size=1, max_size=1) as pool:
        await pool.execute("set search_path = pg_catalog")
        assert await pool.fetchval("show search_path") == '"$user", public'


async def test_transaction_is_alone_on_its_connection(pg_dsn: str) -> None:
    async with fasterapi_pg.create_pool(pg_dsn, min_size=2, max_size=2) as pool:
        await pool.execute("drop table if exists alone_t; create table alone_t (a int)")
        async with pool.acquire() as con, con.transaction():
            await con.execute("insert into alone_t values (1)")
            counts = await asyncio.gather(*(pool.fetchval("select count(*) from alone_t") for _ in range(20)))
            assert counts == [0] * 20
        assert await pool.fetchval("select count(*) from alone_t") == 1
        await pool.execute("drop table alone_t")


async def test_waiters_are_served_in_order(pg_dsn: str) -> None:
    async with fasterapi_pg.create_pool(pg_dsn, min_size=1, max_size=1) as pool:
        order: list[int] = []
        con = await pool.acquire()

        async def wait(i: int) -> None:
            async with pool.acquire():
                order.append(i)
                await asyncio.sleep(0)

        tasks = []
        for i in range(10):
            tasks.append(asyncio.create_task(wait(i)))
            await asyncio.sleep(0)
        await pool.release(con)
        await asyncio.gather(*tasks)
        assert order == list(range(10))


async def test_acquire_timeout_and_cancel_leak_nothing(pg_dsn: str) -> None:
    async with fasterapi_pg.create_pool(pg_dsn, min_size=1, max_size=1) as pool:
        con = await pool.acquire()
        with pytest.raises(TimeoutError):
            await pool.acquire(timeout=0.05)

        async def wait() -> None:
            async with pool.acquire():
                pass

        for _ in range(20):
            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await pool.release(con)
        async with asyncio.timeout(5):
            for _ in range(20):
                async with pool.acquire() as con:
                    assert await con.fetchval("select 1") == 1
        assert pool.get_size() == 1


async def test_cancelled_users_leak_nothing(pool: Pool) -> None:
    async def work(i: int) -> None:
        async with pool.acquire() as con, con.transaction():
            assert await con.fetchval("select $1::int from pg_sleep(0.01)", i) == i

    for round_ in range(10):
        tasks = [asyncio.create_task(work(i)) for i in range(12)]
        await asyncio.sleep(0.003 * round_)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            assert result is None or isinstance(result, asyncio.CancelledError), result
    assert pool.get_size() <= 4
    async with asyncio.timeout(5):
        cons = [await pool.acquire() for _ in range(4)]
        for con in cons:
            await pool.release(con)


async def test_hooks(pg_dsn: str) -> None:
    calls: list[str] = []

    async def init(con: Any) -> None:
        calls.append("init")
        await con.execute("select 1")

    async def setup(con: Any) -> None:
        calls.append("setup")
        await con.execute("set application_name = 'set up'")

    async def reset(con: Any) -> None:
        calls.append("reset")

    async with fasterapi_pg.create_pool(
        pg_dsn, min_size=1, max_size=1, init=init, setup=setup, reset=reset
    ) as pool:
        assert calls == ["init"]
        async with pool.acquire() as con:
            assert await con.fetchval("show application_name") == "set up"
        assert calls == ["init", "setup", "reset"]
        assert await pool.fetchval("show application_name") == "set up"
        assert calls == ["init", "setup", "reset", "setup", "reset"]


async def test_failing_init_is_reported(pg_dsn: str) -> None:
    async def init(con: Any) -> None:
        raise ZeroDivisionError("in init")

    with pytest.raises(ZeroDivisionError, match="in init"):
        async with fasterapi_pg.create_pool(pg_dsn, min_size=1, max_size=1, init=init):
            pass


async def test_failing_setup_costs_only_its_connection(pg_dsn: str) -> None:
    fail = True

    async def setup(con: Any) -> None:
        if fail:
            raise ZeroDivisionError("in setup")

    async with fasterapi_pg.create_pool(pg_dsn, min_size=1, max_size=1, setup=setup) as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.acquire()
        fail = False
        async with pool.acquire() as con:
            assert await con.fetchval("select 1") == 1


async def test_sizes_and_repr(pg_dsn: str) -> None:
    pool = fasterapi_pg.create_pool(pg_dsn, min_size=2, max_size=3)
    async with pool:
        assert (pool.get_min_size(), pool.get_max_size(), pool.get_size(), pool.get_idle_size()) == (
            2,
            3,
            2,
            2,
        )
        async with pool.acquire():
            assert pool.get_idle_size() == 1
        assert not pool.is_closing()
    assert pool.is_closing()
    bad: dict[str, Any]
    for bad in ({"max_size": 0}, {"min_size": -1}, {"min_size": 5, "max_size": 2}, {"max_queries": 0}):
        with pytest.raises(ValueError):
            create: Any = fasterapi_pg.create_pool
            await create(pg_dsn, **bad)


async def test_close_waits_for_leases(pg_dsn: str) -> None:
    pool = await fasterapi_pg.create_pool(pg_dsn, min_size=1, max_size=2)
    con = await pool.acquire()
    running = asyncio.ensure_future(con.fetchval("select 5 from pg_sleep(0.2)"))
    closing = asyncio.ensure_future(pool.close())
    await asyncio.sleep(0.05)
    assert not closing.done()
    assert pool.is_closing()
    assert await running == 5
    await pool.release(con)
    await asyncio.wait_for(closing, 5)
    with pytest.raises(fasterapi_pg.InterfaceError, match="clos"):
        await pool.fetchval("select 1")
    with pytest.raises(fasterapi_pg.InterfaceError, match="clos"):
        await pool.acquire()


async def test_terminate(pg_dsn: str) -> None:
    pool = await fasterapi_pg.create_pool(pg_dsn, min_size=1, max_size=2)
    con = await pool.acquire()
    running = asyncio.ensure_future(con.fetchval("select pg_sleep(20)"))
    await asyncio.sleep(0.05)
    pool.terminate()
    with pytest.raises(LOST):
        await running


async def test_expire_connections(pool: Pool) -> None:
    first = await pool.fetchval("select pg_backend_pid()")
    await pool.expire_connections()
    async with pool.acquire() as con:
        assert con.get_server_pid() != first


async def test_broken_connection_is_replaced(pg_dsn: str, con: Connection) -> None:
    async with fasterapi_pg.create_pool(pg_dsn, min_size=1, max_size=1) as pool:
        pid = await pool.fetchval("select pg_backend_pid()")
        await con.execute("select pg_terminate_backend($1, 5000)", pid)
        await asyncio.sleep(0.1)
        assert await pool.fetchval("select pg_backend_pid()") != pid
        async with pool.acquire() as lease:
            await con.execute("select pg_terminate_backend($1, 5000)", lease.get_server_pid())
            with pytest.raises(LOST):
                await lease.fetchval("select 1")
        assert await pool.fetchval("select 1") == 1


async def test_listener_on_a_lease_ends_with_it(pool: Pool, con: Connection) -> None:
    seen: list[str] = []

    def listener(connection: Any, pid: int, channel: str, payload: str) -> None:
        seen.append(payload)

    async with pool.acquire() as lease:
        await lease.add_listener("lease_channel", listener)
        await con.execute("notify lease_channel, 'one'")
        await asyncio.sleep(0.1)
        await lease.remove_listener("lease_channel", listener)
    await con.execute("notify lease_channel, 'two'")
    await pool.fetchval("select 1")
    await asyncio.sleep(0.1)
    assert seen == ["one"]


async def test_server_killed_under_load_and_back(own_server: pg_servers.Server) -> None:
    good = bad = 0
    stop = False
    async with fasterapi_pg.create_pool(own_server.dsn, min_size=1, max_size=4, timeout=5) as pool:

        async def load(i: int) -> None:
            nonlocal good, bad
            while not stop:
                try:
                    assert await pool.fetchval("select $1::int", i) == i
                    good += 1
                except LOST:
                    bad += 1
                    await asyncio.sleep(0.01)

        tasks = [asyncio.create_task(load(i)) for i in range(20)]
        await asyncio.sleep(0.3)
        before = good
        await asyncio.to_thread(own_server.stop, signal.SIGQUIT)
        await asyncio.sleep(0.2)
        assert bad > 0
        await asyncio.to_thread(own_server.start)
        during = good
        async with asyncio.timeout(10):
            while good < during + 100:
                await asyncio.sleep(0.01)
        stop = True
        await asyncio.gather(*tasks)
        assert before > 0
        assert pool.get_size() <= 4


async def test_pool_on_a_dead_server_says_so(own_server: pg_servers.Server) -> None:
    await asyncio.to_thread(own_server.stop)
    with pytest.raises(OSError):
        await fasterapi_pg.create_pool(own_server.dsn, min_size=1, max_size=2, timeout=5)
