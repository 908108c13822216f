"""What a switch did: its phases in time, who was told what, and which side serves now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeVar

from pydantic import Field

from standby.clock import Clock
from standby.document import Document
from standby.errors import StandbyError, sentence
from standby.recovery.activation.sinks import SinkResult
from standby.recovery.context import Stage, Stages
from standby.recovery.failover.errors import SwitchStopped
from standby.replication.report import Via

Mode = Literal["planned", "unplanned", "rollback"]

State = Literal["activated", "rolled_back", "fenced", "refused"]
"""How a switch ended; fenced: it is neither done nor undone, and is to be run again."""


class PhaseTime(Document):
    """One phase of a switch.

    Attributes:
        outcome: `done`, or why it was not.
    """

    name: str
    started_at: datetime
    seconds: float
    outcome: str


class Restored(Document):
    """What was restored at the target from a snapshot.

    Attributes:
        created: analyzers that were built anew.
        failed: those that could not be, with the reason of each.
    """

    snapshot_id: str
    taken_at: datetime
    created: tuple[str, ...]
    failed: dict[str, str]


class FailoverReport(Document):
    """A whole switch.

    Attributes:
        from_resource: what served before.
        to: what was to serve.
        restored: nothing where nothing was missing, or there was no snapshot.
        detection_seconds: from the beginning of the outage until it counted as one.
        recovery_seconds: from the start of the switch until every sink was told.
        rto_seconds: from the beginning of the outage, where that is known, until every sink was told.
        rto_objective_seconds: what the plan allows for it.
        serving: the resource that serves, or the last one that did.
        forced: guards that were passed by force.
        problems: what went wrong, a sentence each.
        interrupted: it was asked to stop.
        next_action: the one thing to do now; empty where there is nothing.
    """

    plan: str
    run_id: str
    via: Via
    epoch: int
    primary: str = Field(alias="home")
    from_resource: str
    to: str
    mode: Mode
    reason: str
    decision_id: str
    started_at: datetime
    phases: tuple[PhaseTime, ...]
    sinks: tuple[SinkResult, ...]
    restored: Restored | None
    detection_seconds: float | None
    recovery_seconds: float | None
    rto_seconds: float | None
    rto_objective_seconds: float | None
    rto_met: bool | None
    serving: str = Field(alias="side")
    state: State
    forced: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    interrupted: bool = False
    next_action: str = ""

    @property
    def complete(self) -> bool:
        """Whether the side serves that was asked for, and every sink knows."""
        return (
            self.state in {"activated", "rolled_back"}
            and self.serving == self.to
            and all(sink.status == "told" for sink in self.sinks)
        )


class CommitReport(Document):
    """A failover that was made final.

    Attributes:
        committed: the sides that were waiting for it, by the source that serves in ordinary times.
        serving: what serves now, by primary.
        sinks: each was told once more what serves now.
    """

    plan: str
    run_id: str
    via: Via
    epoch: int
    committed: dict[str, str]
    serving: dict[str, str] = Field(alias="sides")
    sinks: tuple[SinkResult, ...]
    problems: tuple[str, ...] = ()
    next_action: str = ""

    @property
    def complete(self) -> bool:
        """Whether every sink knows."""
        return all(sink.status == "told" for sink in self.sinks)


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

    async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Run one; its error is the caller's to see."""
        started_at, begun = self.clock.now(), self.clock.monotonic()
        outcome = "done"
        try:
            return await self.stages.run(stage, name, work)
        except StandbyError as error:
            outcome = f"failed: {sentence(error.cause)}"
            raise
        except asyncio.CancelledError:
            outcome = "interrupted"
            raise
        finally:
            seconds = round(self.clock.monotonic() - begun, 3)
            self.times.append(PhaseTime(name=name, started_at=started_at, seconds=seconds, outcome=outcome))

    async def must(self, stage: Stage, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run one whose guard may be forced."""
        try:
            await self.run(stage, name, work)
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
