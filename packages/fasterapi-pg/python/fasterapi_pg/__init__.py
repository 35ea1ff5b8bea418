"""A native PostgreSQL driver for Python: asyncio and blocking, pipelined and multiplexed.

``connect()`` and ``create_pool()`` have asyncpg's interface; ``PgPool`` serves blocking code and coroutines
alike.
"""

import fasterapi_core as _core

from . import _build

_core.require_abi(_build.CORE_ABI, "fasterapi-pg " + _build.VERSION)

from . import _setup, exceptions  # noqa: E402
from ._pg import Record  # noqa: E402
from ._pgpool import PgPool, Tx  # noqa: E402
from ._result import Result, Rows  # noqa: E402
from .connection import Connection, connect  # noqa: E402
from .exceptions import *  # noqa: E402, F403
from .pool import Pool, create_pool  # noqa: E402
from .types import (  # noqa: E402
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

__all__ = [
    "Attribute",
    "BitString",
    "Box",
    "Circle",
    "Connection",
    "Line",
    "LineSegment",
    "Path",
    "PgPool",
    "Point",
    "Polygon",
    "Pool",
    "Range",
    "Record",
    "Result",
    "Rows",
    "ServerVersion",
    "Tx",
    "Type",
    "connect",
    "create_pool",
]
__all__ += exceptions.__all__
