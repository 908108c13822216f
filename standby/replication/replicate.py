"""A replication run from end to end, whoever provides its steps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from standby.concurrency import side_by_side
from standby.config.configuration import Configuration
from standby.fencing import read_fence
from standby.replication.engine import Replication, Steps
from standby.replication.errors import NothingSelected, PlanMoved
from standby.replication.inventory import connect, take_inventories
from standby.replication.items import Progress, Records, ReplicationPlan, Selection
from standby.replication.ledger import Ledger, read_ledger, read_rebuilt, without_rebuilt, write_ledger
from standby.replication.plan import make_plan, selected_pairs
from standby.replication.report import Ended, Report, Via
from standby.replication.saved_plan import SavedPlan, refuse_if_moved
from standby.replication.steps import RunContext
from standby.vault.filesystem import FileSystem
from standby.vault.folder import open_folder

log = logging.getLogger("standby.replication")

Pair = tuple[str, str]


@asynccontextmanager
async def open_run(
    configuration: Configuration, plan_name: str, vault: FileSystem | None = None
) -> AsyncIterator[RunContext]:
    """Open clients to every resource of a plan.

    Args:
        configuration: the plan and its resources.
        plan_name: which plan.
        vault: as it was opened by who can; without it, the local folder is.

    Raises:
        VaultNeedsPrefect: there is no local folder.
    """
    recovery_plan = configuration.plan(plan_name)
    files = vault or open_folder(configuration.vault)
    resources = [configuration.resource(name) for name in recovery_plan.resources]
    async with connect(resources) as connections:
        yield RunContext(recovery_plan, connections, files)


async def survey(context: RunContext, selection: Selection) -> ReplicationPlan:
    """Look at every resource that is asked for, and decide what a run would do; nothing is changed."""
    pairs = selected_pairs(context.recovery_plan, selection)
    ledgers = {pair: await read_ledger(context.vault, *pair, _version(context, pair)) for pair in pairs}
    records = {pair: ledger.records for pair, ledger in ledgers.items()}
    return await make_plan_now(context, selection, records)


@asynccontextmanager
async def begin(
    context: RunContext,
    selection: Selection,
    steps: Steps,
    *,
    approved: SavedPlan | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> AsyncIterator[Replication]:
    """Hold the ledgers of the pairs that are asked for, plan, and give the run that is ready to start.

    The ledgers are held first: what another run does meanwhile would make the plan untrue.

    Args:
        context: the plan and its connections.
        selection: what of the plan is asked for.
        steps: how each step is done.
        approved: a saved plan; the run does exactly what it says.
        on_progress: called after every change.

    Raises:
        LedgerBusy: another run is at one of the pairs.
        PlanMoved: what is approved no longer follows from what the resources hold.
        Fenced: the plan was switched over, and a pair would copy the wrong way.
    """
    async with _hold_ledgers(context, selection) as ledgers:
        fence = await read_fence(context.vault, context.recovery_plan)
        for pair in ledgers:
            fence.must_let_copy(*pair, context.switch)
        records = {pair: ledger.records for pair, ledger in ledgers.items()}
        plan = await _approved_plan(context, selection, records, approved)
        _tell_what_is_unknown(plan, ledgers)
        clients = context.connections.clients
        yield Replication(
            plan,
            steps,
            ledgers=ledgers,
            slots={target: asyncio.Semaphore(clients[target].resource.max_concurrent_copies) for _, target in ledgers},
            clock=context.clock,
            on_progress=on_progress,
        )


class Run(Protocol):
    """A run that is ready to start; its report is true at any moment."""

    async def run(self) -> None:
        """Do it; only a cancellation raises."""
        ...

    def report(self, *, run_id: str, via: Via) -> Report:
        """Say what has become of it so far."""
        ...


async def run_to_report(run: Run, *, run_id: str, via: Via) -> Ended:
    """Do a run; a cancellation ends it early, with a true report."""
    interrupted = False
    try:
        await run.run()
    except asyncio.CancelledError:
        interrupted = True
    return Ended(run.report(run_id=run_id, via=via), interrupted)


async def _approved_plan(
    context: RunContext, selection: Selection, records: Mapping[Pair, Records], approved: SavedPlan | None
) -> ReplicationPlan:
    if approved is None:
        return await make_plan_now(context, selection, records)
    try:
        plan = await make_plan_now(context, selection, records)
    except NothingSelected as error:
        raise PlanMoved(approved.made_at, [error.cause]) from None
    refuse_if_moved(approved, plan)
    return plan


async def make_plan_now(context: RunContext, selection: Selection, records: Mapping[Pair, Records]) -> ReplicationPlan:
    """Take the inventory of every resource of some pairs, and plan from it and from their ledgers."""
    names = sorted({name for pair in records for name in pair})
    inventories = await take_inventories(context.connections[name] for name in names)
    if selection.force:
        records = {
            pair: without_rebuilt(known, await read_rebuilt(context.vault, pair[1]), selection.force)
            for pair, known in records.items()
        }
    for inventory in inventories.values():
        context.connections.remember_serving(inventory.serving)
    return make_plan(context.recovery_plan, selection, inventories, records, context.clock.now())


@asynccontextmanager
async def _hold_ledgers(context: RunContext, selection: Selection) -> AsyncIterator[dict[Pair, Ledger]]:
    async with AsyncExitStack() as stack:

        async def hold(pair: Pair) -> Ledger:
            return await stack.enter_async_context(write_ledger(context.vault, *pair, _version(context, pair)))

        pairs = sorted(set(selected_pairs(context.recovery_plan, selection)))
        # Side by side: a vault that has leases only takes seconds for each.
        async with side_by_side() as group:
            tasks = {pair: group.create_task(hold(pair)) for pair in pairs}
        yield {pair: task.result() for pair, task in tasks.items()}


def _version(context: RunContext, pair: Pair) -> str:
    # A pair has the same one at both ends: a copy needs that.
    return context.connections[pair[0]].resource.api_version


def _tell_what_is_unknown(plan: ReplicationPlan, ledgers: Mapping[Pair, Ledger]) -> None:
    """Say once where a ledger is not there although the target already has copies: it may have been lost."""
    for (source, target), ledger in ledgers.items():
        held = sum((item.source, item.target) == (source, target) and item.found is not None for item in plan.items)
        if ledger.missing and held:
            log.warning(
                "There is no ledger of %s to %s (%s), and %d analyzer(s) are at %s: "
                "what is equal is recorded now, what differs is foreign and left alone unless asked",
                source,
                target,
                ledger.where,
                held,
                target,
            )
