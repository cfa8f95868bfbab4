from __future__ import annotations

from pathlib import Path

import pytest

from gateway.demo.paths import cache_dir


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"GATEWAY_CACHE": "/a/b", "XDG_CACHE_HOME": "/x"}, Path("/a/b")),
        ({"GATEWAY_CACHE": "~/c"}, Path.home() / "c"),
        ({"GATEWAY_CACHE": "c"}, Path.cwd() / "c"),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/gemma-gateway")),
        ({"GATEWAY_CACHE": "", "XDG_CACHE_HOME": ""}, Path.home() / ".cache/gemma-gateway"),
    ],
)
def test_the_cache_is_where_the_environment_says(env: dict[str, str], folder: Path) -> None:
    assert cache_dir(env) == folder
