"""A question at a terminal, which Ctrl-C ends at once."""

from __future__ import annotations

import asyncio
import sys

from rich.text import Text

from standby.cli.output import Output


def may_ask(output: Output) -> bool:
    """Say whether there is a person to ask: at a terminal, and not where a program reads."""
    return not output.json and sys.stdin.isatty() and output.stderr.is_terminal


async def confirmed(output: Output, question: str) -> bool:
    """Ask a question that is to be answered with y or yes; anything else is a no."""
    output.stderr.print(Text(f"{question} [y/N] "), end="", soft_wrap=True)
    return (await _line()).strip().lower() in {"y", "yes"}


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
