"""Writes snapshots into a store: a new one, and those that another store has and it has not."""

from __future__ import annotations

from standby.recovery.snapshots.paths import manifest_path, seal_path
from standby.recovery.snapshots.shelf import Shelf
from standby.recovery.snapshots.stores import Store, put_objects, read_object


async def put_manifest(store: Store, plan: str, snapshot: str, content: bytes, seal: bytes | None) -> None:
    """Write a manifest and its seal.

    Raises:
        VaultUnavailable: they may not both be there.
    """
    if seal is not None:
        await store.files.write(seal_path(plan, snapshot), seal)
    await store.files.write(manifest_path(plan, snapshot), content)


async def bring_over(shelf: Shelf, store: Store) -> list[str]:
    """Give a store the snapshots that its list lacks: it was away when they were taken, or lost them.

    Returns:
        What no store has any more, a sentence each.

    Raises:
        VaultUnavailable: not all of them are there now.
    """
    index = shelf.indexes[shelf.stores.index(store)]
    problems: list[str] = []
    for entry in shelf.kept:
        if index is not None and index.find(entry.id) is not None:
            continue
        found = await shelf.manifest(entry)
        problems += found.problems if found.manifest is None else ()
        if found.manifest is None:
            continue
        objects: dict[str, bytes] = {}
        for digest in sorted(found.manifest.digests):
            read = await read_object(shelf.stores, shelf.plan, digest)
            if read.content is None:
                problems += read.problems
            else:
                objects[digest] = read.content
        await put_objects(store, shelf.plan, objects)
        await put_manifest(store, shelf.plan, entry.id, found.content, found.seal)
    return problems
