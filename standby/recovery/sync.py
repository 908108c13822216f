"""One replication run inside a failover: the target is synchronised with the resource that serves.

It may go against the direction of the plan. The ledgers of both directions agree afterwards, so that the next
scheduled run copies nothing back.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace

from standby.config.plan import FailoverPolicy, RecoveryPlan, RegionPair, ResidencyPolicy
from standby.errors import StandbyError
from standby.fencing import Fence, read_fence
from standby.recovery.assignments import may_serve
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.id_mapping import trace
from standby.replication.errors import LedgerBusy
from standby.replication.fingerprint import fingerprint, same_meaning
from standby.replication.inventory import Inventory, take_inventories
from standby.replication.items import Progress, Records, Selection, TargetNames
from standby.replication.ledger import RebuiltThere, read_rebuilt
from standby.replication.needs import referenced_anywhere
from standby.replication.replicate import Steps, begin
from standby.replication.report import Report
from standby.replication.steps import DirectSteps, RunContext
from standby.replication.verdict import CopyRecord
from standby.vault.documents import once_free

PATIENCE = 120.0  # Seconds for which a replication that already runs for the pair is waited for
StepsFactory = Callable[[RunContext], Steps]  # Makes the steps of a run: plain ones, or Prefect's tasks


class NoPairBetween(StandbyError):
    def __init__(self, plan: str, source: str, target: str) -> None:
        cause = f"In plan {plan}, {source} serves for no primary that {target} could serve for"
        super().__init__(cause, f"See standby status {plan}")


async def synchronise(
    context: RecoveryContext,  # of the failover; its run id passes the fence
    source: str,  # the resource that serves
    target: str,  # the one that is to serve
    *,
    # What to copy instead, with the ids at the target where the plan has no such pair.
    selection: Selection | None = None,
    steps: StepsFactory = DirectSteps,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Report:
    """Bring one resource up to what another one has, also against the direction of the plan.

    What is older at the target is replaced, and kept in the vault; what was edited there, or was never copied
    from the source, is not changed and is reported as refused. At the primary, copies get their own ids again.
    """
    fence = await read_fence(context.vault, context.plan)
    fence.must_allow_copy(source, target, context.run_id)
    primary = _primary_between(fence, context.plan, source, target)

    async def copy(plan: RecoveryPlan, asked: Selection) -> Report:
        run = replace(context.run, recovery_plan=plan, failover_run=context.run_id)
        chosen = replace(asked, sources=(source,), targets=(target,))
        async with AsyncExitStack() as stack:
            replication = await once_free(
                context.clock,
                lambda: stack.enter_async_context(begin(run, chosen, steps(run), on_progress=on_progress)),
                patience=PATIENCE,
                busy=LedgerBusy,
            )
            # The fence is that of the recovery plan, whatever plan the run uses; and it may have changed meanwhile.
            (await read_fence(context.vault, context.plan)).must_allow_copy(source, target, context.run_id)
            await replication.run()
            return replication.report(run_id=context.run_id, via=context.via)

    if primary == source:
        originals = await _known_originals(context, source, target)
        return await copy(
            context.plan, selection or Selection(on_existing="replace", on_foreign="refuse", keep=originals)
        )
    if primary == target:
        await sync_ledgers(context, primary, source)
    else:
        await _relate_standbys(context, primary, source, target)
    asked = selection or await _everything(context, primary, source, target)
    plan = _reverse_plan(context.plan, source, target)
    known = context.configuration
    if not context.plan.leaving(known.resource(primary), known.resource(target)):
        plan = plan.allowing(target)  # Its data may be there, wherever it comes from.
    report = await copy(plan, asked)
    if primary == target:
        await sync_ledgers(context, primary, source)
    return report


def _primary_between(fence: Fence, plan: RecoveryPlan, source: str, target: str) -> str:
    """Give the primary whose analyzers go from a resource that serves to one that is to serve."""
    served = [primary for primary, assignment in fence.assignments.items() if assignment.active == source]
    if target in served:
        return target  # To the primary itself, rather than to a resource that is also a target of it.
    for primary in served:
        if target in may_serve(plan, primary):
            return primary
    raise NoPairBetween(plan.name, source, target)


def _reverse_plan(plan: RecoveryPlan, source: str, target: str) -> RecoveryPlan:
    """Make the plan of copies that the recovery plan has no pair for."""
    # The filters of the recovery plan are about ids at the primary, so this one has none: what is copied is chosen by
    # name. Deployments that replace others at the standbys say nothing about the target, unless the plan names it, too.
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
            "residency": ResidencyPolicy(),
        }
    )


async def _everything(context: RecoveryContext, primary: str, source: str, target: str) -> Selection:
    """Choose what belongs to the plan at a standby, under the ids that it has at the target."""
    records = (await context.run.read_ledger(primary, source)).records
    inventories = await take_inventories(context.connections[name] for name in {source, target})
    provenance = trace(context.plan, inventories.get(primary), inventories[source], records, context.clock.now())
    names = provenance.primary_ids
    if target != primary:
        there = (await context.run.read_ledger(primary, target)).records
        # Those of its copies there, or what the plan would call them.
        copies = {record.analyzer or name: name for name, record in there.items()}
        fresh = TargetNames(context.plan.target_id, referenced_anywhere(inventories[source].definitions), taken=())
        names = {
            name: copies.get(own) or (name if name in fresh.referenced else fresh.of(own))
            for name, own in provenance.primary_ids.items()
        }
    originals = _originals(context.plan, inventories, await read_rebuilt(context.vault, source), source, target, names)
    keep = (*provenance.superseded, *originals)
    return Selection(provenance.belonging, on_existing="replace", on_foreign="refuse", keep=keep, names=names)


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
        if not same_meaning(fingerprint(at_source.definitions[name], plan.ignore), built.fingerprint):
            continue  # It was edited since.
        if built.origin == target or same_meaning(fingerprint(there, plan.ignore), built.fingerprint):
            yield name


async def _known_originals(context: RecoveryContext, source: str, target: str) -> tuple[str, ...]:
    """Name what a primary has only as it was rebuilt there, and of which a standby has the original."""
    rebuilt = await read_rebuilt(context.vault, source)
    if not any(built.trained for built in rebuilt.values()):
        return ()
    inventories = await take_inventories(context.connections[name] for name in (source, target))
    fresh = TargetNames(context.plan.target_id, referenced_anywhere(inventories[source].definitions), taken=())
    names = {name: fresh.of(name) for name in rebuilt}
    return tuple(_originals(context.plan, inventories, rebuilt, source, target, names))


async def sync_ledgers(context: RecoveryContext, primary: str, standby: str, equal: Records | None = None) -> None:
    """Let both directions of a pair know the last verified copy of each analyzer, whichever way it went."""
    # What was just found `equal` at both counts as if it had been copied from the primary.

    async def sync() -> None:
        write = context.run.write_ledger
        async with write(primary, standby) as forward, write(standby, primary) as backward:
            if equal:
                forward.record(_not_seen_yet(forward.records, equal))
                backward.record(_not_seen_yet(backward.records, reversed_records(equal)))
            backward.record(newer_records(backward.records, reversed_records(forward.records)))
            forward.record(newer_records(forward.records, reversed_records(backward.records)))

    await once_free(context.clock, sync, patience=PATIENCE, busy=LedgerBusy)


async def _relate_standbys(context: RecoveryContext, primary: str, source: str, target: str) -> None:
    """Let the ledger between two standbys know what their copies from the same primary have in common."""

    async def relate() -> None:
        at_source = await context.run.read_ledger(primary, source)
        at_target = await context.run.read_ledger(primary, target)
        async with context.run.write_ledger(source, target) as between:
            between.record(newer_records(between.records, _related(at_source.records, at_target.records)))

    await once_free(context.clock, relate, patience=PATIENCE, busy=LedgerBusy)


def _not_seen_yet(known: Records, records: Records) -> dict[str, CopyRecord]:
    seen = {name: (record.source, record.target) for name, record in known.items()}
    return {name: record for name, record in records.items() if seen.get(name) != (record.source, record.target)}


def reversed_records(records: Records) -> dict[str, CopyRecord]:
    """Give copies as if they had gone the other way; of several copies of an analyzer, the last one."""
    turned: dict[str, CopyRecord] = {}
    for name, record in sorted(records.items(), key=lambda entry: entry[1].copied_at):
        turned[record.analyzer or name] = CopyRecord(record.target, record.source, record.copied_at, name)
    return turned


def _related(at_source: Records, at_target: Records) -> dict[str, CopyRecord]:
    """Give the copies of one primary at two standbys as if they had been copied from the first to the second."""
    # Neither was edited since, where it is still what its own copy was; that is all a record is used for.
    sources = reversed_records(at_source)
    between: dict[str, CopyRecord] = {}
    for name, there in at_target.items():
        here = sources.get(there.analyzer or name)
        if here is not None:
            copied_at = min(here.copied_at, there.copied_at)
            between[name] = CopyRecord(here.source, there.target, copied_at, here.analyzer)
    return between


def newer_records(known: Records, records: Records) -> dict[str, CopyRecord]:
    """Leave out what is known already, or known from a later copy."""
    older = {name for name, record in records.items() if name in known and known[name].copied_at >= record.copied_at}
    return {name: record for name, record in records.items() if name not in older}
