"""Gives a snapshot that can be trusted: its manifest, and the definitions it names."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from standby.concurrency import side_by_side
from standby.recovery.context import RecoveryContext
from standby.recovery.snapshots.definition_objects import from_object
from standby.recovery.snapshots.errors import NoSnapshot, SnapshotDamaged, SnapshotTampered
from standby.recovery.snapshots.index import IndexEntry
from standby.recovery.snapshots.manifest import Manifest, ResourceSnapshot
from standby.recovery.snapshots.shelf import Shelf, differing, gaps, open_shelf
from standby.recovery.snapshots.stores import FILES_AT_ONCE, read_object, stores_of
from standby.service.models import JsonValue

log = logging.getLogger("standby.recovery")


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
    shelf = await open_shelf(context)
    entry = _chosen(shelf, as_of, snapshot_id)
    found = await shelf.manifest(entry)
    if found.manifest is None:
        raise SnapshotTampered(entry.id, found.problems)
    problems = (*shelf.problems, *differing(shelf), *gaps(shelf.kept), *found.problems)
    for problem in problems:
        log.warning("%s", problem)
    return Snapshot(found.manifest, entry.digest, problems)


async def load_definitions(
    context: RecoveryContext, snapshot: Snapshot, resource: str
) -> dict[str, dict[str, JsonValue]]:
    """Read the definitions of one resource of a snapshot, by analyzer.

    Raises:
        SnapshotDamaged: an object is not right in any store; each one is named.
    """
    definitions, damaged = await readable_definitions(context, snapshot, resource)
    if damaged:
        raise SnapshotDamaged(snapshot.id, [problem for each in damaged.values() for problem in each])
    return definitions


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


def _chosen(shelf: Shelf, as_of: datetime | None, snapshot_id: str | None) -> IndexEntry:
    if snapshot_id is not None:
        fitting = [entry for entry in shelf.kept if entry.id == snapshot_id]
        asked = f"of the id {snapshot_id}"
    elif as_of is not None:
        fitting = [entry for entry in shelf.kept if entry.taken_at <= as_of]
        asked = f"as of {as_of:%Y-%m-%d %H:%M:%S} UTC"
    else:
        fitting, asked = list(shelf.kept), ""
    if not fitting:
        raise NoSnapshot(shelf.plan, asked)
    return fitting[-1]
