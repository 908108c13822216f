"""What was last copied from what: the only thing the two resources cannot say themselves.

One file a region pair, a JSON line a copy, the last line of an analyzer counts. A lost or damaged file costs
nothing but knowledge: the next run finds equal analyzers equal and calls the rest foreign.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from standby.replication.errors import LedgerBusy
from standby.replication.verdict import CopyRecord

log = logging.getLogger("standby.replication")


@dataclass(frozen=True)
class _Line:
    analyzer: str
    record: CopyRecord


_LINES = TypeAdapter(_Line)


@dataclass
class Ledger:
    """The records of one pair, as read, and the open file to which new ones are added.

    Attributes:
        path: the file.
        records: the last record of each target analyzer.
        damaged: how many lines could not be read; their analyzers are judged without them.
    """

    path: Path
    records: dict[str, CopyRecord] = field(default_factory=dict)
    damaged: int = 0
    _file: IO[bytes] | None = None

    def record(self, records: Mapping[str, CopyRecord]) -> None:
        """Add verified copies, by target analyzer; they are on the disk when this returns."""
        if self._file is None:
            raise LedgerBusy(str(self.path))
        _write(self._file, records)
        self.records.update(records)


def read_ledger(folder: Path, source: str, target: str) -> Ledger:
    """Read the records of one pair, without the right to add any."""
    return _read(_path(folder, source, target))[0]


@contextmanager
def write_ledger(folder: Path, source: str, target: str) -> Iterator[Ledger]:
    """Open the records of one pair for adding to them; one process at a time may.

    Raises:
        LedgerBusy: another run holds this pair.
    """
    path = _path(folder, source, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The lock has a file of its own, so that compaction may replace the ledger's.
    with path.with_suffix(".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerBusy(str(path)) from None
        ledger, damaged = _read(path)
        _set_aside(path, damaged)
        _compact(ledger)
        with path.open("ab") as file:
            ledger._file = file
            try:
                yield ledger
            finally:
                ledger._file = None


def _path(folder: Path, source: str, target: str) -> Path:
    # Names have no underscore: no two pairs share a file.
    return folder / "ledger" / f"{source}_{target}.jsonl"


def _read(path: Path) -> tuple[Ledger, list[bytes]]:
    """Read a ledger's file; give with it the lines that could not be read."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    records: dict[str, CopyRecord] = {}
    damaged: list[bytes] = []
    for line in lines:
        try:
            read = _LINES.validate_json(line)
        except ValidationError:
            damaged.append(line)
        else:
            records[read.analyzer] = read.record
    if damaged:
        log.warning(
            "%s has %d line(s) that cannot be read; those analyzers are judged by what the resources hold",
            path,
            len(damaged),
        )
    return Ledger(path, records, len(damaged)), damaged


def _set_aside(path: Path, damaged: list[bytes]) -> None:
    """Keep unreadable lines where compaction does not lose them: a newer version may have written them."""
    if not damaged:
        return
    with path.with_suffix(".damaged").open("ab") as file:
        file.writelines(line + b"\n" for line in damaged)
        file.flush()
        os.fsync(file.fileno())


def _compact(ledger: Ledger) -> None:
    if not ledger.path.exists():
        return
    fresh = ledger.path.with_suffix(".new")
    with fresh.open("wb") as file:
        _write(file, ledger.records)
    fresh.replace(ledger.path)


def _write(file: IO[bytes], records: Mapping[str, CopyRecord]) -> None:
    for analyzer, record in records.items():
        file.write(_LINES.dump_json(_Line(analyzer, record)) + b"\n")
    file.flush()
    os.fsync(file.fileno())
