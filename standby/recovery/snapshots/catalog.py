"""The catalog: which snapshots of a plan there are, by the lists of all stores, and which are removed.

The lists only lead to manifests. What a list says is believed when the manifest says the same; a list or manifest
that one store lost or damaged is repaired from the other.
"""

import bisect
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

from pydantic import ValidationError

from standby.concurrency import do_for_each
from standby.config.plan import SnapshotPolicy
from standby.document import JsonValue, digest_of
from standby.recovery.audit import AuditAction, read_lines, record_action
from standby.recovery.chain import AuditLine
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.manifest import (
    Index,
    IndexEntry,
    Manifest,
    entry_of,
    merged,
    named_in,
    parse_index,
    write_index,
)
from standby.recovery.snapshots.store import (
    CHANGED,
    FILES_AT_ONCE,
    Store,
    index_path,
    manifest_path,
    object_path,
    put_objects,
    read_object,
    repair,
    seal_path,
    stores_of,
)
from standby.vault.documents import parse_stored
from standby.vault.errors import FormatUnknown, VaultError, VaultUnavailable
from standby.vault.signing import Signer, unsealed
from standby.vault.storage import HeldFile

log = logging.getLogger("standby.recovery")


@dataclass(frozen=True)
class StoredManifest:
    """A manifest as one store has it, or as the first store that has it undamaged."""

    manifest: Manifest | None  # `None` where it cannot be trusted
    content: bytes = b""
    seal: bytes | None = None
    problems: tuple[str, ...] = ()  # what is wrong, a sentence each without its full stop
    answered: bool = True


@dataclass(frozen=True)
class Catalog:
    plan: str
    stores: tuple[Store, ...]
    signer: Signer | None
    indexes: tuple[Index | None, ...]  # one for each store; `None` where the store did not answer
    entries: tuple[IndexEntry, ...]  # all snapshots, oldest first, also those that only one store's list has
    problems: tuple[str, ...]
    unlisted: frozenset[str] = frozenset()  # those of them that no list has, but the audit log and their manifests
    # Snapshots that were taken and not removed by their age, of which there is nothing; oldest first.
    lost: tuple[str, ...] = ()
    newest: str = ""  # the newest snapshot by the audit log; empty where it has none

    @property
    def listed(self) -> tuple[IndexEntry, ...]:
        """Those that are not being removed."""
        return tuple(entry for entry in self.entries if not entry.retiring)

    @property
    def answering(self) -> tuple[tuple[Store, Index], ...]:
        return tuple((store, index) for store, index in zip(self.stores, self.indexes, strict=True) if index)

    async def manifest(self, entry: IndexEntry) -> StoredManifest:
        """Read a manifest from the first store that has it and its seal undamaged; repair the stores before it."""
        problems: list[str] = []
        broken: list[tuple[Store, StoredManifest]] = []
        for store, index in zip(self.stores, self.indexes, strict=True):
            own = (index.find(entry.id) if index else None) or entry
            found = await inspect_manifest(store, self.plan, own, self.signer)
            if found.manifest is not None:
                for other, had in broken:
                    if had.content != found.content:
                        await repair(other, manifest_path(self.plan, entry.id), found.content)
                    if found.seal is not None and had.seal != found.seal:
                        await repair(other, seal_path(self.plan, entry.id), found.seal)
                return replace(found, problems=tuple(problems))
            problems += found.problems
            if found.answered:
                broken.append((store, found))
        return StoredManifest(None, problems=tuple(problems))

    async def manifests(self, entries: Sequence[IndexEntry]) -> list[StoredManifest]:
        return await do_for_each(entries, self.manifest, FILES_AT_ONCE)


async def open_catalog(context: RecoveryContext) -> Catalog:
    stores, plan = stores_of(context), context.plan.name
    indexes: list[Index | None] = []
    problems: list[str] = []
    unanswered: VaultUnavailable | None = None
    for store in stores:
        try:
            indexes.append(parse_index(store.where(index_path(plan)), await store.read(index_path(plan))))
        except VaultUnavailable as error:
            unanswered = error
            indexes.append(None)
            problems.append(error.cause)
    if unanswered is not None and not any(indexes):
        raise unanswered
    entries: tuple[IndexEntry, ...] = ()
    for index in indexes:
        entries = merged(entries, index.entries if index else ())
    catalog = Catalog(plan, stores, context.signer, tuple(indexes), entries, tuple(problems))
    return await _with_logged(context, await _with_damaged_lines(catalog))


def taken(lines: Iterable[AuditLine]) -> tuple[str, ...]:
    """Give the snapshots that there should be by the audit log: taken, and not removed by their age."""
    found: dict[str, None] = {}
    for line in lines:
        if line.action == AuditAction.SNAPSHOT_TAKEN.value:
            found[str(line.facts.get("id"))] = None
        elif line.action == AuditAction.SNAPSHOT_RETIRED.value:
            ids = line.facts.get("ids")
            for snapshot in ids if isinstance(ids, list) else []:
                found.pop(str(snapshot), None)
    return tuple(found)


async def _with_logged(context: RecoveryContext, catalog: Catalog) -> Catalog:
    """Find the snapshots that the audit log knows and no list has, by their manifests: an older list was put back."""
    try:
        lines = await read_lines(context, AuditAction.SNAPSHOT_TAKEN, AuditAction.SNAPSHOT_RETIRED)
    except VaultError as error:
        # The lists may come from the second store alone.
        return replace(catalog, problems=tuple(dict.fromkeys([*catalog.problems, error.cause])))
    entries, lost, unlisted = list(catalog.entries), [], []
    logged = taken(lines)
    for snapshot in logged:
        if any(entry.id == snapshot for entry in entries):
            continue
        found = await _unlisted(catalog, snapshot)
        if found is None:
            lost.append(snapshot)
        else:
            unlisted.append(snapshot)
            bisect.insort(entries, found, key=lambda entry: entry.taken_at)
    problems = [*catalog.problems]
    if unlisted or lost:
        where = catalog.stores[0].where(index_path(catalog.plan))
        problems.append(f"{where} does not list {', '.join([*unlisted, *lost])}, which the audit log says was taken")
    if lost:
        problems.append(f"The manifest of {', '.join(lost)} is gone, too")
    catalog = replace(catalog, entries=tuple(entries), problems=tuple(problems), unlisted=frozenset(unlisted))
    return replace(catalog, lost=tuple(lost), newest=logged[-1] if logged else "")


def differing(catalog: Catalog) -> tuple[str, ...]:
    """Say where the list of one store lacks, or contradicts, what the list of another has."""
    problems = []
    for store, index in catalog.answering:
        where = store.where(index_path(catalog.plan))
        listed = [entry for entry in catalog.listed if entry.id not in catalog.unlisted]
        if lacking := [entry.id for entry in listed if index.find(entry.id) is None]:
            problems.append(f"{where} does not list {', '.join(lacking)}, which the other store's list has")
        if other := [entry.id for entry in listed if index.find(entry.id) not in (None, entry)]:
            problems.append(f"{where} and the other store's list disagree about {', '.join(other)}")
    return tuple(problems)


def gaps(entries: Sequence[IndexEntry]) -> tuple[str, ...]:
    """Say where a manifest does not follow from the one that is listed before it."""
    apart = [(earlier.id, later.id) for earlier, later in pairwise(entries) if later.previous != earlier.digest]
    words = "Snapshot {1} does not follow from {0}: a snapshot between them was removed or added"
    return tuple(words.format(*ids) for ids in apart)


async def inspect_manifest(store: Store, plan: str, entry: IndexEntry, signer: Signer | None) -> StoredManifest:
    """Read a manifest and its seal from one store and check both; this never raises."""
    path, sealed_at = manifest_path(plan, entry.id), seal_path(plan, entry.id)
    try:
        content, seal = await store.read(path), await store.read(sealed_at)
    except VaultError as error:
        return StoredManifest(None, problems=(error.cause,), answered=False)
    if content is None:
        gone = f"{store.where(path)} is missing, though the list has it"
        return StoredManifest(None, seal=seal, problems=(gone,))
    bad_seal = unsealed(content, seal, signer)
    if not bad_seal and seal is None and entry.signed:
        bad_seal = "is missing, though the list says that it was signed"
    manifest, problem = _parsed(store.where(path), content)
    listed = store.where(index_path(plan))
    problems: list[str] = []
    if digest_of(content) != entry.digest:
        # A manifest whose signature is right was not changed: then the list was.
        changed = signer is None or bad_seal or manifest is None
        problems.append(f"{store.where(path)} {CHANGED}" if changed else f"{listed} has another digest of {entry.id}")
    elif manifest is None or (manifest.id, manifest.plan) != (entry.id, plan):
        problems.append(problem or f"{store.where(path)} is not the manifest of this snapshot")
    elif entry_of(manifest, content, signed=entry.signed) != entry.model_copy(update={"retiring": False}):
        problems.append(f"{listed} contradicts the manifest of {entry.id}")
    if bad_seal and not (problems and seal is not None):
        problems.append(f"{store.where(sealed_at)} {bad_seal}")
    return StoredManifest(None if problems else manifest, content, seal, tuple(problems))


async def _with_damaged_lines(catalog: Catalog) -> Catalog:
    """Find the snapshots that damaged lines were about, by their manifests."""
    entries, problems = list(catalog.entries), list(catalog.problems)
    for store, index in catalog.answering:
        for line in index.damaged:
            snapshot = named_in(line)
            known = any(entry.id == snapshot for entry in entries)
            found = None if known or not snapshot else await _unlisted(catalog, snapshot)
            if found is not None:
                bisect.insort(entries, found, key=lambda entry: entry.taken_at)
            lost = "" if known or found else "; it is unknown which snapshot the line named"
            problems.append(f"{store.where(index_path(catalog.plan))} has a line that {CHANGED}{lost}")
    return replace(catalog, entries=tuple(entries), problems=tuple(problems))


async def _unlisted(catalog: Catalog, snapshot: str) -> IndexEntry | None:
    for store in catalog.stores:
        try:
            content = await store.read(manifest_path(catalog.plan, snapshot))
            seal = await store.read(seal_path(catalog.plan, snapshot))
        except VaultError:
            continue  # That this store does not answer is among the problems already.
        manifest, _ = _parsed(store.where(manifest_path(catalog.plan, snapshot)), content or b"")
        if content is None or manifest is None or (manifest.id, manifest.plan) != (snapshot, catalog.plan):
            continue
        if not unsealed(content, seal, catalog.signer):
            return entry_of(manifest, content, signed=seal is not None)
    return None


def _parsed(where: str, content: bytes) -> tuple[Manifest | None, str]:
    """Understand a manifest; also say that another version wrote it, where that is why it is not."""
    try:
        return parse_stored(where, content, Manifest), ""
    except FormatUnknown as error:
        return None, error.cause
    except ValidationError:
        return None, ""


async def put_manifest(store: Store, plan: str, snapshot: str, content: bytes, seal: bytes | None) -> None:
    if seal is not None:
        await store.files.write(seal_path(plan, snapshot), seal)
    await store.files.write(manifest_path(plan, snapshot), content)


async def copy_missing(catalog: Catalog) -> list[str]:
    """Copy back to the vault what its list lacks, and its replica has; give what is damaged in both, in sentences."""
    first, index = catalog.stores[0], catalog.indexes[0]
    problems: list[str] = []
    for entry in catalog.listed:
        if index is not None and index.find(entry.id) is not None:
            continue
        found = await catalog.manifest(entry)
        if found.manifest is None:
            problems += found.problems
            continue
        objects: dict[str, bytes] = {}
        for digest in sorted(found.manifest.digests):
            read = await read_object(catalog.stores, catalog.plan, digest)
            if read.content is None:
                problems += read.problems
            else:
                objects[digest] = read.content
        await put_objects(first, catalog.plan, objects)
        await put_manifest(first, catalog.plan, entry.id, found.content, found.seal)
    return problems


def retired(entries: Sequence[IndexEntry], policy: SnapshotPolicy, now: datetime) -> tuple[IndexEntry, ...]:
    """Choose the snapshots to remove of those that are given oldest first: beyond the number and older than the age."""
    return tuple(entry for entry in entries[: -policy.keep] if now - entry.taken_at > policy.keep_for)


async def retire(
    context: RecoveryContext, catalog: Catalog, entries: tuple[IndexEntry, ...], index: HeldFile
) -> tuple[str, ...]:
    """Remove the snapshots that the plan's policy does not keep, and the objects that no other snapshot needs."""
    staying = tuple(entry for entry in entries if not entry.retiring)
    leaving = retired(staying, context.plan.snapshots, context.clock.now())
    names = {entry.id for entry in (*leaving, *(each for each in entries if each.retiring))}
    if not names:
        return ()
    marked = tuple(entry.model_copy(update={"retiring": True}) if entry.id in names else entry for entry in entries)
    kept = tuple(entry for entry in marked if not entry.retiring)
    going = tuple(entry for entry in marked if entry.retiring)
    staying_manifests = [found.manifest for found in await catalog.manifests(kept)]
    needed = {digest for manifest in staying_manifests if manifest for digest in manifest.digests}
    had = {digest for found in await catalog.manifests(going) if found.manifest for digest in found.manifest.digests}
    # A snapshot that cannot be read may need any object.
    objects = set() if None in staying_manifests else had - needed
    await index.write(write_index(marked))
    ids: list[JsonValue] = [*sorted(names)]
    await record_action(context, AuditAction.SNAPSHOT_RETIRED, {"ids": ids, "objects": len(objects)})
    files = catalog.stores[0].files
    for digest in sorted(objects):
        await files.remove(object_path(catalog.plan, digest))
    for entry in going:
        await files.remove(manifest_path(catalog.plan, entry.id))
        await files.remove(seal_path(catalog.plan, entry.id))
    await index.write(write_index(kept))
    return tuple(sorted(names))
