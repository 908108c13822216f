"""What became of each item of a plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from standby.replication.planning import PlanItem


class Status(StrEnum):
    """How an item ended."""

    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"
    BLOCKED = "blocked"
    REFUSED = "refused"


GOOD = frozenset({Status.SUCCEEDED, Status.SKIPPED})
"""Ends after which the analyzer is usable at the target."""


@dataclass(frozen=True)
class ItemResult:
    """One item and its end.

    Attributes:
        reason: one sentence with the cause and the next action, for everything that did not succeed.
        seconds: from its first call to its last.
        attempts: how often the service was asked to copy.
    """

    item: PlanItem
    status: Status
    reason: str = ""
    seconds: float = 0.0
    attempts: int = 0
    operation_id: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far a run is, at one moment."""

    total: int
    in_flight: int
    ended: tuple[tuple[Status, int], ...]

    @property
    def done(self) -> int:
        """Items that have ended."""
        return sum(count for _, count in self.ended)


def count(results: Iterable[ItemResult]) -> dict[Status, int]:
    """Count results by status, every status named."""
    counts = dict.fromkeys(Status, 0)
    for result in results:
        counts[result.status] += 1
    return counts
