"""The phases of a switch: each measured, and its guard passed by force where that is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from standby.clock import Clock
from standby.errors import StandbyError, sentence
from standby.recovery.failover.errors import SwitchStopped
from standby.recovery.failover.report import PhaseTime
from standby.recovery.stages import Stages

T = TypeVar("T")


@dataclass
class Phases:
    """Runs phases and keeps what became of each.

    Attributes:
        forced: guards that are passed all the same.
        times: of those that are over, in order.
        problems: what went wrong and was gone on after, a sentence each.
    """

    stages: Stages
    clock: Clock
    forced: frozenset[str]
    times: list[PhaseTime] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    async def run(self, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Run one; its error is the caller's to see."""
        started_at, begun = self.clock.now(), self.clock.monotonic()
        outcome = "done"
        try:
            return await self.stages.run(name, work)
        except StandbyError as error:
            outcome = f"failed: {sentence(error.cause)}"
            raise
        except asyncio.CancelledError:
            outcome = "interrupted"
            raise
        finally:
            seconds = round(self.clock.monotonic() - begun, 3)
            self.times.append(PhaseTime(name=name, started_at=started_at, seconds=seconds, outcome=outcome))

    async def must(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run one whose guard may be forced."""
        try:
            await self.run(name, work)
        except SwitchStopped as error:
            self.pass_by_force(error)

    def pass_by_force(self, error: SwitchStopped) -> None:
        """Go on after what is forced, and tell it; what is not forced stops the switch."""
        if error.guard not in self.forced:
            raise error
        self.problems.append(f"Passed by force: {sentence(error.cause)}")

    def seconds_of(self, start: str) -> float:
        """Give what all phases took whose name begins so."""
        return sum(time.seconds for time in self.times if time.name.startswith(start))
