"""Every exception of the driver, named as asyncpg names them.

::

    fasterapi_core.FasterAPIError            .code .safe_to_retry
    ├── PostgresError                        from the server: .sqlstate .message .detail .hint ...
    │   ├── FatalPostgresError
    │   │   └── UnknownPostgresError
    │   ├── PostgresConnectionError (08)     ConnectionDoesNotExistError, ...
    │   │   └── ClientCannotConnectError
    │   │       └── CannotConnectError       (also ConnectionRefusedError, an OSError) no host answered
    │   ├── DataError (22)
    │   ├── IntegrityConstraintViolationError (23)   UniqueViolationError, ForeignKeyViolationError, ...
    │   └── ...                              one class per SQLSTATE
    ├── InterfaceError                       wrong use, nothing was sent
    │   ├── ClientConfigurationError         (also ValueError) a connection option is wrong
    │   ├── AuthenticationError              the client refuses the login
    │   ├── NoResultError, MultipleResultsError
    │   ├── PoolTimeout                      (also TimeoutError) no free connection in time
    │   ├── UnsupportedClientFeatureError
    │   └── UnsupportedServerFeatureError
    └── InternalClientError
        ├── OutdatedSchemaCacheError
        ├── ProtocolError
        └── TargetServerAttributeNotMatched
"""

from . import _exceptions_base as _base
from . import _exceptions_table as _table
from ._exceptions_base import *  # noqa: F403
from ._exceptions_table import *  # noqa: F403
from ._exceptions_table import ClientCannotConnectError


class CannotConnectError(ClientCannotConnectError, ConnectionRefusedError):
    """No host could be reached; the message says what happened with each of them.

    It is a ``ConnectionRefusedError`` too, because that is what callers of asyncpg wait for.
    """

    code = "pg.cannot_connect"
    safe_to_retry = True


__all__ = ["CannotConnectError"]
__all__ += _base.__all__
__all__ += _table.__all__
