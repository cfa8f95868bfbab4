from gateway.canonical.facts import Facts
from gateway.engine.news import News, drift


def test_what_changed_is_told_in_words_by_the_name_of_its_fact() -> None:
    before = Facts(audio=True, context=8192, audio_formats=frozenset({"wav", "mp3"}), quantization=None)
    after = Facts(audio=False, context=32768, audio_formats=frozenset(), quantization="q4_0")
    assert sorted(drift("ears/m", before, after)) == [
        News("drift", "ears/m: audio yes -> no", "audio"),
        News("drift", "ears/m: audio_formats mp3+wav -> nothing", "audio_formats"),
        News("drift", "ears/m: context 8192 -> 32768", "context"),
        News("drift", "ears/m: quantization unknown -> q4_0", "quantization"),
    ]


def test_what_stayed_is_no_news() -> None:
    facts = Facts(audio=True, context=8192)
    assert drift("ears/m", facts, Facts(audio=True, context=8192)) == []
