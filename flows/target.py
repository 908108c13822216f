"""In the place of which source which resource is to serve, where not all of that is said."""

from __future__ import annotations

from standby.fencing import read_fence
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.request import Request, candidates
from standby.recovery.failover.errors import AlreadyActive, NotASide
from standby.recovery.failover.ordering import Ask, choose_home


async def chosen(context: RecoveryContext, to: str, home: str = "") -> tuple[str, str]:
    """Give the source and the target; a target that is not named is the one that an outage would choose.

    Args:
        context: of the recovery.
        to: the target, or nothing.
        home: the source, or nothing.

    Raises:
        AlreadyActive: every target serves already.
        SeveralHomes: a target that was named could serve for several sources.
        NoHome: the plan has no such target.
        NotASide: the plan has no such pair.
    """
    fence = await read_fence(context.vault, context.plan)
    if to:
        return choose_home(context.plan, fence, Ask(to, home)), to
    if home and home not in fence.sides:
        raise NotASide(context.plan.name, home, home, fence.sides)
    homes = [home] if home else list(fence.sides)
    for name in homes:
        active = fence.sides[name].active
        others = candidates(context.plan, Request(home=name), active)
        if others:
            return name, others[0]
    raise AlreadyActive(context.plan.name, homes[0], fence.sides[homes[0]].active)
