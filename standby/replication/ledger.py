"""The ledger: what was last copied from what, and what was rebuilt from a definition.

Copies: one file a region pair and api-version, a JSON line a copy, the last line of an analyzer counts. A lost
or damaged file costs nothing but knowledge: the next run finds equal analyzers equal and calls the rest foreign.

Rebuilt analyzers: one list a resource. Labelled data is no part of a definition: what was rebuilt has the same
one as its original, and may give other results. Only this list distinguishes the two. An entry is about one
incarnation: whatever takes its place, such as a copy, is no longer meant.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError

from standby.clock import Clock, SystemClock
from standby.concurrency import to_its_end
from standby.document import Document
from standby.replication.errors import LedgerBusy
from standby.replication.items import Records
from standby.replication.pacing import Took
from standby.replication.verdict import CopyRecord, Sighting, is_later
from standby.service.models import Analyzer
from standby.vault.documents import Remembered, Stored, hold_file, parse_stored, set_aside
from standby.vault.errors import VaultError
from standby.vault.storage import HeldFile, Storage

log = logging.getLogger("standby.replication")


class _Line(Stored):
    analyzer: str
    record: CopyRecord


def _readable(found: object) -> dict[str, list[Took]]:
    """Leave out what is odd: to know less costs some questions."""
    took: dict[str, list[Took]] = {}
    for kind, seen in found.items() if isinstance(found, dict) else ():
        try:
            took[str(kind)] = [(float(low), float(high)) for low, high in seen if 0 <= low <= high and 0 < high < 1e6]
        except (TypeError, ValueError):
            continue
    return took


class _Head(Stored):
    """The first line of a ledger: the epoch of each plan whose runs wrote it, which a lost fence is known by.

    Also, by kind, what copies took recently: earlier versions read past it.
    """

    epochs: dict[str, int]
    took: Annotated[dict[str, list[Took]], BeforeValidator(_readable)] = Field(default_factory=dict)


_EPOCHS = b'{"format":1,"epochs":'


SAVE_EVERY = 2.0  # Seconds between two saves of a ledger, for which a record may be in memory only


@dataclass
class Ledger:
    """The records of one pair, as read; held, new ones are added to them, and all are saved together."""

    where: str  # the file, for people
    records: dict[str, CopyRecord] = field(default_factory=dict)
    damaged: tuple[bytes, ...] = ()  # lines that could not be read; their analyzers are judged without them
    missing: bool = False  # whether there was no file: the first run of a pair, or a vault that was lost
    # Of the fence, by plan; none of a plan that has never failed over.
    epochs: dict[str, int] = field(default_factory=dict)
    # What copies took, by kind, oldest first; added to as they end, and saved with the next record.
    took: dict[str, list[Took]] = field(default_factory=dict)
    held: bool = False  # whether records may be added: the file is held, or there is none, as for a chunk
    _unsaved: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, records: Mapping[str, CopyRecord]) -> None:
        """Add verified copies, by target analyzer; they are safe a few seconds later, and when the ledger is left."""
        if not self.held:
            raise LedgerBusy(self.where)
        self.records.update(records)
        if records:
            self._unsaved.set()

    def know(self, plan: str, epoch: int) -> None:
        """Keep the epoch under which a run of a plan writes."""
        if epoch > self.epochs.get(plan, 0):
            self.epochs[plan] = epoch
            self._unsaved.set()


async def read_ledger(storage: Storage, source: str, target: str, api_version: str) -> Ledger:
    """Read the records of one pair, without the right to add any."""
    path = _path(source, target, api_version)
    return _parse(storage.where(path), await storage.read(path))


async def read_epochs(storage: Storage, source: str, target: str, api_version: str) -> Ledger:
    """Read the ledger of one pair without its records, of which there may be many."""
    path = _path(source, target, api_version)
    content = await storage.read(path)
    # The first line says, too, whether a newer version wrote it.
    kept = [line for place, line in enumerate((content or b"").splitlines()) if not place or line.startswith(_EPOCHS)]
    return _parse(storage.where(path), None if content is None else b"\n".join(kept))


async def read_took(storage: Storage, source: str, target: str, api_version: str) -> dict[str, list[Took]]:
    """Read what copies of one pair took recently; nothing where that cannot be read, which costs some questions."""
    try:
        return (await read_epochs(storage, source, target, api_version)).took
    except VaultError as error:
        log.warning("%s", error)
        return {}


@asynccontextmanager
async def write_ledger(
    storage: Storage, source: str, target: str, api_version: str, clock: Clock | None = None
) -> AsyncIterator[Ledger]:
    """Open the records of one pair for adding to them; `LedgerBusy` where another run holds it."""
    # A storage that fails meanwhile costs records, not the run: it is warned of, and tried again until the end.
    path = _path(source, target, api_version)
    async with hold_file(storage, path, LedgerBusy) as file:
        ledger = _parse(file.where, file.found)
        if ledger.damaged:
            await set_aside(storage, path, ledger.damaged)
            await _save(ledger, file)
        ledger.held = True
        saving = asyncio.create_task(_save_now_and_then(ledger, file, clock or SystemClock()))
        try:
            yield ledger
        finally:
            ledger.held = False
            saving.cancel()
            await to_its_end(_end(ledger, file, saving))


async def _save(ledger: Ledger, file: HeldFile) -> None:
    ledger._unsaved.clear()
    try:
        await file.write(_lines(ledger))
    except VaultError:
        ledger._unsaved.set()
        raise


async def _save_now_and_then(ledger: Ledger, file: HeldFile, clock: Clock) -> None:
    trouble = ""
    while True:
        await ledger._unsaved.wait()
        try:
            await to_its_end(_save(ledger, file))
        except VaultError as error:
            if str(error) != trouble:
                log.warning("%s", error)
            trouble = str(error)
        await clock.sleep(SAVE_EVERY)


async def _end(ledger: Ledger, file: HeldFile, saving: asyncio.Task[None]) -> None:
    await asyncio.wait({saving})
    if not ledger._unsaved.is_set():
        return
    try:
        await _save(ledger, file)
    except VaultError as error:
        log.warning("%s", error)
        log.warning("The last records of %s were not saved; the next run finds them again where possible", file.where)


@dataclass(frozen=True)
class Owner:
    """The source of a copy that another plan made, and the ledger which says so."""

    source: str
    ledger: str


async def read_owners(
    storage: Storage, target: str, api_version: str, there: Mapping[str, Sighting], ours: Mapping[str, Records]
) -> dict[str, Owner]:
    """Tell which analyzers of a target were copied there for other plans, and from where."""
    # A copy belongs to whoever noted this incarnation of it first; others may have found it equal since.
    known = {(source, name): record for source, records in ours.items() for name, record in records.items()}
    for listed in await storage.list(_folder(api_version)):
        source, _, rest = listed.path.removeprefix(_folder(api_version)).partition("_")
        if rest == f"{target}.jsonl" and source not in ours:
            records = (await read_ledger(storage, source, target, api_version)).records
            known |= {(source, name): record for name, record in records.items()}
    first: dict[str, tuple[datetime, str]] = {}
    for (source, name), record in known.items():
        if name in there and there[name].created_at == record.target.created_at is not None:
            first[name] = min(first.get(name, (record.copied_at, source)), (record.copied_at, source))
    theirs = {name: source for name, (_, source) in first.items() if source not in ours}
    return {name: Owner(it, storage.where(_path(it, target, api_version))) for name, it in theirs.items()}


def _folder(api_version: str) -> str:
    return f"ledger/{api_version}/"


def _path(source: str, target: str, api_version: str) -> str:
    # Analyzers are registered per api-version. Names have no underscore: no two pairs share a file.
    return f"{_folder(api_version)}{source}_{target}.jsonl"


def _parse(where: str, content: bytes | None) -> Ledger:
    records: dict[str, CopyRecord] = {}
    epochs: dict[str, int] = {}
    took: dict[str, list[Took]] = {}
    damaged: list[bytes] = []
    for line in (content or b"").splitlines():
        try:
            if line.startswith(_EPOCHS):
                head = parse_stored(where, line, _Head)
                epochs |= head.epochs
                took |= head.took
                continue
            read = parse_stored(where, line, _Line)
        except ValidationError:
            damaged.append(line)
        else:
            records[read.analyzer] = read.record
    if damaged:
        log.warning(
            "%s has %d line(s) that cannot be read; those analyzers are judged by what the resources hold",
            *(where, len(damaged)),
        )
    return Ledger(where, records, tuple(damaged), missing=content is None, epochs=epochs, took=took)


def _lines(ledger: Ledger) -> bytes:
    took = {kind: seen for kind, seen in ledger.took.items() if seen}
    lines: list[Stored] = [_Head(epochs=ledger.epochs, took=took)] if ledger.epochs or took else []
    lines += (_Line(analyzer=analyzer, record=record) for analyzer, record in ledger.records.items())
    return b"".join(line.model_dump_json().encode() + b"\n" for line in lines)


class Rebuilt(Document):
    """One analyzer that was built from a definition."""

    analyzer: str
    created_at: datetime | None  # of this incarnation, as the service says
    fingerprint: str  # of its definition, without what would give access
    fidelity: str  # what the restore called it
    trained: bool  # whether labelled data has a part in it
    # The resource whose definition it was built from, as a snapshot has it; empty where only dates say that it was
    # built.
    origin: str
    original: str
    plan: str
    snapshot: str = ""  # its id
    # When the service dated it last, as it was found good; `None` where it was not yet.
    changed_at: datetime | None = None

    def is_incarnation_of(self, there: Analyzer | None) -> bool:
        """Say whether an analyzer is still the one that was built, whatever was edited in it since."""
        return there is not None and there.created_at == self.created_at

    @property
    def is_certain(self) -> bool:
        """Whether a record says so: what dates alone say is enough to overwrite nothing with it, and no more."""
        return bool(self.origin)

    def is_older_than(self, there: Analyzer) -> bool:
        """Say whether something was done to it since it was built, by its dates: an edit, or a training."""
        return is_later(there.last_modified_at, self.changed_at)

    def is_as_built(self, there: Analyzer) -> bool:
        return self.changed_at is not None and self.is_incarnation_of(there) and not self.is_older_than(there)


RebuiltThere = Mapping[str, Rebuilt]  # What was rebuilt at a resource, by its id there


class _RebuiltList(Remembered):
    place = "rebuilt/{resource}.json"

    rebuilt: tuple[Rebuilt, ...] = ()

    @property
    def by_id(self) -> dict[str, Rebuilt]:
        return {entry.analyzer: entry for entry in self.rebuilt}


async def read_rebuilt(storage: Storage, resource: str) -> RebuiltThere:
    """Read what was rebuilt at a resource; a list that cannot be understood is warned of and counts as none."""
    return (await _RebuiltList.read(storage, resource)).by_id


async def add_rebuilt(
    storage: Storage, resource: str, added: Collection[Rebuilt], *, gone: Collection[Rebuilt] = ()
) -> None:
    """Add to what was rebuilt at a resource, less what is gone; an id has one incarnation, so its last entry counts."""

    def add(found: _RebuiltList) -> _RebuiltList:
        entries = {name: entry for name, entry in found.by_id.items() if entry not in gone}
        entries |= {entry.analyzer: entry for entry in added}
        return _RebuiltList(rebuilt=tuple(entries.values()))

    await _RebuiltList.change(storage, resource, add)
