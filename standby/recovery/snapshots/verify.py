"""Lists the snapshots of a plan, and checks every file of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

from standby.concurrency import side_by_side
from standby.document import Document
from standby.recovery.audit import AuditAction, verify_audit
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.catalog import Catalog, StoredManifest, differing, gaps, inspect_manifest, open_catalog
from standby.recovery.snapshots.index import IndexEntry
from standby.recovery.snapshots.store import FILES_AT_ONCE, Store, has_digest, index_path, object_path


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
        if line.deed == AuditAction.SNAPSHOT_TAKEN.value:
            taken[str(line.facts.get("id"))] = None
        elif line.deed == AuditAction.SNAPSHOT_RETIRED.value:
            ids = line.facts.get("ids")
            for snapshot in ids if isinstance(ids, list) else []:
                taken.pop(str(snapshot), None)
    listed = {entry.id for entry in catalog.entries}
    return [
        f"Snapshot {snapshot} was taken, as {check.where} says, and no list of snapshots has it"
        for snapshot in taken
        if snapshot not in listed
    ]
