"""The page of fields says what the code does: its tables, and each entry of them tried."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import BadRequest, UnsupportedParameter
from tests.docs.coverage import FORMS, PAGE, WORDS, Form, page

CASES = [pytest.param(form, name, id=f"{form.title}: {name}") for form in FORMS for name in form.fates]


def with_field(form: Form, name: str, value: Any) -> dict[str, Any]:
    if form.under:
        return {**form.least, form.under: {name: value}}
    return {**form.least, name: value}


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it again: python -m tests.docs.coverage"


@pytest.mark.parametrize(("form", "name"), CASES)
def test_every_field_has_the_fate_that_the_page_names(form: Form, name: str) -> None:
    fate = form.fates[name]
    assert fate in WORDS
    if fate == "modelled":
        _translated(form, name)
    elif fate == "refused":
        with pytest.raises(UnsupportedParameter) as caught:
            form.parse(with_field(form, name, "x"))
        assert caught.value.param == name
    else:
        request = form.parse(with_field(form, name, "x"))
        where = f"{form.under}.{name}" if form.under else name
        kept = (getattr(request, "extra", None) or {}).get(form.kept_in) or {}
        bound = [b.name for b in getattr(request, "bound", [])]
        assert (where in request.dropped) == (fate == "dropped")
        assert (where in kept or name in kept) == (fate == "extra") and (name in bound) == (fate == "bound")


def _translated(form: Form, name: str) -> None:
    """Nonsense in it is refused by its path, or makes another request; it is never looked past."""
    least = form.parse(form.least)
    try:
        request = form.parse(with_field(form, name, {"zz": 1}))
    except BadRequest as error:
        assert name in (error.param or "") or name in error.message
        return
    assert request != least or request.dropped != least.dropped or _memory(request) != _memory(least)


def _memory(request: Any) -> Any:
    return getattr(request, "client", None)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.title)
def test_a_field_that_is_not_listed_is_dropped_and_named(form: Form) -> None:
    request = form.parse(with_field(form, "zz_unknown", 1))
    assert (f"{form.under}.zz_unknown" if form.under else "zz_unknown") in request.dropped
