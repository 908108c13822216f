"""One replication run inside a switch: what the side that serves has goes to the side that is about to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeVar

from standby.clock import Clock
from standby.config.plan import RecoveryPlan
from standby.fencing import read_fence
from standby.recovery.context import RecoveryContext
from standby.recovery.failback.direction import home_between, plan_between
from standby.recovery.failback.lineage import Lineage, trace
from standby.recovery.failback.mirrored import mirror_ledgers, relate_standbys
from standby.recovery.failback.rebuilt_sides import meaning
from standby.replication.context import RunContext
from standby.replication.direct import DirectSteps
from standby.replication.engine import Steps
from standby.replication.errors import LedgerBusy
from standby.replication.inventory import Inventory, take_inventories
from standby.replication.ledger import read_ledger
from standby.replication.naming import TargetNames, referenced_anywhere
from standby.replication.planned import Records, Selection
from standby.replication.rebuilt import RebuiltThere, read_rebuilt
from standby.replication.replicate import begin
from standby.replication.report import Report
from standby.replication.results import Progress

PATIENCE = 120.0
"""Seconds for which a replication that is already at the pair is waited for."""

AGAIN = 1.0

T = TypeVar("T")

StepsFactory = Callable[[RunContext], Steps]
"""Makes the steps of a run: plain ones, or Prefect's tasks."""


async def synchronise(
    context: RecoveryContext,
    source: str,
    target: str,
    *,
    selection: Selection | None = None,
    steps: StepsFactory = DirectSteps,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Bring one resource up to what another one has, also against the direction of the plan.

    What is older at the target is replaced, and kept in the vault; what was edited there, or was never copied
    from here, is left alone and reported as refused. Back home, copies get their own ids again, and both
    ledgers of the pair agree afterwards, so that the next scheduled run copies nothing back.

    Args:
        context: of the switch; its run id passes the fence.
        source: the resource that serves.
        target: the one that is to.
        selection: what is asked for instead, with the ids at the target where the plan has no such pair.
        steps: makes the steps of the run.
        on_progress: called after every change.

    Raises:
        NoPairBetween: neither stands in for the other.
        Fenced: the source does not serve, or another switch is under way.
        LedgerBusy: another replication is at this pair for too long.
    """
    fence = await read_fence(context.vault, context.plan)
    fence.must_let_copy(source, target, context.run_id)
    home = home_between(fence, context.plan, source, target)
    if home == source:
        asked = selection or Selection(on_existing="replace", on_foreign="refuse")
        return await _run(context, context.plan, source, target, asked, steps, on_progress)
    if home == target:
        await once_free(context.clock, lambda: mirror_ledgers(context, home, source))
    else:
        await once_free(context.clock, lambda: relate_standbys(context, home, source, target))
    asked = selection or await _everything(context, home, source, target)
    plan = plan_between(context.plan, source, target)
    report = await _run(context, plan, source, target, asked, steps, on_progress)
    if home == target:
        await once_free(context.clock, lambda: mirror_ledgers(context, home, source))
    return report


async def once_free(clock: Clock, work: Callable[[], Awaitable[T]]) -> T:
    """Do what needs a pair's ledger, as soon as the run that holds it has ended.

    Raises:
        LedgerBusy: it does not end within `PATIENCE`.
    """
    begun = clock.monotonic()
    while True:
        try:
            return await work()
        except LedgerBusy:
            if clock.monotonic() - begun > PATIENCE:
                raise
        await clock.sleep(AGAIN)


async def _run(
    context: RecoveryContext,
    plan: RecoveryPlan,
    source: str,
    target: str,
    asked: Selection,
    steps: StepsFactory,
    on_progress: Callable[[Progress], None],
) -> Report:
    run = replace(context.run, recovery_plan=plan, switch=context.run_id)
    selection = replace(asked, sources=(source,), targets=(target,))
    async with AsyncExitStack() as stack:
        replication = await once_free(
            context.clock,
            lambda: stack.enter_async_context(begin(run, selection, steps(run), on_progress=on_progress)),
        )
        # The fence is that of the recovery plan, whatever plan the run goes by; and it may have moved.
        (await read_fence(context.vault, context.plan)).must_let_copy(source, target, context.run_id)
        await replication.run()
        return replication.report(run_id=context.run_id, via=context.via)


async def _everything(context: RecoveryContext, home: str, source: str, target: str) -> Selection:
    """Choose what belongs to the plan at a standby, under the ids that it has at the target."""
    version = context.connections[home].resource.api_version
    records = (await read_ledger(context.vault, home, source, version)).records
    inventories = await take_inventories(context.connections[name] for name in {source, target})
    lineage = trace(context.plan, inventories.get(home), inventories[source], records, context.clock.now())
    names = lineage.home_ids
    if target != home:
        there = (await read_ledger(context.vault, home, target, version)).records
        names = _names_elsewhere(context.plan, lineage, inventories[source], there)
    originals = _originals(
        context.plan, inventories, await read_rebuilt(context.vault, source), source, target, names
    )
    return Selection(
        analyzers=lineage.belonging,
        on_existing="replace",
        on_foreign="refuse",
        keep=(*lineage.superseded, *originals),
        names=names,
    )


def _originals(
    plan: RecoveryPlan,
    inventories: Mapping[str, Inventory],
    rebuilt: RebuiltThere,
    source: str,
    target: str,
    names: Mapping[str, str],
) -> Iterator[str]:
    """Name what the source has only as it was rebuilt there, and of which the target has the original."""
    at_source, at_target = inventories[source], inventories[target]
    for name, built in rebuilt.items():
        there = at_target.definitions.get(names.get(name, name))
        if there is None or not built.trained or not built.is_incarnation_of(at_source.analyzers.get(name)):
            continue
        if meaning(at_source.definitions[name], plan.ignore) != built.fingerprint:
            continue  # It was edited since.
        if built.origin == target or meaning(there, plan.ignore) == built.fingerprint:
            yield name


def _names_elsewhere(
    plan: RecoveryPlan, lineage: Lineage, source: Inventory, there: Records
) -> dict[str, str]:
    """Give the ids at another standby: those of its copies, or what the plan would call them."""
    copies = {record.analyzer or name: name for name, record in there.items()}
    fresh = TargetNames(plan.target_id, referenced_anywhere(source.definitions), taken=())
    return {
        name: copies.get(at_home) or (name if name in fresh.referenced else fresh.of(at_home))
        for name, at_home in lineage.home_ids.items()
    }
