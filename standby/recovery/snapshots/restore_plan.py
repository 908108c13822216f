"""Decides what a restore would do: from a snapshot, from what the target holds, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from standby.config.errors import UnknownName
from standby.config.plan import RecoveryPlan
from standby.config.resource import DeploymentOverrides
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.errors import NotOfThisPlan
from standby.recovery.snapshots.fidelity import Holding, RestorePlan
from standby.recovery.snapshots.id_mapping import Naming, ids_at, keep_names
from standby.recovery.snapshots.labelled import see_labelled, what_changed
from standby.recovery.snapshots.manifest import ResourceSnapshot
from standby.recovery.snapshots.part_plan import Part, PartPlan, PlannedPart
from standby.recovery.snapshots.snapshot import Snapshot, readable_definitions
from standby.replication.errors import NothingSelected
from standby.replication.inventory import Inventory, matches, take_inventory
from standby.replication.ledger import RebuiltThere, read_ledger, read_rebuilt
from standby.replication.serving import Serving
from standby.replication.verdict import CopyRecord
from standby.service.models import Deployment


async def plan_restore(
    context: RecoveryContext,
    snapshot: Snapshot,
    to: str,
    *,
    analyzers: Sequence[str] = ("*",),
    naming: Naming = keep_names,
    only_missing: bool = False,
    primary: str = "",
) -> RestorePlan:
    """Decide what to do about every analyzer of a snapshot at one resource; no other resource is asked.

    Args:
        context: the plan, its stores and its ledgers.
        snapshot: what to restore from.
        to: a source or a target of the plan.
        analyzers: globs on ids as the snapshot has them; what they refer to comes along.
        naming: other ids, and more tags, for a drill.
        only_missing: leave out whatever the target has under the id, whatever it is.
        home: only what serves in the place of this source; everything that belongs at `to` if left out.

    Raises:
        UnknownName: the plan has no such resource.
        NotOfThisPlan: the snapshot has nothing that belongs there.
        NothingSelected: a glob matches nothing.
        ServiceError: the target does not answer.
    """
    if to not in context.plan.resources:
        raise UnknownName(f"resource of plan {context.plan.name}", to, context.plan.resources)
    parts = {name: part for name, part in snapshot.resources.items() if _belongs(context.plan, name, part, to, primary)}
    if not parts:
        raise NotOfThisPlan(context.plan.name, to, snapshot.taken_at)
    _refuse_unmatched(parts.values(), analyzers)
    inventory = await take_inventory(context.connections[to])
    context.connections.remember_serving(inventory.serving)
    rebuilt = await read_rebuilt(context.vault, to)
    there = {name: each for name, each in rebuilt.items() if each.is_incarnation_of(inventory.analyzers.get(name))}
    planned: list[PlannedPart] = []
    owners: dict[str, str] = {}
    for name in parts:
        own = await _plan_part(context, snapshot, name, inventory, there, analyzers, naming, owners)
        owners = {item.target_analyzer: name for item in own.items} | owners
        planned.append(own)
    items = [item for own in planned for item in own.items]
    if only_missing:
        items = [item for item in items if not item.held]
    return RestorePlan(
        snapshot_id=snapshot.id,
        taken_at=snapshot.taken_at,
        to=to,
        items=tuple(sorted(items, key=lambda item: (item.target_analyzer, item.resource))),
        definitions={name: sent for own in planned for name, sent in own.definitions.items()},
        added_defaults={name: to for own in planned for name, to in own.added_defaults.items()},
        problems=snapshot.problems,
        stale=tuple(each for name, each in rebuilt.items() if name not in there),
        rehearsed=bool(naming.prefix),
    )


async def _plan_part(
    context: RecoveryContext,
    snapshot: Snapshot,
    name: str,
    inventory: Inventory,
    rebuilt: RebuiltThere,
    analyzers: Sequence[str],
    naming: Naming,
    owners: Mapping[str, str],
) -> PlannedPart:
    kept, to = snapshot.resources[name], inventory.serving.resource.name
    definitions, damaged = await readable_definitions(context, snapshot, name)
    ids = ids_at(context.plan, name, to, kept.primary, definitions)
    if naming.prefix:
        ids = {analyzer: naming.of(analyzer) for analyzer in definitions}
    part = Part(
        plan=context.plan,
        name=name,
        kept=kept,
        definitions=definitions,
        damaged=damaged,
        selected=tuple(analyzer for analyzer in kept.analyzers if matches(analyzer, analyzers)),
        ids=ids,
        naming=naming,
        source=source_serving(context, name, kept, inventory.serving),
        target=inventory,
        overrides=context.plan.deployments.get(to, DeploymentOverrides()),
        records=await _records(context, name, kept, to),
        owners=owners,
        rebuilt=rebuilt,
    )
    decided = PartPlan(part)
    doubtful = {
        analyzer: definitions[analyzer]
        for analyzer, held in decided.holdings.items()
        if held in {Holding.NOTHING, Holding.SAME_DEFINITION, Holding.REBUILT} and kept.analyzers[analyzer].labelled
    }
    client = context.connections[to]
    now = await see_labelled(doubtful, client.resource.credentials, client.tls)
    return decided.plan(
        {analyzer: what_changed(kept.analyzers[analyzer].labelled, now[analyzer]) for analyzer in doubtful}
    )


def _belongs(plan: RecoveryPlan, name: str, part: ResourceSnapshot, to: str, primary: str) -> bool:
    """Say whether what a resource held belongs at another: it is in one recovery with it."""
    primaries = [each for each in part.primaries if not primary or each == primary]
    targets = {target for pair in plan.pairs if pair.source in primaries for target in pair.targets}
    return bool(primaries) and (to == name or to in primaries or to in targets)


def _refuse_unmatched(parts: Iterable[ResourceSnapshot], analyzers: Sequence[str]) -> None:
    known = sorted({analyzer for part in parts for analyzer in part.analyzers})
    for pattern in analyzers:
        if pattern != "*" and not any(matches(analyzer, [pattern]) for analyzer in known):
            raise NothingSelected("analyzer", pattern, known)


async def _records(context: RecoveryContext, name: str, part: ResourceSnapshot, to: str) -> dict[str, CopyRecord]:
    """Read what was copied to the target from where the snapshot is of, by id at the target."""
    records: dict[str, CopyRecord] = {}
    for source in dict.fromkeys((*part.primaries, name)):
        if source != to:
            version = context.connections[to].resource.api_version
            records |= (await read_ledger(context.vault, source, to, version)).records
    return records


def source_serving(context: RecoveryContext, name: str, part: ResourceSnapshot, target: Serving) -> Serving:
    """Give what served the analyzers when the snapshot was taken; that resource is not asked."""
    known = context.configuration.resources.get(name) or target.resource.model_copy(update={"name": name})
    deployments = None
    if part.deployments is not None:
        deployments = {
            key: Deployment(
                name=each.name,
                model=each.model,
                version=each.version,
                capacity=each.capacity,
                state=each.state,
            )
            for key, each in part.deployments.items()
        }
    resource = known.model_copy(update={"api_version": part.api_version})
    return Serving(resource=resource, defaults=part.defaults, deployments=deployments)
