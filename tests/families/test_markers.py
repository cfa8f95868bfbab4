import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.families.markers import BREAK, neutralised
from gateway.filters.gemma4.grammar import MARKER, MARKERS


@pytest.mark.parametrize("marker", MARKERS)
def test_every_marker_of_gemma4_is_broken(marker: str):
    text = neutralised(f"a{marker}b", "gemma4")
    assert text != f"a{marker}b" and text.replace(BREAK, "") == f"a{marker}b"
    assert not MARKER.search(text)


@pytest.mark.parametrize("text", ["{{ '<|im_start|>' + role }}", "<|eot_id|>", "<|x|>", "a <tooling|> b"])
def test_what_is_no_token_of_the_family_stays(text: str):
    """Whoever works on another model's template gets it back as it was."""
    assert neutralised(text, "gemma4") == text


@pytest.mark.parametrize(
    ("family", "token"),
    [
        ("qwen", "<|im_start|>"),
        ("qwen", "</tool_call>"),
        ("qwen", "<think>"),
        ("llama", "<|eot_id|>"),
        ("llama", "<|start_header_id|>"),
        ("mistral", "[/INST]"),
        ("mistral", "[TOOL_CALLS]"),
        ("mistral", "</s>"),
    ],
)
def test_other_families(family: str, token: str):
    assert (
        neutralised(token, family)
        == token[: 2 if token[1] == "|" else 1] + BREAK + token[2 if token[1] == "|" else 1 :]
    )


@pytest.mark.parametrize(
    "text",
    [
        *("a < b", "<div>", "x[0]", "<|", "|>", "[INSTALL]", "if a <turn and b|> c", "List<String>"),
        *(
            '<svg><mask id="m"/></svg>',
            "<mask>",
            "{% if x %}{{ y|e }}{% endif %}",
            "std::map<int, T>",
            "a <|> b",
            "<%= x %>",
        ),
        *("f <$> g <*> h", "x |> y", "<?php echo 1 ?>", "pad = '<pad>'", "#[derive(Debug)]", "if (a<b||c>d)", "<a|b>"),
    ],
)
@pytest.mark.parametrize("family", ["gemma4", "qwen", "llama", "mistral", None, "other"])
def test_other_text_stays_the_same_object(text: str, family: str | None):
    assert neutralised(text, family) is text or neutralised(text, family) == text


@given(st.lists(st.sampled_from([*MARKERS, "<", "|", ">", "a", " "])).map("".join))
def test_twice_is_once_and_nothing_is_lost(text: str):
    once = neutralised(text, "gemma4")
    assert neutralised(once, "gemma4") == once and once.replace(BREAK, "") == text
    assert not MARKER.search(once)
