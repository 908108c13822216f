"""Whether a failover may begin, be resumed or be rolled back, and the record it begins with."""

from collections.abc import Collection, Mapping

from standby.config.globs import scope_of
from standby.errors import StandbyError
from standby.fencing import Assignment, Fence, HeldFence, Phase, hold_fence, read_fence
from standby.recovery.activation.sinks import SinkAhead, SinkFailed, read_back
from standby.recovery.assignments import AlreadyActive, may_serve, must_be_able_to_serve
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.evaluate import approvals_of
from standby.recovery.decision.input import FailoverRequest, Guard
from standby.recovery.failover import state
from standby.recovery.failover.errors import DecidedBefore, FailoverUnfinished, NotApproved, NothingToRollBack
from standby.recovery.failover.report import FailoverReport, Mode
from standby.recovery.failover.state import SwitchRecord
from standby.text import some_of
from standby.vault.documents import HeldDocument

SINKS = "sinks"  # Continue without a sink that does not answer, or past one that has a higher epoch
SYNC = "sync"  # Continue although the last sync left something behind
READINESS = "readiness"  # Continue to a target that is not ready

SHARED = "shared"
"""Let the primary serve again although another plan still has another resource serve the same analyzers; or continue
although it is unknown what serves for another plan."""

REPLICATION = "replication"  # Continue although a replication that began earlier is still running

FORCEABLE = (READINESS, REPLICATION, SHARED, SINKS, SYNC)
"""What the failover itself can be forced past; the guards of the decision are others."""


async def begin(
    context: RecoveryContext, held: HeldFence, request: FailoverRequest
) -> tuple[HeldDocument[SwitchRecord], SwitchRecord]:
    """Fence the plan for a failover, a resumption or a rollback; give its record, which this run writes from now on."""
    must_be_able_to_serve(context.plan, request.primary, request.to)
    file = await state.open_record(context.vault, context.plan.name)
    must_have_ended(held.fence, file.found, but=request.primary)
    record = _record(context, held.fence, request, file.found)
    fence, assignment = held.fence, held.fence.assignments[request.primary]
    decided = (request.epoch, request.phase or assignment.phase)
    if request.epoch is not None and decided != (fence.epoch, assignment.phase):
        # It was decided before the last change of what serves.
        raise DecidedBefore(fence.plan, request.primary, assignment.active, request.epoch, fence.epoch)
    await _must_be_approved(context, fence, request)
    if assignment.phase is not Phase.SWITCHING or record.to != record.before.active:
        await must_share(
            context, record.primary, record.to, state.names_during(record), forced=record.forced, fresh=False
        )
    highest = await _highest_epoch(context, held.fence, record, forced=SINKS in request.forced)
    await state.record_missed_end(context, held.fence, file)
    return file, await state.begin_switching(context, held, file, record.model_copy(update={"epoch": highest + 1}))


async def _must_be_approved(context: RecoveryContext, fence: Fence, request: FailoverRequest) -> None:
    """Let nothing begin that fewer persons approve than the plan asks for; this is the one place that every way passes.

    What was begun was approved. A rollback leads an operator back to what served, and a failback home.
    """
    begun = fence.assignments[request.primary].phase is Phase.SWITCHING
    is_back = request.requested_by == "operator" and (
        request.action == "roll back" or (request.to == request.primary and request.planned)
    )
    needed = context.plan.failover.approvals
    if needed == 1 or begun or is_back or Guard.APPROVALS in request.forced:
        return
    found = await approvals_of(context, request, fence.epoch)
    if len(found) < needed:
        raise NotApproved(fence.plan, request.to, [each.by for each in found], needed)


async def unfinished(context: RecoveryContext, primary: str) -> SwitchRecord | None:
    """Find the failover of a primary that has not ended, and that no run carries out; `None` where there is none."""
    fence = await read_fence(context.vault, context.plan)
    if fence.assignments[primary].phase is not Phase.SWITCHING:
        return None
    async with hold_fence(context.vault, context.plan) as held:
        fence = held.fence
    assignment = fence.assignments[primary]
    if assignment.phase is not Phase.SWITCHING:
        return None
    record = await state.read_record(context.vault, fence.plan)
    if record is None or record.primary != primary or not record.is_of(fence):
        # What is lost may have been an operator's, and any sink may name any resource.
        request = FailoverRequest(primary=primary, to=assignment.target or assignment.active)
        return _fresh(context, assignment, request, None, "unplanned").model_copy(update={"touched": True})
    return record


async def must_share(
    context: RecoveryContext,
    primary: str,
    to: str,
    # Id of an analyzer at a resource by its id at the primary; by resource, as far as that is known. The others count
    # only where the plan chooses by ids alone: tags, for example, may tell two plans apart.
    names: Mapping[str, Mapping[str, str]] = {},
    *,
    forced: Collection[str] = (),
    fresh: bool = True,  # what was read a moment ago is not enough, since this is asked last before a publication
) -> None:
    """Let a resource serve only where no other plan has another one serve the same analyzers of the primary."""
    others = await context.run.other_plans(fresh=fresh)
    others.must_let_serve(primary, to, scope_of(context.plan, names), forced=SHARED in forced)


def _record(
    context: RecoveryContext, fence: Fence, request: FailoverRequest, known: SwitchRecord | None
) -> SwitchRecord:
    assignment = fence.assignments[request.primary]
    if assignment.phase is Phase.SWITCHING:
        found = known if known is not None and known.is_of(fence) else _reconstructed(context, assignment, request)
        return _resumed(context, found, request)
    if request.action != "roll back":
        if assignment.active == request.to:
            raise AlreadyActive(fence.plan, request.primary, request.to)
        return _fresh(context, assignment, request, known, "planned" if request.planned else "unplanned")
    if assignment.phase is not Phase.ACTIVATED or assignment.previous != request.to:
        raise NothingToRollBack(fence.plan, request.primary)
    # It served until just now: nothing has to be copied there.
    fresh = _fresh(context, assignment, request, known, "rollback")
    return fresh.model_copy(update={"prepared": True})


def must_have_ended(fence: Fence, record: SwitchRecord | None, *, but: str = "") -> None:
    """Let nothing begin while a failover of the plan has not ended, but that of one primary, which may be resumed."""
    for primary, assignment in fence.assignments.items():
        if primary != but and assignment.phase is Phase.SWITCHING:
            known = record is not None and record.primary == primary and record.is_of(fence)
            both = (record.to, record.from_resource) if record is not None and known else (assignment.active,)
            target = assignment.target or assignment.active
            back = next((each for each in both if each != target), assignment.active)
            raise FailoverUnfinished(fence.plan, primary, target, back)


_MOMENTS = ("detected_at", "approved_at", "unhealthy_since", "healthy_until")  # Of an outage, as a request has them


def _fresh(
    context: RecoveryContext, assignment: Assignment, request: FailoverRequest, known: SwitchRecord | None, mode: Mode
) -> SwitchRecord:
    return SwitchRecord(
        plan=context.plan.name,
        primary=request.primary,
        run_id=context.run_id,
        epoch=0,
        before=assignment,
        from_resource=assignment.active,
        to=request.to,
        mode=mode,
        requested_by=request.requested_by,
        reason=request.reason,
        decision_id=request.decision_id,
        forced=tuple(sorted(request.forced)),
        started_at=context.clock.now(),
        **{moment: getattr(request, moment) for moment in _MOMENTS},
        may_name=(assignment.active,),
        touched=False,
        names=known.names if known is not None else {},
        missing=known.missing if known is not None else {},
        withheld=request.left_out,
    )


def _resumed(context: RecoveryContext, found: SwitchRecord, request: FailoverRequest) -> SwitchRecord:
    """Resume a failover where it is, in the direction that is asked for."""
    both = {found.to, found.from_resource}
    if request.to not in both:
        raise FailoverUnfinished(found.plan, found.primary, found.to, found.from_resource)
    undoing = request.to == found.before.active or (found.mode == "rollback" and request.to == found.to)
    mode: Mode = "rollback" if undoing else "planned" if request.planned else "unplanned"
    return found.model_copy(
        update={
            "run_id": context.run_id,
            "mode": mode,
            "requested_by": request.requested_by,
            "to": request.to,
            "from_resource": next(iter(both - {request.to})),
            "reason": request.reason or found.reason,
            "decision_id": request.decision_id or found.decision_id,
            "withheld": request.left_out or found.withheld,
            "forced": tuple(sorted({*request.forced, *({Guard.RESIDENCY} & {*found.forced})})),
            # A run that resumes it later sees the same outage, and perhaps less of how it began.
            **{moment: getattr(found, moment) or getattr(request, moment) for moment in _MOMENTS},
            # What another run found ready may have changed since, unless that resource serves already. A rollback
            # prepares nothing.
            "prepared": found.prepared and (undoing or (found.mode != "rollback" and request.to in found.may_name)),
            "published_at": found.published_at if request.to == found.to else None,
        }
    )


def _reconstructed(context: RecoveryContext, assignment: Assignment, request: FailoverRequest) -> SwitchRecord:
    """Make the record of a failover whose own is lost: nothing counts as done, and any sink may name any resource."""
    phase = Phase.STEADY if assignment.previous is None else Phase.ACTIVATED
    before = assignment.model_copy(update={"phase": phase, "target": None})
    able = may_serve(context.plan, request.primary)
    likely = (assignment.target, request.to, *able)
    other = next(each for each in likely if each is not None and each != assignment.active)
    fresh = _fresh(context, before, request, None, "unplanned")
    return fresh.model_copy(update={"to": other, "may_name": able, "touched": True})


async def _highest_epoch(context: RecoveryContext, fence: Fence, record: SwitchRecord, *, forced: bool) -> int:
    highest = fence.epoch
    found = await read_back(context.sinks, fence.plan)
    for sink, read in zip(context.sinks, found, strict=True):
        if isinstance(read, SinkFailed):
            # Before anything was published, giving up costs nothing; later there is more to lose.
            if sink.required and not forced and not record.touched:
                raise read
        elif read is not None and read.epoch > highest:
            if not forced:
                raise SinkAhead(sink.name, read.epoch, fence.epoch)
            highest = read.epoch
    return highest


async def plans_to_follow(context: RecoveryContext, fence: Fence, report: FailoverReport) -> list[str]:
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
                    f"Plan {name} has {some_of(shared, 5)} as well: fail it over with "
                    f"standby failover {name} --to {report.to}."
                )
    return orders
