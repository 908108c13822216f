"""Drives a plan: children before parents, targets side by side, no failure beyond its own parents.

The steps are handed in. Under Prefect they are tasks, in direct mode the plain functions underneath, so
that what runs in an emergency is what was rehearsed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import Protocol

from standby.clock import Clock
from standby.errors import StandbyError
from standby.replication.items import (
    GOOD,
    ItemResult,
    PlanItem,
    Progress,
    ReplicationPlan,
    Status,
    count,
    part,
)
from standby.replication.report import Report, Via, make_report
from standby.replication.steps import ADOPTED, Receipt, Verified
from standby.replication.verdict import ACTING, Action, CopyRecord, Verdict
from standby.service.errors import GrantVoid
from standby.service.protocols import CopyAuthorization

log = logging.getLogger("standby.replication")

GRANTS = 3
"""How many grants a copy may use up: one was seen to be void right after it was given (REFERENCE)."""

GRANT_WAIT = 1.0
"""Seconds before the second grant; twice as long before the third."""

_ENDS = {Status.FAILED: "failed", Status.BLOCKED: "is blocked", Status.REFUSED: "is refused"}

Key = tuple[str, str, str]


class Steps(Protocol):
    """The steps of one copy, in the order in which `copy_analyzer` awaits them; each raises what went wrong."""

    def authorize(self, item: PlanItem, /) -> Awaitable[CopyAuthorization]:
        """Ask the source for a grant."""
        ...

    def validate_deployments(self, item: PlanItem, /) -> Awaitable[tuple[str, ...]]:
        """Check the models at the target; give warnings."""
        ...

    def copy(self, item: PlanItem, authorization: CopyAuthorization, /) -> Awaitable[Receipt]:
        """Start the copy."""
        ...

    def poll(self, item: PlanItem, receipt: Receipt, /) -> Awaitable[None]:
        """Wait for the copy's end."""
        ...

    def verify(self, item: PlanItem, /) -> Awaitable[Verified]:
        """Compare the copy with what was planned."""
        ...

    def add_defaults(self, target: str, additions: Mapping[str, str], /) -> Awaitable[None]:
        """Add model names to a target's defaults, before any copy."""
        ...


@dataclass
class Attempt:
    """What is known of one copy so far; true at any moment, also after a cancellation.

    Attributes:
        begun: when it began, in the clock's monotonic seconds.
        asked: how often the service was asked to copy.
        receipt: what the service answered; `None` until it has.
    """

    begun: float
    asked: int = 0
    receipt: Receipt | None = None
    warnings: tuple[str, ...] = ()

    @property
    def attempts(self) -> int:
        """How often the service was asked to copy, the retries of the step included."""
        return self.receipt.attempts + max(self.asked - 1, 0) if self.receipt else self.asked


async def copy_analyzer(steps: Steps, item: PlanItem, attempt: Attempt, clock: Clock) -> Verified:
    """Make one copy: authorize, validate the deployments, copy, poll, verify.

    A copy that is under way already is only polled and verified. A grant that is void is asked for again.

    Args:
        steps: how each step is done: as a task of Prefect, or plainly.
        item: what is copied to where.
        attempt: is kept up to date.
        clock: for the waits between two grants.
    """
    receipt = replace(ADOPTED, begun=clock.monotonic()) if item.action is Action.ADOPT else None
    grants = 0
    while receipt is None:
        grants += 1
        try:
            authorization = await steps.authorize(item)
            attempt.warnings = await steps.validate_deployments(item)
            attempt.asked += 1
            receipt = await steps.copy(item, authorization)
        except GrantVoid:
            if grants == GRANTS:
                raise
            await clock.sleep(GRANT_WAIT * grants)
    attempt.receipt = receipt
    # Also when the copy fails from here on: they say where what was replaced is kept.
    attempt.warnings += receipt.warnings
    await steps.poll(item, receipt)
    verified = await steps.verify(item)
    attempt.warnings += verified.warnings
    return verified


class Book(Protocol):
    """Keeps what was copied from what, for one source and one target."""

    @property
    def records(self) -> Mapping[str, CopyRecord]:
        """The last record of each target analyzer."""
        ...

    def record(self, records: Mapping[str, CopyRecord]) -> None:
        """Add verified copies, by target analyzer."""
        ...


class Replication:
    """One run of a plan. `results` is true at any moment, also after a cancellation."""

    def __init__(
        self,
        plan: ReplicationPlan,
        steps: Steps,
        *,
        ledgers: Mapping[tuple[str, str], Book],
        slots: Mapping[str, asyncio.Semaphore],
        clock: Clock,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """Prepare a run.

        Args:
            plan: what to do.
            steps: how each step is done.
            ledgers: open for writing, by source and target.
            slots: how many copies may be in flight at once, by target.
            clock: for durations, dates and waits.
            on_progress: called after every change.
        """
        self._plan = plan
        self._steps = steps
        self._ledgers = ledgers
        self._slots = slots
        self._clock = clock
        self._on_progress = on_progress
        self._begun = clock.monotonic()
        self._results: dict[Key, ItemResult] = {}
        self._attempts: dict[Key, Attempt] = {}
        self._broken_targets: dict[str, str] = {}

    async def run(self) -> None:
        """Do everything the plan says; only a cancellation raises."""
        idle = [item for item in self._plan.items if item.action not in ACTING]
        for item in idle:
            if not self._needs_added_defaults(item):
                self._end(_without_doing(item))
        self._record_what_is_in_sync()
        await self._add_defaults()
        for item in idle:
            if self._needs_added_defaults(item):
                self._end(self._without_defaults(item) or _without_doing(item))
        acting = {item.key: item for item in self._plan.items if item.action in ACTING}
        sorter: TopologicalSorter[Key] = TopologicalSorter(
            {key: [child for child in _children(item) if child in acting] for key, item in acting.items()}
        )
        sorter.prepare()
        ended: asyncio.Queue[Key] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            while sorter.is_active():
                for key in sorter.get_ready():
                    group.create_task(self._drive(acting[key], ended), name="/".join(key))
                sorter.done(await ended.get())

    @property
    def plan(self) -> ReplicationPlan:
        """What is to be done."""
        return self._plan

    @property
    def ledgers(self) -> Mapping[tuple[str, str], Book]:
        """Where verified copies are recorded, by source and target."""
        return self._ledgers

    def part(self, keys: Iterable[Key], on_progress: Callable[[Progress], None]) -> Replication:
        """Give the run of a part of the plan, on the same steps, ledgers and slots."""
        return Replication(
            part(self._plan, keys),
            self._steps,
            ledgers=self._ledgers,
            slots=self._slots,
            clock=self._clock,
            on_progress=on_progress,
        )

    def results(self) -> tuple[ItemResult, ...]:
        """Give the end of every item, in the plan's order; what has not ended counts as interrupted."""
        return tuple(self._results.get(item.key) or self._interrupted(item) for item in self._plan.items)

    def report(self, *, run_id: str, via: Via) -> Report:
        """Put what has become of the plan so far into a report."""
        return make_report(
            plan=self._plan.recovery_plan,
            run_id=run_id,
            via=via,
            seconds=self._clock.monotonic() - self._begun,
            results=self.results(),
            now=self._clock.now(),
        )

    def _record_what_is_in_sync(self) -> None:
        """Bring the ledgers up to what is equal now: one may be lost, or a run killed before it recorded."""
        for (source, target), ledger in self._ledgers.items():
            ledger.record(
                {
                    item.target_analyzer: CopyRecord(item.expected, item.found, self._clock.now(), item.analyzer)
                    for item in self._plan.items
                    if (item.source, item.target, item.verdict) == (source, target, Verdict.IN_SYNC)
                    and item.found is not None
                    and not _is_recorded(item, ledger)
                }
            )

    async def _add_defaults(self) -> None:
        for target, additions in self._plan.added_defaults.items():
            try:
                await self._steps.add_defaults(target, additions)
            except StandbyError as error:
                self._broken_targets[target] = f"The defaults of {target} could not be completed: {error}"
            except Exception as error:
                log.exception("adding to the defaults of %s failed unexpectedly", target)
                self._broken_targets[target] = (
                    f"The defaults of {target} could not be completed: unexpected {type(error).__name__}. "
                    "See the log of this run."
                )

    def _needs_added_defaults(self, item: PlanItem) -> bool:
        added = self._plan.added_defaults.get(item.target, {})
        return item.action is Action.SKIP and any(name in added for _, name in item.models)

    def _without_defaults(self, item: PlanItem) -> ItemResult | None:
        cause = self._broken_targets.get(item.target)
        return ItemResult(item, Status.BLOCKED, cause, warnings=item.warnings) if cause else None

    async def _drive(self, item: PlanItem, ended: asyncio.Queue[Key]) -> None:
        try:
            self._end(self._hindered(item) or await self._attempt(item))
        finally:
            ended.put_nowait(item.key)

    def _hindered(self, item: PlanItem) -> ItemResult | None:
        if broken := self._without_defaults(item):
            return broken
        for child in _children(item):
            result = self._results.get(child)
            if result is None or result.status not in GOOD:
                end = "was interrupted" if result is None else _ENDS[result.status]
                cause = f"Its child {child[2]} {end}. Settle that, then run again."
                return ItemResult(item, Status.BLOCKED, cause, warnings=item.warnings)
        return None

    async def _attempt(self, item: PlanItem) -> ItemResult:
        async with self._slots[item.target]:
            attempt = self._attempts[item.key] = Attempt(begun=self._clock.monotonic())
            self._report()
            try:
                verified = await copy_analyzer(self._steps, item, attempt, self._clock)
                record = CopyRecord(verified.source, verified.target, self._clock.now(), item.analyzer)
                self._ledgers[item.source, item.target].record({item.target_analyzer: record})
            except StandbyError as error:
                return self._result(item, attempt, Status.FAILED, reason=str(error))
            except Exception as error:
                # One analyzer never stops another, whatever happened to it; the trace goes to the log.
                log.exception("%s to %s failed unexpectedly", item.analyzer, item.target)
                reason = f"Unexpected {type(error).__name__}. See the log of this run."
                return self._result(item, attempt, Status.FAILED, reason=reason)
            return self._result(item, attempt, Status.SUCCEEDED)

    def _result(self, item: PlanItem, attempt: Attempt, status: Status, *, reason: str = "") -> ItemResult:
        return ItemResult(
            item=item,
            status=status,
            reason=reason,
            seconds=self._clock.monotonic() - attempt.begun,
            attempts=attempt.attempts,
            operation_id=attempt.receipt.operation_id if attempt.receipt else "",
            warnings=tuple(dict.fromkeys(item.warnings + attempt.warnings)),
        )

    def _interrupted(self, item: PlanItem) -> ItemResult:
        attempt = self._attempts.get(item.key)
        if attempt is None:
            reason = "Interrupted before it was begun. Run again."
            return ItemResult(item, Status.FAILED, reason, warnings=item.warnings)
        if attempt.receipt is None:
            reason = f"Interrupted before {item.target} confirmed a copy. Run again: one it took is adopted."
        else:
            operation = f" as operation {attempt.receipt.operation_id}" if attempt.receipt.operation_id else ""
            reason = f"Interrupted while its copy is under way at {item.target}{operation}. Run again to adopt it."
        return self._result(item, attempt, Status.FAILED, reason=reason)

    def _end(self, result: ItemResult) -> None:
        self._results[result.item.key] = result
        self._report()

    def _report(self) -> None:
        counts = count(self._results.values())
        in_flight = len(self._attempts.keys() - self._results.keys())
        self._on_progress(Progress(len(self._plan.items), in_flight, tuple(counts.items())))


def _children(item: PlanItem) -> list[Key]:
    return [(item.source, item.target, child) for child in item.needs]


def _is_recorded(item: PlanItem, ledger: Book) -> bool:
    last = ledger.records.get(item.target_analyzer)
    return last is not None and (last.source, last.target) == (item.expected, item.found)


def _without_doing(item: PlanItem) -> ItemResult:
    if item.action is Action.SKIP:
        return ItemResult(item, Status.SKIPPED, warnings=item.warnings)
    status = Status.BLOCKED if item.verdict is Verdict.BLOCKED else Status.REFUSED
    return ItemResult(item, status, item.reason, warnings=item.warnings)
