"""The models of readiness: the facts it is judged by, and the result for people, programs and the decision."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Literal, Self

from pydantic import AwareDatetime, Field

from standby.config.plan import RecoveryPlan
from standby.document import Document
from standby.errors import StandbyError
from standby.fencing import Assignment, OtherPlans
from standby.recovery.proof.records import Proof
from standby.recovery.runs import DrillSummary, Durations, Restoring, RtoForecast
from standby.replication.needs import Finding, Severity
from standby.replication.verdict import Verdict
from standby.text import some_of
from standby.vault.documents import Remembered, Upgrade


class State(StrEnum):
    """Whether a target could take over."""

    READY = "ready"
    NOT_READY = "not_ready"
    UNKNOWN = "unknown"


class Bucket(StrEnum):
    """What kind of reason it is; causes stand before what they lead to, and are told in this order."""

    RECORDS_LOST = "records_lost"
    SWITCH_UNDER_WAY = "switch_under_way"
    FENCED = "fenced"
    RESIDENCY = "residency"
    REPLICA = "replica_of_the_vault"
    PERMISSION = "permission"
    UNREACHABLE = "unreachable"
    SOURCE_UNREACHABLE = "source_unreachable"
    MODEL_MISSING = "missing_model"
    MODEL_UNKNOWN = "model_unknown"
    BLOCKED = "blocked"
    MISSING = "missing_analyzer"
    BROKEN = "broken_analyzer"
    CREATING = "being_created"
    CHILD = "unusable_child"
    EDITED = "edited_at_target"
    DIVERGED = "diverged"
    FOREIGN = "foreign"
    UNVERIFIED = "unverified"
    STALE = "stale"
    RPO_MISSED = "rpo_missed"
    REBUILT = "rebuilt"
    PROOF_DIFFERS = "differs"
    MODEL_RETIRING = "model_retiring"
    NOTHING_KNOWN = "nothing_known"
    NEVER_DRILLED = "never_drilled"
    DRILL_FAILED = "drill_failed"
    DRILL_OLD = "drill_too_old"
    NEVER_COMPARED = "never_compared"
    NO_VERDICT = "no_verdict"
    PROOF_OLD = "proof_too_old"
    RTO_AT_RISK = "rto_at_risk"
    LEFT_OUT = "left_out"


CURED_BY_RESTORE = frozenset(
    {Bucket.MISSING, Bucket.BROKEN, Bucket.CREATING, Bucket.CHILD, Bucket.BLOCKED, Bucket.RPO_MISSED}
)
"""Reasons that disappear once the analyzers they are about are restored."""

BY_THE_FAILOVER = frozenset({Bucket.FENCED, Bucket.SWITCH_UNDER_WAY})
"""Reasons that may come from a failover itself; they are about the target as a whole."""


class Reason(Document):
    """One thing to know before a failover."""

    bucket: Bucket
    severity: Severity  # `error` makes it not ready, `unknown` makes it unknown, `warning` changes nothing by itself
    text: str
    next_action: str
    analyzers: tuple[str, ...] = ()  # by their ids at the primary; none where it is about the resource


def with_parents(
    out: Mapping[str, str], needs: Mapping[str, Collection[str]], *, also: Collection[str] = ()
) -> dict[str, str]:
    """Add to what cannot serve, with the reasons, whatever needs one of these, or others that are unusable `also`."""
    found = dict(out)
    while more := {
        name: f"{name} needs {some_of(sorted(lost))}"
        for name, needed in needs.items()
        if name not in found and (lost := {child for child in needed if child in found or child in also})
    }:
        found |= more
    return dict(sorted(found.items()))


class AnalyzerPoint(Document):
    """What a target holds of one analyzer."""

    analyzer: str
    verified_at: datetime | None  # when the target was last known to hold what the source had, UTC; `None` if never
    age_seconds: float | None
    source_changed: bool | None  # whether the source has something that the copy lacks; `None` where that is unknown
    met: bool | None  # whether the plan's RPO holds; `None` where there is none, or that is unknown
    at_least: bool = False  # the source could not be looked at: they were equal at least until `verified_at`
    restored: bool = False  # the target does not have it, and a failover restores it from the snapshot of `verified_at`
    lost: str = ""  # why it cannot be recovered, without a full stop; empty where it can


class Retirement(Document):
    """When a model that the analyzers need at the target ends."""

    resource: str
    deployment: str
    model: str
    version: str
    retires_at: datetime
    analyzers: tuple[str, ...]


class Readiness(Document):
    """Whether one target could take over from one source of a plan."""

    plan: str
    primary: str = Field(alias="home")
    target: str
    active: str
    epoch: int
    state: State
    reasons: tuple[Reason, ...]  # the worst first
    points: tuple[AnalyzerPoint, ...]
    rto: RtoForecast
    rpo_seconds: float | None
    retirements: tuple[Retirement, ...]
    last_drill: DrillSummary | None
    assessed_at: datetime
    source_answered: bool  # whether the source was asked and answered; otherwise records were used
    missing: tuple[str, ...]  # analyzers, by their ids at the primary, that the target lacks or that do not work there
    names: Mapping[str, str]  # id at the target by id at the primary, of every analyzer that is known
    # The analyzers that each one refers to at the target, by their ids at the primary: those that are known, and others
    # where they cannot be used.
    needs: Mapping[str, tuple[str, ...]] = {}
    proofs: tuple[Proof, ...] = ()  # the last by document of each analyzer that has one

    @property
    def is_failback(self) -> bool:
        """Whether it is about a failback, because another resource serves for the primary."""
        return self.target in {self.active, self.primary}

    @property
    def against_the_target(self) -> tuple[Reason, ...]:
        """The reasons against the target, and not against single analyzers there."""
        return tuple(each for each in self.against if not each.analyzers or each.bucket in BY_THE_FAILOVER)

    def unusable(self, restored: Collection[str] = ()) -> dict[str, str]:
        """Say which analyzers the target could not serve, by id at the primary, and why, once some are restored."""
        out: dict[str, str] = {}
        for reason in self.against:
            if reason.bucket not in BY_THE_FAILOVER | {Bucket.CHILD}:
                cured = restored if reason.bucket in CURED_BY_RESTORE else ()
                out |= {name: reason.text for name in reason.analyzers if name not in cured and name not in out}
        strangers = {child for needed in self.needs.values() for child in needed} - self.names.keys()
        return with_parents(out, self.needs, also=strangers)

    @property
    def against(self) -> tuple[Reason, ...]:
        """The reasons that make it not ready, or unknown."""
        return tuple(each for each in self.reasons if each.severity is not Severity.WARNING)


@dataclass(frozen=True)
class Standing:
    """The state of one analyzer where it would be needed."""

    analyzer: str
    target_analyzer: str
    verdict: Verdict | None  # how it differs from the source; `None` where no record says
    status: str | None  # as the service there says, in lower case; `None` where the analyzer is missing
    verified_at: datetime | None = None
    source_changed: bool | None = None  # whether the source has something that it lacks; `None` where that is unknown
    explanation: str = ""  # what a replication would do about it, where that was planned
    blocked: bool = False
    children: tuple[str, ...] = ()  # what it refers to there, by id there
    unusable_children: tuple[str, ...] = ()  # those of them that cannot be used


@dataclass(frozen=True)
class ModelFact:
    """One finding about a model, with the analyzers, by id at the primary, that use it."""

    finding: Finding
    analyzers: tuple[str, ...]
    forgiven: bool = False


@dataclass(frozen=True)
class Facts:
    plan: RecoveryPlan
    primary: str
    target: str  # the resource that would serve for it; the primary itself for a failback
    assignment: Assignment
    epoch: int
    run_id: str
    now: datetime
    source_asked: bool
    source_failure: StandbyError | None = None
    target_failure: StandbyError | None = None  # why the destination could not be read; then there are no standings
    standings: tuple[Standing, ...] = ()
    models: tuple[ModelFact, ...] = ()
    retirements: tuple[Retirement, ...] = ()
    drill: DrillSummary | None = None
    durations: Durations = field(default_factory=Durations)
    restoring: Restoring | None = None  # what a failover would have to restore first; `None` where that was not asked
    names: Mapping[str, str] = field(default_factory=dict)
    # Ids at the primary of what labelled data trained and a restore rebuilt at the target.
    rebuilt: tuple[str, ...] = ()
    proofs: Mapping[str, Proof] = field(default_factory=dict)  # the last by document, by id at the primary
    recopied: frozenset[str] = frozenset()  # ids at the primary of what was copied again after its proof
    sampled: frozenset[str] = frozenset()  # ids at the primary of what has sample documents
    gone: tuple[str, ...] = ()  # ids at the primary of what the resource had that serves for it, and has no more
    others: OtherPlans | None = None  # what serves for other plans; `None` where that was not asked
    can_replace: bool = True  # whether the protocol of the pair can copy over what the target has
    records_lost: str = ""  # why fence or audit log are missing or out of date; empty where they are
    outside: str = ""  # why data of the primary must not be kept at the target, and what allows it; empty where it may

    @property
    def switched(self) -> bool:
        return self.assignment.active != self.primary

    @property
    def is_failback(self) -> bool:
        """Whether it is about a failback: the target serves already, or is the primary itself."""
        return self.target in {self.assignment.active, self.primary}

    @property
    def destination(self) -> str:
        return self.primary if self.is_failback else self.target


class Sample(Document):
    """What one check found of a target."""

    at: AwareDatetime  # when it was looked at, UTC
    state: State
    # Everything that the primary had until then could be recovered, UTC: `at` itself where nothing would be lost.
    # `None` where that is unknown, something cannot be recovered, or it is about a failback, which loses nothing.
    oldest_point: AwareDatetime | None
    met: bool | None  # whether the plan's RPO held; `None` where there was none, or that was unknown

    @property
    def age(self) -> timedelta | None:
        """How much would have been lost at most."""
        return None if self.oldest_point is None else max(timedelta(), self.at - self.oldest_point)

    @classmethod
    def of(cls, found: Readiness) -> Self:
        points = () if found.is_failback else found.points
        # A copy of what has not changed since loses nothing, however old it is.
        behind = [None if point.lost else point.verified_at for point in points if point.source_changed is not False]
        known = [moment for moment in behind if moment is not None]
        oldest = min((found.assessed_at, *known)) if points and len(known) == len(behind) else None
        met = {point.met for point in points} or {None}
        return cls(
            at=found.assessed_at,
            state=found.state,
            oldest_point=oldest,
            met=False if False in met else None if None in met else True,
        )


MOST_SAMPLES = 400  # Of one target that are kept: some two weeks of checks every hour, and what was before them sparser


def thinned(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Keep the worse of each two of the older half, once there are too many: old ones become sparser and sparser."""
    half = MOST_SAMPLES // 2
    if len(samples) <= MOST_SAMPLES:
        return tuple(samples)
    older, newer = samples[:half], samples[half:]
    pairs = zip(older[::2], older[1::2], strict=True)
    worse = (max(two, key=lambda it: (it.met is False, it.age is None, it.age or timedelta())) for two in pairs)
    return (*worse, *newer)


class LastStates(Remembered):
    """The state of each target at the last check, and what earlier checks found, by `primary/target`."""

    place = "recovery/{plan}/readiness.json"
    upgrades: ClassVar[Mapping[int, Upgrade]] = {1: dict}

    format: Literal[2] = 2
    states: dict[str, State] = Field(default_factory=dict)
    history: dict[str, tuple[Sample, ...]] = Field(default_factory=dict)  # the oldest first

    def before(self, now: Readiness) -> State | None:
        return self.states.get(_pair(now))

    def changed(self, found: Iterable[Readiness]) -> list[Readiness]:
        return [each for each in found if self.before(each) is not each.state]

    def samples(self, of: Readiness) -> tuple[Sample, ...]:
        return self.history.get(_pair(of), ())

    def after(self, found: Iterable[Readiness]) -> Self:
        """Add what a check found; targets that the plan no longer has are dropped."""
        known = {_pair(each): (*self.samples(each), Sample.of(each)) for each in found}
        return type(self)(
            states={name: samples[-1].state for name, samples in known.items()},
            # Of two checks side by side, the one that looked first may write last.
            history={name: thinned(sorted(each, key=lambda sample: sample.at)) for name, each in known.items()},
        )


def _pair(readiness: Readiness) -> str:
    return f"{readiness.primary}/{readiness.target}"
