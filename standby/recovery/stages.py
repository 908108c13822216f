"""The named stages of a recovery, however they are run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Stages(Protocol):
    """Runs one stage at a time: plainly, or as task runs that people can watch."""

    async def run(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do a stage and give its result; its error is the caller's to see.

        Args:
            name: such as `restore at west`.
            work: called once.
        """
        ...


class DirectStages:
    """Stages without Prefect."""

    async def run(self, name: str, work: Callable[[], Awaitable[T]]) -> T:  # noqa: ARG002
        """Do a stage and give its result."""
        return await work()
