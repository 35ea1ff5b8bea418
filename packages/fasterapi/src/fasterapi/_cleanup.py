"""The code after ``yield``: run in reverse order, with the exception thrown in where it can still be
handled.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

from .concurrency import run_cleanup, run_in_threadpool
from .exceptions import FasterAPIError

_END: Any = object()

NO_RESPONSE = (
    "No response object was returned. There's a high chance that the application code is raising an exception and a "
    "dependency with yield has a block with a bare except, or a block with except Exception, and is not raising the "
    "exception again."
)


def _step(generator: Generator[Any, None, None], error: BaseException | None) -> Any:
    # The sentinel stands in for StopIteration, which cannot cross a thread or a coroutine.
    try:
        return next(generator) if error is None else generator.throw(error)
    except StopIteration:
        return _END


class CleanupStack:
    """The suspended generators of one request and lifetime.

    ``finish`` runs what follows each ``yield``; ``unwind`` throws an exception in instead. Both go from the
    last entered to the first, and each generator sees what the one above it left behind.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[tuple[Any, bool, bool]] = []

    def __bool__(self) -> bool:
        return bool(self._entries)

    async def enter(self, generator: Any, is_async: bool, inline: bool = False) -> Any:
        """Run a generator to its ``yield`` and return the value."""
        if is_async:
            value = await anext(generator, _END)
        elif inline:
            value = _step(generator, None)
        else:
            value = await run_in_threadpool(_step, generator, None)
        if value is _END:
            raise RuntimeError("generator didn't yield")
        self._entries.append((generator, is_async, inline))
        return value

    def entered(self, generator: Any, is_async: bool, inline: bool) -> None:
        """Register a generator that stands at its ``yield`` already."""
        self._entries.append((generator, is_async, inline))

    async def finish(self) -> None:
        """Run the cleanup after success; raises what the cleanup raises."""
        error = await self._exit(None)
        if error is not None:
            raise error

    async def unwind(self, error: BaseException) -> BaseException:
        """Throw ``error`` in and return the exception to go on with.

        FasterAPIError when the dependencies swallowed it: there is no response to send then.
        """
        if not self._entries:
            return error
        result = await self._exit(error)
        return FasterAPIError(NO_RESPONSE) if result is None else result

    async def _exit(self, error: BaseException | None) -> BaseException | None:
        while self._entries:
            generator, is_async, inline = self._entries.pop()
            try:
                if is_async:
                    done = await _astep(generator, error)
                elif inline:
                    done = _step(generator, error)
                else:
                    done = await run_cleanup(_step, generator, error)
            except BaseException as raised:
                if raised is not error:
                    if raised.__context__ is None:
                        raised.__context__ = error
                    error = raised
                continue
            if done is not _END:
                stopped = "generator didn't stop" if error is None else "generator didn't stop after throw()"
                error = RuntimeError(stopped)
                continue
            error = None
        return error


async def _astep(generator: AsyncGenerator[Any, None], error: BaseException | None) -> Any:
    try:
        return await (anext(generator) if error is None else generator.athrow(error))
    except StopAsyncIteration:
        return _END
