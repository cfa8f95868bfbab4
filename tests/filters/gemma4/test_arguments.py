"""What stands between the braces: types from the wire, then from the schema, never guessed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.filters.gemma4.arguments import Arguments, Cut, Malformed
from gateway.filters.gemma4.schema import Types

D = '<|"|>'
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "flag": {"type": "boolean"},
        "ratio": {"type": "number"},
        "n": {"type": "integer"},
        "s": {"type": "string"},
        "t": {"type": "string"},
        "maybe": {"type": ["string", "null"]},
        "o": {"type": "object"},
        "texts": {"type": "array", "items": {"type": "string"}},
        "e": {"enum": ["a", "b"]},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "inner": {"$ref": "#/$defs/inner"},
    },
    "$defs": {"inner": {"type": "object", "properties": {"zip": {"type": "string"}, "k": {"type": "integer"}}}},
}


def read(body: str, schema: Any = None, **more: bool) -> str:
    flags = {"implied": False, "unclosed": False} | more
    return Arguments("{" + body + "}", 0, Types(schema), **flags).read()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", "{}"),
        (" a : 1 , b : [ 1 , 2 ] ", '{"a":1,"b":[1,2]}'),
        ("n:12345678901234567890,m:1e5,k:-0.50,z:1.0E+2", '{"n":12345678901234567890,"m":1e5,"k":-0.50,"z":1.0E+2}'),
        ("a:true,b:false,c:null", '{"a":true,"b":false,"c":null}'),
        (f"s:{D}é\n\\n{D}", '{"s":"é\\n\\\\n"}'),
        (f"{D}a:b,c}}{D}:1", '{"a:b,c}":1}'),
        ("a:02134,b:True,c:None,d:.5,e:+5", '{"a":"02134","b":"True","c":"None","d":".5","e":"+5"}'),
        ("a:1,a:2", '{"a":2}'),
        ("a:1,,b:2,", '{"a":1,"b":2}'),
        ('a:"raw \\"x\\" \\u00e9"', '{"a":"raw \\"x\\" é"}'),
        ('a:"keep , b: literal",c:1', '{"a":"keep , b: literal","c":1}'),
        ("a:'it\\'s \\w'", '{"a":"it\'s \\\\w"}'),
        ('a:"C:\\users"', '{"a":"C:\\\\users"}'),
        ("url:http://x.y/z?a=1", '{"url":"http://x.y/z?a=1"}'),
        ("a:San Jose, CA", '{"a":"San Jose, CA"}'),
        ("a:[x,y z]", '{"a":["x","y z"]}'),
        ("a:f(x) {y}", '{"a":"f(x) {y}"}'),
        ("a:x<|\"|>,b:1", '{"a":"x","b":1}'),
    ],
)  # fmt: skip
def test_without_schema(body: str, expected: str) -> None:
    assert read(body) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("s:12345", {"s": "12345"}),
        ("s:007", {"s": "007"}),
        ("s:true", {"s": "true"}),
        ("s:null", {"s": None}),
        ("s:hello", {"s": "hello"}),
        ("s:None", {"s": "None"}),
        ("s:a, b, t:c", {"s": "a, b", "t": "c"}),
        ('s:{"a": 1}', {"s": '{"a": 1}'}),
        (f"s:{{a:{D}x{D}}}", {"s": '{"a":"x"}'}),
        ("s:{a b}", {"s": "{a b}"}),
        ("s:echo {x} | y", {"s": "echo {x} | y"}),
        ("maybe:None", {"maybe": None}),
        ("flag:True", {"flag": True}),
        (f"flag:{D}true{D}", {"flag": True}),
        (f"flag:{D}yes{D}", {"flag": "yes"}),
        ("ratio:.5", {"ratio": 0.5}),
        (f"ratio:{D}3.50{D}", {"ratio": 3.5}),
        ("n:007", {"n": 7}),
        ("n:7.5", {"n": 7.5}),
        (f"n:{D}7.5{D}", {"n": "7.5"}),
        ("n:seven", {"n": "seven"}),
        (f"n:{D}42{D}", {"n": 42}),
        ("n:null", {"n": None}),
        (f'o:{D}{{"a":[1]}}{D}', {"o": {"a": [1]}}),
        (f"o:{D}[1]{D}", {"o": "[1]"}),
        ("texts:[1,2,a]", {"texts": ["1", "2", "a"]}),
        ("e:a", {"e": "a"}),
        ("either:5", {"either": 5}),
        (f"either:{D}5{D}", {"either": "5"}),
        ("inner:{zip:02134,k:3}", {"inner": {"zip": "02134", "k": 3}}),
        ("other:1", {"other": 1}),
    ],
)
def test_with_schema(body: str, expected: dict[str, Any]) -> None:
    assert json.loads(read(body, SCHEMA)) == expected


@pytest.mark.parametrize(
    "body",
    [
        "a:", "a", ":1", "{", "a:[1", "a:[1,2", "a:1 b:2", f"a:{D}x{D}y", f"a:{D}x{D}b:{D}y{D}", "a:{b:1", 'a:"x',
        "a:1:2 c:3", "a:" + "[" * 100, "a:]",
    ],
)  # fmt: skip
def test_no_reading(body: str) -> None:
    with pytest.raises(Malformed):
        read(body)


def test_a_declared_name_in_a_text_without_delimiters() -> None:
    with pytest.raises(Malformed):
        read("s:one t:two", SCHEMA)
    with pytest.raises(Malformed):
        read("ratio:1,000", SCHEMA)


def test_a_missing_last_bracket() -> None:
    def cut(text: str, implied: bool) -> str:
        return Arguments(text, 0, Types(None), implied=implied, unclosed=False).read()

    assert cut("{a:{b:1}", True) == '{"a":{"b":1}}'
    assert cut("{a:[1,2", True) == '{"a":[1,2]}'
    for text in ("{a:{b:1}", "{a:1", "{a:1,", "{a", "{"):
        with pytest.raises(Cut):
            cut(text, False)


def test_a_missing_last_delimiter() -> None:
    def unclosed(body: str, schema: Any = SCHEMA) -> str:
        return Arguments(body, 0, Types(schema), implied=True, unclosed=True).read()

    assert unclosed(f"{{s:{D}ls}}") == '{"s":"ls"}'
    assert unclosed(f"{{s:{D}echo ${{X}}}}") == '{"s":"echo ${X}"}'
    assert unclosed(f"{{s:{D}ls") == '{"s":"ls"}'
    assert unclosed(f"{{texts:[{D}a{D},{D}b]}}") == '{"texts":["a","b"]}'
    for body in (f"{{s:{D}one,t:{D}two}}", f"{{n:{D}4}}", f"{{zz:{D}4}}", f"{{texts:[{D}b}}"):
        with pytest.raises(Malformed):
            unclosed(body)


def test_what_was_repaired_is_noted() -> None:
    reader = Arguments(f"{{s:12,t:'x'{D},o:{D}{{}}{D},a:b,}}", 0, Types(SCHEMA), implied=False, unclosed=False)
    reader.read()
    assert reader.notes == [
        "schema_type",
        "quoted_string",
        "stray_delimiter",
        "schema_type",
        "bare_string",
        "stray_comma",
    ]
