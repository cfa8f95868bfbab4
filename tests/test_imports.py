"""Names that tests import and that are not there."""

from __future__ import annotations

import ast

import pytest

from tests.imports import names_in, unresolved

MODULE = """
import json, os.path
from re import match as found
try:
    import fast
except ImportError:
    fast = None
if True:
    first, (second, *third) = 1, (2, 3)
class Kind: inner = 1
async def wait(): local = 1
with open("x") as handle: pass
for each in (): pass
"""


def test_what_a_module_binds() -> None:
    assert set(names_in(ast.parse(MODULE).body)) == {
        *("json", "os", "found", "fast", "first", "second", "third", "Kind", "wait", "handle", "each"),
    }


@pytest.mark.parametrize(
    ("line", "gone"),
    [
        ("from gateway.a import there, gone", ["gateway.a.gone"]),
        ("from gateway import a, b", ["gateway.b"]),
        ("from gateway.nothing import x", ["gateway.nothing.x"]),
        ("import gateway.a, gateway.c", ["gateway.c"]),
        ("def f():\n    from tests.lazy import anything, more", []),
        ("import json\nfrom elsewhere import x", []),
    ],
)
def test_what_is_not_there(line: str, gone: list[str]) -> None:
    modules = {"gateway": set(), "gateway.a": {"there"}, "tests.lazy": {"__getattr__"}}
    assert [what for _, what in unresolved(ast.parse(line), modules)] == gone
