"""The report of a restore, as JSON has it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from standby.recovery.snapshots.restore_items import Fidelity, RestoreAction
from standby.replication.report import Via
from standby.replication.results import GOOD, Status


class RestoredItem(BaseModel):
    """One analyzer and its end.

    Attributes:
        reason: for everything that did not succeed, the cause and the next action.
    """

    model_config = ConfigDict(frozen=True)

    home: str
    resource: str
    analyzer: str
    target_analyzer: str
    fidelity: Fidelity
    action: RestoreAction
    status: Status
    reason: str = ""
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()


class RestoreReport(BaseModel):
    """A whole restore.

    Attributes:
        snapshot: id of what it restored from.
        interrupted: whether it was cancelled before its end; the items say how far it came.
        problems: what was found wrong with the snapshot's files and made good by another store.
    """

    model_config = ConfigDict(frozen=True)

    plan: str
    run_id: str
    via: Via
    snapshot: str
    taken_at: datetime
    to: str
    seconds: float
    interrupted: bool = False
    totals: dict[Status, int]
    items: tuple[RestoredItem, ...]
    problems: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every analyzer is usable at the target."""
        return not self.interrupted and all(item.status in GOOD for item in self.items)

    @property
    def durations(self) -> tuple[float, ...]:
        """Seconds that each analyzer took which was built."""
        return tuple(item.seconds for item in self.items if item.status is Status.SUCCEEDED)


def totals_of(items: Iterable[RestoredItem]) -> dict[Status, int]:
    """Count items by status, every status named."""
    totals = dict.fromkeys(Status, 0)
    for item in items:
        totals[item.status] += 1
    return totals
