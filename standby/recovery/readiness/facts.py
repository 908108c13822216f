"""What readiness is judged by; nothing else may influence it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from standby.config.plan import RecoveryPlan
from standby.errors import StandbyError
from standby.fencing import Side
from standby.recovery.drill.summary import DrillSummary
from standby.recovery.readiness.document import Retirement
from standby.recovery.readiness.durations import Durations
from standby.replication.serving import Finding
from standby.replication.verdict import Verdict


@dataclass(frozen=True)
class Standing:
    """How one analyzer stands where it would be needed.

    Attributes:
        analyzer: its id at home.
        target_analyzer: its id there.
        verdict: what is there; `None` where nothing says what it is.
        status: as the service there says, in lower case; `None` where there is none.
        verified_at: when it was last known to be what the source had, UTC.
        source_changed: whether the source has something that it lacks; `None` where the source did not say.
        explanation: what a replication would do about it, where that was planned.
        blocked: whether a replication could do nothing about it.
    """

    analyzer: str
    target_analyzer: str
    verdict: Verdict | None
    status: str | None
    verified_at: datetime | None = None
    source_changed: bool | None = None
    explanation: str = ""
    blocked: bool = False


@dataclass(frozen=True)
class ModelFact:
    """One finding about a model, with the analyzers, by id at home, that use it."""

    finding: Finding
    analyzers: tuple[str, ...]
    forgiven: bool = False


@dataclass(frozen=True)
class Facts:
    """One pair of a plan at one moment.

    Attributes:
        home: the source that serves in ordinary times.
        target: what would serve in its place; home itself on the way back.
        side: what the fence says of home.
        run_id: of whoever asks: a switch of its own is no obstacle to it.
        now: UTC.
        source_asked: whether home was asked what it holds.
        source_failure: why it did not say.
        target_failure: why the destination did not say what it holds; then there are no standings.
        slots: how many restores run at once.
        names: id at the target by id at home.
        rebuilt: ids at home of what the target has as a restore rebuilt it, of what labelled data trained.
    """

    plan: RecoveryPlan
    home: str
    target: str
    side: Side
    epoch: int
    run_id: str
    now: datetime
    source_asked: bool
    source_failure: StandbyError | None = None
    target_failure: StandbyError | None = None
    standings: tuple[Standing, ...] = ()
    models: tuple[ModelFact, ...] = ()
    retirements: tuple[Retirement, ...] = ()
    drill: DrillSummary | None = None
    durations: Durations = field(default_factory=Durations)
    slots: int = 1
    names: Mapping[str, str] = field(default_factory=dict)
    rebuilt: tuple[str, ...] = ()

    @property
    def switched(self) -> bool:
        """Whether another resource than home serves."""
        return self.side.active != self.home

    @property
    def is_way_back(self) -> bool:
        """Whether the only way left leads home: the target serves already, or is home itself."""
        return self.target in {self.side.active, self.home}

    @property
    def destination(self) -> str:
        """The resource that would have to serve."""
        return self.home if self.is_way_back else self.target
