"""The page of the matrix says what the code says, and its commands can be typed."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from gateway.backends import kinds, load
from gateway.families import identify
from gateway.families.default import QUANTIZATIONS
from tests.docs.blocks import PAGE, renewed

TEXT = PAGE.read_text(encoding="utf-8")
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line and not line.startswith("#")
]
MATRIX = re.search(r"## The matrix\n\n(.*?)\n\n", TEXT, re.DOTALL)
assert MATRIX is not None
HEAD, _, *ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in MATRIX[1].splitlines()]
COMMANDS += [command for row in ROWS for command in re.findall(r"`([^`]+)`", row[-1])]

FLAGS: dict[str, dict[str, type]] = {
    "vllm serve": {
        **dict.fromkeys(("--served-model-name", "--tool-call-parser", "--reasoning-parser", "--kv-cache-dtype"), str),
        **dict.fromkeys(("--max-model-len", "--tensor-parallel-size"), int),
        "--gpu-memory-utilization": float,
        "--enable-auto-tool-choice": bool,
        "--limit-mm-per-prompt": dict,
    },
    "llama-server": {
        **dict.fromkeys(("-hf", "-m", "--mmproj", "--alias", "--models-dir"), str),
        **dict.fromkeys(("-c", "-np", "--port", "--models-max"), int),
        "--metrics": bool,
    },
    "mlx_lm.server": {"--model": str, "--port": int},
    "mlx_vlm.server": {"--model": str, "--port": int, "--max-kv-size": int},
    "ollama serve": {},
    "ollama pull": {},
    "docker run": {"--gpus": str, "--shm-size": str, "-e": str, "-p": str},
    "trtllm-serve": {"--backend": str, "--tool_parser": str, "--port": int},
    "gateway worker keras": {"--preset": str, "--port": int},
}
"""What each program takes (their own --help) -> the type of its value; bool = none."""

RUNS = {
    "vllm": "vllm serve",
    "nim": "docker run",
    "llamacpp": "llama-server",
    "mlx_lm": "mlx_lm.server",
    "mlx_vlm": "mlx_vlm.server",
    "ollama": "ollama serve",
    "keras": "gateway worker keras",
    "trtllm": "trtllm-serve",
}
"""Kind -> how it is started. The others start nothing, or nothing that runs a Gemma 4."""


def parse(line: str) -> tuple[str, list[str], dict[str, list[str]]]:
    """(program, plain arguments, flag -> values). Raises for a flag that the program does not have."""
    words = shlex.split(line)
    if words[0] == "env":
        words = words[1:]
        while "=" in words[0]:
            words = words[1:]
    program = next(p for p in sorted(FLAGS, key=len, reverse=True) if words[: len(p.split())] == p.split())
    left = words[len(program.split()) :]
    plain: list[str] = []
    given: dict[str, list[str]] = {}
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            plain.append(word)
            continue
        flag, _, value = word.partition("=")
        kind = FLAGS[program][flag]
        if kind is bool:
            given[flag] = []
            continue
        value = value or left.pop(0)
        if kind is dict:
            assert isinstance(json.loads(value), dict)
        else:
            kind(value)
        given.setdefault(flag, []).append(value)
    return program, plain, given


def model_of(plain: list[str], given: dict[str, list[str]]) -> str:
    named = [v for flag in ("--model", "-hf", "-m", "--preset") for v in given.get(flag, ())]
    return (named or plain or [""])[0]


def test_what_the_code_knows_is_what_the_page_says() -> None:
    assert renewed(TEXT) == TEXT, "run python -m tests.docs.blocks"
    for name in ("sizes", "kinds", "quantizations", "tiers"):
        assert f"<!-- generated: {name} -->" in TEXT


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(line: str) -> None:
    program, plain, given = parse(line)
    model = model_of(plain, given)
    if model:
        facts = identify(model)
        assert facts.family == "gemma4"
        assert facts.operations is None, "a drafter or a base"
    if program == "vllm serve":
        assert given["--tool-call-parser"] == given["--reasoning-parser"] == ["gemma4"]
        assert "--enable-auto-tool-choice" in given
        assert "--quantization" not in given
    if program == "gateway worker keras":
        from gateway.worker.keras.serve import refused

        assert refused(given["--preset"][0]) is None


def test_every_kind_that_runs_it_has_a_command() -> None:
    programs = {parse(line)[0] for line in COMMANDS}
    assert set(RUNS.values()) <= programs
    without = {"gemini", "openai", "vertex", "llamaswap", "tgi"}
    assert set(kinds()) - set(RUNS) <= without


def test_a_wrong_flag_would_be_seen() -> None:
    with pytest.raises(KeyError):
        parse("vllm serve google/gemma-4-12B-it --tool-parser gemma4")
    with pytest.raises(ValueError, match="invalid literal"):
        parse("llama-server -m x.gguf -c many")


def test_the_rows_stand_in_the_order_of_readiness() -> None:
    ways = [row[0].lower() for row in ROWS]
    words = {"vllm": "vllm", "nim": "nvidia nim", "llamacpp": "llama.cpp", "llamaswap": "llama-swap", "tgi": "tgi"}
    words |= {"mlx_lm": "mlx (mlx-lm)", "mlx_vlm": "mlx (mlx-vlm)", "ollama": "ollama", "keras": "keras"}
    words |= {"trtllm": "tensorrt-llm", "gemini": "gemini api"}
    order = sorted(words, key=lambda k: ways.index(words[k]))
    assert [load(k).tier for k in order] == sorted(load(k).tier for k in order)


RUN = {"vLLM": "vllm", "llama.cpp": "real", "MLX (mlx-lm)": "mlx", "MLX (mlx-vlm)": "mlx", "Keras": "worker/keras"}
"""Way -> the folder whose tests run a server of it."""


def test_every_cell_says_how_it_is_known() -> None:
    asked = ["support", "vision", "sound", "video", "tools", "quantization", "canonical run command"]
    assert HEAD[1:] == asked and len(ROWS) == 12
    for way, *cells, command in ROWS:
        assert command, way
        for cell in cells:
            for claim in cell.split("; ") if "· run; " in cell else [cell]:
                assert re.search(r"\S · (?:run|replayed|read)$", claim), (way, cell)
        if any("· run" in cell for cell in cells):
            assert list((PAGE.parents[1] / "tests" / RUN[way]).glob("test_*.py")), way


def test_every_claim_stands_beside_what_holds_and_since_when() -> None:
    found = re.search(r"\| claim \(2026-04-18\) \|(.*?)\n\n", TEXT, re.DOTALL)
    assert found is not None
    claims = [line.strip("|").split("|") for line in found[1].splitlines()[2:]]
    assert len(claims) >= 9
    for claim, today, evidence, as_of, known in claims:
        assert claim.strip() and today.strip() and evidence.strip()
        assert re.fullmatch(r" 2026-\d\d(?:-\d\d)? ", as_of) and known.strip() in ("run", "replayed", "read")


def test_quantizations_are_a_closed_list() -> None:
    block = re.search(r"generated: quantizations -->\n(.*?)\n<!--", TEXT, re.DOTALL)
    assert block is not None
    assert re.findall(r"`([^`]+)`", block[1]) == list(QUANTIZATIONS)
    asked = {"nvfp4", "fp8", "awq", "gptq", "w4a16", "int8", "bf16", "q4_0", "q4_k_m", "q8_0"}
    asked |= {"mlx-4bit", "mlx-8bit", "mlx-nvfp4", "gguf-nvfp4"}
    assert asked <= set(QUANTIZATIONS)
