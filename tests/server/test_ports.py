from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.server import ports

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0FA0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41001 1 0000000000000000 100
   1: 0100007F:0FA0 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 41002 1 0000000000000000 100
   2: 00000000:0FA1 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41003 1 0000000000000000 100
""".splitlines()


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        yield s.getsockname()[1]


def test_only_listening_sockets_of_that_port_count() -> None:
    assert ports.listening_inodes(TABLE, 4000) == {"41001"}
    assert ports.listening_inodes(TABLE, 4001) == {"41003"}
    assert ports.listening_inodes(TABLE, 4002) == set()


def test_a_port_with_a_listener_is_not_free(listening: int) -> None:
    assert not ports.is_free("127.0.0.1", listening)


def test_a_port_that_somebody_bound_is_not_free() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        assert not ports.is_free("127.0.0.1", s.getsockname()[1])


def test_the_next_free_one_is_free(listening: int) -> None:
    other = ports.next_free("127.0.0.1", listening)
    if other is not None:
        assert listening < other <= listening + 10
        assert ports.is_free("127.0.0.1", other)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this system has no /proc")
def test_the_holder_is_named_with_pid_and_command(listening: int) -> None:
    who = ports.holder(listening)
    assert who.startswith(f"process {os.getpid()}: ")
    command = Path("/proc/self/cmdline").read_bytes().split(b"\0")[0].decode()
    assert command[:40] in who
    assert len(who) < 150


def test_secrets_among_its_words_are_not_shown() -> None:
    words = "llama-server --api-key sk-1 --port 80 --hf-token=sk-2 -m key.gguf"
    assert ports._SECRET.sub(r"\1...", words) == "llama-server --api-key ... --port 80 --hf-token=... -m key.gguf"


def test_an_unknown_holder_is_said_so() -> None:
    (free,) = _free()
    assert ports.holder(free) == "another process"


def _free() -> list[int]:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1]]


def test_one_that_ends_while_it_is_looked_at(tmp_path: Path) -> None:
    assert ports._command(tmp_path / "4711") == "which has just ended"
    assert ports._sockets(tmp_path / "4711") == set()
    (tmp_path / "4712" / "fd").mkdir(parents=True)
    (tmp_path / "4712" / "cmdline").write_bytes(b"python\0-m\0gateway\0")
    assert ports._command(tmp_path / "4712") == "python -m gateway"
