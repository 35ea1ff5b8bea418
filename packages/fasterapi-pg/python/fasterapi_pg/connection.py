"""A connection with asyncpg's methods."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import os
import re
import ssl as ssl_module
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, overload

from . import _codecs, _config, _listeners, _pg
from ._copy import CopyMethods
from ._listeners import LoggedQuery
from .cursor import CursorFactory
from .exceptions import ClientConfigurationError, InterfaceError, UnsupportedClientFeatureError
from .prepared_stmt import PreparedStatement
from .transaction import Transaction
from .types import ServerVersion

if TYPE_CHECKING:
    from fasterapi_core import Future

__all__ = ["Connection", "ConnectionSettings", "LoggedQuery", "connect"]

_C = TypeVar("_C", bound="Connection")

_LOGGED_METHODS = ("fetch", "fetchrow", "fetchval", "execute", "executemany", "fetchmany")
_NO_LISTENERS: Any = {}
_RESET_QUERY = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"

Listener = Callable[["Connection", int, str, Any], object]
LogListener = Callable[["Connection", Any], object]
TerminationListener = Callable[["Connection"], object]
QueryLogger = Callable[[LoggedQuery], object]


class ConnectionSettings:
    """The server parameters that the server reports, as attributes: ``settings.TimeZone``."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def __getattr__(self, name: str) -> str:
        values: dict[str, str] = object.__getattribute__(self, "_values")
        if name in values:
            return values[name]
        for known, value in values.items():
            if known.lower() == name.lower():  # asyncpg: settings.timezone
                return value
        raise AttributeError(f"the server reports no parameter {name!r}")

    def as_dict(self) -> dict[str, str]:
        """Return all of them."""
        return dict(self._values)

    def __repr__(self) -> str:
        return f"<ConnectionSettings {self._values!r}>"


class Connection(CopyMethods, _pg.BaseConnection):
    """A session with a server, made by ``connect()``, or a lease of one from a pool.

    Queries that are issued without waiting for each other are pipelined: they leave together and each gets
    its own result or error. Methods that ask the server return an awaitable that has started already. After
    a lease is given back every use of it raises ``InterfaceError``.
    """

    # Native code makes instances without __init__: state that most connections never have is set when needed.
    _top_xact: Transaction | None = None
    _listeners: dict[str, list[Listener]] = _NO_LISTENERS
    _log_listeners: Sequence[LogListener] = ()
    _termination_listeners: Sequence[TerminationListener] = ()
    _query_loggers: Sequence[QueryLogger] = ()

    # ---------------------------------------------------------------------------------------- transactions
    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> Transaction:
        """Return a transaction for ``async with``, a savepoint when one is open already.

        ``isolation`` is ``"read_committed"``, ``"repeatable_read"``, ``"serializable"``,
        ``"read_uncommitted"`` or ``None`` for the session's default.
        """
        self._check_open()
        return Transaction(self, isolation, readonly, deferrable)

    def is_in_transaction(self) -> bool:
        """Whether a transaction is open on the server, a failed one included."""
        return self.transaction_status in ("T", "E")

    # -------------------------------------------------------------------------- prepared statements, cursors
    def prepare(  # type: ignore[override]
        self,
        query: str,
        *,
        name: str | None = None,
        timeout: float | None = None,
        record_class: type[_pg.Record] | None = None,
    ) -> Future[PreparedStatement]:
        """Prepare a statement for many executions.

        Its name on the server is the driver's choice: raises ``UnsupportedClientFeatureError`` for a ``name``.
        """
        if name is not None:
            raise UnsupportedClientFeatureError("prepare(name=...) is not implemented; leave the name out")
        made = super().prepare(
            query, timeout=timeout, record_class=record_class, statement_class=PreparedStatement
        )
        return cast("Future[PreparedStatement]", made)

    def cursor(
        self,
        query: str,
        *args: object,
        prefetch: int | None = None,
        timeout: float | None = None,
        record_class: type[_pg.Record] | None = None,
    ) -> CursorFactory:
        """Return a server-side cursor; needs a transaction. ``async for`` it, or await it for a
        ``Cursor``.
        """
        self._check_open()
        return CursorFactory(self, query, args, prefetch, timeout, record_class)

    # --------------------------------------------------------------------------------------------- session
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self.closed

    def get_server_pid(self) -> int:
        """Return the process id of the server's process for this session."""
        return self.pid

    def get_server_version(self) -> ServerVersion:
        """Return the server's version."""
        return _server_version(self.parameters.get("server_version", "0"))

    def get_settings(self) -> ConnectionSettings:
        """Return the parameters that the server has reported."""
        return ConnectionSettings(self.parameters)

    def get_reset_query(self) -> str:
        """Return the SQL that ``reset()`` sends."""
        return _RESET_QUERY

    async def reset(self, *, timeout: float | None = None) -> None:
        """Bring the session back to its initial state: listeners, transaction, locks, settings."""
        self._check_open()
        self._listeners = _NO_LISTENERS
        self._log_listeners = ()
        self._top_xact = None
        if self.is_in_transaction():
            await self.simple("ROLLBACK", timeout=timeout)
        await self.simple(self.get_reset_query(), timeout=timeout)

    async def reload_schema_state(self) -> None:
        """Forget what is known about the database's types."""
        self.clear_type_cache()

    def _check_open(self) -> None:
        if self.released:
            raise InterfaceError("cannot use a connection that has been released back to the pool")
        if self.closed:
            raise InterfaceError("connection is closed")

    # ------------------------------------------------------------------------------------------- listeners
    async def add_listener(self, channel: str, callback: Listener) -> None:
        """Call ``callback(connection, pid, channel, payload)`` for each notification on ``channel``.

        ``callback`` may be a coroutine function.
        """
        self._check_open()
        if self._listeners is _NO_LISTENERS:
            self._listeners = {}
            self.set_notification_handler(_listeners.on_notification(self))
        callbacks = self._listeners.get(channel)
        if callbacks is None:
            self._listeners[channel] = [callback]
            try:
                await self.simple(f"LISTEN {quote_identifier(channel)}")
            except BaseException:
                self._listeners.pop(channel, None)
                raise
        elif callback not in callbacks:
            callbacks.append(callback)

    async def remove_listener(self, channel: str, callback: Listener) -> None:
        """Undo ``add_listener``; nothing happens when it was not there or the connection is closed."""
        if self.is_closed():
            return
        callbacks = self._listeners.get(channel)
        if callbacks is None or callback not in callbacks:
            return
        callbacks.remove(callback)
        if not callbacks:
            del self._listeners[channel]
            await self.simple(f"UNLISTEN {quote_identifier(channel)}")

    def add_log_listener(self, callback: LogListener) -> None:
        """Call ``callback(connection, message)`` for each notice or warning of the server."""
        self._check_open()
        if not self._log_listeners:
            self.set_notice_handler(_listeners.on_notice(self))
        self._log_listeners = _with(self._log_listeners, callback)

    def remove_log_listener(self, callback: LogListener) -> None:
        """Undo ``add_log_listener``."""
        self._log_listeners = _without(self._log_listeners, callback)

    def add_termination_listener(self, callback: TerminationListener) -> None:
        """Call ``callback(connection)`` when the connection ends, whoever ends it."""
        self._check_open()
        if not self._termination_listeners:
            self.set_close_handler(_listeners.on_close(self))
        self._termination_listeners = _with(self._termination_listeners, callback)

    def remove_termination_listener(self, callback: TerminationListener) -> None:
        """Undo ``add_termination_listener``."""
        self._termination_listeners = _without(self._termination_listeners, callback)

    def add_query_logger(self, callback: QueryLogger) -> None:
        """Call ``callback(LoggedQuery)`` after each query of this connection."""
        self._check_open()
        if not self._query_loggers:
            # Only a connection with a logger pays for logging: its methods are covered by instance
            # attributes.
            for name in _LOGGED_METHODS:
                self.__dict__[name] = functools.partial(_logged, self, getattr(super(), name))
        self._query_loggers = _with(self._query_loggers, callback)

    def remove_query_logger(self, callback: QueryLogger) -> None:
        """Undo ``add_query_logger``."""
        self._query_loggers = _without(self._query_loggers, callback)
        if not self._query_loggers:
            for name in _LOGGED_METHODS:
                self.__dict__.pop(name, None)

    @contextlib.contextmanager
    def query_logger(self, callback: QueryLogger) -> Iterator[None]:
        """Log the queries made inside the ``with`` block."""
        self.add_query_logger(callback)
        try:
            yield
        finally:
            self.remove_query_logger(callback)

    # ---------------------------------------------------------------------------------------------- codecs
    async def set_type_codec(
        self,
        typename: str,
        *,
        schema: str = "public",
        encoder: Callable[[Any], Any],
        decoder: Callable[[Any], Any],
        format: Literal["text", "binary", "tuple"] = "text",
    ) -> None:
        """Encode and decode a type by own functions.

        With ``format="text"`` they deal in ``str``, with ``"binary"`` in ``bytes``, with ``"tuple"`` in a
        tuple of the simple values a composite type is made of. In a pool this applies to all its
        connections.
        """
        self._check_open()
        if format not in ("text", "binary", "tuple"):
            raise ValueError(f"invalid format {format!r}: one of 'text', 'binary', 'tuple'")
        oid = await _codecs.type_oid(self, typename, schema, composite=format == "tuple")
        self.set_codec(oid, encoder, decoder, format)

    async def reset_type_codec(self, typename: str, *, schema: str = "public") -> None:
        """Go back to the built-in codec."""
        self._check_open()
        self.reset_codec(await _codecs.type_oid(self, typename, schema, composite=False))

    async def set_builtin_type_codec(
        self, typename: str, *, schema: str = "public", codec_name: str, format: str | None = None
    ) -> None:
        """Attach a codec of the driver to an extension's type; known: ``pg_contrib.hstore``."""
        self._check_open()
        await _codecs.set_named_codec(self, typename, schema, codec_name)

    def __repr__(self) -> str:
        state = "released" if self.released else "closed" if self.closed else f"pid={self.pid}"
        return f"<{type(self).__module__}.{type(self).__qualname__} {state} {id(self):#x}>"


async def _logged(
    connection: Connection,
    method: Callable[..., Awaitable[Any]],
    query: str,
    *args: Any,
    timeout: float | None = None,
    **options: Any,
) -> Any:
    started = time.perf_counter()
    failure: BaseException | None = None
    try:
        return await method(query, *args, timeout=timeout, **options)
    except BaseException as error:
        failure = error
        raise
    finally:
        record = LoggedQuery(
            query=query,
            args=args[0] if method.__name__ in ("executemany", "fetchmany") else args,
            timeout=timeout,
            elapsed=time.perf_counter() - started,
            exception=failure,
            conn_addr=connection.address,
            conn_params=connection.config,
        )
        for callback in list(connection._query_loggers):
            _listeners.call(callback, record)


def _with(callbacks: Sequence[Any], callback: Any) -> list[Any]:
    return [*callbacks, callback] if callback not in callbacks else list(callbacks)


def _without(callbacks: Sequence[Any], callback: Any) -> list[Any]:
    return [known for known in callbacks if known != callback]


def quote_identifier(name: str) -> str:
    """Return a name quoted for SQL."""
    if "\0" in name:
        raise InterfaceError("a name must not contain a NUL character")
    return '"' + name.replace('"', '""') + '"'


def _server_version(text: str) -> ServerVersion:
    match = re.match(r"(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:\s*(devel|alpha|beta|rc)(\d*))?", text.strip())
    if match is None:
        return ServerVersion(0, 0, 0, "final", 0)
    major, second, third, level, serial = match.groups()
    numbers = int(major), int(second or 0), int(third or 0)
    if numbers[0] >= 10:  # two-part numbering since 10: the second number is what "micro" was
        numbers = numbers[0], 0, numbers[1]
    return ServerVersion(*numbers, level or "final", int(serial or 0))


def make_config(
    dsn: str | None = None,
    *,
    host: str | Sequence[str] | None = None,
    port: int | str | Sequence[int | str] | None = None,
    user: str | None = None,
    password: str | None = None,
    passfile: str | os.PathLike[str] | None = None,
    service: str | None = None,
    servicefile: str | os.PathLike[str] | None = None,
    database: str | None = None,
    loop: object = None,
    timeout: float | None = 60.0,
    statement_cache_size: int = 100,
    max_cached_statement_lifetime: float = 300.0,
    max_cacheable_statement_size: int = 15360,
    command_timeout: float | None = None,
    ssl: ssl_module.SSLContext | str | bool | None = None,
    direct_tls: bool | None = None,
    server_settings: Mapping[str, str] | None = None,
    target_session_attrs: str | None = None,
    krbsrvname: str | None = None,
    gsslib: str | None = None,
    decode_json: bool = False,
    allow_cleartext: bool = False,
) -> _pg.ConnectConfig:
    """Return the native configuration for ``connect()``'s arguments."""
    if loop is not None and loop is not _running_loop():
        raise InterfaceError("the 'loop' argument must be the running loop; leave it out")
    for name, value in (
        ("statement_cache_size", statement_cache_size),
        ("max_cached_statement_lifetime", max_cached_statement_lifetime),
        ("max_cacheable_statement_size", max_cacheable_statement_size),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise ClientConfigurationError(f"option {name!r} must not be negative, got {value!r}")
    _check_seconds("command_timeout", command_timeout)
    _check_seconds("timeout", timeout)
    resolved = _config.resolve(
        dsn,
        host=host,
        port=port,
        user=user,
        password=password,
        passfile=passfile,
        service=service,
        servicefile=servicefile,
        database=database,
        ssl=ssl,
        direct_tls=direct_tls,
        server_settings=server_settings,
        target_session_attrs=target_session_attrs,
    )
    arguments = resolved.native_arguments()
    limits = [seconds for seconds in (arguments["connect_timeout"], timeout) if seconds is not None]
    arguments["connect_timeout"] = float(min(limits)) if limits else None
    return _pg.ConnectConfig(
        **arguments,
        command_timeout=None if command_timeout is None else float(command_timeout),
        statement_cache_size=int(statement_cache_size),
        max_cached_statement_lifetime=float(max_cached_statement_lifetime),
        max_cacheable_statement_size=int(max_cacheable_statement_size),
        decode_json=decode_json,
        allow_cleartext=allow_cleartext,
    )


def _check_seconds(name: str, value: float | None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ClientConfigurationError(f"invalid {name} value: expected greater than 0 float (got {value!r})")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def check_classes(connection_class: type[Any], record_class: type[Any]) -> type[_pg.Record] | None:
    """Check what ``connect`` and ``create_pool`` were given; the native side takes ``None`` for
    ``Record``.
    """
    if not (isinstance(connection_class, type) and issubclass(connection_class, Connection)):
        raise InterfaceError(
            "connection_class is expected to be a subclass of fasterapi_pg.Connection, got "
            f"{connection_class!r}"
        )
    if not (isinstance(record_class, type) and issubclass(record_class, _pg.Record)):
        raise InterfaceError(
            f"record_class is expected to be a subclass of fasterapi_pg.Record, got {record_class!r}"
        )
    return None if record_class is _pg.Record else record_class


@overload
async def connect(dsn: str | None = None, *, connection_class: type[_C], **options: Any) -> _C: ...
@overload
async def connect(
    dsn: str | None = None,
    *,
    host: str | Sequence[str] | None = None,
    port: int | str | Sequence[int | str] | None = None,
    user: str | None = None,
    password: str | Callable[[], str] | Callable[[], Awaitable[str]] | None = None,
    passfile: str | os.PathLike[str] | None = None,
    service: str | None = None,
    servicefile: str | os.PathLike[str] | None = None,
    database: str | None = None,
    loop: object = None,
    timeout: float | None = 60,
    statement_cache_size: int = 100,
    max_cached_statement_lifetime: float = 300,
    max_cacheable_statement_size: int = 15360,
    command_timeout: float | None = None,
    ssl: ssl_module.SSLContext | str | bool | None = None,
    direct_tls: bool | None = None,
    record_class: type[_pg.Record] = _pg.Record,
    server_settings: Mapping[str, str] | None = None,
    target_session_attrs: str | None = None,
    krbsrvname: str | None = None,
    gsslib: str | None = None,
    decode_json: bool = False,
    allow_cleartext: bool = False,
) -> Connection: ...
async def connect(
    dsn: str | None = None,
    *,
    password: Any = None,
    timeout: float | None = 60,
    connection_class: type[Any] = Connection,
    record_class: type[_pg.Record] = _pg.Record,
    **options: Any,
) -> Any:
    """Open a connection.

    ``dsn`` is a libpq connection string in either form; arguments win over it, it wins over the service
    file, the ``PG*`` environment and the defaults. ``timeout`` (seconds) bounds the whole attempt over all
    hosts, ``command_timeout`` is the default of every query. ``password`` may be a function, also an async
    one.

    Raises ``ClientConfigurationError`` (a bad option), ``CannotConnectError`` (nobody answers, an
    ``OSError``), ``InvalidPasswordError`` and other ``PostgresError`` (the server refuses),
    ``TimeoutError``.

    >>> connection = await fasterapi_pg.connect("postgresql://app@localhost/shop")
    >>> await connection.fetchval("select $1::int + 1", 41)
    42
    """
    record = check_classes(connection_class, record_class)
    if callable(password):
        password = password()
        if inspect.isawaitable(password):
            password = await password
    config = make_config(dsn, password=password, timeout=timeout, **options)
    async with asyncio.timeout(timeout):
        return await connection_class.connect(config, record_class=record)
