"""Removes snapshots that are kept no longer, so that a crash on the way leaves nothing that looks damaged.

The list first says of them that they are going; then their files go; then the list forgets them. What a
crash leaves is finished by the next snapshot.
"""

from __future__ import annotations

from typing import Protocol

from standby.recovery.audit import Deed, note
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.index import IndexEntry, write_index
from standby.recovery.snapshots.paths import index_path, manifest_path, object_path, seal_path
from standby.recovery.snapshots.retention import retired, unneeded
from standby.recovery.snapshots.shelf import Shelf
from standby.recovery.snapshots.stores import Store
from standby.service.models import JsonValue
from standby.vault.errors import VaultError


class Rewritable(Protocol):
    """The list of the vault, which this run holds."""

    async def rewrite(self, content: bytes) -> None:
        """Put something else in its place."""
        ...


async def retire(
    context: RecoveryContext, shelf: Shelf, entries: tuple[IndexEntry, ...], journal: Rewritable
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove what the plan's policy keeps no longer, and the objects that nothing else needs.

    Args:
        context: has the policy, and the log.
        shelf: the stores.
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
    marked = tuple(
        entry.model_copy(update={"retiring": True}) if entry.id in names else entry for entry in entries
    )
    kept = tuple(entry for entry in marked if not entry.retiring)
    going = tuple(entry for entry in marked if entry.retiring)
    found = [read.manifest for read in await shelf.manifests(going)]
    objects = unneeded(
        [manifest for manifest in found if manifest is not None],
        [read.manifest for read in await shelf.manifests(kept)],
    )
    first, *others = shelf.stores
    await journal.rewrite(write_index(marked))
    told: list[JsonValue] = [*sorted(names)]
    await note(context, Deed.SNAPSHOT_RETIRED, {"ids": told, "objects": len(objects)})
    await _remove(first, shelf.plan, going, objects)
    await journal.rewrite(write_index(kept))
    problems = []
    for store in others:
        try:
            await _remove(store, shelf.plan, going, objects)
            await store.files.write(index_path(shelf.plan), write_index(kept))
        except VaultError as error:
            problems.append(f"{store.name} still has what was to be removed: {error.cause}")
    return tuple(sorted(names)), tuple(problems)


async def _remove(store: Store, plan: str, going: tuple[IndexEntry, ...], objects: frozenset[str]) -> None:
    for digest in sorted(objects):
        await store.files.remove(object_path(plan, digest))
    for entry in going:
        await store.files.remove(manifest_path(plan, entry.id))
        await store.files.remove(seal_path(plan, entry.id))
