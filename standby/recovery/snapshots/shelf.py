"""A plan's snapshots as all stores have them together: their lists, and the manifests these lead to."""

from __future__ import annotations

import asyncio
import bisect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pydantic import ValidationError

from standby.concurrency import side_by_side
from standby.recovery.context import RecoveryContext
from standby.recovery.signing import Signer
from standby.recovery.snapshots.index import Index, IndexEntry, entry_of, merged, named_in, parse_index
from standby.recovery.snapshots.manifest import Manifest, digest_of
from standby.recovery.snapshots.paths import index_path, manifest_path, seal_path
from standby.recovery.snapshots.seal import unsealed
from standby.recovery.snapshots.stores import FILES_AT_ONCE, Store, mend, stores_of
from standby.vault.errors import VaultError, VaultUnavailable

CHANGED = "was changed after it was written"


@dataclass(frozen=True)
class KeptManifest:
    """A manifest as one store has it, or as the first that has it right.

    Attributes:
        manifest: `None` where it cannot be trusted.
        content: the bytes of its file.
        seal: the bytes of its seal's file; `None` where there is none.
        problems: what is wrong, a sentence each without its full stop.
        answered: whether the store could tell.
    """

    manifest: Manifest | None
    content: bytes = b""
    seal: bytes | None = None
    problems: tuple[str, ...] = ()
    answered: bool = True


@dataclass(frozen=True)
class Shelf:
    """The lists of a plan's snapshots.

    Attributes:
        indexes: one a store; `None` where the store did not answer.
        entries: all snapshots, oldest first, also those that only one store's list has.
        problems: what is wrong with the lists.
    """

    plan: str
    stores: tuple[Store, ...]
    signer: Signer | None
    indexes: tuple[Index | None, ...]
    entries: tuple[IndexEntry, ...]
    problems: tuple[str, ...]

    @property
    def kept(self) -> tuple[IndexEntry, ...]:
        """Those that are not being removed."""
        return tuple(entry for entry in self.entries if not entry.retiring)

    async def manifest(self, entry: IndexEntry) -> KeptManifest:
        """Read a manifest from the first store that has it and its seal right, and mend those before it."""
        problems: list[str] = []
        broken: list[tuple[Store, KeptManifest]] = []
        for store, index in zip(self.stores, self.indexes, strict=True):
            own = (index.find(entry.id) if index else None) or entry
            found = await look_at(store, self.plan, own, self.signer)
            if found.manifest is not None:
                for other, had in broken:
                    await self._mend(other, entry.id, found, had)
                return replace(found, problems=tuple(problems))
            problems += found.problems
            if found.answered:
                broken.append((store, found))
        return KeptManifest(None, problems=tuple(problems))

    async def manifests(self, entries: Sequence[IndexEntry]) -> list[KeptManifest]:
        """Read several manifests, in the same order."""
        gate = asyncio.Semaphore(FILES_AT_ONCE)

        async def read(entry: IndexEntry) -> KeptManifest:
            async with gate:
                return await self.manifest(entry)

        async with side_by_side() as group:
            tasks = [group.create_task(read(entry)) for entry in entries]
        return [task.result() for task in tasks]

    async def _mend(self, store: Store, snapshot: str, good: KeptManifest, had: KeptManifest) -> None:
        if had.content != good.content:
            await mend(store, manifest_path(self.plan, snapshot), good.content)
        if good.seal is not None and had.seal != good.seal:
            await mend(store, seal_path(self.plan, snapshot), good.seal)


async def open_shelf(context: RecoveryContext) -> Shelf:
    """Read the lists of all stores.

    Raises:
        VaultUnavailable: no store could tell.
    """
    stores, plan = stores_of(context), context.plan.name
    indexes: list[Index | None] = []
    problems: list[str] = []
    unanswered: VaultUnavailable | None = None
    for store in stores:
        try:
            indexes.append(parse_index(await store.read(index_path(plan))))
        except VaultUnavailable as error:
            unanswered = error
            indexes.append(None)
            problems.append(error.cause)
    if unanswered is not None and not any(indexes):
        raise unanswered
    entries: tuple[IndexEntry, ...] = ()
    for index in indexes:
        entries = merged(entries, index.entries if index else ())
    shelf = Shelf(plan, stores, context.signer, tuple(indexes), entries, tuple(problems))
    return await _with_damaged_lines(shelf)


def differing(shelf: Shelf) -> tuple[str, ...]:
    """Say where the list of one store lacks, or tells otherwise, what the list of another has."""
    problems = []
    for store, index in zip(shelf.stores, shelf.indexes, strict=True):
        if index is None:
            continue
        where = f"{store.files.where(index_path(shelf.plan))} ({store.name})"
        lacking = [entry.id for entry in shelf.kept if index.find(entry.id) is None]
        if lacking:
            problems.append(f"{where} does not have {', '.join(lacking)}")
        other = [entry.id for entry in shelf.kept if index.find(entry.id) not in (None, entry)]
        if other:
            problems.append(f"{where} does not say the same of {', '.join(other)} as another store's")
    return tuple(problems)


def gaps(entries: Sequence[IndexEntry]) -> tuple[str, ...]:
    """Say where a manifest does not follow from the one that is listed before it."""
    return tuple(
        f"Snapshot {later.id} does not follow from {earlier.id}: one between them was removed, or put in"
        for earlier, later in pairwise(entries)
        if later.previous != earlier.digest
    )


async def look_at(store: Store, plan: str, entry: IndexEntry, signer: Signer | None) -> KeptManifest:
    """Read a manifest and its seal from one store, and check both; this never raises."""
    path, sealed_at = manifest_path(plan, entry.id), seal_path(plan, entry.id)
    where = f"{store.files.where(path)} ({store.name})"
    seal_where = f"{store.files.where(sealed_at)} ({store.name})"
    try:
        content, seal = await store.read(path), await store.read(sealed_at)
    except VaultError as error:
        return KeptManifest(None, problems=(error.cause,), answered=False)
    if content is None:
        return KeptManifest(None, seal=seal, problems=(f"{where} is gone, and the list has it",))
    bad_seal = unsealed(content, seal, signer)
    if not bad_seal and seal is None and entry.signed:
        bad_seal = "is gone"
    manifest = _parsed(content)
    problems: list[str] = []
    if digest_of(content) != entry.digest:
        # Signed as it is, it is the list that was edited.
        changed = signer is None or bad_seal or manifest is None
        listed = f"{store.files.where(index_path(plan))} ({store.name}) names another digest for {entry.id}"
        problems.append(f"{where} {CHANGED}" if changed else listed)
    elif manifest is None or (manifest.id, manifest.plan) != (entry.id, plan):
        problems.append(f"{where} is no manifest of this snapshot")
    elif not _says_the_same(manifest, content, entry):
        problems.append(f"{store.files.where(index_path(plan))} ({store.name}) tells otherwise of {entry.id}")
    if bad_seal and not (problems and seal is not None):
        problems.append(f"{seal_where} {bad_seal}")
    return KeptManifest(None if problems else manifest, content, seal, tuple(problems))


def _says_the_same(manifest: Manifest, content: bytes, entry: IndexEntry) -> bool:
    told = entry_of(manifest, content, signed=entry.signed)
    return told == entry.model_copy(update={"retiring": False})


async def _with_damaged_lines(shelf: Shelf) -> Shelf:
    """Find again, by their manifests, the snapshots that damaged lines were about."""
    entries, problems = list(shelf.entries), list(shelf.problems)
    for store, index in zip(shelf.stores, shelf.indexes, strict=True):
        where = f"{store.files.where(index_path(shelf.plan))} ({store.name})"
        for line in index.damaged if index else ():
            snapshot = named_in(line)
            known = any(entry.id == snapshot for entry in entries)
            found = None if known or not snapshot else await _unlisted(shelf, snapshot)
            if found is not None:
                bisect.insort(entries, found, key=lambda entry: entry.taken_at)
            lost = "" if known or found else ", and it cannot be told which snapshot it was about"
            problems.append(f"{where} has a line that was changed after it was written{lost}")
    return replace(shelf, entries=tuple(entries), problems=tuple(problems))


async def _unlisted(shelf: Shelf, snapshot: str) -> IndexEntry | None:
    for store in shelf.stores:
        try:
            content = await store.read(manifest_path(shelf.plan, snapshot))
            seal = await store.read(seal_path(shelf.plan, snapshot))
        except VaultError:
            continue  # What it holds is not known; the problem of its list is told already.
        manifest = _parsed(content or b"")
        if content is None or manifest is None or (manifest.id, manifest.plan) != (snapshot, shelf.plan):
            continue
        if not unsealed(content, seal, shelf.signer):
            return entry_of(manifest, content, signed=seal is not None)
    return None


def _parsed(content: bytes) -> Manifest | None:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError:
        return None
