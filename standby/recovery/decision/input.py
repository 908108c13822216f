"""The models of deciding: guards, decision input, decision, failover request."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, Field

from standby.config.plan import FailoverPolicy
from standby.document import Document
from standby.errors import StandbyError
from standby.fencing import Assignment, Phase
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.automation import Automation
from standby.recovery.probe import Observation
from standby.recovery.snapshots.fidelity import Fidelity
from standby.vault.documents import Remembered


class Guard(StrEnum):
    """The conditions of a failover, in the order in which they are shown."""

    FENCE = "fence"
    OFF_SWITCH = "off-switch"
    ALREADY_ACTIVE = "already-active"
    ONE_AT_A_TIME = "one-at-a-time"
    COOL_DOWN = "cool-down"
    QUORUM = "quorum"
    MINIMUM_OUTAGE = "minimum-outage"
    OBSERVERS_AGREE = "observers-agree"
    SOURCE_ANSWERS = "source-answers"
    STANDBY_HEALTH = "standby-health"
    READINESS = "readiness"
    STALENESS = "staleness"
    RESIDENCY = "residency"
    APPROVALS = "approvals"


NEVER_FORCED = frozenset({Guard.ALREADY_ACTIVE, Guard.ONE_AT_A_TIME, Guard.SOURCE_ANSWERS})
"""Guards that cannot be forced: without them two resources would be active, or nothing could be done."""

FORCEABLE = tuple(guard for guard in Guard if guard not in NEVER_FORCED)


class GuardOutcome(StrEnum):
    """The answer of one guard."""

    PASS = "pass"  # noqa: S105 - no password
    WAIT = "wait"
    REFUSE = "refuse"
    FORCED = "forced"


class Outcome(StrEnum):
    """The result of a decision."""

    ACT = "act"
    WAIT = "wait"
    REFUSE = "refuse"


class GuardResult(Document):
    """The answer of one guard, and its reason with its numbers: a sentence without its full stop."""

    guard: Guard
    outcome: GuardOutcome = Field(alias="verdict")
    text: str


class Decision(Document):
    """A decision: the result, the target and every guard's answer."""

    outcome: Outcome  # act; wait, which may change by itself; or refuse, which somebody has to change
    needs_approval: bool  # the plan does not fail over automatically after an outage: act means propose
    to: str | None
    reasons: tuple[GuardResult, ...]
    detected_at: datetime | None  # when the evidence was complete, UTC; `None` where it is not, or was not asked for
    # The first unhealthy observation of those that count, UTC; `None` where there is none, or where an operator orders
    # it: an order is no detection.
    unhealthy_since: datetime | None
    # The last healthy look before that, UTC; `None` where none is known. The outage began between the two.
    healthy_until: datetime | None = None
    # Why some analyzers cannot serve at the target, by their ids at the primary: they are left out.
    left_out: Mapping[str, str] = {}

    def saying(self, *outcomes: GuardOutcome) -> tuple[GuardResult, ...]:
        return tuple(result for result in self.reasons if result.outcome in outcomes)

    @property
    def against(self) -> tuple[GuardResult, ...]:
        return self.saying(GuardOutcome.REFUSE, GuardOutcome.WAIT)

    def is_same_as(self, other: Decision) -> bool:
        """Say whether another decision is the same, by the same guards."""
        # Versions may word their reasons differently, and tell the beginning of an outage more or less exactly.
        worded: dict[str, Any] = {"unhealthy_since": True, "healthy_until": True, "reasons": {"__all__": {"text"}}}
        own, others = (each.model_dump(exclude=worded) for each in (self, other))
        return own | {"left_out": self.left_out.keys()} == others | {"left_out": other.left_out.keys()}


Requester = Literal["outage", "operator"]
State = Literal["ready", "not_ready", "unknown"]


class CopyAge(Document):
    """How old the copy of one analyzer is."""

    analyzer: str
    verified_at: AwareDatetime | None  # when it was last seen to be equal to its source; `None` where it never was
    source_changed: bool | None  # whether the source was changed since; `None` where that is not known


class Restorable(Document):
    """An analyzer that a target lacks and the failover could rebuild there first; `doubt` says why it would differ."""

    analyzer: str
    fidelity: Fidelity
    snapshot: str
    seen_at: AwareDatetime
    doubt: str = ""


class Fitness(Document):
    """The readiness of one target, as far as a decision needs it."""

    state: State
    reasons: tuple[str, ...] = ()
    copies: tuple[CopyAge, ...] = ()
    lacking: tuple[str, ...] = ()  # analyzers that it lacks, where that is the only reason against it; otherwise none
    restorable: tuple[Restorable, ...] = ()  # analyzers that it lacks and the newest snapshot has
    analyzers: int = 0  # how many the plan has; 0 in decisions of earlier versions
    # Why some cannot serve there, by their ids at the primary, also after a restore; none where there is a reason
    # against the target as a whole.
    unusable: Mapping[str, str] = {}
    needs: Mapping[str, tuple[str, ...]] = {}  # analyzers that others need, by who needs them


class Candidate(Document):
    """A resource that could serve next."""

    resource: str
    observation: Observation | None
    fitness: Fitness | None  # `None` where it was not asked for, since the resource does not answer
    outside: str = ""  # why data of the primary must not be kept there; empty where it may, or that is not known


RULES = 3
"""The number of the rules that are decided by now: a recorded decision is replayed by those that it followed.

2: while an outage is not proved, it is waited for, whatever else speaks against a failover; and one that is not
committed does not stand in the way of the next outage.
3: whether what serves answers a planned failover, its own probe says where no look at it counts yet.
"""


class Approval(Document):
    """One person's approval of one failover, as long as nothing else changes what serves."""

    by: str  # as that person, or Prefect, gave the name
    at: AwareDatetime
    until: AwareDatetime
    primary: str
    to: str
    planned: bool
    forced: tuple[str, ...] = ()
    epoch: int  # of the fence when it was given

    @property
    def person(self) -> str:
        """Who counts as one: whatever letters, host or flow run a name comes with; empty where nobody is named."""
        name = unicodedata.normalize("NFKC", self.by).partition("flow run ")[0].partition("@")[0]
        return " ".join(name.rstrip(" ,").split()).casefold()

    def counts(self, epoch: int, now: datetime) -> bool:
        """Say whether it is somebody's, and counts now; the clock of who gave it may be fast."""
        return bool(self.person) and self.epoch == epoch and abs(now - self.at) < self.until - self.at

    def is_of(self, request: FailoverRequest) -> bool:
        own = (self.primary, self.to, self.planned, frozenset(self.forced))
        return own == (request.primary, request.to, bool(request.planned), request.forced)

    def command(self, plan: str) -> str:
        """Give what another person runs to approve the same."""
        options = ["--planned" if self.planned else "--unplanned", *(f"--force {guard}" for guard in self.forced)]
        return " ".join([f"standby failover {plan} --primary {self.primary} --to {self.to}", *options])


class ApprovalsUnreadable(StandbyError):
    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}, with the approvals of failovers, cannot be read: {reason}", f"Remove {where}")


class Approvals(Remembered):
    """Who has approved a failover of a plan that has not begun."""

    place = "recovery/{plan}/approvals.json"

    approvals: tuple[Approval, ...] = ()


async def waiting_approvals(context: RecoveryContext, epoch: int) -> tuple[Approval, ...]:
    """Give the approvals that count now, of whatever failover, and wait for another person's."""
    if context.plan.failover.approvals == 1:
        return ()
    now = context.clock.now()
    stored = await Approvals.read(context.vault, context.plan.name, ApprovalsUnreadable)
    return tuple(each for each in stored.approvals if each.counts(epoch, now))


class DecisionInput(Document):
    """What was asked, what was observed, what is configured and what was done before."""

    plan: str
    primary: str = Field(alias="home")
    run_id: str
    observer: str  # the name under which this run itself probed the resources
    asked_at: AwareDatetime  # now, UTC, by the clock of the run that gathered this
    requested_by: Requester
    planned: bool = False  # what serves now still answers, and a last sync is made from it
    reason: str = ""
    forced: tuple[Guard, ...] = ()
    outage_of: str = ""  # the resource that an outage was reported of; empty where that was not said
    approvals: tuple[Approval, ...] = ()  # where the plan asks for more than one: who approves, each person once
    records_lost: str = ""  # why fence or audit log are missing or out of date; empty where they are
    policy: FailoverPolicy
    automation: Automation
    epoch: int
    assignments: dict[str, Assignment] = Field(alias="sides")
    candidates: tuple[Candidate, ...]  # in the order of preference
    observations: tuple[Observation, ...]  # of the resource that serves now, in any order, by any observer
    rules: int = 1  # that it is decided by; the record of an earlier version has none, and means the first

    @property
    def assignment(self) -> Assignment:
        return self.assignments[self.primary]

    @property
    def own_probe(self) -> Observation | None:
        """The newest probe of the resource that serves by the run that asks; `None` where it did not probe."""
        own = (look for look in self.observations if look.observer == self.observer)
        probes = [look for look in own if look.resource == self.active and look.at <= self.asked_at]
        return max(probes, key=lambda look: look.at, default=None)

    @property
    def active(self) -> str:
        return self.assignment.active


Action = Literal["start", "resume", "roll back"]
"""Start a failover, resume one that was interrupted, or return to what served before one that is not committed."""


@dataclass(frozen=True)
class FailoverRequest:
    """Which resource is to serve for a primary, and why: from the command, or the outage, to the record."""

    to: str = ""  # the resource; empty where the decision chooses by the plan's preference
    primary: str = ""  # for which one; empty until it is known, where only one can be meant
    # The resource that serves now answers, and what it holds is synchronised first. `None`: it must answer, unless an
    # unplanned failover is resumed.
    planned: bool | None = None
    reason: str = ""
    forced: frozenset[str] = frozenset()  # guards to be passed although they refuse, by name
    requested_by: Requester = "operator"
    outage_of: str = ""
    action: Action = "start"
    active: str = ""
    epoch: int | None = None  # of the fence that this was decided by; `None` where the caller holds what it depends on
    phase: Phase | None = None  # of the primary by then: a failover keeps its epoch when it ends
    decision_id: str = ""
    # When the failover was decided or proposed because of an outage, UTC; `None` for an operator.
    detected_at: datetime | None = None
    approved_at: datetime | None = None  # when somebody approved it, UTC; `None` where nobody was asked
    unhealthy_since: datetime | None = None  # the first look that saw the outage, UTC
    healthy_until: datetime | None = None  # the last healthy look before it, UTC; `None` where none is known
    # Why some analyzers are not to serve at the target, by their ids at the primary.
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def guards(self) -> tuple[Guard, ...]:
        """The guards among what is forced; other names are those of the failover itself."""
        return tuple(guard for guard in FORCEABLE if guard in self.forced)
