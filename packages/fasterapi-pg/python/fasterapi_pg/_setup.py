"""Tells the native driver which Python classes to make: exceptions, values, results. Runs once, at import."""

from __future__ import annotations

from . import _pg, exceptions, types
from ._result import Result


def install() -> None:
    """Register everything; calling it again changes nothing."""
    _pg.set_error_factory(exceptions.PostgresError.new)
    _pg.set_exception_types(
        {
            "InterfaceError": exceptions.InterfaceError,
            "DataError": exceptions.DataError,
            "ProtocolError": exceptions.ProtocolError,
            "ConnectionLost": exceptions.ConnectionDoesNotExistError,
            "ConnectionDoesNotExist": exceptions.InterfaceError,
            "CannotConnect": exceptions.CannotConnectError,
            "AuthenticationError": exceptions.AuthenticationError,
            "TargetServerMismatch": exceptions.TargetServerAttributeNotMatched,
            "TimeoutError": TimeoutError,
            "PoolClosed": exceptions.InterfaceError,
            "PoolTimeout": exceptions.PoolTimeout,
            "NoResult": exceptions.NoResultError,
            "MultipleResults": exceptions.MultipleResultsError,
        }
    )
    _pg.set_value_types(
        {
            name: getattr(types, name)
            for name in (
                "Range",
                "BitString",
                "Point",
                "Path",
                "Polygon",
                "Box",
                "Line",
                "LineSegment",
                "Circle",
            )
        }
    )
    _pg.set_result_class(Result)
