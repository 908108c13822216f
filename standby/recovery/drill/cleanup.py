"""What drills left that did not come to their end, and its removal: also after a kill -9."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from standby.clock import Clock
from standby.concurrency import side_by_side, to_its_end
from standby.config.errors import UnknownName
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, Stages
from standby.recovery.drill.errors import LeftBehind
from standby.recovery.drill.manifest import HeldDrills, Intent, hold_drills
from standby.recovery.drill.report import CleanedUp, CleanUp, CleanUpReport
from standby.recovery.drill.sandbox import connected
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import AnalyzerNotFound, ServiceError

EMPTY_LOOKS = 2
"""So many listings in a row must have nothing: one may lag, and a build under way may still come to light."""

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between two looks, the longer the more there were."""

LONGEST = 600.0
"""Seconds that a clean-up may take in all."""


@dataclass
class _Found:
    """What was seen and done so far; whatever stops the clean-up, it is true."""

    seen: set[str] = field(default_factory=set)
    here: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    unlisted: str = ""
    proven: bool = False


async def clean(client: ContentUnderstandingClient, intent: Intent, clock: Clock) -> CleanUp:
    """Remove what a drill made at a resource, and prove it; what fails is told, and not raised."""
    begun = clock.monotonic()
    found = _Found()
    try:
        async with asyncio.timeout(LONGEST):
            await _rounds(client, intent, clock, found)
    except TimeoutError:
        found.unlisted = f"it did not end within {LONGEST:.0f} s"
    problem = "" if found.proven else found.unlisted or _first(found)
    return CleanUp(
        created=tuple(sorted(found.seen)),
        deleted=tuple(sorted(found.seen - found.here)),
        left=tuple(sorted(found.here)),
        proven=found.proven,
        problem=problem,
        seconds=round(clock.monotonic() - begun, 3),
    )


async def _rounds(client: ContentUnderstandingClient, intent: Intent, clock: Clock, found: _Found) -> None:
    empty = 0
    for wait in (*WAITS, 0.0):
        if await _look(client, intent, found):
            empty = 0 if found.here else empty + 1
            if empty == EMPTY_LOOKS:
                found.proven = True
                return
            await _delete(client, found)
        await clock.sleep(wait)


async def _look(client: ContentUnderstandingClient, intent: Intent, found: _Found) -> bool:
    try:
        listed = await client.list_analyzers()
    except ServiceError as error:
        found.unlisted = str(error)
        return False
    found.unlisted = ""
    found.here = {analyzer.analyzer_id for analyzer in listed if intent.made(analyzer)}
    found.seen |= found.here
    return True


async def _delete(client: ContentUnderstandingClient, found: _Found) -> None:
    gate = asyncio.Semaphore(client.resource.max_concurrent_copies)
    found.failures = {}

    async def delete(analyzer: str) -> None:
        async with gate:
            try:
                await client.delete_analyzer(analyzer)
            except AnalyzerNotFound:
                return
            except ServiceError as error:
                found.failures[analyzer] = str(error)

    async with side_by_side() as group:
        for analyzer in sorted(found.here):
            group.create_task(delete(analyzer))


def _first(found: _Found) -> str:
    named = sorted(found.here)
    failed = next((f"{name}: {found.failures[name]}" for name in named if name in found.failures), "")
    return failed or "the resource still lists what it was told to delete"


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
        await record_action(context, AuditAction.DRILL_ENDED, _facts(intent, cleanup))
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
