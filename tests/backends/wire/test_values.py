from gateway.backends.wire.values import as_count, as_object, as_text


def test_values_of_the_wrong_type_are_nothing() -> None:
    assert as_object({"a": 1}) == {"a": 1} and as_object([1]) == {} and as_object(None) == {}
    assert as_text("a") == "a" and as_text(1) == "" and as_text(None) == ""
    assert as_count(3) == 3
    assert [as_count(v) for v in (0, -1, True, 1.5, "3", None)] == [None] * 6
