"""What was found of each fault, as a table: printed after `make chaos`, and written into the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.matrix.cells import CALLS
from tests.matrix.faults import FAULTS, GROUPS
from tests.matrix.own import COMMANDS, DAMAGES, INTERRUPTIONS, RECORDS

ALL: Mapping[str, tuple[str, ...]] = {
    **{group: tuple(fault.name for fault in faults) for group, faults in GROUPS.items()},
    "Our records": tuple(f"{record} {how}" for record in RECORDS for how in DAMAGES),
    "Our processes and the disk": INTERRUPTIONS,
}
"""Every row, by what the faults are about."""

KINDS = {fault.name: fault.to for fault in FAULTS}


def met_by(fault: str) -> tuple[str, ...]:
    """Give what a fault can happen to: calls of the service, or commands."""
    if fault not in KINDS:
        return tuple(COMMANDS)
    return tuple(call.label for call in CALLS if call.kind in KINDS[fault])


@dataclass
class Row:
    """What was found of one fault.

    Attributes:
        goes_on: where the run went on as if nothing had been.
        stops: where it ended with a reason, and the next run went on.
    """

    fault: str
    goes_on: set[str] = field(default_factory=set)
    stops: set[str] = field(default_factory=set)
    seconds: float = 0.0
    cells: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, cell: Mapping[str, Any]) -> None:
        self.cells += 1
        self.seconds = max(self.seconds, cell["seconds"])
        (self.goes_on if cell["ended"] == "goes on" else self.stops).add(cell["call"])
        self.wrong += [f"{cell['call']}: {each}" for each in cell["wrong"]]


def rows(cells: Iterable[Mapping[str, Any]]) -> dict[str, Row]:
    """Put cells together by their faults."""
    found: dict[str, Row] = {}
    for cell in cells:
        found.setdefault(cell["fault"], Row(cell["fault"])).add(cell)
    for row in found.values():
        row.goes_on -= row.stops
    return found


def spelled(row: Row) -> tuple[str, str]:
    """Write where a run went on and where it stopped, the longer of both as what is left."""
    found = [[each for each in met_by(row.fault) if each in some] for some in (row.goes_on, row.stops)]
    goes_on, stops = (", ".join(names) for names in found)
    if not goes_on or not stops:
        return ("all", "") if goes_on else ("", "all")
    return ("all others", stops) if len(found[0]) > len(found[1]) else (goes_on, "all others")


def lines(cells: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write the table for a terminal."""
    found = rows(cells)
    for group, faults in ALL.items():
        played = [found[fault] for fault in faults if fault in found]
        yield from [f"{group}:"] if played else []
        for row in played:
            words = zip(("goes on", "stops"), spelled(row), strict=True)
            ended = "; ".join(f"{word}: {where}" for word, where in words if where)
            yield f"  {'WRONG' if row.wrong else 'ok':5} {row.fault:45} {row.cells:4} {row.seconds:5.0f} s  {ended}"
            yield from (f"          {each}" for each in row.wrong)
    wrong = sum(bool(cell["wrong"]) for cell in cells)
    yield f"{len(cells)} cells, {wrong} of them wrong"


HEAD = """# What Standby survives

`make chaos` lets everything on this page happen, and fails where anything else comes of it; `make test` plays a
sample. The page is written by `make survives`, from what was found: nothing here is a promise without a test.

Each row is something that goes wrong; its entries are calls to the service, or commands, that it happened to. It
happens on an emulated service, in time that jumps. *Goes on* means that the run did all it was asked for, as if
nothing had been. *Stops* means that it ended with a reason that names what was wrong, and that what was not concerned
went on. In both cases the same command ended well once all was calm: each copy equal to its source, and taken by
the target once (twice only where the service had failed to make it, or something on the way sent the call twice).
No other origin than the regions was asked, no key or token was in what was printed or kept, and no task was left
behind. *At most* is the longest that a run took. What happens *for ever* does so until the run has ended.

Calls without a command belong to `standby replicate`; *next page* is any page of a list but the first; *get* is the
look at an analyzer that is copied or restored. What a command says of a copy that is missing is also a reason.
"""


def page(cells: Sequence[Mapping[str, Any]]) -> str:
    """Write the page."""
    found = rows(cells)
    parts = [HEAD]
    for group, faults in ALL.items():
        parts.append(f"\n## {group}\n| what happens | goes on | stops, with a reason | at most |\n|---|---|---|---|\n")
        for fault in faults:
            row = found[fault]
            parts.append(f"| {fault} | {' | '.join(spelled(row))} | {row.seconds:.0f} s |\n")
    return "".join(parts)


def told(text: str) -> dict[str, set[str]]:
    """Read from the page where each fault is said to stop a run; it goes on everywhere else."""
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:2] == "| "]
    return {row[0]: _stops(*row[:3]) for row in table if row[0] != "what happens"}


def _stops(fault: str, goes_on: str, stops: str) -> set[str]:
    if stops in {"all", "all others"}:
        return set(met_by(fault)) - set(goes_on.split(", "))
    return set(stops.split(", ")) if stops else set()
