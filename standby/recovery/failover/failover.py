"""Makes a failover final, and tells every sink once more what serves."""

from __future__ import annotations

from dataclasses import dataclass

from standby.fencing import Fence, HeldFence, Phase, hold_fence, read_fence
from standby.recovery.activation.sinks import SinkResult, tell
from standby.recovery.assignments import NotAPrimary, choose_primary
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, Stage, Stages
from standby.recovery.decision.evaluate import evaluate
from standby.recovery.decision.input import Decision, DecisionInput, Guard, Outcome, Request
from standby.recovery.decision.record import record_decision
from standby.recovery.failover.begin import FailoverOrder, begin, must_have_ended
from standby.recovery.failover.errors import (
    FailbackNeeded,
    FailoverRefused,
    NothingToRollBack,
    OldSideDark,
)
from standby.recovery.failover.executor import Switch, measure, report_of
from standby.recovery.failover.prepare import Preparation, Sync
from standby.recovery.failover.report import CommitReport, FailoverReport, Phases
from standby.recovery.failover.state import (
    SwitchRecord,
    active_map,
    back_from,
    catch_up,
    committed,
    read_record,
)
from standby.recovery.probe import observer_here, probe_resources
from standby.recovery.snapshots.id_mapping import Naming, keep_names
from standby.recovery.sync import synchronise


async def fail_over(
    context: RecoveryContext,
    order: FailoverOrder,
    stages: Stages,
    *,
    sync: Sync | None = None,
    naming: Naming = keep_names,
) -> FailoverReport:
    """Make another resource serve in the place of a source.

    Begins, or goes on where an earlier run was interrupted. Once the plan is fenced nothing is raised any
    more: the report says what was done, which side serves and what to do next. A cancellation ends it early.

    Args:
        context: the plan, its resources, its vault and its sinks.
        order: which side, and why; whoever gives it has decided.
        stages: runs the phases.
        sync: brings the target up to what the source has, where that is planned; by default a replication
            without Prefect.
        naming: of restored analyzers; with a prefix everything is restored under it, for a rehearsal.

    Raises:
        SwitchUnderWay: another run is at a switch of this plan.
        AlreadyActive: the side serves already.
        SwitchUnfinished: another switch of this plan has to end first.
        DecidedBefore: another run has switched the plan since this was decided.
        NotATarget: the plan does not have this target.
        SinkAhead: a sink was told a higher epoch than this vault knows.
        SinkFailed: a sink cannot be read; nothing was done.
        AuditBroken: the audit log cannot be added to; nothing was done.
        VaultUnavailable: the vault does not answer; whether the plan is fenced is not known.
    """
    async with hold_fence(context.vault, context.plan) as held:
        return await _switch(context, held, order, stages, sync or synchronise, naming)


async def roll_back(
    context: RecoveryContext,
    primary: str,
    stages: Stages,
    *,
    reason: str = "",
    forced: frozenset[str] = frozenset(),
    decision_id: str = "",
    epoch: int | None = None,
) -> FailoverReport:
    """Bring back the side that served before a switch that is under way, or not committed.

    Nothing is copied and nothing is restored: it served until the switch.

    Args:
        context: the plan, its resources, its vault and its sinks.
        home: the source whose side it is.
        stages: runs the phases.
        reason: for people.
        forced: guards that are passed all the same.
        decision_id: of the recorded decision that this follows from.
        epoch: of the fence that this was decided by; `None` where that does not matter.

    Raises:
        NothingToRollBack: there is no such switch.
        StandbyError: as `fail_over`.
    """
    async with hold_fence(context.vault, context.plan) as held:
        known = await read_record(context.vault, context.plan.name)
        to = back_from(held.fence, primary, known) if primary in held.fence.assignments else None
        if to is None:
            raise NothingToRollBack(context.plan.name, primary)
        order = FailoverOrder(
            primary=primary,
            to=to,
            planned=False,
            reason=reason,
            forced=forced,
            decision_id=decision_id,
            epoch=epoch,
        )
        return await _switch(context, held, order, stages, synchronise, keep_names, rolling_back=True)


async def _switch(
    context: RecoveryContext,
    held: HeldFence,
    order: FailoverOrder,
    stages: Stages,
    sync: Sync,
    naming: Naming,
    *,
    rolling_back: bool = False,
) -> FailoverReport:
    phases = Phases(stages, context.clock, order.forced)
    record = await phases.run(
        Stage.FENCE, f"fence {context.plan.name}", lambda: begin(context, held, order, rolling_back=rolling_back)
    )
    preparation = Preparation(context, phases, sync, naming)
    switch = Switch(context, held, record, preparation, phases)
    await switch.run()
    await measure(context, switch, phases)
    return report_of(context, held.fence, switch, phases, preparation)


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
    primary: str = ""
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
    given: DecisionInput | None = None
    decision: Decision | None = None


async def order_for(context: RecoveryContext, ask: Ask) -> Ordered:
    """Decide what an operator asks for, and record the decision; nothing is switched yet.

    What was begun is not decided a second time: it is gone on with, or taken back.

    Raises:
        FailoverRefused: a guard refuses; the decision is recorded all the same.
        FailbackNeeded: edits would be lost.
        OldSideDark: the side that a rollback leads to does not answer.
        AlreadyActive: the side serves already.
        RecoveryError: as `choose_primary`.
    """
    fence = await read_fence(context.vault, context.plan)
    record = await read_record(context.vault, context.plan.name)
    primary = choose_primary(context.plan, fence, to=ask.to, named=ask.primary)
    side = fence.assignments[primary]
    if ask.to == back_from(fence, primary, record):
        if _may_be_told(fence, primary, record, ask.to):
            await _must_answer(context, ask)
        order = _as_asked(ask, primary, fence, planned=False)
        going_on = side.phase is Phase.SWITCHING
        return Ordered(order, side.active, rolling_back=True, going_on=going_on)
    if side.phase is Phase.SWITCHING:
        planned = record is not None and record.mode == "planned" if ask.planned is None else ask.planned
        order = _as_asked(ask, primary, fence, planned=planned)
        return Ordered(order, side.active, going_on=True)
    if ask.to == primary and ask.planned is not False:
        raise FailbackNeeded(context.plan.name, primary, side.active)
    return await _decided(context, ask, primary, side.active)


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
            context, order.primary, stages, reason=order.reason, forced=order.forced, epoch=order.epoch
        )
    return await fail_over(context, order, stages, sync=sync)


def _as_asked(ask: Ask, primary: str, fence: Fence, *, planned: bool) -> FailoverOrder:
    return FailoverOrder(primary, ask.to, planned=planned, reason=ask.reason, forced=ask.forced, epoch=fence.epoch)


async def _decided(context: RecoveryContext, ask: Ask, primary: str, active: str) -> Ordered:
    request = Request(
        primary=primary,
        to=ask.to,
        requested_by="operator",
        planned=ask.planned is not False,
        reason=ask.reason,
        forced=ask.forced,
    )
    # An operator waits for nothing: what does not hold now is told now.
    given, decision = await evaluate(context, request, rounds=1)
    decision_id = await record_decision(context, given, decision)
    if decision.outcome is not Outcome.ACT:
        raise FailoverRefused(context.plan.name, ask.to, decision_id, decision)
    order = FailoverOrder(
        primary=primary,
        to=ask.to,
        planned=request.planned,
        reason=ask.reason,
        forced=ask.forced,
        decision_id=decision_id,
        detected_at=decision.detected_at,
        unhealthy_since=decision.unhealthy_since,
        epoch=given.epoch,
    )
    return Ordered(order, active, given=given, decision=decision)


def _may_be_told(fence: Fence, primary: str, record: SwitchRecord | None, to: str) -> bool:
    """Say whether a rollback changes what any sink says; where none was told anything, it does not."""
    if fence.assignments[primary].phase is not Phase.SWITCHING:
        return True
    return record is None or not record.speaks_of(fence) or record.may_tell != (to,)


async def _must_answer(context: RecoveryContext, ask: Ask) -> None:
    if Guard.STANDBY_HEALTH in ask.forced:
        return
    resource = context.configuration.resource(ask.to)
    seen = await probe_resources([resource], observer_here("rollback"), context.clock)
    if not seen[ask.to].healthy:
        raise OldSideDark(context.plan.name, ask.to, seen[ask.to].summary)


async def commit(context: RecoveryContext, primary: str | None = None) -> CommitReport:
    """Make the failovers of a plan final; from then on the way back is a failback.

    Where nothing waits for it, the sinks are told all the same: one that could not be told during the switch
    is brought up to date so.

    Args:
        context: the plan, its vault and its sinks.
        home: only this source's; every one's if left out.

    Raises:
        SwitchUnderWay: another run is at a switch of this plan.
        SwitchUnfinished: a switch was interrupted.
        NotAPrimary: the plan has no such primary.
        VaultUnavailable: the vault does not answer.
    """
    async with hold_fence(context.vault, context.plan) as held:
        fence = held.fence
        if primary is not None and primary not in fence.assignments:
            raise NotAPrimary(fence.plan, primary, fence.assignments)
        record = await read_record(context.vault, fence.plan)
        must_have_ended(fence, record)
        await catch_up(context, fence, record)
        activated = [name for name, each in fence.assignments.items() if each.phase is Phase.ACTIVATED]
        waiting = [name for name in activated if primary in (None, name)]
        for name in waiting:
            active = fence.assignments[name].active
            await record_action(context, AuditAction.COMMITTED, {"home": name, "side": active}, epoch=fence.epoch)
            await held.write(committed(held.fence, name, context.run_id))
        sinks = await _told_again(context, held.fence, record)
    failed = [sink for sink in sinks if sink.status == "failed"]
    return CommitReport(
        plan=fence.plan,
        run_id=context.run_id,
        via=context.via,
        epoch=held.fence.epoch,
        committed={name: held.fence.assignments[name].active for name in waiting},
        serving={name: side.active for name, side in held.fence.assignments.items()},
        sinks=sinks,
        problems=tuple(sink.reason for sink in failed),
        next_action=f"Mend the sink, then run standby commit {fence.plan} again" if failed else "",
    )


async def _told_again(context: RecoveryContext, fence: Fence, record: SwitchRecord | None) -> tuple[SinkResult, ...]:
    # Word for word what the switch told, so that who was told it already sees that it is the same.
    same = record is not None and record.epoch == fence.epoch
    at = record.told_at if record is not None and same and record.told_at else context.clock.now()
    primary = record.primary if record is not None else context.plan.pairs[0].source
    return await tell(context.sinks, active_map(context, fence, record, at), primary)
