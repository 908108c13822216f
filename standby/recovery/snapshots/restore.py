"""Does what a restore plan says: children before parents, the rest side by side, nothing overwritten."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from graphlib import TopologicalSorter

from pydantic import Field

from standby.concurrency import to_its_end
from standby.document import Document, JsonValue
from standby.errors import StandbyError
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext
from standby.recovery.durations import Kind, add_durations
from standby.recovery.snapshots.building import Builder
from standby.recovery.snapshots.fidelity import Fidelity, RestoreAction, RestoreItem, RestorePlan
from standby.replication import steps
from standby.replication.direct import try_again
from standby.replication.items import GOOD, Progress, Status
from standby.replication.ledger import Rebuilt, add_rebuilt
from standby.replication.report import Via
from standby.replication.steps import is_transient
from standby.vault.errors import Held, VaultError


class RestoredItem(Document):
    """One analyzer and its end.

    Attributes:
        reason: for everything that did not succeed, the cause and the next action.
    """

    primary: str = Field(alias="home")
    resource: str
    analyzer: str
    target_analyzer: str
    fidelity: Fidelity
    action: RestoreAction
    status: Status
    reason: str = ""
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


class RestoreReport(Document):
    """A whole restore.

    Attributes:
        snapshot: id of what it restored from.
        interrupted: whether it was cancelled before its end; the items say how far it came.
        problems: what was found wrong with the snapshot's files and made good by another store.
    """

    plan: str
    run_id: str
    via: Via
    snapshot: str
    taken_at: datetime
    to: str
    seconds: float
    interrupted: bool = False
    totals: dict[Status, int]
    items: tuple[RestoredItem, ...]
    problems: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every analyzer is usable at the target."""
        return not self.interrupted and all(item.status in GOOD for item in self.items)

    @property
    def durations(self) -> tuple[float, ...]:
        """Seconds that each analyzer took which was built."""
        return tuple(item.seconds for item in self.items if item.status is Status.SUCCEEDED)


def totals_of(items: Iterable[RestoredItem]) -> dict[Status, int]:
    """Count items by status, every status named."""
    totals = dict.fromkeys(Status, 0)
    for item in items:
        totals[item.status] += 1
    return totals


log = logging.getLogger("standby.recovery")

PATIENCE = 30.0
"""Seconds that another restore which writes the same list is waited for at the end."""


class RebuiltNotes:
    """What one restore has built, in the vault as soon as it can be, and at the latest at the end."""

    def __init__(self, context: RecoveryContext, plan: RestorePlan) -> None:
        """Take what is to be restored."""
        self._context = context
        self._plan = plan
        self._written: dict[str, Rebuilt] = {}
        self._noted: dict[str, Rebuilt] = {}
        self._writing = asyncio.Lock()
        self._at_the_end = False

    async def note(self, item: RestoreItem, created_at: datetime | None) -> None:
        """Put down one incarnation; the restore goes on where the vault does not take it now."""
        if self._plan.rehearsed:
            return
        definition = self._plan.definitions[item.target_analyzer]
        self._noted[item.target_analyzer] = Rebuilt(
            analyzer=item.target_analyzer,
            created_at=created_at,
            fingerprint=item.fingerprint,
            fidelity=item.fidelity.value,
            trained=bool(definition.get("knowledgeSources")),
            origin=item.resource,
            original=item.analyzer,
            plan=self._context.plan.name,
        )
        if self._at_the_end:
            return
        try:
            await self._write(0.0)
        except Held:
            log.info("another restore is writing down what it rebuilds at %s", self._plan.to)
        except VaultError as error:
            # No analyzer waits for a vault that does not answer.
            self._at_the_end = True
            log.warning("What is rebuilt at %s is written down at the end: %s", self._plan.to, error)

    async def close(self) -> None:
        """Put down what is left.

        Raises:
            Held: another restore writes the same list for too long.
            VaultUnavailable: it may or may not have been written.
        """
        await self._write(PATIENCE)

    async def _write(self, patience: float) -> None:
        # One at a time, so that what comes meanwhile is written together.
        async with self._writing:
            noted = dict(self._noted)
            added = [each for name, each in noted.items() if self._written.get(name) != each]
            if not added:
                return
            await add_rebuilt(
                self._context.vault,
                self._context.clock,
                self._plan.to,
                added,
                gone=self._plan.stale,
                patience=patience,
            )
            self._written = noted


LAST_LOOK_SECONDS = 10.0
"""What looking at interrupted builds may take, all of them together."""

_ENDS = {Status.FAILED: "failed", Status.BLOCKED: "is blocked", Status.REFUSED: "is refused"}


async def restore(
    context: RecoveryContext, plan: RestorePlan, *, on_progress: Callable[[Progress], None] = lambda _: None
) -> RestoreReport:
    """Do what a restore plan says; no single analyzer stops another, and none raises.

    A cancellation ends it early: the report then says `interrupted` and how far each analyzer came, so its
    caller must look. What the service has begun by then goes on there, and is found by the next restore.

    Args:
        context: the plan and its connections.
        plan: as `plan_restore` made it.
        on_progress: called after every change.

    Raises:
        AuditBusy: another run holds the log for too long.
        AuditBroken: the log is not whole, so that nothing is done that it could not tell.
    """
    await record_action(
        context,
        AuditAction.RESTORE_BEGUN,
        {
            "snapshot": plan.snapshot_id,
            "to": plan.to,
            "analyzers": len(plan.items),
            "fidelity": {item.target_analyzer: item.fidelity.value for item in plan.items},
        },
    )
    restoration = Restoration(context, plan, on_progress)
    interrupted = False
    try:
        await restoration.run()
    except asyncio.CancelledError:
        interrupted = True
        await to_its_end(restoration.look_at_interrupted())
    report = restoration.report(interrupted=interrupted)
    problems = await to_its_end(_close(context, report, restoration.rebuilt))
    return report.model_copy(update={"problems": (*report.problems, *problems)})


class Restoration:
    """One restore. Its report is true at any moment, also after a cancellation."""

    def __init__(self, context: RecoveryContext, plan: RestorePlan, on_progress: Callable[[Progress], None]) -> None:
        """Prepare; nothing is sent yet."""
        self._context = context
        self._plan = plan
        self._on_progress = on_progress
        self._builder = Builder(context, plan.to, self._tell)
        self._rebuilt = RebuiltNotes(context, plan)
        self._slots = asyncio.Semaphore(context.connections[plan.to].resource.max_concurrent_copies)
        self._begun = context.clock.monotonic()
        self._started: dict[str, float] = {}
        self._ended: dict[int, RestoredItem] = {}
        self._by_id = {item.target_analyzer: place for place, item in enumerate(plan.items) if _acts(item)}
        self._without_defaults = ""

    async def run(self) -> None:
        """Do everything the plan says; only a cancellation raises."""
        for place, item in enumerate(self._plan.items):
            if not _acts(item):
                self._end(place, _without_doing(item))
        await self._add_defaults()
        sorter: TopologicalSorter[int] = TopologicalSorter(
            {place: self._children(self._plan.items[place]) for place in self._by_id.values()}
        )
        sorter.prepare()
        ended: asyncio.Queue[int] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            while sorter.is_active():
                for place in sorter.get_ready():
                    group.create_task(self._drive(place, ended), name=self._plan.items[place].target_analyzer)
                sorter.done(await ended.get())

    async def look_at_interrupted(self) -> None:
        """Find what the target took without its answer being heard: that is rebuilt, too."""
        begun = [name for name in self._started if self._by_id[name] not in self._ended]
        try:
            async with asyncio.timeout(LAST_LOOK_SECONDS):
                for name in begun:
                    await self._builder.look_again(self._plan.items[self._by_id[name]])
        except (StandbyError, TimeoutError) as error:
            log.warning("Whether %s has what was just being built is not known: %r", self._plan.to, error)

    def report(self, *, interrupted: bool = False) -> RestoreReport:
        """Put what has become of each analyzer so far into a report."""
        items = tuple(self._ended.get(place) or self._interrupted(item) for place, item in enumerate(self._plan.items))
        return RestoreReport(
            plan=self._context.plan.name,
            run_id=self._context.run_id,
            via=self._context.via,
            snapshot=self._plan.snapshot_id,
            taken_at=self._plan.taken_at,
            to=self._plan.to,
            seconds=round(self._context.clock.monotonic() - self._begun, 3),
            interrupted=interrupted,
            totals=totals_of(items),
            items=items,
            problems=self._plan.problems,
        )

    async def _add_defaults(self) -> None:
        if not self._plan.added_defaults:
            return
        policy, to = self._context.plan.retries.validate_deployments, self._plan.to
        try:
            await try_again(
                policy,
                is_transient,
                lambda: steps.add_defaults(self._context.run, to, self._plan.added_defaults),
                self._context.clock,
            )
        except StandbyError as error:
            self._without_defaults = f"The defaults of {to} could not be completed: {error}"

    @property
    def rebuilt(self) -> RebuiltNotes:
        """What was built."""
        return self._rebuilt

    async def _tell(self, item: RestoreItem, created_at: datetime | None) -> None:
        await self._rebuilt.note(item, created_at)

    def _children(self, item: RestoreItem) -> list[int]:
        return [self._by_id[child] for child in item.needs if child in self._by_id]

    async def _drive(self, place: int, ended: asyncio.Queue[int]) -> None:
        item = self._plan.items[place]
        try:
            obstacle = self._without_defaults or self._hindrance(item)
            if obstacle:
                self._end(place, _ended(item, Status.BLOCKED, obstacle))
            else:
                self._end(place, await self._attempt(item))
        finally:
            ended.put_nowait(place)

    def _hindrance(self, item: RestoreItem) -> str:
        for child in self._children(item):
            result = self._ended.get(child)
            if result is None or result.status not in GOOD:
                end = "was interrupted" if result is None else _ENDS[result.status]
                name = self._plan.items[child].target_analyzer
                return f"Its child {name} {end}. Settle that, then run again."
        return ""

    async def _attempt(self, item: RestoreItem) -> RestoredItem:
        name = item.target_analyzer
        async with self._slots:
            self._started[name] = self._context.clock.monotonic()
            self._report()
            try:
                warnings = await self._builder.build(item, self._plan.definitions[name])
            except StandbyError as error:
                return self._timed(item, Status.FAILED, str(error))
            except Exception as error:
                # One analyzer never stops another, whatever happened to it; the trace goes to the log.
                log.exception("restoring %s at %s failed unexpectedly", name, self._plan.to)
                return self._timed(item, Status.FAILED, f"Unexpected {type(error).__name__}. See the log of this run.")
            return self._timed(item, Status.SUCCEEDED, "", warnings)

    def _timed(self, item: RestoreItem, status: Status, reason: str, warnings: tuple[str, ...] = ()) -> RestoredItem:
        seconds = self._context.clock.monotonic() - self._started[item.target_analyzer]
        return _ended(item, status, reason, round(seconds, 3), warnings)

    def _interrupted(self, item: RestoreItem) -> RestoredItem:
        if item.target_analyzer not in self._started:
            return _ended(item, Status.FAILED, "Interrupted before it was begun. Run again.")
        return self._timed(
            item,
            Status.FAILED,
            f"Interrupted while it was being built at {self._plan.to}. Run again: what is there is found.",
        )

    def _end(self, place: int, result: RestoredItem) -> None:
        self._ended[place] = result
        self._report()

    def _report(self) -> None:
        counts = totals_of(self._ended.values())
        begun = sum(1 for name in self._started if self._by_id[name] not in self._ended)
        self._on_progress(Progress(len(self._plan.items), begun, tuple(counts.items())))


async def _close(context: RecoveryContext, report: RestoreReport, rebuilt: RebuiltNotes) -> list[str]:
    """Keep what was done; what cannot be kept is told in the report, which must not be lost with it."""
    told: dict[str, JsonValue] = {
        "snapshot": report.snapshot,
        "to": report.to,
        "totals": {status.value: count for status, count in report.totals.items()},
        "seconds": report.seconds,
        "interrupted": report.interrupted,
    }
    deeds: tuple[Callable[[], Awaitable[object]], ...] = (
        rebuilt.close,
        lambda: add_durations(context.vault, report.plan, Kind.RESTORE, report.durations),
        lambda: record_action(context, AuditAction.RESTORE_ENDED, told),
    )
    problems: list[str] = []
    for deed in deeds:
        try:
            await deed()
        except StandbyError as error:
            log.warning("%s", error)
            problems.append(error.cause)
    return problems


def _acts(item: RestoreItem) -> bool:
    return item.action is RestoreAction.CREATE


def _without_doing(item: RestoreItem) -> RestoredItem:
    if item.met:
        return _ended(item, Status.SKIPPED, "")
    return _ended(item, Status.REFUSED, item.reason)


def _ended(
    item: RestoreItem,
    status: Status,
    reason: str,
    seconds: float = 0.0,
    warnings: tuple[str, ...] = (),
) -> RestoredItem:
    return RestoredItem(
        primary=item.primary,
        resource=item.resource,
        analyzer=item.analyzer,
        target_analyzer=item.target_analyzer,
        fidelity=item.fidelity,
        action=item.action,
        status=status,
        reason=reason,
        seconds=seconds,
        warnings=tuple(dict.fromkeys((*item.warnings, *warnings))),
    )
