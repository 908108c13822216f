"""Snapshots as they are read: one is opened, all are listed, every file of them is verified."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from standby.concurrency import do_for_each
from standby.document import Document, JsonObject, oddity, read_json
from standby.errors import GuardRefused, sentence
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.catalog import (
    FILES_AT_ONCE,
    Catalog,
    StoredFile,
    differing,
    gaps,
    index_path,
    inspect_manifest,
    open_catalog,
    read_object,
    stores_of,
)
from standby.recovery.snapshots.manifest import IndexEntry, Manifest, ResourceSnapshot, SnapshotError
from standby.text import counted, utc
from standby.vault.signing import OTHER_KEY, PUT_IT_BACK

log = logging.getLogger("standby.recovery")


class NoSnapshot(SnapshotError):
    def __init__(self, plan: str, asked: str = "") -> None:
        cause = f"The vault has no snapshot of plan {plan}{f' {asked}' if asked else ''}"
        super().__init__(cause, f"List them with standby snapshots {plan}, or take one with standby snapshot {plan}")


class NewestSnapshotLost(SnapshotError, GuardRefused):
    """The newest snapshot that was taken is gone; an older one is not restored as if it were the newest."""

    def __init__(self, plan: str, snapshot: str, left: datetime | None) -> None:
        older = f"the newest that is left is of {utc(left)}" if left else "and no other one is left"
        name = left.strftime("%Y-%m-%dT%H:%M:%SZ") if left else ""
        super().__init__(
            f"Snapshot {snapshot} of plan {plan} was taken, and is no longer in any list: "
            f"older lists were put back, or somebody removed it; {older}",
            f"Find the vault that has it; to restore from the older one, name its time with --as-of {name}"
            if left
            else f"Find the vault that has it, or take a new one with standby snapshot {plan}",
        )


class SnapshotTampered(SnapshotError):
    def __init__(self, snapshot: str, problems: Sequence[str]) -> None:
        cause = f"Snapshot {snapshot} cannot be trusted: {' '.join(sentence(each) for each in problems)}"
        action = "Restore from another one with --as-of, and find out who changed this one"
        if all(OTHER_KEY in each for each in problems):
            cause = cause.replace("trusted", "checked", 1)
            action = f"{PUT_IT_BACK}; if it was replaced on purpose, take a new one with standby snapshot"
        super().__init__(cause, action)


@dataclass(frozen=True)
class Snapshot:
    """A snapshot whose manifest was checked."""

    manifest: Manifest
    digest: str
    problems: tuple[str, ...] = ()  # what else is wrong, a sentence each: it does not prevent a restore

    @property
    def id(self) -> str:
        return self.manifest.id

    @property
    def taken_at(self) -> datetime:
        return self.manifest.taken_at

    @property
    def resources(self) -> Mapping[str, ResourceSnapshot]:
        return self.manifest.resources


async def open_snapshot(context: RecoveryContext, as_of: datetime | None = None) -> Snapshot:
    """Open the newest snapshot, or the newest that is not later than a moment.

    What is damaged in one store is read from the other, and repaired. An older snapshot is never opened
    instead of a damaged one: that needs `as_of`.
    """
    catalog = await open_catalog(context)
    entry = _chosen(catalog, as_of)
    found = await catalog.manifest(entry)
    if found.manifest is None:
        raise SnapshotTampered(entry.id, found.problems)
    problems = (*catalog.problems, *differing(catalog), *gaps(catalog.listed), *found.problems)
    for problem in problems:
        log.warning("%s", problem)
    return Snapshot(found.manifest, entry.digest, problems)


async def readable_definitions(
    context: RecoveryContext, snapshot: Snapshot, resource: str
) -> tuple[dict[str, JsonObject], dict[str, tuple[str, ...]]]:
    """Give definitions of one resource of a snapshot, and what is wrong with those that cannot be read, by analyzer."""
    stores, plan = stores_of(context), context.plan.name
    entries = dict(sorted(snapshot.resources[resource].analyzers.items()))

    async def read(analyzer: str) -> StoredFile:
        return await read_object(stores, plan, entries[analyzer].digest)

    found = dict(zip(entries, await do_for_each(entries, read, FILES_AT_ONCE), strict=True))
    definitions: dict[str, JsonObject] = {}
    unreadable: dict[str, tuple[str, ...]] = {}
    for name, each in found.items():
        definition = read_json(each.content) if each.content is not None else None
        why = oddity(definition) if isinstance(definition, dict) else "is none"
        if not isinstance(definition, dict) or why:
            # An earlier version kept whatever the service sent.
            unreadable[name] = each.problems or (f"The definition of {name} in snapshot {snapshot.id} {why}",)
            continue
        definitions[name] = definition
        for problem in each.problems:
            log.warning("%s", problem)
    return definitions, unreadable


def _chosen(catalog: Catalog, as_of: datetime | None) -> IndexEntry:
    if as_of is not None:
        # As they are listed, to the second.
        fitting = [entry for entry in catalog.listed if entry.taken_at.replace(microsecond=0) <= as_of]
        asked = f"as of {utc(as_of)}"
    else:
        fitting, asked = list(catalog.listed), ""
        # A later one may be listed before the log has it: an id begins with the second in which it was taken.
        is_later = bool(fitting) and fitting[-1].id.split("-")[0] > catalog.newest.split("-")[0]
        if catalog.newest in catalog.lost and not is_later:
            raise NewestSnapshotLost(catalog.plan, catalog.newest, fitting[-1].taken_at if fitting else None)
    if not fitting:
        raise NoSnapshot(catalog.plan, asked)
    return fitting[-1]


class SnapshotEntry(Document):
    id: str
    taken_at: datetime
    resources: Mapping[str, int]
    analyzers: int
    size: int
    signed: bool
    problems: tuple[str, ...] = ()  # what is wrong with its manifest or its signature, a sentence each


async def list_snapshots(context: RecoveryContext) -> tuple[SnapshotEntry, ...]:
    """List the snapshots of the plan, newest first, each with what is wrong with its manifest in any store."""
    catalog = await open_catalog(context)
    manifests = await _inspect_all(catalog)
    return tuple(
        SnapshotEntry(
            **entry.model_dump(include={"id", "taken_at", "resources", "size", "signed"}),
            analyzers=sum(entry.resources.values()),
            problems=(
                *(catalog.problems if entry.id in catalog.unlisted else ()),
                *(problem for found in manifests[entry.id] for problem in found.problems),
            ),
        )
        for entry in reversed(catalog.listed)
    )


class Verification(Document):
    """What a check of every file of every snapshot found."""

    plan: str
    stores: tuple[str, ...]
    snapshots: int
    objects: int  # how many definitions were read in each store
    problems: tuple[str, ...]  # what is wrong, a sentence each; the file and the store are named

    @property
    def whole(self) -> bool:
        return not self.problems

    @property
    def summary(self) -> str:
        read = f"{counted(self.snapshots, 'snapshot')} and {counted(self.objects, 'definition')} read"
        result = "all files are unchanged" if self.whole else counted(len(self.problems), "problem")
        return f"{read} in {counted(len(self.stores), 'store')}: {result}."


async def verify_snapshots(context: RecoveryContext) -> Verification:
    """Read every file of every snapshot in every store; nothing is repaired.

    The audit log is compared, too: a snapshot that was taken, was not removed by its age and is in no list was
    removed by somebody.
    """
    catalog = await open_catalog(context)
    manifests = [each for found in (await _inspect_all(catalog)).values() for each in found]
    digests = sorted({digest for each in manifests if each.manifest is not None for digest in each.manifest.digests})
    wanted = [(store, digest) for store, _ in catalog.answering for digest in digests]
    objects = await do_for_each(wanted, lambda it: it[0].inspect(catalog.plan, it[1]), FILES_AT_ONCE)
    problems = [
        *catalog.problems,
        *differing(catalog),
        *gaps(catalog.listed),
        *(problem for each in manifests for problem in each.problems),
        *(problem for found in objects for problem in found.problems),
        *(
            f"Snapshot {snapshot} is missing from every list, though the audit log says that it was taken"
            for snapshot in (*catalog.lost, *sorted(catalog.unlisted))
        ),
    ]
    return Verification(
        plan=catalog.plan,
        stores=tuple(store.files.where(index_path(catalog.plan)) for store in catalog.stores),
        snapshots=len(catalog.listed),
        objects=len(digests),
        problems=tuple(dict.fromkeys(problems)),
    )


async def _inspect_all(catalog: Catalog) -> dict[str, list[StoredFile]]:
    """Inspect every manifest in every store that answers."""
    wanted = [(store, index.find(entry.id) or entry) for entry in catalog.listed for store, index in catalog.answering]
    found: dict[str, list[StoredFile]] = {entry.id: [] for entry in catalog.listed}
    plan, signer = catalog.plan, catalog.signer
    manifests = await do_for_each(wanted, lambda it: inspect_manifest(it[0], plan, it[1], signer), FILES_AT_ONCE)
    for (_, entry), manifest in zip(wanted, manifests, strict=True):
        found[entry.id].append(manifest)
    return found
