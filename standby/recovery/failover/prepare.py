"""The preparation of the target before it is published, and the checks that it must pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from standby.concurrency import side_by_side
from standby.fencing import Fence
from standby.recovery.context import RecoveryContext, Stage
from standby.recovery.failover.errors import ReplicationAtWork, SyncIncomplete, TargetNotReady
from standby.recovery.failover.report import Phases, Restored
from standby.recovery.readiness.assess import assess
from standby.recovery.readiness.document import Bucket, Readiness
from standby.recovery.snapshots.errors import SnapshotError
from standby.recovery.snapshots.id_mapping import Naming, keep_names
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import RestoreReport, restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.replication.dependencies import PREBUILT
from standby.replication.errors import LedgerBusy, ReplicationError
from standby.replication.items import GOOD, Status
from standby.replication.report import Report
from standby.replication.serving import Severity
from standby.service.errors import ServiceError
from standby.service.models import Analyzer
from standby.vault.documents import once_free

RESTORE = "restore at"
"""How the names of phases begin that restore."""

LAST_SYNC, CLOSING_SYNC = SYNCS = ("last sync", "closing sync")
"""The phases of a planned failover that copy edits."""

PATIENCE = 60.0
"""Seconds that a replication which began before the failover is waited for."""

LISTING_SECONDS = 15.0
"""What one listing of the target may take."""

OURS = frozenset({Bucket.FENCED, Bucket.SWITCH_UNDER_WAY})
"""Reasons against a target that come from the failover itself."""


Sync = Callable[[RecoveryContext, str, str], Awaitable[Report]]
"""Brings one resource up to what another has, as a part of a failover; gives the result for each analyzer."""


@dataclass
class Preparation:
    """Brings the target up to date, and checks that it can serve.

    Attributes:
        fence: as the failover holds it.
        naming: how restored analyzers are called; with a prefix all of them are restored, for a drill.
        restored: from a snapshot, where that was needed.
        building_seconds: what the builds of all that was restored took, without the decisions before.
    """

    context: RecoveryContext
    phases: Phases
    sync: Sync
    fence: Fence
    naming: Naming = keep_names
    restored: Restored | None = None
    building_seconds: float = 0.0

    async def run(self, primary: str, source: str, to: str, *, planned: bool) -> dict[str, str]:
        """Do it, and give the id at the target of each analyzer, by its id at the primary."""
        context, phases = self.context, self.phases
        await phases.must(Stage.WAIT, "wait for replication", lambda: wait_for_replication(context, to))
        if planned:
            await phases.must(Stage.SYNC, LAST_SYNC, lambda: sync_wholly(context, self.sync, source, to))
        if self.naming.prefix:
            return await phases.run(Stage.RESTORE, f"{RESTORE} {to}", lambda: self._restore_all(primary, to))
        if to == primary:
            return await phases.run(Stage.READINESS, f"readiness of {to}", lambda: names_at_primary(context, primary))
        return await self._made_ready(primary, to, planned=planned)

    async def _made_ready(self, primary: str, to: str, *, planned: bool) -> dict[str, str]:
        async def look() -> Readiness:
            return await assessed(self.context, primary, to, self.fence, ask_source=planned)

        readiness = await self.phases.run(Stage.READINESS, f"readiness of {to}", look)
        if readiness.missing:
            try:
                await self.phases.run(Stage.RESTORE, f"{RESTORE} {to}", lambda: self._restore(primary, to))
            except (SnapshotError, ServiceError) as error:
                # Its readiness then says what that means for the target.
                self.phases.problems.append(f"Nothing was restored: {error}")
            readiness = await self.phases.run(Stage.READINESS, f"readiness of {to}", look)
        if against := reasons_against(readiness):
            self.phases.force_past(TargetNotReady(to, against))
        return dict(readiness.names)

    async def _restore_all(self, primary: str, to: str) -> dict[str, str]:
        report = await self._restore(primary, to)
        if not report.complete:
            left = [f"{item.analyzer}: {item.reason}" for item in report.items if item.status not in GOOD]
            self.phases.force_past(TargetNotReady(to, left))
        return {item.analyzer: item.target_analyzer for item in report.items if item.status in GOOD}

    async def _restore(self, primary: str, to: str) -> RestoreReport:
        """Build what the target lacks from the newest snapshot; no call is made to another resource."""
        context, naming = self.context, self.naming
        snapshot = await open_snapshot(context)
        plan = await plan_restore(context, snapshot, to, naming=naming, only_missing=not naming.prefix, primary=primary)
        report = await restore(context, plan)
        self.restored = Restored(
            snapshot_id=snapshot.id,
            taken_at=snapshot.taken_at,
            created=tuple(item.analyzer for item in report.items if item.status is Status.SUCCEEDED),
            failed={item.analyzer: item.reason for item in report.items if item.status not in GOOD},
        )
        self.building_seconds = report.seconds
        if report.interrupted:
            raise asyncio.CancelledError
        return report


async def wait_for_replication(context: RecoveryContext, to: str) -> None:
    """Wait until no run writes to the target any more; since the plan is fenced, none begins.

    Raises:
        ReplicationAtWork: one that began earlier has not ended in time.
    """
    async with side_by_side() as group:
        for pair in context.plan.pairs:
            if to in pair.targets:
                group.create_task(_wait(context, (pair.source, to)))
            if to == pair.source:
                # What a failback that began earlier copies to the primary.
                for target in pair.targets:
                    group.create_task(_wait(context, (target, to)))


async def _wait(context: RecoveryContext, pair: tuple[str, str]) -> None:

    async def hold_ledger() -> None:
        async with context.run.write_ledger(*pair):
            return

    try:
        await once_free(context.clock, hold_ledger, patience=PATIENCE, busy=LedgerBusy)
    except LedgerBusy:
        raise ReplicationAtWork(pair, PATIENCE) from None


async def sync_wholly(context: RecoveryContext, sync: Sync, source: str, target: str) -> Report:
    """Bring the target up to what the source has.

    Raises:
        SyncIncomplete: something was left behind, or the source does not answer.
    """
    try:
        report = await sync(context, source, target)
    except (ServiceError, ReplicationError) as error:
        raise SyncIncomplete(source, target, [str(error)]) from None
    if not report.complete:
        left = [f"{item.analyzer}: {item.reason}" for item in report.items if item.status not in GOOD]
        raise SyncIncomplete(source, target, left)
    return report


async def assessed(context: RecoveryContext, primary: str, to: str, fence: Fence, *, ask_source: bool) -> Readiness:
    """Say whether the target can serve; `TargetNotReady` where it does not answer."""
    try:
        return await assess(context, primary, to, ask_source=ask_source, fence=fence)
    except ServiceError as error:
        raise TargetNotReady(to, [str(error)]) from None


def reasons_against(readiness: Readiness) -> list[str]:
    """Give what speaks against a target, except the failover itself."""
    return [
        reason.text
        for reason in readiness.reasons
        if reason.severity is not Severity.WARNING and reason.bucket not in OURS
    ]


async def names_at_primary(context: RecoveryContext, primary: str) -> dict[str, str]:
    """List what a primary has itself."""
    listed = await listing(context, primary)
    return {
        analyzer.analyzer_id: analyzer.analyzer_id
        for analyzer in listed
        if not analyzer.analyzer_id.startswith(PREBUILT)
    }


async def listing(context: RecoveryContext, resource: str) -> tuple[Analyzer, ...]:
    """List the analyzers of a resource, in bounded time; `TargetNotReady` where it does not answer."""
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            return await context.connections[resource].list_analyzers()
    except ServiceError as error:
        raise TargetNotReady(resource, [str(error)]) from None
    except TimeoutError:
        raise TargetNotReady(resource, [f"It gave no answer within {LISTING_SECONDS:.0f} s"]) from None
