"""One replication run inside a switch: what the side that serves has goes to the side that is about to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TypeVar

from standby.clock import Clock
from standby.config.plan import FailoverPolicy, RecoveryPlan, RegionPair
from standby.fencing import Fence, read_fence
from standby.recovery.context import RecoveryContext
from standby.recovery.errors import RecoveryError
from standby.recovery.failback.divergence import meaning
from standby.recovery.provenance import Provenance, trace
from standby.replication.dependencies import TargetNames, referenced_anywhere
from standby.replication.errors import LedgerBusy
from standby.replication.inventory import Inventory, take_inventories
from standby.replication.items import Progress, Records, Selection
from standby.replication.ledger import RebuiltThere, read_ledger, read_rebuilt, write_ledger
from standby.replication.replicate import Steps, begin
from standby.replication.report import Report
from standby.replication.steps import DirectSteps, RunContext
from standby.replication.verdict import CopyRecord


class NoPairBetween(RecoveryError):
    """Two resources do not stand in for each other in this plan."""

    def __init__(self, plan: str, source: str, target: str) -> None:
        super().__init__(
            f"In plan {plan}, {source} does not serve what {target} could take over",
            f"See standby status {plan}",
        )
        self.args = (plan, source, target)


def primary_between(fence: Fence, plan: RecoveryPlan, source: str, target: str) -> str:
    """Give the source of ordinary times whose analyzers go from one resource to another.

    Args:
        fence: says what serves now.
        plan: the recovery plan.
        source: a resource that serves.
        target: the one that is to.

    Raises:
        NoPairBetween: there is none.
    """
    served = [primary for primary, side in fence.assignments.items() if side.active == source]
    if target in served:
        return target  # The way back goes before a way that only looks like it.
    for primary in served:
        if target in targets_of(plan, primary):
            return primary
    raise NoPairBetween(plan.name, source, target)


def targets_of(plan: RecoveryPlan, primary: str) -> tuple[str, ...]:
    """Name the targets of a source, in the plan's order."""
    return tuple(target for pair in plan.pairs if pair.source == primary for target in pair.targets)


def plan_between(plan: RecoveryPlan, source: str, target: str) -> RecoveryPlan:
    """Make the plan of copies that the recovery plan has no pair for.

    Its filters are about ids at home, so it has none: what goes is chosen by name. Deployments that stand in
    for others at the standbys say nothing about the target, unless the plan names it, too.
    """
    return plan.model_copy(
        update={
            "pairs": (RegionPair(source=source, targets=(target,)),),
            "include": ("*",),
            "exclude": (),
            "tags": (),
            "base": ("*",),
            "modified_since": None,
            "target_id": "{id}",
            "deployments": {name: chosen for name, chosen in plan.deployments.items() if name == target},
            "failover": FailoverPolicy(),
        }
    )


async def mirror_ledgers(context: RecoveryContext, primary: str, standby: str) -> None:
    """Let both directions of a pair know the last verified copy of each analyzer, whichever way it went.

    Raises:
        LedgerBusy: another run is at this pair.
    """
    version = context.connections[primary].resource.api_version
    async with (
        write_ledger(context.vault, primary, standby, version) as forward,
        write_ledger(context.vault, standby, primary, version) as backward,
    ):
        backward.record(newer_than(backward.records, turned_around(forward.records)))
        forward.record(newer_than(forward.records, turned_around(backward.records)))


async def record_equal(context: RecoveryContext, primary: str, standby: str, equal: Records) -> None:
    """Let both directions of a pair know what was just found equal, and what each knows of copies.

    Raises:
        LedgerBusy: another run is at this pair.
    """
    version = context.connections[primary].resource.api_version
    async with (
        write_ledger(context.vault, primary, standby, version) as forward,
        write_ledger(context.vault, standby, primary, version) as backward,
    ):
        forward.record(_unknown(forward.records, equal))
        backward.record(_unknown(backward.records, turned_around(equal)))
    await mirror_ledgers(context, primary, standby)


async def relate_standbys(context: RecoveryContext, primary: str, source: str, target: str) -> None:
    """Let the ledger between two standbys know what their copies from the same home have in common.

    Raises:
        LedgerBusy: another run is at this pair.
    """
    version = context.connections[primary].resource.api_version
    at_source = await read_ledger(context.vault, primary, source, version)
    at_target = await read_ledger(context.vault, primary, target, version)
    async with write_ledger(context.vault, source, target, version) as between:
        between.record(newer_than(between.records, related(at_source.records, at_target.records)))


def _unknown(known: Records, records: Records) -> dict[str, CopyRecord]:
    def sightings(record: CopyRecord | None) -> object:
        return record and (record.source, record.target)

    return {name: record for name, record in records.items() if sightings(known.get(name)) != sightings(record)}


def turned_around(records: Records) -> dict[str, CopyRecord]:
    """Give copies as if they had gone the other way; of several copies of an analyzer, the last one."""
    turned: dict[str, CopyRecord] = {}
    for name, record in sorted(records.items(), key=lambda entry: entry[1].copied_at):
        turned[record.analyzer or name] = CopyRecord(record.target, record.source, record.copied_at, name)
    return turned


def related(at_source: Records, at_target: Records) -> dict[str, CopyRecord]:
    """Give copies of one home at two standbys as if they had been copied from the first to the second.

    Neither was edited since, where it is still what its own copy was; that is all a record is asked for.
    """
    sources = turned_around(at_source)
    between: dict[str, CopyRecord] = {}
    for name, there in at_target.items():
        here = sources.get(there.analyzer or name)
        if here is not None:
            copied_at = min(here.copied_at, there.copied_at)
            between[name] = CopyRecord(here.source, there.target, copied_at, here.analyzer)
    return between


def newer_than(known: Records, records: Records) -> dict[str, CopyRecord]:
    """Leave out what is known already, or known better."""
    return {
        name: record
        for name, record in records.items()
        if name not in known or known[name].copied_at < record.copied_at
    }


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
    primary = primary_between(fence, context.plan, source, target)
    if primary == source:
        asked = selection or Selection(on_existing="replace", on_foreign="refuse")
        return await _run(context, context.plan, source, target, asked, steps, on_progress)
    if primary == target:
        await once_free(context.clock, lambda: mirror_ledgers(context, primary, source))
    else:
        await once_free(context.clock, lambda: relate_standbys(context, primary, source, target))
    asked = selection or await _everything(context, primary, source, target)
    plan = plan_between(context.plan, source, target)
    report = await _run(context, plan, source, target, asked, steps, on_progress)
    if primary == target:
        await once_free(context.clock, lambda: mirror_ledgers(context, primary, source))
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


async def _everything(context: RecoveryContext, primary: str, source: str, target: str) -> Selection:
    """Choose what belongs to the plan at a standby, under the ids that it has at the target."""
    version = context.connections[primary].resource.api_version
    records = (await read_ledger(context.vault, primary, source, version)).records
    inventories = await take_inventories(context.connections[name] for name in {source, target})
    provenance = trace(context.plan, inventories.get(primary), inventories[source], records, context.clock.now())
    names = provenance.primary_ids
    if target != primary:
        there = (await read_ledger(context.vault, primary, target, version)).records
        names = _names_elsewhere(context.plan, provenance, inventories[source], there)
    originals = _originals(context.plan, inventories, await read_rebuilt(context.vault, source), source, target, names)
    return Selection(
        analyzers=provenance.belonging,
        on_existing="replace",
        on_foreign="refuse",
        keep=(*provenance.superseded, *originals),
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


def _names_elsewhere(plan: RecoveryPlan, provenance: Provenance, source: Inventory, there: Records) -> dict[str, str]:
    """Give the ids at another standby: those of its copies, or what the plan would call them."""
    copies = {record.analyzer or name: name for name, record in there.items()}
    fresh = TargetNames(plan.target_id, referenced_anywhere(source.definitions), taken=())
    return {
        name: copies.get(at_home) or (name if name in fresh.referenced else fresh.of(at_home))
        for name, at_home in provenance.primary_ids.items()
    }
