"""The catalog: which snapshots of a plan there are, by the lists of all stores, and which are removed.

A store is the vault or a second one, each with all files. The lists only lead to manifests. What a list says is
believed when the manifest says the same; a list or manifest that one store lost or damaged is repaired from the other.
"""

import bisect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import pairwise

from pydantic import ValidationError

from standby.concurrency import do_for_each
from standby.config.plan import SnapshotPolicy
from standby.document import JsonValue, digest_of
from standby.errors import GuardRefused
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
from standby.vault.documents import parse_stored
from standby.vault.errors import FormatUnknown, VaultError, VaultUnavailable
from standby.vault.signing import Signer, unsealed
from standby.vault.storage import HeldFile, Storage

log = logging.getLogger("standby.recovery")


CHANGED = "was changed after it was written"  # What is wrong with a file, behind its path
FILES_AT_ONCE = 8  # Files of one store that are read or written at the same time


def index_path(plan: str) -> str:
    return f"snapshots/{plan}/index.jsonl"


def manifest_path(plan: str, snapshot: str) -> str:
    return f"snapshots/{plan}/{snapshot}.json"


def seal_path(plan: str, snapshot: str) -> str:
    return f"snapshots/{plan}/{snapshot}.sig"


def object_path(plan: str, digest: str) -> str:
    return f"objects/{plan}/{digest[:2]}/{digest}"


@dataclass(frozen=True)
class StoredFile:
    """A definition, or a manifest with its seal, as one store has it, or as the first store that has it undamaged."""

    content: bytes | None  # `None` where it is not there, is damaged, or could not be read
    # What is wrong with it, also at stores that were asked before: sentences without full stops that name the file.
    problems: tuple[str, ...] = ()
    answered: bool = True
    manifest: Manifest | None = None  # what the content says, where it is that of a manifest
    files: Mapping[str, bytes] = field(default_factory=dict)  # by path, as the store has them, damaged or not


@dataclass(frozen=True)
class Store:
    """A place that has all files of the snapshots."""

    name: str
    files: Storage

    def where(self, path: str) -> str:
        return f"{self.files.where(path)} ({self.name})"

    async def read(self, path: str) -> bytes | None:
        """Give what a file holds; an empty one counts as missing, because not every storage can delete."""
        return await self.files.read(path) or None

    async def inspect(self, plan: str, digest: str) -> StoredFile:
        """Read a definition's object and check that it is what its name says; this never raises."""
        path = object_path(plan, digest)
        try:
            content = await self.read(path)
        except VaultError as error:
            return StoredFile(None, (error.cause,), answered=False)
        files = {} if content is None else {path: content}
        if content is not None and digest_of(content) == digest:
            return StoredFile(content, files=files)
        return StoredFile(None, (f"{self.where(path)} {'is missing' if content is None else CHANGED}",), files=files)


def stores_of(context: RecoveryContext) -> tuple[Store, ...]:
    first = Store("the vault", context.vault)
    return (first,) if context.second is None else (first, Store("the second store", context.second))


async def read_whole(places: Iterable[tuple[Store, Callable[[], Awaitable[StoredFile]]]]) -> StoredFile:
    """Read from the first store that has it undamaged, and repair it in the stores before that one."""
    problems: list[str] = []
    broken: list[tuple[Store, StoredFile]] = []
    for store, inspect in places:
        found = await inspect()
        if found.content is not None:
            for other, had in broken:
                for path, content in found.files.items():
                    if had.files.get(path) != content:
                        await repair(other, path, content)
            return replace(found, problems=tuple(problems))
        problems += found.problems
        if found.answered:
            broken.append((store, found))
    return StoredFile(None, tuple(problems))


async def read_object(stores: tuple[Store, ...], plan: str, digest: str) -> StoredFile:
    return await read_whole((store, partial(store.inspect, plan, digest)) for store in stores)


async def repair(store: Store, path: str, content: bytes) -> None:
    """Write a file again that a store has lost or damaged; where that fails, the next reader tries again."""
    try:
        await store.files.write(path, content)
    except (VaultError, GuardRefused) as error:
        log.warning("%s", error)
    else:
        log.warning("%s was damaged; it is repaired from the other store", store.where(path))


async def put_objects(store: Store, plan: str, objects: Mapping[str, bytes]) -> tuple[int, tuple[str, ...]]:
    """Make sure that a store has some objects; give how many are new, and in sentences which were repaired."""

    async def put(digest: str) -> tuple[bool, str]:
        path = object_path(plan, digest)
        there = await store.read(path)
        if there == objects[digest]:
            return False, ""
        await store.files.write(path, objects[digest])
        return (True, "") if there is None else (False, f"{store.where(path)} was damaged; it is written again")

    ends = await do_for_each(objects, put, FILES_AT_ONCE)
    return sum(new for new, _ in ends), tuple(problem for _, problem in ends if problem)


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

    async def manifest(self, entry: IndexEntry) -> StoredFile:
        """Read a manifest with its seal, as `read_whole` does."""
        lists = zip(self.stores, self.indexes, strict=True)
        own = ((store, (index.find(entry.id) if index else None) or entry) for store, index in lists)
        return await read_whole(
            (store, partial(inspect_manifest, store, self.plan, it, self.signer)) for store, it in own
        )

    async def manifests(self, entries: Sequence[IndexEntry]) -> list[StoredFile]:
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


async def inspect_manifest(store: Store, plan: str, entry: IndexEntry, signer: Signer | None) -> StoredFile:
    """Read a manifest and its seal from one store and check both; this never raises."""
    path, sealed_at = manifest_path(plan, entry.id), seal_path(plan, entry.id)
    try:
        content, seal = await store.read(path), await store.read(sealed_at)
    except VaultError as error:
        return StoredFile(None, (error.cause,), answered=False)
    files = {where: there for where, there in ((sealed_at, seal), (path, content)) if there is not None}
    if content is None:
        return StoredFile(None, (f"{store.where(path)} is missing, though the list has it",), files=files)
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
    whole = (None, None) if problems else (content, manifest)
    return StoredFile(whole[0], tuple(problems), manifest=whole[1], files=files)


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
        for path, content in found.files.items():
            await first.files.write(path, content)
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
