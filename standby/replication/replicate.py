"""A replication run from end to end, whoever provides its steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager

from standby.config.configuration import Configuration
from standby.replication.context import RunContext, connect
from standby.replication.engine import Replication, Steps
from standby.replication.errors import NothingSelected, PlanMoved
from standby.replication.inventory import take_inventories
from standby.replication.ledger import Ledger, read_ledger, write_ledger
from standby.replication.planning import Records, ReplicationPlan, Selection, make_plan, selected_pairs
from standby.replication.results import Progress
from standby.replication.saved_plan import SavedPlan, refuse_if_moved

Pair = tuple[str, str]


@asynccontextmanager
async def open_run(configuration: Configuration, plan_name: str) -> AsyncIterator[RunContext]:
    """Open clients to every resource of a plan."""
    recovery_plan = configuration.plan(plan_name)
    resources = [configuration.resource(name) for name in recovery_plan.resources]
    async with connect(resources) as connections:
        yield RunContext(recovery_plan, connections, configuration.vault.folder)


async def survey(context: RunContext, selection: Selection) -> ReplicationPlan:
    """Look at every resource that is asked for, and decide what a run would do; nothing is changed."""
    pairs = selected_pairs(context.recovery_plan, selection)
    records = {pair: read_ledger(context.vault, *pair).records for pair in pairs}
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
        LedgerBusy: another run on this machine is at one of the pairs.
        PlanMoved: what is approved no longer follows from what the resources hold.
    """
    with _hold_ledgers(context, selection) as ledgers:
        records = {pair: ledger.records for pair, ledger in ledgers.items()}
        plan = await _approved_plan(context, selection, records, approved)
        clients = context.connections.clients
        yield Replication(
            plan,
            steps,
            ledgers=ledgers,
            slots={
                target: asyncio.Semaphore(clients[target].resource.max_concurrent_copies)
                for _, target in ledgers
            },
            clock=context.clock,
            on_progress=on_progress,
        )


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


async def make_plan_now(
    context: RunContext, selection: Selection, records: Mapping[Pair, Records]
) -> ReplicationPlan:
    """Take the inventory of every resource of some pairs, and plan from it and from their ledgers."""
    names = sorted({name for pair in records for name in pair})
    inventories = await take_inventories(context.connections[name] for name in names)
    for inventory in inventories.values():
        context.connections.remember_serving(inventory.serving)
    return make_plan(context.recovery_plan, selection, inventories, records, context.clock.now())


@contextmanager
def _hold_ledgers(context: RunContext, selection: Selection) -> Iterator[dict[Pair, Ledger]]:
    pairs = sorted(set(selected_pairs(context.recovery_plan, selection)))
    with ExitStack() as stack:
        yield {pair: stack.enter_context(write_ledger(context.vault, *pair)) for pair in pairs}
