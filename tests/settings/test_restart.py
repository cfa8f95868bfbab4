from __future__ import annotations

import pytest

from gateway.settings import NeedsRestart, Settings, check_fixed, parse


def test_what_needs_a_restart_is_named() -> None:
    old = Settings()
    check_fixed(old, parse("log: {level: error}\ntimeouts: {drain: 1}\nlisten: '127.0.0.1:4000'", {}))
    with pytest.raises(NeedsRestart) as caught:
        check_fixed(old, parse("listen: 127.0.0.1:4002\nlog: {format: text}\nadmin: {listen: '127.0.0.1:4001'}", {}))
    assert caught.value.names == ["listen", "admin", "log.format"]
    two = parse("listen: ['127.0.0.1:1', '127.0.0.1:2']", {})
    check_fixed(two, parse("listen: ['127.0.0.1:2', '127.0.0.1:1']", {}))
