"""A replication run from end to end; its steps are handed in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from standby.clock import Clock
from standby.concurrency import side_by_side, to_its_end
from standby.config.configuration import Configuration
from standby.errors import StandbyError
from standby.fencing import OtherPlans, read_fence
from standby.replication import items
from standby.replication.engine import Attempt, Engine, Receipt
from standby.replication.errors import MayBeUnderWay, NothingSelected, PlanMoved, TrainedNotKept
from standby.replication.inventory import connect, look_at
from standby.replication.items import Key, PlanItem, Progress, Records, ReplicationPlan, Selection, Status
from standby.replication.ledger import Ledger, Owner, RebuiltThere, read_owners, read_rebuilt
from standby.replication.plan import make_plan
from standby.replication.report import Report, ReportItem, Via, end_of, make_report
from standby.replication.saved_plan import SavedPlan, refuse_if_moved
from standby.replication.steps import ADOPTED, RunContext, Verified
from standby.replication.trained import kept_words, known_rebuilt, side_copy, still_there, with_begun
from standby.replication.verdict import ACTING, OVERWRITABLE, Action, CopyRecord, Sighting, Verdict
from standby.service.calls import ANSWER_SECONDS
from standby.service.errors import GrantVoid
from standby.service.models import Analyzer
from standby.service.protocols import CopyAuthorization
from standby.service.retries import SILENCE_SECONDS
from standby.vault.vault import open_vault

log = logging.getLogger("standby.replication")
Pair = tuple[str, str]
GRANTS = 3  # How many grants a copy may use up: one was seen to be void right after it was given (REFERENCE)
GRANT_WAIT = 1.0  # Seconds before the second grant; twice as long before the third


class Steps(Protocol):
    """The steps of one copy, in the order in which `copy_analyzer` awaits them; each raises what went wrong."""

    def authorize(self, item: PlanItem, /) -> Awaitable[CopyAuthorization]: ...
    def validate_deployments(self, item: PlanItem, /) -> Awaitable[tuple[str, ...]]: ...
    def copy(self, item: PlanItem, authorization: CopyAuthorization, /) -> Awaitable[Receipt]: ...
    def poll(self, item: PlanItem, receipt: Receipt, /) -> Awaitable[Analyzer | None]: ...
    def verify(self, item: PlanItem, found: Analyzer | None, /) -> Awaitable[Verified]: ...
    def add_defaults(self, target: str, additions: Mapping[str, str], /) -> Awaitable[None]: ...

    def shown(self, target: str, /) -> Awaitable[Mapping[str, datetime | None]]:
        """List what a target shows at the end, and when each was made."""

    def note_begun(self, item: PlanItem, begun_at: datetime, /) -> Awaitable[None]:
        """Write down that a copy was begun which this run does not end well: the next one knows it by that."""


async def copy_analyzer(steps: Steps, item: PlanItem, attempt: Attempt, clock: Clock) -> Verified:
    """Make one copy: authorize, validate the deployments, copy, poll, verify."""
    # A copy that is under way already is only polled and verified. A grant that is void is asked for again.
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
    # Also when the copy fails from here on: they say where what was replaced is saved.
    attempt.warnings += receipt.warnings
    found = await steps.poll(item, receipt)
    verified = await steps.verify(item, found)
    attempt.warnings += verified.warnings
    return verified


class Replication(Engine[PlanItem, ReportItem]):
    def __init__(
        self,
        plan: ReplicationPlan,
        steps: Steps,
        *,
        ledgers: Mapping[Pair, Ledger],
        slots: Mapping[str, asyncio.Semaphore],
        clock: Clock,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        super().__init__(plan.items, target=lambda item: item.target, slots=slots, clock=clock, on_progress=on_progress)
        self.plan = plan
        self.ledgers = ledgers
        self._steps = steps

    async def _do_all(self) -> None:
        await super()._do_all()
        await self._look_again()

    def part(self, keys: Iterable[Key], on_progress: Callable[[Progress], None]) -> Replication:
        """Give the run of a part of the plan, on the same steps, ledgers and slots."""
        return Replication(
            items.part(self.plan, keys),
            self._steps,
            ledgers=self.ledgers,
            slots=self._slots,
            clock=self._clock,
            on_progress=on_progress,
        )

    def report(self, *, run_id: str, via: Via) -> Report:
        seconds, now = self._seconds, self._clock.now()
        return make_report(self.plan, self.results(), run_id=run_id, via=via, seconds=seconds, now=now)

    async def _prepare(self) -> None:
        idle = [item for item in self.plan.items if item.action not in ACTING]
        for item in idle:
            if not self._needs_added_defaults(item):
                self._end(item, *_without_copy(item))
        self._record_what_is_in_sync()
        await self._complete_defaults(self.plan.added_defaults, self._steps.add_defaults)
        for item in idle:
            if self._needs_added_defaults(item):
                cause = self._without_defaults.get(item.target)
                self._end(item, *((Status.BLOCKED, cause) if cause else _without_copy(item)))

    async def _look_again(self) -> None:
        """See in one list whether each copy is still there: its last poll stood for reading it back."""
        made: dict[str, list[PlanItem]] = {}
        for key, ended in self._results.items():
            if ended.status is Status.SUCCEEDED:
                made.setdefault(self._items[key].target, []).append(self._items[key])
        for target, copies in made.items():
            try:
                shown = await self._steps.shown(target)
            except StandbyError as error:
                log.warning("the copies at %s could not be listed at the end: %s", target, error)
                continue
            for item in copies:
                copied = self.ledgers[item.source, item.target].records[item.target_analyzer].target
                if (item.target_analyzer, copied.created_at) in shown.items():
                    continue
                try:
                    await self._steps.verify(item, None)
                except StandbyError as error:
                    self._end(item, Status.FAILED, str(error), self._attempts[item.key])

    async def _make(self, item: PlanItem, attempt: Attempt) -> None:
        if item.kept_as and item.found is not None:
            attempt.kept = await self._keep(side_copy(item, item.kept_as, item.found))
        try:
            verified = await copy_analyzer(self._steps, item, attempt, self._clock)
        except BaseException as error:
            may_be_begun = attempt.receipt is not None or isinstance(error, asyncio.CancelledError | MayBeUnderWay)
            if may_be_begun and attempt.asked:
                begun_at = self._clock.now() - timedelta(seconds=self._clock.monotonic() - attempt.begun)
                await to_its_end(self._steps.note_begun(item, begun_at))
            raise
        # What was rebuilt stays that, wherever it is copied to.
        target = replace(verified.target, rebuilt=verified.source.rebuilt)
        record = CopyRecord(verified.source, target, self._clock.now(), item.analyzer)
        self.ledgers[item.source, item.target].record({item.target_analyzer: record})

    async def _keep(self, item: PlanItem) -> tuple[str, ...]:
        try:
            await copy_analyzer(self._steps, item, Attempt(self._clock.monotonic()), self._clock)
            # What is about to be replaced must be there for certain.
            await self._steps.verify(item, None)
        except StandbyError as error:
            raise TrainedNotKept(item.analyzer, item.target, item.target_analyzer, error.cause) from None
        return (kept_words(item),)

    def _children(self, item: PlanItem) -> dict[str, Key]:
        return {child: (item.source, item.target, child) for child in item.needs}

    def _needs_added_defaults(self, item: PlanItem) -> bool:
        added = self.plan.added_defaults.get(item.target, {})
        return item.action is Action.SKIP and any(name in added for _, name in item.models)

    def _record_what_is_in_sync(self) -> None:
        """Bring the ledgers up to what is equal now: one may be lost, or a run killed before it recorded."""
        for (source, target), ledger in self.ledgers.items():
            ledger.record(
                {
                    item.target_analyzer: CopyRecord(item.expected, item.found, self._clock.now(), item.analyzer)
                    for item in self.plan.items
                    if (item.source, item.target, item.verdict) == (source, target, Verdict.IN_SYNC)
                    and item.found is not None
                    and not _is_recorded(item, ledger)
                }
            )

    def _interruption(self, item: PlanItem, attempt: Attempt, /) -> str:
        if attempt.receipt is None:
            return f"Interrupted before {item.target} confirmed a copy. Run again: no copy is started twice."
        where = f"{item.target} as operation {attempt.receipt.operation_id}".removesuffix(" as operation ")
        return f"Interrupted while its copy is under way at {where}. Run again: it is not started twice."

    def _result(self, item: PlanItem, status: Status, reason: str, attempt: Attempt | None) -> ReportItem:
        seconds = self._clock.monotonic() - attempt.begun if attempt else 0.0
        return end_of(item, status, reason, attempt, seconds=seconds)


def _is_recorded(item: PlanItem, ledger: Ledger) -> bool:
    last = ledger.records.get(item.target_analyzer)
    if last is None or item.found is None or (last.source, last.target) == (item.expected, item.found):
        return last is not None
    is_same = item.expected.is_same(last.source) and item.found.is_same(last.target)
    return is_same and not last.is_by_first_rules


def _without_copy(item: PlanItem) -> tuple[Status, str]:
    if item.action is Action.SKIP:
        return Status.SKIPPED, ""
    return (Status.BLOCKED if item.verdict is Verdict.BLOCKED else Status.REFUSED), item.reason


@asynccontextmanager
async def open_run(configuration: Configuration, plan_name: str) -> AsyncIterator[RunContext]:
    recovery_plan = configuration.plan(plan_name)
    resources = [configuration.resource(name) for name in recovery_plan.resources]
    # A plan that asks more often for a grant waits as much longer for a resource that does not answer.
    silence = max(SILENCE_SECONDS, recovery_plan.retries.authorize.attempts * ANSWER_SECONDS)
    async with open_vault(configuration.vault) as vault, connect(resources, silence) as connections:
        yield RunContext(recovery_plan, connections, vault)


async def survey(context: RunContext, selection: Selection) -> ReplicationPlan:
    """Look at every resource that is asked for, and decide what a run would do; nothing is changed."""
    pairs = items.selected_pairs(context.recovery_plan, selection)
    records = {pair: (await context.read_ledger(*pair)).records for pair in pairs}
    return await make_plan_now(context, selection, records)


@asynccontextmanager
async def begin(
    context: RunContext,
    selection: Selection,
    steps: Steps,
    *,
    approved: SavedPlan | None = None,  # a saved plan; the run does exactly what it says
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> AsyncIterator[Replication]:
    """Hold the ledgers of the pairs that are asked for, plan, and give the run that is ready to start."""
    async with AsyncExitStack() as stack:
        # The ledgers are held first: what another run does meanwhile would make the plan untrue. At the same time: in
        # object storage each takes several calls.
        pairs = sorted(set(items.selected_pairs(context.recovery_plan, selection)))
        async with side_by_side() as group:
            tasks = {pair: group.create_task(stack.enter_async_context(context.write_ledger(*pair))) for pair in pairs}
        ledgers = {pair: task.result() for pair, task in tasks.items()}
        fence = await read_fence(context.vault, context.recovery_plan, known=context.known_epoch)
        for pair, ledger in ledgers.items():
            ledger.know(fence.plan, fence.epoch)
            fence.must_allow_copy(*pair, context.failover_run)
            context.experience.take_up(*pair, ledger.took)
        records = {pair: ledger.records for pair, ledger in ledgers.items()}
        others = await context.other_plans(fresh=True)
        try:
            plan = await make_plan_now(context, selection, records, approved)
        except NothingSelected as error:
            if approved is None:
                raise
            raise PlanMoved(approved.made_at, [error.cause]) from None
        if approved is not None:
            refuse_if_moved(approved, plan)
        _refuse_if_all_serve_elsewhere(plan, others)
        _warn_of_missing_ledgers(plan, ledgers)
        slots = {target: context.connections.slots(target) for _, target in ledgers}
        yield Replication(plan, steps, ledgers=ledgers, slots=slots, clock=context.clock, on_progress=on_progress)


async def make_plan_now(
    context: RunContext, selection: Selection, records: Mapping[Pair, Records], approved: SavedPlan | None = None
) -> ReplicationPlan:
    """Take the inventory of all resources of some pairs, and plan from it and from their ledgers, as was `approved`."""
    # A resource that cannot be looked at costs its own pairs only; its error is raised where these are all there are.
    names = sorted({name for pair in records for name in pair})
    inventories, failures = await look_at((context.connections[name] for name in names), context.recovery_plan.ignore)
    if failures and not any(failures.keys().isdisjoint(pair) for pair in records):
        raise next(failures[name] for pair in records for name in pair if name in failures)
    for inventory in inventories.values():
        context.connections.remember_serving(inventory.serving)
    records = dict(records)
    for pair in records:
        if (target := inventories.get(pair[1])) is not None:
            version, ignore = context.api_version(pair[0]), context.recovery_plan.ignore
            records[pair] = await with_begun(context.vault, version, pair, records[pair], target.analyzers, ignore)
    rebuilt = {
        name: still_there(await read_rebuilt(context.vault, name), inventory.analyzers)
        for name, inventory in inventories.items()
    }

    others, following = await context.other_plans(), bool(context.failover_run)

    def plan(
        rebuilt: Mapping[str, RebuiltThere], owners: Mapping[str, Mapping[str, Owner]] | None = None
    ) -> ReplicationPlan:
        now, recovery_plan = context.clock.now(), context.recovery_plan
        return make_plan(
            *(recovery_plan, selection, inventories, records, now, rebuilt, owners),
            others=others,
            following=following,
            unseen={name: str(error) for name, error in failures.items()},
            earlier=approved is not None,
        )

    made = plan(rebuilt)
    owners = await _owners(context, made, records)
    # Before a training is overwritten, or that is refused, all that the vault knows of both counts.
    doubtful = {
        name
        for item in made.items
        if item.verdict in OVERWRITABLE and item.found and item.found.has_training and not item.expected.rebuilt
        for name in (item.source, item.target)
    }
    known = {
        name: still_there(await known_rebuilt(context.vault, name, there), there)
        for name in doubtful
        if (there := inventories[name].analyzers)
    }
    if any(owners.values()) or any(known[name] != rebuilt[name] for name in known):
        return plan({**rebuilt, **known}, owners)
    return made


async def _owners(
    context: RunContext, made: ReplicationPlan, records: Mapping[Pair, Records]
) -> dict[str, dict[str, Owner]]:
    """Tell what of all that is to be replaced was copied for another plan: two would overwrite it in turn."""
    replaced: dict[str, dict[str, Sighting]] = {}
    for item in made.items:
        # A failover is not held up: it only replaces copies of its own.
        if item.action is Action.REPLACE and item.found is not None and not context.failover_run:
            replaced.setdefault(item.target, {})[item.target_analyzer] = item.found
    owners: dict[str, dict[str, Owner]] = {}
    for target, there in replaced.items():
        ours = {name: records.get((name, target), {}) for name in context.recovery_plan.resources}
        api_version = context.connections[target].resource.api_version
        owners[target] = await read_owners(context.vault, target, api_version, there, ours)
    return owners


def _refuse_if_all_serve_elsewhere(plan: ReplicationPlan, others: OtherPlans) -> None:
    refused = [item for item in plan.items if item.action is Action.REFUSE]
    against = [others.against_copy(it.source, it.target, it.analyzer, it.target_analyzer) for it in refused]
    first = against[0] if against else None
    if first is not None and len(against) == len(plan.items) and all(against):
        raise first


def _warn_of_missing_ledgers(plan: ReplicationPlan, ledgers: Mapping[Pair, Ledger]) -> None:
    """Warn where there is no ledger although the target already has copies: it may have been lost."""
    for (source, target), ledger in ledgers.items():
        held = sum((item.source, item.target) == (source, target) and item.found is not None for item in plan.items)
        if ledger.missing and held:
            log.warning(
                "There is no ledger of %s to %s (%s), and %d analyzer(s) are at %s: "
                "equal ones are recorded now; those that differ count as foreign and are replaced only if you allow it",
                *(source, target, ledger.where, held, target),
            )
