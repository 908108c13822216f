"""What drills left that did not come to their end, and its removal: also after a kill -9."""

from __future__ import annotations

import logging

from standby.concurrency import to_its_end
from standby.config.errors import UnknownName
from standby.recovery.audit import Deed, note
from standby.recovery.context import RecoveryContext
from standby.recovery.drill.cleaning import clean
from standby.recovery.drill.errors import LeftBehind
from standby.recovery.drill.intent import HeldDrills, Intent, hold_drills
from standby.recovery.drill.rehearsal import connected
from standby.recovery.drill.report import CleanedUp, CleanUp, CleanUpReport
from standby.recovery.stages import Stages

log = logging.getLogger("standby.recovery")


async def clean_up(context: RecoveryContext, stages: Stages) -> CleanUpReport:
    """Remove what unfinished drills of a plan left, and prove it.

    Raises:
        DrillUnderWay: a drill runs, whose analyzers are no leftovers.
        IntentUnreadable: what says which drills have not ended cannot be understood.
        VaultUnavailable: the vault does not answer.
    """
    async with hold_drills(context.vault, context.plan.name) as drills:
        return await remove_leftovers(context, drills, stages)


async def remove_leftovers(context: RecoveryContext, drills: HeldDrills, stages: Stages) -> CleanUpReport:
    """Remove what every unfinished drill left; those that are proven clean are crossed off."""
    done = [await _remove(context, drills, intent, stages) for intent in drills.drills]
    return CleanUpReport(plan=context.plan.name, drills=tuple(done))


def must_be_clean(report: CleanUpReport, target: str) -> None:
    """Let a drill begin only where nothing of an earlier one is left; elsewhere it is warned of.

    Raises:
        LeftBehind: something is, or may be.
    """
    for drill in report.drills:
        if drill.cleanup.proven:
            continue
        error = LeftBehind(report.plan, drill.run_id, drill.to, drill.cleanup.left, drill.cleanup.problem)
        if drill.to == target:
            raise error
        log.warning("%s", error)


async def _remove(context: RecoveryContext, drills: HeldDrills, intent: Intent, stages: Stages) -> CleanedUp:
    name = f"clean up {intent.to} after drill {intent.run_id}"
    cleanup = await to_its_end(stages.run(name, lambda: _cleaned(context, intent)))
    if cleanup.proven:
        await drills.end(intent.run_id)
        await note(context, Deed.DRILL_ENDED, _facts(intent, cleanup))
    return CleanedUp(run_id=intent.run_id, to=intent.to, begun_at=intent.begun_at, cleanup=cleanup)


async def _cleaned(context: RecoveryContext, intent: Intent) -> CleanUp:
    try:
        async with connected(context, intent.to) as connections:
            return await clean(connections[intent.to], intent, context.clock)
    except UnknownName as error:
        return CleanUp(problem=f"{error.cause}. Put it back into the configuration")


def _facts(intent: Intent, cleanup: CleanUp) -> dict[str, str | int | bool | None]:
    return {
        "drill": intent.run_id,
        "to": intent.to,
        "passed": False,
        "reason": "it did not come to its end, and was cleaned up later",
        "deleted": len(cleanup.deleted),
    }
