"""Fixtures: servers, and async tests that run on every event loop.

An ``async def`` test runs once on asyncio's own loop, once on uvloop (where installed) and once on fasterapi_core's.
Asking for ``con`` or ``pool`` gives it a connection or a pool that live on that loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import inspect
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import fasterapi_core
import fasterapi_pg
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import pg_servers

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "fasterapi": fasterapi_core.new_event_loop,
}
if importlib.util.find_spec("uvloop"):
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop
if only := os.environ.get("FASTERAPI_PG_LOOP"):
    LOOPS = {only: LOOPS[only]}

TEST_TIMEOUT = 60.0


class OnLoop:
    """An async context manager that the runner of async tests enters on the test's loop."""

    def __init__(self, factory: Callable[[], contextlib.AbstractAsyncContextManager[Any]]) -> None:
        self.factory = factory


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if inspect.iscoroutinefunction(metafunc.function):
        metafunc.fixturenames.append("event_loop_name")
        metafunc.parametrize("event_loop_name", list(LOOPS))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def main() -> None:
        async with asyncio.timeout(TEST_TIMEOUT), contextlib.AsyncExitStack() as stack:
            for name, value in arguments.items():
                if isinstance(value, OnLoop):
                    arguments[name] = await stack.enter_async_context(value.factory())
            await test(**arguments)

    name = str(pyfuncitem.callspec.params["event_loop_name"])
    with asyncio.Runner(loop_factory=LOOPS[name]) as runner:
        runner.run(main())
    return True


@pytest.fixture(scope="session")
def pg_dsn() -> Iterator[str]:
    """DSN of a server where the tests may create what they like."""
    wanted = os.environ.get("FASTERAPI_PG")
    why = []
    with contextlib.ExitStack() as stack:
        for name in [wanted] if wanted else pg_servers.SOURCES:
            try:
                dsn = stack.enter_context(pg_servers.SOURCES[name]())
            except pg_servers.Unavailable as error:
                why.append(f"{name}: {error}")
                continue
            break
        else:
            pytest.fail("no PostgreSQL for the tests; " + "; ".join(why), pytrace=False)
        yield dsn


@pytest.fixture(scope="session")
def matrix() -> Iterator[pg_servers.MatrixServer]:
    """A server with TLS and a user per authentication method."""
    try:
        server = pg_servers.MatrixServer()
    except pg_servers.Unavailable as error:
        pytest.skip(f"the authentication and TLS matrix needs a local initdb: {error}")
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def own_server() -> Iterator[pg_servers.Server]:
    """A server that the test may kill."""
    try:
        server = pg_servers.Server()
    except pg_servers.Unavailable as error:
        pytest.skip(f"killing a server needs a local initdb: {error}")
    try:
        yield server.start()
    finally:
        server.close()


@pytest.fixture
def con(pg_dsn: str) -> OnLoop:
    """A connection."""

    @contextlib.asynccontextmanager
    async def open_connection() -> AsyncIterator[fasterapi_pg.Connection]:
        connection = await fasterapi_pg.connect(pg_dsn)
        try:
            yield connection
        finally:
            await connection.close(timeout=10)

    return OnLoop(open_connection)


@pytest.fixture
def pool(pg_dsn: str) -> OnLoop:
    """A pool of at most four connections."""

    @contextlib.asynccontextmanager
    async def open_pool() -> AsyncIterator[fasterapi_pg.Pool]:
        made = await fasterapi_pg.create_pool(pg_dsn, min_size=1, max_size=4)
        try:
            yield made
        finally:
            await asyncio.wait_for(made.close(), 10)

    return OnLoop(open_pool)
