"""Log lines of the native code, in Python's :mod:`logging` under their own logger names.

Records of the reactor, the HTTP server, the PostgreSQL driver and MCP go through a bounded ring and are handed
to ``logging.getLogger("fasterapi....")`` on the loop's thread. A kind of line is written once per second at most
(debug lines 100 times) and tells how many were left out; control characters are escaped, so that one record is
one line whatever a peer sends.

``FASTERAPI_LOG=debug`` or ``FASTERAPI_LOG=warning,fasterapi.http=debug`` in the environment, or :func:`set_level`,
choose what the native code writes (``info`` and above when nothing is said). A logger that is named there is
shown even when logging's own level would hide it, and on stderr when no handler is configured.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
from asyncio import get_running_loop
from collections.abc import Mapping

from . import _core

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "off": 255,
}

#: For loggers that were asked for by name when the program has configured no handler at all.
_fallback = logging.StreamHandler()
_fallback.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))


def set_level(level: str, name: str = "fasterapi") -> None:
    """Set what the native loggers `name` and below it write.

    `level` is ``"debug"``, ``"info"``, ``"warning"``, ``"error"`` or ``"off"``; the longest name that was set
    rules a logger. Raises ValueError for another word.
    """
    _core.log_configure(f"{name}={level}")


def get_level(name: str = "fasterapi") -> str:
    """The level of a native logger, as :func:`set_level` takes it."""
    number, _ = _core.log_level(name)
    return next(word for word, value in _LEVELS.items() if value == number)


def write(
    level: str,
    name: str,
    text: str,
    *,
    kind: str | None = None,
    fields: Mapping[str, object] | None = None,
) -> bool:
    """Write a line the way native code does: escaped, limited to one per second and `kind`, through the ring.

    For Python code that answers peers and must not be made to write a line per request. `kind` defaults to the
    text itself; `fields` become ``key=value`` in the text and the mapping ``fields`` of the log record. Returns
    False when the logger's level leaves it out. Raises KeyError when `level` is not one of set_level()'s words.
    """
    packed = {str(key): str(value) for key, value in fields.items()} if fields else {}
    text = text.replace("\0", "\\x00")
    packed = {key: value.replace("\0", "\\x00") for key, value in packed.items()}
    return _core.log_write(_LEVELS[level], name, kind or text, text, packed)


def dropped() -> int:
    """How many native log lines this process could not keep because the ring was full."""
    return _core.log_dropped()


def flush() -> None:
    """Deliver now what waits: the ring's records, and how many lines each kind has left out."""
    _core.log_summaries(True)


# ---- called by the native side


def _deliver(
    name: str, level: int, text: str, fields: dict[str, str] | None, wall_ns: int, explicit: bool
) -> None:
    logger = logging.getLogger(name)
    if logger.disabled or not (explicit or logger.isEnabledFor(level)):
        return
    record = logger.makeRecord(name, level, "(native)", 0, text, (), None)
    record.fields = fields or {}
    if wall_ns:
        created = wall_ns / 1e9
        record.relativeCreated -= (record.created - created) * 1000
        record.created = created
        record.msecs = float(wall_ns // 1_000_000 % 1000)
    if explicit and not logger.hasHandlers():
        _fallback.stream = sys.stderr
        _fallback.handle(record)
    else:
        logger.handle(record)


def _arm() -> bool:
    """Has the running loop write, in a second, how much was left out; False without a loop."""
    try:
        loop = get_running_loop()
    except RuntimeError:
        return False
    loop.call_later(1.0, _core.log_summaries, False)
    return True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_core.log_after_fork)
atexit.register(_core.log_finish)

__all__ = ["dropped", "flush", "get_level", "set_level", "write"]
