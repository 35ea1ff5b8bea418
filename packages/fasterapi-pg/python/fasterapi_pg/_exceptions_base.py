"""The bases of the exception tree and the building of an exception from a server's message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from fasterapi_core import FasterAPIError

__all__ = [
    "AuthenticationError",
    "ClientConfigurationError",
    "FatalPostgresError",
    "InterfaceError",
    "InterfaceMessage",
    "InterfaceWarning",
    "InternalClientError",
    "MultipleResultsError",
    "NoResultError",
    "OutdatedSchemaCacheError",
    "PoolTimeout",
    "PostgresError",
    "PostgresLogMessage",
    "PostgresMessage",
    "ProtocolError",
    "TargetServerAttributeNotMatched",
    "UnknownPostgresError",
    "UnsupportedClientFeatureError",
    "UnsupportedServerFeatureError",
]

# Field identifiers of ErrorResponse and NoticeResponse (protocol documentation, "Error and Notice Message
# Fields").
_FIELDS = {
    "S": "severity",
    "V": "severity_en",
    "C": "sqlstate",
    "M": "message",
    "D": "detail",
    "H": "hint",
    "P": "position",
    "p": "internal_position",
    "q": "internal_query",
    "W": "context",
    "s": "schema_name",
    "t": "table_name",
    "c": "column_name",
    "d": "data_type_name",
    "n": "constraint_name",
    "F": "server_source_filename",
    "L": "server_source_line",
    "R": "server_source_function",
}

# The statement (or the whole transaction) had no effect and the same attempt may succeed a moment later.
_SAFE_TO_RETRY = frozenset({"40001", "40P01", "55P03", "53300", "57P03"})

# The server says these of a plan that the client has cached; the text is not translated, the routine is
# exact.
_STALE_PLAN_ROUTINE = "RevalidateCachedQuery"


class PostgresMessage:
    """What an error and a notice have in common: the fields of the server's message, ``None`` when absent."""

    severity: str | None = None
    severity_en: str | None = None
    sqlstate: ClassVar[str | None] = None
    message: str
    detail: str | None = None
    hint: str | None = None
    position: str | None = None
    internal_position: str | None = None
    internal_query: str | None = None
    context: str | None = None
    schema_name: str | None = None
    table_name: str | None = None
    column_name: str | None = None
    data_type_name: str | None = None
    constraint_name: str | None = None
    server_source_filename: str | None = None
    server_source_line: str | None = None
    server_source_function: str | None = None
    #: The text of the query that the message is about, when the driver knows it.
    query: str | None = None

    @classmethod
    def _class_for(cls, fields: Mapping[str, str]) -> type[Any]:
        raise NotImplementedError

    @classmethod
    def new(cls, fields: Mapping[str, str], query: str | None = None) -> Self:
        """Build the instance for a server's message.

        ``fields`` maps the one-letter identifiers of the protocol to their text. The class is the one of the
        SQLSTATE, else the one of its class ``xx000``, else ``UnknownPostgresError``.
        """
        made = cls._class_for(fields)(fields.get("M", ""))
        for code, text in fields.items():
            name = _FIELDS.get(code)
            if name is not None:
                made.__dict__[name] = text
        if query is not None:
            made.__dict__["query"] = query
        return made  # type: ignore[no-any-return]

    def as_dict(self) -> dict[str, str]:
        """Return the fields that the server sent, by attribute name."""
        found = self.__dict__
        return {name: found[name] for name in _FIELDS.values() if found.get(name) is not None}

    def _text(self) -> str:
        text = self.__dict__.get("message") or ""
        if self.detail:
            text += f"\nDETAIL:  {self.detail}"
        if self.hint:
            text += f"\nHINT:  {self.hint}"
        return text


class PostgresError(PostgresMessage, FasterAPIError):
    """An error reported by the server (or, as a ``DataError``, found before the query was sent).

    ``sqlstate`` is its five-character code, ``code`` is ``"pg." + sqlstate``. ``safe_to_retry`` says that the
    attempt left no effect behind and that repeating it (for 40001 and 40P01: the whole transaction) can help.
    """

    code = "pg.error"
    safe_to_retry: bool = False
    _by_sqlstate: ClassVar[dict[str, type[PostgresError]]] = {}

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.message = str(args[0]) if args else ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        state = cls.__dict__.get("sqlstate")
        if state is None:
            return
        if "code" not in cls.__dict__:
            cls.code = f"pg.{state}"
        if "safe_to_retry" not in cls.__dict__:
            cls.safe_to_retry = state in _SAFE_TO_RETRY
        PostgresError._by_sqlstate.setdefault(state, cls)

    def __str__(self) -> str:
        return self._text()

    @classmethod
    def _class_for(cls, fields: Mapping[str, str]) -> type[PostgresError]:
        state = fields.get("C", "")
        known = PostgresError._by_sqlstate
        if state == "0A000" and fields.get("R") == _STALE_PLAN_ROUTINE:
            from ._exceptions_table import InvalidCachedStatementError

            return InvalidCachedStatementError
        return known.get(state) or known.get(state[:2] + "000") or UnknownPostgresError


class FatalPostgresError(PostgresError):
    """An error after which the connection cannot go on."""


class UnknownPostgresError(FatalPostgresError):
    """An error with a SQLSTATE that this version does not know."""


class PostgresLogMessage(PostgresMessage):
    """A notice or warning from the server, as given to log listeners."""

    _by_sqlstate: ClassVar[dict[str, type[PostgresLogMessage]]] = {}

    def __init__(self, *args: Any) -> None:
        # Warnings among the subclasses have got their args from BaseException.__new__.
        self.message = str(args[0]) if args else ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        state = cls.__dict__.get("sqlstate")
        if state is not None:
            PostgresLogMessage._by_sqlstate.setdefault(state, cls)

    def __str__(self) -> str:
        severity = self.__dict__.get("severity_en") or self.severity
        return f"{severity}: {self._text()}" if severity else self._text()

    @classmethod
    def _class_for(cls, fields: Mapping[str, str]) -> type[PostgresLogMessage]:
        state = fields.get("C", "")
        known = PostgresLogMessage._by_sqlstate
        return known.get(state) or known.get(state[:2] + "000") or PostgresLogMessage


class InterfaceMessage:
    """An error's or a warning's text with optional ``detail`` and ``hint``."""

    args: tuple[Any, ...]

    def __init__(self, msg: str = "", *, detail: str | None = None, hint: str | None = None) -> None:
        self.detail = detail
        self.hint = hint
        super().__init__(msg)  # type: ignore[call-arg]

    def __str__(self) -> str:
        text = str(self.args[0]) if self.args else ""
        if self.detail:
            text += f"\nDETAIL:  {self.detail}"
        if self.hint:
            text += f"\nHINT:  {self.hint}"
        return text


class InterfaceError(InterfaceMessage, FasterAPIError):
    """The driver was used in a way it cannot serve; nothing was sent."""

    code = "pg.interface"
    safe_to_retry: bool = False

    def with_msg(self, msg: str) -> Self:
        """Return a copy with another text, the same traceback and the same cause."""
        made = type(self)(msg, detail=self.detail, hint=self.hint).with_traceback(self.__traceback__)
        made.__cause__ = self.__cause__
        made.__context__ = self.__context__
        return made


class InterfaceWarning(InterfaceMessage, UserWarning):
    """The driver is used in a way that is probably not meant."""


class ClientConfigurationError(InterfaceError, ValueError):
    """A connection option is wrong; the message names it."""

    code = "pg.configuration"


class UnsupportedClientFeatureError(InterfaceError):
    """This version of the driver does not do that."""

    code = "pg.unsupported_client_feature"


class UnsupportedServerFeatureError(InterfaceError):
    """The server does not do that."""

    code = "pg.unsupported_server_feature"


class AuthenticationError(InterfaceError):
    """The server asked for a login that the options forbid, or could not prove that it knows the password."""

    code = "pg.authentication"


class NoResultError(InterfaceError):
    """``Result.one()`` found no row."""

    code = "pg.no_result"


class MultipleResultsError(InterfaceError):
    """``Result.one()`` or ``one_or_none()`` found several rows."""

    code = "pg.multiple_results"


class PoolTimeout(InterfaceError, TimeoutError):
    """No connection of the pool became free in time."""

    code = "pg.pool_timeout"
    safe_to_retry = True


class InternalClientError(FasterAPIError):
    """The driver and the server do not understand each other."""

    code = "pg.internal"
    safe_to_retry: bool = False


class ProtocolError(InternalClientError):
    """The server sent something that the protocol does not allow; the connection is closed."""

    code = "pg.protocol"


class OutdatedSchemaCacheError(InternalClientError):
    """A type changed in the database after the driver had looked it up."""

    code = "pg.outdated_schema_cache"

    def __init__(
        self,
        msg: str,
        *,
        schema: str | None = None,
        data_type: str | None = None,
        position: str | None = None,
    ) -> None:
        super().__init__(msg)
        self.schema_name = schema
        self.data_type_name = data_type
        self.position = position


class TargetServerAttributeNotMatched(InternalClientError):
    """No host of the list is of the wanted kind (``target_session_attrs``)."""

    code = "pg.target_session_attrs"
