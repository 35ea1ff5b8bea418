"""The native driver: everything the public classes of fasterapi_pg are built on. Private; import fasterapi_pg.

Conventions
  - Methods that return ``Future`` return fasterapi_core.Future: awaitable in any asyncio loop, and every error
    (wrong arguments included) arrives through it, never from the call itself.
  - ``timeout`` is in seconds; ``None`` takes the configuration's ``command_timeout``. A timeout raises the class
    given as ``"TimeoutError"`` to ``set_exception_types`` and cancels the query on the server.
  - Base* classes are made to be subclassed (Connection, Pool, PreparedStatement, Result of the public package).
  - Server errors are made by the factory of ``set_error_factory``; client-side errors by the classes of
    ``set_exception_types``. Both are set once, when fasterapi_pg is imported.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Self, TypeVar, overload

from fasterapi_core import Future

_T = TypeVar("_T")
_R = TypeVar("_R", bound="Record")

# --------------------------------------------------------------------------------------------- module set-up

def set_error_factory(factory: Callable[[dict[str, str], str | None], BaseException]) -> None:
    """``factory(fields, query)`` makes the exception for an ErrorResponse.

    ``fields`` has the protocol's one-letter keys: S severity, V severity (not localized), C sqlstate, M message,
    D detail, H hint, P position, p internal position, q internal query, W context, s schema, t table, c column,
    d data type, n constraint, F file, L line, R routine. ``query`` is the SQL text when known.
    """

def set_exception_types(types: Mapping[str, type[BaseException]]) -> None:
    """Classes for errors that the client itself finds. Keys (all have built-in stand-ins until set):

    InterfaceError          wrong use: closed or released connection, wrong argument count, blocking call on a loop
    DataError               a value cannot be encoded ("invalid input for query argument $1: ...") or decoded
    ProtocolError           the server broke the protocol; the connection is gone
    ConnectionLost          the connection ended while in use (attribute safe_to_retry is set to a bool on instances)
    ConnectionDoesNotExist  used after the server or the client closed it
    CannotConnect           no host could be reached (connect errors of each host in the message)
    AuthenticationError     a method the client refuses, a server that fails to prove itself, channel binding missing
    TargetServerMismatch    no host matches target_session_attrs
    TimeoutError            default builtins.TimeoutError
    PoolClosed              acquire or query on a pool that is closed or closing
    PoolTimeout             no connection became free in time (default: the TimeoutError class)
    NoResult                Result.one() without rows
    MultipleResults         Result.one()/one_or_none() with several rows
    """

def set_value_types(types: Mapping[str, Callable[..., Any]]) -> None:
    """Python classes for values without a built-in class. Keys and how they are called:

    Range(lower, upper, *, lower_inc, upper_inc, empty)   BitString.frombytes(data, bitlength) (the class itself)
    Point(x, y)  Path(*points, is_closed=)  Polygon(*points)  Box(high, low)  Line(a, b, c)  LineSegment(p1, p2)
    Circle(center, radius)
    Types not set are returned as their text form (ranges: as tuples (lower, upper, lower_inc, upper_inc) or None).
    Encoding reads the attributes lower, upper, lower_inc, upper_inc, isempty; bytes and len() of BitString; x, y; ...
    """

def set_result_class(cls: type[BaseResult]) -> None:
    """Class of the objects that query() and exec() return (a subclass of BaseResult without __init__)."""

def classify(sql: str) -> Literal["shared", "transaction", "exclusive"]:
    """What the pool may do with a statement: share a connection, exclusive but clean, exclusive and dirty."""

# --------------------------------------------------------------------------------------------- configuration

class ConnectConfig:
    """Everything needed to open a connection, fully resolved (DSN, environment, files are read by Python).

    hosts                  (host, port) in the order to try; a host that starts with "/" or "@" is the directory of
                           a unix socket (an abstract one for "@"); names are resolved off the loop, per connect
    hostaddrs              numeric addresses that replace name resolution, one per host or None
    password               raw; ``scram_password`` is its SASLprep form when that differs
    passwords              one per host (from a pgpass file); wins over password where not None
    sslmode                disable allow prefer require verify-ca verify-full; ignored on unix sockets
    direct_tls             sslnegotiation=direct
    channel_binding        disable prefer require
    require_auth           accepted methods out of none password md5 scram-sha-256; empty accepts all but password
    allow_cleartext        accept AuthenticationCleartextPassword without TLS (default only over TLS or a unix socket)
    target_session_attrs   any read-write read-only primary standby prefer-standby
    connect_timeout        seconds per host; None never
    command_timeout        default timeout of queries
    statement_cache_size   prepared statements per connection; 0: unnamed statements only (PgBouncer-safe)
    max_message_bytes      a larger message from the server (a row, mostly) ends the connection; at most 1 GiB
    decode_json            json and jsonb as Python objects instead of str
    """

    def __init__(
        self,
        *,
        hosts: Sequence[tuple[str, int]],
        user: str,
        database: str,
        hostaddrs: Sequence[str | None] | None = None,
        password: str | None = None,
        scram_password: str | None = None,
        passwords: Sequence[str | None] | None = None,
        sslmode: str = "prefer",
        direct_tls: bool = False,
        ssl_root_cert: str | None = None,
        ssl_crl: str | None = None,
        ssl_cert: str | None = None,
        ssl_key: str | None = None,
        ssl_key_password: str | None = None,
        ssl_min_version: str | None = None,
        ssl_max_version: str | None = None,
        channel_binding: str = "prefer",
        require_auth: Sequence[str] = (),
        allow_cleartext: bool = False,
        server_settings: Mapping[str, str] | None = None,
        target_session_attrs: str = "any",
        load_balance_hosts: bool = False,
        keepalives: bool = True,
        keepalives_idle: int = 0,
        keepalives_interval: int = 0,
        keepalives_count: int = 0,
        tcp_user_timeout_ms: int = 0,
        connect_timeout: float | None = 60.0,
        command_timeout: float | None = None,
        statement_cache_size: int = 100,
        max_cached_statement_lifetime: float = 300.0,
        max_cacheable_statement_size: int = 15360,
        max_message_bytes: int = 1 << 30,
        decode_json: bool = False,
    ) -> None: ...
    @property
    def hosts(self) -> list[tuple[str, int]]: ...
    @property
    def user(self) -> str: ...
    @property
    def database(self) -> str: ...
    @property
    def command_timeout(self) -> float | None: ...
    @property
    def statement_cache_size(self) -> int: ...

# --------------------------------------------------------------------------------------------- rows

class Record:
    """A row: a sequence of values that is also a mapping by column name (a name that repeats means the last).

    Equal to and hashed like the tuple of its values. Subclassable without __init__ (record_class).
    """

    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, key: str | int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Any, ...]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __contains__(self, name: object) -> bool: ...
    @overload
    def get(self, key: str, /) -> Any | None: ...
    @overload
    def get(self, key: str, default: _T, /) -> Any | _T: ...
    def keys(self) -> Iterator[str]: ...
    def values(self) -> Iterator[Any]: ...
    def items(self) -> Iterator[tuple[str, Any]]: ...
    def __lt__(self, other: object) -> bool: ...
    def __le__(self, other: object) -> bool: ...
    def __gt__(self, other: object) -> bool: ...
    def __ge__(self, other: object) -> bool: ...

class Column:
    """A result column: also a tuple (name, type_oid, type_name, type_schema, type_kind)."""

    name: str
    type_oid: int
    type_name: str
    type_schema: str
    type_kind: str  # "scalar" "array" "composite" "range" "multirange" "domain" "enum"

class BaseResult:
    """The rows of one query as received; values are decoded when touched."""

    @property
    def status(self) -> str: ...  # command tag, "SELECT 3"
    @property
    def rowcount(self) -> int: ...  # rows the command touched, -1 when the tag has none
    @property
    def columns(self) -> tuple[str, ...]: ...
    @property
    def column_types(self) -> tuple[Column, ...]: ...
    def all(self) -> list[Record]: ...
    def first(self) -> Record | None: ...
    def one(self) -> Record: ...  # NoResult / MultipleResults
    def one_or_none(self) -> Record | None: ...  # MultipleResults
    def scalar(self) -> Any: ...  # first column of the first row, None without rows
    def scalars(self) -> list[Any]: ...  # first column of all rows
    def tuples(self) -> list[tuple[Any, ...]]: ...
    def dicts(self) -> list[dict[str, Any]]: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __iter__(self) -> Iterator[Record]: ...
    def __bool__(self) -> bool: ...  # has rows

# --------------------------------------------------------------------------------------------- connections

class BaseConnection:
    """A session, or a lease of one: a lease that was released raises InterfaceError on any use.

    Queries issued without waiting for each other are pipelined. `execute` without arguments uses the simple protocol
    (a script of several statements is allowed). `execute` returns the command tag of the last statement.
    """

    @classmethod
    def connect(cls, config: ConnectConfig, *, record_class: type[Record] | None = None) -> Future[Self]: ...
    @classmethod
    def connect_blocking(
        cls, config: ConnectConfig, *, record_class: type[Record] | None = None, timeout: float | None = None
    ) -> Self:
        """For scripts without a loop; the connection then has only blocking methods (exec, close_blocking)."""

    def fetch(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        record_class: type[Record] | None = None,
    ) -> Future[list[Record]]: ...
    def fetchrow(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        record_class: type[Record] | None = None,
    ) -> Future[Record | None]: ...
    def fetchval(
        self, query: str, /, *args: object, column: int | str = 0, timeout: float | None = None
    ) -> Future[Any]: ...
    def execute(self, query: str, /, *args: object, timeout: float | None = None) -> Future[str]: ...
    def executemany(
        self, query: str, args: Iterable[Sequence[object]], /, *, timeout: float | None = None
    ) -> Future[None]:
        """All argument tuples in one Sync group: atomic, errors name nothing but themselves."""

    def fetchmany(
        self,
        query: str,
        args: Iterable[Sequence[object]],
        /,
        *,
        timeout: float | None = None,
        record_class: type[Record] | None = None,
    ) -> Future[list[Record]]: ...
    def query(self, query: str, /, *args: object, timeout: float | None = None) -> Future[BaseResult]: ...
    def simple(self, script: str, /, *, timeout: float | None = None) -> Future[str]: ...
    def prepare(
        self,
        query: str,
        /,
        *,
        name: str | None = None,
        timeout: float | None = None,
        record_class: type[Record] | None = None,
        statement_class: type[BaseStatement] | None = None,
    ) -> Future[BaseStatement]: ...
    def portal(
        self, query: str | BaseStatement, /, *args: object, timeout: float | None = None
    ) -> Future[Portal]:
        """Binds a server-side cursor; needs a transaction to live longer than one statement."""

    # blocking side: the caller waits without the GIL; InterfaceError on the loop's own thread
    def exec(self, query: str, /, *args: object, timeout: float | None = None) -> BaseResult: ...
    def exec_script(self, script: str, /, *, timeout: float | None = None) -> str: ...
    def close_blocking(self, *, timeout: float | None = None) -> None: ...
    def close(self, *, timeout: float | None = None) -> Future[None]: ...
    def terminate(self) -> None: ...
    def cancel(self) -> Future[None]:
        """Asks the server to cancel what runs now; done when the server has taken the request."""

    @property
    def closed(self) -> bool: ...
    @property
    def released(self) -> bool: ...  # this handle's lease is over
    @property
    def pid(self) -> int: ...
    @property
    def transaction_status(
        self,
    ) -> str: ...  # "I" idle, "T" in a transaction, "E" in a failed one, "?" closed
    @property
    def parameters(self) -> dict[str, str]: ...  # ParameterStatus values, a copy
    @property
    def address(self) -> tuple[str, int] | str: ...
    @property
    def tls_version(self) -> str | None: ...
    @property
    def config(self) -> ConnectConfig: ...
    @property
    def in_flight(self) -> int: ...

    # callbacks run on the loop; exceptions go to sys.unraisablehook. None removes.
    def set_notice_handler(self, handler: Callable[[dict[str, str]], object] | None, /) -> None: ...
    def set_notification_handler(self, handler: Callable[[int, str, str], object] | None, /) -> None:
        """handler(pid, channel, payload)."""

    def set_close_handler(self, handler: Callable[[], object] | None, /) -> None: ...

    # Types are known per database: for leased connections these change the pool's table.
    def set_codec(
        self,
        oid: int,
        encoder: Callable[[Any], Any],
        decoder: Callable[[Any], Any],
        format: Literal["text", "binary", "tuple"] = "text",
        /,
    ) -> None: ...
    def reset_codec(self, oid: int, /) -> None: ...
    def clear_type_cache(self) -> None:
        """Forgets introspected types and prepared statements (reload_schema_state)."""

class BaseStatement:
    """A prepared statement of one connection. Closed on the server when the last reference goes."""

    def fetch(
        self, *args: object, timeout: float | None = None, record_class: type[Record] | None = None
    ) -> Future[list[Record]]: ...
    def fetchrow(
        self, *args: object, timeout: float | None = None, record_class: type[Record] | None = None
    ) -> Future[Record | None]: ...
    def fetchval(self, *args: object, column: int | str = 0, timeout: float | None = None) -> Future[Any]: ...
    def execute(self, *args: object, timeout: float | None = None) -> Future[str]: ...
    def executemany(
        self, args: Iterable[Sequence[object]], /, *, timeout: float | None = None
    ) -> Future[None]: ...
    def fetchmany(
        self,
        args: Iterable[Sequence[object]],
        /,
        *,
        timeout: float | None = None,
        record_class: type[Record] | None = None,
    ) -> Future[list[Record]]: ...
    def exec(self, *args: object, timeout: float | None = None) -> BaseResult: ...
    @property
    def connection(self) -> BaseConnection: ...
    @property
    def query(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> tuple[Column, ...]: ...  # name is ""
    @property
    def attributes(self) -> tuple[Column, ...]: ...
    @property
    def status(self) -> str | None: ...  # command tag of the last execution

class Portal:
    def fetch(self, limit: int, /, *, timeout: float | None = None) -> Future[list[Record]]:
        """At most `limit` rows (0: all that are left); fewer mean that the portal is finished."""

    def close(self) -> Future[None]: ...
    @property
    def exhausted(self) -> bool: ...

# --------------------------------------------------------------------------------------------- pool

class Acquire:
    """What BasePool.acquire() returns: `await` it, or use it in `async with`."""

    def __await__(self) -> Iterator[Any]: ...
    def __aenter__(self) -> Awaitable[Any]: ...
    def __aexit__(self, *exc: object) -> Awaitable[None]: ...

class BasePool:
    """Connections of one database, shared by concurrent queries.

    Bound to the loop that runs at first use, or (blocking use outside a loop) to a private reactor driven by the
    calling threads. A pool that was only used by blocking calls moves to the first loop that uses it.
    `on_connect(connection)` (async) runs once per new connection, before anybody else gets it.
    """

    def __init__(
        self,
        config: ConnectConfig,
        *,
        min_size: int = 10,
        max_size: int = 10,
        multiplex: bool = True,
        max_queries: int = 50000,
        max_inactive_connection_lifetime: float = 300.0,
        acquire_timeout: float | None = None,
        connection_class: type[BaseConnection] | None = None,
        record_class: type[Record] | None = None,
        on_connect: Callable[[Any], Awaitable[object]] | None = None,
    ) -> None: ...
    def open(self) -> Future[None]:
        """Opens min_size connections on the running loop (a second call is a no-op)."""

    def fetch(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        record_class: type[Record] | None = None,
    ) -> Future[list[Record]]: ...
    def fetchrow(
        self,
        query: str,
        /,
        *args: object,
        timeout: float | None = None,
        record_class: type[Record] | None = None,
    ) -> Future[Record | None]: ...
    def fetchval(
        self, query: str, /, *args: object, column: int | str = 0, timeout: float | None = None
    ) -> Future[Any]: ...
    def execute(self, query: str, /, *args: object, timeout: float | None = None) -> Future[str]: ...
    def executemany(
        self, query: str, args: Iterable[Sequence[object]], /, *, timeout: float | None = None
    ) -> Future[None]: ...
    def fetchmany(
        self,
        query: str,
        args: Iterable[Sequence[object]],
        /,
        *,
        timeout: float | None = None,
        record_class: type[Record] | None = None,
    ) -> Future[list[Record]]: ...
    def query(self, query: str, /, *args: object, timeout: float | None = None) -> Future[BaseResult]: ...
    def acquire(self, *, timeout: float | None = None) -> Acquire: ...
    def release(self, connection: BaseConnection, /) -> None:
        """Ends the lease at once. An open transaction is rolled back, a dirty session is reset, both pipelined
        ahead of the next query. Releasing twice is a no-op; a foreign connection raises InterfaceError."""

    def owns(self, connection: BaseConnection, /) -> bool: ...
    # blocking side
    def exec(self, query: str, /, *args: object, timeout: float | None = None) -> BaseResult: ...
    def exec_script(self, script: str, /, *, timeout: float | None = None) -> str: ...
    def open_blocking(self) -> None:
        """Opens min_size connections; otherwise they are opened as they are needed."""

    def acquire_blocking(self, *, timeout: float | None = None) -> Any:
        """A leased connection; give it back with release()."""

    def close_blocking(self, *, timeout: float | None = None) -> None: ...
    def close(self, *, timeout: float | None = None) -> Future[None]:
        """Refuses new work, waits for leases and queries to end, then closes. Connections that are left at the
        timeout are terminated."""

    def terminate(self) -> None: ...
    def expire_connections(self) -> None:
        """Every connection is replaced as soon as it is not in use."""

    def set_config(self, config: ConnectConfig, /) -> None:
        """For connections opened from now on."""

    @property
    def size(self) -> int: ...
    @property
    def idle(self) -> int: ...
    @property
    def min_size(self) -> int: ...
    @property
    def max_size(self) -> int: ...
    @property
    def closing(self) -> bool: ...
    @property
    def closed(self) -> bool: ...
    @property
    def opened(self) -> bool: ...
    def stats(self) -> dict[str, int | float]:
        """size, idle, leased, waiting, in_flight, queries, shared_queries, exclusive_queries, connects,
        connect_errors, resets, prepared, healed, cancelled, bytes_received, bytes_sent."""
