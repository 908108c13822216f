"""What may go wrong on our own side: records, disk, processes; each judged as the faults of the service are."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.matrix.cells import (
    CHECK,
    REPLICATE,
    RESTORE,
    SNAPSHOT,
    STATUS,
    Cell,
    judge_secrets,
    judge_world,
    sentences,
)
from tests.matrix.regions import PLAN, TARGET, Ran, Regions
from tests.standby.recovery.attack.machine import Process, booted

FAILOVER = ("failover", PLAN, "--to", TARGET, "--yes", "--planned")

COMMANDS = {
    "replicate": REPLICATE,
    "check": CHECK,
    "status": STATUS,
    "snapshot": SNAPSHOT,
    "restore": RESTORE,
    "failover": FAILOVER,
}

RECORDS = {
    "ledger": "vault/ledger/*/*.jsonl",
    "fence": "vault/recovery/*/fence.json",
    "failover record": "vault/recovery/*/switch.json",
    "audit log": "vault/audit/*.jsonl",
    "audit head": "vault/audit/*.head.json",
    "list of snapshots": "vault/snapshots/*/index.jsonl",
    "snapshot": "vault/snapshots/*/2*.json",
    "definitions of a snapshot": "vault/objects/*/*/*",
    "readiness": "vault/readiness/*.json",
    "durations": "vault/durations/*.json",
    "active map": "active.json",
}
"""Files that we keep, by what they are."""


def _newer(content: bytes) -> bytes:
    return content.replace(b'"format":1', b'"format":99').replace(b'"format": 1', b'"format": 99')


MAY_END = {"check": {0, 2}, "status": {0, 2}, "failover": {0, 4}}
"""A copy is missing, which is told; and what is switched already is not switched again."""

DAMAGES: Mapping[str, Callable[[bytes], bytes | None]] = {
    "truncated": lambda content: content[: len(content) * 2 // 3],
    "emptied": lambda _: b"",
    "lost": lambda _: None,
    "replaced by an empty object": lambda _: b"{}\n",
    "replaced by noise": lambda _: bytes(range(256)),
    "of a newer version": _newer,
}

SENT = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT, "SIGHUP": signal.SIGHUP}


@dataclass(frozen=True)
class Damage:
    """Something that happens to all files of a kind before a command runs; they are put back before the next."""

    record: str
    how: str
    command: str

    @property
    def name(self) -> str:
        return f"{self.record} {self.how}"


def play_damage(damage: Damage, regions: Regions) -> Cell:
    """Damage files, run a command, put them back, run it again, and judge."""
    cell = Cell(damage.name, damage.command)
    paths = [path for path in regions.folder.glob(RECORDS[damage.record]) if path.is_file()]
    assert paths, damage.record
    before = {path: path.read_bytes() for path in paths}
    spoilt = {path: DAMAGES[damage.how](content) for path, content in before.items()}
    for path, content in spoilt.items():
        _put(path, content)
    order = COMMANDS[damage.command]
    random.seed(1)
    with booted(regions.machine):
        ran = regions.run(*order)
        assert ran is not None
        _judge(cell, ran)
        if damage.how == "of a newer version":
            kept = all(
                content in {_read(path), _read(path.with_name(f"{path.name}.damaged"))}
                for path, content in spoilt.items()
            )
            cell.must(kept, "what a newer version wrote is lost")
        if ran.status == 0 and damage.command in {"replicate", "restore"}:
            judge_world(cell, regions)
        if ran.status != 0:
            # What was written anew meanwhile is not exchanged again for what is older by now.
            for path, content in before.items():
                if _read(path) == spoilt[path]:
                    _put(path, content)
            _judge_once_well(cell, damage.command, regions)
    judge_secrets(cell, regions)
    return cell


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _put(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(content)


@dataclass(frozen=True)
class Interruption:
    """Something that happens to a process at a boundary: before or after a call, or a write to disk."""

    how: str
    command: str
    boundary: int

    @property
    def name(self) -> str:
        return self.how


INTERRUPTIONS = (
    "kill -9",
    *SENT,
    "SIGSTOP and going on an hour later",
    "a second run in its middle",
    "disk full from then on",
)


def play_interruption(found: Interruption, regions: Regions) -> Cell | None:
    """Interrupt a command at a boundary, run it again, and judge; `None` where it ended before."""
    cell = Cell(found.name, found.command)
    order = COMMANDS[found.command]
    process = Process()
    others: list[Ran | None] = []
    random.seed(1)

    def meanwhile() -> None:
        if found.how in SENT:
            os.kill(os.getpid(), SENT[found.how])
        elif found.how.startswith("SIGSTOP"):
            regions.time.seconds += 3600.0
        elif found.how.startswith("a second run"):
            others.append(regions.run(*order))
        else:
            regions.machine.fails = lambda file: file.startswith(str(regions.vault))

    if found.how == "kill -9":
        process.dies_at = found.boundary
    else:
        process.stops_at, process.meanwhile = found.boundary, meanwhile
    with booted(regions.machine):
        ran = regions.run(*order, process=process)
        if process.passed < found.boundary:
            return None
        regions.machine.fails = lambda _: False
        regions.time.seconds += 600.0
        for each in (ran, *others):
            if each is not None:
                _judge(cell, each, interrupted=found.how in SENT)
        if ran is None:
            cell.ended = "is gone"
        _judge_once_well(cell, found.command, regions)
    judge_secrets(cell, regions)
    return cell


def _judge(cell: Cell, ran: Ran, *, interrupted: bool = False) -> None:
    cell.judge_ending(ran, also=(130,) if interrupted else ())
    cell.must(ran.seconds <= 7200, f"took {ran.seconds:.0f} s")


def _judge_once_well(cell: Cell, command: str, regions: Regions) -> None:
    again = regions.run(*COMMANDS[command])
    assert again is not None
    cell.story.append(str(again))
    right = MAY_END.get(command, {0})
    cell.must(again.status in right, f"once well it ends with {again.status}: {sentences(again)}")
    if command in {"replicate", "restore"}:
        judge_world(cell, regions)
    twice = {name: count for name, count in regions.accepted().items() if count > 1}
    cell.must(not twice, f"copied more than once: {twice}")
