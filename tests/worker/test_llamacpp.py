from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx2
import pytest

from gateway.demo.fixture import Fixture, ensure
from gateway.demo.fleet import free_ports
from gateway.worker import llamacpp
from tests.demo.conftest import answers, wait_until

WORKER = [sys.executable, "-m", "gateway.worker.llamacpp"]
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return ensure(Fixture("[fixture] Yes."), tmp_path_factory.mktemp("cache"))[0]


@pytest.fixture
def start(model: Path) -> Iterator[Start]:
    running = []

    def begin(port: int, *more: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        argv = [*WORKER, "--model", str(model), "--port", str(port), "--alias", "it", *more]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


def up(port: int) -> bool:
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        return answers(client)


@pytest.mark.real
def test_it_ends_within_a_second_and_a_half_of_sigterm(start: Start, port: int) -> None:
    process = start(port)
    wait_until(lambda: up(port))
    asked = time.monotonic()
    process.terminate()
    process.wait(5)
    assert time.monotonic() - asked < 1.5
    assert not up(port)


@pytest.mark.real
def test_it_ends_when_its_parent_is_killed(model: Path, port: int) -> None:
    argv = [*WORKER, "--model", str(model), "--port", str(port)]
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, subprocess, sys, time\n"
            "p = subprocess.Popen([*sys.argv[1:], '--parent', str(os.getpid())])\n"
            "print(p.pid, flush=True); time.sleep(60)",
            *argv,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().strip().isdecimal()
        wait_until(lambda: up(port))
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not up(port), 1.5)


@pytest.mark.real
def test_a_parent_that_is_gone_already_means_not_to_start(start: Start, port: int) -> None:
    process = start(port, "--parent", "1" if os.getpid() != 1 else "2")
    assert process.wait(20) == 0


@pytest.mark.real
def test_it_asks_for_the_key_and_lists_its_alias(start: Start, port: int) -> None:
    start(port, "--api-key-env", "SOME_KEY", env={"SOME_KEY": "s3cret"})
    wait_until(lambda: up(port))
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        assert client.get("/v1/models").status_code == 401
        listed = client.get("/v1/models", headers={"authorization": "Bearer s3cret"})
        assert listed.json()["data"][0]["id"] == "it"


@pytest.mark.real
def test_a_key_that_is_not_set_is_refused(start: Start, port: int) -> None:
    process = start(port, "--api-key-env", "NO_SUCH_VARIABLE")
    assert "NO_SUCH_VARIABLE" in process.communicate(timeout=20)[1]
    assert process.returncode == 2


@pytest.mark.real
def test_it_serves_embeddings(start: Start, port: int) -> None:
    start(port, "--embeddings", "--pooling", "mean")
    wait_until(lambda: up(port))
    with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        answer = client.post("/v1/embeddings", json={"input": ["one", "two"], "model": "it"})
        assert [len(d["embedding"]) for d in answer.json()["data"]] == [128, 128]


@pytest.mark.real
def test_a_taken_port_ends_it_with_the_reason(start: Start, port: int) -> None:
    start(port)
    wait_until(lambda: up(port))
    second = start(port)
    assert f"port {port} is in use by process " in second.communicate(timeout=20)[1]
    assert second.returncode == 2


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert refused("--model", str(tmp_path / "no.gguf")) == (
        2,
        f"there is no file {tmp_path / 'no.gguf'}: name a GGUF file that you have with --model",
    )
    model = tmp_path / "m.gguf"
    model.touch()
    assert refused("--model", str(model), "--mmproj", "/no/p.gguf") == (
        2,
        "there is no file /no/p.gguf: name a GGUF file that you have with --mmproj",
    )


def test_without_the_wheel_the_command_that_adds_it_is_told(tmp_path: Path) -> None:
    model = tmp_path / "m.gguf"
    model.touch()
    program = (
        "import sys; sys.modules['xllamacpp'] = None\n"
        "from gateway.worker.llamacpp import main; sys.exit(main(sys.argv[1:]))"
    )
    argv = [sys.executable, "-c", program, "--model", str(model), "--port", "1"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.real
def test_what_is_no_model_is_one_line(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.gguf"
    page.write_text("<html>404</html>")
    for argv in (["--model", str(page)], ["--model", str(model), "--mmproj", str(page)]):
        assert llamacpp.main([*argv, "--port", "0"]) == 2
        flag = argv[-2]
        assert capfd.readouterr().err == (
            f"gateway worker llamacpp: {page} is no GGUF file (or can't be read): name one with {flag}\n"
        )


def test_a_missing_openmp_library_is_told_apart() -> None:
    error = ImportError("libgomp.so.1: cannot open shared object file: No such file or directory")
    assert "apt-get install -y libgomp1" in llamacpp.explain_import(error)
    assert "pip install" in llamacpp.explain_import(ImportError("No module named 'xllamacpp'"))


def refused(*argv: str) -> tuple[int, str]:
    done = subprocess.run([*WORKER, "--port", "1", *argv], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.strip().removeprefix("gateway worker llamacpp: ")
