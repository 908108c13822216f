"""What was built anew at a resource from its definition, instead of being copied there.

Labelled data is no part of a definition: what was rebuilt has the same one as its original, and need not read
as that does. Only this list tells the two apart. An entry speaks of one incarnation: whatever takes its
place, such as a copy, is no longer meant.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from pydantic import ValidationError

from standby.clock import Clock
from standby.config.explanation import summary
from standby.document import Document
from standby.replication.items import Records
from standby.service.models import Analyzer
from standby.vault.errors import Held
from standby.vault.filesystem import FileSystem, Objects

log = logging.getLogger("standby.replication")

AGAIN = 0.5
"""Seconds between two tries to write a list that somebody else is writing."""


class Rebuilt(Document):
    """One analyzer that was built from a definition.

    Attributes:
        analyzer: its id where it was built.
        created_at: of this incarnation, as the service says.
        fingerprint: of its definition, without what would give access.
        fidelity: what the restore called it.
        trained: whether labelled data has a part in it.
        origin: the resource whose definition it was built from, as a snapshot has it.
        original: its id there.
        plan: whose restore it was.
    """

    analyzer: str
    created_at: datetime | None
    fingerprint: str
    fidelity: str
    trained: bool
    origin: str
    original: str
    plan: str

    def is_incarnation_of(self, there: Analyzer | None) -> bool:
        """Say whether an analyzer is still the one that was built, whatever was edited in it since."""
        return there is not None and there.created_at == self.created_at


RebuiltThere = Mapping[str, Rebuilt]
"""What was rebuilt at a resource, by its id there."""


class _Entries(Document):
    rebuilt: tuple[Rebuilt, ...] = ()


async def read_rebuilt(objects: Objects, resource: str) -> RebuiltThere:
    """Read what was rebuilt at a resource; a list that cannot be understood is warned of and counts as none.

    Raises:
        VaultUnavailable: it cannot be told.
    """
    path = _path(resource)
    return _parse(objects.where(path), await objects.read(path))


async def add_rebuilt(
    files: FileSystem,
    clock: Clock,
    resource: str,
    added: Iterable[Rebuilt],
    *,
    gone: Collection[Rebuilt] = (),
    patience: float = 0.0,
) -> None:
    """Add to what was rebuilt at a resource; an id has one incarnation, so the last entry of it counts.

    Args:
        files: the vault.
        clock: for waits.
        resource: where it was built.
        added: the new entries.
        gone: entries whose incarnation is known to be there no more.
        patience: seconds that somebody else who is writing the same list is waited for.

    Raises:
        Held: somebody else is, for longer.
        VaultUnavailable: they may or may not have been written.
    """
    path, begun = _path(resource), clock.monotonic()
    while True:
        try:
            async with files.hold(path) as journal:
                known = _parse(files.where(path), journal.found)
                entries = {name: entry for name, entry in known.items() if entry not in gone}
                entries |= {entry.analyzer: entry for entry in added}
                if entries != known:
                    kept = _Entries(rebuilt=tuple(entries.values()))
                    await journal.rewrite(kept.model_dump_json(indent=1).encode())
                return
        except Held:
            if clock.monotonic() - begun >= patience:
                raise
        await clock.sleep(AGAIN)


def without_rebuilt(records: Records, rebuilt: RebuiltThere, forced: Collection[str]) -> Records:
    """Leave out what records say of rebuilt analyzers that are to be copied again, by id at the source.

    A run that found both definitions equal has recorded the rebuilt one like a copy of its own. The record
    would make whoever asks for a real copy be told that there is one.
    """
    return {
        name: record
        for name, record in records.items()
        if (record.analyzer or name) not in forced
        or name not in rebuilt
        or rebuilt[name].created_at != record.target.created_at
    }


def _parse(where: str, content: bytes | None) -> dict[str, Rebuilt]:
    if not content:
        return {}
    try:
        return {entry.analyzer: entry for entry in _Entries.model_validate_json(content).rebuilt}
    except ValidationError as error:
        log.warning("%s cannot be read, so nothing counts as rebuilt: %s", where, summary(error))
        return {}


def _path(resource: str) -> str:
    return f"rebuilt/{resource}.json"
