"""JSON encoder and decoder: agreement with the standard library, and what goes beyond it."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import gc
import json
import math
import sys
import typing
import uuid

import fasterapi_core as core
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

dumps, loads = core.json_dumps, core.json_loads

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=30,
)


def same(a: object, b: object) -> bool:
    """Equal, and of the same types all the way down (1 is not 1.0, -0.0 is not 0.0)."""
    return repr(a) == repr(b)


@given(values)
@settings(max_examples=500, deadline=None)
def test_what_is_encoded_reads_back_in_the_standard_library(value: object) -> None:
    text = dumps(value)
    assert same(json.loads(text), json.loads(json.dumps(value)))
    assert same(loads(text), json.loads(text))


@given(values)
@settings(max_examples=300, deadline=None)
def test_text_is_what_the_standard_library_writes(value: object) -> None:
    assert dumps(value).decode() == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    ascii_text = dumps(value, option=core.OPT_ENSURE_ASCII)
    assert ascii_text.isascii() and same(json.loads(ascii_text), json.loads(json.dumps(value)))
    assert dumps(value, option=core.OPT_SORT_KEYS).decode() == json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), sort_keys=True
    )
    assert dumps(value, option=core.OPT_INDENT_2).decode() == json.dumps(value, ensure_ascii=False, indent=2)


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(max_examples=3000, deadline=None)
def test_floats_are_written_as_repr_and_read_exactly(value: float) -> None:
    assert dumps(value).decode() == repr(value)
    assert same(loads(repr(value)), value)


@given(st.integers(0, 10**15), st.integers(0, 12))
@settings(max_examples=2000, deadline=None)
def test_short_decimals_are_written_as_repr(digits: int, places: int) -> None:
    value = digits / 10**places
    assert dumps(value).decode() == repr(value)


@given(st.integers(0, 10**25), st.integers(-400, 400))
@settings(max_examples=2000, deadline=None)
def test_decimal_texts_are_rounded_correctly(digits: int, exponent: int) -> None:
    for text in (f"{digits}e{exponent}", f"-{digits}.5E{exponent}", f"0.{digits}"):
        assert same(loads(text), json.loads(text))


def reject_constant(name: str) -> typing.NoReturn:
    raise ValueError(name)


def lone_surrogate(value: object) -> bool:
    try:
        repr(value).encode()
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


json_pieces = st.lists(
    st.sampled_from(
        [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            '"',
            '"a"',
            '"b":',
            "1",
            "-",
            "0",
            "01",
            ".",
            "5e",
            "e3",
            "+",
            "true",
            "nul",
            "null",
            " ",
            "\n",
            "\t",
            "\\",
            "\\n",
            "\\u00e9",
            "\\ud83d\\ude00",
            "\\ud800",
            "é",
            "\x01",
            "NaN",
            "Infinity",
            "\ufeff",
            "[1,2]",
            '{"k":[]}',
            "1.5",
            "\u2028",
        ]
    ),
    max_size=8,
).map("".join)


@given(json_pieces | st.text() | values.map(json.dumps))
@settings(max_examples=3000, deadline=None)
def test_valid_and_invalid_texts_agree_with_the_standard_library(text: str) -> None:
    try:
        expected = json.loads(text, parse_constant=reject_constant)
    except ValueError:
        with pytest.raises(core.JSONDecodeError):
            loads(text)
        return
    if lone_surrogate(expected):
        with pytest.raises(core.JSONDecodeError):
            loads(text)
    else:
        assert same(loads(text), expected)
        assert same(loads(text.encode()), expected)


@given(st.binary(max_size=24))
@settings(max_examples=1000, deadline=None)
def test_string_bytes_are_utf8_or_refused(raw: bytes) -> None:
    text = b'"' + raw.replace(b"\\", b"").replace(b'"', b"") + b'"'
    try:
        expected = json.loads(text.decode())
    except ValueError:
        with pytest.raises(core.JSONDecodeError):
            loads(text)
    else:
        assert loads(text) == expected


@given(values, st.data())
@settings(max_examples=500, deadline=None)
def test_cut_and_damaged_texts_never_crash(value: object, data: st.DataObject) -> None:
    text = bytearray(dumps(value))
    if text:
        at = data.draw(st.integers(0, len(text) - 1))
        text[at] = data.draw(st.integers(0, 255))
    for sample in (bytes(text), bytes(text[: len(text) // 2])):
        try:
            expected = json.loads(sample.decode("utf-8"), parse_constant=reject_constant)
        except ValueError:
            with pytest.raises(core.JSONDecodeError):
                loads(sample)
        else:
            if not lone_surrogate(expected) and sample[:3] != b"\xef\xbb\xbf":
                assert same(loads(sample), expected)


@pytest.mark.parametrize("length", [*range(40), 63, 64, 79, 80, 81, 127, 128, 255, 256, 257, 1000])
@pytest.mark.parametrize("special", ['"', "\\", "\n", "\x1f", "\x7f", "é", "\u20ac", "\U0001f600", ""])
def test_a_special_character_is_found_at_every_place(length: int, special: str) -> None:
    for at in {0, length // 2, max(0, length - 1), length}:
        text = "a" * at + special + "b" * (length - at)
        encoded = dumps(text)
        assert encoded.decode() == json.dumps(text, ensure_ascii=False)
        assert loads(encoded) == text
        assert loads(json.dumps(text)) == text
        assert loads(dumps({text: 1})) == {text: 1}


# ---- decoder


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "[", "[1,]", '{"a":1,}', "{'a':1}", '{"a" 1}', '{"a":}', "01", "-", "1.", ".5", "1e", "1e+", "+1", "0x1",
     "tru", "nulll", "NaN", "Infinity", "-Infinity", "[1 2]", "1 2", '"\t"', '"\\x"', '"\\u12"', '"\\ud800"', '"\\udc00"',
     '"\\ud800\\u0041"', '"abc', "[1", "{]", "//", "\u00a01", "\x0b1"],
)  # fmt: skip
def test_bad_texts_are_refused(text: str) -> None:
    with pytest.raises(core.JSONDecodeError):
        loads(text)


def test_the_error_tells_where() -> None:
    with pytest.raises(core.JSONDecodeError) as caught:
        loads('{"é": 1,\n "b": x}')
    error = caught.value
    assert isinstance(error, ValueError) and isinstance(error, json.JSONDecodeError)
    assert (error.lineno, error.colno, error.pos) == (2, 7, 15)
    assert error.doc == '{"é": 1,\n "b": x}' and error.msg == "Expecting value"
    assert "line 2 column 7 (char 15)" in str(error)


def test_byte_order_mark_is_named() -> None:
    for text in (b"\xef\xbb\xbf{}", "\ufeff{}"):
        with pytest.raises(core.JSONDecodeError, match="byte order mark"):
            loads(text)


def test_last_duplicate_key_counts() -> None:
    assert loads('{"a":1,"b":2,"a":3}') == {"a": 3, "b": 2}
    assert list(loads('{"a":1,"b":2,"a":3}')) == ["a", "b"]


def test_nesting_is_limited() -> None:
    assert loads("[" * 128 + "]" * 128)
    for text in ("[" * 129 + "]" * 129, '{"a":' * 200 + "1" + "}" * 200, "[" * 1_000_000):
        with pytest.raises(core.JSONDecodeError, match="deep"):
            loads(text)


def test_all_bytes_like_inputs_are_taken() -> None:
    text = '{"k": [1, "é"]}'
    raw = text.encode()
    for form in (text, raw, bytearray(raw), memoryview(raw)):
        assert loads(form) == {"k": [1, "é"]}
    with pytest.raises(TypeError):
        loads(5)  # type: ignore[arg-type]
    with pytest.raises(core.JSONDecodeError):
        loads('"\ud800"')


def test_numbers_out_of_range_follow_the_standard_library() -> None:
    assert loads("1e400") == math.inf and loads("-1e400") == -math.inf
    assert same(loads("-1e-400"), -0.0) and same(loads("-0"), 0) and same(loads("-0.0"), -0.0)
    big = "9" * 400
    assert loads(big) == int(big) and loads("-" + big) == -int(big)
    with pytest.raises(ValueError):
        loads("9" * (sys.get_int_max_str_digits() + 1))


def test_many_keys_do_not_confuse_the_key_cache() -> None:
    objects = [{f"key{i}{'x' * (i % 70)}": i, f"{i}": i} for i in range(6000)]
    assert loads(dumps(objects)) == objects
    assert loads(dumps(objects)) == objects


# ---- encoder


class Color(enum.Enum):
    RED = "r"
    DEEP = ("x", 1)


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    HI = "hi"


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.5
    kind: typing.ClassVar[str] = "no"
    _hidden: int = 3


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    name: str
    inner: Point


class Name(str):
    pass


class Pair(typing.NamedTuple):
    a: int
    b: str


def test_types_beyond_json() -> None:
    key = uuid.UUID("12345678-1234-5678-9abc-def012345678")
    assert loads(dumps([Color.RED, Color.DEEP, Level.LOW, Word.HI])) == ["r", ["x", 1], 1, "hi"]
    assert dumps(Point(1)) == b'{"x":1,"y":0.5,"_hidden":3}'
    assert dumps(Slotted("n", Point(2))) == b'{"name":"n","inner":{"x":2,"y":0.5,"_hidden":3}}'
    assert dumps(key) == f'"{key}"'.encode() and dumps(uuid.UUID(int=0)) == f'"{uuid.UUID(int=0)}"'.encode()
    assert dumps(decimal.Decimal("10.500")) == b'"10.500"'
    assert dumps([Name("n"), Pair(1, "b"), collections.Counter("aa")]) == b'["n",[1,"b"],{"a":2}]'
    ordered = collections.OrderedDict(a=1, b=2)
    ordered.move_to_end("a")
    assert dumps(ordered) == b'{"b":2,"a":1}'
    assert dumps(10**30) == b"1" + b"0" * 30 and dumps(-(2**63)) == b"-9223372036854775808"
    assert dumps([]) == b"[]" and dumps({}) == b"{}" and dumps(()) == b"[]"


def test_dates_are_rfc_3339() -> None:
    moment = dt.datetime(2026, 1, 2, 3, 4, 5, 60)
    assert dumps(moment) == b'"2026-01-02T03:04:05.000060"'
    assert (
        dumps(moment, option=core.OPT_OMIT_MICROSECONDS | core.OPT_NAIVE_UTC)
        == b'"2026-01-02T03:04:05+00:00"'
    )
    assert dumps(moment.replace(tzinfo=dt.timezone.utc, microsecond=0)) == b'"2026-01-02T03:04:05+00:00"'
    assert (
        dumps(moment.replace(tzinfo=dt.timezone.utc, microsecond=0), option=core.OPT_UTC_Z)
        == b'"2026-01-02T03:04:05Z"'
    )
    zone = dt.timezone(-dt.timedelta(hours=3, minutes=30))
    assert dumps(moment.replace(tzinfo=zone, microsecond=0)) == b'"2026-01-02T03:04:05-03:30"'
    assert dumps([dt.date(1, 2, 3), dt.time(4, 5, 6, 700000)]) == b'["0001-02-03","04:05:06.700000"]'
    assert dt.datetime.fromisoformat(loads(dumps(moment))) == moment

    class Broken(dt.tzinfo):
        def utcoffset(self, when: dt.datetime | None) -> dt.timedelta | None:
            raise RuntimeError("zone")

    with pytest.raises(RuntimeError, match="zone"):
        dumps(moment.replace(tzinfo=Broken()))


def test_pydantic_models_serialize_themselves() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Item(pydantic.BaseModel):
        id: int
        name: str = pydantic.Field(serialization_alias="n")
        when: dt.date

    item = Item(id=1, name="é", when=dt.date(2026, 1, 2))
    assert dumps({"items": [item]}) == '{"items":[{"id":1,"name":"é","when":"2026-01-02"}]}'.encode()
    assert dumps(item, option=core.OPT_INDENT_2 | core.OPT_ENSURE_ASCII) == (
        b'{\n  "id": 1,\n  "name": "\\u00e9",\n  "when": "2026-01-02"\n}'
    )


def test_default_is_asked_for_what_is_unknown() -> None:
    with pytest.raises(TypeError, match="not JSON serializable: set"):
        dumps({1, 2})
    with pytest.raises(TypeError, match="bytes"):
        dumps(b"x")
    assert (
        dumps([{1}, b"x"], default=lambda o: sorted(o) if isinstance(o, set) else o.decode()) == b'[[1],"x"]'
    )
    assert dumps(Point(1), default=repr, option=core.OPT_PASSTHROUGH_DATACLASS).startswith(b'"Point(')
    assert dumps(Name("a"), default=lambda o: 7, option=core.OPT_PASSTHROUGH_SUBCLASS) == b"7"
    assert dumps(dt.date(2026, 1, 1), default=lambda o: 8, option=core.OPT_PASSTHROUGH_DATETIME) == b"8"
    with pytest.raises(ZeroDivisionError):
        dumps([object()], default=lambda o: 1 / 0)
    with pytest.raises(ValueError, match="nested"):
        dumps(object(), default=lambda o: [o])
    with pytest.raises(ValueError, match="nested"):
        dumps(object(), default=lambda o: o)


def test_keys() -> None:
    assert dumps({Word.HI: 1, Name("n"): 2}) == b'{"hi":1,"n":2}'
    with pytest.raises(TypeError, match="key"):
        dumps({1: 2})
    keys: dict[object, int] = {
        1: 1,
        2.5: 2,
        True + 1: 3,
        None: 4,
        dt.date(2026, 1, 1): 5,
        uuid.UUID(int=1): 6,
        Level.LOW: 7,
    }
    expected = {"1": 7, "2.5": 2, "2": 3, "null": 4, "2026-01-01": 5, str(uuid.UUID(int=1)): 6}
    assert loads(dumps(keys, option=core.OPT_NON_STR_KEYS)) == expected
    assert dumps(keys, option=core.OPT_NON_STR_KEYS | core.OPT_SORT_KEYS) == dumps(
        dict(sorted(expected.items()))
    )

    class Quoted(enum.Enum):
        Q = 'a"b'

    assert dumps({Quoted.Q: 1, "z": 2}, option=core.OPT_SORT_KEYS) == b'{"a\\"b":1,"z":2}'
    with pytest.raises(TypeError):
        dumps({(1,): 2}, option=core.OPT_NON_STR_KEYS)


def test_nan_is_an_error_or_null() -> None:
    for value in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="JSON compliant"):
            dumps([value])
        assert dumps([value], option=core.OPT_ALLOW_NAN) == b"[null]"


def test_lone_surrogates_are_an_error() -> None:
    for value in ("\ud800", {"\udc00": 1}, ["a" * 100 + "\ud83d"]):
        with pytest.raises(ValueError):
            dumps(value)


def test_cycles_and_depth() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="circular"):
        dumps(loop)
    ring: dict[str, object] = {}
    ring["me"] = ring
    with pytest.raises(ValueError, match="circular"):
        dumps(ring)
    deep: object = 1
    for _ in range(254):
        deep = [deep]
    assert dumps(deep) == b"[" * 254 + b"1" + b"]" * 254
    with pytest.raises(ValueError):
        dumps([deep])


def test_containers_may_change_under_default() -> None:
    data: dict[str, object] = {"a": object(), "b": 1}

    def grow(value: object) -> int:
        data.clear()
        for i in range(1000):
            data[f"k{i}"] = "v" * 50
        gc.collect()
        return 1

    with pytest.raises(RuntimeError, match="changed size"):
        dumps(data, default=grow)
    items: list[object] = [object(), object(), object()]

    def shrink(value: object) -> str:
        items.clear()
        gc.collect()
        return "x"

    assert dumps(items, default=shrink) == b'["x"]'


def test_default_may_encode_too() -> None:
    assert dumps([object(), "tail"], default=lambda o: dumps({"in": [1] * 500}).decode()) == (
        b"[" + dumps(dumps({"in": [1] * 500}).decode()) + b',"tail"]'
    )


def test_options_are_checked() -> None:
    with pytest.raises(ValueError):
        dumps(1, option=1 << 30)
    with pytest.raises(ValueError):
        dumps(1, option=-1)
    with pytest.raises(TypeError):
        dumps(1, option="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        dumps(1, wrong=2)  # type: ignore[call-arg]
    assert dumps(1, option=core.OPT_APPEND_NEWLINE) == b"1\n"


def test_no_references_are_lost() -> None:
    class Unknown:
        pass

    marker = Unknown()
    point = Point(marker)  # type: ignore[arg-type]
    samples: list[object] = [
        marker,
        {"k": marker},
        {"k": point},
        [(marker,)],
        {marker: 1},
        collections.OrderedDict(a=marker),
    ]
    before = sys.getrefcount(marker)

    def fail(value: object) -> object:
        raise KeyError

    for _ in range(50):
        for sample in samples:
            for default in (None, fail, lambda o: "ok", lambda o: [o]):
                try:
                    dumps(sample, default=default, option=core.OPT_SORT_KEYS)
                except (TypeError, KeyError, ValueError):
                    pass
    gc.collect()
    assert sys.getrefcount(marker) == before
    text = '{"some_key_of_ours":["a long enough value", 123456789], "x": '
    for _ in range(100):
        with pytest.raises(core.JSONDecodeError):
            loads(text)
