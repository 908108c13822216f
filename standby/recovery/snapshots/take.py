"""Keeps what the resources of a plan hold, in every store, and lets old snapshots go."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from standby.concurrency import side_by_side
from standby.document import Document, JsonValue, digest_of
from standby.errors import sentence
from standby.fencing import Fence, read_fence
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext
from standby.recovery.signing import sealed
from standby.recovery.snapshots.catalog import Catalog, bring_over, open_catalog, put_manifest, retire
from standby.recovery.snapshots.errors import NothingReachable
from standby.recovery.snapshots.id_mapping import primary_id
from standby.recovery.snapshots.labelled import see_labelled
from standby.recovery.snapshots.manifest import (
    AnalyzerEntry,
    DeploymentEntry,
    IndexEntry,
    LabelledData,
    Manifest,
    ResourceSnapshot,
    entry_of,
    write_index,
)
from standby.recovery.snapshots.store import Store, index_path, put_objects, to_object, without_access
from standby.replication.dependencies import referenced_anywhere, resolve
from standby.replication.fingerprint import fingerprint
from standby.replication.inventory import Inventory, is_protected, take_inventory
from standby.service.errors import ServiceError
from standby.service.models import Analyzer, Deployment
from standby.text import counted
from standby.vault.errors import VaultError


@dataclass(frozen=True)
class Seen:
    """One resource, just now.

    Attributes:
        objects: the definitions' bytes, by digest.
    """

    part: ResourceSnapshot
    objects: Mapping[str, bytes]


@dataclass(frozen=True)
class Gathered:
    """All resources that serve the plan.

    Attributes:
        seen: by resource.
        missing: why a resource did not answer, by its name.
        homes: the sources in whose place each resource serves, by its name.
    """

    seen: Mapping[str, Seen]
    missing: Mapping[str, str]
    primaries: Mapping[str, tuple[str, ...]]


async def gather(context: RecoveryContext, fence: Fence) -> Gathered:
    """Read every resource that serves in the place of a source; one that does not answer stops no other."""
    primaries: dict[str, tuple[str, ...]] = {}
    for primary, side in fence.assignments.items():
        primaries[side.active] = (*primaries.get(side.active, ()), primary)
    seen: dict[str, Seen] = {}
    missing: dict[str, str] = {}

    async def inspect(name: str) -> None:
        if name not in context.connections.clients:
            missing[name] = f"{name} serves, and is no resource of the plan any more"
            return
        try:
            seen[name] = await _see(context, name, primaries[name])
        except ServiceError as error:
            missing[name] = str(error)

    async with side_by_side() as group:
        for name in primaries:
            group.create_task(inspect(name))
    return Gathered(seen, missing, primaries)


async def _see(context: RecoveryContext, name: str, primaries: tuple[str, ...]) -> Seen:
    client = context.connections[name]
    inventory = await take_inventory(client)
    seen_at = context.clock.now()
    protected = _protected(context, name, primaries, inventory, seen_at)
    labelled = await see_labelled(protected, client.resource.credentials, client.tls)
    clean = {analyzer: without_access(definition) for analyzer, definition in protected.items()}
    objects = {analyzer: to_object(definition) for analyzer, definition in clean.items()}
    return Seen(
        part=ResourceSnapshot(
            primaries=primaries,
            region=client.resource.region,
            endpoint=client.resource.endpoint,
            api_version=client.resource.api_version,
            seen_at=seen_at,
            defaults=inventory.serving.defaults,
            deployments=_deployments(inventory.serving.deployments),
            analyzers={
                analyzer: _entry(
                    inventory.analyzers[analyzer],
                    objects[analyzer],
                    fingerprint(clean[analyzer], context.plan.ignore),
                    labelled.get(analyzer, ()),
                )
                for analyzer in sorted(clean)
            },
        ),
        objects={digest_of(content): content for content in objects.values()},
    )


def _protected(
    context: RecoveryContext, name: str, primaries: tuple[str, ...], inventory: Inventory, now: datetime
) -> dict[str, Mapping[str, JsonValue]]:
    """Choose what the plan protects, by the id that an analyzer has at home, and what that refers to."""
    there = {analyzer: found for analyzer, found in inventory.analyzers.items() if found.status != "deleting"}
    definitions = {analyzer: inventory.definitions[analyzer] for analyzer in there}
    referenced = referenced_anywhere(definitions)

    def at_home(found: Analyzer, primary: str) -> Analyzer:
        own = primary_id(context.plan, found.analyzer_id, name, primary, referenced)
        return found if own == found.analyzer_id else found.model_copy(update={"analyzer_id": own})

    selected = [
        analyzer
        for analyzer, found in there.items()
        if any(is_protected(context.plan, at_home(found, primary), now) for primary in primaries)
    ]
    return {analyzer: definitions[analyzer] for analyzer in resolve(selected, definitions).children}


def _entry(analyzer: Analyzer, content: bytes, meaning: str, labelled: tuple[LabelledData, ...]) -> AnalyzerEntry:
    return AnalyzerEntry(
        digest=digest_of(content),
        size=len(content),
        fingerprint=meaning,
        status=analyzer.status,
        created_at=analyzer.created_at,
        changed_at=analyzer.last_modified_at,
        labelled=labelled,
    )


def _deployments(found: Mapping[str, Deployment] | None) -> dict[str, DeploymentEntry] | None:
    if found is None:
        return None
    return {
        name: DeploymentEntry(
            name=each.name,
            model=each.model,
            version=each.version,
            capacity=each.capacity,
            state=each.state,
        )
        for name, each in found.items()
    }


log = logging.getLogger("standby.recovery")

LOOKED_BACK = 10
"""Snapshots in which a source that does not answer is looked for, newest first."""


class SnapshotTaken(Document):
    """A snapshot that was just taken.

    Attributes:
        digest: of its manifest.
        resources: analyzers by resource.
        missing: why a resource did not answer, by its name; what the snapshot before had of it is carried on.
        new_objects: definitions that no earlier snapshot had.
        unknown_labelled: analyzers whose labelled data could not be listed.
        retired: snapshots that were removed because of their number and age.
        stores: where it is.
        problems: what went wrong beside, a sentence each.
    """

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
        """Whether every resource answered and every store has it."""
        return not self.missing and not self.problems

    @property
    def shortcomings(self) -> tuple[str, ...]:
        """What is missing or went wrong, a sentence each."""
        missing = (
            f"{name}: {sentence(reason)} What the last snapshot has of it is kept."
            for name, reason in sorted(self.missing.items())
        )
        return (*missing, *(sentence(problem) for problem in self.problems))

    @property
    def summary(self) -> str:
        """The result, as a sentence."""
        signed = "signed" if self.signed else "not signed"
        analyzers = counted(sum(self.resources.values()), "analyzer")
        new = counted(self.new_objects, "new definition")
        return f"Plan {self.plan}: snapshot {self.id} of {analyzers}, {new}, {signed}."


async def take_snapshot(context: RecoveryContext) -> SnapshotTaken:
    """Keep what serves the plan now: definitions, defaults, deployments, and what labelled data there is.

    A resource that does not answer stops no other. What the snapshot before had of it is carried on, so that
    the newest snapshot is always the one to restore from.

    Raises:
        NothingReachable: no resource answered; nothing was written.
        Held: another run takes a snapshot of this plan.
        VaultUnavailable: the vault cannot be read or written; the second store alone is not enough.
        CannotSign: only the public half of the key is here.
    """
    plan = context.plan.name
    fence = await read_fence(context.vault, context.plan)
    gathered = await gather(context, fence)
    if not gathered.seen:
        raise NothingReachable(plan, gathered.missing)
    objects = {digest: content for seen in gathered.seen.values() for digest, content in seen.objects.items()}
    async with context.vault.hold(index_path(plan)) as journal:
        catalog = await open_catalog(context)
        problems = [*catalog.problems, *_unreached(context)]
        manifest, carrying = await _manifest(context, catalog, fence, gathered)
        content = manifest.to_bytes()
        seal = sealed(content, context.signer) if context.signer else None
        entry = entry_of(manifest, content, signed=seal is not None)
        first, *others = catalog.stores
        new_objects, mended = await put_objects(first, plan, objects)
        await put_manifest(first, plan, manifest.id, content, seal)
        problems += [*carrying, *mended, *await bring_over(catalog, first)]
        entries = (*catalog.entries, entry)
        await _set_aside(catalog)
        await journal.rewrite(write_index(entries))
        took = [first]
        for store in others:
            try:
                problems += (await put_objects(store, plan, objects))[1]
                await put_manifest(store, plan, manifest.id, content, seal)
                problems += await bring_over(catalog, store)
                await store.files.write(index_path(plan), write_index(entries))
                took.append(store)
            except VaultError as error:
                problems.append(f"{store.name} did not take it: {error.cause}")
        await _note(context, entry, gathered, new_objects, took, fence.epoch)
        gone, left = await retire(context, catalog, entries, journal)
    for problem in (*problems, *left):
        log.warning("%s", problem)
    return SnapshotTaken(
        plan=plan,
        id=manifest.id,
        digest=entry.digest,
        taken_at=manifest.taken_at,
        run_id=context.run_id,
        signed=entry.signed,
        resources=entry.resources,
        missing=gathered.missing,
        new_objects=new_objects,
        unknown_labelled=_unknown_labelled(manifest),
        retired=gone,
        stores=tuple(store.files.where(index_path(plan)) for store in took),
        problems=(*problems, *left),
    )


async def _manifest(
    context: RecoveryContext, catalog: Catalog, fence: Fence, gathered: Gathered
) -> tuple[Manifest, list[str]]:
    """Make the manifest; also give what stands in the way of carrying on what cannot be seen."""
    last = catalog.listed[-1] if catalog.listed else None
    parts = {name: seen.part for name, seen in gathered.seen.items()}
    unseen = {primary for name in gathered.missing for primary in gathered.primaries[name]}
    carried, problems = await _carried(catalog, unseen)
    now = context.clock.now()
    manifest = Manifest(
        id=f"{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:6]}",
        plan=catalog.plan,
        taken_at=now,
        run_id=context.run_id,
        previous=last.digest if last else None,
        epoch=fence.epoch,
        resources=dict(sorted({**carried, **parts}.items())),
    )
    return manifest, problems


async def _carried(catalog: Catalog, unseen: set[str]) -> tuple[dict[str, ResourceSnapshot], list[str]]:
    """Give what earlier snapshots have of sources that cannot be seen; also what is wrong with these."""
    carried: dict[str, ResourceSnapshot] = {}
    problems: list[str] = []
    for entry in reversed(catalog.listed[-LOOKED_BACK:]):
        if not unseen:
            break
        found = await catalog.manifest(entry)
        problems += found.problems
        for name, part in found.manifest.resources.items() if found.manifest else ():
            if unseen.intersection(part.primaries):
                carried.setdefault(name, part)
                unseen = unseen.difference(part.primaries)
    return carried, problems


def _unreached(context: RecoveryContext) -> list[str]:
    if context.configuration.vault.second is None or context.second is not None:
        return []
    return ["The second store is a Prefect block, which a run without Prefect cannot write to"]


async def _set_aside(catalog: Catalog) -> None:
    """Keep damaged lines of the lists, which are about to be written anew."""
    for store, index in zip(catalog.stores, catalog.indexes, strict=True):
        if index is not None and index.damaged:
            path = f"{index_path(catalog.plan)}.damaged"
            earlier = await store.read(path) or b""
            await store.files.write(path, earlier + b"".join(line + b"\n" for line in index.damaged))


async def _note(
    context: RecoveryContext,
    entry: IndexEntry,
    gathered: Gathered,
    new_objects: int,
    took: list[Store],
    epoch: int,
) -> None:
    await record_action(
        context,
        AuditAction.SNAPSHOT_TAKEN,
        {
            "id": entry.id,
            "digest": entry.digest,
            "analyzers": dict(entry.resources),
            "missing": dict(gathered.missing),
            "new_objects": new_objects,
            "stores": [store.name for store in took],
        },
        epoch=epoch,
    )


def _unknown_labelled(manifest: Manifest) -> tuple[str, ...]:
    return tuple(
        sorted(
            {
                analyzer
                for part in manifest.resources.values()
                for analyzer, entry in part.analyzers.items()
                if any(each.blobs == "unknown" for each in entry.labelled)
            }
        )
    )
