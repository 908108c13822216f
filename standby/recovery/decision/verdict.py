"""What a decision says: each guard's verdict with its numbers, and what follows from all of them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Guard(StrEnum):
    """What stands between an outage and a failover, in the order in which it is told."""

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


NEVER_FORCED = frozenset({Guard.ALREADY_ACTIVE, Guard.ONE_AT_A_TIME, Guard.SOURCE_ANSWERS})
"""Guards that no force opens: behind them two sides would be active, or nothing could be done."""

FORCEABLE = tuple(guard for guard in Guard if guard not in NEVER_FORCED)


class Verdict(StrEnum):
    """What one guard says."""

    PASS = "pass"  # noqa: S105 - no password
    WAIT = "wait"
    REFUSE = "refuse"
    FORCED = "forced"


class Outcome(StrEnum):
    """What a decision comes to."""

    ACT = "act"
    WAIT = "wait"
    REFUSE = "refuse"


class GuardResult(BaseModel):
    """What one guard says, and why.

    Attributes:
        text: the reason with its numbers, as a sentence without its full stop.
    """

    model_config = ConfigDict(frozen=True)

    guard: Guard
    verdict: Verdict
    text: str


def says(guard: Guard, verdict: Verdict, text: str) -> GuardResult:
    """Make what a guard says."""
    return GuardResult(guard=guard, verdict=verdict, text=text)


class Decision(BaseModel):
    """What follows from a case.

    Attributes:
        outcome: act; wait, which may change by itself; or refuse, which somebody has to change.
        needs_approval: the plan does not let an outage switch it by itself: act means propose.
        to: the target that was judged; `None` where there is none.
        reasons: every guard that was asked, in order.
        detected_at: when the evidence was complete, UTC; `None` where it is not, or was not asked for.
        unhealthy_since: the first unhealthy observation of those that count, UTC; `None` where there is none.
    """

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    needs_approval: bool
    to: str | None
    reasons: tuple[GuardResult, ...]
    detected_at: datetime | None
    unhealthy_since: datetime | None

    def saying(self, *verdicts: Verdict) -> tuple[GuardResult, ...]:
        """Give the guards that say one of these."""
        return tuple(result for result in self.reasons if result.verdict in verdicts)
