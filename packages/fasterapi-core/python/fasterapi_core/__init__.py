"""A native asyncio event loop, and the C++ reactor, futures, pools, buffers and JSON under FasterAPI.

import asyncio, fasterapi_core

fasterapi_core.run(main())                                             # like asyncio.run
asyncio.Runner(loop_factory=fasterapi_core.new_event_loop)             # or as a loop factory
"""

from __future__ import annotations

from . import log
from ._core import (
    ABI,
    OPT_ALLOW_NAN,
    OPT_APPEND_NEWLINE,
    OPT_ENSURE_ASCII,
    OPT_INDENT_2,
    OPT_NAIVE_UTC,
    OPT_NON_STR_KEYS,
    OPT_OMIT_MICROSECONDS,
    OPT_PASSTHROUGH_DATACLASS,
    OPT_PASSTHROUGH_DATETIME,
    OPT_PASSTHROUGH_SUBCLASS,
    OPT_SERIALIZE_NUMPY,
    OPT_SORT_KEYS,
    OPT_STRICT_INTEGER,
    OPT_UTC_Z,
    Buffer,
    Fragment,
    Future,
    JSONDecodeError,
    json_dump,
    json_dumps,
    json_loads,
)
from ._core import VERSION as __version__
from ._endpoint import EndpointServerMissing, serve_endpoint
from ._errors import FasterAPIError
from ._loop import EventLoop, EventLoopPolicy, install, new_event_loop, run
from ._native_tasks import choose_tasks as _choose_tasks


def require_abi(built_for: str, who: str) -> None:
    """Refuse to go on when a sibling was built for another core, in words instead of a loader error.

    Each FasterAPI package calls it before it loads its own extension. Raises ImportError naming both
    versions and the pip command that repairs it.
    """
    if built_for != ABI:
        raise ImportError(
            f"{who} was built for fasterapi-core {built_for}.x, but fasterapi-core {__version__} is installed; "
            f"run: pip install 'fasterapi-core~={built_for}.0' or upgrade {who.split()[0]}"
        )


_choose_tasks()

__all__ = [
    "ABI",
    "OPT_ALLOW_NAN",
    "OPT_APPEND_NEWLINE",
    "OPT_ENSURE_ASCII",
    "OPT_INDENT_2",
    "OPT_NAIVE_UTC",
    "OPT_NON_STR_KEYS",
    "OPT_OMIT_MICROSECONDS",
    "OPT_PASSTHROUGH_DATACLASS",
    "OPT_PASSTHROUGH_DATETIME",
    "OPT_PASSTHROUGH_SUBCLASS",
    "OPT_SERIALIZE_NUMPY",
    "OPT_SORT_KEYS",
    "OPT_STRICT_INTEGER",
    "OPT_UTC_Z",
    "Buffer",
    "EndpointServerMissing",
    "EventLoop",
    "EventLoopPolicy",
    "FasterAPIError",
    "Fragment",
    "Future",
    "JSONDecodeError",
    "install",
    "json_dump",
    "json_dumps",
    "json_loads",
    "log",
    "new_event_loop",
    "require_abi",
    "run",
    "serve_endpoint",
]
