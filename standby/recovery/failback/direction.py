"""The plan under which two resources copy, whichever way round the recovery plan has them."""

from __future__ import annotations

from standby.config.failover import FailoverPolicy
from standby.config.plan import RecoveryPlan, RegionPair
from standby.fencing import Fence
from standby.recovery.errors import RecoveryError


class NoPairBetween(RecoveryError):
    """Two resources do not stand in for each other in this plan."""

    def __init__(self, plan: str, source: str, target: str) -> None:
        super().__init__(
            f"In plan {plan}, {source} does not serve what {target} could take over",
            f"See standby status {plan}",
        )
        self.args = (plan, source, target)


def home_between(fence: Fence, plan: RecoveryPlan, source: str, target: str) -> str:
    """Give the source of ordinary times whose analyzers go from one resource to another.

    Args:
        fence: says what serves now.
        plan: the recovery plan.
        source: a resource that serves.
        target: the one that is to.

    Raises:
        NoPairBetween: there is none.
    """
    served = [home for home, side in fence.sides.items() if side.active == source]
    if target in served:
        return target  # The way back goes before a way that only looks like it.
    for home in served:
        if target in targets_of(plan, home):
            return home
    raise NoPairBetween(plan.name, source, target)


def targets_of(plan: RecoveryPlan, home: str) -> tuple[str, ...]:
    """Name the targets of a source, in the plan's order."""
    return tuple(target for pair in plan.pairs if pair.source == home for target in pair.targets)


def plan_between(plan: RecoveryPlan, source: str, target: str) -> RecoveryPlan:
    """Make the plan of copies that the recovery plan has no pair for.

    Its filters are about ids at home, so it has none: what goes is chosen by name. Deployments that stand in
    for others at the standbys say nothing about the target, unless the plan names it, too.
    """
    return plan.model_copy(
        update={
            "pairs": (RegionPair(source=source, targets=(target,)),),
            "include": ("*",),
            "exclude": (),
            "tags": (),
            "base": ("*",),
            "modified_since": None,
            "target_id": "{id}",
            "deployments": {name: chosen for name, chosen in plan.deployments.items() if name == target},
            "failover": FailoverPolicy(),
        }
    )
