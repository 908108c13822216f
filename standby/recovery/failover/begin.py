"""Whether a switch may begin, go on or be undone, and the record it begins with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from standby.fencing import Assignment, Fence, HeldFence, Phase
from standby.recovery.activation.sinks import SinkAhead, SinkFailed, read_back
from standby.recovery.assignments import AlreadyActive, may_serve, must_be_able_to_serve
from standby.recovery.context import RecoveryContext
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


@dataclass(frozen=True)
class FailoverOrder:
    """Which side is to serve, and why.

    Attributes:
        home: the source that serves in ordinary times.
        to: the resource that is to serve in its place.
        planned: the side that serves now still answers: what it holds is synchronised first.
        reason: for people.
        forced: guards that are passed all the same.
        decision_id: of the recorded decision that this follows from.
        detected_at: when the outage counted as one, UTC.
        unhealthy_since: when it began, as far as it was seen.
        epoch: of the fence that this was decided by; `None` where whoever gives the order holds what it
            depends on.
    """

    primary: str
    to: str
    planned: bool
    reason: str = ""
    forced: frozenset[str] = frozenset()
    decision_id: str = ""
    detected_at: datetime | None = None
    unhealthy_since: datetime | None = None
    epoch: int | None = None


async def begin(
    context: RecoveryContext, held: HeldFence, order: FailoverOrder, *, rolling_back: bool = False
) -> SwitchRecord:
    """Fence the plan for a switch, or for going on with one that was interrupted, in either direction.

    Args:
        context: the plan, its vault and its sinks.
        held: its fence.
        order: where it leads.
        rolling_back: it leads back to the side that served before a switch that is not final.

    Raises:
        AlreadyActive: there is nothing to do.
        NothingToRollBack: there is no side to bring back.
        SwitchUnfinished: another switch has to end first.
        DecidedBefore: another run has switched since.
        NotATarget: the plan does not have this target.
        SinkAhead: a sink was told a higher epoch than this vault knows, and that is not forced.
        SinkFailed: a sink cannot be read, and that is not forced; nothing has been done.
    """
    must_be_able_to_serve(context.plan, order.primary, order.to)
    known = await read_record(context.vault, context.plan.name)
    must_have_ended(held.fence, known, but=order.primary)
    record = _record(context, held.fence, order, known, rolling_back=rolling_back)
    _must_be_current(held.fence, order)
    highest = await _highest_epoch(context, held.fence, record, forced=SINKS in order.forced)
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
    order: FailoverOrder,
    known: SwitchRecord | None,
    *,
    rolling_back: bool,
) -> SwitchRecord:
    side = fence.assignments[order.primary]
    if side.phase is Phase.SWITCHING:
        found = known if known is not None and known.speaks_of(fence) else _presumed(context, side, order)
        return _going_on(context, found, order)
    if not rolling_back:
        if side.active == order.to:
            raise AlreadyActive(fence.plan, order.primary, order.to)
        return _fresh(context, side, order, known, "planned" if order.planned else "unplanned")
    if side.phase is not Phase.ACTIVATED or side.previous != order.to:
        raise NothingToRollBack(fence.plan, order.primary)
    # It served until just now: there is nothing to bring there.
    fresh = _fresh(context, side, order, known, "rollback")
    return fresh.model_copy(update={"prepared": True})


def _must_be_current(fence: Fence, order: FailoverOrder) -> None:
    """Let nothing begin that was decided while another side served, or another switch was under way."""
    if order.epoch not in (None, fence.epoch):
        active = fence.assignments[order.primary].active
        raise DecidedBefore(fence.plan, order.primary, active, order.epoch, fence.epoch)


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
    context: RecoveryContext, side: Assignment, order: FailoverOrder, known: SwitchRecord | None, mode: Mode
) -> SwitchRecord:
    return SwitchRecord(
        plan=context.plan.name,
        primary=order.primary,
        run_id=context.run_id,
        epoch=0,
        before=side,
        from_resource=side.active,
        to=order.to,
        mode=mode,
        reason=order.reason,
        decision_id=order.decision_id,
        forced=tuple(sorted(order.forced)),
        started_at=context.clock.now(),
        detected_at=order.detected_at,
        unhealthy_since=order.unhealthy_since,
        may_tell=(side.active,),
        names=known.names if known is not None else {},
    )


def _going_on(context: RecoveryContext, found: SwitchRecord, order: FailoverOrder) -> SwitchRecord:
    """Take up a switch where it is, in the direction that is asked for."""
    both = {found.to, found.from_resource}
    if order.to not in both:
        raise SwitchUnfinished(found.plan, found.primary, found.to, found.from_resource)
    undoing = order.to == found.before.active or (found.mode == "rollback" and order.to == found.to)
    mode: Mode = "rollback" if undoing else "planned" if order.planned else "unplanned"
    return found.model_copy(
        update={
            "run_id": context.run_id,
            "mode": mode,
            "to": order.to,
            "from_resource": next(iter(both - {order.to})),
            "reason": order.reason or found.reason,
            "decision_id": order.decision_id or found.decision_id,
            "forced": tuple(sorted(order.forced)),
            "detected_at": order.detected_at or found.detected_at,
            "unhealthy_since": order.unhealthy_since or found.unhealthy_since,
            # What another run found ready may have changed since, unless that side serves already. A rollback
            # prepares nothing.
            "prepared": found.prepared and (undoing or (found.mode != "rollback" and order.to in found.may_tell)),
            "told_at": found.told_at if order.to == found.to else None,
        }
    )


def _presumed(context: RecoveryContext, side: Assignment, order: FailoverOrder) -> SwitchRecord:
    """Make the record of a switch whose own is lost: nothing is taken for done, and anything for told."""
    phase = Phase.STEADY if side.previous is None else Phase.ACTIVATED
    before = side.model_copy(update={"phase": phase, "target": None})
    sides = may_serve(context.plan, order.primary)
    likely = (side.target, order.to, *sides)
    other = next(each for each in likely if each is not None and each != side.active)
    fresh = _fresh(context, before, order, None, "unplanned")
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
