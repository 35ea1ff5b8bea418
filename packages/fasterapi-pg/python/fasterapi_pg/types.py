"""Python forms of PostgreSQL types that Python has no type for, and descriptions of types and servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar, overload

__all__ = [
    "Attribute",
    "BitString",
    "Box",
    "Circle",
    "Line",
    "LineSegment",
    "Path",
    "Point",
    "Polygon",
    "Range",
    "ServerVersion",
    "Type",
]

_T = TypeVar("_T")
_BitOrder = Literal["big", "little"]
_Bytes = bytes  # BitString has a property of that name


class Type(NamedTuple):
    """A data type of the database."""

    oid: int
    name: str
    #: ``scalar``, ``array``, ``composite``, ``range``, ``multirange``, ``domain`` or ``enum``
    kind: str
    schema: str


class Attribute(NamedTuple):
    """A column of a query's result."""

    name: str
    type: Type


class ServerVersion(NamedTuple):
    """Version of the server in the form of ``sys.version_info``."""

    major: int
    minor: int
    micro: int
    releaselevel: str
    serial: int


class Range(Generic[_T]):
    """A PostgreSQL range: two bounds, each included or not; a bound of ``None`` is unlimited."""

    __slots__ = ("_empty", "_lower", "_lower_inc", "_upper", "_upper_inc")

    def __init__(
        self,
        lower: _T | None = None,
        upper: _T | None = None,
        *,
        lower_inc: bool = True,
        upper_inc: bool = False,
        empty: bool = False,
    ) -> None:
        self._empty = empty
        # An empty range has no bounds, and an unlimited bound is never part of the range.
        self._lower = None if empty else lower
        self._upper = None if empty else upper
        self._lower_inc = not empty and lower is not None and lower_inc
        self._upper_inc = not empty and upper is not None and upper_inc

    @property
    def lower(self) -> _T | None:
        return self._lower

    @property
    def upper(self) -> _T | None:
        return self._upper

    @property
    def lower_inc(self) -> bool:
        return self._lower_inc

    @property
    def upper_inc(self) -> bool:
        return self._upper_inc

    @property
    def lower_inf(self) -> bool:
        return self._lower is None and not self._empty

    @property
    def upper_inf(self) -> bool:
        return self._upper is None and not self._empty

    @property
    def isempty(self) -> bool:
        return self._empty

    def issubset(self, other: Range[_T]) -> bool:
        """Whether every value of this range is in ``other``."""
        if self._empty:
            return True
        if other._empty:
            return False
        return self._starts_within(other) and self._ends_within(other)

    def issuperset(self, other: Range[_T]) -> bool:
        """Whether every value of ``other`` is in this range."""
        return other.issubset(self)

    def _starts_within(self, other: Range[Any]) -> bool:
        mine: Any = self._lower
        if other._lower is None:
            return True
        if mine is None:
            return False
        if mine == other._lower:
            return other._lower_inc or not self._lower_inc
        return bool(mine > other._lower)

    def _ends_within(self, other: Range[Any]) -> bool:
        mine: Any = self._upper
        if other._upper is None:
            return True
        if mine is None:
            return False
        if mine == other._upper:
            return other._upper_inc or not self._upper_inc
        return bool(mine < other._upper)

    def _key(self) -> tuple[object, ...]:
        return (self._lower, self._upper, self._lower_inc, self._upper_inc, self._empty)

    def __bool__(self) -> bool:
        return not self._empty

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if isinstance(other, Range) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __reduce__(self) -> tuple[Any, ...]:
        return _make_range, self._key()

    def __repr__(self) -> str:
        if self._empty:
            return "<Range empty>"
        left = "[" if self._lower_inc else "("
        right = "]" if self._upper_inc else ")"
        lower = "" if self._lower is None else repr(self._lower)
        upper = "" if self._upper is None else repr(self._upper)
        return f"<Range {left}{lower}, {upper}{right}>"

    __str__ = __repr__


def _make_range(lower: Any, upper: Any, lower_inc: bool, upper_inc: bool, empty: bool) -> Range[Any]:
    return Range(lower, upper, lower_inc=lower_inc, upper_inc=upper_inc, empty=empty)


class BitString:
    """An immutable string of bits, first bit first, as ``bit`` and ``bit varying`` hold them."""

    __slots__ = ("_bytes", "_length")

    def __init__(self, bitstring: str | _Bytes | None = None) -> None:
        """Take the bits from text of ``0`` and ``1``; blanks between them are ignored."""
        text = (
            ""
            if bitstring is None
            else bitstring.decode("ascii")
            if isinstance(bitstring, bytes)
            else bitstring
        )
        bits = "".join(text.split())
        for place, bit in enumerate(bits):
            if bit not in "01":
                raise ValueError(f"invalid bit value at position {place}")
        self._length = len(bits)
        size = (len(bits) + 7) // 8
        self._bytes = int(bits.ljust(size * 8, "0"), 2).to_bytes(size, "big") if bits else b""

    @classmethod
    def frombytes(cls, bytes_: _Bytes | None = None, bitlength: int | None = None) -> BitString:
        """Take ``bitlength`` bits (all when ``None``) from packed bytes, highest bit first."""
        data = bytes(bytes_ or b"")
        if bitlength is None:
            bitlength = len(data) * 8
        if bitlength < 0 or not len(data) * 8 - 8 < bitlength <= len(data) * 8:
            raise ValueError("invalid bit length specified")
        made = cls()
        made._bytes = data
        made._length = bitlength
        return made

    @classmethod
    def from_int(cls, x: int, length: int, bitorder: _BitOrder = "big", *, signed: bool = False) -> BitString:
        """Return ``x`` as ``length`` bits, two's complement when ``signed``.

        Raises ``ValueError`` when ``length`` is not positive and ``OverflowError`` when ``x`` does not fit.
        """
        if length <= 0:
            raise ValueError("length must be positive")
        if signed:
            if not -(1 << (length - 1)) <= x < 1 << (length - 1):
                raise OverflowError("int too big to convert")
        elif x < 0:
            raise OverflowError("can't convert negative int to unsigned")
        elif x >= 1 << length:
            raise OverflowError("int too big to convert")
        bits = format(x & ((1 << length) - 1), f"0{length}b")
        return cls(bits if _is_big(bitorder) else bits[::-1])

    def to_int(self, bitorder: _BitOrder = "big", *, signed: bool = False) -> int:
        """Return the bits as an integer, two's complement when ``signed``."""
        bits = self._bits()
        if not bits:
            return 0
        if not _is_big(bitorder):
            bits = bits[::-1]
        value = int(bits, 2)
        return value - (1 << self._length) if signed and bits[0] == "1" else value

    @property
    def bytes(self) -> _Bytes:
        """The bits packed into bytes; the last byte is filled up with zeros."""
        return self._bytes

    def _bits(self) -> str:
        if not self._bytes:
            return ""
        return format(int.from_bytes(self._bytes, "big"), f"0{len(self._bytes) * 8}b")[: self._length]

    def as_string(self) -> str:
        """Return the bits as text, a blank after every four."""
        bits = self._bits()
        return " ".join(bits[i : i + 4] for i in range(0, len(bits), 4))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, i: int) -> int:
        number: object = i
        if isinstance(number, slice):
            raise NotImplementedError("BitString does not support slices")
        if i < 0:
            i += self._length
        if not 0 <= i < self._length:
            raise IndexError("index out of range")
        return self._bytes[i // 8] >> (7 - i % 8) & 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BitString):
            return NotImplemented
        return self._length == other._length and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash((self._length, self._bytes))

    def __reduce__(self) -> tuple[Any, ...]:
        return BitString.frombytes, (self._bytes, self._length)

    def __repr__(self) -> str:
        return f"<BitString {self.as_string()}>"

    __str__ = __repr__


def _is_big(bitorder: str) -> bool:
    if bitorder not in ("big", "little"):
        raise ValueError("bitorder must be 'big' or 'little'")
    return bitorder == "big"


class Point(tuple[float, float]):
    """A point ``(x, y)`` of the plane."""

    __slots__ = ()

    def __new__(cls, x: float, y: float) -> Self:
        return super().__new__(cls, (float(x), float(y)))

    def __getnewargs__(self) -> tuple[float, float]:
        return (self[0], self[1])

    @property
    def x(self) -> float:
        return self[0]

    @property
    def y(self) -> float:
        return self[1]

    def __repr__(self) -> str:
        return f"Point({self[0]!r}, {self[1]!r})"


_PointLike = Point | tuple[float, float]


def _point(value: _PointLike) -> Point:
    return value if isinstance(value, Point) else Point(*value)


class Box(tuple[Point, Point]):
    """A rectangle given by two opposite corners; the server makes them the upper right and the lower left."""

    __slots__ = ()

    def __new__(cls, high: _PointLike, low: _PointLike) -> Self:
        return super().__new__(cls, (_point(high), _point(low)))

    def __getnewargs__(self) -> tuple[Point, Point]:
        return (self[0], self[1])

    @property
    def high(self) -> Point:
        return self[0]

    @property
    def low(self) -> Point:
        return self[1]

    def __repr__(self) -> str:
        return f"Box({self[0]!r}, {self[1]!r})"


class LineSegment(tuple[Point, Point]):
    """The straight line between two points."""

    __slots__ = ()

    def __new__(cls, p1: _PointLike, p2: _PointLike) -> Self:
        return super().__new__(cls, (_point(p1), _point(p2)))

    def __getnewargs__(self) -> tuple[Point, Point]:
        return (self[0], self[1])

    @property
    def p1(self) -> Point:
        return self[0]

    @property
    def p2(self) -> Point:
        return self[1]

    def __repr__(self) -> str:
        return f"LineSegment({self[0]!r}, {self[1]!r})"


class Line(tuple[float, float, float]):
    """The infinite line ``A*x + B*y + C = 0``."""

    __slots__ = ()

    def __new__(cls, A: float, B: float, C: float) -> Self:
        return super().__new__(cls, (A, B, C))

    def __getnewargs__(self) -> tuple[float, float, float]:
        return (self[0], self[1], self[2])

    @property
    def A(self) -> float:
        return self[0]

    @property
    def B(self) -> float:
        return self[1]

    @property
    def C(self) -> float:
        return self[2]

    def __repr__(self) -> str:
        return f"Line({self[0]!r}, {self[1]!r}, {self[2]!r})"


class Circle(tuple[Point, float]):
    """A circle given by its centre and its radius."""

    __slots__ = ()

    def __new__(cls, center: _PointLike, radius: float) -> Self:
        return super().__new__(cls, (_point(center), radius))

    def __getnewargs__(self) -> tuple[Point, float]:
        return (self[0], self[1])

    @property
    def center(self) -> Point:
        return self[0]

    @property
    def radius(self) -> float:
        return self[1]

    def __repr__(self) -> str:
        return f"Circle({self[0]!r}, {self[1]!r})"


class Path:
    """A line through points, open or closed."""

    __slots__ = ("_closed", "points")

    #: The points in order.
    points: tuple[Point, ...]

    def __init__(self, *points: _PointLike, is_closed: bool = False) -> None:
        self.points = tuple(_point(p) for p in points)
        self._closed = is_closed

    @property
    def is_closed(self) -> bool:
        return self._closed

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    @overload
    def __getitem__(self, i: int) -> Point: ...
    @overload
    def __getitem__(self, i: slice) -> tuple[Point, ...]: ...
    def __getitem__(self, i: int | slice) -> Point | tuple[Point, ...]:
        return self.points[i]

    def __contains__(self, point: object) -> bool:
        return point in self.points

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Path):
            return NotImplemented
        return self.points == other.points and self._closed == other._closed

    def __hash__(self) -> int:
        return hash((self.points, self._closed))

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.points))
        return f"{type(self).__name__}({inside}{', is_closed=True' if self._shows_closed() else ''})"

    def _shows_closed(self) -> bool:
        return self._closed


class Polygon(Path):
    """A closed line through points."""

    __slots__ = ()

    def __init__(self, *points: _PointLike) -> None:
        super().__init__(*points, is_closed=True)

    def _shows_closed(self) -> bool:
        return False
