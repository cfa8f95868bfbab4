"""Every kind of server is told by what it says, and what says nothing is not taken for anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.backends import Reply, kinds, load
from gateway.backends.wire.detect import Detected, detect
from tests.backends.fingerprints import SERVERS, Says


def detected(replies: dict[str, Reply]) -> tuple[Detected, list[str]]:
    """What comes of these replies, and what was asked for."""
    steps = detect()
    asked: list[str] = []
    call = next(steps)
    while True:
        assert call.method == "GET" and call.body is None
        asked.append(call.path)
        try:
            call = steps.send(replies.get(call.path, Reply(404, {}, b'{"detail":"Not Found"}')))
        except StopIteration as stop:
            return stop.value, asked


@pytest.mark.parametrize("says", SERVERS.values(), ids=SERVERS.keys())
def test_it_is_told_by_what_it_says(says: Says) -> None:
    found, asked = detected(says.replies)
    assert (found.backend.kind if found.backend else "") == says.kind
    assert (found.gateway, len(asked)) == (says.gateway, says.calls)
    assert len(set(asked)) == len(asked), "nothing is asked twice"
    if not says.gateway:
        assert found.sure == says.sure


def test_every_kind_that_listens_somewhere_is_among_them() -> None:
    assert {s.kind for s in SERVERS.values()} - {""} == set(kinds()) - {"vertex"}


def test_no_kind_takes_what_is_another_s() -> None:
    """Only one claims a list of models; only one admits what its witness says."""
    for name, says in SERVERS.items():
        models = says.replies["/v1/models"]
        claiming = [k for k in kinds() if k != "openai" and load(k).claims(models)]
        assert len(claiming) <= 1, (name, claiming)
        for path, told in says.replies.items():
            admitting = [k for k in kinds() if load(k).witness == path and load(k).admits(told)]
            assert admitting in ([], [says.kind]), (name, path)


def test_nobody_there_is_asked_once() -> None:
    found, asked = detected({"/v1/models": Reply(0, error="refused")})
    assert (found.backend, found.sure, asked) == (None, False, ["/v1/models"])


REPLIES = st.builds(
    Reply,
    st.sampled_from([0, 200, 301, 401, 403, 404, 500, 503]),
    st.dictionaries(st.sampled_from(["server", "content-type"]), st.text(max_size=20), max_size=2),
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([b"null", b"[]", b'{"data":[1]}', b'{"data":[{"id":1}]}', b'{"data":[{"id":"a"}]}', b"{}"]),
    ),
)


@given(st.lists(REPLIES, min_size=12, max_size=12))
def test_no_reply_breaks_it(replies: list[Reply]) -> None:
    steps = detect()
    next(steps)
    with pytest.raises(StopIteration):
        for reply in replies:
            steps.send(reply)
