"""Makes a failover final, and tells every sink once more what serves."""

from __future__ import annotations

from standby.fencing import Fence, Phase, hold_fence
from standby.recovery.activation.publishing import SinkResult, tell
from standby.recovery.audit import Deed, note
from standby.recovery.context import RecoveryContext
from standby.recovery.failover.beginning import must_have_ended
from standby.recovery.failover.errors import NotASide
from standby.recovery.failover.mapping import active_map
from standby.recovery.failover.noting import catch_up
from standby.recovery.failover.record import SwitchRecord, read_record
from standby.recovery.failover.report import CommitReport
from standby.recovery.failover.sides import committed


async def commit(context: RecoveryContext, home: str | None = None) -> CommitReport:
    """Make the failovers of a plan final; from then on the way back is a failback.

    Where nothing waits for it, the sinks are told all the same: one that could not be told during the switch
    is brought up to date so.

    Args:
        context: the plan, its vault and its sinks.
        home: only this source's; every one's if left out.

    Raises:
        SwitchUnderWay: another run is at a switch of this plan.
        SwitchUnfinished: a switch was interrupted.
        NotASide: the plan has no such source.
        VaultUnavailable: the vault does not answer.
    """
    async with hold_fence(context.vault, context.plan) as held:
        fence = held.fence
        if home is not None and home not in fence.sides:
            raise NotASide(fence.plan, home, home, fence.sides)
        record = await read_record(context.vault, fence.plan)
        must_have_ended(fence, record)
        await catch_up(context, fence, record)
        waiting = [
            name
            for name, side in fence.sides.items()
            if side.phase is Phase.ACTIVATED and home in (None, name)
        ]
        for name in waiting:
            active = fence.sides[name].active
            await note(context, Deed.COMMITTED, {"home": name, "side": active}, epoch=fence.epoch)
            await held.write(committed(held.fence, name, context.run_id))
        sinks = await _told_again(context, held.fence, record)
    failed = [sink for sink in sinks if sink.status == "failed"]
    return CommitReport(
        plan=fence.plan,
        run_id=context.run_id,
        via=context.via,
        epoch=held.fence.epoch,
        committed={name: held.fence.sides[name].active for name in waiting},
        sides={name: side.active for name, side in held.fence.sides.items()},
        sinks=sinks,
        problems=tuple(sink.reason for sink in failed),
        next_action=f"Mend the sink, then run standby commit {fence.plan} again" if failed else "",
    )


async def _told_again(
    context: RecoveryContext, fence: Fence, record: SwitchRecord | None
) -> tuple[SinkResult, ...]:
    # Word for word what the switch told, so that who was told it already sees that it is the same.
    same = record is not None and record.epoch == fence.epoch
    at = record.told_at if record is not None and same and record.told_at else context.clock.now()
    home = record.home if record is not None else context.plan.pairs[0].source
    return await tell(context.sinks, active_map(context, fence, record, at), home)
