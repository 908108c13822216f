"""Everything a decision looks at; nothing else may influence it."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from standby.config.failover import FailoverPolicy
from standby.fencing import Side
from standby.recovery.decision.automation import Automation
from standby.recovery.decision.verdict import Guard
from standby.recovery.snapshots.restore_items import Fidelity
from standby.recovery.watch.observation import Observation

Requester = Literal["outage", "operator"]
State = Literal["ready", "not_ready", "unknown"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class CopyAge(_Part):
    """How old the copy of one analyzer is.

    Attributes:
        verified_at: when it was last seen to be equal to its source; `None` where it never was.
        source_changed: whether the source was changed since; `None` where that cannot be told.
    """

    analyzer: str
    verified_at: AwareDatetime | None
    source_changed: bool | None


class Restorable(_Part):
    """An analyzer that a target lacks, and that the switch could rebuild there first.

    Attributes:
        fidelity: how true it would be to what was lost.
        snapshot: id of the one that has it.
        seen_at: when the snapshot saw it, UTC.
        doubt: why it would not be what it was; empty where nothing says so.
    """

    analyzer: str
    fidelity: Fidelity
    snapshot: str
    seen_at: AwareDatetime
    doubt: str = ""


class Fitness(_Part):
    """What readiness says of one target.

    Attributes:
        reasons: why it is not ready, or not known to be.
        copies: the age of each copy.
        lacking: analyzers that it lacks, where nothing else speaks against it; otherwise none.
        restorable: analyzers that it lacks and the newest snapshot has.
    """

    state: State
    reasons: tuple[str, ...] = ()
    copies: tuple[CopyAge, ...] = ()
    lacking: tuple[str, ...] = ()
    restorable: tuple[Restorable, ...] = ()


class Candidate(_Part):
    """A resource that could serve next.

    Attributes:
        observation: the look at it; `None` where there was none.
        fitness: `None` where it was not asked for, since the resource does not answer.
    """

    resource: str
    observation: Observation | None
    fitness: Fitness | None


class Case(_Part):
    """What is asked, what was seen, what is configured and what was done before.

    Attributes:
        home: the source that serves in ordinary times.
        run_id: of the run that asks.
        observer: the name under which this run itself looked at the resources.
        asked_at: now, UTC, by the clock of whoever gathered this.
        requested_by: an outage that was observed, or an operator.
        planned: the source is to be left in good order, with a last copy.
        reason: in the operator's words.
        forced: guards that the operator opens.
        outage_of: the resource that an outage was told of; empty where that was not said.
        epoch: of the fence.
        sides: every side of the plan, by its home; the fence's own.
        candidates: in the order of preference.
        observations: of the resource that serves now, in any order, by any observer.
    """

    plan: str
    home: str
    run_id: str
    observer: str
    asked_at: AwareDatetime
    requested_by: Requester
    planned: bool = False
    reason: str = ""
    forced: tuple[Guard, ...] = ()
    outage_of: str = ""
    policy: FailoverPolicy
    automation: Automation
    epoch: int
    sides: dict[str, Side]
    candidates: tuple[Candidate, ...]
    observations: tuple[Observation, ...]

    @property
    def side(self) -> Side:
        """The side that is asked about."""
        return self.sides[self.home]

    @property
    def own_look(self) -> Observation | None:
        """The newest look at the resource that serves by the run that asks; `None` where it did not look."""
        own = (look for look in self.observations if look.observer == self.observer)
        looks = [look for look in own if look.resource == self.active and look.at <= self.asked_at]
        return max(looks, key=lambda look: look.at, default=None)

    @property
    def active(self) -> str:
        """The resource that serves now."""
        return self.side.active
