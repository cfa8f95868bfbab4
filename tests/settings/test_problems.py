from __future__ import annotations

from gateway.settings.problems import ConfigErrors, ConfigProblem, choices, path_text, quoted


def test_a_path_reads_like_the_file() -> None:
    assert path_text(("models", "gemma-4", "targets", 0, "backend")) == "models.gemma-4.targets[0].backend"
    assert path_text(("backends", "two words")) == 'backends."two words"'
    assert path_text(("backends", "a\nb")) == 'backends."a\\nb"'
    assert path_text(()) == ""


def test_choices_name_the_nearest() -> None:
    assert choices("llamacp", ["vllm", "llamacpp"]) == "(choices: llamacpp, vllm; did you mean llamacpp?)"
    assert choices("zzz", ["vllm", "llamacpp"]) == "(choices: llamacpp, vllm)"
    assert choices("x", []) == "(there is none)"


def test_problems_are_one_line_each_in_the_order_of_the_file() -> None:
    errors = ConfigErrors(
        [
            ConfigProblem("b.c", "second", 7, "x.yaml"),
            ConfigProblem("a", "first", 2, "x.yaml"),
            ConfigProblem("PORT", "before all", None, "environment"),
        ]
    )
    assert str(errors).split("\n") == ["environment: PORT: before all", "x.yaml:2: a: first", "x.yaml:7: b.c: second"]
    assert [p.path for p in errors.problems] == ["PORT", "a", "b.c"]


def test_a_shown_value_is_short_and_of_one_line() -> None:
    assert len(quoted("x" * 500)) < 70
    assert "\n" not in quoted("a\nb")
