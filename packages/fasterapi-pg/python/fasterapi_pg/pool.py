"""A pool with asyncpg's methods, whose direct queries share connections."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from . import _pg
from ._copy import CopyMethods
from .connection import Connection, check_classes, make_config
from .exceptions import ClientConfigurationError, InterfaceError, UnsupportedClientFeatureError

if TYPE_CHECKING:
    from ._result import Result

__all__ = ["Pool", "PoolAcquireContext", "PoolConnectionProxy", "create_pool"]

Hook = Callable[[Any], Awaitable[object]]

#: A lease is a ``Connection`` of its own that ends with the lease; the name is for annotations written for
#: asyncpg.
PoolConnectionProxy = Connection

_LEASED_METHODS = ("fetch", "fetchrow", "fetchval", "execute", "executemany", "fetchmany")


class PoolAcquireContext:
    """What ``acquire()`` returns on a pool with hooks: await it, or use it in ``async with``."""

    __slots__ = ("_done", "_pool", "_timeout", "connection")

    def __init__(self, pool: Pool, timeout: float | None) -> None:
        self._pool = pool
        self._timeout = timeout
        self._done = False
        self.connection: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        self._done = True
        return self._pool._acquire(self._timeout).__await__()

    async def __aenter__(self) -> Any:
        if self.connection is not None or self._done:
            raise InterfaceError("a connection is already acquired")
        self.connection = await self._pool._acquire(self._timeout)
        return self.connection

    async def __aexit__(self, *exc: object) -> None:
        self._done = True
        connection, self.connection = self.connection, None
        await self._pool.release(connection)


class Pool(CopyMethods, _pg.BasePool):
    """A pool of connections; made by ``create_pool()``.

    Queries made on the pool itself (``fetch``, ``fetchrow``, ``fetchval``, ``execute`` ...) take no lease:
    statements without session effects share connections with those of other tasks, others get one to
    themselves. ``acquire()`` leases a connection for transactions, cursors, session settings and listeners.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        init_size: int | None = None,
        min_size: int = 10,
        max_size: int = 10,
        max_queries: int = 50000,
        max_inactive_connection_lifetime: float = 300.0,
        acquire_timeout: float | None = None,
        connect: object = None,
        setup: Hook | None = None,
        init: Hook | None = None,
        reset: Hook | None = None,
        loop: object = None,
        connection_class: type[Any] = Connection,
        record_class: type[_pg.Record] = _pg.Record,
        multiplex: bool = True,
        **connect_kwargs: Any,
    ) -> None:
        record = check_classes(connection_class, record_class)
        if connect is not None:
            raise UnsupportedClientFeatureError("option 'connect' of the pool is not implemented; use 'init'")
        if max_size <= 0:
            raise ClientConfigurationError("max_size is expected to be greater than zero")
        if min_size < 0:
            raise ClientConfigurationError("min_size is expected to be greater or equal to zero")
        if min_size > max_size:
            raise ClientConfigurationError("min_size is greater than max_size")
        if max_queries <= 0:
            raise ClientConfigurationError("max_queries is expected to be greater than zero")
        if max_inactive_connection_lifetime < 0:
            raise ClientConfigurationError(
                "max_inactive_connection_lifetime is expected to be greater or equal to zero"
            )
        self._init_size = min_size if init_size is None else init_size
        self._setup = setup
        self._reset = reset
        super().__init__(
            self._pool_config(dsn, connect_kwargs),
            min_size=min_size,
            max_size=max_size,
            multiplex=multiplex,
            max_queries=max_queries,
            max_inactive_connection_lifetime=float(max_inactive_connection_lifetime),
            acquire_timeout=acquire_timeout,
            connection_class=connection_class,
            record_class=record,
            on_connect=None if init is None else _checked_hook("init", init),
        )
        if setup is not None or reset is not None:
            # Every use of a connection has to pass the hooks: cover the native methods on this pool only.
            self.__dict__["acquire"] = self._acquire_context
            for name in _LEASED_METHODS:
                self.__dict__[name] = self._leased(name)

    def _pool_config(self, dsn: str | None, options: dict[str, Any]) -> _pg.ConnectConfig:
        if callable(options.get("password")):
            raise UnsupportedClientFeatureError(
                "a function as 'password' of a pool is not implemented; call set_connect_args() instead"
            )
        return make_config(dsn, **options)

    # -------------------------------------------------------------------------------------------- life time
    def __await__(self) -> Generator[Any, None, Self]:
        return self._initialized().__await__()

    async def _initialized(self) -> Self:
        await self.open()
        return self

    async def __aenter__(self) -> Self:
        return await self._initialized()

    async def __aexit__(
        self, extype: type[BaseException] | None, ex: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def expire_connections(self) -> None:  # type: ignore[override]
        """Replace every connection as soon as it is not in use."""
        super().expire_connections()

    def set_connect_args(self, dsn: str | None = None, **connect_kwargs: Any) -> None:
        """Take other arguments for connections that are opened from now on."""
        self.set_config(self._pool_config(dsn, connect_kwargs))

    def get_size(self) -> int:
        """Return the number of open connections."""
        return self.size

    def get_idle_size(self) -> int:
        """Return how many of them nobody uses."""
        return self.idle

    def get_min_size(self) -> int:
        """Return how many connections the pool keeps open."""
        return self.min_size

    def get_max_size(self) -> int:
        """Return how many connections the pool opens at most."""
        return self.max_size

    def get_init_size(self) -> int:
        """Return how many connections the pool opens at first."""
        return self._init_size

    def is_closing(self) -> bool:
        """Whether the pool is closed or closing."""
        return self.closing or self.closed

    # --------------------------------------------------------------------------------------------- leases
    async def release(  # type: ignore[override]
        self, connection: Any, *, timeout: float | None = None
    ) -> None:
        """Give a leased connection back; a second time is a no-op.

        An open transaction is rolled back and a changed session is reset before anybody else gets it.
        """
        if not (isinstance(connection, _pg.BaseConnection) and self.owns(connection)):
            raise InterfaceError(
                f"Pool.release() received invalid connection: {connection!r} is not a member of this pool"
            )
        if self._reset is not None and not connection.released and not connection.closed:
            try:
                await self._reset(connection)
            except BaseException:
                connection.terminate()
                super().release(connection)
                raise
        super().release(connection)

    def _acquire_context(self, *, timeout: float | None = None) -> PoolAcquireContext:
        return PoolAcquireContext(self, timeout)

    async def _acquire(self, timeout: float | None) -> Any:
        acquired: object = super().acquire(timeout=timeout)
        connection = await cast("Awaitable[Any]", acquired)
        if self._setup is not None:
            try:
                await self._setup(connection)
            except BaseException:
                connection.terminate()
                super().release(connection)
                raise
        return connection

    def _leased(self, name: str) -> Callable[..., Any]:
        async def method(*args: Any, **options: Any) -> Any:
            async with PoolAcquireContext(self, None) as connection:
                return await getattr(connection, name)(*args, **options)

        method.__name__ = name
        return method

    def __repr__(self) -> str:
        state = "closed" if self.closed else "closing" if self.closing else "open" if self.opened else "new"
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return f"<{name} {state} {self.size}/{self.max_size} {id(self):#x}>"

    if TYPE_CHECKING:

        def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext:  # type: ignore[override]
            """Lease a connection: ``await`` it, or ``async with`` it. ``timeout`` (seconds) bounds the wait."""

        def exec(self, query: str, /, *args: object, timeout: float | None = None) -> Result: ...


def _checked_hook(name: str, hook: Hook) -> Hook:
    async def call(connection: Any) -> None:
        made = hook(connection)
        if not inspect.isawaitable(made):
            raise InterfaceError(f"the {name!r} hook of a pool must be an async function, {hook!r} is not")
        await made

    return call


def create_pool(
    dsn: str | None = None,
    *,
    init_size: int | None = None,
    min_size: int = 10,
    max_size: int = 10,
    max_queries: int = 50000,
    max_inactive_connection_lifetime: float = 300.0,
    acquire_timeout: float | None = None,
    connect: object = None,
    setup: Hook | None = None,
    init: Hook | None = None,
    reset: Hook | None = None,
    loop: object = None,
    connection_class: type[Any] = Connection,
    record_class: type[_pg.Record] = _pg.Record,
    multiplex: bool = True,
    **connect_kwargs: Any,
) -> Pool:
    """Return a pool; ``await`` it or enter it with ``async with`` to open ``min_size`` connections.

    ``init(connection)`` runs once per new connection, ``setup(connection)`` before each lease and
    ``reset(connection)`` after it. ``multiplex=False`` gives every query of the pool a connection to
    itself, and so do ``setup`` and ``reset``. ``connect_kwargs`` are those of ``connect()``.

    Raises ``ClientConfigurationError`` at once for a bad option; connection errors come from the ``await``.

    >>> async with fasterapi_pg.create_pool("postgresql://app@localhost/shop", max_size=4) as pool:
    ...     rows = await pool.fetch("select id, name from product where price < $1", 10)
    """
    return Pool(
        dsn,
        init_size=init_size,
        min_size=min_size,
        max_size=max_size,
        max_queries=max_queries,
        max_inactive_connection_lifetime=max_inactive_connection_lifetime,
        acquire_timeout=acquire_timeout,
        connect=connect,
        setup=setup,
        init=init,
        reset=reset,
        loop=loop,
        connection_class=connection_class,
        record_class=record_class,
        multiplex=multiplex,
        **connect_kwargs,
    )
