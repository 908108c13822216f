"""The stages of a recovery as task runs: the Prefect UI shows what is under way, and what took how long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from prefect.utilities.annotations import opaque

from tasks.stage import stage

T = TypeVar("T")


class TaskStages:
    """Each stage awaited as a task."""

    async def run(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do a stage and give its result; its error is the caller's to see."""
        # Prefect searches what a task is given for futures, at any depth; there are none in here.
        return cast(T, await stage(name, cast(Callable[[], Awaitable[T]], opaque(work))))
