"""Which snapshots are kept, and what can go with those that are not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from standby.config.plan import SnapshotPolicy
from standby.document import JsonValue
from standby.recovery.audit import AuditAction, note
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.catalog import Catalog
from standby.recovery.snapshots.index import IndexEntry, write_index
from standby.recovery.snapshots.manifest import Manifest
from standby.recovery.snapshots.store import Store, index_path, manifest_path, object_path, seal_path
from standby.vault.errors import VaultError


def retired(entries: Sequence[IndexEntry], policy: SnapshotPolicy, now: datetime) -> tuple[IndexEntry, ...]:
    """Choose the snapshots that go: beyond the number that is always kept, and older than the age.

    Args:
        entries: oldest first.
        policy: of the plan.
        now: UTC.
    """
    return tuple(entry for entry in entries[: -policy.keep] if now - entry.taken_at > policy.keep_for)


def unneeded(going: Iterable[Manifest], staying: Iterable[Manifest | None]) -> frozenset[str]:
    """Choose the objects that only snapshots have which go.

    Args:
        going: manifests of those; one that cannot be read leaves its objects where they are.
        staying: manifests of all others; `None` for one that cannot be read: then it may need any object.
    """
    needed: set[str] = set()
    for manifest in staying:
        if manifest is None:
            return frozenset()
        needed |= manifest.digests
    return frozenset(digest for manifest in going for digest in manifest.digests if digest not in needed)


class Rewritable(Protocol):
    """The list of the vault, which this run holds."""

    async def rewrite(self, content: bytes) -> None:
        """Put something else in its place."""
        ...


async def retire(
    context: RecoveryContext, catalog: Catalog, entries: tuple[IndexEntry, ...], journal: Rewritable
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove what the plan's policy keeps no longer, and the objects that nothing else needs.

    Args:
        context: has the policy, and the log.
        catalog: has the stores.
        entries: all snapshots, oldest first, with the new one.
        journal: the vault's list.

    Returns:
        The snapshots that are gone, and what could not be removed, a sentence each.
    """
    staying = tuple(entry for entry in entries if not entry.retiring)
    leaving = retired(staying, context.plan.snapshots, context.clock.now())
    names = {entry.id for entry in (*leaving, *(each for each in entries if each.retiring))}
    if not names:
        return (), ()
    marked = tuple(entry.model_copy(update={"retiring": True}) if entry.id in names else entry for entry in entries)
    kept = tuple(entry for entry in marked if not entry.retiring)
    going = tuple(entry for entry in marked if entry.retiring)
    found = [read.manifest for read in await catalog.manifests(going)]
    objects = unneeded(
        [manifest for manifest in found if manifest is not None],
        [read.manifest for read in await catalog.manifests(kept)],
    )
    first, *others = catalog.stores
    await journal.rewrite(write_index(marked))
    told: list[JsonValue] = [*sorted(names)]
    await note(context, AuditAction.SNAPSHOT_RETIRED, {"ids": told, "objects": len(objects)})
    await _remove(first, catalog.plan, going, objects)
    await journal.rewrite(write_index(kept))
    problems = []
    for store in others:
        try:
            await _remove(store, catalog.plan, going, objects)
            await store.files.write(index_path(catalog.plan), write_index(kept))
        except VaultError as error:
            problems.append(f"{store.name} still has what was to be removed: {error.cause}")
    return tuple(sorted(names)), tuple(problems)


async def _remove(store: Store, plan: str, going: tuple[IndexEntry, ...], objects: frozenset[str]) -> None:
    for digest in sorted(objects):
        await store.files.remove(object_path(plan, digest))
    for entry in going:
        await store.files.remove(manifest_path(plan, entry.id))
        await store.files.remove(seal_path(plan, entry.id))
