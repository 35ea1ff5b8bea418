"""json_dumps options, Fragment, NumPy and pieces, beside orjson where it is installed."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import gc
import importlib.util
import json
import math
import sys
import uuid
from typing import Any

import fasterapi_core as core
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

dumps, loads = core.json_dumps, core.json_loads
HAVE_ORJSON = importlib.util.find_spec("orjson") is not None
needs_orjson = pytest.mark.skipif(not HAVE_ORJSON, reason="orjson is not installed")

moments = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)) | st.datetimes(
    dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=st.just(dt.timezone.utc)
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | moments
    | st.dates()
    # orjson 3.13 writes 00:00:00.010000 as 00:00:00.10000
    | st.times().filter(lambda time: not 0 < time.microsecond < 100_000)
    | st.uuids()
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=6)
        | st.tuples(inner, inner)
    ),
    max_leaves=20,
)
SHARED = [
    "OPT_APPEND_NEWLINE",
    "OPT_INDENT_2",
    "OPT_NAIVE_UTC",
    "OPT_NON_STR_KEYS",
    "OPT_OMIT_MICROSECONDS",
    "OPT_SORT_KEYS",
    "OPT_UTC_Z",
]


def both(names: set[str]) -> tuple[int, int]:
    """The same options for us and for orjson."""
    import orjson

    return (
        sum(getattr(core, name) for name in names),
        sum(getattr(orjson, name) for name in names),
    )


def same_float_style(text: bytes) -> Any:
    """Parsed: the two libraries write exponents differently (1e16 and 1e+16)."""
    return json.loads(text)


@needs_orjson
@given(trees, st.sets(st.sampled_from(SHARED)))
@settings(max_examples=600, deadline=None)
def test_options_mean_what_they_mean_in_orjson(value: Any, names: set[str]) -> None:
    import orjson

    ours, theirs = both(names)
    mine, other = dumps(value, option=ours), orjson.dumps(value, option=theirs)
    if mine != other:
        assert repr(same_float_style(mine)) == repr(same_float_style(other))
        assert mine.count(b"\n") == other.count(b"\n") and mine.count(b" ") == other.count(b" ")
    assert repr(loads(mine)) == repr(orjson.loads(mine))


@needs_orjson
@given(
    st.dictionaries(
        st.text(max_size=4)
        | st.integers(-(2**63), 2**63)
        | st.booleans()
        | st.none()
        | st.dates()
        | st.uuids()
        | moments,
        st.integers(0, 9),
        max_size=6,
    ),
    st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_keys_become_what_they_become_in_orjson(value: dict[Any, int], sort: bool) -> None:
    import orjson

    try:
        expected = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS | (orjson.OPT_SORT_KEYS if sort else 0))
    except TypeError:
        return  # lone surrogates
    assert dumps(value, option=core.OPT_NON_STR_KEYS | (core.OPT_SORT_KEYS if sort else 0)) == expected


@needs_orjson
@pytest.mark.parametrize("value", [2**53 - 1, 2**53, -(2**53) + 1, -(2**53), 0, 2**64, -(2**70)])
def test_strict_integer_as_in_orjson(value: int) -> None:
    import orjson

    try:
        expected = orjson.dumps([value], option=orjson.OPT_STRICT_INTEGER)
    except TypeError:
        with pytest.raises(ValueError, match="53 bits"):
            dumps([value], option=core.OPT_STRICT_INTEGER)
    else:
        assert dumps([value], option=core.OPT_STRICT_INTEGER) == expected


@needs_orjson
@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: json.dumps(text).encode()))
@settings(max_examples=500, deadline=None)
def test_texts_are_taken_and_refused_as_by_orjson(text: bytes) -> None:
    import orjson

    try:
        expected = orjson.loads(text)
    except ValueError:
        with pytest.raises(core.JSONDecodeError):
            loads(text)
    else:
        assert repr(loads(text)) == repr(expected)


class Name(str):
    pass


class Row(dict[str, int]):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Level(enum.IntEnum):
    LOW = 1


@needs_orjson
@pytest.mark.parametrize(
    "value",
    [Name("n"), Row(a=1), Point(1, 2), dt.date(2026, 1, 2), dt.datetime(2026, 1, 2, 3, 4, 5), Level.LOW],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize(
    "name", ["OPT_PASSTHROUGH_SUBCLASS", "OPT_PASSTHROUGH_DATACLASS", "OPT_PASSTHROUGH_DATETIME"]
)
def test_passthrough_as_in_orjson(value: object, name: str) -> None:
    import orjson

    def default(given: object) -> str:
        return f"default {type(given).__name__}"

    ours = dumps([value], default=default, option=getattr(core, name))
    assert ours == orjson.dumps([value], default=default, option=getattr(orjson, name))


def test_nested_default_and_errors_in_it() -> None:
    def unfold(value: object) -> object:
        if isinstance(value, set):
            return sorted(value)
        if isinstance(value, complex):
            return {value.real, value.imag}
        raise TypeError(f"no {type(value).__name__}")

    assert dumps([1 + 2j, {3, 1}], default=unfold) == b"[[1.0,2.0],[1,3]]"
    with pytest.raises(TypeError, match="no object"):
        dumps({"a": [object()]}, default=unfold)


# ---- Fragment


def test_fragments_are_written_as_they_are() -> None:
    assert (
        dumps({"a": core.Fragment(b'{"x": 1}'), "b": [core.Fragment("é")]})
        == '{"a":{"x": 1},"b":[é]}'.encode()
    )
    assert dumps(core.Fragment("")) == b""
    assert core.Fragment(b"1").contents == b"1"
    assert dumps([core.Fragment(b"1")], option=core.OPT_INDENT_2) == b"[\n  1\n]"
    for wrong in (1, None, bytearray(b"x")):
        with pytest.raises(TypeError, match="bytes or str"):
            core.Fragment(wrong)  # type: ignore[arg-type]
    with pytest.raises(UnicodeEncodeError):
        dumps(core.Fragment("\ud800"))


# ---- NumPy


def test_numpy_needs_its_option() -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(TypeError, match="ndarray"):
        dumps(numpy.array([1]))
    assert dumps(numpy.array([1]), default=lambda array: array.tolist()) == b"[1]"


@pytest.mark.parametrize(
    "kind",
    ["bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float32", "float64"],
)
def test_numpy_arrays_of_all_plain_types(kind: str) -> None:
    numpy = pytest.importorskip("numpy")
    option = core.OPT_SERIALIZE_NUMPY
    source = [[0, 1, 100], [7, 3, 2]]
    array = numpy.array(source, dtype=kind)
    assert loads(dumps(array, option=option)) == array.tolist()
    assert loads(dumps(array[::-1, ::2], option=option)) == array[::-1, ::2].tolist()
    assert loads(dumps(array.T, option=option)) == array.T.tolist()
    assert loads(dumps(list(array[0]), option=option)) == array[0].tolist()
    assert dumps(array[:0], option=option) == b"[]" and dumps(array[:, :0], option=option) == b"[[],[]]"
    if HAVE_ORJSON:
        import orjson

        assert dumps({"a": array}, option=option | core.OPT_INDENT_2) == orjson.dumps(
            {"a": array}, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_INDENT_2
        )
    if kind.startswith(("int", "uint")):
        limits = numpy.iinfo(kind)
        edge = numpy.array([limits.min, limits.max], dtype=kind)
        assert loads(dumps(edge, option=option)) == [limits.min, limits.max]
        assert loads(dumps(edge[1], option=option)) == limits.max


def test_numpy_floats_are_the_shortest_that_read_back() -> None:
    numpy = pytest.importorskip("numpy")
    option = core.OPT_SERIALIZE_NUMPY
    random = numpy.random.default_rng(1)
    for kind, bits in (("float32", "uint32"), ("float16", "uint16"), ("float64", "uint64")):
        array = random.integers(0, numpy.iinfo(bits).max, 2000, dtype=bits)
        values = array.view(kind)
        values = values[numpy.isfinite(values)]
        back = numpy.array(loads(dumps(values, option=option)), dtype=kind)
        assert (back == values).all()
    single = numpy.array([3.1, 0.1, 1e-7, 16777216.0, 0.0, -0.0], dtype="float32")
    assert dumps(single, option=option) == b"[3.1,0.1,1e-07,16777216.0,0.0,-0.0]"
    with pytest.raises(ValueError, match="JSON compliant"):
        dumps(numpy.array([math.nan], dtype="float32"), option=option)
    assert dumps(numpy.array([math.nan]), option=option | core.OPT_ALLOW_NAN) == b"[null]"


def test_numpy_times_are_datetimes() -> None:
    numpy = pytest.importorskip("numpy")
    option = core.OPT_SERIALIZE_NUMPY | core.OPT_UTC_Z | core.OPT_NAIVE_UTC
    moment = numpy.datetime64("2021-01-01T00:00:00.172")
    assert dumps(moment, option=option) == b'"2021-01-01T00:00:00.172000Z"'
    assert dumps(numpy.array([moment, moment]), option=option) == b'["2021-01-01T00:00:00.172000Z"]'.replace(
        b"]", b',"2021-01-01T00:00:00.172000Z"]'
    )


def test_other_numpy_elements_go_to_default() -> None:
    numpy = pytest.importorskip("numpy")
    option = core.OPT_SERIALIZE_NUMPY
    for value in (
        numpy.array([object()]),
        numpy.array([1j]),
        numpy.array(["text"]),
        numpy.array([1], dtype=">i4"),
        numpy.timedelta64(1, "s"),
        numpy.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])[0],
    ):
        with pytest.raises(TypeError):
            dumps(value, option=option)
        assert dumps(value, option=option, default=lambda given: "x") == b'"x"'
    with pytest.raises(ValueError, match="53 bits"):
        dumps(numpy.array([2**60]), option=option | core.OPT_STRICT_INTEGER)


# ---- in pieces


@given(trees, st.sets(st.sampled_from(["OPT_INDENT_2", "OPT_SORT_KEYS", "OPT_APPEND_NEWLINE"])))
@settings(max_examples=100, deadline=None)
def test_pieces_are_the_text(value: Any, names: set[str]) -> None:
    option = sum(getattr(core, name) for name in names)
    many = [value] * 200 + [{"deep": [[value, {}], []]}]
    pieces: list[bytes] = []
    core.json_dump(many, pieces.append, option=option)
    assert b"".join(pieces) == dumps(many, option=option)


def test_a_large_value_comes_in_bounded_pieces() -> None:
    value = [{"name": "x" * 40, "numbers": list(range(20))} for _ in range(10_000)]
    for option in (0, core.OPT_INDENT_2):
        pieces: list[bytes] = []
        core.json_dump(value, pieces.append, option=option)
        assert b"".join(pieces) == dumps(value, option=option)
        assert max(map(len, pieces)) < 70_000 and len(pieces) > 10
    chain = core._core._json_chain(value)
    assert b"".join(chain) == dumps(value)
    assert max(map(len, chain)) <= 64 * 1024


def test_errors_while_writing_pieces() -> None:
    value = ["x" * 1000] * 1000

    def full(piece: bytes) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        core.json_dump(value, full)
    pieces: list[bytes] = []
    with pytest.raises(TypeError):
        core.json_dump([*value, object()], pieces.append)
    assert pieces and b"".join(pieces) == dumps(value)[: len(b"".join(pieces))]
    with pytest.raises(TypeError):
        core.json_dump(value)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        core.json_dump(value, pieces.append, wrong=1)  # type: ignore[call-arg]
    data: dict[str, object] = {str(i): "y" * 1000 for i in range(1000)}
    with pytest.raises(RuntimeError, match="changed size"):
        core.json_dump(data, lambda piece: data.clear())
    items: list[object] = ["z" * 1000] * 1000
    core.json_dump(items, lambda piece: items.clear())  # ends early, and well


# ---- native memory


def test_buffers_share_their_bytes_and_keep_them() -> None:
    buffer = core.Buffer(b"hello world")
    view = memoryview(buffer)
    part = buffer[6:]
    assert view.readonly and view[0] == ord("h") and buffer[-1] == ord("d")
    assert part == b"world" and bytes(part) == b"world" and len(part) == 5
    del buffer
    gc.collect()
    core.Buffer(b"x" * 11)  # would take the block if it were free
    assert bytes(view) == b"hello world" and memoryview(part)[1:].tobytes() == b"orld"
    view.release()
    assert part.tobytes() == b"world"


def test_buffers_compare_and_hash_as_bytes() -> None:
    buffer = core.Buffer(bytearray(b"abc"))
    assert buffer == b"abc" and buffer != b"abd" and b"abc" == buffer and buffer != "abc"
    assert {b"abc": 1}[buffer] == 1  # type: ignore[index]
    assert b"".join([buffer, core.Buffer(memoryview(b"d"))]) == b"abcd"
    assert loads(core.Buffer(b"[1]")) == [1]  # type: ignore[arg-type]
    assert core.Buffer(b"") == b"" and bytes(core.Buffer(b"")[0:5]) == b""
    with pytest.raises(IndexError):
        buffer[3]
    with pytest.raises(ValueError, match="step"):
        buffer[::2]
    with pytest.raises(TypeError):
        buffer["a"]  # type: ignore[index]
    with pytest.raises(TypeError):
        core.Buffer("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        memoryview(buffer)[0] = 1


def test_no_references_are_lost_in_fragments_and_buffers() -> None:
    text = b"[1,2,3]" + bytes(20)
    fragment = core.Fragment(text)
    before = sys.getrefcount(text), sys.getrefcount(core.Fragment), sys.getrefcount(core.Buffer)
    for _ in range(200):
        dumps([fragment, core.Fragment(text)])
        memoryview(core.Buffer(text)[1:3])
        core.json_dump([fragment] * 3, lambda piece: None)
    gc.collect()
    after = sys.getrefcount(text), sys.getrefcount(core.Fragment), sys.getrefcount(core.Buffer)
    assert before == after


def test_ordered_and_counted_subclasses_are_mappings() -> None:
    assert dumps(collections.Counter("abca")) == b'{"a":2,"b":1,"c":1}'
    assert dumps({uuid.UUID(int=1): 1}, option=core.OPT_NON_STR_KEYS) == (
        b'{"00000000-0000-0000-0000-000000000001":1}'
    )
