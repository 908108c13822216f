"""Readiness as it is told: to people, to programs, and to what decides about a failover."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from standby.config.plan import RecoveryPlan
from standby.document import Document
from standby.errors import StandbyError
from standby.fencing import Assignment
from standby.recovery.durations import Durations, RtoForecast
from standby.recovery.readiness.last_runs import DrillSummary
from standby.replication.serving import Finding, Severity
from standby.replication.verdict import Verdict


class State(StrEnum):
    """Whether a target could take over."""

    READY = "ready"
    NOT_READY = "not_ready"
    UNKNOWN = "unknown"


class Bucket(StrEnum):
    """What kind of reason it is."""

    MISSING = "missing_analyzer"
    BROKEN = "broken_analyzer"
    CREATING = "being_created"
    EDITED = "edited_at_target"
    DIVERGED = "diverged"
    FOREIGN = "foreign"
    UNVERIFIED = "unverified"
    BLOCKED = "blocked"
    STALE = "stale"
    RPO_MISSED = "rpo_missed"
    REBUILT = "rebuilt"
    MODEL_MISSING = "missing_model"
    MODEL_UNKNOWN = "model_unknown"
    MODEL_RETIRING = "model_retiring"
    PERMISSION = "permission"
    UNREACHABLE = "unreachable"
    SOURCE_UNREACHABLE = "source_unreachable"
    NOTHING_KNOWN = "nothing_known"
    NEVER_DRILLED = "never_drilled"
    DRILL_FAILED = "drill_failed"
    DRILL_OLD = "drill_too_old"
    RTO_AT_RISK = "rto_at_risk"
    FENCED = "fenced"
    SWITCH_UNDER_WAY = "switch_under_way"


class Reason(Document):
    """One thing to know before switching.

    Attributes:
        severity: `error` makes it not ready, `unknown` makes it unknown, `warning` changes nothing by itself.
        text: what is so, a sentence.
        next_action: what to do about it, an order.
        analyzers: by their ids at home; none where it is about the resource.
    """

    bucket: Bucket
    severity: Severity
    text: str
    next_action: str
    analyzers: tuple[str, ...] = ()


class AnalyzerPoint(Document):
    """What a target holds of one analyzer.

    Attributes:
        analyzer: its id at home.
        verified_at: when the target was last known to hold what the source had, UTC; `None` if never.
        age_seconds: since then.
        source_changed: whether the source has something that the copy lacks; `None` where it did not say.
        met: whether the plan's RPO holds; `None` where there is none, or it cannot be told.
    """

    analyzer: str
    verified_at: datetime | None
    age_seconds: float | None
    source_changed: bool | None
    met: bool | None


class Retirement(Document):
    """When a model that the analyzers need at the target ends.

    Attributes:
        analyzers: those that need it, by their ids at home.
    """

    resource: str
    deployment: str
    model: str
    version: str
    retires_at: datetime
    analyzers: tuple[str, ...]


class Readiness(Document):
    """Whether one target could take over from one source of a plan.

    Attributes:
        home: the source that serves in ordinary times.
        target: what would serve in its place.
        active: what serves in its place now.
        epoch: of the fence.
        reasons: the worst first.
        points: one for each analyzer that is known.
        retirements: the next one first.
        last_drill: at this target.
        assessed_at: UTC.
        source_answered: whether the source was asked and answered; without it, records were judged by.
        missing: analyzers, by their ids at home, that the target lacks or that do not work there.
        names: id at the target by id at home, of every analyzer that is known.
    """

    plan: str
    primary: str = Field(alias="home")
    target: str
    active: str
    epoch: int
    state: State
    reasons: tuple[Reason, ...]
    points: tuple[AnalyzerPoint, ...]
    rto: RtoForecast
    rpo_seconds: float | None
    retirements: tuple[Retirement, ...]
    last_drill: DrillSummary | None
    assessed_at: datetime
    source_answered: bool
    missing: tuple[str, ...]
    names: Mapping[str, str]

    @property
    def is_failback(self) -> bool:
        """Whether it tells of the way home, because another resource serves in the place of home."""
        return self.target in {self.active, self.primary}


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
    primary: str
    target: str
    assignment: Assignment
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
        return self.assignment.active != self.primary

    @property
    def is_failback(self) -> bool:
        """Whether the only way left leads home: the target serves already, or is home itself."""
        return self.target in {self.assignment.active, self.primary}

    @property
    def destination(self) -> str:
        """The resource that would have to serve."""
        return self.primary if self.is_failback else self.target
