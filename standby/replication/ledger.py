"""What was last copied from what: the only thing the two resources cannot say themselves.

One file a region pair and api-version, a JSON line a copy, the last line of an analyzer counts. A lost or
damaged file costs nothing but knowledge: the next run finds equal analyzers equal and calls the rest foreign.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from standby.replication.errors import LedgerBusy
from standby.replication.verdict import CopyRecord
from standby.vault.errors import Held
from standby.vault.filesystem import FileSystem, Journal, Objects

log = logging.getLogger("standby.replication")


@dataclass(frozen=True)
class _Line:
    analyzer: str
    record: CopyRecord


_LINES = TypeAdapter(_Line)


@dataclass
class Ledger:
    """The records of one pair, as read, and the journal to which new ones are added.

    Attributes:
        where: the file, for people.
        records: the last record of each target analyzer.
        damaged: lines that could not be read; their analyzers are judged without them.
        missing: whether there was no file: the first run of a pair, or a vault that was lost.
    """

    where: str
    records: dict[str, CopyRecord] = field(default_factory=dict)
    damaged: tuple[bytes, ...] = ()
    missing: bool = False
    _journal: Journal | None = None

    def record(self, records: Mapping[str, CopyRecord]) -> None:
        """Add verified copies, by target analyzer; they are as safe as the vault's journals make them."""
        if self._journal is None:
            raise LedgerBusy(self.where)
        if records:
            self._journal.add(_lines(records))
        self.records.update(records)


async def read_ledger(objects: Objects, source: str, target: str, api_version: str) -> Ledger:
    """Read the records of one pair, without the right to add any.

    Raises:
        VaultUnavailable: it cannot be told whether there are any.
    """
    path = _path(source, target, api_version)
    return _parse(objects.where(path), await objects.read(path))


@asynccontextmanager
async def write_ledger(files: FileSystem, source: str, target: str, api_version: str) -> AsyncIterator[Ledger]:
    """Open the records of one pair for adding to them; one run at a time may.

    Raises:
        LedgerBusy: another run holds this pair.
        VaultUnavailable: the vault cannot be read or written.
    """
    path = _path(source, target, api_version)
    async with AsyncExitStack() as stack:
        try:
            journal = await stack.enter_async_context(files.hold(path))
        except Held:
            raise LedgerBusy(files.where(path)) from None
        ledger = _parse(files.where(path), journal.found)
        if ledger.damaged:
            await _set_aside(files, f"{path}.damaged", ledger.damaged)
        if not ledger.missing:
            # One line an analyzer; and an unfinished last line would spoil the next one.
            await journal.rewrite(_lines(ledger.records))
        ledger._journal = journal
        try:
            yield ledger
        finally:
            ledger._journal = None


def _path(source: str, target: str, api_version: str) -> str:
    # Analyzers are registered per api-version. Names have no underscore: no two pairs share a file.
    return f"ledger/{api_version}/{source}_{target}.jsonl"


def _parse(where: str, content: bytes | None) -> Ledger:
    records: dict[str, CopyRecord] = {}
    damaged: list[bytes] = []
    for line in (content or b"").splitlines():
        try:
            read = _LINES.validate_json(line)
        except ValidationError:
            damaged.append(line)
        else:
            records[read.analyzer] = read.record
    if damaged:
        log.warning(
            "%s has %d line(s) that cannot be read; those analyzers are judged by what the resources hold",
            where,
            len(damaged),
        )
    return Ledger(where, records, tuple(damaged), missing=content is None)


async def _set_aside(objects: Objects, path: str, damaged: tuple[bytes, ...]) -> None:
    """Keep unreadable lines where compaction does not lose them: a newer version may have written them."""
    earlier = await objects.read(path) or b""
    await objects.write(path, earlier + b"".join(line + b"\n" for line in damaged))


def _lines(records: Mapping[str, CopyRecord]) -> bytes:
    return b"".join(_LINES.dump_json(_Line(analyzer, record)) + b"\n" for analyzer, record in records.items())
