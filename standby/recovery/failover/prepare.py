"""The preparation of the target before it is published, and the checks that it must pass."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from standby.concurrency import all_of
from standby.config.plan import serves_rest
from standby.fencing import Assignment, Fence, HeldFence
from standby.recovery.context import RecoveryContext, Stage
from standby.recovery.decision.evaluate import ages_of
from standby.recovery.decision.guards import is_stale
from standby.recovery.failover.begin import READINESS
from standby.recovery.failover.errors import ReplicationAtWork, SyncIncomplete, TargetNotReady
from standby.recovery.failover.report import Phases, Restored
from standby.recovery.failover.state import SwitchRecord, record_added
from standby.recovery.readiness.assess import assess
from standby.recovery.readiness.document import BY_THE_FAILOVER, Bucket, Readiness, with_parents
from standby.recovery.snapshots.id_mapping import Naming, keep_names
from standby.recovery.snapshots.manifest import SnapshotError
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import RestoreReport, restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.replication.errors import LedgerBusy, ReplicationError
from standby.replication.inventory import is_protected
from standby.replication.items import GOOD, Progress, Status
from standby.replication.report import Report
from standby.service.errors import ServiceError
from standby.service.models import Analyzer
from standby.vault.documents import HeldDocument, once_free

RESTORE = "restore at"  # How the names of phases begin that restore

LAST_SYNC, CLOSING_SYNC = SYNCS = ("last sync", "closing sync")  # The phases of a planned failover that copy edits

PATIENCE = 60.0  # Seconds that a replication which began before the failover is waited for
LISTING_SECONDS = 15.0  # What one listing of the target may take
BUILDING_SECONDS = 20.0  # What is still being built at the target is waited for so long: it may be ready in seconds
BUILDING_PAUSE = 2.0
STALLED_SECONDS = 60.0
"""After so long in which no analyzer was restored, a failover that may leave some out goes on without the others."""

Sync = Callable[[RecoveryContext, str, str], Awaitable[Report]]
"""Brings one resource up to what another has, as a part of a failover; gives the result for each analyzer."""


@dataclass
class Preparation:
    context: RecoveryContext
    phases: Phases
    sync: Sync
    fence: Fence
    # How restored analyzers are called; with a prefix all of them are restored, for a drill.
    naming: Naming = keep_names
    restored: Restored | None = None
    building_seconds: float = 0.0  # what the builds of all that was restored took, without the decisions before
    # Why analyzers are left out, by their ids at the primary; at first those that the decision leaves out.
    left_out: dict[str, str] = field(default_factory=dict)
    # Which analyzers others need, as the target has them.
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    serve_rest: bool = False

    async def run(self, primary: str, source: str, to: str, *, planned: bool) -> dict[str, str]:
        """Do it, and give the id at the target of each analyzer that it can serve, by its id at the primary."""
        context, phases = self.context, self.phases
        self.serve_rest = serves_rest(context.plan.failover, planned=planned)
        await phases.must(Stage.WAIT, "wait for replication", lambda: wait_for_replication(context, to))
        if planned:
            await phases.must(Stage.SYNC, LAST_SYNC, lambda: self.synchronise(primary, source, to))
        if self.naming.prefix:
            return await phases.run(Stage.RESTORE, f"{RESTORE} {to}", lambda: self._restore_all(primary, to))
        if to == primary:
            work = partial(self._at_primary, primary, planned=planned)
            return await phases.run(Stage.READINESS, f"readiness of {to}", work)
        return await self._made_ready(primary, to, planned=planned)

    async def synchronise(self, primary: str, source: str, to: str) -> Report:
        """Bring the target up to what the source has; what could not be copied is left out, where that is allowed."""
        try:
            report = await self.sync(self.context, source, to)
        except (ServiceError, ReplicationError) as error:
            raise SyncIncomplete(source, to, [str(error)]) from None
        bad = [item for item in report.items if item.status not in GOOD]
        if not report.complete and (len(bad) == len(report.items) or not self.serve_rest):
            raise SyncIncomplete(source, to, [f"{item.analyzer}: {item.reason}" for item in bad])
        left = {(it.analyzer if source == primary else it.target_analyzer): f"{it.analyzer}: {it.reason}" for it in bad}
        self.left_out = with_parents({**self.left_out, **left}, self.needs)
        return report

    async def _made_ready(self, primary: str, to: str, *, planned: bool) -> dict[str, str]:
        async def look() -> Readiness:
            return await assessed(self.context, primary, to, self.fence, ask_source=planned)

        async def look_when_built() -> Readiness:
            clock = self.context.clock
            end = clock.monotonic() + BUILDING_SECONDS
            while True:
                found = await look()
                if clock.monotonic() >= end or all(each.bucket is not Bucket.CREATING for each in found.reasons):
                    return found
                await clock.sleep(BUILDING_PAUSE)

        readiness = await self.phases.run(Stage.READINESS, f"readiness of {to}", look_when_built)
        if set(readiness.missing) - self.left_out.keys():
            out = {readiness.names[name] for name in self.left_out if name in readiness.names}
            try:
                await self.phases.run(Stage.RESTORE, f"{RESTORE} {to}", lambda: self._restore(primary, to, but=out))
            except (SnapshotError, ServiceError) as error:
                # Its readiness then says what that means for the target.
                self.phases.problems.append(f"Nothing was restored: {error}")
            readiness = await self.phases.run(Stage.READINESS, f"readiness of {to}", look)
        return self._served(to, readiness)

    def _served(self, to: str, readiness: Readiness) -> dict[str, str]:
        """Give what the target can serve, and keep what is left out; `TargetNotReady` where that is not allowed."""
        against = [each.text for each in readiness.against if each.bucket not in BY_THE_FAILOVER]
        self.needs = readiness.needs
        out = with_parents({**self.left_out, **readiness.unusable()}, self.needs)
        whole = any(each.bucket not in BY_THE_FAILOVER for each in readiness.against_the_target)
        is_short = bool(out) and not self.serve_rest
        if whole or is_short or len(out) >= len(readiness.names) or READINESS in self.phases.forced:
            if against:
                self.phases.force_past(TargetNotReady(to, against))
            # By force it serves whatever is there.
            out = {name: out.get(name, f"{name} is not at {to}") for name in readiness.missing}
        self.left_out = out
        return {name: there for name, there in readiness.names.items() if name not in out}

    async def _at_primary(self, primary: str, *, planned: bool) -> dict[str, str]:
        """List what a primary has itself, and can serve; where nothing was copied there, readiness says that, too."""
        context = self.context
        if not planned:
            found = await assessed(context, primary, primary, self.fence, ask_source=False)
            self.left_out = with_parents({**self.left_out, **found.unusable()}, found.needs)
        inventory = await listing(context, primary)
        there = {each.analyzer_id: each for each in inventory if not each.is_prebuilt}
        now = context.clock.now()
        wanted = {name: each for name, each in there.items() if is_protected(context.plan, each, now)}
        unusable = {name: f"{name} is {it.status} at {primary}" for name, it in wanted.items() if it.status != "ready"}
        self.left_out = {**self.left_out, **unusable}
        usable = [name for name, each in there.items() if each.status == "ready" and name not in self.left_out]
        if self.left_out and not usable:
            self.phases.force_past(TargetNotReady(primary, list(self.left_out.values())))
        return {name: name for name in usable}

    async def _restore_all(self, primary: str, to: str) -> dict[str, str]:
        report = await self._restore(primary, to)
        left = {item.analyzer: f"{item.analyzer}: {item.reason}" for item in report.items if item.status not in GOOD}
        names = {item.analyzer: item.target_analyzer for item in report.items if item.status in GOOD}
        if left and not (self.serve_rest and names):
            self.phases.force_past(TargetNotReady(to, list(left.values())))
        self.left_out = left
        return names

    async def _restore(self, primary: str, to: str, *, but: Collection[str] = ()) -> RestoreReport:
        """Build what the target lacks, but some ids there, from the newest snapshot; no other resource is called."""
        context, naming = self.context, self.naming
        snapshot = await open_snapshot(context)
        plan = await plan_restore(context, snapshot, to, naming=naming, only_missing=not naming.prefix, primary=primary)
        plan = replace(plan, items=tuple(item for item in plan.items if item.target_analyzer not in but))
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as limit:

            def on_progress(_: Progress | None = None) -> None:
                if self.serve_rest and not limit.expired():
                    limit.reschedule(loop.time() + STALLED_SECONDS)

            on_progress()
            report = await restore(context, plan, on_progress=on_progress)
        self.restored = Restored(
            snapshot_id=snapshot.id,
            taken_at=snapshot.taken_at,
            created=tuple(item.analyzer for item in report.items if item.status is Status.SUCCEEDED),
            failed={item.analyzer: item.reason for item in report.items if item.status not in GOOD},
        )
        self.building_seconds = report.seconds
        if report.interrupted and not limit.expired():
            raise asyncio.CancelledError
        return report


Back = Mapping[str, Mapping[str, str]]
"""What was left out and works again: the id where it is served, by primary and id at the primary."""


async def what_is_back(context: RecoveryContext, fence: Fence, record: SwitchRecord | None) -> Back:
    """Find what is left out and works by now; nothing is changed, and the fence need not be held."""
    back: dict[str, Mapping[str, str]] = {}
    for primary, assignment in fence.assignments.items():
        missing = record.missing_at(primary, assignment.active) if record is not None else {}
        if record is None or not missing:
            continue
        # It is judged as before the failover, when it was a standby.
        as_before = {**fence.assignments, primary: Assignment(active=primary)}
        before = fence.model_copy(update={"assignments": as_before})
        readiness = await assess(context, primary, assignment.active, ask_source=False, fence=before)
        if any(reason.bucket not in BY_THE_FAILOVER for reason in readiness.against_the_target):
            continue
        limit, now = context.plan.failover.staleness, context.clock.now()
        stale = {each.analyzer for each in ages_of(readiness) if is_stale(each, now, limit)} & record.withheld.keys()
        out = with_parents({**dict.fromkeys(stale, ""), **readiness.unusable()}, readiness.needs)
        names = readiness.names
        if found := {name: names[name] for name in missing if name in names and name not in out}:
            back[primary] = found
    return back


async def add_what_is_back(
    context: RecoveryContext, held: HeldFence, file: HeldDocument[SwitchRecord], found: Back
) -> tuple[SwitchRecord | None, tuple[str, ...]]:
    """Let fence and record say what is left out no more; give the record, and ids at the primaries."""
    record, added = file.found, []
    for primary, back in found.items():
        if record is None:
            break
        assignment = held.fence.assignments[primary]
        names = {**record.names_at(primary, assignment.active), **back}
        known = record.missing_at(primary, assignment.active)
        left = {name: cause for name, cause in known.items() if name not in back}
        record = record.naming(assignment.active, names, left, primary=primary)
        record = await record_added(context, held, file, record, primary)
        added += sorted(back)
    return record, tuple(added)


async def wait_for_replication(context: RecoveryContext, to: str) -> None:
    """Wait until no run writes to the target any more; since the plan is fenced, none begins."""
    pairs = [(pair.source, to) for pair in context.plan.pairs if to in pair.targets]
    # What a failback that began earlier copies to the primary.
    pairs += [(target, to) for pair in context.plan.pairs if pair.source == to for target in pair.targets]

    async def wait(pair: tuple[str, str]) -> None:
        async def hold_ledger() -> None:
            async with context.run.write_ledger(*pair):
                pass

        try:
            await once_free(context.clock, hold_ledger, patience=PATIENCE, busy=LedgerBusy)
        except LedgerBusy:
            raise ReplicationAtWork(pair, PATIENCE) from None

    await all_of(wait(pair) for pair in pairs)


async def assessed(context: RecoveryContext, primary: str, to: str, fence: Fence, *, ask_source: bool) -> Readiness:
    """Say whether the target can serve; `TargetNotReady` where it does not answer."""
    try:
        return await assess(context, primary, to, ask_source=ask_source, fence=fence)
    except ServiceError as error:
        raise TargetNotReady(to, [str(error)]) from None


async def listing(context: RecoveryContext, resource: str) -> tuple[Analyzer, ...]:
    """List the analyzers of a resource, in bounded time; `TargetNotReady` where it does not answer."""
    try:
        async with asyncio.timeout(LISTING_SECONDS):
            return await context.connections[resource].list_readable()
    except ServiceError as error:
        raise TargetNotReady(resource, [str(error)]) from None
    except TimeoutError:
        raise TargetNotReady(resource, [f"It gave no answer within {LISTING_SECONDS:.0f} s"]) from None
