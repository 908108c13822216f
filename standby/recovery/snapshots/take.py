"""Takes a snapshot: reads what the resources of a plan hold, writes it to the vault, removes old snapshots."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from standby.concurrency import all_of
from standby.document import Document, JsonValue, digest_of
from standby.errors import sentence
from standby.fencing import Fence, read_fence
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.catalog import (
    Catalog,
    copy_missing,
    index_path,
    manifest_path,
    open_catalog,
    put_objects,
    retire,
    seal_path,
)
from standby.recovery.snapshots.id_mapping import primary_id
from standby.recovery.snapshots.labelled import see_labelled
from standby.recovery.snapshots.manifest import (
    AnalyzerEntry,
    DeploymentEntry,
    Manifest,
    ResourceSnapshot,
    SnapshotError,
    entry_of,
    write_index,
)
from standby.replication.fingerprint import fingerprint, without_access
from standby.replication.inventory import Inventory, is_protected, take_inventory
from standby.replication.needs import referenced_anywhere, resolve
from standby.service.errors import ServiceError
from standby.service.models import Analyzer
from standby.text import counted, some_of
from standby.vault.documents import set_aside
from standby.vault.replica import catch_up
from standby.vault.signing import sealed

log = logging.getLogger("standby.recovery")

REPLICA_SECONDS = 900.0  # Seconds in which the replica of the vault is brought up
LOOKED_BACK = 10  # Earlier snapshots that are searched for a source that does not answer, newest first


class NothingReachable(SnapshotError):
    def __init__(self, plan: str, missing: Mapping[str, str]) -> None:
        causes = " ".join(f"{name}: {sentence(reason)}" for name, reason in missing.items())
        cause = f"No snapshot of plan {plan} was taken, because no resource that serves it answers. {causes}"
        super().__init__(cause, f"See standby doctor {plan}; earlier snapshots are unchanged")


@dataclass
class Gathered:
    """What the resources hold, each by its name, as far as it was read."""

    resources: dict[str, ResourceSnapshot] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)  # their definitions as they are stored, by digest
    missing: dict[str, str] = field(default_factory=dict)  # why nothing was read
    unseen: frozenset[str] = frozenset()  # the primaries that those resources serve for
    unreadable: dict[str, Mapping[str, Analyzer]] = field(default_factory=dict)  # of which something cannot be read
    unserved: dict[str, ServiceError | None] = field(default_factory=dict)  # why its defaults cannot be read


async def gather(context: RecoveryContext, fence: Fence) -> Gathered:
    """Read every resource that serves for a primary; one that does not answer does not stop the others."""
    primaries: dict[str, tuple[str, ...]] = {}
    for primary, assignment in fence.assignments.items():
        primaries[assignment.active] = (*primaries.get(assignment.active, ()), primary)
    found = Gathered()

    async def read(name: str) -> None:
        if name not in context.connections.clients:
            found.missing[name] = f"{name} serves, but is not a resource of the plan any more"
            return
        try:
            await _read(context, name, primaries[name], found)
        except ServiceError as error:
            found.missing[name] = str(error)

    await all_of(read(name) for name in primaries)
    found.unseen = frozenset(primary for name in found.missing for primary in primaries[name])
    return found


async def _read(context: RecoveryContext, name: str, primaries: tuple[str, ...], into: Gathered) -> None:
    client = context.connections[name]
    inventory = await take_inventory(client)
    deployments, seen_at = inventory.serving.deployments, context.clock.now()
    protected = _protected(context, name, primaries, inventory, seen_at)
    unreadable = {analyzer: found for analyzer in protected if (found := inventory.analyzers[analyzer]).wrong}
    protected = {
        analyzer: definition for analyzer, definition in protected.items() if inventory.analyzers[analyzer].is_whole
    }
    labelled = await see_labelled(protected, client.resource, client.tls)
    clean = {analyzer: without_access(definition) for analyzer, definition in sorted(protected.items())}
    # In the order in which they were received.
    objects = {analyzer: json.dumps(each, separators=(",", ":")).encode() for analyzer, each in clean.items()}
    into.unreadable[name], into.unserved[name] = unreadable, inventory.serving.unread
    into.objects |= {digest_of(content): content for content in objects.values()}
    into.resources[name] = ResourceSnapshot(
        primaries=primaries,
        **client.resource.model_dump(include={"region", "endpoint", "api_version"}),
        seen_at=seen_at,
        defaults=inventory.serving.defaults,
        deployments=deployments and {name: DeploymentEntry(**each.model_dump()) for name, each in deployments.items()},
        analyzers={
            analyzer: AnalyzerEntry(
                digest=digest_of(objects[analyzer]),
                size=len(objects[analyzer]),
                fingerprint=fingerprint(definition, context.plan.ignore),
                status=inventory.analyzers[analyzer].status,
                created_at=inventory.analyzers[analyzer].created_at,
                changed_at=inventory.analyzers[analyzer].last_modified_at,
                labelled=labelled.get(analyzer, ()),
            )
            for analyzer, definition in clean.items()
        },
    )


def _protected(
    context: RecoveryContext, name: str, primaries: tuple[str, ...], inventory: Inventory, now: datetime
) -> dict[str, Mapping[str, JsonValue]]:
    """Choose what the plan protects, by the id that an analyzer has at its primary, and what that refers to."""
    there = {analyzer: found for analyzer, found in inventory.analyzers.items() if found.status != "deleting"}
    definitions = {analyzer: inventory.definitions[analyzer] for analyzer in there}
    referenced = referenced_anywhere(definitions)

    def at_primary(found: Analyzer, primary: str) -> Analyzer:
        own = primary_id(context.plan, found.analyzer_id, name, primary, referenced)
        return found if own == found.analyzer_id else found.model_copy(update={"analyzer_id": own})

    selected = [
        analyzer
        for analyzer, found in there.items()
        if any(is_protected(context.plan, at_primary(found, primary), now) for primary in primaries)
    ]
    return {analyzer: definitions[analyzer] for analyzer in resolve(selected, definitions).children}


class SnapshotTaken(Document):
    """A snapshot that was just taken."""

    plan: str
    id: str
    digest: str
    taken_at: datetime
    run_id: str
    signed: bool
    resources: Mapping[str, int]
    missing: Mapping[str, str]
    new_objects: int
    unknown_labelled: tuple[str, ...]
    retired: tuple[str, ...]
    stores: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.missing and not self.problems

    @property
    def shortcomings(self) -> tuple[str, ...]:
        reasons = {name: sentence(reason) for name, reason in sorted(self.missing.items())}
        missing = (
            f"{name}: {text} Its analyzers are taken over from the last snapshot." for name, text in reasons.items()
        )
        return (*missing, *(sentence(problem) for problem in self.problems))

    @property
    def summary(self) -> str:
        signed = "signed" if self.signed else "not signed"
        analyzers = counted(sum(self.resources.values()), "analyzer")
        new = counted(self.new_objects, "new definition")
        return f"Plan {self.plan}: snapshot {self.id} of {analyzers}, {new}, {signed}."


async def take_snapshot(context: RecoveryContext) -> SnapshotTaken:
    """Write what serves the plan now: definitions, defaults, deployments, and lists of labelled data.

    A resource that does not answer does not stop the others. What the last snapshot has of it is kept, so that
    the newest snapshot is always the one to restore from.
    """
    plan = context.plan.name
    fence = await read_fence(context.vault, context.plan)
    gathered = await gather(context, fence)
    if not gathered.resources:
        raise NothingReachable(plan, gathered.missing)
    async with context.vault.hold(index_path(plan)) as index:
        catalog = await open_catalog(context)
        manifest, unreadable = await _manifest(context, catalog, fence, gathered)
        problems = [*catalog.problems, *unreadable, *await _served_elsewhere(context, fence, gathered)]
        content = manifest.model_dump_json().encode()
        seal = sealed(content, context.signer) if context.signer else None
        entry = entry_of(manifest, content, signed=seal is not None)
        entries = (*catalog.entries, entry)

        first = catalog.stores[0]
        new_objects, repaired = await put_objects(first, plan, gathered.objects)
        if seal is not None:
            await first.files.write(seal_path(plan, manifest.id), seal)
        await first.files.write(manifest_path(plan, manifest.id), content)
        problems += [*repaired, *await copy_missing(catalog)]
        # The lists are about to be written again, without what is damaged in them.
        damaged = [line for _, found in catalog.answering for line in found.damaged]
        await set_aside(first.files, index_path(plan), damaged)
        await index.write(write_index(entries))
        facts: dict[str, JsonValue] = {"id": entry.id, "digest": entry.digest, "analyzers": dict(entry.resources)}
        facts |= {"missing": dict(gathered.missing), "new_objects": new_objects}
        await record_action(context, AuditAction.SNAPSHOT_TAKEN, facts, epoch=fence.epoch)
        removed = await retire(context, catalog, entries, index)
    replica = await catch_up(context.vault, REPLICA_SECONDS)
    if replica is not None and not replica.whole:
        problems.append(replica.words)
    for problem in problems:
        log.warning("%s", problem)
    analyzers = [each for part in manifest.resources.values() for each in part.analyzers.items()]
    unknown = {name for name, each in analyzers if any(data.blobs == "unknown" for data in each.labelled)}
    return SnapshotTaken(
        **entry.model_dump(include={"id", "digest", "taken_at", "signed", "resources"}),
        plan=plan,
        run_id=context.run_id,
        missing=gathered.missing,
        new_objects=new_objects,
        unknown_labelled=tuple(sorted(unknown)),
        retired=removed,
        stores=(context.vault.where(index_path(plan)), *([replica.where] if replica and replica.whole else [])),
        problems=tuple(problems),
    )


async def _served_elsewhere(context: RecoveryContext, fence: Fence, gathered: Gathered) -> list[str]:
    """Say what this plan has only as it was before it served elsewhere for another plan."""
    others = await context.run.other_plans(fresh=True)
    old: list[str] = [f"It is unknown what serves for plan {each.plan}: {each.reason}" for each in others.unknown]
    for primary, assignment in fence.assignments.items():
        part = gathered.resources.get(primary)
        if part is None or assignment.active != primary:
            continue
        for other in others.of(primary):
            if names := sorted(name for name in part.analyzers if other.scope.has(name)):
                there = f"{some_of(names, 5)} as {primary} has it; {other}"
                old.append(f"It has {there}. Snapshots of plan {other.plan} have what serves")
    return old


async def _manifest(
    context: RecoveryContext, catalog: Catalog, fence: Fence, gathered: Gathered
) -> tuple[Manifest, list[str]]:
    """Make the manifest; also give what cannot be read, and what is wrong with earlier snapshots that it needs."""
    earlier, problems = await _earlier(catalog, gathered)
    problems += [f"The snapshot lacks the defaults of {name}: {why}" for name, why in gathered.unserved.items() if why]
    now = context.clock.now()
    resources = {**earlier, **gathered.resources}
    for name, unreadable in gathered.unreadable.items():
        before = earlier[name].analyzers if name in earlier else {}
        # What has no name may be any of those that are not listed.
        meant = before.keys() if any(found.is_nameless for found in unreadable.values()) else unreadable.keys()
        now_there = gathered.resources[name].analyzers
        kept = {analyzer: before[analyzer] for analyzer in before.keys() & meant}
        resources[name] = gathered.resources[name].model_copy(update={"analyzers": {**kept, **now_there}})
        for analyzer, found in sorted(unreadable.items()):
            has = (
                "has it as it is" if analyzer in now_there else "has an earlier one" if analyzer in kept else "lacks it"
            )
            has = "keeps the earlier entry of analyzers that are not listed" if found.is_nameless else has
            problems.append(f"{analyzer}: {found.unreadable(name)} The snapshot {has}")
    manifest = Manifest(
        id=f"{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:6]}",
        plan=catalog.plan,
        taken_at=now,
        run_id=context.run_id,
        previous=catalog.listed[-1].digest if catalog.listed else None,
        epoch=fence.epoch,
        log=context.known.log if context.known else None,
        resources=dict(sorted(resources.items())),
    )
    return manifest, problems


async def _earlier(catalog: Catalog, gathered: Gathered) -> tuple[dict[str, ResourceSnapshot], list[str]]:
    """Give what earlier snapshots have of what cannot be read; also what is wrong with these snapshots."""
    earlier: dict[str, ResourceSnapshot] = {}
    problems: list[str] = []
    unseen = gathered.unseen
    partly = {name for name, found in gathered.unreadable.items() if any(not each.is_whole for each in found.values())}
    for entry in reversed(catalog.listed[-LOOKED_BACK:]):
        if not unseen and not partly:
            break
        found = await catalog.manifest(entry)
        problems += found.problems
        for name, part in found.manifest.resources.items() if found.manifest else ():
            if unseen.intersection(part.primaries) or name in partly:
                earlier.setdefault(name, part)
                unseen = unseen.difference(part.primaries)
                partly.discard(name)
    return earlier, problems
