"""`gateway keys`: shown once, kept as a digest, and what the operator wrote into the file stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import run
from gateway.keys.store import Store, Wanted
from gateway.settings import digest_of, load, read_keys, secret_path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATEWAY_CONFIG", raising=False)
    return tmp_path


class Told:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: str, code: int = 0) -> tuple[str, str]:
        assert run(["keys", *args]) == code
        out, err = self._capsys.readouterr()
        return out, err

    def json(self, *args: str, code: int = 0) -> Any:
        return json.loads(self(*args, "--json", code=code)[0])


@pytest.fixture
def keys(capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(capsys)


def test_a_key_is_shown_once_and_kept_as_a_digest(folder: Path, keys: Told):
    out, err = keys("new", "anna")
    key = out.strip()
    assert out == f"{key}\n" and key.startswith("gw-") and len(key) == 46 and key not in err
    text = (folder / "keys.yaml").read_text()
    secret = secret_path(folder / "keys.yaml")
    assert key not in text + secret.read_text() and key[3:] not in text
    assert [p.stat().st_mode & 0o777 for p in (folder / "keys.yaml", secret)] == [0o600, 0o600]
    [entry], bytes_ = read_keys(folder / "keys.yaml")
    assert entry.digest == digest_of(key.encode(), bytes_.get_secret_value())
    out, err = keys("list")
    assert "anna" in out and "active" in out and key not in out + err and entry.digest.hex() not in out
    assert sorted(p.name for p in folder.iterdir()) == ["keys.yaml", "keys.yaml.secret"]


def test_keys_differ(folder: Path, keys: Told):
    made = [keys.json("new", f"n{i}")["key"] for i in range(8)]
    assert len({k[:8] for k in made}) == len({k["id"] for k in keys.json("list")["keys"]}) == 8


def test_rights_and_limits(folder: Path, keys: Told):
    given = ["--models", "gemma-4,claude-*", "--modalities", "text,image", "--requests-per-minute", "60"]
    given += ["--tokens-per-minute", "1000", "--in-flight", "2", "--expires", "2100-01-31"]
    entry = keys.json("new", "kiosk", *given)
    assert entry["models"] == ["gemma-4", "claude-*"] and entry["modalities"] == ["text", "image"]
    assert (entry["requests_per_minute"], entry["tokens_per_minute"], entry["in_flight"]) == (60, 1000, 2)
    assert entry["expires"] == "2100-01-31T00:00:00Z" and entry["key"].startswith("gw-")
    [listed] = keys.json("list")["keys"]
    assert listed == {k: v for k, v in entry.items() if k != "key"}
    assert "60 requests/min, 1000 tokens/min, 2 at once" in keys("list")[0]


def test_revoked_by_id_or_name(folder: Path, keys: Told):
    first = keys.json("new", "anna")
    keys("new", "otto")
    assert "is revoked" in keys("revoke", "anna")[0]
    assert [k["state"] for k in keys.json("list")["keys"]] == ["revoked", "active"]
    second = keys.json("new", "anna")  # the name is free again
    assert keys.json("revoke", second["id"])["revoked"] is not None
    out, err = keys("revoke", first["id"], code=1)
    assert (
        not out
        and err == f"gateway keys: there is no key '{first['id']}' to revoke: `gateway keys list` shows what there is\n"
    )
    assert keys.json("revoke", "nobody", code=1)["ok"] is False


def test_what_the_operator_wrote_stays(folder: Path, keys: Told):
    keys("new", "anna")
    file = folder / "keys.yaml"
    file.write_text(
        file.read_text().replace('    name: "anna"', "    name: anna   # second floor\n    in_flight: 3")
        + "\n# the end\n"
    )
    keys("new", "otto")
    keys("revoke", "anna")
    text = file.read_text()
    assert "# second floor" in text and "# the end" in text and "in_flight: 3" in text
    assert [(k.name, k.revoked is not None) for k in read_keys(file)[0]] == [("anna", True), ("otto", False)]


@pytest.mark.parametrize("begin", ["", "keys: []\n", "keys:\n", "# mine\nkeys: []", "# mine\n\n"])
def test_files_that_are_empty(begin: str, folder: Path, keys: Told):
    (folder / "keys.yaml").write_text(begin)
    (folder / "keys.yaml").chmod(0o600)
    keys("new", "anna")
    assert [k["name"] for k in keys.json("list")["keys"]] == ["anna"]
    assert ("# mine" in begin) == ("# mine" in (folder / "keys.yaml").read_text())


def test_the_file_of_the_configuration(folder: Path, keys: Told, monkeypatch: pytest.MonkeyPatch):
    (folder / "conf").mkdir()
    config = folder / "conf/gateway.yaml"
    config.write_text(
        "auth: {keys_file: own.yaml}\nlisten: 0.0.0.0:4000\nbackends: {a: {kind: vllm, url: 'http://h:1'}}\n"
    )
    out, err = keys("list", "-c", str(config), code=2)
    assert "own.yaml" in err and not out
    keys("new", "anna", "-c", str(config))
    assert [k.name for k in load(config, {}).auth.keys] == ["anna"]
    monkeypatch.setenv("GATEWAY_CONFIG", str(config))
    assert [k["name"] for k in keys.json("list")["keys"]] == ["anna"]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["new", " "], "must be text of one line"),
        (["new", "a\nb"], "must be text of one line"),
        (["new", "a", "--in-flight", "many"], "--in-flight: must be a whole number"),
        (["new", "a", "--in-flight", "0"], "--in-flight: must be a whole number from 1 on"),
        (["new", "a", "--modalities", "smell"], "--modalities: unknown value 'smell' (choices: audio,"),
        (["new", "a", "--models", "a b"], "--models: must be a model's name"),
        (["new", "a", "--expires", "3"], "--expires: must be a date such as"),
        (["new", "a", "--expires", "2001-01-01"], "--expires: is over already"),
        (["new", "a", "--expires", "99999999999999d"], "--expires: is too far away"),
        (["new", "a", "--expires", "999999w"], "--expires: is too far away"),
        (["new", "a", "--expires", f"{'9' * 400}h"], "--expires: is too far away"),
        (["new", "a", "--expires", "9999-12-31T23:59:59-14:00"], "--expires: must be a date such as"),
        (["new", "a", "-c", "nope.yaml"], "can't read nope.yaml: No such file or directory; name the configuration"),
        (["list", "-c", "."], "can't read .: Is a directory"),
        (["list"], "there is no keys.yaml: `gateway keys new NAME` makes it"),
        (["revoke", "a"], "there is no keys.yaml"),
    ],
)
def test_what_can_t_be_done_is_one_line_and_leaves_nothing(args: list[str], said: str, folder: Path, keys: Told):
    out, err = keys(*args, code=2)
    assert said in err and len(err.splitlines()) == 1 and not out
    assert list(folder.iterdir()) == []
    assert said in keys.json(*args, code=2)["problems"][0]["message"]


def test_files_that_are_wrong(folder: Path, keys: Told):
    keys("new", "anna")
    file = folder / "keys.yaml"
    good = file.read_text()
    assert "there is a key of the name 'anna'" in keys("new", "anna", code=2)[1]
    file.write_text("nonsense")
    for args in (["list"], ["new", "b"], ["revoke", "anna"]):
        assert keys(*args, code=2)[1].startswith("keys.yaml:1: the top level must be a mapping")
    file.write_text(good)
    secret_path(file).chmod(0o644)
    assert "chmod go= " in keys("new", "b", code=2)[1]
    secret_path(file).rename(folder / "away")
    assert "bring it back" in keys("new", "b", code=2)[1]
    assert not secret_path(file).exists()  # a new secret would lock out everybody
    (folder / "away").rename(secret_path(file))
    secret_path(file).chmod(0o600)
    [entry] = read_keys(file)[0]
    flow = f"keys: [{{id: {entry.id}, name: anna, digest: 'blake2b:{entry.digest.hex()}'}}]\n"
    file.write_text(flow)
    for args in (["new", "b"], ["revoke", "anna"]):
        assert "one line per field" in keys(*args, code=2)[1]
    assert file.read_text() == flow
    assert "invalid choice: 'nonsense'" in keys("nonsense", code=2)[1]


@pytest.mark.parametrize("where", ["fsync", "link"])
def test_a_command_that_is_killed_leaves_no_half_of_a_secret(where: str, folder: Path, keys: Told):
    program = (
        f"import os; os.{where} = lambda *_: os._exit(9); from gateway.cli import run; run(['keys', 'new', 'anna'])"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", program], cwd=folder, env=env, check=False).returncode == 9
    assert not (folder / "keys.yaml.secret").exists() and not (folder / "keys.yaml").exists()
    keys("new", "anna")
    assert len(read_keys(folder / "keys.yaml")[1].get_secret_value()) == 32


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write anything")
def test_what_may_not_be_written(folder: Path, keys: Told):
    folder.chmod(0o500)
    try:
        assert "can't write" in keys("new", "a", code=2)[1]
    finally:
        folder.chmod(0o700)


def test_several_at_once_lose_nothing(folder: Path):
    names = [f"n{i}" for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: Store(folder / "keys.yaml").create(Wanted(name), 1_800_000_000.0), names))
    assert sorted(k.name for k in read_keys(folder / "keys.yaml")[0]) == sorted(names)
