"""What is asked of a decision, by an outage or by an operator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from standby.config.plan import RecoveryPlan
from standby.recovery.decision.case import Requester
from standby.recovery.decision.verdict import FORCEABLE, Guard


@dataclass(frozen=True)
class Request:
    """Who wants which side switched over.

    Attributes:
        home: the source that serves in ordinary times.
        to: the target; empty where the decision chooses by the plan's preference.
        planned: the source is to be left in good order, so it must answer.
        reason: for people.
        forced: guards to be passed all the same; names that are none are somebody else's.
        outage_of: the resource that the outage was told of; empty where that was not said.
    """

    home: str
    to: str = ""
    requested_by: Requester = "outage"
    planned: bool = False
    reason: str = ""
    forced: Iterable[str] = ()
    outage_of: str = ""

    @property
    def guards(self) -> tuple[Guard, ...]:
        """The guards among what is forced."""
        return tuple(guard for guard in FORCEABLE if guard in set(self.forced))


def candidates(plan: RecoveryPlan, request: Request, active: str) -> tuple[str, ...]:
    """Name the resources that could serve next, in the order of preference.

    Where nobody says which, these are the targets that copies of this source go to: its home is none of them,
    since what was edited since would have to be brought back there first.

    Args:
        plan: its pairs and its preference.
        request: may name one.
        active: the resource that serves now.
    """
    if request.to:
        return (request.to,)
    targets = [target for pair in plan.pairs if pair.source == request.home for target in pair.targets]
    preferred = [target for target in plan.failover.prefer if target in targets]
    return tuple(name for name in dict.fromkeys([*preferred, *targets]) if name != active)
