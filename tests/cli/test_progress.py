"""Nothing is said about what is quick; what takes long says so, and leaves nothing on the screen."""

from __future__ import annotations

import asyncio
import io

import pytest

from gateway.cli.progress import shown


class Terminal(io.StringIO):
    """`wrote` is set when something stands on it."""

    def __init__(self, tty: bool) -> None:
        super().__init__()
        self.tty = tty
        self.wrote = asyncio.Event()

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> int:
        self.wrote.set()
        return super().write(text)


async def quick() -> int:
    return 7


async def test_what_is_quick() -> None:
    out = Terminal(tty=True)
    assert await shown("looking", quick(), out, patience=60) == 7
    assert out.getvalue() == ""


@pytest.mark.parametrize(("tty", "said"), [(True, "\rlooking ... 0 s\r\033[K"), (False, "looking ...\n")])
async def test_what_takes_long(tty: bool, said: str) -> None:
    out = Terminal(tty)

    async def slow() -> int:
        await asyncio.wait_for(out.wrote.wait(), 20)
        return 8

    assert await shown("looking", slow(), out, patience=0) == 8
    assert out.getvalue() == said


async def test_an_error_comes_through_and_the_line_goes() -> None:
    out = Terminal(tty=True)

    async def failing() -> int:
        await asyncio.wait_for(out.wrote.wait(), 20)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await shown("looking", failing(), out, patience=0)
    assert out.getvalue().endswith("\r\033[K")
