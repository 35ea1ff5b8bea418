"""``PgPool``: blocking in scripts and threads, asynchronous on a loop, one object for both."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypedDict

import fasterapi_pg
import pytest
from fasterapi_pg import PgPool, Result


@pytest.fixture
def pg(pg_dsn: str) -> Iterator[PgPool]:
    made = PgPool(pg_dsn, min_size=1, max_size=4)
    yield made
    made.close(timeout=10)


# --------------------------------------------------------------------------------------------------- exec
def test_exec_gives_a_result(pg: PgPool) -> None:
    result = pg.exec("select i, i::text as t from generate_series(1, $1::int) i", 3)
    assert isinstance(result, Result)
    assert [tuple(r) for r in result.all()] == [(1, "1"), (2, "2"), (3, "3")]
    assert result.columns == ("i", "t")
    assert (result.rowcount, result.status, len(result), bool(result)) == (3, "SELECT 3", 3, True)
    assert result.scalar() == 1
    assert result.scalars() == [1, 2, 3]
    assert result.dicts()[2] == {"i": 3, "t": "3"}
    assert result.tuples()[0] == (1, "1")
    assert [r["i"] for r in result] == [1, 2, 3]
    assert (result[1]["t"], result[-1]["i"], [r["i"] for r in result[1:]]) == ("2", 3, [2, 3])
    first = result.first()
    assert first is not None
    assert first["i"] == 1
    with pytest.raises(IndexError):
        result[3]


def test_one_and_one_or_none(pg: PgPool) -> None:
    assert pg.exec("select 5 as a").one()["a"] == 5
    row = pg.exec("select 5 as a").one_or_none()
    assert row is not None
    assert row["a"] == 5
    empty = pg.exec("select 5 as a where false")
    assert (empty.one_or_none(), empty.first(), empty.scalar(), empty.all(), bool(empty)) == (
        None,
        None,
        None,
        [],
        False,
    )
    with pytest.raises(fasterapi_pg.NoResultError):
        empty.one()
    several = pg.exec("select generate_series(1, 2)")
    for call in (several.one, several.one_or_none):
        with pytest.raises(fasterapi_pg.MultipleResultsError):
            call()


def test_errors_leave_the_pool_usable(pg: PgPool) -> None:
    for _ in range(10):
        with pytest.raises(fasterapi_pg.UndefinedTableError):
            pg.exec("select * from nowhere")
        with pytest.raises(fasterapi_pg.DataError):
            pg.exec("select $1::int", "x")
        with pytest.raises(fasterapi_pg.InterfaceError):
            pg.exec("select $1::int")
    assert pg.exec("select 1").scalar() == 1


def test_timeout(pg: PgPool) -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        pg.exec("select pg_sleep(20)", timeout=0.2)
    assert time.monotonic() - started < 5
    assert pg.exec("select 1").scalar() == 1


# --------------------------------------------------------------------------------------------------- into
@dataclasses.dataclass
class User:
    id: int
    name: str
    note: str = "none"


class UserTuple(NamedTuple):
    id: int
    name: str


class UserDict(TypedDict):
    id: int
    name: str


def test_into(pg: PgPool) -> None:
    sql = "select i as id, 'n' || i as name from generate_series(1, 2) i"
    assert pg.exec(sql).into(User) == [User(1, "n1"), User(2, "n2")]
    assert pg.exec(sql).into(UserTuple) == [UserTuple(1, "n1"), UserTuple(2, "n2")]
    assert pg.exec(sql).into(UserDict) == [{"id": 1, "name": "n1"}, {"id": 2, "name": "n2"}]
    assert pg.exec(sql).into(dict)[0] == {"id": 1, "name": "n1"}
    assert pg.exec(sql + " limit 1").into(User).one() == User(1, "n1")
    assert pg.exec(sql + " limit 0").into(User).one_or_none() is None
    with pytest.raises(fasterapi_pg.NoResultError):
        pg.exec(sql + " limit 0").into(User).one()
    with pytest.raises(fasterapi_pg.MultipleResultsError):
        pg.exec(sql).into(User).one()
    with pytest.raises(fasterapi_pg.InterfaceError, match="'extra'"):
        pg.exec("select 1 as id, 'x' as name, 2 as extra").into(User)
    with pytest.raises(fasterapi_pg.InterfaceError, match="'name'"):
        pg.exec("select 1 as id").into(User)


def test_into_pydantic(pg: PgPool) -> None:
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):  # type: ignore[misc,name-defined]
        id: int
        price: float

    made = pg.exec("select 1 as id, 2.5::numeric as price").into(Model).one()
    assert (made.id, made.price) == (1, 2.5)
    with pytest.raises(pydantic.ValidationError):
        pg.exec("select 'x' as id, 1 as price").into(Model)


# ------------------------------------------------------------------------------------------- transactions
def test_tx(pg: PgPool) -> None:
    pg.exec("drop table if exists tx_t")
    pg.exec("create table tx_t (a int primary key)")
    with pg.tx() as tx:
        tx.exec("insert into tx_t values ($1)", 1)
        with ThreadPoolExecutor(1) as other:  # this thread's calls are in the transaction, others' are not
            assert other.submit(lambda: pg.exec("select count(*) from tx_t").scalar()).result() == 0
        assert tx.exec("select count(*) from tx_t").scalar() == 1
    assert pg.exec("select count(*) from tx_t").scalar() == 1
    with pytest.raises(ZeroDivisionError), pg.tx() as tx:
        tx.exec("insert into tx_t values (2)")
        raise ZeroDivisionError
    with pytest.raises(fasterapi_pg.UniqueViolationError), pg.tx() as tx:
        tx.exec("insert into tx_t values (3)")
        tx.exec("insert into tx_t values (1)")
    assert pg.exec("select count(*) from tx_t").scalar() == 1
    with pg.tx() as tx:
        tx.exec("insert into tx_t values (4)")
        with pytest.raises(fasterapi_pg.UniqueViolationError), tx.tx() as inner:
            inner.exec("insert into tx_t values (4)")
        with tx.tx() as inner:
            inner.exec("insert into tx_t values (5)")
    assert pg.exec("select array_agg(a order by a) from tx_t").scalar() == [1, 4, 5]
    with pytest.raises(fasterapi_pg.InterfaceError, match="not open"):
        tx.exec("select 1")
    with pg.tx(isolation="serializable", readonly=True) as tx:
        assert tx.exec("show transaction_isolation").scalar() == "serializable"
        assert tx.exec("show transaction_read_only").scalar() == "on"
    pg.exec("drop table tx_t")


def test_pool_methods_join_the_transaction_of_their_block(pg_dsn: str) -> None:
    with PgPool(pg_dsn, min_size=1, max_size=1) as pool:  # one connection: not joining would wait for ever
        pool.exec("drop table if exists joined")
        pool.exec("create table joined (a int)")
        with pytest.raises(ZeroDivisionError):
            with pool.tx():
                pool.exec("insert into joined values (1)")
                assert pool.exec("select count(*) from joined").scalar() == 1
                raise ZeroDivisionError
        assert pool.exec("select count(*) from joined").scalar() == 0
        with pool.tx() as tx:
            pool.exec("insert into joined values (1)")
            with pytest.raises(KeyError), tx.tx():
                pool.exec("insert into joined values (2)")
                raise KeyError
        assert pool.exec("select array_agg(a) from joined").scalar() == [1]
        pool.exec("drop table joined")


def test_tasks_join_the_transaction_that_they_were_started_in(pg_dsn: str) -> None:
    async def main() -> None:
        async with PgPool(pg_dsn, min_size=1, max_size=2) as pool:

            async def in_transaction() -> bool:
                return bool(await pool.fetchval("select pg_current_xact_id_if_assigned() is not null"))

            async with pool.tx():
                await pool.execute("create temp table mine (a int)")
                await pool.executemany("insert into mine values ($1)", [(1,), (2,)])
                assert len(await pool.fetch("select * from mine")) == 2
                assert (await pool.fetchrow("select a from mine order by a"))["a"] == 1  # type: ignore[index]
                assert (await pool.exec_async("select count(*) from mine")).scalar() == 2
                assert await asyncio.create_task(in_transaction())
            assert not await in_transaction()

    asyncio.run(main())


def test_commit_of_a_failed_transaction_is_an_error(pg: PgPool) -> None:
    with pytest.raises(fasterapi_pg.InFailedSQLTransactionError), pg.tx() as tx:
        with pytest.raises(fasterapi_pg.DivisionByZeroError):
            tx.exec("select 1/0")
    assert pg.exec("select 1").scalar() == 1


async def test_tx_async(pg_dsn: str) -> None:
    async with PgPool(pg_dsn, min_size=1, max_size=2) as pg:
        await pg.execute("drop table if exists txa_t; create table txa_t (a int primary key)")
        async with pg.tx() as tx:
            await tx.execute("insert into txa_t values ($1)", 1)
            await tx.executemany("insert into txa_t values ($1)", [(2,), (3,)])
            assert await tx.fetchval("select count(*) from txa_t") == 3
            assert len(await tx.fetch("select * from txa_t")) == 3
            row = await tx.fetchrow("select min(a) as m from txa_t")
            assert row is not None
            assert row["m"] == 1
            assert (await tx.exec_async("select max(a) from txa_t")).scalar() == 3
        with pytest.raises(ZeroDivisionError):
            async with pg.tx_async() as tx:
                await tx.execute("delete from txa_t")
                raise ZeroDivisionError
        async with pg.tx() as tx:
            with pytest.raises(fasterapi_pg.UniqueViolationError):
                async with tx.tx() as inner:
                    await inner.execute("insert into txa_t values (1)")
            await tx.execute("insert into txa_t values (9)")
        result = await pg.exec_async("select a from txa_t order by a")
        assert result.scalars() == [1, 2, 3, 9]
        with pytest.raises(fasterapi_pg.InFailedSQLTransactionError):
            async with pg.tx() as tx:
                with pytest.raises(fasterapi_pg.DivisionByZeroError):
                    await tx.execute("select 1/0")
        await pg.execute("drop table txa_t")


# ------------------------------------------------------------------------------------- loops and threads
async def test_blocking_call_on_the_loop_is_an_error_that_names_the_way_out(pg_dsn: str) -> None:
    async with PgPool(pg_dsn, min_size=1, max_size=2) as pg:
        assert await pg.fetchval("select 1") == 1
        with pytest.raises(fasterapi_pg.InterfaceError, match="async|await"):
            pg.exec("select 1")
        with pytest.raises(fasterapi_pg.InterfaceError, match="async with"), pg.tx():
            pass
        assert await pg.fetchval("select 2") == 2


async def test_threads_use_the_pool_of_a_running_loop(pg_dsn: str) -> None:
    async with PgPool(pg_dsn, min_size=1, max_size=4) as pg:
        assert await pg.fetchval("select 1") == 1

        def work(n: int) -> list[Any]:
            return [pg.exec("select $1::int", n * 100 + i).scalar() for i in range(20)]

        def transact(n: int) -> Any:
            with pg.tx() as tx:
                return tx.exec("select $1::int", n).scalar()

        async def on_loop(n: int) -> Any:
            return await pg.fetchval("select $1::int", n)

        threads = [asyncio.to_thread(work, n) for n in range(6)]
        transactions = [asyncio.to_thread(transact, n) for n in range(4)]
        tasks = [on_loop(n) for n in range(100)]
        results: list[Any] = await asyncio.gather(*threads, *transactions, *tasks)
        assert results[:6] == [[n * 100 + i for i in range(20)] for n in range(6)]
        assert results[6:10] == list(range(4))
        assert results[10:] == list(range(100))


def test_threads_without_a_loop(pg: PgPool) -> None:
    def work(n: int) -> list[Any]:
        return [pg.exec("select $1::int", n * 100 + i).scalar() for i in range(25)]

    with ThreadPoolExecutor(8) as executor:
        results = list(executor.map(work, range(16)))
    assert results == [[n * 100 + i for i in range(25)] for n in range(16)]
    assert pg.get_size() <= 4


def test_pool_used_by_a_script_moves_to_the_loop(pg_dsn: str) -> None:
    pg = PgPool(pg_dsn, min_size=1, max_size=2)
    assert pg.exec("select 1").scalar() == 1

    async def main() -> None:
        assert await pg.fetchval("select 2") == 2
        assert (await pg.exec_async("select 3")).scalar() == 3
        await pg.close()

    asyncio.run(main())


def test_pool_made_before_any_loop_serves_the_loop(pg_dsn: str) -> None:
    pg = PgPool(pg_dsn, min_size=1, max_size=2)

    async def main() -> list[Any]:
        try:
            return list(await asyncio.gather(*(pg.fetchval("select $1::int", i) for i in range(50))))
        finally:
            await pg.close()

    assert asyncio.run(main()) == list(range(50))


def test_waiting_thread_does_not_hold_the_gil(pg: PgPool) -> None:
    pg.exec("select 1")
    started = time.monotonic()
    thread = threading.Thread(target=pg.exec, args=("select pg_sleep(0.3)",))
    thread.start()
    turns = 0
    while thread.is_alive():
        turns += 1
    thread.join()
    assert time.monotonic() - started < 5
    assert turns > 1000


def test_signal_handler_ends_a_blocking_call(pg: PgPool) -> None:
    class Rang(Exception):
        pass

    def handler(number: int, frame: Any) -> None:
        raise Rang

    pg.exec("select 1")
    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        started = time.monotonic()
        with pytest.raises(Rang):
            pg.exec("select pg_sleep(10)")
        assert time.monotonic() - started < 5
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert pg.exec("select 2").scalar() == 2


def test_one_pool_over_several_runs_of_a_loop(pg_dsn: str) -> None:
    pg = PgPool(pg_dsn, min_size=1, max_size=2)

    async def main(i: int) -> Any:
        return await pg.fetchval("select $1::int", i)

    for i in range(3):
        assert asyncio.run(main(i)) == i
    assert pg.exec("select 7").scalar() == 7

    async def last() -> None:
        assert await pg.fetchval("select 8") == 8
        await pg.close()

    asyncio.run(last())


async def test_pool_of_another_running_loop_is_refused(pg_dsn: str) -> None:
    async with PgPool(pg_dsn, min_size=1, max_size=2) as pg:
        assert await pg.fetchval("select 1") == 1

        def elsewhere() -> Any:
            async def main() -> Any:
                return await pg.fetchval("select 1")

            return asyncio.run(main())

        with pytest.raises(fasterapi_pg.InterfaceError, match="loop"):
            await asyncio.to_thread(elsewhere)
        assert await pg.fetchval("select 2") == 2


def test_closed_pool_says_so(pg_dsn: str) -> None:
    pg = PgPool(pg_dsn)
    pg.exec("select 1")
    pg.close()
    with pytest.raises(fasterapi_pg.InterfaceError, match="clos"):
        pg.exec("select 1")
    pg.close()
    with PgPool(pg_dsn) as pg:
        assert pg.exec("select 1").scalar() == 1


def test_dead_server(pg_dsn: str) -> None:
    pg = PgPool("postgresql://u@127.0.0.1:1/d", timeout=3)
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            pg.exec("select 1")
    pg.close()
    with pytest.raises(fasterapi_pg.ClientConfigurationError):
        PgPool("nonsense")


# ------------------------------------------------------------------------------------------------ scripts
def run_script(text: str, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", textwrap.dedent(text), *args],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_script(pg_dsn: str) -> None:
    script = """
        import sys
        from fasterapi_pg import PgPool
        pg = PgPool(sys.argv[1], min_size=1, max_size=2)
        print(pg.exec("select $1::int + 1", 41).scalar())
        with pg.tx() as tx:
            print(tx.exec("select 'in tx'").scalar())
        pg.close()
    """
    assert run_script(script, pg_dsn).split("\n") == ["42", "in tx"]


def test_script_that_forgets_to_close_ends(pg_dsn: str) -> None:
    script = """
        import sys
        from fasterapi_pg import PgPool
        pg = PgPool(sys.argv[1])
        print(pg.exec("select 1").scalar())
    """
    assert run_script(script, pg_dsn) == "1"


def test_script_with_asyncio(pg_dsn: str) -> None:
    script = """
        import asyncio, sys
        import fasterapi_pg
        async def main():
            con = await fasterapi_pg.connect(sys.argv[1])
            print(await con.fetchval("select 1"))
            await con.close()
        asyncio.run(main())
    """
    assert run_script(script, pg_dsn) == "1"


def test_script_with_own_loop(pg_dsn: str) -> None:
    script = """
        import sys
        import fasterapi_core, fasterapi_pg
        async def main():
            async with fasterapi_pg.create_pool(sys.argv[1], min_size=1, max_size=2) as pool:
                print(await pool.fetchval("select 1"))
        fasterapi_core.run(main())
    """
    assert run_script(script, pg_dsn) == "1"
