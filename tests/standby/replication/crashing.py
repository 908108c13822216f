"""A replication that kills its own process, as kill -9 does, at a chosen boundary between two steps."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from standby.config.configuration import Configuration
from standby.replication.items import Selection
from standby.replication.replicate import begin, open_run
from standby.replication.steps import DirectSteps


class DyingSteps:
    """The direct steps; before and after each of them is a boundary."""

    def __init__(self, steps: DirectSteps, boundary: int) -> None:
        self._steps = steps
        self._left = boundary

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return partial(self._step, getattr(self._steps, name))

    async def _step(self, step: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        self._pass()
        result = await step(*arguments)
        self._pass()
        return result

    def _pass(self) -> None:
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        self._left -= 1


def replicate(configuration: Configuration, boundary: int) -> None:
    """Run plan `p`, replacing what is older; a boundary that never comes lets the run end by itself."""
    asyncio.run(_replicate(configuration, boundary))


async def _replicate(configuration: Configuration, boundary: int) -> None:
    async with open_run(configuration, "p") as context:
        steps: Any = DyingSteps(DirectSteps(context), boundary)
        async with begin(context, Selection(on_existing="replace"), steps) as replication:
            await replication.run()
