"""The report of a drill, as JSON has it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import AwareDatetime, Field

from standby.document import Document
from standby.recovery.failover.report import PhaseTime
from standby.recovery.snapshots.fidelity import Fidelity
from standby.replication.report import Via


class CleanUp(Document):
    """What was done about the analyzers that a drill made.

    Attributes:
        created: every one that was seen.
        deleted: those that are gone.
        left: those that are still there; the drill's only where they have its tag.
        proven: whether the resource said more than once that nothing is left.
        problem: why it is not proven.
    """

    created: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    proven: bool = False
    problem: str = ""
    seconds: float = 0.0


class DrilledAnalyzers(Document):
    """How many analyzers were rehearsed with.

    Attributes:
        count: those of the snapshot.
        usable: those that were ready at the target, with the right definition and models.
        fidelity: how true they are to what would be lost.
    """

    count: int = 0
    usable: int = 0
    fidelity: Mapping[Fidelity, int] = {}


class DrillReport(Document):
    """A whole drill.

    Attributes:
        home: the source whose outage was rehearsed.
        to: resource at which it was rehearsed.
        scratch: the same, where it is a scratch resource; `None` where scratch ids were used at a target.
        reasons: why it did not pass, a sentence each.
        phases: of the failover and of what only a drill does, in order.
        snapshot_id: what was restored from; empty where it did not come so far.
        recovery_seconds: what a failover would have taken; `None` where it did not come about.
        rto_seconds: the plan's recovery time objective.
        seconds: from its begin to its end, clean-up included.
        interrupted: it was asked to stop.
        evidence: where its evidence is.
        evidence_digest: SHA-256 of that file.
        key_id: of the key that signed it; `None` where there is no key.
    """

    plan: str
    run_id: str
    via: Via
    actor: str
    primary: str = Field(alias="home")
    to: str
    scratch: str | None
    passed: bool
    reasons: tuple[str, ...]
    phases: tuple[PhaseTime, ...]
    analyzers: DrilledAnalyzers
    snapshot_id: str
    snapshot_taken_at: AwareDatetime | None
    recovery_seconds: float | None
    rto_seconds: float | None
    rto_met: bool | None
    cleanup: CleanUp
    seconds: float
    begun_at: AwareDatetime
    ended_at: AwareDatetime
    interrupted: bool = False
    evidence: str = ""
    evidence_digest: str = ""
    key_id: str | None = None


class CleanedUp(Document):
    """What was left by one drill that had not come to its end, and what became of it."""

    run_id: str
    to: str
    begun_at: AwareDatetime
    cleanup: CleanUp


class CleanUpReport(Document):
    """What earlier drills of a plan had left."""

    plan: str
    drills: tuple[CleanedUp, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is left of any."""
        return all(drill.cleanup.proven for drill in self.drills)
