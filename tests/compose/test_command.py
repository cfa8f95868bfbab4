"""`gateway compose` itself, with tools that say what a test wants."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.compose import command
from gateway.compose.command import found, main
from gateway.compose.hardware import NVIDIA_QUERY
from tests.compose.programs import Programs
from tests.compose.schema import problems

TWO = "NVIDIA GeForce RTX 4090, 24564, 8.9"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Programs(tmp_path, monkeypatch)


def test_it_writes_what_runs_here_and_says_what_it_will_take(
    programs: Programs, capsys: pytest.CaptureFixture[str]
) -> None:
    programs.add("nvidia-smi", f"echo '{TWO}'; echo '{TWO}'")
    assert main([]) == 0
    text = Path("gateway-compose.yml").read_text()
    assert problems(text) == []
    said = capsys.readouterr().out
    for line in (
        "found: 2 x NVIDIA GeForce RTX 4090; the machine has ",
        "runs: RedHatAI/gemma-4-31B-it-FP8-block on vLLM, --tensor-parallel-size 2",
        "takes: 21.6 of 24.0 GiB on each of 2 x NVIDIA GeForce RTX 4090",
    ):
        assert line in said
        assert f"# {line}" in text
    assert said.index("docker build -t gemma-gateway:local") < said.index("gateway compose up -f gateway-compose.yml")
    assert "http://vllm:8000" in Path("gateway-compose.config.yaml").read_text()
    assert programs.calls()[0] == " ".join(NVIDIA_QUERY)


def test_nothing_is_written_over_without_force(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.config.yaml").write_text("precious")
    assert main(["-o", "mine.yml"]) == 2
    assert capsys.readouterr().err == (
        "gateway compose: there is mine.config.yaml already: name another file with -o, or add --force\n"
    )
    assert Path("mine.config.yaml").read_text() == "precious"
    assert not Path("mine.yml").exists()
    assert main(["-o", "mine.yml", "--force"]) == 0
    assert Path("mine.config.yaml").read_text() != "precious"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--for", "nvidia"], "no NVIDIA GPU is here"),
        (["--for", "apple"], "no Mac"),
        (["--model", "31b"], "31b is too large"),
        (["-o", "none/there.yml"], "can't write none/there.yml: there is no folder none: mkdir -p none"),
        (["key", "none/key"], "can't write none/key: there is no folder none: mkdir -p none"),
    ],
)
def test_what_is_not_possible_is_one_line_and_nothing_is_left(
    programs: Programs, capsys: pytest.CaptureFixture[str], argv: list[str], words: str
) -> None:
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert list(Path().iterdir()) == []


def test_a_broken_nvidia_smi_is_named(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.add("nvidia-smi", "echo 'NVIDIA A100, [N/A], 8.0'")
    assert main([]) == 2
    assert "nvidia-smi says 'NVIDIA A100, [N/A], 8.0'" in capsys.readouterr().err


def test_a_driver_that_fails_is_no_gpu(programs: Programs) -> None:
    programs.add("nvidia-smi", "echo 'could not communicate with the driver'; exit 9")
    assert main([]) == 0
    assert "on llama.cpp, CPU" in Path("gateway-compose.yml").read_text()


def test_on_a_mac_the_server_s_command_is_told(programs: Programs, capsys: pytest.CaptureFixture[str]) -> None:
    programs.add("sysctl", "echo 'Apple M3 Max'; echo 38654705664")
    assert main([]) == 0
    said = capsys.readouterr().out
    assert "found: Apple M3 Max, 36 GiB of memory" in said
    assert "mlx_vlm.server --model mlx-community/gemma-4-12B-it-4bit" in said


def test_beside_the_sources_the_image_is_built_and_monitoring_comes_along(programs: Programs) -> None:
    Path("Dockerfile").touch()
    Path("config/prometheus").mkdir(parents=True)
    Path("config/grafana").mkdir(parents=True)
    assert main([]) == 0
    text = Path("gateway-compose.yml").read_text()
    assert "target: gateway" in text
    assert "grafana/grafana" in text


def test_a_machine_without_proc(tmp_path: Path) -> None:
    assert found(lambda argv: None, tmp_path / "none").memory == 0.0


def test_half_of_it_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    with pytest.raises(FileNotFoundError):
        command._put({tmp_path / "a": "1", tmp_path / "none" / "b": "2"})
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "before"
