from __future__ import annotations

import itertools
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import BadRequest
from gateway.server.multipart import HEAD, FormReader, Part, boundary_of


def form(*parts: tuple[str, bytes], boundary: bytes = b"XX", before: bytes = b"") -> bytes:
    out = before
    for head, content in parts:
        out += b"--" + boundary + b"\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"
    return out + b"--" + boundary + b"--\r\n"


def field(name: str) -> str:
    return f'Content-Disposition: form-data; name="{name}"'


def read(data: bytes, cuts: list[int], boundary: bytes = b"XX") -> tuple[list[tuple[Part, bytes]], bool]:
    reader = FormReader(boundary)
    out: list[tuple[Part, bytes]] = []
    places = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    ended = 0
    for a, b in itertools.pairwise(places):
        for event in reader.feed(data[a:b]):
            if isinstance(event, Part):
                out.append((event, b""))
            elif event is None:
                ended += 1
            else:
                out[-1] = (out[-1][0], out[-1][1] + event)
    assert ended == len(out)
    return out, reader.done


contents = st.lists(st.sampled_from([b"a", b"\r\n", b"--", b"XX", b"\r\n--X", b"-", b"\r", b"\x00"]), max_size=8)


@given(st.lists(contents, max_size=4), st.lists(st.integers(0, 10_000), max_size=12))
def test_every_content_comes_back_however_it_is_cut(pieces: list[list[bytes]], cuts: list[int]):
    values = [b"".join(p).replace(b"\r\n--XX", b"") for p in pieces]
    values = [v for v in values if b"\r\n--XX" not in v and not v.startswith(b"--XX")]
    data = form(*[(field(str(i)), v) for i, v in enumerate(values)])
    got, done = read(data, cuts)
    assert done and [(p.name, v) for p, v in got] == [(str(i), v) for i, v in enumerate(values)]


def test_heads():
    head = f'{field("file")}; filename="a b.png"\r\nContent-Type: image/PNG'
    starred = f"{field('file')}; filename*=utf-8''na%C3%AFve.txt"
    got, done = read(form((head, b"x"), (starred, b""), (field("purpose"), b"v"), before=b"what nobody reads\r\n"), [])
    assert done and [p for p, _ in got] == [
        Part("file", "a b.png", "image/png"),
        Part("file", "naïve.txt", ""),
        Part("purpose", None, ""),
    ]


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("filename*=a; filename*0=b", "a"),
        ("filename*" + "9" * 5000 + "=a", None),
        ("filename*=idna''%ff.x", "\N{REPLACEMENT CHARACTER}.x"),
        ("filename*=\x00''%41", "A"),
        ("filename*=iso-8859-1'en'%E9", "é"),
        ('filename="a\\"b\\\\c\\d"', 'a"b\\c\\d'),
        ('filename="a;b=c"', "a;b=c"),
        ('filename="never closed', None),
        ('filename="' + ";" * 16_000, None),
        ('filename="' + '\\";' * 5000, None),
    ],
)
def test_a_hostile_head_costs_nothing(told: str, name: str | None):
    begun = time.process_time()
    [(part, _)], _ = read(form((f"{field('file')}; {told}", b"x")), [])
    assert part == Part("file", name, "")
    assert time.process_time() - begun < 0.3


def test_what_stands_behind_the_form_is_not_kept():
    reader = FormReader(b"XX")
    reader.feed(form((field("a"), b"b")))
    piece = b"x" * 65536
    tracemalloc.start()
    try:
        assert reader.done and not any(reader.feed(piece) for _ in range(64))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_what_is_no_form():
    for kind in ("application/json", "multipart/form-data", "multipart/mixed; boundary=x", ""):
        with pytest.raises(BadRequest):
            boundary_of(kind)
    assert boundary_of('multipart/form-data; charset=utf-8; boundary="a b"') == b"a b"
    assert boundary_of("Multipart/Form-Data; boundary=abc") == b"abc"
    with pytest.raises(BadRequest):
        FormReader(b"XX").feed(b"--XX\r\n" + b"a" * (HEAD + 9))
    with pytest.raises(BadRequest):
        FormReader(b"XX").feed(b"--XX\r\nContent-Type: text/plain\r\n\r\nx")
    assert FormReader(b"XX").feed(b"never a boundary" * 100) == []
