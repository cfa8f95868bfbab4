from gateway.families import identify


def test_nothing_known_without_names() -> None:
    facts = identify()
    assert (facts.family, facts.image, facts.quantization) == (None, False, None)


def test_each_call_gives_its_own_sheet() -> None:
    a, b = identify("gemma-4-12b"), identify("gemma-4-12b")
    assert a == b
    assert a is not b
