"""Counters, gauges and histograms that all processes of a service share, as Prometheus text.

    requests = metrics.counter("myapp_requests_total", "Requests served.", ["method"])
    requests.labels("GET").inc()
    metrics.text()        # what the service's /metrics answers, from any worker

Values live in a shared memory block: a worker's counters stay when it ends or is killed, its gauges go. C++
components use the same registry (``fasterapi/core/metrics.hpp``). ``FASTERAPI_METRICS=1`` adds those of the event
loops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Generic, Literal, TypeVar

from . import _core, log

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
DEFAULT_BUCKETS: tuple[float, ...] = tuple(_core.default_bounds())
"""Bounds for times in seconds: 1 ms to 10 s."""

Child = TypeVar("Child")


class Family(Generic[Child]):
    """All series of one name. Without label names, the family stands for its only series."""

    __slots__ = ("_children", "_make", "label_names", "name")

    def __init__(self, name: str, label_names: Sequence[str], make: Callable[[list[str]], Child]) -> None:
        if isinstance(label_names, str):
            raise TypeError("labels must be a sequence of names, not one string")
        self.name = name
        self.label_names = tuple(label_names)
        self._make = make
        self._children: dict[tuple[str, ...], Child] = {}
        if not self.label_names:
            self.labels()

    def labels(self, *values: object, **named: object) -> Child:
        """The series of these label values, in the order of the names or by name; made when it is new.

        Keep what it returns where a series is used often. Raises ValueError when the names do not fit.
        """
        if named:
            if values or named.keys() != set(self.label_names):
                raise ValueError(f"{self.name}: labels are {', '.join(self.label_names) or 'none'}")
            values = tuple(named[name] for name in self.label_names)
        key = tuple(str(value) for value in values)
        child = self._children.get(key)
        if child is None:
            if len(key) != len(self.label_names):
                raise ValueError(f"{self.name}: labels are {', '.join(self.label_names) or 'none'}")
            child = self._make(list(key))
            if len(self._children) < 1000:  # beyond that the registry hands out what counts nowhere
                self._children[key] = child
        return child

    def _only(self) -> Child:
        child = self._children.get(())
        if child is None:
            raise ValueError(f"{self.name}: choose a series with labels({', '.join(self.label_names)}) first")
        return child


class Counter(Family[Any]):
    """A number that only grows."""

    __slots__ = ()

    def inc(self, amount: float = 1) -> None:
        """Add `amount`, which must not be negative; whole unless the counter was made with floating=True."""
        self._only().inc(amount)

    @property
    def value(self) -> float:
        """What this process (and earlier holders of its slot) counted."""
        value: float = self._only().value
        return value


class Gauge(Family["_core.MetricGauge"]):
    """A number that goes up and down, and ends with its process."""

    __slots__ = ()

    def set(self, value: float) -> None:
        """Make it `value`."""
        self._only().set(value)

    def inc(self, amount: float = 1) -> None:
        """Add `amount`."""
        self._only().inc(amount)

    def dec(self, amount: float = 1) -> None:
        """Take `amount` away."""
        self._only().dec(amount)

    @property
    def value(self) -> float:
        """What this process set."""
        return self._only().value


class Timing:
    """Context manager that observes the seconds that its block took."""

    __slots__ = ("_begin", "_observe")

    def __init__(self, observe: Callable[[float], None]) -> None:
        self._observe = observe
        self._begin = 0.0

    def __enter__(self) -> Timing:
        self._begin = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._observe(time.perf_counter() - self._begin)


class Histogram(Family["_core.MetricHistogram"]):
    """How often values fell into which range."""

    __slots__ = ()

    def observe(self, value: float) -> None:
        """Count `value` in its range."""
        self._only().observe(value)

    def time(self, *values: object) -> Timing:
        """``with histogram.time():`` observes how long the block took; `values` choose a series."""
        return Timing(self.labels(*values).observe)

    @property
    def count(self) -> int:
        """How many values this process observed."""
        return self._only().count

    @property
    def sum(self) -> float:
        """Their sum."""
        return self._only().sum


def counter(name: str, help: str, labels: Sequence[str] = (), *, floating: bool = False) -> Counter:
    """Make a counter, or find the one of that name.

    `floating` allows fractions (seconds, bytes per ...); other counters take whole numbers only. Raises
    ValueError when a name is not allowed or the metric exists with another type, help or labels.
    """
    make = _core.metric_float_counter if floating else _core.metric_counter
    names = list(labels)
    return Counter(name, labels, lambda values: make(name, help, names, values))


def gauge(
    name: str, help: str, labels: Sequence[str] = (), *, merge: Literal["sum", "max", "min"] = "sum"
) -> Gauge:
    """Make a gauge, or find the one of that name; `merge` says how those of several processes become one.

    Raises ValueError as :func:`counter` does.
    """
    if merge not in ("sum", "max", "min"):
        raise ValueError("merge is 'sum', 'max' or 'min'")
    names = list(labels)
    return Gauge(name, labels, lambda values: _core.metric_gauge(name, help, names, values, merge))


def histogram(
    name: str, help: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = DEFAULT_BUCKETS
) -> Histogram:
    """Make a histogram, or find the one of that name; `buckets` are upper bounds, growing, at most 64.

    Raises ValueError as :func:`counter` does, and when the bounds do not grow.
    """
    bounds = [float(bound) for bound in buckets]
    if bounds and bounds[-1] == float("inf"):
        bounds.pop()  # it is there anyway
    names = list(labels)
    return Histogram(name, labels, lambda values: _core.metric_histogram(name, help, names, values, bounds))


def exponential_buckets(start: float, factor: float, count: int) -> tuple[float, ...]:
    """`count` bounds: start, start * factor, ... Raises ValueError when they do not grow."""
    return tuple(_core.exponential_bounds(start, factor, count))


def text(*, openmetrics: bool = False) -> bytes:
    """All series of all processes, for CONTENT_TYPE (or OPENMETRICS_CONTENT_TYPE)."""
    return _core.metrics_text(openmetrics)


# ---- called by the native side


def _slow_callback(handle: Any, seconds: float) -> None:
    if handle is None:
        what = "I/O handlers of one turn"
    else:
        from asyncio import base_events

        what = base_events._format_handle(handle)  # type: ignore[attr-defined]
    log.write(
        "warning",
        "fasterapi.loop",
        f"{what} held the event loop for {seconds:.3f} s",
        kind="loop.slow_callback",
    )


__all__ = [
    "CONTENT_TYPE",
    "DEFAULT_BUCKETS",
    "OPENMETRICS_CONTENT_TYPE",
    "Counter",
    "Family",
    "Gauge",
    "Histogram",
    "Timing",
    "counter",
    "exponential_buckets",
    "gauge",
    "histogram",
    "text",
]
