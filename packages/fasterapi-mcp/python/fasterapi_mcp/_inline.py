"""Which plain functions may run on the event loop.

A ``def`` tool runs in a worker thread, because it may block. One whose bytecode calls nothing, imports nothing
and does not loop cannot: it runs where it is, without the hand-over.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Callable
from typing import Any

_BLOCKING = (
    "CALL",
    "PRECALL",
    "IMPORT",
    "FOR_ITER",
    "SEND",
    "BEFORE_WITH",
    "YIELD",
    "GET_AWAITABLE",
    "LOAD_BUILD",
)
_HARMLESS = ("CALL_INTRINSIC_1",)


def cannot_block(fn: Callable[..., Any]) -> bool:
    """True for a plain function of straight-line code that calls nothing.

    Operators and attribute access of the arguments stay possible: arguments are JSON scalars.
    """
    if not isinstance(fn, types.FunctionType):
        return False
    if fn.__code__.co_flags & 0x2A0:  # generator, coroutine, async generator
        return False
    return not any(
        (name.startswith(_BLOCKING) or "JUMP_BACKWARD" in name) and name not in _HARMLESS
        for name in (instruction.opname for instruction in dis.get_instructions(fn.__code__))
    )
