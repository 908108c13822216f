"""A replication run from end to end, whoever provides its steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager

from standby.config.configuration import Configuration
from standby.replication.context import RunContext, connect
from standby.replication.engine import Replication, Steps
from standby.replication.inventory import take_inventories
from standby.replication.ledger import read_ledger, write_ledger
from standby.replication.planning import ReplicationPlan, Selection, make_plan, selected_pairs
from standby.replication.results import Progress


@asynccontextmanager
async def open_run(configuration: Configuration, plan_name: str) -> AsyncIterator[RunContext]:
    """Open clients to every resource of a plan."""
    recovery_plan = configuration.plan(plan_name)
    resources = [configuration.resource(name) for name in recovery_plan.resources]
    async with connect(resources) as connections:
        yield RunContext(recovery_plan, connections, configuration.vault.folder)


async def survey(context: RunContext, selection: Selection) -> ReplicationPlan:
    """Look at every resource that is asked for, and decide what a run would do; nothing is changed."""
    pairs = list(selected_pairs(context.recovery_plan, selection))
    names = sorted({name for pair in pairs for name in pair})
    inventories = await take_inventories(context.connections[name] for name in names)
    for inventory in inventories.values():
        context.connections.remember_serving(inventory.serving)
    records = {pair: read_ledger(context.vault, *pair).records for pair in pairs}
    return make_plan(context.recovery_plan, selection, inventories, records, context.clock.now())


@contextmanager
def prepare(
    plan: ReplicationPlan,
    context: RunContext,
    steps: Steps,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Iterator[Replication]:
    """Hold the ledgers of a plan's pairs while it is carried out.

    Raises:
        LedgerBusy: another run on this machine is at one of the pairs.
    """
    pairs = sorted({(item.source, item.target) for item in plan.items})
    clients = context.connections.clients
    with ExitStack() as stack:
        yield Replication(
            plan,
            steps,
            ledgers={pair: stack.enter_context(write_ledger(context.vault, *pair)) for pair in pairs},
            slots={
                target: asyncio.Semaphore(clients[target].resource.max_concurrent_copies)
                for target in {target for _, target in pairs}
            },
            clock=context.clock,
            on_progress=on_progress,
        )
