"""What kind of callable something is, and whether it may run on the event loop."""

from __future__ import annotations

import dis
import functools
import inspect
import types
from typing import Any, Literal

from fasterapi_pg import PgPool

Kind = Literal["async", "sync", "generator", "async_generator"]

# Opcodes that run other code, wait for a lock of the import system, or enter a context manager. A function
# without any of them only moves values around: running it on the loop costs less than handing it to a thread.
_CALLING = (
    "CALL",
    "PRECALL",
    "IMPORT_",
    "BEFORE_WITH",
    "BEFORE_ASYNC_WITH",
    "YIELD_VALUE",
    "SEND",
    "LOAD_SPECIAL",
)
_NOT_CALLING = frozenset({"CALL_INTRINSIC_1"})


def unwrapped(call: Any) -> Any:
    """Return the function behind partials and decorators that set ``__wrapped__``."""
    while isinstance(call, functools.partial):
        call = call.func
    return inspect.unwrap(call)


def _candidates(call: Any) -> list[Any]:
    partial_free = call
    while isinstance(partial_free, functools.partial):
        partial_free = partial_free.func
    functions = [partial_free, unwrapped(call)]
    if not inspect.isclass(functions[1]):
        for owner in list(functions):
            method = getattr(owner, "__call__", None)  # noqa: B004
            if method is not None and not isinstance(owner, types.FunctionType | types.MethodType):
                functions += [method, unwrapped(method)]
    return functions


def kind_of(call: Any) -> Kind:
    """Classify a function, method, class, partial or object with ``__call__``."""
    functions = _candidates(call)
    if any(inspect.isasyncgenfunction(function) for function in functions):
        return "async_generator"
    if any(inspect.isgeneratorfunction(function) for function in functions):
        return "generator"
    if any(inspect.iscoroutinefunction(function) for function in functions):
        return "async"
    return "sync"


def _code_of(call: Any) -> types.CodeType | None:
    """Return the code that runs when ``call`` is called, if it is exactly one plain Python function."""
    if isinstance(call, types.MethodType):
        call = call.__func__
    if isinstance(call, types.FunctionType):
        return call.__code__
    if inspect.isclass(call):
        plain = type(call) is type and call.__new__ is object.__new__
        init = call.__init__
        return init.__code__ if plain and isinstance(init, types.FunctionType) else None
    return None


def calls_nothing(call: Any) -> bool:
    """Say whether the bytecode of ``call`` calls no other code (so it can neither block nor run long by
    itself).
    """
    code = _code_of(call)
    if code is None:
        return False
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name.startswith(_CALLING) and name not in _NOT_CALLING:
            return False
        if name.startswith("JUMP_BACKWARD"):  # loops may run for any time
            return False
    return True


def runs_inline(call: Any, forced: bool = False) -> bool:
    """Say whether a sync callable runs on the loop: asked for, marked by ``@inline``, or calling nothing."""
    return forced or bool(getattr(call, "__fasterapi_inline__", False)) or calls_nothing(call)


def uses_blocking_pool(call: Any) -> bool:
    """Say whether a function mentions a ``PgPool`` by a global name or holds one in its closure.

    Such a ``(req, res)`` handler makes blocking queries (``pg.exec``), which must not run on the loop. Asked
    when plans are compiled, so that pools made after the handler count too.
    """
    function = unwrapped(call)
    if isinstance(function, types.MethodType):
        function = function.__func__
    if not isinstance(function, types.FunctionType):
        return False
    held = [function.__globals__.get(name) for name in function.__code__.co_names]
    for cell in function.__closure__ or ():
        try:
            held.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    return any(isinstance(value, PgPool) for value in held)


def call_name(call: Any) -> str:
    """Return a name for messages."""
    return getattr(call, "__name__", None) or type(call).__name__
