"""Whether a switch may begin, go on or be undone, and the record it begins with."""

from __future__ import annotations

from standby.fencing import Assignment, Fence, HeldFence, Phase
from standby.recovery.activation.sinks import SinkAhead, SinkFailed, read_back
from standby.recovery.assignments import AlreadyActive, may_serve, must_be_able_to_serve
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.failover.errors import DecidedBefore, NothingToRollBack, SwitchUnfinished
from standby.recovery.failover.report import Mode
from standby.recovery.failover.state import (
    SwitchRecord,
    catch_up,
    note_begin,
    read_record,
    switching,
    write_record,
)

SINKS = "sinks"
"""Go on without a sink that cannot be told, or past one that was told a higher epoch."""

SYNC = "sync"
"""Go on although the last sync left something behind."""

READINESS = "readiness"
"""Go on to a side that is not ready."""

REPLICATION = "replication"
"""Go on although a replication that began earlier is still at work."""

FORCEABLE = (READINESS, REPLICATION, SINKS, SYNC)
"""What a switch itself can be forced past; the guards of the decision come on top."""


async def begin(context: RecoveryContext, held: HeldFence, request: FailoverRequest) -> SwitchRecord:
    """Fence the plan for a switch, or for going on with one that was interrupted, in either direction.

    Args:
        context: the plan, its vault and its sinks.
        held: its fence.
        request: where it leads.

    Raises:
        AlreadyActive: there is nothing to do.
        NothingToRollBack: there is no side to bring back.
        SwitchUnfinished: another switch has to end first.
        DecidedBefore: another run has switched since.
        NotATarget: the plan does not have this target.
        SinkAhead: a sink was told a higher epoch than this vault knows, and that is not forced.
        SinkFailed: a sink cannot be read, and that is not forced; nothing has been done.
    """
    must_be_able_to_serve(context.plan, request.primary, request.to)
    known = await read_record(context.vault, context.plan.name)
    must_have_ended(held.fence, known, but=request.primary)
    record = _record(context, held.fence, request, known)
    _must_be_current(held.fence, request)
    highest = await _highest_epoch(context, held.fence, record, forced=SINKS in request.forced)
    await catch_up(context, held.fence, known)
    record = record.model_copy(update={"epoch": highest + 1})
    # The log first: where the fence is ever lost, the log knows an epoch as high as any sink's.
    await note_begin(context, record)
    await write_record(context.vault, record)
    await held.write(switching(held.fence, record, context.clock.now()))
    return record


def _record(
    context: RecoveryContext,
    fence: Fence,
    request: FailoverRequest,
    known: SwitchRecord | None,
) -> SwitchRecord:
    side = fence.assignments[request.primary]
    if side.phase is Phase.SWITCHING:
        found = known if known is not None and known.speaks_of(fence) else _presumed(context, side, request)
        return _going_on(context, found, request)
    if request.action != "roll back":
        if side.active == request.to:
            raise AlreadyActive(fence.plan, request.primary, request.to)
        return _fresh(context, side, request, known, "planned" if request.planned else "unplanned")
    if side.phase is not Phase.ACTIVATED or side.previous != request.to:
        raise NothingToRollBack(fence.plan, request.primary)
    # It served until just now: there is nothing to bring there.
    fresh = _fresh(context, side, request, known, "rollback")
    return fresh.model_copy(update={"prepared": True})


def _must_be_current(fence: Fence, request: FailoverRequest) -> None:
    """Let nothing begin that was decided while another side served, or another switch was under way."""
    if request.epoch not in (None, fence.epoch):
        active = fence.assignments[request.primary].active
        raise DecidedBefore(fence.plan, request.primary, active, request.epoch, fence.epoch)


def must_have_ended(fence: Fence, record: SwitchRecord | None, *, but: str = "") -> None:
    """Let nothing begin while a switch of the plan is neither done nor undone.

    Args:
        fence: as it stands.
        record: of the plan's last switch.
        but: the source whose switch may go on.

    Raises:
        SwitchUnfinished: there is another one.
    """
    for primary, side in fence.assignments.items():
        if primary != but and side.phase is Phase.SWITCHING:
            known = record is not None and record.primary == primary and record.speaks_of(fence)
            both = (record.to, record.from_resource) if record is not None and known else (side.active,)
            target = side.target or side.active
            back = next((each for each in both if each != target), side.active)
            raise SwitchUnfinished(fence.plan, primary, target, back)


def _fresh(
    context: RecoveryContext, side: Assignment, request: FailoverRequest, known: SwitchRecord | None, mode: Mode
) -> SwitchRecord:
    return SwitchRecord(
        plan=context.plan.name,
        primary=request.primary,
        run_id=context.run_id,
        epoch=0,
        before=side,
        from_resource=side.active,
        to=request.to,
        mode=mode,
        reason=request.reason,
        decision_id=request.decision_id,
        forced=tuple(sorted(request.forced)),
        started_at=context.clock.now(),
        detected_at=request.detected_at,
        unhealthy_since=request.unhealthy_since,
        may_tell=(side.active,),
        names=known.names if known is not None else {},
    )


def _going_on(context: RecoveryContext, found: SwitchRecord, request: FailoverRequest) -> SwitchRecord:
    """Take up a switch where it is, in the direction that is asked for."""
    both = {found.to, found.from_resource}
    if request.to not in both:
        raise SwitchUnfinished(found.plan, found.primary, found.to, found.from_resource)
    undoing = request.to == found.before.active or (found.mode == "rollback" and request.to == found.to)
    mode: Mode = "rollback" if undoing else "planned" if request.planned else "unplanned"
    return found.model_copy(
        update={
            "run_id": context.run_id,
            "mode": mode,
            "to": request.to,
            "from_resource": next(iter(both - {request.to})),
            "reason": request.reason or found.reason,
            "decision_id": request.decision_id or found.decision_id,
            "forced": tuple(sorted(request.forced)),
            "detected_at": request.detected_at or found.detected_at,
            "unhealthy_since": request.unhealthy_since or found.unhealthy_since,
            # What another run found ready may have changed since, unless that side serves already. A rollback
            # prepares nothing.
            "prepared": found.prepared and (undoing or (found.mode != "rollback" and request.to in found.may_tell)),
            "told_at": found.told_at if request.to == found.to else None,
        }
    )


def _presumed(context: RecoveryContext, side: Assignment, request: FailoverRequest) -> SwitchRecord:
    """Make the record of a switch whose own is lost: nothing is taken for done, and anything for told."""
    phase = Phase.STEADY if side.previous is None else Phase.ACTIVATED
    before = side.model_copy(update={"phase": phase, "target": None})
    sides = may_serve(context.plan, request.primary)
    likely = (side.target, request.to, *sides)
    other = next(each for each in likely if each is not None and each != side.active)
    fresh = _fresh(context, before, request, None, "unplanned")
    return fresh.model_copy(update={"to": other, "may_tell": sides, "touched": True})


async def _highest_epoch(context: RecoveryContext, fence: Fence, record: SwitchRecord, *, forced: bool) -> int:
    highest = fence.epoch
    found = await read_back(context.sinks, fence.plan)
    for sink, read in zip(context.sinks, found, strict=True):
        if isinstance(read, SinkFailed):
            # Before anything was told, giving up costs nothing; later there is more to lose.
            if not forced and not record.touched:
                raise read
        elif read is not None and read.epoch > highest:
            if not forced:
                raise SinkAhead(sink.name, read.epoch, fence.epoch)
            highest = read.epoch
    return highest
