"""The Python classes for ranges, bit strings and geometry."""

from __future__ import annotations

import pickle

import pytest
from fasterapi_pg import BitString, Box, Circle, Line, LineSegment, Path, Point, Polygon, Range


def test_range_bounds() -> None:
    r = Range(1, 5)
    assert (r.lower, r.upper, r.lower_inc, r.upper_inc, r.isempty) == (1, 5, True, False, False)
    assert not r.lower_inf
    assert Range(None, 5).lower_inf
    assert not Range(None, 5).lower_inc  # an unlimited bound is not part of the range
    empty: Range[int] = Range(1, 5, empty=True)
    assert (empty.lower, empty.upper, empty.isempty, bool(empty), bool(r)) == (None, None, True, False, True)
    assert repr(r) == "<Range [1, 5)>"
    assert repr(Range(None, 3, upper_inc=True)) == "<Range (, 3]>"
    assert repr(empty) == "<Range empty>"


def test_range_equality_and_hash() -> None:
    assert Range(1, 5) == Range(1, 5, lower_inc=True)
    assert Range(1, 5) != Range(1, 5, upper_inc=True)
    assert hash(Range(1, 5)) == hash(Range(1, 5))
    assert Range(1, 5) != (1, 5)
    assert pickle.loads(pickle.dumps(Range(1, 5, upper_inc=True))) == Range(1, 5, upper_inc=True)


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        (Range(1, 5), Range(0, 10), True),
        (Range(0, 10), Range(1, 5), False),
        (Range(1, 5), Range(1, 5), True),
        (Range(1, 5), Range(1, 5, lower_inc=False), False),
        (Range(1, 5, lower_inc=False), Range(1, 5), True),
        (Range(1, 5, upper_inc=True), Range(1, 5), False),
        (Range(1, 5), Range(1, 5, upper_inc=True), True),
        (Range(1, None), Range(0, None), True),
        (Range(1, None), Range(0, 9), False),
        (Range(None, None), Range(0, 9), False),
        (Range(0, 9), Range(None, None), True),
        (Range(empty=True), Range(0, 1), True),
        (Range(0, 1), Range(empty=True), False),
    ],
)
def test_range_subset(inner: Range[int], outer: Range[int], expected: bool) -> None:
    assert inner.issubset(outer) is expected
    assert outer.issuperset(inner) is expected


def test_bit_string() -> None:
    bits = BitString("1011 0001 1")
    assert (len(bits), bits.bytes, bits.as_string()) == (9, b"\xb1\x80", "1011 0001 1")
    assert [bits[i] for i in range(9)] == [1, 0, 1, 1, 0, 0, 0, 1, 1]
    assert bits[-1] == 1
    assert repr(bits) == "<BitString 1011 0001 1>"
    assert bits == BitString(b"101100011")
    assert hash(bits) == hash(BitString("101100011"))
    assert BitString("0") != BitString("00")
    assert pickle.loads(pickle.dumps(bits)) == bits
    assert BitString().as_string() == ""
    with pytest.raises(ValueError, match="position 1"):
        BitString("12")
    with pytest.raises(IndexError):
        bits[9]


@pytest.mark.parametrize(
    ("value", "length", "signed"), [(5, 8, False), (-1, 4, True), (-8, 4, True), (255, 8, False)]
)
def test_bit_string_and_int(value: int, length: int, signed: bool) -> None:
    for order in ("big", "little"):
        assert BitString.from_int(value, length, order, signed=signed).to_int(order, signed=signed) == value


def test_bit_string_from_int_refuses_what_does_not_fit() -> None:
    for value, length, signed in ((256, 8, False), (-1, 8, False), (128, 8, True), (-129, 8, True)):
        with pytest.raises(OverflowError):
            BitString.from_int(value, length, signed=signed)
    with pytest.raises(ValueError, match="length"):
        BitString.from_int(0, 0)
    assert BitString.from_int(5, 8, "little").as_string() == "1010 0000"


def test_bit_string_from_bytes() -> None:
    assert BitString.frombytes(b"\xf0", 4) == BitString("1111")
    assert BitString.frombytes(b"\xf0") == BitString("11110000")
    assert BitString.frombytes() == BitString()
    with pytest.raises(ValueError, match="length"):
        BitString.frombytes(b"a", 9)


def test_geometry() -> None:
    p = Point(1, 2)
    pair: object = (1.0, 2.0)
    assert p == pair
    assert (p.x, p.y) == (1.0, 2.0)
    box = Box((3, 4), p)
    assert isinstance(box.high, Point)
    assert (box.high, box.low) == ((3, 4), (1, 2))
    segment = LineSegment(p, (5, 6))
    assert (segment.p1, segment.p2) == (p, Point(5, 6))
    circle = Circle((1, 2), 3)
    assert (circle.center, circle.radius) == (p, 3)
    line = Line(1, 2, 3)
    assert (line.A, line.B, line.C) == (1, 2, 3)
    for value in (p, box, segment, circle, line, Path(p, p), Polygon(p, (3, 4))):
        again = pickle.loads(pickle.dumps(value))
        assert again == value
        assert type(again) is type(value)
        assert hash(again) == hash(value)


def test_path_and_polygon() -> None:
    path = Path((1, 2), (3, 4))
    assert not path.is_closed
    assert path != Path((1, 2), (3, 4), is_closed=True)
    assert (len(path), path[0], list(path), (3, 4) in path) == (2, Point(1, 2), [(1, 2), (3, 4)], True)
    assert path.points == ((1, 2), (3, 4))
    assert Polygon((1, 2)).is_closed
    assert repr(Polygon((1, 2))) == "Polygon(Point(1.0, 2.0))"
    assert repr(Path((1, 2), is_closed=True)) == "Path(Point(1.0, 2.0), is_closed=True)"
