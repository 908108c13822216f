"""Switches a plan over to another side, and back to the one before."""

from __future__ import annotations

from standby.fencing import HeldFence, hold_fence
from standby.recovery.context import RecoveryContext
from standby.recovery.failover.beginning import begin
from standby.recovery.failover.errors import NothingToRollBack
from standby.recovery.failover.order import FailoverOrder
from standby.recovery.failover.phases import Phases
from standby.recovery.failover.preparing import Preparation, Sync
from standby.recovery.failover.record import read_record
from standby.recovery.failover.report import FailoverReport
from standby.recovery.failover.reporting import measure, report_of
from standby.recovery.failover.sides import back_from
from standby.recovery.failover.switch import Switch
from standby.recovery.snapshots.naming import Naming, keep_names
from standby.recovery.stages import Stages
from standby.recovery.synchronise import synchronise


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
        NotASide: the plan does not have this target.
        SinkAhead: a sink was told a higher epoch than this vault knows.
        SinkFailed: a sink cannot be read; nothing was done.
        AuditBroken: the audit log cannot be added to; nothing was done.
        VaultUnavailable: the vault does not answer; whether the plan is fenced is not known.
    """
    async with hold_fence(context.vault, context.plan) as held:
        return await _switch(context, held, order, stages, sync or synchronise, naming)


async def roll_back(
    context: RecoveryContext,
    home: str,
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
        to = back_from(held.fence, home, known) if home in held.fence.sides else None
        if to is None:
            raise NothingToRollBack(context.plan.name, home)
        order = FailoverOrder(
            home=home,
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
        f"fence {context.plan.name}", lambda: begin(context, held, order, rolling_back=rolling_back)
    )
    preparation = Preparation(context, phases, sync, naming)
    switch = Switch(context, held, record, preparation, phases)
    await switch.run()
    await measure(context, switch, phases)
    return report_of(context, held.fence, switch, phases, preparation)
