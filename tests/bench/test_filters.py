from bench import filters
from bench.report import filter_table


def test_both_ways_are_measured_and_judged():
    rows = filters.measure(rounds=1, answers=1)
    assert len(rows) == 4 and all(off > 0 and on > 0 and ratio > 0 for _, off, on, ratio in rows)
    table = filter_table(
        [("text without a marker, x", 2.0, 2.2, 1.1), ("a thought, text and a call, x", 2.0, 5.0, 2.5)]
    )
    assert "| <= 1.15x | met |" in table and "| <= 2.0x | **missed** |" in table


def test_the_marked_text_is_read_as_a_thought_and_a_call():
    request = filters.chat_codec.parse_request(filters.REQUEST)
    chain = filters.chain_for(request, filters.load("openai"), filters.Facts(family="gemma4"), "fix", streamed=True)
    filters.answer(filters._reads(filters.MARKED, 1), lambda: chain, request)
    assert chain.repairs == []
