"""Stages of a recovery that nobody watches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from standby.recovery.context import Stage

T = TypeVar("T")


class DirectStages:
    """Does each stage at once."""

    async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:
        return await work()
