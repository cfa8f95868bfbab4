"""llama.cpp's router mode is replayed, not run: the wheel does not have it. Once it does, this fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.demo.server import ADD_EMBEDDED

pytestmark = pytest.mark.real


def test_the_wheel_has_no_router(tmp_path: Path):
    xllamacpp = pytest.importorskip("xllamacpp", reason=f"no llama.cpp: {ADD_EMBEDDED}", exc_type=ImportError)
    several = xllamacpp.CommonParams()
    several.models_dir, several.hostnames = str(tmp_path), ["127.0.0.1"]
    with pytest.raises(ValueError, match="disabled the router"):
        xllamacpp.Server(several)
