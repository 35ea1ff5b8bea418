"""The memory that the processes of one service share: who belongs to it, and rate limits for all together.

A supervisor hands its block to the workers that it starts::

    subprocess.Popen([...], pass_fds=[shared.fileno()], env=os.environ | shared.environment())

A child made by ``os.fork`` or ``multiprocessing`` with fork belongs to it by itself. Metrics
(:mod:`fasterapi_core.metrics`) are kept there too.
"""

from __future__ import annotations

from typing import NamedTuple

from . import _core


class Decision(NamedTuple):
    """What :meth:`RateLimit.take` decided."""

    allowed: bool
    retry_after: float
    """Seconds until as many tokens are there; 0.0 when allowed, infinity when more than `burst` were wanted."""
    remaining: float
    """Tokens left, whole and partial."""


class RateLimit:
    """So many per second and key, whichever worker they reach: token buckets in shared memory.

    `rate` tokens per second flow into each key's bucket, which holds `burst` of them. The name belongs to the key,
    so two limits of different names do not meet. The table of buckets is bounded (16,384 by default): when it is
    full, the bucket closest to full is forgotten (:func:`evictions` counts). Raises ValueError for a rate outside
    (0, 1e9] or a burst outside [1, 1e9].
    """

    __slots__ = ("_native", "burst", "name", "rate")

    def __init__(self, name: str, *, rate: float, burst: float) -> None:
        self._native = _core.RateLimiter(name, rate, burst)
        self.name, self.rate, self.burst = name, rate, burst

    def take(self, key: str, tokens: float = 1) -> Decision:
        """Take `tokens` of `key`'s bucket if they are there; never waits."""
        return Decision(*self._native.take(key, tokens))


def fileno() -> int:
    """The descriptor of this process's block, for ``pass_fds``."""
    return _core.shared_fd()


def environment() -> dict[str, str]:
    """What to add to the environment of a process that shall share the block."""
    return {"FASTERAPI_SHARED_FD": str(_core.shared_fd())}


def slot() -> int:
    """The slot of this process, -1 when all are taken (then nobody else sees what it counts)."""
    return _core.shared_slot()


def processes() -> dict[int, int]:
    """Process ids by slot, of those that hold one."""
    return dict(_core.shared_processes())


def reap() -> int:
    """Free the slots of processes that are gone; returns how many. Asking for metrics does it too."""
    return _core.shared_reap()


def evictions() -> int:
    """Token buckets that were forgotten before they were full again, of all processes."""
    return _core.shared_evictions()


__all__ = ["Decision", "RateLimit", "environment", "evictions", "fileno", "processes", "reap", "slot"]
