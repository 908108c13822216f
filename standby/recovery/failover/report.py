"""What a switch did: its phases in time, who was told what, and which side serves now."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from standby.recovery.activation.publishing import SinkResult
from standby.replication.report import Via

Mode = Literal["planned", "unplanned", "rollback"]

State = Literal["activated", "rolled_back", "fenced", "refused"]
"""How a switch ended; fenced: it is neither done nor undone, and is to be run again."""


class PhaseTime(BaseModel):
    """One phase of a switch.

    Attributes:
        outcome: `done`, or why it was not.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    started_at: datetime
    seconds: float
    outcome: str


class Restored(BaseModel):
    """What was restored at the target from a snapshot.

    Attributes:
        created: analyzers that were built anew.
        failed: those that could not be, with the reason of each.
    """

    model_config = ConfigDict(frozen=True)

    snapshot_id: str
    taken_at: datetime
    created: tuple[str, ...]
    failed: dict[str, str]


class FailoverReport(BaseModel):
    """A whole switch.

    Attributes:
        from_resource: what served before.
        to: what was to serve.
        restored: nothing where nothing was missing, or there was no snapshot.
        detection_seconds: from the beginning of the outage until it counted as one.
        recovery_seconds: from the start of the switch until every sink was told.
        rto_seconds: from the beginning of the outage, where that is known, until every sink was told.
        rto_objective_seconds: what the plan allows for it.
        side: the resource that serves, or the last one that did.
        forced: guards that were passed by force.
        problems: what went wrong, a sentence each.
        interrupted: it was asked to stop.
        next_action: the one thing to do now; empty where there is nothing.
    """

    model_config = ConfigDict(frozen=True)

    plan: str
    run_id: str
    via: Via
    epoch: int
    home: str
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
    side: str
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
            and self.side == self.to
            and all(sink.status == "told" for sink in self.sinks)
        )


class CommitReport(BaseModel):
    """A failover that was made final.

    Attributes:
        committed: the sides that were waiting for it, by the source that serves in ordinary times.
        sides: what serves now, likewise.
        sinks: each was told once more what serves now.
    """

    model_config = ConfigDict(frozen=True)

    plan: str
    run_id: str
    via: Via
    epoch: int
    committed: dict[str, str]
    sides: dict[str, str]
    sinks: tuple[SinkResult, ...]
    problems: tuple[str, ...] = ()
    next_action: str = ""

    @property
    def complete(self) -> bool:
        """Whether every sink knows."""
        return all(sink.status == "told" for sink in self.sinks)
