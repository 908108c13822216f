"""What a target lacks and the switch could rebuild there first, from the newest snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from standby.recovery.context import RecoveryContext
from standby.recovery.decision.case import Restorable
from standby.recovery.readiness.document import Bucket, Readiness
from standby.recovery.snapshots.errors import SnapshotError
from standby.recovery.snapshots.opening import Snapshot, open_snapshot
from standby.recovery.snapshots.restore_items import Fidelity, RestoreAction, RestoreItem, RestorePlan
from standby.recovery.snapshots.restore_plan import plan_restore
from standby.service.errors import ServiceError
from standby.vault.errors import VaultError

PLANNING_SECONDS = 45.0
"""After which a restore that cannot be planned counts as one that cannot be done."""


@dataclass(frozen=True)
class Rebuilding:
    """What a restore would do about what is lacking.

    Attributes:
        reasons: why something cannot be rebuilt, a sentence each.
    """

    restorable: tuple[Restorable, ...] = ()
    reasons: tuple[str, ...] = ()


def lacked(readiness: Readiness) -> tuple[str, ...]:
    """Name the analyzers, by their ids at home, of which the target has nothing."""
    missing = set(readiness.missing)
    absent = {
        name
        for reason in readiness.reasons
        if reason.bucket in {Bucket.MISSING, Bucket.BLOCKED}
        for name in reason.analyzers
        if name in missing
    }
    return tuple(sorted(absent))


async def what_can_be_rebuilt(context: RecoveryContext, readiness: Readiness) -> Rebuilding:
    """Plan the restore that a switch would begin with; nothing is changed, and no source is asked.

    Args:
        context: the plan, its stores and its ledgers.
        readiness: of the target.
    """
    absent = lacked(readiness)
    # A switch home restores nothing: what is lost there is brought along by a failback.
    if not absent or readiness.target in {readiness.home, readiness.active}:
        return Rebuilding()
    try:
        async with asyncio.timeout(PLANNING_SECONDS):
            snapshot = await open_snapshot(context)
            plan = await plan_restore(
                context, snapshot, readiness.target, only_missing=True, home=readiness.home
            )
    except (SnapshotError, VaultError, ServiceError) as error:
        return Rebuilding(reasons=(f"Nothing can be restored: {error.cause}",))
    except TimeoutError:
        told = f"Nothing can be restored: no restore could be planned within {PLANNING_SECONDS:.0f} s"
        return Rebuilding(reasons=(told,))
    items = {name: item for name, item in _named(readiness, plan) if name in absent}
    return Rebuilding(
        restorable=tuple(
            _restorable(name, items[name], snapshot)
            for name in absent
            if name in items and items[name].action is RestoreAction.CREATE
        ),
        reasons=tuple(_against(absent, items, snapshot)),
    )


def _named(readiness: Readiness, plan: RestorePlan) -> Iterator[tuple[str, RestoreItem]]:
    """Give what would be done, with the id at home: a snapshot may be of what served in its place."""
    at_home = {there: name for name, there in readiness.names.items()}
    for item in plan.items:
        if item.resource == readiness.home:
            yield item.analyzer, item
        elif item.target_analyzer in at_home:
            yield at_home[item.target_analyzer], item


def _restorable(name: str, item: RestoreItem, snapshot: Snapshot) -> Restorable:
    return Restorable(
        analyzer=name,
        fidelity=item.fidelity,
        snapshot=snapshot.id,
        seen_at=snapshot.resources[item.resource].seen_at,
        doubt=item.reason if item.fidelity is Fidelity.UNFAITHFUL else "",
    )


def _against(absent: tuple[str, ...], items: Mapping[str, RestoreItem], snapshot: Snapshot) -> Iterator[str]:
    for name in absent:
        if name not in items:
            yield f"Snapshot {snapshot.id} does not have {name}"
        elif items[name].action is not RestoreAction.CREATE:
            yield f"{name} cannot be restored: {items[name].reason}"
