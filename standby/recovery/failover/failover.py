"""The failover of a plan: decide it, carry it out, roll it back and commit it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from standby.config.globs import scope_of
from standby.errors import StandbyError
from standby.fencing import Fence, Phase, hold_fence, read_fence
from standby.recovery.activation.sinks import SinkResult, publish_to_sinks
from standby.recovery.assignments import NotAPrimary, choose_primary, may_serve
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, Stage, Stages
from standby.recovery.decision.input import FailoverRequest, Guard, Outcome
from standby.recovery.decision.record import DecisionRecord, as_decided, decide_and_record
from standby.recovery.failover.begin import begin, must_have_ended, must_share
from standby.recovery.failover.errors import FailbackNeeded, FailoverRefused, NothingToRollBack, RollbackTargetUnhealthy
from standby.recovery.failover.executor import FailoverRun, measure, report_of
from standby.recovery.failover.prepare import Preparation, Sync
from standby.recovery.failover.report import CommitReport, FailoverReport, Phases
from standby.recovery.failover.state import (
    SwitchRecord,
    active_map,
    back_from,
    fence_committed,
    open_record,
    read_record,
    record_missed_end,
)
from standby.recovery.probe import observer_here, probe_resources
from standby.recovery.snapshots.id_mapping import Naming, keep_names
from standby.recovery.sync import synchronise
from standby.text import some_of
from standby.vault.replica import catch_up


async def fail_over(
    context: RecoveryContext,
    request: FailoverRequest,
    stages: Stages,
    *,
    sync: Sync = synchronise,
    naming: Naming = keep_names,
) -> FailoverReport:
    """Make another resource serve for a primary, or roll back to the one that served before.

    Begins, or resumes where an earlier run was interrupted. Once the plan is fenced nothing is raised any
    more: the report says what was done, what serves and what to do next. A cancellation ends it early.
    A rollback copies and restores nothing: the resource that it leads to served until the failover.

    Args:
        sync: brings the target up to what the source has, where the failover is planned.
        naming: of restored analyzers; with a prefix everything is restored under it, for a drill.

    Raises:
        FailoverUnderWay: another run holds the fence of this plan.
        AlreadyActive: the resource serves already.
        NothingToRollBack: there is no failover that could be rolled back.
        FailoverUnfinished: another failover of this plan has to end first.
        DecidedBefore: another run has changed what serves since this was decided.
        ActiveElsewhere: another plan has another resource serve for the same analyzers, and that is not forced.
        NotATarget: the plan does not have this target.
        SinkAhead: a sink has a higher epoch than this vault, and that is not forced.
        SinkFailed: a sink cannot be read, and that is not forced; nothing was done.
        AuditBroken: the audit log cannot be added to; nothing was done.
        FenceBehind: the fence is older than what the run knows.
        VaultUnavailable: the vault does not answer; whether the plan is fenced is not known.
    """
    async with hold_fence(context.vault, context.plan, known=context.run.known_epoch) as held:
        if request.action == "roll back":
            request = await _rollback(context, held.fence, request)
        phases = Phases(stages, context.clock, request.forced)
        file, record = await phases.run(
            Stage.FENCE, f"fence {context.plan.name}", lambda: begin(context, held, request)
        )
        preparation = Preparation(context, phases, sync, held.fence, naming)
        run = FailoverRun(context, held, file, record, preparation, phases)
        await run.run()
        await measure(context, run, phases)
        report = report_of(context, held.fence, run, phases, preparation)
        follow = await _plans_to_follow(context, held.fence, report)
        return report.model_copy(update={"next_action": " ".join(filter(None, (report.next_action, *follow)))})


async def _plans_to_follow(context: RecoveryContext, fence: Fence, report: FailoverReport) -> list[str]:
    """Say which other plans of the configuration still have another resource serve for the same analyzers."""
    scope = fence.assignments[report.primary].scope
    orders = []
    for name, plan in context.configuration.plans.items():
        if scope is None or name == fence.plan or report.state != "activated":
            continue
        shared = scope_of(plan, {}).shared_with(scope)
        if shared and report.to in may_serve(plan, report.primary):
            try:
                other = await read_fence(context.vault, plan)
            except StandbyError:
                continue  # The other plan's own status says so.
            if other.assignments[report.primary].active != report.to:
                orders.append(
                    f"Plan {name} has {some_of(shared, 5)} as well: let it follow with "
                    f"standby failover {name} --to {report.to}."
                )
    return orders


async def _rollback(context: RecoveryContext, fence: Fence, request: FailoverRequest) -> FailoverRequest:
    """Lead a rollback to what served before the failover that the fence knows now."""
    known = await read_record(context.vault, context.plan.name)
    to = back_from(fence, request.primary, known) if request.primary in fence.assignments else None
    if to is None:
        raise NothingToRollBack(context.plan.name, request.primary)
    return replace(request, to=to, planned=False)


async def decide_request(
    context: RecoveryContext, request: FailoverRequest
) -> tuple[FailoverRequest, DecisionRecord | None]:
    """Decide what an operator asks for, and record the decision; nothing is done yet.

    A failover that was begun is not decided a second time: it is resumed, or rolled back.

    Returns:
        The request as it is to be carried out; and the decision, where there was something to decide.

    Raises:
        FailoverRefused: a guard refuses; the decision is recorded all the same.
        FailbackNeeded: edits would be lost.
        RollbackTargetUnhealthy: the resource that a rollback leads to does not answer.
        StandbyError: as `choose_primary`.
    """
    found = context.known.fence if context.known else None
    fence = found or await read_fence(context.vault, context.plan)
    record = await read_record(context.vault, context.plan.name)
    primary = choose_primary(context.plan, fence, to=request.to, named=request.primary)
    assignment = fence.assignments[primary]
    request = replace(request, primary=primary, active=assignment.active, epoch=fence.epoch)
    if request.to == back_from(fence, primary, record):
        if _may_be_published(fence, primary, record, request.to):
            await _must_answer(context, request)
        return replace(request, planned=False, action="roll back"), None
    if assignment.phase is Phase.SWITCHING:
        planned = record is not None and record.mode == "planned" if request.planned is None else request.planned
        return replace(request, planned=planned, action="resume"), None
    if request.to == primary and request.planned is not False:
        raise FailbackNeeded(context.plan.name, primary, assignment.active)
    # An operator waits for nothing: what does not hold now is reported now.
    decided = await decide_and_record(context, replace(request, planned=request.planned is not False), rounds=1)
    if decided.decision.outcome is not Outcome.ACT:
        raise FailoverRefused(context.plan.name, request.to, decided.id, decided.decision)
    return as_decided(request, decided), decided


def _may_be_published(fence: Fence, primary: str, record: SwitchRecord | None, to: str) -> bool:
    """Say whether a rollback changes what any sink holds; where nothing was published, it does not."""
    if fence.assignments[primary].phase is not Phase.SWITCHING:
        return True
    return record is None or not record.is_of(fence) or record.may_name != (to,)


async def _must_answer(context: RecoveryContext, request: FailoverRequest) -> None:
    if Guard.STANDBY_HEALTH in request.forced:
        return
    resource = context.configuration.resource(request.to)
    seen = await probe_resources([resource], observer_here("rollback"), context.clock)
    if not seen[request.to].healthy:
        raise RollbackTargetUnhealthy(context.plan.name, request.to, seen[request.to].summary)


REPLICA_SECONDS = 30.0
"""Seconds in which a commit brings up the replica of the vault."""


async def what_to_commit(context: RecoveryContext, primary: str | None = None) -> tuple[Fence, tuple[str, ...]]:
    """Give the fence, and the primaries whose failover waits for a commit.

    Raises:
        NotAPrimary: the plan has no such primary.
        FailoverUnfinished: a failover was interrupted.
    """
    fence = await read_fence(context.vault, context.plan)
    return fence, _waiting(fence, await read_record(context.vault, fence.plan), primary)


def _waiting(fence: Fence, record: SwitchRecord | None, primary: str | None) -> tuple[str, ...]:
    if primary is not None and primary not in fence.assignments:
        raise NotAPrimary(fence.plan, primary, fence.assignments)
    must_have_ended(fence, record)
    activated = (name for name, each in fence.assignments.items() if each.phase is Phase.ACTIVATED)
    return tuple(name for name in activated if primary in (None, name))


async def commit(context: RecoveryContext, primary: str | None = None) -> CommitReport:
    """Commit the failovers of a plan; from then on only a failback returns to the primary.

    The active map is published again in any case, so that a sink gets it which did not take it before.

    Raises:
        FailoverUnderWay: another run holds the fence of this plan.
        FailoverUnfinished: a failover was interrupted.
        ActiveElsewhere: it would publish the primary for what serves elsewhere in another plan.
        NotAPrimary: the plan has no such primary.
        VaultUnavailable: the vault does not answer.
    """
    async with hold_fence(context.vault, context.plan, known=context.run.known_epoch) as held:
        fence = held.fence
        file = await open_record(context.vault, fence.plan)
        record = file.found
        waiting = _waiting(fence, record, primary)
        await record_missed_end(context, fence, file)
        await _must_be_shared_at_home(context, fence, record, but=waiting)
        for name in waiting:
            active = fence.assignments[name].active
            facts = {"home": name, "side": active}
            line = await record_action(context, AuditAction.COMMITTED, facts, epoch=fence.epoch)
            await held.write(fence_committed(held.fence, name, context.run_id, line.mark))
        if not held.is_stored:
            # From here on sinks have the map: without a fence the vault would look like a lost one.
            await held.write(held.fence)
        sinks = await _published_again(context, held.fence, record)
    replica = await catch_up(context.vault, REPLICA_SECONDS)
    failed = [sink for sink in sinks if sink.status == "failed"]
    return CommitReport(
        plan=fence.plan,
        run_id=context.run_id,
        via=context.via,
        epoch=held.fence.epoch,
        committed={name: held.fence.assignments[name].active for name in waiting},
        serving={name: each.active for name, each in held.fence.assignments.items()},
        sinks=sinks,
        problems=tuple(sink.reason for sink in failed),
        next_action=f"Fix the sink, then run standby commit {fence.plan} again" if failed else "",
        replica=replica,
    )


async def _must_be_shared_at_home(
    context: RecoveryContext, fence: Fence, record: SwitchRecord | None, *, but: Collection[str]
) -> None:
    """Publish no primary for what serves elsewhere in another plan; what ends now was decided with that in view."""
    for primary, assignment in fence.assignments.items():
        if assignment.active == primary and primary not in but:
            names = record.names.get(primary, {}) if record is not None else {}
            copies = {resource: ids for resource, ids in names.items() if resource != primary}
            await must_share(context, primary, primary, copies)


async def _published_again(
    context: RecoveryContext, fence: Fence, record: SwitchRecord | None
) -> tuple[SinkResult, ...]:
    # Word for word what the failover published, so that a sink which has it already sees that it is the same.
    same = record is not None and record.epoch == fence.epoch
    at = record.published_at if record is not None and same and record.published_at else context.clock.now()
    primary = record.primary if record is not None else context.plan.pairs[0].source
    return await publish_to_sinks(context.sinks, active_map(context, fence, record, at), primary)
