"""The phases of a recovery as they begin, for somebody who waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from standby.cli.output import Output

T = TypeVar("T")


@dataclass(frozen=True)
class ToldStages:
    """Stages without Prefect, each told when it begins."""

    output: Output

    async def run(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Tell it, do it and give its result."""
        self.output.say(f"… {name}")
        return await work()
