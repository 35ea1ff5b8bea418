"""Which texts are JSON: a table of cases by section of RFC 8259, each also put through the standard library."""

from __future__ import annotations

import json
import sys
from typing import Any

import fasterapi_core as core
import pytest

ACCEPTED: list[tuple[str, bytes, Any]] = [
    # 2: values and white space
    ("null", b"null", None),
    ("true", b"true", True),
    ("false", b"false", False),
    ("space around", b" \t\n\r[] \t\n\r", []),
    ("space everywhere", b' { "a" : [ 1 , 2 ] , "b" : { } } ', {"a": [1, 2], "b": {}}),
    ("newlines in array", b"[\n1\n,\n2\n]", [1, 2]),
    ("carriage returns", b"[\r\n1\r\n]", [1]),
    # 4, 5: objects and arrays
    ("empty object", b"{}", {}),
    ("empty array", b"[]", []),
    ("array of empties", b"[[],{},[[]],[{}]]", [[], {}, [[]], [{}]]),
    ("empty key", b'{"":0}', {"": 0}),
    ("duplicate key", b'{"a":1,"a":2}', {"a": 2}),
    ("duplicate key and value", b'{"a":1,"a":1}', {"a": 1}),
    ("escaped key", b'{"\\u0061":1}', {"a": 1}),
    ("key with null", b'{"a\\u0000b":1}', {"a\x00b": 1}),
    ("duplicate by escape", b'{"a":1,"\\u0061":2}', {"a": 2}),
    ("long key", b'{"' + b"k" * 300 + b'":1}', {"k" * 300: 1}),
    (
        "many keys",
        b"{" + b",".join(b'"%d":%d' % (i, i) for i in range(500)) + b"}",
        {str(i): i for i in range(500)},
    ),
    ("many items", b"[" + b",".join(b"%d" % i for i in range(5000)) + b"]", list(range(5000))),
    ("mixed", b'[null,1,"1",{},[],1.5,true]', [None, 1, "1", {}, [], 1.5, True]),
    # 6: numbers
    ("zero", b"0", 0),
    ("minus zero", b"-0", 0),
    ("minus zero real", b"-0.0", -0.0),
    ("one digit", b"[7]", [7]),
    ("18 digits", b"999999999999999999", 999999999999999999),
    ("19 digits", b"9223372036854775807", 2**63 - 1),
    ("2**63", b"9223372036854775808", 2**63),
    ("2**64", b"18446744073709551616", 2**64),
    ("-2**63", b"-9223372036854775808", -(2**63)),
    ("100 digits", b"1" * 100, int("1" * 100)),
    ("real", b"1.5", 1.5),
    ("exponent", b"1e2", 100.0),
    ("exponent capital", b"1E2", 100.0),
    ("exponent plus", b"1e+2", 100.0),
    ("exponent minus", b"1e-2", 0.01),
    ("exponent zeros", b"1e007", 1e7),
    ("zero exponent", b"0e1", 0.0),
    ("zero capital exponent plus", b"0E+1", 0.0),
    ("real exponent", b"123.456e78", 123.456e78),
    ("tiny", b"5e-324", 5e-324),
    ("below tiny", b"1e-400", 0.0),
    ("huge", b"1.7976931348623157e308", sys.float_info.max),
    ("beyond huge", b"1e400", float("inf")),
    ("beyond huge exponent", b"1e99999999999999999999", float("inf")),
    ("halfway", b"9007199254740993.0", 9007199254740992.0),
    (
        "halfway long",
        b"2.22507385850720113605740979670913197593481954635164565e-308",
        2.2250738585072014e-308,
    ),
    ("many decimals", b"0." + b"1" * 60, float("0." + "1" * 60)),
    ("many zeros", b"0." + b"0" * 60 + b"1", float("0." + "0" * 60 + "1")),
    # 7: strings
    ("empty string", b'""', ""),
    ("one character", b'"a"', "a"),
    ("all escapes", b'"\\"\\\\\\/\\b\\f\\n\\r\\t"', '"\\/\b\f\n\r\t'),
    ("escaped letter", b'"\\u0041"', "A"),
    ("escape cases", b'"\\u00Ef\\u00eF"', "\u00ef\u00ef"),
    ("escaped null", b'"\\u0000"', "\x00"),
    ("escaped control", b'"\\u001f"', "\x1f"),
    ("surrogate pair", b'"\\ud83d\\ude00"', "\U0001f600"),
    ("surrogate pair first", b'"\\uD800\\uDC00"', "\U00010000"),
    ("surrogate pair last", b'"\\udbff\\udfff"', "\U0010ffff"),
    ("noncharacter", b'"\\uffff"', "\uffff"),
    ("delete is plain", b'"\x7f"', "\x7f"),
    ("two bytes", '"é"'.encode(), "é"),
    ("three bytes", '"\u20ac"'.encode(), "\u20ac"),
    ("four bytes", '"\U0001f600"'.encode(), "\U0001f600"),
    ("line separators", '"\u2028\u2029"'.encode(), "\u2028\u2029"),
    ("byte order mark inside", '"\ufeff"'.encode(), "\ufeff"),
    ("escape after multibyte", '"é\\né"'.encode(), "é\né"),
    ("escaped solidus", b'"<\\/script>"', "</script>"),
    ("long plain", b'"' + b"x" * 10_000 + b'"', "x" * 10_000),
    ("long with escape last", b'"' + b"x" * 999 + b'\\n"', "x" * 999 + "\n"),
    ("comment-like", b'"// /* */"', "// /* */"),
]

REFUSED: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("only space", b" \n"),
    ("byte order mark", b"\xef\xbb\xbf{}"),
    ("utf-16", '{"a":1}'.encode("utf-16")),
    ("form feed", b"[\x0c1]"),
    ("vertical tab", b"[\x0b1]"),
    ("no-break space", b"\xc2\xa01"),
    ("null byte after", b"1\x00"),
    ("null byte before", b"\x001"),
    ("null byte inside", b"[1,\x002]"),
    ("two values", b"1 2"),
    ("extra bracket", b"[]]"),
    ("extra brace", b"{}}"),
    ("trailing text", b"{}x"),
    ("trailing comma after value", b"1,"),
    ("comment", b"[1] // one"),
    ("block comment", b"[/**/1]"),
    ("hash comment", b"# one\n1"),
    ("single quotes", b"['a']"),
    ("bare word", b"[a]"),
    ("cut null", b"nul"),
    ("long null", b"nulll"),
    ("capital", b"True"),
    ("python", b"None"),
    ("undefined", b"undefined"),
    ("nan", b"NaN"),
    ("minus nan", b"-NaN"),
    ("infinity", b"Infinity"),
    ("minus infinity", b"-Infinity"),
    ("inf", b"[inf]"),
    # arrays
    ("open array", b"["),
    ("open array with value", b"[1"),
    ("open array with comma", b"[1,"),
    ("comma only", b"[,]"),
    ("leading comma", b"[,1]"),
    ("trailing comma", b"[1,]"),
    ("double comma", b"[1,,2]"),
    ("missing comma", b"[1 2]"),
    ("missing comma strings", b'["a""b"]'),
    ("colon in array", b'["a":1]'),
    ("wrong close", b"[1}"),
    ("nested open", b"[[1]"),
    ("star", b"[*]"),
    # objects
    ("open object", b"{"),
    ("open object with key", b'{"a"'),
    ("open object with colon", b'{"a":'),
    ("open object with value", b'{"a":1'),
    ("open object with comma", b'{"a":1,'),
    ("object trailing comma", b'{"a":1,}'),
    ("object comma only", b"{,}"),
    ("object double comma", b'{"a":1,,"b":2}'),
    ("object missing comma", b'{"a":1 "b":2}'),
    ("object missing colon", b'{"a" 1}'),
    ("object double colon", b'{"a"::1}'),
    ("object comma for colon", b'{"a",1}'),
    ("object missing value", b'{"a":}'),
    ("object missing key", b"{:1}"),
    ("bare key", b"{a:1}"),
    ("number key", b"{1:1}"),
    ("null key", b"{null:1}"),
    ("single quoted key", b"{'a':1}"),
    ("object wrong close", b'{"a":1]'),
    # numbers
    ("leading zero", b"01"),
    ("minus leading zero", b"-01"),
    ("double zero", b"00"),
    ("plus", b"+1"),
    ("minus only", b"-"),
    ("minus space", b"- 1"),
    ("double minus", b"--1"),
    ("point only", b"."),
    ("no integer part", b".5"),
    ("minus no integer part", b"-.5"),
    ("no fraction", b"1."),
    ("no fraction with exponent", b"1.e1"),
    ("no exponent", b"1e"),
    ("no exponent digits", b"1e+"),
    ("no exponent digits minus", b"[1e-]"),
    ("double exponent", b"1e1e1"),
    ("real exponent", b"1e1.5"),
    ("double point", b"1.2.3"),
    ("hexadecimal", b"0x1F"),
    ("underscore", b"1_000"),
    ("letter after", b"1a"),
    ("full width digit", "１".encode()),
    ("comma decimal", b"[1,5.]"),
    ("too many digits", b"1" * (sys.get_int_max_str_digits() + 1)),
    # strings
    ("open string", b'"abc'),
    ("only a quote", b'"'),
    ("open string with backslash", b'"abc\\'),
    ("escaped end", b'"abc\\"'),
    ("raw newline", b'"a\nb"'),
    ("raw tab", b'"a\tb"'),
    ("raw null", b'"a\x00b"'),
    ("raw control in long", b'"' + b"x" * 100 + b"\x1f" + b'"'),
    ("unknown escape", b'"\\x41"'),
    ("escaped quote kind", b'"\\\'"'),
    ("escaped newline", b'"\\\n"'),
    ("capital U", b'"\\U0041"'),
    ("short unicode", b'"\\u004"'),
    ("bad unicode", b'"\\u00g1"'),
    ("signed unicode", b'"\\u+041"'),
    ("lone high surrogate", b'"\\ud800"'),
    ("lone low surrogate", b'"\\udc00"'),
    ("swapped surrogates", b'"\\udc00\\ud800"'),
    ("high and letter", b'"\\ud800a"'),
    ("high and escape", b'"\\ud800\\n"'),
    ("high and high", b'"\\ud800\\ud800"'),
    ("high and short", b'"\\ud800\\udc0"'),
    ("lone surrogate in a key", b'{"\\ud800":1}'),
    ("continuation byte", b'"\x80"'),
    ("cut two bytes", b'"\xc3"'),
    ("cut three bytes", b'"\xe2\x82"'),
    ("cut four bytes", b'"\xf0\x9f\x98"'),
    ("overlong slash", b'"\xc0\xaf"'),
    ("overlong null", b'"\xc0\x80"'),
    ("overlong three", b'"\xe0\x80\xaf"'),
    ("overlong four", b'"\xf0\x80\x80\xaf"'),
    ("utf-8 surrogate", b'"\xed\xa0\x80"'),
    ("beyond unicode", b'"\xf4\x90\x80\x80"'),
    ("five bytes", b'"\xf8\x88\x80\x80\x80"'),
    ("byte ff", b'"\xff"'),
    ("latin-1", b'"\xe9"'),
    ("bad byte in a key", b'{"\xff":1}'),
    ("bad byte outside", b"[\xff]"),
]

# Refused here, taken by the standard library: NaN and infinities, and what no UTF-8 text can hold.
STDLIB_TAKES = {"nan", "infinity", "minus infinity"} | {
    name for name, _ in REFUSED if "surrogate" in name or name.startswith("high and ")
} - {"high and short", "utf-8 surrogate"}


@pytest.mark.parametrize(
    ("text", "expected"), [case[1:] for case in ACCEPTED], ids=[case[0] for case in ACCEPTED]
)
def test_accepted(text: bytes, expected: Any) -> None:
    assert repr(core.json_loads(text)) == repr(expected)
    assert repr(core.json_loads(text.decode())) == repr(expected)
    assert repr(json.loads(text)) == repr(expected)
    for cut in range(max(0, len(text) - 40), len(text)):  # no read beyond the end, no crash
        try:
            assert repr(core.json_loads(text[:cut])) == repr(json.loads(text[:cut]))
        except ValueError:
            with pytest.raises(ValueError):
                json.loads(text[:cut])


@pytest.mark.parametrize(("name", "text"), REFUSED, ids=[name for name, _ in REFUSED])
def test_refused(name: str, text: bytes) -> None:
    for form in (text, bytearray(text), memoryview(text)):
        with pytest.raises(ValueError) as caught:
            core.json_loads(form)
        if name != "too many digits":  # Python's own limit, and its own message
            assert isinstance(caught.value, core.JSONDecodeError)
            assert 0 <= caught.value.pos <= len(text)
    for wrapped in (b"[" + text, b'{"a":' + text, b"[1," + text + b"]"):
        if name not in (
            "nothing",
            "only space",
            "trailing comma after value",
            "extra bracket",
            "extra brace",
        ):
            with pytest.raises(ValueError):
                core.json_loads(wrapped)
    if name in STDLIB_TAKES:
        json.loads(text.decode())
    else:
        with pytest.raises(ValueError):
            json.loads(text.decode())


def test_depth_counts_both_kinds_and_frees_what_it_had() -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")):
        per = opening.count("[") + opening.count("{")
        good = opening * (128 // per) + "1" + closing * (128 // per)
        assert core.json_loads(good) == json.loads(good)
        with pytest.raises(core.JSONDecodeError, match="deep"):
            core.json_loads(opening * (128 // per) + "[1]" + closing * (128 // per))
