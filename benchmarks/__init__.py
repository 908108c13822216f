"""What orchestration costs, as ratios: seconds of one machine say nothing about another. And how long outages last.

A ratio is a `Figure`, with what it should be and how the two compare.
"""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from statistics import median
from time import perf_counter, process_time
from typing import Any


@dataclass
class Cost:
    """Seconds that one measurement took: on the clock, and of CPU in this process and all its threads."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure what is done inside; the cost is there afterwards."""
    gc.collect()  # What others left behind is not ours to pay.
    cost = Cost()
    wall, cpu = perf_counter(), process_time()
    try:
        yield cost
    finally:
        cost.wall = perf_counter() - wall
        cost.cpu = process_time() - cpu


NOISE = 0.05  # By how much a median may be above what is expected before it is called so


@dataclass(frozen=True)
class Expected:
    """What the design expects of a ratio, and where that was measured or follows from."""

    low: float
    high: float
    basis: str

    def __str__(self) -> str:
        return f"{_short(self.low)} to {_short(self.high)}" if self.low else f"at most {_short(self.high)}"


@dataclass(frozen=True)
class Figure:
    """One line of the table: a ratio for each round, and what it means."""

    name: str
    ratios: Sequence[float]
    meaning: str
    expected: Expected

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def verdict(self) -> str:
        """How the median compares with what is expected."""
        if self.ratio > self.expected.high * (1 + NOISE):
            return "above"
        return "as expected" if self.ratio >= self.expected.low else "better"

    @property
    def spread(self) -> str:
        return f"{_short(min(self.ratios))} to {_short(max(self.ratios))}"

    def __str__(self) -> str:
        return _short(self.ratio)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "verdict": self.verdict}


@dataclass
class Findings:
    """What one group of measurements found; `raw` has this machine's medians, in the unit each name ends with."""

    title: str
    figures: list[Figure] = field(default_factory=list)
    raw: dict[str, float] = field(default_factory=dict)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Divide round by round: what slows a machine down for a while slows both."""
    return [one / other for one, other in zip(above, below, strict=True)]


def _short(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 100 else f"{ratio:.3g}" if ratio >= 10 or ratio < 0.1 else f"{ratio:.2f}"
