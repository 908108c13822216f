"""From what an operator asks to an order: begin a switch, go on with one, or roll one back."""

from __future__ import annotations

from dataclasses import dataclass

from standby.config.plan import RecoveryPlan
from standby.fencing import Fence, Phase, read_fence
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.case import Case
from standby.recovery.decision.evaluating import evaluate
from standby.recovery.decision.record import record_decision
from standby.recovery.decision.request import Request
from standby.recovery.decision.verdict import Decision, Guard, Outcome
from standby.recovery.failover.errors import (
    AlreadyActive,
    FailbackNeeded,
    FailoverRefused,
    NoHome,
    NotASide,
    OldSideDark,
    SeveralHomes,
)
from standby.recovery.failover.order import FailoverOrder
from standby.recovery.failover.preparing import Sync
from standby.recovery.failover.record import SwitchRecord, read_record
from standby.recovery.failover.report import FailoverReport
from standby.recovery.failover.sides import back_from
from standby.recovery.failover.switching import fail_over, roll_back
from standby.recovery.stages import Stages
from standby.recovery.watch.probe import look_at, observer_here


@dataclass(frozen=True)
class Ask:
    """What an operator asks for.

    Attributes:
        to: the resource that is to serve.
        home: in the place of which source; empty where there is only one.
        planned: whether the side that serves now is to be left in good order; `None`: it must, or ask again.
        reason: for people.
        forced: guards to pass all the same, by name.
    """

    to: str
    home: str = ""
    planned: bool | None = None
    reason: str = ""
    forced: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Ordered:
    """What is to be done.

    Attributes:
        active: what serves now.
        rolling_back: it leads back to the side before a switch that is not final.
        going_on: it takes up a switch that was interrupted.
        case: what was decided upon; `None` where there was nothing to decide.
        decision: likewise.
    """

    order: FailoverOrder
    active: str
    rolling_back: bool = False
    going_on: bool = False
    case: Case | None = None
    decision: Decision | None = None


async def order_for(context: RecoveryContext, ask: Ask) -> Ordered:
    """Decide what an operator asks for, and record the decision; nothing is switched yet.

    What was begun is not decided a second time: it is gone on with, or taken back.

    Raises:
        FailoverRefused: a guard refuses; the decision is recorded all the same.
        FailbackNeeded: edits would be lost.
        OldSideDark: the side that a rollback leads to does not answer.
        AlreadyActive: the side serves already.
        SeveralHomes: it is not clear in whose place.
        NoHome: the plan has no such target.
        NotASide: the plan has no such pair.
    """
    fence = await read_fence(context.vault, context.plan)
    record = await read_record(context.vault, context.plan.name)
    home = choose_home(context.plan, fence, ask)
    side = fence.sides[home]
    if ask.to == back_from(fence, home, record):
        if _may_be_told(fence, home, record, ask.to):
            await _must_answer(context, ask)
        order = _as_asked(ask, home, fence, planned=False)
        going_on = side.phase is Phase.SWITCHING
        return Ordered(order, side.active, rolling_back=True, going_on=going_on)
    if side.phase is Phase.SWITCHING:
        planned = record is not None and record.mode == "planned" if ask.planned is None else ask.planned
        order = _as_asked(ask, home, fence, planned=planned)
        return Ordered(order, side.active, going_on=True)
    if ask.to == home and ask.planned is not False:
        raise FailbackNeeded(context.plan.name, home, side.active)
    return await _decided(context, ask, home, side.active)


async def carry_out(
    context: RecoveryContext, ordered: Ordered, stages: Stages, *, sync: Sync | None = None
) -> FailoverReport:
    """Do what was ordered.

    Raises:
        StandbyError: as `fail_over` and `roll_back`.
    """
    order = ordered.order
    if ordered.rolling_back:
        return await roll_back(
            context, order.home, stages, reason=order.reason, forced=order.forced, epoch=order.epoch
        )
    return await fail_over(context, order, stages, sync=sync)


def choose_home(plan: RecoveryPlan, fence: Fence, ask: Ask) -> str:
    """Give the source in whose place a resource is to serve.

    Raises:
        AlreadyActive: there is one, and the resource serves for it.
        SeveralHomes: there are several.
        NoHome: there is none.
        NotASide: the one that was named has no such target.
    """
    able = [
        pair.source
        for pair in plan.pairs
        if ask.to in (pair.source, *pair.targets) and pair.source in fence.sides
    ]
    able = list(dict.fromkeys(able))
    if ask.home:
        if ask.home not in able:
            targets = {target for pair in plan.pairs if pair.source == ask.home for target in pair.targets}
            raise NotASide(plan.name, ask.home, ask.to, targets or {pair.source for pair in plan.pairs})
        return ask.home
    if not able:
        raise NoHome(plan.name, ask.to, plan.targets)
    sides = fence.sides
    left = [home for home in able if sides[home].active != ask.to or sides[home].phase is Phase.SWITCHING]
    if not left:
        raise AlreadyActive(plan.name, able[0], ask.to)
    if len(left) > 1:
        raise SeveralHomes(plan.name, ask.to, left)
    return left[0]


def _as_asked(ask: Ask, home: str, fence: Fence, *, planned: bool) -> FailoverOrder:
    return FailoverOrder(
        home, ask.to, planned=planned, reason=ask.reason, forced=ask.forced, epoch=fence.epoch
    )


async def _decided(context: RecoveryContext, ask: Ask, home: str, active: str) -> Ordered:
    request = Request(
        home=home,
        to=ask.to,
        requested_by="operator",
        planned=ask.planned is not False,
        reason=ask.reason,
        forced=ask.forced,
    )
    # An operator waits for nothing: what does not hold now is told now.
    case, decision = await evaluate(context, request, rounds=1)
    decision_id = await record_decision(context, case, decision)
    if decision.outcome is not Outcome.ACT:
        raise FailoverRefused(context.plan.name, ask.to, decision_id, decision)
    order = FailoverOrder(
        home=home,
        to=ask.to,
        planned=request.planned,
        reason=ask.reason,
        forced=ask.forced,
        decision_id=decision_id,
        detected_at=decision.detected_at,
        unhealthy_since=decision.unhealthy_since,
        epoch=case.epoch,
    )
    return Ordered(order, active, case=case, decision=decision)


def _may_be_told(fence: Fence, home: str, record: SwitchRecord | None, to: str) -> bool:
    """Say whether a rollback changes what any sink says; where none was told anything, it does not."""
    if fence.sides[home].phase is not Phase.SWITCHING:
        return True
    return record is None or not record.speaks_of(fence) or record.may_tell != (to,)


async def _must_answer(context: RecoveryContext, ask: Ask) -> None:
    if Guard.STANDBY_HEALTH in ask.forced:
        return
    resource = context.configuration.resource(ask.to)
    seen = await look_at([resource], observer_here("rollback"), context.clock)
    if not seen[ask.to].healthy:
        raise OldSideDark(context.plan.name, ask.to, seen[ask.to].summary)
