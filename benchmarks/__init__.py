"""How near a run is to the time of the service itself: rows of one table, as ratios to an ideal or to a peer.

Seconds of one machine say nothing about another; what both sides of a ratio take on one machine, side by side, does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from statistics import median

from rich import box
from rich.table import Table

from standby.replication.pacing import play

WINDOW = 60.0  # Seconds of the service's quota
FEWEST_CALLS = 2  # That a target answers about one copy: the copy, and one question after it that shows the whole copy


def ideal(jobs: Mapping[str, Collection[str]], slots: int, seconds: Sequence[float], quota: int) -> float:
    """Say how long a run takes in which nothing costs anything: every slot is in use whenever something is ready.

    Args:
        jobs: what each analyzer waits for.
        seconds: what copies took at the emulator, in the order in which they were begun.
        quota: calls a minute that the target answers, all of which may come at once.
    """
    takes = iter(seconds)
    by_quota = (FEWEST_CALLS * len(jobs) - 1) // quota * WINDOW
    return max(play(jobs, slots, lambda _: next(takes)), by_quota)


@dataclass(frozen=True)
class Row:
    """One line of the table, as it is shown; `verdict` is empty where nothing must be reached."""

    name: str
    ideal: str
    peers: str
    ours: str
    ratio: str = ""
    must: str = "shown"
    verdict: str = ""


def figure(value: float, unit: str) -> str:
    """Write a figure as exactly as it is of use."""
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()


def _verdict(good: bool) -> str:
    return "reached" if good else "missed"


def timed(
    name: str, ours: Sequence[float], below: Sequence[float], most: float | None, *, peers: str = "", flaw: str = ""
) -> Row:
    """Divide by the ideal, or by the peer that a name ends with, round by round: what slows a machine slows both.

    Args:
        flaw: what is wrong whatever the figure.
    """
    ratio = median(one / other for one, other in zip(ours, below, strict=True))
    said = "; ".join(filter(None, (peers, flaw and f"but {flaw}")))
    row = Row(name, figure(median(below), "s"), said, figure(median(ours), "s"), f"{ratio:.2f}")
    return row if most is None else replace(row, must=f"≤ {most:.2f}", verdict=_verdict(ratio <= most and not flaw))


def counted(name: str, ours: float, unit: str, most: float, *, ideal: str = "", peers: str = "") -> Row:
    """Make a row of a figure that is held against a limit by itself."""
    return Row(name, ideal, peers, figure(ours, unit), "", f"≤ {figure(most, unit)}", _verdict(ours <= most))


def table_of(rows: Iterable[Row]) -> Table:
    table = Table("", "ideal", "peers", "ours", "ratio", "must reach", "verdict", box=box.MARKDOWN)
    for row in rows:
        table.add_row(*astuple(row))
    return table
