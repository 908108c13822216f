"""Gathers the facts of readiness: the fence, the records, and what the resources say in the time they have.

The source is never needed: where it does not answer, records are used instead.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from standby.concurrency import all_of, side_by_side
from standby.config.globs import PLACE_OF_ID
from standby.config.resource import PREVIEW_2025, Resource
from standby.errors import StandbyError
from standby.fencing import Fence, read_fence
from standby.recovery.context import RecoveryContext
from standby.recovery.proof.records import Proof, Proofs
from standby.recovery.readiness.document import Facts, Readiness, Standing
from standby.recovery.readiness.judge import judge_readiness, with_replica
from standby.recovery.readiness.standing import (
    NO_SNAPSHOT,
    InSnapshot,
    Needed,
    Recorded,
    model_facts,
    retirements,
    surveyed,
    with_children,
)
from standby.recovery.runs import Durations, LastRuns, LatestDrills, Restoring
from standby.recovery.snapshots.fidelity import RestoreAction, RestoreItem
from standby.recovery.snapshots.manifest import SnapshotError
from standby.recovery.snapshots.plan import NotOfThisPlan, plan_restore
from standby.recovery.snapshots.snapshot import NoSnapshot, open_snapshot
from standby.recovery.witnesses import looked
from standby.replication.inventory import Inventory, inventory_of, read_defaults, read_deployments
from standby.replication.items import Records, Selection
from standby.replication.ledger import RebuiltThere, read_rebuilt
from standby.replication.needs import Serving, models_of
from standby.replication.plan import make_plan
from standby.replication.report import recovery_points
from standby.replication.trained import still_there
from standby.replication.verdict import HOLDS_NOTHING, Verdict
from standby.service.calls import ANSWER_SECONDS
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import ServiceError, Unreachable
from standby.service.failures import TOLERATED_SKEW
from standby.service.models import CatalogModel
from standby.text import utc
from standby.vault.errors import VaultError
from standby.vault.replica import ReplicaState

log = logging.getLogger("standby.recovery")

T = TypeVar("T")
MANAGEMENT_SECONDS = 5.0  # How long Azure's management plane may take: without its answer only a little less is known


@dataclass(frozen=True)
class Inspection:
    inventory: Inventory
    models: tuple[CatalogModel, ...] = ()


async def _inspect(
    client: ContentUnderstandingClient, seconds: float, *, ask_models: bool
) -> Inspection | ServiceError:
    # Shorter than the time of the resource itself: a detail must not make the rest unknown.
    shorter = min(seconds / 2, MANAGEMENT_SECONDS)

    none: tuple[CatalogModel, ...] = ()

    async def list_models() -> tuple[CatalogModel, ...]:
        # The dates are only a warning; whether the models serve now is known from the deployments.
        return await client.arm.list_models()

    try:
        async with asyncio.timeout(seconds), side_by_side() as group:
            listing = group.create_task(client.list_readable())
            serving = group.create_task(read_defaults(client))
            deployments = group.create_task(_in_time(lambda: read_deployments(client), shorter, None))
            models = group.create_task(_in_time(list_models, shorter, none)) if ask_models else None
    except ServiceError as error:
        return error
    except TimeoutError:
        name = client.resource.name
        return Unreachable(f"{name} did not answer completely within {seconds:g} s", resource=name)
    found = replace(serving.result(), deployments=deployments.result())
    return Inspection(inventory_of(found, listing.result()), models.result() if models else ())


async def _in_time(read: Callable[[], Awaitable[T]], seconds: float, otherwise: T) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await read()
    except (TimeoutError, ServiceError):
        return otherwise


Pair = tuple[str, str]  # Source and target


@dataclass(frozen=True)
class Known:
    resources: Mapping[str, Resource]
    inspections: Mapping[str, Inspection | ServiceError]  # what a resource holds, or why that could not be read
    ledgers: Mapping[Pair, Records]
    last_runs: LastRuns
    drills: LatestDrills
    durations: Durations
    snapshots: Mapping[str, InSnapshot]  # what the newest one has, by source; empty where it was not needed
    rebuilt: Mapping[str, RebuiltThere] = field(default_factory=dict)
    proofs: tuple[Proof, ...] = ()

    def seen(self, resource: str) -> Inventory | None:
        inspection = self.inspections.get(resource)
        return inspection.inventory if isinstance(inspection, Inspection) else None


def copied(frame: Facts) -> Pair:
    """Give the pair whose copies are meant: to the target, or for a failback to what serves now."""
    return frame.primary, frame.assignment.active if frame.is_failback else frame.target


def facts_of(known: Known, frame: Facts) -> Facts:
    inspection, pair = known.inspections[frame.destination], copied(frame)
    source = known.inspections.get(frame.primary) if frame.source_asked else None
    snapshot = known.snapshots.get(frame.primary, NO_SNAPSHOT)
    recorded = Recorded(frame.plan, frame.now, known.ledgers[pair], known.last_runs.of(*pair), snapshot)
    active = known.seen(frame.assignment.active) if frame.is_failback and frame.switched else None
    proofs = {} if frame.is_failback else {it.analyzer: it for it in known.proofs if (it.source, it.target) == pair}
    facts = replace(
        frame,
        durations=known.durations,
        drill=None if frame.is_failback else known.drills.at(frame.target),
        source_failure=source if isinstance(source, ServiceError) else None,
        gone=() if active is None else recorded.gone_from(active),
        proofs=proofs,
        recopied=frozenset(
            name for name, it in proofs.items() if _is_recopied(it, recorded.records, known.seen(frame.target))
        ),
    )
    at_primary = frame.target == frame.primary
    if isinstance(inspection, ServiceError):
        runs = recorded.last_run.analyzers.items()
        names = {name: name if at_primary else each.target_analyzer for name, each in runs}
        return replace(facts, target_failure=inspection, names=names)
    there = inspection.inventory
    states, needed, serving = _pair_standings(known, facts, there, active, recorded)
    names = {each.analyzer: each.analyzer if at_primary else each.target_analyzer for each in states}
    return replace(
        facts,
        standings=tuple(_as_it_serves(facts, each) for each in with_children(states, names, there)),
        names=names,
        rebuilt=() if at_primary else _rebuilt(known, facts.target, names),
        models=model_facts(facts.plan, needed, serving, there.serving),
        retirements=retirements(facts.plan, needed, there.serving, inspection.models),
    )


def _is_recopied(proof: Proof, records: Records, there: Inventory | None) -> bool:
    """Say whether the target has another incarnation than the one that was compared: copied, or built otherwise."""
    copy, found = records.get(proof.target_analyzer), there.analyzers.get(proof.target_analyzer) if there else None
    # The service has a clock of its own.
    built_at = found.created_at - TOLERATED_SKEW if found and found.created_at else proof.compared_at
    return max(built_at, copy.copied_at if copy else built_at) > proof.compared_at


def _as_it_serves(facts: Facts, standing: Standing) -> Standing:
    """Take for right what serves at the target for another plan already, however it differs from the primary."""
    other = facts.others.serving(facts.target, standing.target_analyzer) if facts.others else None
    if other is None or not other.is_settled or other.primary != facts.primary or standing.status != "ready":
        return standing
    return replace(standing, verdict=Verdict.IN_SYNC, source_changed=False, blocked=False)


def _pair_standings(
    known: Known, facts: Facts, there: Inventory, active: Inventory | None, recorded: Recorded
) -> tuple[tuple[Standing, ...], Needed, Serving]:
    """Give the state of all analyzers of a pair, which models they need, and what serves these until now."""
    source, plan = known.seen(facts.primary) if facts.source_asked else None, facts.plan
    if source is not None and not facts.is_failback:
        # A version beside what the target has would get another id than the one that applications use now.
        on_existing = "refuse" if plan.on_existing == "version" else plan.on_existing
        asked = Selection(targets=(facts.target,), sources=(facts.primary,), on_existing=on_existing)
        inventories = {facts.primary: source, facts.target: there}
        rebuilt = {at: still_there(known.rebuilt.get(at, {}), each.analyzers) for at, each in inventories.items()}
        proposal = make_plan(plan, asked, inventories, {copied(facts): recorded.records}, facts.now, rebuilt)
        standings = tuple(
            surveyed(item, point, recorded.last_run.analyzers.get(item.analyzer), facts.now)
            for item, point in zip(proposal.items, recovery_points(proposal), strict=True)
        )
        return standings, {item.analyzer: item.models for item in proposal.items}, source.serving
    if facts.is_failback:
        standings = recorded.failback_standings(there, active)
        at_target, serving = {each.analyzer: each.analyzer for each in standings}, there.serving
    else:
        standings = recorded.standings_at(there)
        at_target = {each.analyzer: each.target_analyzer for each in standings}
        serving = Serving(known.resources[facts.primary], defaults=None, deployments=None)
    needed = {name: models_of(there.definitions.get(called, {})) for name, called in at_target.items()}
    return standings, needed, serving


def _rebuilt(known: Known, target: str, names: Mapping[str, str]) -> tuple[str, ...]:
    """Name the analyzers that labelled data trained and a restore rebuilt at the target."""
    there = known.seen(target)
    if there is None:
        return ()
    at_primary = {at_target: name for name, at_target in names.items()}
    rebuilt, here = known.rebuilt.get(target, {}), there.analyzers
    present = {name: it for name, it in rebuilt.items() if it.trained and it.is_incarnation_of(here.get(name))}
    found = {at_primary.get(name, each.original) for name, each in present.items()}
    # What another plan rebuilt there does not matter here.
    return tuple(sorted(found & names.keys()))


async def assess(
    context: RecoveryContext,
    primary: str,
    target: str,
    *,
    ask_source: bool = True,
    seconds: float = ANSWER_SECONDS,
    fence: Fence | None = None,  # of the plan, where the caller has read it just now, or holds it
) -> Readiness:
    """Assess whether a target could take over from a primary now; a failback, where it serves or is the primary."""
    known = fence or await read_fence(context.vault, context.plan)
    (only,) = await _gather(context, known, [(primary, target)], ask_source=ask_source, seconds=seconds)
    return judge_readiness(only)


async def assess_plan(
    context: RecoveryContext, replica: ReplicaState | None = None, *, seconds: float = ANSWER_SECONDS
) -> tuple[Readiness, ...]:
    """Assess every pair of a plan, and what a failover would have to restore."""
    pairs = [(pair.source, target) for pair in context.plan.pairs for target in pair.targets]
    fence = await read_fence(context.vault, context.plan)
    has_samples = context.plan.samples is not None
    # A failover does not wait for them: what documents say forbids none.
    proofs = (await Proofs.read(context.vault, context.plan.name)).proofs if has_samples else ()
    with_samples = await _with_samples(context) if has_samples else frozenset()
    found = await _gather(context, fence, pairs, ask_source=True, seconds=seconds, proofs=proofs)

    async def with_restoring(facts: Facts) -> Facts:
        facts = replace(facts, sampled=with_samples)
        lacked = {each.analyzer: each.status for each in facts.standings if each.status not in {"ready", "creating"}}
        if facts.is_failback or not lacked:
            return facts
        held = [name for name, status in lacked.items() if status not in {None, "deleting"} | HOLDS_NOTHING]
        about = (context, facts.primary, facts.target, facts.names)
        return replace(facts, restoring=await what_can_be_rebuilt(*about, lacked=lacked, held=held, seconds=seconds))

    whole = await all_of(with_restoring(each) for each in found)
    return tuple(with_replica(judge_readiness(each), replica) for each in whole)


async def _with_samples(context: RecoveryContext) -> frozenset[str]:
    # Only a plan with samples needs it.
    from standby.recovery.proof.samples import sampled  # noqa: PLC0415

    try:
        return await sampled(context)
    except StandbyError as error:
        log.warning("The samples could not be listed: %s", error)
        return frozenset()


@dataclass(frozen=True)
class Rebuilding(Restoring):
    """The same with what a restore would do about each analyzer that can be restored, by id at the primary."""

    items: Mapping[str, RestoreItem] = field(default_factory=dict)
    snapshot: str = ""  # the id of what is restored from; empty where there is none, or that is not known
    seen: Mapping[str, datetime] = field(default_factory=dict)  # when the snapshot saw each of them


async def what_can_be_rebuilt(
    context: RecoveryContext,
    primary: str,
    target: str,
    names: Mapping[str, str],  # id at the target by id at the primary
    *,
    lacked: Collection[str],  # ids at the primary of what the target cannot serve as it is
    held: Collection[str],  # those of them that are there, and may hold a training
    seconds: float,
) -> Rebuilding:
    """Plan the restore that a failover would begin with; nothing is changed, and the primary is not called."""
    try:
        async with asyncio.timeout(seconds):
            snapshot = await open_snapshot(context)
            plan = await plan_restore(context, snapshot, target, only_missing=True, primary=primary)
    except (NoSnapshot, NotOfThisPlan) as error:
        return Rebuilding(lost=dict.fromkeys(lacked, error.cause.rstrip(".")))
    except (SnapshotError, VaultError, ServiceError) as error:
        return Rebuilding(unknown=error.cause)
    except TimeoutError:
        return Rebuilding(unknown=f"no restore could be planned within {seconds:g} s")
    # A snapshot may be of what served for the primary, under the ids that analyzers have there.
    at_primary = {there: name for name, there in names.items()}
    own = {it.analyzer if it.resource == primary else at_primary.get(it.target_analyzer): it for it in plan.items}
    items = {name: item for name, item in own.items() if name is not None and name in lacked}
    created = {name: item for name, item in sorted(items.items()) if item.action is RestoreAction.CREATE}
    seen = {name: snapshot.resources[item.resource].seen_at for name, item in created.items()}
    absent = f"{target} does not have it, and the newest snapshot, of {utc(snapshot.taken_at)}, does not have it either"
    left_alone = f"it is at {target}, cannot be used there, and a restore does not replace what may hold a training"
    others = {name: left_alone if name in held else absent for name in sorted(lacked) if name not in created}
    return Rebuilding(
        needs={name: tuple(at_primary.get(child, child) for child in item.needs) for name, item in created.items()},
        lost={name: items[name].reason.rstrip(".") if name in items else why for name, why in others.items()},
        slots=context.connections[target].resource.max_concurrent_copies,
        seen_at=min(seen.values(), default=None),
        items=created,
        snapshot=snapshot.id,
        seen=seen,
    )


async def _gather(
    context: RecoveryContext,
    fence: Fence,
    pairs: Collection[Pair],
    *,
    ask_source: bool,
    seconds: float,
    proofs: tuple[Proof, ...] = (),
) -> tuple[Facts, ...]:
    plan, vault = context.plan, context.vault
    context = await looked(context)
    fence = context.known.correct(fence) if context.known else fence
    others = await context.run.other_plans()
    frames = [replace(_frame(context, fence, pair, ask_source=ask_source), others=others) for pair in pairs]
    destinations, clients = {frame.destination for frame in frames}, context.connections
    serving = {frame.assignment.active for frame in frames if frame.is_failback and ask_source}
    wanted = sorted(destinations | serving | {frame.primary for frame in frames if frame.source_asked})
    found = await all_of(_inspect(clients[name], seconds, ask_models=name in destinations) for name in wanted)
    inspections = dict(zip(wanted, found, strict=True))
    answered = {name for name, each in inspections.items() if isinstance(each, Inspection)}
    need_records = any(it.switched if it.is_failback else it.primary not in answered for it in frames)
    known = Known(
        resources=context.configuration.resources,
        inspections=inspections,
        ledgers={
            (source, target): {} if source == target else (await context.run.read_ledger(source, target)).records
            for source, target in {copied(frame) for frame in frames}
        },
        last_runs=await LastRuns.read(vault, plan.name),
        drills=await LatestDrills.read(vault, plan.name),
        durations=await Durations.read(vault, plan.name),
        snapshots=await _in_snapshots(context) if need_records else {},
        proofs=proofs,
        rebuilt={
            name: await read_rebuilt(vault, name)
            for name in {each for frame in frames for each in (frame.target, *copied(frame))}
            if name in answered
        },
    )
    return tuple(facts_of(known, frame) for frame in frames)


def _frame(context: RecoveryContext, fence: Fence, pair: Pair, *, ask_source: bool) -> Facts:
    primary, target = pair
    assignment = fence.assignments[primary]
    return Facts(
        plan=context.plan,
        primary=primary,
        target=target,
        assignment=assignment,
        epoch=fence.epoch,
        run_id=context.run_id,
        records_lost=context.known.problem if context.known else "",
        now=context.clock.now(),
        outside=context.plan.leaving(*map(context.configuration.resource, pair)),
        can_replace=context.run.api_version(target) != PREVIEW_2025,
        source_asked=ask_source and assignment.active == primary and target != primary,
    )


async def _in_snapshots(context: RecoveryContext) -> Mapping[str, InSnapshot]:
    """Give what the newest snapshot has of each source, under the source's own ids."""
    try:
        snapshot = await open_snapshot(context)
    except NoSnapshot:
        return {}
    except (SnapshotError, VaultError) as error:
        log.warning("Readiness is assessed without a snapshot: %s", error)
        return {}
    own_ids = context.plan.target_id == PLACE_OF_ID
    parts = [(primary, name, part) for name, part in snapshot.resources.items() for primary in part.primaries]
    return {
        primary: InSnapshot(part.seen_at, {analyzer: entry.fingerprint for analyzer, entry in part.analyzers.items()})
        for primary, name, part in parts
        if name == primary or own_ids
    }
