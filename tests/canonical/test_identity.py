from gateway.canonical.identity import same


def test_same() -> None:
    a, b = [1], [1]
    assert same([], [])
    assert same([a, b], (a, b))
    assert not same([a, b], [b, a])
    assert not same([a], [a, b]) and not same([a, b], [a])
    assert a == b and not same([a], [b])
