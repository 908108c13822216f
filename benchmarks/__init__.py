"""How near a run is to the time of the service itself: rows of one table, as ratios to an ideal or to a peer.

Seconds of one machine say nothing about another; what both sides of a ratio take on one machine, side by side, does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rich import box
from rich.table import Table

from standby.replication.forecast import play

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
    """One line of the table; `good` is `None` where nothing must be reached."""

    name: str
    ours: float
    unit: str = "s"
    ideal: str = ""
    peers: str = ""
    ratio: float | None = None
    must: str = "shown"
    good: bool | None = None
    flaw: str = ""  # what is wrong whatever the figure

    @property
    def verdict(self) -> str:
        return "" if self.good is None else "reached" if self.good else "missed"

    @property
    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        peers = "; ".join(filter(None, (self.peers, self.flaw and f"but {self.flaw}")))
        return (self.name, self.ideal, peers, figure(self.ours, self.unit), ratio, self.must, self.verdict)


def figure(value: float, unit: str) -> str:
    """Write a figure as exactly as it is of use."""
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()


def timed(
    name: str,
    ours: Sequence[float],
    below: Sequence[float],
    most: float | None,
    *,
    peer: str = "",
    more: str = "",
    flaw: str = "",
) -> Row:
    """Divide round by round: what slows a machine for a while slows both.

    Args:
        below: seconds of the ideal, or of the peer that is named.
        more: what other peers took.
    """
    ratio = median(one / other for one, other in zip(ours, below, strict=True))
    base = figure(median(below), "s")
    return Row(
        name,
        median(ours),
        ideal="" if peer else base,
        peers="; ".join(filter(None, (f"{peer} {base}" if peer else "", more))),
        ratio=ratio,
        must="shown" if most is None else f"≤ {most:.2f}",
        good=None if most is None else ratio <= most and not flaw,
        flaw=flaw,
    )


def counted(
    name: str, ours: float, unit: str = "", most: float | None = None, *, ideal: str = "", peers: str = ""
) -> Row:
    """Make a row of a figure that is held against a limit by itself."""
    must = "shown" if most is None else f"≤ {figure(most, unit)}"
    return Row(name, ours, unit, ideal, peers, None, must, None if most is None else ours <= most)


COLUMNS = ("", "ideal", "peers", "ours", "ratio", "must reach", "verdict")


def table_of(rows: Iterable[Row]) -> Table:
    """Make the table, for a terminal of at least 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    table.add_column("ideal", justify="right", no_wrap=True)
    table.add_column("peers")
    for name in ("ours", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("must\nreach", "verdict"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*row.cells)
    return table


def markdown_of(rows: Iterable[Row], before: Mapping[str, str]) -> list[str]:
    """Write the table as Markdown, with what an earlier revision reached."""
    columns = (*COLUMNS[:3], *(("before",) if before else ()), *COLUMNS[3:])
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row in rows:
        cells = row.cells
        shown = (*cells[:3], *((before.get(row.name, ""),) if before else ()), *cells[3:])
        lines.append(f"| {' | '.join(shown)} |")
    return lines
