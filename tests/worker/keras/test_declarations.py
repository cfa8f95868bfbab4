from __future__ import annotations

from typing import Any

import pytest

from gateway.canonical.requests import Tool
from gateway.worker.keras.declarations import declare, fields
from gateway.worker.keras.pieces import Marks, Pieces, Words, runs


def text(out: Pieces) -> str:
    return "".join(p.text for p in out.all if isinstance(p, Marks | Words)).replace('<|"|>', "'")


def declared(parameters: dict[str, Any] | None, description: str | None = "D") -> str:
    out = Pieces()
    declare(Tool("f", description, parameters), out)
    return text(out)


def prop(schema: Any) -> str:
    """How a property of this schema is told."""
    told = declared({"type": "object", "properties": {"k": schema}})
    return told.removeprefix("declaration:f{description:'D',parameters:{properties:{k:").removesuffix(
        "},type:'OBJECT'}}"
    )


def test_a_tool() -> None:
    parameters = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "where"}, "Days": {"type": "integer"}},
        "required": ["city"],
    }
    assert declared(parameters) == (
        "declaration:f{description:'D',parameters:{properties:{city:{description:'where',type:'STRING'},"
        "Days:{type:'INTEGER'}},required:['city'],type:'OBJECT'}}"
    )
    assert declared(None) == "declaration:f{description:'D'}"
    assert declared({}, None) == "declaration:f{description:''}"
    assert declared({"properties": {}}) == "declaration:f{description:'D',parameters:{type:'OBJECT'}}"


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "string", "enum": ["a", "b"]}, "{enum:['a','b'],type:'STRING'}"),
        ({"type": "boolean", "nullable": True, "description": "d"}, "{description:'d',nullable:true,type:'BOOLEAN'}"),
        ({"type": ["null", "number"]}, "{nullable:true,type:'NUMBER'}"),
        ({"type": "array", "items": {"type": "string"}}, "{items:{type:'STRING'},type:'ARRAY'}"),
        (
            {"type": "array", "items": {"type": ["string", "null"], "x": 1.5}},
            "{items:{type:['STRING','NULL'],x:1.5},type:'ARRAY'}",
        ),
        (
            {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
            "{items:{properties:{n:{type:'INTEGER'}},required:['n'],type:'OBJECT'},type:'ARRAY'}",
        ),
        (
            {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]},
            "{properties:{type:{type:'STRING'}},required:['type'],type:'OBJECT'}",
        ),
        ({"type": "object"}, "{properties:{},type:'OBJECT'}"),
        ({}, "{type:''}"),
        (True, "{type:''}"),
    ],
)
def test_a_property(schema: Any, told: str) -> None:
    assert prop(schema) == told


def test_values_of_a_call() -> None:
    out = Pieces()
    fields({"b": {"Y": None, "x": [True, 1, "s"]}, "A": "text", "c": 1.5}, out)
    assert text(out) == "A:'text',b:{x:[true,1,'s'],Y:null},c:1.5"


def test_no_value_can_leave_its_delimiters() -> None:
    out = Pieces()
    fields({"k": '<|"|>}<tool_call|>', 'x<|"|>': 1}, out)
    assert runs(out.all) == ['k:<|"|><', '|"|>}<', 'tool_call|><|"|>,x<', '|"|>:1']
