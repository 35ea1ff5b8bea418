"""Type round trips: what the server sends is what Python has, and what Python sends is what the server has.

Each case is checked four ways: decoded from the server's own literal; encoded and compared in the server's text form;
and both again as elements of an array with a NULL beside them.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import math
import uuid
from decimal import Decimal
from typing import Any

import fasterapi_pg
import pytest
from fasterapi_pg import BitString, Box, Circle, Connection, Line, LineSegment, Path, Point, Polygon, Range

UTC = dt.UTC
D = Decimal


def tz(seconds: int) -> dt.timezone:
    return dt.timezone(dt.timedelta(seconds=seconds))


CASES: list[tuple[str, str, Any]] = [
    ("bool", "true", True),
    ("bool", "false", False),
    ("int2", "-32768", -32768),
    ("int2", "32767", 32767),
    ("int4", "-2147483648", -2147483648),
    ("int4", "2147483647", 2147483647),
    ("int4", "0", 0),
    ("int8", "-9223372036854775808", -(2**63)),
    ("int8", "9223372036854775807", 2**63 - 1),
    ("oid", "0", 0),
    ("oid", "4294967295", 4294967295),
    ("xid", "4294967295", 4294967295),
    ("cid", "7", 7),
    ("xid8", "18446744073709551615", 2**64 - 1),
    ("float4", "1.5", 1.5),
    ("float4", "3.4028235e+38", 3.4028234663852886e38),
    ("float4", "1e-45", 1.401298464324817e-45),
    ("float4", "NaN", math.nan),
    ("float4", "Infinity", math.inf),
    ("float8", "0.1", 0.1),
    ("float8", "-0", -0.0),
    ("float8", "1.7976931348623157e+308", 1.7976931348623157e308),
    ("float8", "5e-324", 5e-324),
    ("float8", "NaN", math.nan),
    ("float8", "Infinity", math.inf),
    ("float8", "-Infinity", -math.inf),
    ("numeric", "0", D("0")),
    ("numeric", "0.00", D("0.00")),
    ("numeric", "1", D("1")),
    ("numeric", "-1", D("-1")),
    ("numeric", "10000", D("10000")),
    ("numeric", "123456789012345678901234567890.123456789", D("123456789012345678901234567890.123456789")),
    ("numeric", "-0.000000000000000000001", D("-0.000000000000000000001")),
    ("numeric", "0.00010000", D("0.00010000")),
    ("numeric", "99999999", D("99999999")),
    ("numeric", "1.10", D("1.10")),
    ("numeric", "1" + "0" * 120, D("1" + "0" * 120)),
    ("numeric", "0." + "0" * 90 + "1", D("0." + "0" * 90 + "1")),
    ("numeric", "NaN", D("NaN")),
    ("text", "", ""),
    ("text", "hello", "hello"),
    ("text", "žluťoučký 🐎 \u200f\\ ' \" % $1\n\t", "žluťoučký 🐎 \u200f\\ ' \" % $1\n\t"),
    ("varchar", "abc", "abc"),
    ("bpchar", "abc ", "abc "),
    ("name", "pg_class", "pg_class"),
    ("bytea", r"\x", b""),
    ("bytea", r"\x00ff5c27", b"\x00\xff\\'"),
    ("date", "2024-02-29", dt.date(2024, 2, 29)),
    ("date", "1999-12-31", dt.date(1999, 12, 31)),
    ("date", "0001-01-02", dt.date(1, 1, 2)),
    ("date", "9999-12-30", dt.date(9999, 12, 30)),
    ("time", "00:00:00", dt.time(0, 0)),
    ("time", "23:59:59.999999", dt.time(23, 59, 59, 999999)),
    ("timetz", "12:34:56.789+02", dt.time(12, 34, 56, 789000, tz(7200))),
    ("timetz", "00:00:00-15:59", dt.time(0, 0, tzinfo=tz(-(15 * 3600 + 59 * 60)))),
    ("timestamp", "2000-01-01 00:00:00", dt.datetime(2000, 1, 1)),
    ("timestamp", "1999-12-31 23:59:59.999999", dt.datetime(1999, 12, 31, 23, 59, 59, 999999)),
    ("timestamp", "0001-01-02 00:00:00", dt.datetime(1, 1, 2)),
    ("timestamp", "9999-12-30 23:59:59.999999", dt.datetime(9999, 12, 30, 23, 59, 59, 999999)),
    ("timestamptz", "2024-06-01 12:00:00+00", dt.datetime(2024, 6, 1, 12, tzinfo=UTC)),
    ("timestamptz", "2024-06-01 12:00:00.000001+05:30", dt.datetime(2024, 6, 1, 12, 0, 0, 1, tz(19800))),
    ("interval", "00:00:00", dt.timedelta(0)),
    (
        "interval",
        "1 day 02:03:04.000005",
        dt.timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=5),
    ),
    ("interval", "-00:00:00.000001", dt.timedelta(microseconds=-1)),
    ("uuid", "12345678-1234-5678-1234-567812345678", uuid.UUID("12345678-1234-5678-1234-567812345678")),
    ("json", '{"a": [1, null]}', '{"a": [1, null]}'),
    ("jsonb", '{"a": [1, null]}', '{"a": [1, null]}'),
    ("jsonb", "null", "null"),
    ("jsonpath", '$."a"[*]', '$."a"[*]'),
    ("xml", "<a>b</a>", "<a>b</a>"),
    ("inet", "192.168.1.5", ipaddress.IPv4Address("192.168.1.5")),
    ("inet", "192.168.1.5/24", ipaddress.IPv4Interface("192.168.1.5/24")),
    ("inet", "::1", ipaddress.IPv6Address("::1")),
    ("inet", "2001:db8::1/64", ipaddress.IPv6Interface("2001:db8::1/64")),
    ("cidr", "10.0.0.0/8", ipaddress.IPv4Network("10.0.0.0/8")),
    ("cidr", "2001:db8::/32", ipaddress.IPv6Network("2001:db8::/32")),
    ("macaddr", "08:00:2b:01:02:03", "08:00:2b:01:02:03"),
    ("bit(5)", "10110", BitString("10110")),
    ("varbit", "", BitString("")),
    ("varbit", "1011000111", BitString("1011000111")),
    ("point", "(1.5,-2)", Point(1.5, -2)),
    ("line", "{1,2,3}", Line(1, 2, 3)),
    ("lseg", "[(1,2),(3,4)]", LineSegment((1, 2), (3, 4))),
    ("path", "((1,2),(3,4))", Path((1, 2), (3, 4), is_closed=True)),
    ("path", "[(1,2),(3,4)]", Path((1, 2), (3, 4))),
    ("polygon", "((1,2),(3,4),(5,6))", Polygon((1, 2), (3, 4), (5, 6))),
    ("circle", "<(1,2),3>", Circle((1, 2), 3)),
    ("tid", "(12,34)", (12, 34)),
    ("int4range", "[1,5)", Range(1, 5)),
    ("int4range", "empty", Range(empty=True)),
    ("int4range", "(,5)", Range(None, 5)),
    ("int8range", "[1,)", Range(1, None)),
    ("numrange", "(1.5,2.5]", Range(D("1.5"), D("2.5"), lower_inc=False, upper_inc=True)),
    ("daterange", "[2024-01-01,2024-02-01)", Range(dt.date(2024, 1, 1), dt.date(2024, 2, 1))),
    ("tsrange", "(,)", Range(None, None)),
    ("pg_lsn", "16/B374D848", 97500059720),
    ("refcursor", "c1", "c1"),
    ("tsvector", "'a' 'b'", "'a' 'b'"),
    ("tsquery", "'a' & 'b'", "'a' & 'b'"),
    ("money", "$1.50", "$1.50"),
    ("regclass", "pg_class", "pg_class"),
    ("regtype", "integer", "integer"),
]


def same(left: Any, right: Any) -> bool:
    """Equality that takes NaN for itself, tells -0.0 from 0.0, and compares a Decimal's digits."""
    if isinstance(left, float) and isinstance(right, float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return left == right and math.copysign(1, left) == math.copysign(1, right)
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return left.as_tuple() == right.as_tuple()
    if not isinstance(left, type(right)):
        return False
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, (dt.datetime, dt.time)) and (left.tzinfo is None) != (right.tzinfo is None):
        return False
    return bool(left == right)


IDS = [f"{t} {s[:24]}" for t, s, _ in CASES]


@pytest.mark.parametrize(("typename", "text", "value"), CASES, ids=IDS)
async def test_round_trip(con: Connection, typename: str, text: str, value: Any) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    if "\\" in text:
        quoted = "E" + quoted.replace("\\", "\\\\")
    if typename == "xml":
        try:
            await con.fetchval("select '<a/>'::xml")
        except fasterapi_pg.FeatureNotSupportedError:
            pytest.skip("this server was built without XML")
    row = await con.fetchrow(
        f"select {quoted}::{typename}, ({quoted}::{typename})::text, null::{typename}, "
        f"array[{quoted}, null]::{typename}[], (array[{quoted}, null]::{typename}[])::text, '{{}}'::{typename}[]"
    )
    assert row is not None
    decoded, server_text, null, array, array_text, empty = row
    assert same(decoded, value), (decoded, value)
    assert null is None
    assert same(array, [value, None])
    assert empty == []
    if typename == "interval":  # -1 us is also -1 day + 23:59:59.999999: as a timedelta has it
        assert await con.fetchval(f"select $1 = {quoted}::interval", value)
    else:
        assert await con.fetchval(f"select ($1::{typename})::text", value) == server_text
        assert await con.fetchval(f"select ($1::{typename}[])::text", [value, None]) == array_text
    assert await con.fetchval(f"select $1::{typename} is null", None) is True


async def test_text_of_one_megabyte(con: Connection) -> None:
    text = "žx" * 524288
    assert await con.fetchval("select $1::text", text) == text
    data = bytes(range(256)) * 4096
    assert await con.fetchval("select $1::bytea", data) == data
    assert await con.fetchval("select length($1::bytea)", memoryview(data)) == len(data)
    assert await con.fetchval("select $1::bytea", bytearray(b"ab")) == b"ab"


async def test_arrays(con: Connection) -> None:
    nested = [[1, 2], [3, None]]
    assert await con.fetchval("select '{{1,2},{3,NULL}}'::int[]") == nested
    assert await con.fetchval("select ($1::int[])::text", nested) == "{{1,2},{3,NULL}}"
    assert await con.fetchval("select '[5:6]={7,8}'::int[]") == [7, 8]
    assert await con.fetchval("select $1::int[]", (1, 2)) == [1, 2]
    cube = [[[f"{i}{j}{k}" for k in range(2)] for j in range(3)] for i in range(2)]
    assert await con.fetchval("select $1::text[]", cube) == cube
    many = list(range(20000))
    assert await con.fetchval("select $1::int8[]", many) == many
    assert await con.fetchval("select $1::text[]", ['a"b', "", "NULL", "{}", "\\"]) == [
        'a"b',
        "",
        "NULL",
        "{}",
        "\\",
    ]
    assert [list(v) for v in (await con.fetchval("select '1 2 3'::int2vector"),)] == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("typename", "value"),
    [
        ("int2", 32768), ("int4", 2**31), ("int8", 2**63), ("int4", "1"), ("int4", 1.5), ("text", 1), ("bytea", "x"),
        ("date", "2024-01-01"), ("timestamp", dt.date), ("uuid", "not a uuid"), ("numeric", "x"), ("int4[]", 5),
        ("int4[]", [[1], [2, 3]]), ("int4[]", ["x"]), ("float4", 1e300), ("oid", -1), ("inet", "x"),
        ("int4range", 5), ("point", "x"), ("text", "\ud800"), ("int4[]", "12"),
    ],
    ids=str,
)  # fmt: skip
async def test_value_that_does_not_fit_is_a_data_error_that_names_the_argument(
    con: Connection, typename: str, value: Any
) -> None:
    with pytest.raises(fasterapi_pg.DataError, match=r"\$2"):
        await con.fetchval(f"select $1::int, $2::{typename}", 1, value)
    assert await con.fetchval("select 1") == 1


async def test_nul_in_text_is_a_data_error(con: Connection) -> None:
    with pytest.raises(fasterapi_pg.DataError):
        await con.fetchval("select $1::text", "a\0b")
    assert await con.fetchval("select 1") == 1


async def test_composite_domain_and_enum(con: Connection) -> None:
    await con.execute(
        "drop schema if exists codecs cascade; create schema codecs; set search_path = codecs;"
        "create type mood as enum ('sad', 'happy');"
        "create type pair as (a int, b text, c mood);"
        "create domain positive as int check (value > 0);"
        "create domain many as positive[];"
        "create type outer_pair as (p pair, q pair[], n numeric)"
    )
    assert await con.fetchval("select 'happy'::mood") == "happy"
    assert await con.fetchval("select $1::mood::text", "sad") == "sad"
    assert await con.fetchval("select array['sad', null]::mood[]") == ["sad", None]
    pair = await con.fetchval("select row(1, 'x', 'sad')::pair")
    assert isinstance(pair, fasterapi_pg.Record)
    assert (pair["a"], pair["b"], pair["c"], tuple(pair)) == (1, "x", "sad", (1, "x", "sad"))
    assert await con.fetchval("select ($1::pair).b", (1, "x", None)) == "x"
    assert await con.fetchval("select $1::pair::text", (1, None, "happy")) == "(1,,happy)"
    assert await con.fetchval("select 5::positive") == 5
    assert await con.fetchval("select $1::positive", 6) == 6
    with pytest.raises(fasterapi_pg.CheckViolationError):
        await con.fetchval("select $1::positive", -1)
    deep = await con.fetchval("select row(row(1,'x','sad'), array[row(2,'y',null)]::pair[], 1.5)::outer_pair")
    assert deep["p"]["b"] == "x"
    assert deep["q"][0]["a"] == 2
    assert deep["n"] == Decimal("1.5")
    anonymous = await con.fetchval("select row(1, 'x'::text, null)")
    assert tuple(anonymous) == (1, "x", None)
    await con.execute("drop schema codecs cascade")


async def test_multirange(con: Connection) -> None:
    if con.get_server_version().major < 14:
        pytest.skip("multiranges came with PostgreSQL 14")
    value = [Range(1, 3), Range(5, None)]
    assert await con.fetchval("select '{[1,3),[5,)}'::int4multirange") == value
    assert await con.fetchval("select $1::int4multirange::text", value) == "{[1,3),[5,)}"
    assert await con.fetchval("select '{}'::int4multirange") == []


async def test_values_python_is_free_with(con: Connection) -> None:
    assert await con.fetchval("select $1::float8", 1) == 1.0
    assert await con.fetchval("select $1::numeric", 5) == Decimal(5)
    assert await con.fetchval("select $1::numeric::text", 1.5) == "1.5"
    assert await con.fetchval("select $1::uuid", "12345678-1234-5678-1234-567812345678") == uuid.UUID(
        "12345678-1234-5678-1234-567812345678"
    )
    assert await con.fetchval("select $1::inet", "10.1.2.3/8") == ipaddress.ip_interface("10.1.2.3/8")
    assert await con.fetchval("select $1::point", (1, 2)) == Point(1, 2)
    assert await con.fetchval("select $1::box", ((3, 4), (1, 2))) == Box((3, 4), (1, 2))
    assert await con.fetchval("select $1::int4range", (1, 5)) == Range(1, 6)  # asyncpg: a pair is [1,5]
    assert await con.fetchval("select $1::bit(4)", BitString("1010")) == BitString("1010")
    assert await con.fetchval("select $1::numeric::text", Decimal("1E+5")) == "100000"
    assert await con.fetchval("select $1::numeric::text", Decimal("-1E-7")) == "-0.0000001"


async def test_infinite_dates_are_pythons_extremes_and_equal_ones_are_themselves(con: Connection) -> None:
    cases: list[tuple[str, Any, str]] = [
        ("date", dt.date.max, "infinity"),
        ("date", dt.date.min, "-infinity"),
        ("timestamp", dt.datetime.max, "infinity"),
        ("timestamp", dt.datetime.min, "-infinity"),
        ("timestamptz", dt.datetime.max, "infinity"),
        ("timestamptz", dt.datetime.min, "-infinity"),
    ]
    for typename, extreme, text in cases:
        assert await con.fetchval(f"select '{text}'::{typename}") is extreme
        assert await con.fetchval(f"select ($1::{typename})::text", extreme) == text
    for typename, value in (
        ("date", dt.date(9999, 12, 31)),
        ("date", dt.date(1, 1, 1)),
        ("timestamp", dt.datetime(9999, 12, 31, 23, 59, 59, 999999)),
        ("timestamp", dt.datetime(1, 1, 1)),
    ):
        assert await con.fetchval(f"select ($1::{typename})::text", value) == str(value)
        assert await con.fetchval(f"select $1::{typename}", value) == value


async def test_dates_that_python_does_not_have_are_an_error(con: Connection) -> None:
    for text in ("10000-01-01", "0001-01-01 BC"):
        for typename in ("date", "timestamp"):
            with pytest.raises(fasterapi_pg.DataError, match="9999"):
                await con.fetchval(f"select '{text}'::{typename}")
    assert await con.fetchval("select 1") == 1


async def test_offset_of_timetz_keeps_its_seconds(con: Connection) -> None:
    value = dt.time(1, 2, 3, tzinfo=tz(3723))
    assert await con.fetchval("select $1::timetz::text", value) == "01:02:03+01:02:03"
    assert await con.fetchval("select $1::timetz", value) == value


async def test_custom_codecs(con: Connection) -> None:
    import json

    await con.set_type_codec("json", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
    assert await con.fetchval("select $1::json", {"a": [1]}) == {"a": [1]}
    assert await con.fetchval("select array[$1::json]", {"a": 1}) == [{"a": 1}]
    await con.reset_type_codec("json", schema="pg_catalog")
    assert await con.fetchval("select '{}'::json") == "{}"
    await con.set_type_codec(
        "uuid",
        schema="pg_catalog",
        format="binary",
        encoder=lambda u: u.bytes,
        decoder=lambda b: uuid.UUID(bytes=b),
    )
    some = uuid.uuid4()
    assert await con.fetchval("select $1::uuid", some) == some
    with pytest.raises(ValueError, match=r"public\.nothing"):
        await con.set_type_codec("nothing", encoder=str, decoder=str)
    with pytest.raises(fasterapi_pg.InterfaceError, match="scalar"):
        await con.set_type_codec("_int4", schema="pg_catalog", encoder=str, decoder=str)
