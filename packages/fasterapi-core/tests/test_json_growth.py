"""JSON and buffers leave nothing behind, in success and in every kind of error.

``FASTERAPI_GROWTH_OPERATIONS`` sets how many operations of each kind (5,000 in a normal run, 1,000,000 in the long
one).
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import gc
import os
import resource
import sys
import uuid
from collections.abc import Callable
from typing import Any

import fasterapi_core as core
import pytest

OPERATIONS = int(os.environ.get("FASTERAPI_GROWTH_OPERATIONS", "5000"))


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: object
    y: float = 0.5


class Broken(dt.tzinfo):
    def utcoffset(self, when: dt.datetime | None) -> dt.timedelta | None:
        raise RuntimeError("zone")


VALUES: list[Any] = [
    {"id": 12345678, "name": "a name of some length", "tags": ["x", 1.5, None, True], "é": "\u20ac"},
    [10**40, -(2**63), 0.1, 1e300],
    (Point(1), Color.RED, {Color.RED: Point(2)}),
    [
        dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.timezone.utc),
        dt.date(2026, 1, 2),
        dt.time(1, 2),
        uuid.UUID(int=7),
    ],
    [decimal.Decimal("1.50"), collections.OrderedDict(a=1), collections.Counter("ab")],
    [core.Fragment(b"[1]"), core.Fragment('"\u00e9"')],
]
UNFIT: list[Any] = [
    {"a": [object()]},
    {"a": {1: 2}},
    ["\ud800"],
    [float("nan")],
    [Point(object())],
    dt.datetime(2026, 1, 1, tzinfo=Broken()),
    [core.Fragment("\ud800")],
    [{"k" * 100: [[object()]]}] * 2,
]
TEXTS = [core.json_dumps(value) for value in VALUES]
BAD = [
    b'{"key one":[1,2,{"deep":"text"',
    b'{"a":1,"b":[true,false,nul]}',
    b'["\\ud800"]',
    b'["\xff"]',
    b"[" * 200,
    b'{"a":1}}',
    b"[1e]",
    b'{"a":"unterminated',
    b"9" * 5000,
    b'["a\nb"]',
]


def encode(i: int) -> None:
    core.json_dumps(VALUES[i % len(VALUES)], option=core.OPT_SORT_KEYS if i % 2 else 0)


def encode_errors(i: int) -> None:
    try:
        core.json_dumps(UNFIT[i % len(UNFIT)], option=core.OPT_SORT_KEYS if i % 3 else core.OPT_INDENT_2)
    except (TypeError, ValueError, RuntimeError):
        return
    raise AssertionError(i)


def encode_default(i: int) -> None:
    try:
        core.json_dumps([object(), {"a": object()}], default=lambda value: [i] if i % 2 else 1 // 0)
    except ZeroDivisionError:
        pass


def encode_pieces(i: int) -> None:
    core.json_dump(VALUES, lambda piece: None)


def decode(i: int) -> None:
    core.json_loads(TEXTS[i % len(TEXTS)])


def decode_new_keys(i: int) -> None:
    core.json_loads(b'{"key %d":{"other %d":"%d"}}' % (i, i + 1, i))


def decode_errors(i: int) -> None:
    try:
        core.json_loads(BAD[i % len(BAD)])
    except ValueError:
        return
    raise AssertionError(i)


def buffers(i: int) -> None:
    buffer = core.Buffer(b"0123456789" * (1 + i % 500))
    view = memoryview(buffer)[2:4]
    del buffer
    assert view.tobytes() == b"23"


def chains(i: int) -> None:
    core._core._json_chain(VALUES)[0][1:2]


KINDS: list[Callable[[int], None]] = [
    encode,
    encode_errors,
    encode_default,
    encode_pieces,
    decode,
    decode_new_keys,
    decode_errors,
    buffers,
    chains,
]


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_nothing_grows(kind: Callable[[int], None]) -> None:
    def settle() -> tuple[int, int, int, int]:
        gc.collect()
        blocks = sys.getallocatedblocks()
        return blocks, len(gc.get_objects()), len(os.listdir("/proc/self/fd")), resident()

    for i in range(
        30_000 if kind is decode_new_keys else 3000
    ):  # caches fill; the one of keys has 2048 places
        kind(i)
    before = settle()
    for i in range(OPERATIONS):
        kind(i)
    after = settle()
    assert after[0] - before[0] < 200, "Python memory blocks"
    assert after[1] - before[1] < 50, "objects"
    assert after[2] == before[2], "descriptors"
    assert after[3] - before[3] < 4 * 1024 * 1024, "resident memory"


def test_references_are_what_they_were() -> None:
    marker = object()
    held: list[Any] = [None, True, False, marker, *VALUES, *UNFIT]
    shared = [marker, {"k": marker}, [Point(marker)], (marker,)]
    before = [sys.getrefcount(each) for each in held]
    answers = [lambda value: {}, lambda value: marker]
    for i in range(min(OPERATIONS, 50_000)):
        for kind in (encode, encode_errors, encode_default, decode, decode_errors):
            kind(i)
        try:
            core.json_dumps(shared[i % 4], default=answers[i % 2])
        except (TypeError, ValueError):
            pass
    gc.collect()
    after = [sys.getrefcount(each) for each in held]
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) < 20
