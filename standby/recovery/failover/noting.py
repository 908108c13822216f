"""What the audit log says of a switch."""

from __future__ import annotations

from standby.fencing import Fence, Phase
from standby.recovery.audit import Deed, note, verify_audit
from standby.recovery.context import RecoveryContext
from standby.recovery.failover.record import SwitchRecord, write_record
from standby.recovery.failover.sides import is_forward
from standby.service.models import JsonValue


async def note_begin(context: RecoveryContext, record: SwitchRecord) -> None:
    """Say that a switch begins, or is gone on with."""
    await note(context, Deed.FENCED, _facts(record), epoch=record.epoch)


async def note_end(context: RecoveryContext, record: SwitchRecord, *, late: bool = False) -> None:
    """Say that a switch is done or undone; the record then says that it was said."""
    facts = {**_facts(record), "noted_late": True} if late else _facts(record)
    await note(context, _end_of(record), facts, epoch=record.epoch)
    await write_record(context.vault, record.model_copy(update={"ended": True}))


async def catch_up(context: RecoveryContext, fence: Fence, record: SwitchRecord | None) -> None:
    """Say it of a switch that ended, and whose run died before it could."""
    if record is None or record.ended or record.epoch != fence.epoch:
        return
    side = fence.sides.get(record.home)
    if side is None or side.phase is Phase.SWITCHING or side.active != record.to:
        return
    said = (await verify_audit(context.vault, record.plan, None)).lines
    if any(line.epoch == record.epoch and line.deed == _end_of(record) for line in said):
        await write_record(context.vault, record.model_copy(update={"ended": True}))
    else:
        await note_end(context, record, late=True)


def _end_of(record: SwitchRecord) -> Deed:
    return Deed.ACTIVATED if is_forward(record) else Deed.ROLLED_BACK


def _facts(record: SwitchRecord) -> dict[str, JsonValue]:
    return {
        "home": record.home,
        "from": record.from_resource,
        "to": record.to,
        "mode": record.mode,
        "reason": record.reason,
        "decision": record.decision_id,
        "forced": list(record.forced),
    }
