"""Whether a drill may begin, and what it is going to make."""

from __future__ import annotations

import re

from standby.fencing import Fence, Phase
from standby.recovery.context import RecoveryContext
from standby.recovery.drill.errors import ReallySwitching, ScratchUnfit, ServesAlready, some
from standby.recovery.drill.intent import Intent
from standby.recovery.drill.rehearsal import Rehearsal, connected
from standby.recovery.failover.errors import NoHome, NotASide
from standby.recovery.snapshots.opening import open_snapshot
from standby.recovery.snapshots.restore_plan import plan_restore
from standby.replication.dependencies import PREBUILT

RUN_CHARACTERS = 12
"""Characters of a run id that a prefix has: an id may have 64 in all."""


def must_be_rehearsable(context: RecoveryContext, fence: Fence, home: str, to: str) -> None:
    """Let only a failover be rehearsed that could really be asked for now.

    Raises:
        NoHome: the plan has no such source.
        NotASide: the plan does not have this target.
        ReallySwitching: a real switch is under way.
        ServesAlready: the target serves already.
    """
    plan = context.plan
    known = {name for pair in plan.pairs if pair.source == home for name in (home, *pair.targets)}
    if not known:
        raise NoHome(plan.name, to, plan.targets)
    if to not in known:
        raise NotASide(plan.name, home, to, known)
    for served, side in fence.sides.items():
        if side.phase is Phase.SWITCHING:
            raise ReallySwitching(plan.name, served)
    if fence.sides[home].active == to:
        raise ServesAlready(plan.name, home, to)


async def new_intent(context: RecoveryContext, home: str, to: str, scratch: str | None) -> Intent:
    """Say what a drill is going to make; nothing is made or written yet.

    Raises:
        UnknownName: the configuration has no such scratch resource.
        ScratchUnfit: it is in the way of a plan, or has something of the plan's.
        ServiceError: it does not answer.
    """
    return Intent(
        run_id=context.run_id,
        home=home,
        to=scratch or to,
        scratch=scratch,
        prefix="" if scratch else prefix_of(context.run_id),
        found=await _found(context, scratch) if scratch else frozenset(),
        begun_at=context.clock.now(),
        actor=context.actor,
    )


def prefix_of(run_id: str) -> str:
    """Give what every id that a drill makes begins with."""
    return f"drill-{re.sub('[^a-zA-Z0-9]', '', run_id)[:RUN_CHARACTERS].lower()}-"


async def must_not_clash(rehearsal: Rehearsal, intent: Intent) -> None:
    """Let a scratch resource be used only where it has none of the ids that a rehearsal makes there.

    Raises:
        ScratchUnfit: it has.
        SnapshotError: there is no snapshot, or it cannot be trusted.
        ServiceError: the resource does not answer.
    """
    snapshot = await open_snapshot(rehearsal.context)
    plan = await plan_restore(rehearsal.context, snapshot, intent.to, home=intent.home)
    held = sorted({item.target_analyzer for item in plan.items} & intent.found)
    if held:
        raise ScratchUnfit(intent.to, f"it has {some(held)} already")


async def _found(context: RecoveryContext, scratch: str) -> frozenset[str]:
    context.configuration.resource(scratch)
    for name, plan in context.configuration.plans.items():
        if scratch in plan.resources:
            raise ScratchUnfit(scratch, f"plan {name} uses it")
    async with connected(context, scratch) as connections:
        listed = await connections[scratch].list_analyzers()
    return frozenset(each.analyzer_id for each in listed if not each.analyzer_id.startswith(PREBUILT))
