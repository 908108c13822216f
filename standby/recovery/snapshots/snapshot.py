"""Lists the snapshots of a plan, and checks every file of them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from standby.concurrency import side_by_side
from standby.document import Document, JsonValue
from standby.recovery.audit import AuditAction, verify_audit
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.catalog import (
    Catalog,
    StoredManifest,
    differing,
    gaps,
    inspect_manifest,
    log,
    open_catalog,
)
from standby.recovery.snapshots.errors import NoSnapshot, SnapshotTampered
from standby.recovery.snapshots.manifest import (
    IndexEntry,
    Manifest,
    ResourceSnapshot,
)
from standby.recovery.snapshots.store import (
    FILES_AT_ONCE,
    Store,
    from_object,
    has_digest,
    index_path,
    object_path,
    read_object,
    stores_of,
)
from standby.text import counted


class SnapshotEntry(Document):
    """One snapshot, for a list of them.

    Attributes:
        resources: analyzers by resource.
        size: bytes of its manifest and of the definitions that it needs.
        problems: what is wrong with its manifest or its signature, a sentence each.
    """

    id: str
    taken_at: datetime
    resources: Mapping[str, int]
    analyzers: int
    size: int
    signed: bool
    problems: tuple[str, ...] = ()


class Verification(Document):
    """What a check of every file of every snapshot found.

    Attributes:
        stores: where it looked.
        objects: how many definitions were read, in each store once.
        problems: what is wrong, a sentence each; the file and the store are named.
    """

    plan: str
    stores: tuple[str, ...]
    snapshots: int
    objects: int
    problems: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def summary(self) -> str:
        """The result, as a sentence."""
        read = f"{counted(self.snapshots, 'snapshot')} and {counted(self.objects, 'definition')} read"
        result = "all is as it was written" if self.whole else counted(len(self.problems), "problem")
        return f"{read} in {counted(len(self.stores), 'store')}: {result}."


async def list_snapshots(context: RecoveryContext) -> tuple[SnapshotEntry, ...]:
    """List the snapshots of the plan, newest first, each with what is wrong with its manifest in any store.

    Raises:
        VaultUnavailable: no store answers.
    """
    catalog = await open_catalog(context)
    looked = await _look_at_all(catalog)
    return tuple(
        SnapshotEntry(
            id=entry.id,
            taken_at=entry.taken_at,
            resources=entry.resources,
            analyzers=sum(entry.resources.values()),
            size=entry.size,
            signed=entry.signed,
            problems=tuple(problem for found in looked[entry.id] for problem in found.problems),
        )
        for entry in reversed(catalog.listed)
    )


async def verify_snapshots(context: RecoveryContext) -> Verification:
    """Read every file of every snapshot in every store again; nothing is mended.

    The log of who did what is asked, too: a snapshot that was taken, not removed by its age, and is listed
    nowhere was taken away.

    Raises:
        VaultUnavailable: no store answers.
    """
    catalog = await open_catalog(context)
    looked = await _look_at_all(catalog)
    problems = [*catalog.problems, *differing(catalog), *gaps(catalog.listed)]
    problems += [problem for found in looked.values() for each in found for problem in each.problems]
    known = [each.manifest for found in looked.values() for each in found if each.manifest is not None]
    digests = sorted({digest for manifest in known for digest in manifest.digests})
    problems += await _damaged_objects(catalog, digests)
    problems += await _taken_away(context, catalog)
    return Verification(
        plan=catalog.plan,
        stores=tuple(store.files.where(index_path(catalog.plan)) for store in catalog.stores),
        snapshots=len(catalog.listed),
        objects=len(digests),
        problems=tuple(dict.fromkeys(problems)),
    )


async def _look_at_all(catalog: Catalog) -> dict[str, list[StoredManifest]]:
    """Look at every manifest in every store that answers."""
    gate = asyncio.Semaphore(FILES_AT_ONCE)

    async def inspect(store: Store, entry: IndexEntry) -> StoredManifest:
        async with gate:
            return await inspect_manifest(store, catalog.plan, entry, catalog.signer)

    async with side_by_side() as group:
        tasks = {
            entry.id: [
                group.create_task(inspect(store, index.find(entry.id) or entry))
                for store, index in zip(catalog.stores, catalog.indexes, strict=True)
                if index is not None
            ]
            for entry in catalog.listed
        }
    return {snapshot: [task.result() for task in found] for snapshot, found in tasks.items()}


async def _damaged_objects(catalog: Catalog, digests: list[str]) -> list[str]:
    gate = asyncio.Semaphore(FILES_AT_ONCE)

    async def inspect(store: Store, digest: str) -> str:
        async with gate:
            return (await store.inspect(object_path(catalog.plan, digest), has_digest(digest))).problem

    async with side_by_side() as group:
        tasks = [
            group.create_task(inspect(store, digest))
            for store, index in zip(catalog.stores, catalog.indexes, strict=True)
            if index is not None
            for digest in digests
        ]
    return [problem for task in tasks if (problem := task.result())]


async def _taken_away(context: RecoveryContext, catalog: Catalog) -> list[str]:
    check = await verify_audit(context.vault, catalog.plan, catalog.signer)
    taken: dict[str, None] = {}
    for line in check.lines:
        if line.action == AuditAction.SNAPSHOT_TAKEN.value:
            taken[str(line.facts.get("id"))] = None
        elif line.action == AuditAction.SNAPSHOT_RETIRED.value:
            ids = line.facts.get("ids")
            for snapshot in ids if isinstance(ids, list) else []:
                taken.pop(str(snapshot), None)
    listed = {entry.id for entry in catalog.entries}
    return [
        f"Snapshot {snapshot} was taken, as {check.where} says, and no list of snapshots has it"
        for snapshot in taken
        if snapshot not in listed
    ]


@dataclass(frozen=True)
class Snapshot:
    """A snapshot whose manifest was checked.

    Attributes:
        digest: of its manifest.
        problems: what was found wrong beside, a sentence each: it does not stand in the way of restoring.
    """

    manifest: Manifest
    digest: str
    problems: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Its id."""
        return self.manifest.id

    @property
    def taken_at(self) -> datetime:
        """When it was taken, UTC."""
        return self.manifest.taken_at

    @property
    def resources(self) -> Mapping[str, ResourceSnapshot]:
        """What each resource held, by its name."""
        return self.manifest.resources


async def open_snapshot(
    context: RecoveryContext, as_of: datetime | None = None, snapshot_id: str | None = None
) -> Snapshot:
    """Open the newest snapshot, or the newest that is not later than a moment, or the one of an id.

    What one store has not right is taken from the other, and mended. No older snapshot is opened instead of
    a damaged one: whoever wants that says so.

    Raises:
        NoSnapshot: there is none.
        SnapshotTampered: its manifest or its signature is not right in any store.
        VaultUnavailable: no store answers.
    """
    catalog = await open_catalog(context)
    entry = _chosen(catalog, as_of, snapshot_id)
    found = await catalog.manifest(entry)
    if found.manifest is None:
        raise SnapshotTampered(entry.id, found.problems)
    problems = (*catalog.problems, *differing(catalog), *gaps(catalog.listed), *found.problems)
    for problem in problems:
        log.warning("%s", problem)
    return Snapshot(found.manifest, entry.digest, problems)


async def readable_definitions(
    context: RecoveryContext, snapshot: Snapshot, resource: str, only: Collection[str] | None = None
) -> tuple[dict[str, dict[str, JsonValue]], dict[str, tuple[str, ...]]]:
    """Read the definitions of one resource of a snapshot, as far as that can be done.

    Args:
        context: has the stores.
        snapshot: says which.
        resource: whose.
        only: these analyzers; all of them where it is not given.

    Returns:
        Definitions by analyzer; and what is wrong, a sentence each, with those that cannot be read.
    """
    stores, plan = stores_of(context), context.plan.name
    entries = snapshot.resources[resource].analyzers
    gate = asyncio.Semaphore(FILES_AT_ONCE)
    definitions: dict[str, dict[str, JsonValue]] = {}
    damaged: dict[str, tuple[str, ...]] = {}

    async def read(analyzer: str, digest: str) -> None:
        async with gate:
            found = await read_object(stores, plan, digest)
        if found.content is None:
            damaged[analyzer] = found.problems
        else:
            definitions[analyzer] = from_object(found.content)
            for problem in found.problems:
                log.warning("%s", problem)

    async with side_by_side() as group:
        for analyzer, entry in entries.items():
            if only is None or analyzer in only:
                group.create_task(read(analyzer, entry.digest))
    return dict(sorted(definitions.items())), damaged


def _chosen(catalog: Catalog, as_of: datetime | None, snapshot_id: str | None) -> IndexEntry:
    if snapshot_id is not None:
        fitting = [entry for entry in catalog.listed if entry.id == snapshot_id]
        asked = f"of the id {snapshot_id}"
    elif as_of is not None:
        fitting = [entry for entry in catalog.listed if entry.taken_at <= as_of]
        asked = f"as of {as_of:%Y-%m-%d %H:%M:%S} UTC"
    else:
        fitting, asked = list(catalog.listed), ""
    if not fitting:
        raise NoSnapshot(catalog.plan, asked)
    return fitting[-1]
