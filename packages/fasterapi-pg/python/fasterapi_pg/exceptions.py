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

# ruff: noqa: F403, F405  the names come from two modules that list them
from ._exceptions_base import *
from ._exceptions_table import *
from ._exceptions_table import ClientCannotConnectError


class CannotConnectError(ClientCannotConnectError, ConnectionRefusedError):
    """No host could be reached; the message says what happened with each of them.

    It is a ``ConnectionRefusedError`` too, because that is what callers of asyncpg wait for.
    """

    code = "pg.cannot_connect"
    safe_to_retry = True


# fmt: off
__all__ = [
    "ActiveSQLTransactionError", "AdminShutdownError", "AmbiguousAliasError", "AmbiguousColumnError",
    "AmbiguousFunctionError", "AmbiguousParameterError", "ArraySubscriptError", "AssertError",
    "AuthenticationError", "BadCopyFileFormatError", "BranchTransactionAlreadyActiveError",
    "CannotCoerceError", "CannotConnectError", "CannotConnectNowError", "CantChangeRuntimeParamError",
    "CardinalityViolationError", "CaseNotFoundError", "CharacterNotInRepertoireError",
    "CheckViolationError", "ClientCannotConnectError", "ClientConfigurationError", "CollationMismatchError",
    "ConfigFileError", "ConfigurationLimitExceededError", "ConnectionDoesNotExistError",
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
    "InvalidXmlContentError", "InvalidXmlDocumentError", "InvalidXmlProcessingInstructionError",
    "LocatorError", "LockFileExistsError", "LockNotAvailableError",
    "ModifyingExternalRoutineSQLDataNotPermittedError", "ModifyingSQLDataNotPermittedError",
    "MoreThanOneSQLJsonItemError", "MostSpecificTypeMismatchError", "MultipleResultsError",
    "NameTooLongError", "NoActiveSQLTransactionError", "NoActiveSQLTransactionForBranchTransactionError",
    "NoAdditionalDynamicResultSetsReturned", "NoData", "NoDataFoundError", "NoResultError",
    "NoSQLJsonItemError", "NonNumericSQLJsonItemError", "NonUniqueKeysInAJsonObjectError",
    "NonstandardUseOfEscapeCharacterError", "NotAnXmlDocumentError", "NotNullViolationError",
    "NullValueEliminatedInSetFunction", "NullValueInExternalRoutineNotAllowedError",
    "NullValueNoIndicatorParameterError", "NullValueNotAllowedError", "NumericValueOutOfRangeError",
    "ObjectInUseError", "ObjectNotInPrerequisiteStateError", "OperatorInterventionError",
    "OutOfMemoryError", "OutdatedSchemaCacheError", "PLPGSQLError", "PoolTimeout",
    "PostgresConnectionError", "PostgresError", "PostgresFloatingPointError", "PostgresIOError",
    "PostgresLogMessage", "PostgresMessage", "PostgresSyntaxError", "PostgresSystemError",
    "PostgresWarning", "PrivilegeNotGranted", "PrivilegeNotRevoked", "ProgramLimitExceededError",
    "ProhibitedExternalRoutineSQLStatementAttemptedError", "ProhibitedSQLStatementAttemptedError",
    "ProtocolError", "ProtocolViolationError", "QueryCanceledError", "RaiseError",
    "ReadOnlySQLTransactionError", "ReadingExternalRoutineSQLDataNotPermittedError",
    "ReadingSQLDataNotPermittedError", "ReservedNameError", "RestrictViolationError",
    "SQLJsonArrayNotFoundError", "SQLJsonItemCannotBeCastToTargetTypeError", "SQLJsonMemberNotFoundError",
    "SQLJsonNumberNotFoundError", "SQLJsonObjectNotFoundError", "SQLJsonScalarRequiredError",
    "SQLRoutineError", "SQLStatementNotYetCompleteError", "SavepointError",
    "SchemaAndDataStatementMixingNotSupportedError", "SequenceGeneratorLimitExceededError",
    "SerializationError", "SingletonSQLJsonItemRequiredError", "SnapshotTooOldError",
    "SrfProtocolViolatedError", "StackedDiagnosticsAccessedWithoutActiveHandlerError",
    "StatementCompletionUnknownError", "StatementTooComplexError", "StringDataLengthMismatchError",
    "StringDataRightTruncation", "StringDataRightTruncationError", "SubstringError", "SyntaxOrAccessError",
    "TargetServerAttributeNotMatched", "TooManyArgumentsError", "TooManyColumnsError",
    "TooManyConnectionsError", "TooManyJsonArrayElementsError", "TooManyJsonObjectMembersError",
    "TooManyRowsError", "TransactionIntegrityConstraintViolationError", "TransactionResolutionUnknownError",
    "TransactionRollbackError", "TransactionTimeoutError", "TriggerProtocolViolatedError",
    "TriggeredActionError", "TriggeredDataChangeViolationError", "TrimError", "UndefinedColumnError",
    "UndefinedFileError", "UndefinedFunctionError", "UndefinedObjectError", "UndefinedParameterError",
    "UndefinedTableError", "UniqueViolationError", "UnknownPostgresError", "UnsafeNewEnumValueUsageError",
    "UnsupportedClientFeatureError", "UnsupportedServerFeatureError", "UnterminatedCStringError",
    "UntranslatableCharacterError", "WindowingError", "WithCheckOptionViolationError",
    "WrongObjectTypeError", "ZeroLengthCharacterStringError",
]
