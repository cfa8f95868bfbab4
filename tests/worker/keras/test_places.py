from __future__ import annotations

import pytest

from gateway.errors import Overloaded
from gateway.worker.keras.places import Places


def test_as_many_as_there_are() -> None:
    places = Places(2)
    places.enter()
    places.enter()
    with pytest.raises(Overloaded) as e:
        places.enter()
    assert e.value.retry_after == 1
    assert places.taken == 2
    places.leave(None)
    places.enter()
    assert places.taken == 2


def test_the_wait_is_learned_from_how_long_answers_take() -> None:
    places = Places(1)
    for _ in range(30):
        places.enter()
        places.leave(20.0)
    places.enter()
    with pytest.raises(Overloaded) as e:
        places.enter()
    assert e.value.retry_after is not None
    assert 19 <= e.value.retry_after <= 20
    for _ in range(30):
        places.leave(4000.0)
        places.enter()
    with pytest.raises(Overloaded) as e:
        places.enter()
    assert e.value.retry_after == 60


def test_who_was_not_answered_teaches_nothing() -> None:
    places = Places(1)
    places.enter()
    places.leave(None)
    places.enter()
    with pytest.raises(Overloaded) as e:
        places.enter()
    assert e.value.retry_after == 1
