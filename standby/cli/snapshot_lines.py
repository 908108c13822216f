"""Snapshots, as lines a person can read on 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from standby.cli.output import Line
from standby.errors import sentence
from standby.recovery.snapshots.snapshot import SnapshotEntry, Verification
from standby.recovery.snapshots.take import SnapshotTaken

MOST_NAMED = 3
"""Analyzers that a line names before it only counts them."""


def taken_lines(taken: SnapshotTaken) -> Iterator[Line]:
    """Show what a snapshot has, and what it has not."""
    for name, count in taken.resources.items():
        yield Line(f"{name}: {_counted(count, 'analyzer')}", 2, "+", "green")
    for name, reason in taken.missing.items():
        yield Line(f"{name}: {sentence(reason)} What was kept of it before is kept on.", 2, "!", "red", True)
    for problem in taken.problems:
        yield Line(sentence(problem), 2, "!", "red", True)
    if taken.unknown_labelled:
        some = some_names(taken.unknown_labelled)
        yield Line(f"{some}: the labelled data could not be listed.", 2, "?", "yellow")
    for place in taken.stores:
        yield Line(f"Kept in {place}.", 2)
    if taken.retired:
        yield Line(f"Removed {_counted(len(taken.retired), 'old snapshot')}.", 2)
    told = f"{_counted(taken.new_objects, 'new definition')}, {'signed' if taken.signed else 'not signed'}"
    yield Line(f"Plan {taken.plan}: snapshot {taken.id}, {told}.", wrong=not taken.complete)


def entry_lines(plan: str, entries: Sequence[SnapshotEntry], *, told: bool) -> Iterator[Line]:
    """List snapshots, newest first.

    Args:
        plan: whose they are.
        entries: newest first.
        told: whether what is wrong with each is said here.
    """
    for entry in entries:
        resources = ", ".join(f"{name} {count}" for name, count in entry.resources.items())
        signed = "signed" if entry.signed else "not signed"
        yield Line(
            f"{entry.taken_at:%Y-%m-%d %H:%M:%S} UTC  {entry.id}  {resources}  {size(entry.size)}  {signed}",
            wrong=bool(entry.problems),
        )
        for problem in entry.problems if told else ():
            yield Line(sentence(problem), 2, "!", "red", True)
    yield Line(f"Plan {plan}: {_counted(len(entries), 'snapshot')}.")


def verification_lines(found: Verification) -> Iterator[Line]:
    """Show what is wrong with the files."""
    for problem in found.problems:
        yield Line(sentence(problem), 2, "!", "red", True)
    looked = f"{_counted(found.snapshots, 'snapshot')} and {_counted(found.objects, 'definition')} read"
    places = f" in {_counted(len(found.stores), 'store')}"
    result = "all is as it was written" if found.whole else _counted(len(found.problems), "problem")
    yield Line(f"{looked}{places}: {result}.", wrong=not found.whole)


def size(count: int) -> str:
    """Write a number of bytes as people do."""
    for unit, length in (("MB", 1_000_000), ("kB", 1000)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"


def some_names(names: Sequence[str]) -> str:
    """Name some, and count the rest."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
