"""A connection: queries, records, statements, errors that leave it usable, listeners, cancellation."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import fasterapi_pg
import pytest
from fasterapi_pg import Connection


# -------------------------------------------------------------------------------------------------- queries
async def test_fetch_fetchrow_fetchval_execute(con: Connection) -> None:
    rows = await con.fetch("select i, i * 2 as double from generate_series(1, 3) i")
    assert [tuple(r) for r in rows] == [(1, 2), (2, 4), (3, 6)]
    row = await con.fetchrow("select $1::int as a, $2::text as b", 1, "x")
    assert row is not None
    assert (row["a"], row["b"]) == (1, "x")
    assert await con.fetchrow("select 1 where false") is None
    assert await con.fetchval("select $1::int + 1", 41) == 42
    assert await con.fetchval("select 1, 2", column=1) == 2
    assert await con.fetchval("select 1 where false") is None
    assert await con.fetch("select 1 where false") == []
    assert await con.execute("select 1") == "SELECT 1"
    assert await con.execute("create temp table t (a int, b text)") == "CREATE TABLE"
    assert await con.execute("insert into t values ($1, $2)", 1, "x") == "INSERT 0 1"
    assert (
        await con.execute("insert into t values (2, 'y'); insert into t values (3, 'z'), (4, 'w')")
        == "INSERT 0 2"
    )
    assert await con.execute("update t set b = $1 where a > $2", "q", 1) == "UPDATE 3"
    assert await con.execute("") == ""


async def test_executemany_is_atomic(con: Connection) -> None:
    await con.execute("create temp table t (a int primary key, b text)")
    await con.executemany("insert into t values ($1, $2)", [(i, str(i)) for i in range(1000)])
    assert await con.fetchval("select count(*) from t") == 1000
    with pytest.raises(fasterapi_pg.UniqueViolationError):
        await con.executemany("insert into t values ($1, $2)", [(1000, "a"), (1, "again"), (1001, "b")])
    assert await con.fetchval("select count(*) from t") == 1000
    with pytest.raises(fasterapi_pg.DataError):
        await con.executemany("insert into t values ($1, $2)", [(1000, "a"), ("x", "b")])
    assert await con.fetchval("select count(*) from t") == 1000
    await con.executemany("insert into t values ($1, $2)", [])
    await con.executemany("insert into t values ($1, $2)", ((i, None) for i in (2000, 2001)))
    assert await con.fetchval("select count(*) from t where b is null") == 2


async def test_fetchmany_returns_the_rows_of_all(con: Connection) -> None:
    await con.execute("create temp table t (id serial, a text)")
    rows = await con.fetchmany("insert into t (a) values ($1) returning id, a", [("x",), ("y",), ("z",)])
    assert [tuple(r) for r in rows] == [(1, "x"), (2, "y"), (3, "z")]


async def test_many_queries_without_waiting_keep_their_results(con: Connection) -> None:
    async def one(i: int) -> Any:
        return await con.fetchval("select $1::int", i)

    for i in range(5):
        assert await one(i) == i


async def test_wrong_argument_count(con: Connection) -> None:
    for args in ((), (1, 2)):
        with pytest.raises(fasterapi_pg.InterfaceError, match="1 argument"):
            await con.fetch("select $1::int", *args)
    assert await con.fetchval("select 1") == 1


# -------------------------------------------------------------------------------------------------- records
async def test_record_is_a_tuple_and_a_mapping(con: Connection) -> None:
    r = await con.fetchrow("select 1 as a, 'x' as b, null as c, 2 as a")
    assert r is not None
    assert len(r) == 4
    assert (r[0], r[1], r[-1]) == (1, "x", 2)
    assert r[1:3] == ("x", None)
    assert r["a"] == 2  # the last of two equal names
    assert list(r.keys()) == ["a", "b", "c", "a"]
    assert list(r.values()) == [1, "x", None, 2]
    assert list(r.items()) == [("a", 1), ("b", "x"), ("c", None), ("a", 2)]
    assert ("b" in r, "z" in r) == (True, False)
    assert (r.get("b"), r.get("z"), r.get("z", 5)) == ("x", None, 5)
    assert list(r) == [1, "x", None, 2]
    values: object = (1, "x", None, 2)
    assert r == values
    assert hash(r) == hash((1, "x", None, 2))
    assert repr(r) == "<Record a=1 b='x' c=None a=2>"
    assert dict(await con.fetchrow("select 1 as a, 2 as b") or {}) == {"a": 1, "b": 2}
    with pytest.raises(KeyError):
        r["z"]
    with pytest.raises(IndexError):
        r[4]
    with pytest.raises(TypeError):
        r["a"] = 1  # type: ignore[index,unused-ignore]
    rows = await con.fetch("select * from (values (2), (1)) v(x)")
    assert [x["x"] for x in sorted(rows)] == [1, 2]


async def test_record_class(con: Connection) -> None:
    class Mine(fasterapi_pg.Record):
        def __getattr__(self, name: str) -> Any:
            return self[name]

    row: Any = await con.fetchrow("select 5 as five", record_class=Mine)
    assert isinstance(row, Mine)
    assert row.five == 5


# --------------------------------------------------------------------------------------------------- errors
ERRORS = [
    ("select", (), None, None),
    ("selec 1", (), fasterapi_pg.PostgresSyntaxError, "42601"),
    ("select * from nowhere", (), fasterapi_pg.UndefinedTableError, "42P01"),
    ("select nothing from pg_class", (), fasterapi_pg.UndefinedColumnError, "42703"),
    ("select 1/0", (), fasterapi_pg.DivisionByZeroError, "22012"),
    ("select $1::int / $2", (1, 0), fasterapi_pg.DivisionByZeroError, "22012"),
    ("select 'x'::int", (), fasterapi_pg.InvalidTextRepresentationError, "22P02"),
    ("select nofunction()", (), fasterapi_pg.UndefinedFunctionError, "42883"),
    ("do $$ begin raise exception 'mine' using errcode = 'ABCDE', detail = 'd', hint = 'h'; end $$", (),
     fasterapi_pg.UnknownPostgresError, "ABCDE"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "args", "cls", "sqlstate"), ERRORS[1:], ids=[e[0][:30] for e in ERRORS[1:]]
)
async def test_error_has_its_class_and_leaves_the_connection_usable(
    con: Connection, query: str, args: tuple[Any, ...], cls: type[fasterapi_pg.PostgresError], sqlstate: str
) -> None:
    with pytest.raises(cls) as caught:
        await con.fetch(query, *args)
    assert type(caught.value) is cls
    assert caught.value.sqlstate == sqlstate
    assert await con.fetchval("select 1") == 1
    assert not con.is_in_transaction()


async def test_error_details(con: Connection) -> None:
    await con.execute("create temp table t (a int constraint t_key primary key)")
    await con.execute("insert into t values (1)")
    with pytest.raises(fasterapi_pg.UniqueViolationError) as caught:
        await con.execute("insert into t values ($1)", 1)
    error = caught.value
    assert (error.constraint_name, error.table_name, error.severity) == ("t_key", "t", "ERROR")
    assert error.detail == "Key (a)=(1) already exists."
    assert "DETAIL:  Key (a)=(1) already exists." in str(error)
    with pytest.raises(fasterapi_pg.PostgresSyntaxError) as caught_syntax:
        await con.fetch("select 1 +")
    assert caught_syntax.value.position == "11"


async def test_closed_connection_says_so(con: Connection) -> None:
    await con.close()
    assert con.is_closed()
    for call in (con.fetch, con.execute, con.fetchval, con.fetchrow, con.prepare):
        with pytest.raises(fasterapi_pg.InterfaceError, match="closed"):
            await call("select 1")
    with pytest.raises(fasterapi_pg.InterfaceError, match="closed"):
        con.transaction()
    await con.close()


async def test_server_ends_the_session(con: Connection, pg_dsn: str) -> None:
    ended = asyncio.Event()
    con.add_termination_listener(lambda c: ended.set())
    other = await fasterapi_pg.connect(pg_dsn)
    running = asyncio.ensure_future(con.fetchval("select pg_sleep(20)"))
    await asyncio.sleep(0.1)
    await other.execute("select pg_terminate_backend($1)", con.get_server_pid())
    with pytest.raises((fasterapi_pg.PostgresConnectionError, fasterapi_pg.AdminShutdownError)):
        await running
    await asyncio.wait_for(ended.wait(), 5)
    assert con.is_closed()
    with pytest.raises(fasterapi_pg.InterfaceError):
        await con.fetchval("select 1")
    await other.close()


# --------------------------------------------------------------------------------------- prepared, cursors
async def test_prepared_statement(con: Connection) -> None:
    statement = await con.prepare("select $1::int as a, $2::text as b")
    assert statement.get_query() == "select $1::int as a, $2::text as b"
    assert [p.name for p in statement.get_parameters()] == ["int4", "text"]
    assert [(a.name, a.type.name, a.type.schema, a.type.kind) for a in statement.get_attributes()] == [
        ("a", "int4", "pg_catalog", "scalar"),
        ("b", "text", "pg_catalog", "scalar"),
    ]
    assert [tuple(r) for r in await statement.fetch(1, "x")] == [(1, "x")]
    assert statement.get_statusmsg() == "SELECT 1"
    row = await statement.fetchrow(2, None)
    assert row is not None
    assert tuple(row) == (2, None)
    assert await statement.fetchval(3, "y", column=1) == "y"
    plan = await statement.explain(1, "x")
    assert plan[0]["Plan"]["Node Type"] == "Result"
    analyzed = await statement.explain(1, "x", analyze=True)
    assert "Actual Rows" in analyzed[0]["Plan"]
    array = await con.prepare("select array[1] as a")
    assert (array.get_attributes()[0].type.kind, array.get_attributes()[0].type.name) == ("array", "int4[]")
    names = "select count(*) from pg_prepared_statements where name = $1"
    assert await con.fetchval(names, statement.get_name()) == 1
    with pytest.raises(fasterapi_pg.UnsupportedClientFeatureError, match="name"):
        await con.prepare("select 1", name="by_name")
    with pytest.raises(fasterapi_pg.PostgresSyntaxError):
        await con.prepare("select from where")
    assert await con.fetchval("select 1") == 1


async def test_prepared_executemany(con: Connection) -> None:
    await con.execute("create temp table t (a int)")
    statement = await con.prepare("insert into t values ($1)")
    await statement.executemany([(i,) for i in range(100)])
    assert await con.fetchval("select count(*) from t") == 100


async def test_statement_heals_when_a_table_changes(con: Connection) -> None:
    await con.execute("create temp table t (a int); insert into t values (1)")
    row = await con.fetchrow("select * from t")
    assert row is not None
    assert tuple(row) == (1,)
    await con.execute("alter table t add column b text default 'x'")
    row = await con.fetchrow("select * from t")
    assert row is not None
    assert tuple(row) == (1, "x")
    await con.execute("deallocate all")
    assert await con.fetchval("select count(*) from t") == 1


async def test_cursor(con: Connection) -> None:
    async with con.transaction():
        rows = [r["i"] async for r in con.cursor("select i from generate_series(1, $1::int) i", 120)]
        assert rows == list(range(1, 121))
        rows = [r[0] async for r in con.cursor("select generate_series(1, 7)", prefetch=3)]
        assert rows == [1, 2, 3, 4, 5, 6, 7]
        cursor = await con.cursor("select generate_series(1, 10)")
        row = await cursor.fetchrow()
        assert row is not None
        assert row[0] == 1
        assert [r[0] for r in await cursor.fetch(3)] == [2, 3, 4]
        assert await cursor.forward(2) == 2
        assert [r[0] for r in await cursor.fetch(100)] == [7, 8, 9, 10]
        assert await cursor.fetch(5) == []
        assert await cursor.fetchrow() is None
        statement = await con.prepare("select generate_series(1, $1::int)")
        assert [r[0] async for r in statement.cursor(3)] == [1, 2, 3]
    with pytest.raises(fasterapi_pg.InterfaceError):
        con.cursor("select 1", prefetch=-1)


async def test_cursor_needs_a_transaction(con: Connection) -> None:
    with pytest.raises(fasterapi_pg.NoActiveSQLTransactionError):
        async for _ in con.cursor("select 1"):
            pass
    with pytest.raises(fasterapi_pg.NoActiveSQLTransactionError):
        await con.cursor("select 1")


# ---------------------------------------------------------------------------------- listeners and loggers
async def test_notifications(con: Connection, pg_dsn: str) -> None:
    seen: list[tuple[int, str, str]] = []
    arrived = asyncio.Event()

    def listener(connection: Any, pid: int, channel: str, payload: str) -> None:
        assert connection is con
        seen.append((pid, channel, payload))
        arrived.set()

    async def slow(connection: Any, pid: int, channel: str, payload: str) -> None:
        await asyncio.sleep(0)
        seen.append((0, channel, "slow " + payload))

    other = await fasterapi_pg.connect(pg_dsn)
    await con.add_listener('my "channel', listener)
    await con.add_listener('my "channel', slow)
    await other.execute("select pg_notify('my \"channel', 'hello')")
    await asyncio.wait_for(arrived.wait(), 5)
    await asyncio.sleep(0.05)
    assert sorted(seen) == [
        (0, 'my "channel', "slow hello"),
        (other.get_server_pid(), 'my "channel', "hello"),
    ]
    await con.remove_listener('my "channel', slow)
    await con.remove_listener('my "channel', listener)
    await con.remove_listener('my "channel', listener)
    await other.execute("select pg_notify('my \"channel', 'again')")
    assert await con.fetchval("select 1") == 1
    await asyncio.sleep(0.05)
    assert len(seen) == 2
    await other.close()


async def test_log_listener(con: Connection) -> None:
    messages: list[Any] = []

    def listener(connection: Any, message: Any) -> None:
        messages.append(message)

    con.add_log_listener(listener)
    await con.execute("do $$ begin raise notice 'hey %', 1; raise warning 'careful'; end $$")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [m.message for m in messages] == ["hey 1", "careful"]
    assert isinstance(messages[1], fasterapi_pg.PostgresWarning)
    con.remove_log_listener(listener)
    await con.execute("do $$ begin raise notice 'unheard'; end $$")
    assert len(messages) == 2


async def test_query_logger(con: Connection) -> None:
    seen: list[Any] = []
    with con.query_logger(seen.append):
        await con.fetchval("select $1::int", 5)
        with pytest.raises(fasterapi_pg.DivisionByZeroError):
            await con.fetch("select 1/0")
    await con.fetchval("select 2")
    await asyncio.sleep(0)
    assert [(q.query, q.args) for q in seen] == [("select $1::int", (5,)), ("select 1/0", ())]
    assert isinstance(seen[1].exception, fasterapi_pg.DivisionByZeroError)
    assert seen[0].elapsed > 0


# --------------------------------------------------------------------------------- timeouts, cancellation
async def test_timeout_cancels_the_query(con: Connection) -> None:
    with pytest.raises(TimeoutError):
        await con.fetchval("select pg_sleep(20)", timeout=0.1)
    assert await con.fetchval("select 1") == 1
    with pytest.raises(TimeoutError):
        await con.execute("select pg_sleep(20)", timeout=0.1)
    assert await con.fetchval("select 2") == 2


async def test_command_timeout_is_the_default(pg_dsn: str) -> None:
    con = await fasterapi_pg.connect(pg_dsn, command_timeout=0.1)
    with pytest.raises(TimeoutError):
        await con.fetchval("select pg_sleep(20)")
    assert await con.fetchval("select pg_sleep(0.3) is null", timeout=5) is False
    await con.close()
    for bad in (-1, 0, "x", True):
        options: dict[str, Any] = {"command_timeout": bad}
        with pytest.raises(ValueError, match="command_timeout"):
            await fasterapi_pg.connect(pg_dsn, **options)


async def test_cancelled_task_cancels_the_query(con: Connection, pg_dsn: str) -> None:
    async def sleeper() -> None:
        await con.fetchval("select pg_sleep(20)")

    task = asyncio.create_task(sleeper())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # no late cancel and no row of the cancelled query reaches the next one
    for i in range(20):
        assert await con.fetchval("select $1::int", i) == i
    other = await fasterapi_pg.connect(pg_dsn)
    sleeping = (
        "select count(*) from pg_stat_activity where query like 'select pg_sleep(20)' and state = 'active'"
    )
    assert await other.fetchval(sleeping) == 0
    await other.close()


async def test_cancel_storm_never_mixes_results(con: Connection) -> None:
    async def one(i: int) -> None:
        with contextlib.suppress(asyncio.CancelledError, TimeoutError):
            assert await con.fetchval("select $1::int from pg_sleep(0.002)", i, timeout=5) == i

    for i in range(30):
        task = asyncio.create_task(one(i))
        await asyncio.sleep(0.0005 * (i % 7))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert await con.fetchval("select $1::int", 1000 + i) == 1000 + i


# -------------------------------------------------------------------------------------------------- session
async def test_session_information(con: Connection) -> None:
    assert con.get_server_pid() == await con.fetchval("select pg_backend_pid()")
    text = await con.fetchval("show server_version")
    assert str(con.get_server_version().major) == text.split(".")[0]
    assert con.get_settings().client_encoding == "UTF8"
    await con.execute("set application_name = 'changed'")
    assert con.get_settings().application_name == "changed"
    assert not con.is_in_transaction()


async def test_reset_brings_the_session_back(con: Connection) -> None:
    await con.execute("set search_path = pg_catalog")
    await con.execute("select pg_advisory_lock(1)")
    await con.execute("begin")
    await con.reset()
    assert not con.is_in_transaction()
    assert await con.fetchval("show search_path") != "pg_catalog"
    assert (
        await con.fetchval(
            "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
        )
        == 0
    )


async def test_server_settings_and_application_name(pg_dsn: str) -> None:
    con = await fasterapi_pg.connect(pg_dsn, server_settings={"application_name": "mine", "work_mem": "5MB"})
    assert await con.fetchval("show application_name") == "mine"
    assert await con.fetchval("show work_mem") == "5MB"
    await con.close()
    with pytest.raises(fasterapi_pg.PostgresError) as caught:
        await fasterapi_pg.connect(pg_dsn, server_settings={"no_such_setting": "1"})
    assert "no_such_setting" in str(caught.value)


async def test_connection_class(pg_dsn: str) -> None:
    class Mine(Connection):
        def hello(self) -> str:
            return "hello"

    con = await fasterapi_pg.connect(pg_dsn, connection_class=Mine)
    assert con.hello() == "hello"
    assert await con.fetchval("select 1") == 1
    await con.close()
    wrong: Any = int
    with pytest.raises(fasterapi_pg.InterfaceError, match="connection_class"):
        await fasterapi_pg.connect(pg_dsn, connection_class=wrong)


async def test_without_statement_cache(pg_dsn: str) -> None:
    con = await fasterapi_pg.connect(pg_dsn, statement_cache_size=0)
    for i in range(3):
        assert await con.fetchval("select $1::int", i) == i
    assert await con.fetchval("select count(*) from pg_prepared_statements where name <> ''") == 0
    await con.close()


async def test_terminate(con: Connection) -> None:
    running = asyncio.ensure_future(con.fetchval("select pg_sleep(10)"))
    await asyncio.sleep(0.05)
    con.terminate()
    with pytest.raises((fasterapi_pg.InterfaceError, fasterapi_pg.PostgresConnectionError)):
        await running
    assert con.is_closed()
