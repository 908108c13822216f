"""Does what a restore plan says: children before parents, the rest side by side, nothing overwritten.

A build from a definition is sent once, polled, and verified; each step is tried again by its policy.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from standby.concurrency import to_its_end
from standby.document import JsonValue
from standby.errors import StandbyError
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, RunReport
from standby.recovery.proof.records import Proof
from standby.recovery.runs import Kind, add_durations
from standby.recovery.snapshots.fidelity import Fidelity, Restorable, RestoreAction, RestoreItem, RestorePlan
from standby.replication import steps
from standby.replication.engine import Attempt, Engine, Receipt, is_transient, try_again
from standby.replication.errors import CopyDiffers, CopyNotStarted
from standby.replication.fingerprint import Comparison, comparison, fingerprint
from standby.replication.items import GOOD, Key, Progress, Status, count
from standby.replication.ledger import Rebuilt, add_rebuilt
from standby.replication.pacing import Kind as Paced
from standby.replication.verdict import HOLDS_NOTHING, status_of
from standby.service.errors import Conflict, NotConnected, ProtocolError, ServiceUnavailable, Unreachable
from standby.service.models import Analyzer
from standby.text import lasting, some_of, totals
from standby.vault.errors import VaultError


class RestoredItem(Restorable):
    """One analyzer and its end; what did not succeed has a reason with the cause and the next action."""

    status: Status
    reason: str = ""
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


class RestoreReport(RunReport):
    snapshot: str
    taken_at: datetime
    to: str
    seconds: float
    interrupted: bool = False
    totals: dict[Status, int]
    items: tuple[RestoredItem, ...]
    problems: tuple[str, ...] = ()  # what was found wrong with the snapshot's files and made good by another store
    proofs: tuple[Proof, ...] = ()  # what samples showed of what was built
    added: tuple[str, ...] = ()  # ids at the primaries of what was left out of the active map, and is in it again

    @property
    def complete(self) -> bool:
        return not self.interrupted and all(item.status in GOOD for item in self.items)

    @property
    def summary(self) -> str:
        usable = Counter(item.fidelity for item in self.items if item.status in GOOD)
        faithful = totals({fidelity: usable[fidelity] for fidelity in Fidelity}, none="")
        return (
            f"Plan {self.plan} → {self.to}: {totals(self.totals)} in {lasting(self.seconds)}"
            f"{f' ({faithful})' if faithful else ''}."
            f"{' Back in the active map: ' + ', '.join(self.added) + '.' if self.added else ''}"
        )


log = logging.getLogger("standby.recovery")

PATIENCE = 30.0  # Seconds that another restore which writes the same list is waited for at the end


@dataclass(frozen=True)
class BuildSteps:
    """The steps of builds at one resource; `definitions` are what is sent, by id there."""

    context: RecoveryContext
    to: str
    definitions: Mapping[str, Mapping[str, JsonValue]]

    async def send(self, item: RestoreItem) -> tuple[Receipt, datetime | None]:
        """Start the build, at most once.

        Raises:
            Conflict: somebody else's analyzer of this id is there by now; it is left alone.
            CopyNotStarted: the answer was lost, and the target shows no sign of it.
        """
        policy, clock = self.context.plan.retries.copy_, self.context.clock
        return await try_again(policy, steps.copy_again, lambda: self._send(item), clock)

    async def poll(self, item: RestoreItem, receipt: Receipt) -> None:
        """Wait for the build's end; it ends as `wait_for` does."""
        what = f"The build of {item.target_analyzer} at {self.to}"
        policy, clock = self.context.plan.retries.poll, self.context.clock
        labelled = self.definitions[item.target_analyzer].get("knowledgeSources")
        known = self.context.run.experience.of("", self.to, Paced.LABELLED_BUILD if labelled else Paced.BUILD)
        wait = partial(steps.wait_for, self.context.run, self.to, item.target_analyzer, receipt, what, known)
        await try_again(policy, is_transient, wait, clock)

    async def verify(self, item: RestoreItem) -> Analyzer:
        policy, clock = self.context.plan.retries.verify, self.context.clock
        return await try_again(policy, is_transient, lambda: self._verify(item), clock)

    async def find_begun(self, item: RestoreItem) -> Analyzer | None:
        there = await steps.find(self.context.run, self.to, item.target_analyzer)
        return there if there is not None and self._is_ours(item, there) else None

    async def _send(self, item: RestoreItem) -> tuple[Receipt, datetime | None]:
        may_replace = item.over_failed and await self._make_room(item)
        there_is, is_ours = (self.context.run, self.to, item.target_analyzer), partial(self._is_ours, item)
        try:
            client = self.context.connections[self.to]
            definition = self.definitions[item.target_analyzer]
            started = await client.put_analyzer(item.target_analyzer, definition, allow_replace=may_replace)
        except NotConnected:
            raise
        except (Unreachable, ServiceUnavailable, ProtocolError):
            # It may have been taken: the target says, and a second one would be refused or overwrite.
            there = await steps.settle(*there_is, is_ours)
            if there is None:
                raise CopyNotStarted(item.target_analyzer, self.to) from None
        except Conflict:
            there = await steps.find(*there_is)
            if there is None:
                there = await steps.settle(*there_is, is_ours, steps.LATE)
            if there is None or not is_ours(there):
                raise
        else:
            receipt = Receipt.of(started, self.context.clock.monotonic(), started.analyzer.warnings)
            return receipt, started.analyzer.created_at
        return replace(steps.ADOPTED, begun=self.context.clock.monotonic()), there.created_at

    async def _make_room(self, item: RestoreItem) -> bool:
        """Save what failed, and say whether the build has to replace it; what became usable is left alone."""
        there = await steps.find(self.context.run, self.to, item.target_analyzer)
        status = status_of(there, self.context.clock.now(), self.context.plan.deadlines.poll) if there else ""
        if there is None or status not in HOLDS_NOTHING:
            return False
        may_replace, _ = await steps.make_room(self.context.run, self.to, there)
        return may_replace

    async def _verify(self, item: RestoreItem) -> Analyzer:
        there_is = self.context.run, self.to, item.target_analyzer
        analyzer = await steps.must_find(*there_is, lambda there: there.status != "creating")
        steps.must_be_ready(analyzer, self.to)
        compared = self._compared(item, analyzer)
        if not compared.is_filled_in(as_copied=True):
            raise CopyDiffers(item.target_analyzer, self.to, some_of((it.path for it in compared.differences()), 5))
        return analyzer

    def _is_ours(self, item: RestoreItem, there: Analyzer) -> bool:
        """Say whether what the target holds may be this build; the verification decides."""
        return there.status == "creating" or self._compared(item, there).is_filled_in(as_copied=True)

    def _compared(self, item: RestoreItem, there: Analyzer) -> Comparison:
        return comparison(self.definitions[item.target_analyzer], there.definition(), self.context.plan.ignore)


class RebuiltLog:
    """What one restore has built, in the vault as soon as it can be, and at the latest at the end."""

    def __init__(self, context: RecoveryContext, plan: RestorePlan) -> None:
        self._context = context
        self._plan = plan
        self.built: dict[str, Rebuilt] = {}
        self._written: dict[str, Rebuilt] = {}
        self._writing = asyncio.Lock()
        self._at_the_end = False

    async def add(self, item: RestoreItem, created_at: datetime | None, changed_at: datetime | None = None) -> None:
        """Add one incarnation; the restore goes on where the vault does not take it now."""
        if self._plan.is_drill:
            return
        definition = self._plan.definitions[item.target_analyzer]
        self.built[item.target_analyzer] = Rebuilt(
            analyzer=item.target_analyzer,
            created_at=created_at,
            fingerprint=item.fingerprint,
            fidelity=item.fidelity.value,
            trained=bool(definition.get("knowledgeSources")),
            origin=item.resource,
            original=item.analyzer,
            plan=self._context.plan.name,
            snapshot=self._plan.snapshot_id,
            changed_at=changed_at,
        )
        if self._at_the_end:
            return
        try:
            await self.close()
        except VaultError as error:
            # No analyzer waits for a vault that does not answer.
            self._at_the_end = True
            text = "The analyzers rebuilt at %s could not be recorded yet; this is tried again at the end: %s"
            log.warning(text, self._plan.to, error)

    async def close(self) -> None:
        # One at a time, so that what comes meanwhile is written together.
        async with self._writing:
            built = dict(self.built)
            added = [each for name, each in built.items() if self._written.get(name) != each]
            if not added:
                return
            await add_rebuilt(self._context.vault, self._plan.to, added, gone=self._plan.stale)
            self._written = built


LAST_LOOK_SECONDS = 10.0  # Seconds for checking all interrupted builds together


async def restore(
    context: RecoveryContext, plan: RestorePlan, *, on_progress: Callable[[Progress], None] = lambda _: None
) -> RestoreReport:
    """Do what a restore plan says; no single analyzer stops another, and none raises.

    A cancellation ends it early: the report then says `interrupted` and how far each analyzer came, so its
    caller must look. What the service has begun by then goes on there, and is found by the next restore.
    """
    if plan.items and len(plan.elsewhere) == len(plan.items):
        raise next(iter(plan.elsewhere.values()))
    fidelity: dict[str, JsonValue] = {item.target_analyzer: item.fidelity.value for item in plan.items}
    facts: dict[str, JsonValue] = {"snapshot": plan.snapshot_id, "to": plan.to, "analyzers": len(plan.items)}
    await record_action(context, AuditAction.RESTORE_BEGUN, {**facts, "fidelity": fidelity})
    restoration = Restoration(context, plan, on_progress)
    interrupted = False
    try:
        await restoration.run()
    except asyncio.CancelledError:
        interrupted = True
        await to_its_end(restoration.find_interrupted())
    report = restoration.report(interrupted=interrupted)
    problems = await to_its_end(_close(context, report, restoration.rebuilt))
    return report.model_copy(update={"problems": (*report.problems, *problems)})


class Restoration(Engine[RestoreItem, RestoredItem]):
    def __init__(self, context: RecoveryContext, plan: RestorePlan, on_progress: Callable[[Progress], None]) -> None:
        slots, clock = {plan.to: context.connections.slots(plan.to)}, context.clock
        super().__init__(plan.items, target=lambda _: plan.to, slots=slots, clock=clock, on_progress=on_progress)
        self.rebuilt = RebuiltLog(context, plan)
        self._context = context
        self._plan = plan
        self._steps = BuildSteps(context, plan.to, plan.definitions)
        self._created = {item.target_analyzer: item.key for item in plan.items if item.action is RestoreAction.CREATE}

    async def find_interrupted(self) -> None:
        """Find what the target took and the answer to which was lost: that is rebuilt, too."""
        try:
            async with asyncio.timeout(LAST_LOOK_SECONDS):
                for item in self._in_flight.values():
                    if there := await self._steps.find_begun(item):
                        await self.rebuilt.add(item, there.created_at)
        except (StandbyError, TimeoutError) as error:
            log.warning(
                "It is unknown whether %s has the analyzers that were just being built: %r", self._plan.to, error
            )

    def report(self, *, interrupted: bool = False) -> RestoreReport:
        items = self.results()
        return RestoreReport(
            **self._context.of_run,
            snapshot=self._plan.snapshot_id,
            taken_at=self._plan.taken_at,
            to=self._plan.to,
            seconds=round(self._seconds, 3),
            interrupted=interrupted,
            totals=count(items),
            items=items,
            problems=self._plan.problems,
        )

    async def _prepare(self) -> None:
        for item in self._plan.items:
            if item.met:
                self._end(item, Status.SKIPPED)
            elif item.action is not RestoreAction.CREATE:
                self._end(item, Status.REFUSED, item.reason)
        if self._plan.added_defaults:
            add = steps.DirectSteps(self._context.run).add_defaults
            await self._complete_defaults({self._plan.to: self._plan.added_defaults}, add)

    async def _make(self, item: RestoreItem, attempt: Attempt) -> None:
        receipt, created_at = await self._steps.send(item)
        attempt.receipt = receipt
        await self.rebuilt.add(item, created_at)
        await self._steps.poll(item, receipt)
        verified = await self._steps.verify(item)
        # With what the target filled in: that is no edit later.
        present = item.model_copy(update={"fingerprint": fingerprint(verified.definition(), self._context.plan.ignore)})
        await self.rebuilt.add(present, verified.created_at, verified.last_modified_at)
        attempt.warnings = receipt.warnings

    def _children(self, item: RestoreItem) -> dict[str, Key]:
        return {child: self._created[child] for child in item.needs if child in self._created}

    def _interruption(self, _item: RestoreItem, _attempt: Attempt, /) -> str:
        return f"Interrupted while it was being built at {self._plan.to}. Run again: nothing is built twice."

    def _result(self, item: RestoreItem, status: Status, reason: str, attempt: Attempt | None) -> RestoredItem:
        return RestoredItem(
            **{name: getattr(item, name) for name in Restorable.model_fields},
            status=status,
            reason=reason,
            seconds=round(self._clock.monotonic() - attempt.begun, 3) if attempt else 0.0,
            warnings=tuple(dict.fromkeys((*item.warnings, *(attempt.warnings if attempt else ())))),
        )


async def _close(context: RecoveryContext, report: RestoreReport, rebuilt: RebuiltLog) -> list[str]:
    """Record what was done; what cannot be recorded is said in the report, which must not be lost with it."""
    details: dict[str, JsonValue] = {
        "snapshot": report.snapshot,
        "to": report.to,
        "totals": {status.value: count for status, count in report.totals.items()},
        "seconds": report.seconds,
        "interrupted": report.interrupted,
        # The list of what was rebuilt may be lost: this log says the same (`replication/trained.py`).
        "rebuilt": [each.model_dump(mode="json") for each in rebuilt.built.values()],
    }
    built = [item.seconds for item in report.items if item.status is Status.SUCCEEDED]
    records: tuple[Callable[[], Awaitable[object]], ...] = (
        rebuilt.close,
        lambda: add_durations(context.vault, report.plan, {Kind.RESTORE: built}),
        lambda: record_action(context, AuditAction.RESTORE_ENDED, details),
    )
    problems: list[str] = []
    for record in records:
        try:
            await record()
        except StandbyError as error:
            log.warning("%s", error)
            problems.append(error.cause)
    return problems
