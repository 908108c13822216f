"""A drill that kills its own process, as kill -9 does, at a chosen boundary between two of its phases."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from standby.config.configuration import Configuration
from standby.recovery.context import Stage, open_recovery
from standby.recovery.drill.drill import drill

T = TypeVar("T")


class DyingStages:
    """Direct stages; before and after each of them is a boundary."""

    def __init__(self, boundary: int) -> None:
        self._left = boundary

    async def run(self, _stage: Stage, _name: str, work: Callable[[], Awaitable[T]]) -> T:
        self._pass()
        result = await work()
        self._pass()
        return result

    def _pass(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def run_drill(configuration: Configuration, run_id: str, boundary: int) -> None:
    """Drill plan `p`; a boundary that never comes lets it end by itself."""
    asyncio.run(_fail_over(configuration, run_id, boundary))


async def _fail_over(configuration: Configuration, run_id: str, boundary: int) -> None:
    async with open_recovery(configuration, "p", run_id=run_id) as context:
        await drill(context, "east", "west", DyingStages(boundary))
