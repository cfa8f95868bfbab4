"""The rows of `gateway caps` have every fact with its source, and the table fits its width."""

from __future__ import annotations

from typing import Any

from gateway.backends import Discovery, Model
from gateway.canonical.facts import Facts
from gateway.engine.fleet import Fleet
from gateway.report.caps import rows, table, with_rates
from gateway.server.models import cards
from gateway.settings import parse

CONFIG = """
backends:
  gpu: {kind: vllm, url: "http://127.0.0.1:9", hardware: blackwell, facts: {prompt_rate: 900}}
  mac: {kind: mlx_lm, url: "http://127.0.0.1:8"}
models:
  big: {aliases: [gpt-4o], targets: [{backend: gpu}]}
  both: {targets: [{backend: gpu}, {backend: mac}]}
"""


def fleet() -> Fleet:
    it = Fleet()
    it.apply(parse(CONFIG, {}))
    seen = Facts(image=True, audio=False, tools=True, context=32768, version="0.32.0")
    it.servers["gpu"].learn(Discovery("ready", [Model("nvidia/Gemma-4-31B-IT-NVFP4", facts=seen)]))
    it.servers["mac"].learn(Discovery("ready", [Model("mlx-community/gemma-4-12B-it-4bit")]))
    it.rename()
    return it


def test_every_fact_has_its_source() -> None:
    it = fleet()
    [d] = it.servers["gpu"].deployments.values()
    d.candidate.decode_rate = 41.26
    gpu, mac = rows(cards(it, 0))
    assert (gpu["target"], gpu["state"]) == ("gpu/nvidia/Gemma-4-31B-IT-NVFP4", "ready")
    assert gpu["names"] == ["big", "both", "nvidia/Gemma-4-31B-IT-NVFP4"]
    assert gpu["modalities"]["image"] == {"value": True, "source": "probed"}
    assert gpu["modalities"]["video"] == {"value": True, "source": "family"}, "the family knows, nobody asked"
    assert gpu["modalities"]["document"] == {"value": False, "source": "assumed"}
    assert gpu["modalities"]["text"] == {"value": True, "source": "assumed"}
    assert "image/png" in gpu["formats"]["image"]["value"]
    assert gpu["context"] == {"value": 32768, "source": "probed"}
    assert gpu["tools"] == {
        "auto": {"value": True, "source": "probed"},
        "required": {"value": "verified", "source": "assumed"},
        "named": {"value": "verified", "source": "assumed"},
    }
    assert gpu["json_schema"] == {"value": "enforced", "source": "assumed"}
    assert gpu["thinking"]["value"]["value"] is True
    assert gpu["quantization"] == {"value": "nvfp4", "source": "family"}
    assert gpu["hardware"] == {"value": "blackwell", "source": "operator"}
    assert gpu["version"] == {"value": "0.32.0", "source": "probed"}
    assert gpu["rates"] == {
        "prompt": {"value": 900.0, "source": "operator"},
        "decode": {"value": 41.3, "source": "measured"},
    }
    assert mac["modalities"]["image"] == {"value": False, "source": "assumed"}
    assert mac["hardware"] == {"value": None, "source": None}
    assert mac["rates"]["decode"] == {"value": None, "source": None}


def test_rates_that_were_measured_meanwhile() -> None:
    it = fleet()
    before = rows(cards(it, 0))
    next(iter(it.servers["gpu"].deployments.values())).candidate.rate = 512.0
    with_rates(before, rows(cards(it, 0)))
    assert before[0]["rates"]["prompt"] == {"value": 512.0, "source": "measured"}


def test_the_table() -> None:
    found = rows(cards(fleet(), 0))
    text = table(found, 120)
    lines = text.splitlines()
    assert lines[0].split() == ["gpu/nvidia/Gemma-4-31B-IT-NVFP4", "mac/mlx-community/gemma-4-12B-it-4bit"]
    by_head = {line[:16].strip(): line[16:].split("  ") for line in lines}
    assert by_head["state"][0].strip() == "ready"
    assert any(line.startswith("quantization") and "nvfp4 f" in line and "mlx-4bit" in line for line in lines)
    assert any(line.startswith("tools: required") and line.count("verified a") == 2 for line in lines)
    assert any(line.startswith("hardware") and "blackwell o" in line and "unknown" in line for line in lines)
    assert any(line.startswith("audio ") and "no p" in line for line in lines)
    narrow = table(found, 40)
    assert narrow.count("quantization") == 2, "one deployment below the other"
    assert table([], 80).startswith("no deployment")


def test_what_was_not_seen_to_come_through_is_explained_below() -> None:
    found = rows(cards(fleet(), 0))
    seen: dict[str, Any] = {"image": {"verdict": "came through"}, "audio": {"verdict": "not asked", "detail": "no"}}
    found[0]["deep"] = {**seen, "video": {"verdict": "lost", "detail": "the prompt is as long"}}
    found[1]["deep"] = {}
    text = table(found, 200)
    assert "video, looked at" in text and "came through" in text
    assert "gpu/nvidia/Gemma-4-31B-IT-NVFP4: video lost: the prompt is as long" in text
    assert text.count("not asked") == 1
