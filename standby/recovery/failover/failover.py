"""The failover of a plan: decide it, carry it out, roll it back and commit it."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from standby.concurrency import despite_cancellation
from standby.config.durations import format_duration
from standby.errors import GuardRefused, StandbyError
from standby.fencing import Fence, Phase, hold_fence, read_fence
from standby.recovery.activation.seen import SinkRecord, see_sinks
from standby.recovery.activation.sinks import (
    Activation,
    ActivationSink,
    DeferredSink,
    Outcomes,
    SinkAhead,
    SinkResult,
    failed_at,
    publish_to_sinks,
)
from standby.recovery.assignments import NotAPrimary, choose_primary
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, Stage, Stages, allowing
from standby.recovery.decision.input import FailoverRequest, Guard, Outcome
from standby.recovery.decision.record import DecisionRecord, as_decided, decide_and_record
from standby.recovery.failover import errors, state
from standby.recovery.failover.begin import begin, must_have_ended, must_share, plans_to_follow
from standby.recovery.failover.executor import FailoverRun, by_samples, measure, report_of
from standby.recovery.failover.prepare import Preparation, Sync, add_what_is_back, what_is_back
from standby.recovery.failover.report import CommitReport, FailoverReport, Phases
from standby.recovery.probe import observer_here, probe_resources
from standby.recovery.proof.records import add_proofs
from standby.recovery.snapshots.id_mapping import Naming, keep_names
from standby.recovery.snapshots.restore import RestoreReport
from standby.recovery.sync import synchronise
from standby.recovery.witnesses import look
from standby.replication.items import Status
from standby.vault.errors import VaultError
from standby.vault.replica import catch_up

log = logging.getLogger("standby.recovery")


async def fail_over(
    context: RecoveryContext,
    request: FailoverRequest,
    stages: Stages,
    *,
    sync: Sync = synchronise,  # brings the target up to what the source has, where the failover is planned
    naming: Naming = keep_names,  # of restored analyzers; with a prefix everything is restored under it, for a drill
) -> FailoverReport:
    """Make another resource serve for a primary, or roll back to the one that served before.

    Begins, or resumes where an earlier run was interrupted. Once the plan is fenced nothing is raised any
    more: the report says what was done, what serves and what to do next. A cancellation ends it early.
    A rollback copies and restores nothing: the resource that it leads to served until the failover.

    Raises:
        SinkFailed: a sink cannot be read, and that is not forced; nothing was done.
        AuditBroken: the audit log cannot be added to; nothing was done.
        VaultUnavailable: the vault does not answer; whether the plan is fenced is not known.
        StandbyError: something else stands in its way, as that error says; nothing was done.
    """
    report: FailoverReport | None = None
    try:
        async with hold_fence(context.vault, context.plan, known=context.run.known_epoch) as held:
            if request.action == "roll back":
                known = await state.read_record(context.vault, context.plan.name)
                # It leads to what served before the failover that the fence knows now.
                is_known = request.primary in held.fence.assignments
                back = state.back_from(held.fence, request.primary, known) if is_known else None
                if back is None:
                    raise errors.NothingToRollBack(context.plan.name, request.primary)
                request = replace(request, to=back, planned=False)
            phases = Phases(stages, context.clock, request.forced)
            name = f"fence {context.plan.name}"
            file, record = await phases.run(Stage.FENCE, name, lambda: begin(context, held, request))
            if Guard.RESIDENCY in record.forced:
                context = allowing(context, record.to)
            preparation = Preparation(context, phases, sync, held.fence, naming)
            run = FailoverRun(context, held, file, record, preparation, phases)
            await run.run()
            # From here on only what was done is said, and that must not be lost.
            report = await despite_cancellation(_reported(run))
    except asyncio.CancelledError:
        if report is None:
            raise
    return report


async def _reported(run: FailoverRun) -> FailoverReport:
    context, fence = run.context, run.held.fence
    known = await _remembered(context, run.outcomes)
    await measure(run)
    seen = () if run.ended else await state.views_of_sinks(context, fence, run.record, known)
    report = report_of(run, seen)
    follow = await plans_to_follow(context, fence, report)
    return report.model_copy(update={"next_action": " ".join(filter(None, (report.next_action, *follow)))})


async def decide_request(
    context: RecoveryContext, request: FailoverRequest
) -> tuple[FailoverRequest, DecisionRecord | None]:
    """Decide what an operator asks for, and record the decision; nothing is done yet.

    A failover that was begun is not decided a second time: it is resumed, or rolled back. Gives the request as it is to
    be carried out; and the decision, where there was something to decide.
    """
    found = context.known.fence if context.known else None
    fence = found or await read_fence(context.vault, context.plan)
    record = await state.read_record(context.vault, context.plan.name)
    primary = choose_primary(context.plan, fence, to=request.to, named=request.primary)
    assignment = fence.assignments[primary]
    request = replace(request, primary=primary, active=assignment.active, epoch=fence.epoch, phase=assignment.phase)
    if request.to == state.back_from(fence, primary, record):
        is_begun = assignment.phase is Phase.SWITCHING and record is not None and record.is_of(fence)
        # Where nothing was published, a rollback changes what no sink holds.
        if not (is_begun and record is not None and record.may_name == (request.to,)):
            await _must_answer(context, request)
        return replace(request, planned=False, action="roll back"), None
    if assignment.phase is Phase.SWITCHING:
        planned = record is not None and record.mode == "planned" if request.planned is None else request.planned
        return replace(request, planned=planned, action="resume"), None
    if request.to == primary and request.planned is not False:
        raise errors.FailbackNeeded(context.plan.name, primary, assignment.active)
    # An operator waits for nothing: what does not hold now is reported now.
    decided = await decide_and_record(context, replace(request, planned=request.planned is not False), rounds=1)
    if {result.guard for result in decided.decision.against} == {Guard.APPROVALS}:
        within = format_duration(context.plan.failover.approval_timeout)
        asked = as_decided(request, decided)
        raise errors.ApprovalNeeded(context.plan.name, asked, decided.id, decided.decision, within)
    if decided.decision.outcome is not Outcome.ACT:
        raise errors.FailoverRefused(context.plan.name, request.to, decided.id, decided.decision)
    return as_decided(request, decided), decided


async def _must_answer(context: RecoveryContext, request: FailoverRequest) -> None:
    if Guard.STANDBY_HEALTH in request.forced:
        return
    resource = context.configuration.resource(request.to)
    seen = await probe_resources([resource], observer_here("rollback"), context.clock)
    if not seen[request.to].healthy:
        raise errors.RollbackTargetUnhealthy(context.plan.name, request.to, seen[request.to].summary)


BEHIND_SECONDS = 10.0  # Seconds that each sink has to take a map which it missed
REPLICA_SECONDS = 30.0  # Seconds in which a commit brings up the replica of the vault


async def what_to_commit(context: RecoveryContext, primary: str | None = None) -> tuple[Fence, tuple[str, ...]]:
    fence = await read_fence(context.vault, context.plan)
    return fence, _waiting(fence, await state.read_record(context.vault, fence.plan), primary)


def _waiting(fence: Fence, record: state.SwitchRecord | None, primary: str | None) -> tuple[str, ...]:
    if primary is not None and primary not in fence.assignments:
        raise NotAPrimary(fence.plan, primary, fence.assignments)
    must_have_ended(fence, record)
    activated = (name for name, each in fence.assignments.items() if each.phase is Phase.ACTIVATED)
    return tuple(name for name in activated if primary in (None, name))


async def commit(context: RecoveryContext, primary: str | None = None) -> CommitReport:
    """Commit the failovers of a plan; from then on only a failback returns to the primary."""
    # The active map is published again in any case, so that a sink gets it which did not take it before.
    async with hold_fence(context.vault, context.plan, known=context.run.known_epoch) as held:
        fence = held.fence
        file = await state.open_record(context.vault, fence.plan)
        record = file.found
        waiting = _waiting(fence, record, primary)
        await state.record_missed_end(context, fence, file)
        await _must_be_shared_at_home(context, fence, record, but=waiting)
        record, added = await add_what_is_back(context, held, file, await what_is_back(context, fence, record))
        for name in waiting:
            active = fence.assignments[name].active
            facts = {"home": name, "side": active}
            line = await record_action(context, AuditAction.COMMITTED, facts, epoch=held.fence.epoch)
            await held.write(state.fence_committed(held.fence, name, context.run_id, line.mark))
        if held.found is None:
            # From here on sinks have the map: without a fence the vault would look like a lost one.
            await held.write(held.fence)
        wanted = state.current_map(context, held.fence, record)
        sinks = await _published(context, context.sinks, wanted, record)
    replica = await catch_up(context.vault, REPLICA_SECONDS)
    failed = [sink for sink in sinks if sink.status == "failed"]
    again = f"Fix the sink, then run standby commit {fence.plan} again; a running watch does this as well"
    return CommitReport(
        **context.of_run,
        epoch=held.fence.epoch,
        committed={name: held.fence.assignments[name].active for name in waiting},
        serving=held.fence.serving,
        sinks=sinks,
        added=added,
        missing={name: each.missing for name, each in held.fence.assignments.items() if each.missing},
        problems=tuple(sink.reason for sink in failed),
        next_action=again if failed else "",
        replica=replica,
    )


async def complete(context: RecoveryContext) -> tuple[str, ...]:
    """Add to the active map what was left out of it and works by now where it is served, and publish that.

    Nothing is done while a failover has not ended. It takes one call to the vault where nothing is left out. The fence
    is not held while the resource is looked at: no failover waits for that. Gives ids at the primaries of what was
    added. A sink that did not take the map is behind: `publish_behind`.
    """
    record = await state.read_record(context.vault, context.plan.name)
    if record is None or not any(out for places in record.missing.values() for out in places.values()):
        return ()
    fence = await read_fence(context.vault, context.plan)
    back = {} if fence.is_under_way else await what_is_back(context, fence, record)
    if not back:
        return ()
    async with hold_fence(context.vault, context.plan, known=context.run.known_epoch) as held:
        file = await state.open_record(context.vault, context.plan.name)
        if held.fence.epoch != fence.epoch:
            return ()  # Another run was faster.
        await state.record_missed_end(context, held.fence, file)
        record, added = await add_what_is_back(context, held, file, back)
        if added:
            await _published(context, context.sinks, state.current_map(context, held.fence, record), record)
    return added


async def completed(context: RecoveryContext, report: RestoreReport) -> RestoreReport:
    """Let the active map have again what a restore rebuilt where it is left out, and prove what it built."""
    try:
        added = () if report.interrupted else await complete(context)
    except StandbyError as error:
        again = f"standby commit {report.plan}"
        problem = f"What is usable again is not in the active map yet: {error.cause}. {again} adds it, and commits"
        report = report.model_copy(update={"problems": (*report.problems, problem)})
    else:
        report = report.model_copy(update={"added": added})
    return report if report.interrupted else await _proved(context, report)


async def _proved(context: RecoveryContext, report: RestoreReport) -> RestoreReport:
    """Say how what a restore built answers samples, by the baselines: its fidelity, seen afterwards."""
    samples, found = context.plan.samples, report
    if samples is None:
        return report
    built = [item for item in report.items if item.status is Status.SUCCEEDED]
    for primary in sorted({item.primary for item in built}):
        called = {item.analyzer: item.target_analyzer for item in built if item.primary == primary}
        seconds = samples.deadline.total_seconds()
        try:
            about = (context, primary, report.to, called)
            proofs, wrong = await by_samples(*about, seconds=seconds, samples=samples.each)
            await add_proofs(context.vault, context.plan.name, proofs)
        except VaultError as error:
            wrong = (*wrong, f"What samples showed could not be kept for standby status: {error}")
        except asyncio.CancelledError:
            return found.model_copy(update={"interrupted": True})
        more = {"proofs": (*found.proofs, *proofs), "problems": (*found.problems, *wrong)}
        found = found.model_copy(update=more)
    return found


async def _must_be_shared_at_home(
    context: RecoveryContext, fence: Fence, record: state.SwitchRecord | None, *, but: Collection[str]
) -> None:
    """Publish no primary for what serves elsewhere in another plan; what ends now was decided with that in view."""
    for primary, assignment in fence.assignments.items():
        if assignment.active == primary and primary not in but:
            names = record.names.get(primary, {}) if record is not None else {}
            copies = {resource: ids for resource, ids in names.items() if resource != primary}
            await must_share(context, primary, primary, copies)


async def _published(
    context: RecoveryContext,
    sinks: Sequence[ActivationSink],
    wanted: Activation,
    record: state.SwitchRecord | None,
    *,
    patience: float | None = None,
) -> tuple[SinkResult, ...]:
    """Publish the current map to some sinks, and keep what they took."""
    primary = record.primary if record is not None else context.plan.pairs[0].source
    outcomes = Outcomes()
    try:
        return await publish_to_sinks(sinks, wanted, primary, into=outcomes, patience=patience)
    finally:
        await despite_cancellation(_remembered(context, outcomes))


async def _remembered(context: RecoveryContext, outcomes: Outcomes) -> SinkRecord:
    """Keep what the sinks took; where that fails, the map is published to them once more than needed."""
    try:
        if outcomes.taken or outcomes.missed:
            return await SinkRecord.change(context.vault, context.plan.name, lambda known: known.after(outcomes))
        return await state.recorded_sinks(context)
    except VaultError as error:
        log.warning("The answers of the sinks could not be recorded: %s", error)
        return SinkRecord().after(outcomes)


async def publish_behind(context: RecoveryContext) -> tuple[SinkResult, ...]:
    """Publish the current map to each sink that does not hold it, as a watch does again and again.

    Nothing is done while a failover is under way, where the fence or the audit log was lost, and before a plan has a
    fence. It does not hold the fence, since a failover must not wait for it: a sink refuses a map that is older than
    what it has. It takes three calls to the vault where nothing is behind, and one less where all sinks can be read.
    Gives the result for each sink that did not hold the map; one that has a higher epoch is left alone.
    """
    fence, record, known = await state.sink_records(context)
    if fence is None or fence.is_under_way or fence.epoch < context.run.known_epoch:
        return ()
    wanted = state.current_map(context, fence, record)
    views = await see_sinks(context.sinks, context.plan.name, wanted, known)
    # Prefect's variables are read and published to in flows alone.
    published = [each for each in zip(context.sinks, views, strict=True) if not isinstance(each[0], DeferredSink)]
    behind = [(sink, view) for sink, view in published if not view.current]
    if not behind:
        return ()
    higher = [(sink, view.epoch) for sink, view in behind if view.is_ahead(fence.epoch)]
    ahead = [failed_at(sink, SinkAhead(sink.name, epoch, fence.epoch)) for sink, epoch in higher]
    if (await look(context)).problem:
        return tuple(ahead)
    left = [sink for sink, view in behind if not view.is_ahead(fence.epoch)]
    activated = [name for name, each in fence.assignments.items() if each.phase is Phase.ACTIVATED]
    try:
        await _must_be_shared_at_home(context, fence, record, but=activated)
    except GuardRefused as error:
        return (*ahead, *(failed_at(sink, error) for sink in left))
    return (*ahead, *await _published(context, left, wanted, record, patience=BEHIND_SECONDS))
