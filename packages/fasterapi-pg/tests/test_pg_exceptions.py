"""The exception tree: one class per SQLSTATE, the fields of the server's message, stable codes."""

from __future__ import annotations

import pickle

import fasterapi_core
import fasterapi_pg
import pytest
from fasterapi_pg import _exceptions_base, _exceptions_table, exceptions

# SQLSTATE -> class, from PostgreSQL's appendix A under asyncpg's names; one or two of each class of errors.
KNOWN = {
    "02000": "NoData", "03000": "SQLStatementNotYetCompleteError", "08000": "PostgresConnectionError",
    "08001": "ClientCannotConnectError", "08003": "ConnectionDoesNotExistError", "08006": "ConnectionFailureError",
    "08P01": "ProtocolViolationError", "0A000": "FeatureNotSupportedError", "21000": "CardinalityViolationError",
    "22001": "StringDataRightTruncationError", "22003": "NumericValueOutOfRangeError",
    "22007": "InvalidDatetimeFormatError", "22012": "DivisionByZeroError", "22P02": "InvalidTextRepresentationError",
    "22P05": "UntranslatableCharacterError", "23502": "NotNullViolationError", "23503": "ForeignKeyViolationError",
    "23505": "UniqueViolationError", "23514": "CheckViolationError", "23P01": "ExclusionViolationError",
    "25001": "ActiveSQLTransactionError", "25006": "ReadOnlySQLTransactionError",
    "25P02": "InFailedSQLTransactionError", "26000": "InvalidSQLStatementNameError",
    "28000": "InvalidAuthorizationSpecificationError", "28P01": "InvalidPasswordError",
    "3D000": "InvalidCatalogNameError", "3F000": "InvalidSchemaNameError", "40001": "SerializationError",
    "40P01": "DeadlockDetectedError", "42501": "InsufficientPrivilegeError", "42601": "PostgresSyntaxError",
    "42703": "UndefinedColumnError", "42883": "UndefinedFunctionError", "42P01": "UndefinedTableError",
    "42P07": "DuplicateTableError", "53300": "TooManyConnectionsError", "54000": "ProgramLimitExceededError",
    "55P03": "LockNotAvailableError", "57014": "QueryCanceledError", "57P01": "AdminShutdownError",
    "57P03": "CannotConnectNowError", "58030": "PostgresIOError", "F0000": "ConfigFileError", "HV000": "FDWError",
    "P0001": "RaiseError", "P0004": "AssertError", "XX000": "InternalServerError", "XX001": "DataCorruptedError",
}  # fmt: skip


@pytest.mark.parametrize(("sqlstate", "name"), [(s, n) for s, n in KNOWN.items() if s != "02000"])
def test_sqlstate_gives_its_class(sqlstate: str, name: str) -> None:
    error = exceptions.PostgresError.new({"S": "ERROR", "C": sqlstate, "M": "m"})
    assert type(error).__name__ == name
    assert error.sqlstate == sqlstate
    assert error.code == f"pg.{sqlstate}"
    assert isinstance(error, fasterapi_core.FasterAPIError)


def test_every_class_of_the_table_is_public_and_found_by_its_sqlstate() -> None:
    assert len(_exceptions_table.__all__) == 263
    assert sorted(_exceptions_table.__all__) == _exceptions_table.__all__
    for name in _exceptions_table.__all__:
        cls = getattr(_exceptions_table, name)
        assert getattr(fasterapi_pg, name) is getattr(exceptions, name) is cls
        assert len(cls.sqlstate) == 5
        if name == "InvalidCachedStatementError":
            continue
        made = cls._class_for({"C": cls.sqlstate})
        assert made is cls


def test_class_of_a_group_stands_for_unknown_states_of_the_group() -> None:
    assert (
        type(exceptions.PostgresError.new({"C": "23ZZZ", "M": ""}))
        is exceptions.IntegrityConstraintViolationError
    )
    assert exceptions.PostgresError.new({"C": "23ZZZ", "M": ""}).sqlstate == "23ZZZ"
    unknown = exceptions.PostgresError.new({"C": "ZZ999", "M": "what"})
    assert type(unknown) is exceptions.UnknownPostgresError
    assert str(unknown) == "what"


def test_stale_plan_is_told_apart_by_the_routine() -> None:
    fields = {"C": "0A000", "M": "cached plan must not change result type", "R": "RevalidateCachedQuery"}
    stale = exceptions.PostgresError.new(fields)
    assert type(stale) is exceptions.InvalidCachedStatementError
    assert isinstance(stale, exceptions.FeatureNotSupportedError)
    assert type(exceptions.PostgresError.new({"C": "0A000", "M": ""})) is exceptions.FeatureNotSupportedError


def test_fields_of_the_message_are_attributes() -> None:
    fields = dict(
        zip("SVCMDHPpqWstcdnFLR", "ERROR|ERROR|23505|m|d|h|1|2|q|w|s|t|c|dt|n|F|L|R".split("|"), strict=True)
    )
    error = exceptions.PostgresError.new({**fields, "?": "ignored"}, "select 1")
    assert error.as_dict() == {
        "severity": "ERROR", "severity_en": "ERROR", "sqlstate": "23505", "message": "m", "detail": "d",
        "hint": "h", "position": "1", "internal_position": "2", "internal_query": "q", "context": "w",
        "schema_name": "s", "table_name": "t", "column_name": "c", "data_type_name": "dt", "constraint_name": "n",
        "server_source_filename": "F", "server_source_line": "L", "server_source_function": "R",
    }  # fmt: skip
    assert str(error) == "m\nDETAIL:  d\nHINT:  h"
    assert error.args == ("m",)
    assert error.query == "select 1"
    bare = exceptions.PostgresError.new({"C": "42601", "M": "m"})
    assert (bare.detail, bare.hint, bare.position, bare.constraint_name) == (None, None, None, None)
    assert bare.as_dict() == {"sqlstate": "42601", "message": "m"}


def test_exceptions_survive_pickling() -> None:
    error = exceptions.PostgresError.new({"C": "23505", "M": "m", "D": "d", "n": "key"})
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.constraint_name) == (str(error), "key")
    interface = pickle.loads(pickle.dumps(exceptions.InterfaceError("m", detail="d")))
    assert str(interface) == "m\nDETAIL:  d"


def test_safe_to_retry_only_where_nothing_was_done() -> None:
    assert exceptions.SerializationError("x").safe_to_retry
    assert exceptions.DeadlockDetectedError("x").safe_to_retry
    assert exceptions.TooManyConnectionsError("x").safe_to_retry
    assert exceptions.PoolTimeout("x").safe_to_retry
    for cls in (
        exceptions.UniqueViolationError,
        exceptions.AdminShutdownError,
        exceptions.QueryCanceledError,
    ):
        assert not cls("x").safe_to_retry


def test_classes_are_also_the_builtin_ones_that_callers_wait_for() -> None:
    assert issubclass(exceptions.PoolTimeout, TimeoutError)
    assert issubclass(exceptions.ClientConfigurationError, ValueError)
    assert issubclass(exceptions.CannotConnectError, OSError)
    assert issubclass(exceptions.CannotConnectError, ConnectionRefusedError)
    error = exceptions.CannotConnectError("nobody answers")
    assert (str(error), error.code, error.sqlstate) == ("nobody answers", "pg.cannot_connect", "08001")


def test_log_messages() -> None:
    notice = exceptions.PostgresLogMessage.new(
        {"S": "NOTICE", "V": "NOTICE", "C": "00000", "M": "hello", "H": "h"}
    )
    assert type(notice) is exceptions.PostgresLogMessage
    assert str(notice) == "NOTICE: hello\nHINT:  h"
    assert notice.as_dict()["message"] == "hello"
    warning = exceptions.PostgresLogMessage.new({"V": "WARNING", "C": "01000", "M": "careful"})
    assert type(warning) is exceptions.PostgresWarning
    assert isinstance(warning, Warning)
    assert warning.args == ("careful",)
    assert isinstance(
        exceptions.PostgresLogMessage.new({"C": "01P01", "M": ""}), exceptions.DeprecatedFeature
    )


def test_interface_error_has_detail_and_hint() -> None:
    error = exceptions.InterfaceError("m", detail="d", hint="h")
    assert str(error) == "m\nDETAIL:  d\nHINT:  h"
    try:
        raise error
    except exceptions.InterfaceError as caught:
        other = caught.with_msg("n")
    assert str(other) == "n\nDETAIL:  d\nHINT:  h"
    assert other.__traceback__ is error.__traceback__


def test_every_own_class_has_a_code_of_its_own() -> None:
    codes: dict[str, str] = {}
    for name in _exceptions_base.__all__:
        cls = getattr(_exceptions_base, name)
        if "code" in cls.__dict__:
            assert cls.code.startswith("pg.")
            assert codes.setdefault(cls.code, name) == name
    assert {"pg.interface", "pg.pool_timeout", "pg.configuration", "pg.protocol"} <= codes.keys()
