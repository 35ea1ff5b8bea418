"""Transactions and savepoints of a connection."""

from __future__ import annotations

import asyncio

import fasterapi_pg
import pytest
from fasterapi_pg import Connection

TABLE = "create temp table t (a int primary key)"


async def test_commit_and_rollback(con: Connection) -> None:
    await con.execute(TABLE)
    async with con.transaction():
        assert con.is_in_transaction()
        await con.execute("insert into t values (1)")
    assert not con.is_in_transaction()
    with pytest.raises(ZeroDivisionError):
        async with con.transaction():
            await con.execute("insert into t values (2)")
            raise ZeroDivisionError
    assert [r[0] for r in await con.fetch("select a from t")] == [1]
    with pytest.raises(fasterapi_pg.UniqueViolationError):
        async with con.transaction():
            await con.execute("insert into t values (3)")
            await con.execute("insert into t values (1)")
    assert [r[0] for r in await con.fetch("select a from t")] == [1]
    assert not con.is_in_transaction()


async def test_savepoints(con: Connection) -> None:
    await con.execute(TABLE)
    async with con.transaction():
        await con.execute("insert into t values (1)")
        with pytest.raises(fasterapi_pg.UniqueViolationError):
            async with con.transaction():
                await con.execute("insert into t values (2)")
                await con.execute("insert into t values (1)")
        async with con.transaction():
            await con.execute("insert into t values (3)")
            async with con.transaction():
                await con.execute("insert into t values (4)")
        with pytest.raises(KeyError):
            async with con.transaction():
                await con.execute("insert into t values (5)")
                raise KeyError
    assert [r[0] for r in await con.fetch("select a from t order by a")] == [1, 3, 4]


async def test_by_hand(con: Connection) -> None:
    await con.execute(TABLE)
    tr = con.transaction()
    with pytest.raises(fasterapi_pg.InterfaceError, match="not yet started"):
        await tr.commit()
    await tr.start()
    await con.execute("insert into t values (1)")
    await tr.commit()
    for call in (tr.commit, tr.rollback, tr.start):
        with pytest.raises(fasterapi_pg.InterfaceError, match="already committed"):
            await call()
    tr = con.transaction()
    await tr.start()
    with pytest.raises(fasterapi_pg.InterfaceError, match="already started"):
        await tr.start()
    await con.execute("insert into t values (2)")
    await tr.rollback()
    with pytest.raises(fasterapi_pg.InterfaceError, match="already rolled back"):
        await tr.rollback()
    assert await con.fetchval("select count(*) from t") == 1
    async with (tr := con.transaction()):
        for call in (tr.commit, tr.rollback):
            with pytest.raises(fasterapi_pg.InterfaceError, match="async with"):
                await call()


@pytest.mark.parametrize(
    ("isolation", "shown"),
    [
        (None, "read committed"),
        ("read_committed", "read committed"),
        ("repeatable_read", "repeatable read"),
        ("serializable", "serializable"),
        ("read_uncommitted", "read uncommitted"),
    ],
)
async def test_isolation(con: Connection, isolation: str | None, shown: str) -> None:
    async with con.transaction(isolation=isolation):  # type: ignore[arg-type,unused-ignore]
        assert await con.fetchval("show transaction_isolation") == shown


async def test_read_only_and_deferrable(con: Connection) -> None:
    await con.execute(TABLE)
    async with con.transaction(isolation="serializable", readonly=True, deferrable=True):
        assert await con.fetchval("show transaction_read_only") == "on"
        assert await con.fetchval("show transaction_deferrable") == "on"
    with pytest.raises(fasterapi_pg.ReadOnlySQLTransactionError):
        async with con.transaction(readonly=True):
            await con.execute("create table not_here (a int)")


async def test_unknown_isolation_is_refused(con: Connection) -> None:
    with pytest.raises(ValueError, match="isolation"):
        con.transaction(isolation="chaos")


async def test_nested_isolation_must_agree(con: Connection) -> None:
    async with con.transaction(isolation="repeatable_read"):
        async with con.transaction():
            pass
        async with con.transaction(isolation="repeatable_read"):
            pass
        with pytest.raises(fasterapi_pg.InterfaceError, match="isolation"):
            async with con.transaction(isolation="serializable"):
                pass


async def test_manual_begin_and_transaction_do_not_mix(con: Connection) -> None:
    await con.execute("begin")
    with pytest.raises(fasterapi_pg.InterfaceError, match="manually started"):
        async with con.transaction():
            pass
    await con.execute("rollback")
    async with con.transaction():
        pass


async def test_cancelled_in_a_transaction_rolls_back(con: Connection) -> None:
    await con.execute(TABLE)

    async def work() -> None:
        async with con.transaction():
            await con.execute("insert into t values (1)")
            await con.execute("select pg_sleep(20)")

    task = asyncio.create_task(work())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not con.is_in_transaction()
    assert await con.fetchval("select count(*) from t") == 0


async def test_timeout_in_a_transaction_rolls_back(con: Connection) -> None:
    await con.execute(TABLE)
    with pytest.raises(TimeoutError):
        async with con.transaction():
            await con.execute("insert into t values (1)")
            await con.execute("select pg_sleep(20)", timeout=0.1)
    assert await con.fetchval("select count(*) from t") == 0


async def test_connection_lost_in_a_transaction_shows_the_first_error(con: Connection, pg_dsn: str) -> None:
    other = await fasterapi_pg.connect(pg_dsn)
    with pytest.raises((fasterapi_pg.PostgresError, fasterapi_pg.InterfaceError)) as caught:
        async with con.transaction():
            await other.execute("select pg_terminate_backend($1, 5000)", con.get_server_pid())
            await con.execute("select 1")
    assert "transaction" not in str(caught.value)  # not the error of the rollback that could not be sent
    await other.close()


async def test_serialization_failure_says_that_a_retry_is_safe(con: Connection, pg_dsn: str) -> None:
    await con.execute(
        "drop table if exists serial_t; create table serial_t (a int); insert into serial_t values (0)"
    )
    other = await fasterapi_pg.connect(pg_dsn)
    with pytest.raises(fasterapi_pg.SerializationError) as caught:
        async with con.transaction(isolation="repeatable_read"):
            await con.fetchval("select a from serial_t")
            await other.execute("update serial_t set a = 1")
            await con.execute("update serial_t set a = 2")
    assert getattr(caught.value, "safe_to_retry", True)
    await other.close()
    await con.execute("drop table serial_t")


async def test_repr(con: Connection) -> None:
    tr = con.transaction(isolation="serializable", readonly=True)
    assert "state:new serializable readonly" in repr(tr)
