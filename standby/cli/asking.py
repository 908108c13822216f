"""A question at a terminal, which Ctrl-C ends at once."""

from __future__ import annotations

import asyncio
import sys

from rich.text import Text

from standby.cli.output import Output
from standby.errors import GuardRefused


class NotConfirmed(GuardRefused):
    """The person at the terminal did not say yes."""

    def __init__(self) -> None:
        super().__init__("It was not confirmed, and nothing was changed", "Answer y, or say --yes")
        self.args = ()


def may_ask(output: Output) -> bool:
    """Say whether there is a person to ask: at a terminal, and not where a program reads."""
    return not output.json and sys.stdin.isatty() and output.stderr.is_terminal


async def confirm(output: Output, question: str) -> None:
    """Ask a question that is to be answered with y or yes.

    Raises:
        NotConfirmed: the answer was anything else.
    """
    output.stderr.print(Text(f"{question} [y/N] "), end="", soft_wrap=True)
    if (await _line()).strip().lower() not in {"y", "yes"}:
        raise NotConfirmed


async def _line() -> str:
    # Not in a thread: that one would go on reading after the question was cancelled.
    loop = asyncio.get_running_loop()
    there = asyncio.Event()
    loop.add_reader(sys.stdin, there.set)
    try:
        await there.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()
