from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.canonical.requests import Sampling
from gateway.errors import BadRequest
from gateway.worker.keras.sampling import Sampler, Settings, settings_of

ROW = np.array([1.0, 4.0, 3.0, 2.0, 0.0], dtype=np.float32)
OPEN = Settings(temperature=1.0, top_p=1.0, top_k=0, seed=1)


def drawn(settings: Settings, count: int = 300, row: np.ndarray = ROW) -> set[int]:
    sampler = Sampler(settings)
    return {sampler.choose(row) for _ in range(count)}


def test_where_the_client_says_nothing_the_models_own_settings_hold() -> None:
    assert settings_of(Sampling(), 10) == Settings(1.0, 0.95, 64)
    asked = Sampling(temperature=0.0, top_p=0.5, top_k=-1, min_p=0.1, seed=-3, logit_bias={"7": 2.0})
    assert settings_of(asked, 10) == Settings(0.0, 0.5, 0, 0.1, bias={7: 2.0}, seed=-3)


@pytest.mark.parametrize("token", ["10", "x", "-1", ""])
def test_a_bias_must_name_a_token(token: str) -> None:
    with pytest.raises(BadRequest) as e:
        settings_of(Sampling(logit_bias={token: 1.0}), 10)
    assert e.value.param == "logit_bias"


def test_a_penalty_of_nothing_is_refused() -> None:
    with pytest.raises(BadRequest):
        settings_of(Sampling(repetition_penalty=0.0), 10)


def test_temperature_0_takes_the_likeliest() -> None:
    assert drawn(Settings(temperature=0.0)) == {1}


def test_cuts() -> None:
    assert drawn(OPEN) == {0, 1, 2, 3, 4}
    assert drawn(Settings(top_p=1.0, top_k=2, seed=1)) == {1, 2}
    assert drawn(Settings(top_p=1.0, top_k=1, seed=1)) == {1}
    assert drawn(Settings(top_p=0.0, top_k=0, seed=1)) == {1}
    # probabilities 0.64, 0.24, 0.09, ...: two of them make 0.88
    assert drawn(Settings(top_p=0.7, top_k=0, seed=1)) == {1, 2}
    assert drawn(Settings(top_p=1.0, top_k=0, min_p=0.3, seed=1)) == {1, 2}


def test_shares_are_those_of_the_softmax() -> None:
    sampler = Sampler(OPEN)
    counts = np.bincount([sampler.choose(ROW) for _ in range(8000)], minlength=5) / 8000
    wanted = np.exp(ROW) / np.exp(ROW).sum()
    assert np.abs(counts - wanted).max() < 0.02


def test_a_hot_temperature_flattens() -> None:
    sampler = Sampler(Settings(temperature=2.0, top_p=1.0, top_k=0, seed=1))
    counts = np.bincount([sampler.choose(ROW) for _ in range(8000)], minlength=5) / 8000
    wanted = np.exp(ROW / 2) / np.exp(ROW / 2).sum()
    assert np.abs(counts - wanted).max() < 0.02


@pytest.mark.parametrize("seed", [0, 7, -1, 2**63 - 1])
def test_the_same_seed_gives_the_same_answer(seed: int) -> None:
    settings = Settings(top_p=1.0, top_k=0, seed=seed)
    first, second = Sampler(settings), Sampler(settings)
    assert [first.choose(ROW) for _ in range(50)] == [second.choose(ROW) for _ in range(50)]


def test_without_a_seed_answers_differ() -> None:
    settings = Settings(temperature=2.0, top_p=1.0, top_k=0)
    first, second = Sampler(settings), Sampler(settings)
    assert [first.choose(ROW) for _ in range(100)] != [second.choose(ROW) for _ in range(100)]


def test_only_what_is_allowed() -> None:
    sampler = Sampler(Settings(top_p=0.1, top_k=1, seed=1))
    assert sampler.choose(ROW, {0, 4}) == 0
    assert sampler.choose(ROW, [4]) == 4


def test_biases_and_penalties() -> None:
    assert drawn(Settings(temperature=0.0, bias={4: 100.0}), 1) == {4}
    # each penalty wears the favourite out
    for settings in (
        Settings(temperature=0.0, presence=2.0),
        Settings(temperature=0.0, frequency=2.0),
        Settings(temperature=0.0, repetition=2.0),
    ):
        sampler = Sampler(settings)
        assert [sampler.choose(ROW) for _ in range(2)] == [1, 2]
    assert Sampler(Settings(temperature=0.0, repetition=2.0), prompt=[1, 1]).choose(ROW) == 2
    assert Sampler(Settings(temperature=0.0, repetition=2.0)).choose(-ROW) == 4
    assert Sampler(Settings(temperature=0.0, repetition=9.0), prompt=[4, 0]).choose(-ROW - 1) == 3


@given(
    st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40),
    st.floats(0, 2),
    st.floats(0, 1),
    st.integers(0, 50),
    st.floats(0, 1),
)
def test_any_row_and_settings_give_a_token_of_the_cut(
    row: list[float], temperature: float, top_p: float, top_k: int, min_p: float
) -> None:
    values = np.array(row, dtype=np.float32)
    token = Sampler(Settings(temperature, top_p, top_k, min_p, seed=1)).choose(values)
    assert 0 <= token < len(row)
    if top_k:
        assert np.sum(values > values[token]) < top_k


def test_the_row_is_not_changed() -> None:
    row = ROW.copy()
    Sampler(Settings(repetition=2.0, bias={0: 5.0}), prompt=[0]).choose(row)
    assert (row == ROW).all()
