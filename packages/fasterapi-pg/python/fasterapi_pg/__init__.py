"""A native PostgreSQL driver for Python: asyncio and blocking, pipelined and multiplexed.

``connect()`` and ``create_pool()`` have asyncpg's interface; ``PgPool`` serves blocking code and coroutines
alike.
"""

# ruff: noqa: E402, F403, F405  core's version is checked before the extension is loaded
import fasterapi_core as _core

from . import _build

_core.require_abi(_build.CORE_ABI, "fasterapi-pg " + _build.VERSION)

from . import _setup
from . import protocol as protocol
from ._pg import Record
from ._pgpool import PgPool, Tx
from ._result import Result, Rows
from .connection import Connection, connect
from .exceptions import *
from .pool import Pool, create_pool
from .types import (
    Attribute,
    BitString,
    Box,
    Circle,
    Line,
    LineSegment,
    Path,
    Point,
    Polygon,
    Range,
    ServerVersion,
    Type,
)

_setup.install()

__version__ = _build.VERSION

# fmt: off
__all__ = [
    "ActiveSQLTransactionError", "AdminShutdownError", "AmbiguousAliasError", "AmbiguousColumnError",
    "AmbiguousFunctionError", "AmbiguousParameterError", "ArraySubscriptError", "AssertError", "Attribute",
    "AuthenticationError", "BadCopyFileFormatError", "BitString", "Box",
    "BranchTransactionAlreadyActiveError", "CannotCoerceError", "CannotConnectError",
    "CannotConnectNowError", "CantChangeRuntimeParamError", "CardinalityViolationError",
    "CaseNotFoundError", "CharacterNotInRepertoireError", "CheckViolationError", "Circle",
    "ClientCannotConnectError", "ClientConfigurationError", "CollationMismatchError", "ConfigFileError",
    "ConfigurationLimitExceededError", "Connection", "ConnectionDoesNotExistError",
    "ConnectionFailureError", "ConnectionRejectionError", "ContainingSQLNotPermittedError",
    "CrashShutdownError", "DataCorruptedError", "DataError", "DatabaseDroppedError",
    "DatatypeMismatchError", "DatetimeFieldOverflowError", "DeadlockDetectedError",
    "DependentObjectsStillExistError", "DependentPrivilegeDescriptorsStillExistError", "DeprecatedFeature",
    "DiagnosticsError", "DiskFullError", "DivisionByZeroError", "DuplicateAliasError",
    "DuplicateColumnError", "DuplicateCursorError", "DuplicateDatabaseError", "DuplicateFileError",
    "DuplicateFunctionError", "DuplicateJsonObjectKeyValueError", "DuplicateObjectError",
    "DuplicatePreparedStatementError", "DuplicateSchemaError", "DuplicateTableError",
    "DynamicResultSetsReturned", "ErrorInAssignmentError", "EscapeCharacterConflictError",
    "EventTriggerProtocolViolatedError", "ExclusionViolationError", "ExternalRoutineError",
    "ExternalRoutineInvocationError", "FDWColumnNameNotFoundError", "FDWDynamicParameterValueNeededError",
    "FDWError", "FDWFunctionSequenceError", "FDWInconsistentDescriptorInformationError",
    "FDWInvalidAttributeValueError", "FDWInvalidColumnNameError", "FDWInvalidColumnNumberError",
    "FDWInvalidDataTypeDescriptorsError", "FDWInvalidDataTypeError",
    "FDWInvalidDescriptorFieldIdentifierError", "FDWInvalidHandleError", "FDWInvalidOptionIndexError",
    "FDWInvalidOptionNameError", "FDWInvalidStringFormatError", "FDWInvalidStringLengthOrBufferLengthError",
    "FDWInvalidUseOfNullPointerError", "FDWNoSchemasError", "FDWOptionNameNotFoundError",
    "FDWOutOfMemoryError", "FDWReplyHandleError", "FDWSchemaNotFoundError", "FDWTableNotFoundError",
    "FDWTooManyHandlesError", "FDWUnableToCreateExecutionError", "FDWUnableToCreateReplyError",
    "FDWUnableToEstablishConnectionError", "FatalPostgresError", "FeatureNotSupportedError",
    "FileNameTooLongError", "ForeignKeyViolationError", "FunctionExecutedNoReturnStatementError",
    "GeneratedAlwaysError", "GroupingError", "HeldCursorRequiresSameIsolationLevelError",
    "IdleInTransactionSessionTimeoutError", "IdleSessionTimeoutError", "ImplicitZeroBitPadding",
    "InFailedSQLTransactionError", "InappropriateAccessModeForBranchTransactionError",
    "InappropriateIsolationLevelForBranchTransactionError", "IndeterminateCollationError",
    "IndeterminateDatatypeError", "IndexCorruptedError", "IndicatorOverflowError",
    "InsufficientPrivilegeError", "InsufficientResourcesError", "IntegrityConstraintViolationError",
    "InterfaceError", "InterfaceMessage", "InterfaceWarning", "InternalClientError", "InternalServerError",
    "IntervalFieldOverflowError", "InvalidArgumentForLogarithmError",
    "InvalidArgumentForNthValueFunctionError", "InvalidArgumentForNtileFunctionError",
    "InvalidArgumentForPowerFunctionError", "InvalidArgumentForSQLJsonDatetimeFunctionError",
    "InvalidArgumentForWidthBucketFunctionError", "InvalidArgumentForXqueryError",
    "InvalidAuthorizationSpecificationError", "InvalidBinaryRepresentationError",
    "InvalidCachedStatementError", "InvalidCatalogNameError", "InvalidCharacterValueForCastError",
    "InvalidColumnDefinitionError", "InvalidColumnReferenceError", "InvalidCursorDefinitionError",
    "InvalidCursorNameError", "InvalidCursorStateError", "InvalidDatabaseDefinitionError",
    "InvalidDatetimeFormatError", "InvalidEscapeCharacterError", "InvalidEscapeOctetError",
    "InvalidEscapeSequenceError", "InvalidForeignKeyError", "InvalidFunctionDefinitionError",
    "InvalidGrantOperationError", "InvalidGrantorError", "InvalidIndicatorParameterValueError",
    "InvalidJsonTextError", "InvalidLocatorSpecificationError", "InvalidNameError",
    "InvalidObjectDefinitionError", "InvalidParameterValueError", "InvalidPasswordError",
    "InvalidPrecedingOrFollowingSizeError", "InvalidPreparedStatementDefinitionError",
    "InvalidRecursionError", "InvalidRegularExpressionError", "InvalidRoleSpecificationError",
    "InvalidRowCountInLimitClauseError", "InvalidRowCountInResultOffsetClauseError",
    "InvalidSQLJsonSubscriptError", "InvalidSQLStatementNameError", "InvalidSavepointSpecificationError",
    "InvalidSchemaDefinitionError", "InvalidSchemaNameError", "InvalidSqlstateReturnedError",
    "InvalidTableDefinitionError", "InvalidTablesampleArgumentError", "InvalidTablesampleRepeatError",
    "InvalidTextRepresentationError", "InvalidTimeZoneDisplacementValueError",
    "InvalidTransactionInitiationError", "InvalidTransactionStateError",
    "InvalidTransactionTerminationError", "InvalidUseOfEscapeCharacterError", "InvalidXmlCommentError",
    "InvalidXmlContentError", "InvalidXmlDocumentError", "InvalidXmlProcessingInstructionError", "Line",
    "LineSegment", "LocatorError", "LockFileExistsError", "LockNotAvailableError",
    "ModifyingExternalRoutineSQLDataNotPermittedError", "ModifyingSQLDataNotPermittedError",
    "MoreThanOneSQLJsonItemError", "MostSpecificTypeMismatchError", "MultipleResultsError",
    "NameTooLongError", "NoActiveSQLTransactionError", "NoActiveSQLTransactionForBranchTransactionError",
    "NoAdditionalDynamicResultSetsReturned", "NoData", "NoDataFoundError", "NoResultError",
    "NoSQLJsonItemError", "NonNumericSQLJsonItemError", "NonUniqueKeysInAJsonObjectError",
    "NonstandardUseOfEscapeCharacterError", "NotAnXmlDocumentError", "NotNullViolationError",
    "NullValueEliminatedInSetFunction", "NullValueInExternalRoutineNotAllowedError",
    "NullValueNoIndicatorParameterError", "NullValueNotAllowedError", "NumericValueOutOfRangeError",
    "ObjectInUseError", "ObjectNotInPrerequisiteStateError", "OperatorInterventionError",
    "OutOfMemoryError", "OutdatedSchemaCacheError", "PLPGSQLError", "Path", "PgPool", "Point", "Polygon",
    "Pool", "PoolTimeout", "PostgresConnectionError", "PostgresError", "PostgresFloatingPointError",
    "PostgresIOError", "PostgresLogMessage", "PostgresMessage", "PostgresSyntaxError",
    "PostgresSystemError", "PostgresWarning", "PrivilegeNotGranted", "PrivilegeNotRevoked",
    "ProgramLimitExceededError", "ProhibitedExternalRoutineSQLStatementAttemptedError",
    "ProhibitedSQLStatementAttemptedError", "ProtocolError", "ProtocolViolationError", "QueryCanceledError",
    "RaiseError", "Range", "ReadOnlySQLTransactionError", "ReadingExternalRoutineSQLDataNotPermittedError",
    "ReadingSQLDataNotPermittedError", "Record", "ReservedNameError", "RestrictViolationError", "Result",
    "Rows", "SQLJsonArrayNotFoundError", "SQLJsonItemCannotBeCastToTargetTypeError",
    "SQLJsonMemberNotFoundError", "SQLJsonNumberNotFoundError", "SQLJsonObjectNotFoundError",
    "SQLJsonScalarRequiredError", "SQLRoutineError", "SQLStatementNotYetCompleteError", "SavepointError",
    "SchemaAndDataStatementMixingNotSupportedError", "SequenceGeneratorLimitExceededError",
    "SerializationError", "ServerVersion", "SingletonSQLJsonItemRequiredError", "SnapshotTooOldError",
    "SrfProtocolViolatedError", "StackedDiagnosticsAccessedWithoutActiveHandlerError",
    "StatementCompletionUnknownError", "StatementTooComplexError", "StringDataLengthMismatchError",
    "StringDataRightTruncation", "StringDataRightTruncationError", "SubstringError", "SyntaxOrAccessError",
    "TargetServerAttributeNotMatched", "TooManyArgumentsError", "TooManyColumnsError",
    "TooManyConnectionsError", "TooManyJsonArrayElementsError", "TooManyJsonObjectMembersError",
    "TooManyRowsError", "TransactionIntegrityConstraintViolationError", "TransactionResolutionUnknownError",
    "TransactionRollbackError", "TransactionTimeoutError", "TriggerProtocolViolatedError",
    "TriggeredActionError", "TriggeredDataChangeViolationError", "TrimError", "Tx", "Type",
    "UndefinedColumnError", "UndefinedFileError", "UndefinedFunctionError", "UndefinedObjectError",
    "UndefinedParameterError", "UndefinedTableError", "UniqueViolationError", "UnknownPostgresError",
    "UnsafeNewEnumValueUsageError", "UnsupportedClientFeatureError", "UnsupportedServerFeatureError",
    "UnterminatedCStringError", "UntranslatableCharacterError", "WindowingError",
    "WithCheckOptionViolationError", "WrongObjectTypeError", "ZeroLengthCharacterStringError", "connect",
    "create_pool",
]
