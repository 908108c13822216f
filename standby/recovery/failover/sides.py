"""What the fence says of a side before, during and after a switch."""

from __future__ import annotations

from datetime import datetime

from standby.fencing import Fence, Phase, Side
from standby.recovery.failover.record import SwitchRecord


def is_forward(record: SwitchRecord) -> bool:
    """Say whether a switch leads to a new side, and not back to one that served before."""
    return record.mode != "rollback" and record.to != record.before.active


def switching(fence: Fence, record: SwitchRecord, now: datetime) -> Fence:
    """Give the fence while a switch is under way."""
    changed = {"phase": Phase.SWITCHING, "target": record.to, "run_id": record.run_id, "since": now}
    return _with(fence, record, record.before.model_copy(update=changed))


def settled(fence: Fence, record: SwitchRecord, now: datetime) -> Fence:
    """Give the fence when a switch has ended, at the side that it leads to."""
    if record.to == record.before.active and not record.touched:
        # Nobody was told of it: to the cool-down it was no switch.
        side = record.before
    elif record.to == record.before.active:
        side = record.before.model_copy(update={"run_id": record.run_id, "since": now})
    elif is_forward(record):
        side = Side(
            active=record.to,
            phase=Phase.ACTIVATED,
            previous=record.before.active,
            run_id=record.run_id,
            since=now,
        )
    else:
        side = Side(active=record.to, run_id=record.run_id, since=now)
    return _with(fence, record, side)


def committed(fence: Fence, home: str, run_id: str) -> Fence:
    """Give the fence when a side is final: there is no way back to the one before.

    It serves since it was switched to, and the cool-down counts from then.
    """
    side = Side(active=fence.sides[home].active, run_id=run_id, since=fence.sides[home].since)
    return fence.model_copy(update={"sides": {**fence.sides, home: side}})


def back_from(fence: Fence, home: str, record: SwitchRecord | None) -> str | None:
    """Give the resource that undoing a switch leads to; `None` where there is nothing to undo.

    Args:
        fence: as it stands.
        home: the source whose side it is.
        record: of the plan's last switch.
    """
    side = fence.sides[home]
    if side.phase is Phase.SWITCHING:
        if record is None or not record.speaks_of(fence):
            return side.active
        # A rollback that was interrupted is gone on with.
        return record.to if record.mode == "rollback" else record.before.active
    return side.previous if side.phase is Phase.ACTIVATED else None


def _with(fence: Fence, record: SwitchRecord, side: Side) -> Fence:
    return fence.model_copy(update={"epoch": record.epoch, "sides": {**fence.sides, record.home: side}})
