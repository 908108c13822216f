"""What a failback found, and what it did, as JSON has it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Literal

from pydantic import Field

from standby.document import Document
from standby.recovery.failback.divergence import Divergence
from standby.recovery.failover.report import CommitReport, FailoverReport
from standby.replication.items import Status
from standby.replication.report import Report, ReportItem, Via

Kept = Literal["home", "standby"]
"""Whose analyzer goes on."""

State = Literal["failed_back", "at_home", "refused", "incomplete", "unfinished", "interrupted"]
"""How a failback ended.

Home serves; it did already; home cannot take something as it is; something failed, and the standby still
serves; the switch is neither done nor undone; it was asked to stop.
"""


class DivergenceItem(Document):
    """One analyzer on both sides.

    Attributes:
        analyzer: its id at home.
        standby_analyzer: its id at the standby; `None` where that has none.
        keep: whose goes on; `None` where nobody has said so yet.
        differences: JSON paths at which the two differ.
        rebuilt: that of the standby was built from a definition that has labelled data, and not copied there.
    """

    analyzer: str
    standby_analyzer: str | None
    divergence: Divergence
    keep: Kept | None
    differences: tuple[str, ...] = ()
    rebuilt: bool = False


class DivergenceReport(Document):
    """What became of two sides while one served in the place of the other.

    Attributes:
        superseded: ids at the standby of older copies beside a newer one; they stay there.
        outside: ids at the standby that are none of the plan's concern; they stay there.
    """

    plan: str
    primary: str = Field(alias="home")
    standby: str
    epoch: int
    compared_at: datetime
    items: tuple[DivergenceItem, ...]
    superseded: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()

    @property
    def totals(self) -> dict[Divergence, int]:
        """Count items by what became of them, every kind named."""
        counts = Counter(item.divergence for item in self.items)
        return {kind: counts[kind] for kind in Divergence}

    @property
    def unsettled(self) -> tuple[str, ...]:
        """Ids at home of what somebody has to decide."""
        return tuple(item.analyzer for item in self.items if item.keep is None)

    @property
    def untrained(self) -> tuple[str, ...]:
        """Ids at home of what comes there, and was not trained as its original was."""
        return tuple(
            item.analyzer
            for item in self.items
            if item.rebuilt and item.keep == "standby" and item.divergence is not Divergence.IN_SYNC
        )


class FailbackReport(Document):
    """A whole failback.

    Attributes:
        standby: what served in the place of home; empty where nothing did.
        divergence: as it was before anything was copied.
        sync: what went home.
        failover: the switch; `None` where an earlier run had made it, or it was not come to.
        forward: what went to the standby once home served again.
        problems: what went wrong, a sentence each.
        next_action: the one thing to do now; empty where there is nothing.
    """

    plan: str
    run_id: str
    via: Via
    epoch: int
    primary: str = Field(alias="home")
    standby: str
    divergence: DivergenceReport | None
    sync: Report | None
    failover: FailoverReport | None
    commit: CommitReport | None
    forward: Report | None
    state: State
    seconds: float
    problems: tuple[str, ...] = ()
    next_action: str = ""

    @property
    def complete(self) -> bool:
        """Whether home serves, and nothing is left to do."""
        return self.state in {"failed_back", "at_home"} and not self.problems


def joined(first: Report, then: Report) -> Report:
    """Put two runs of the same pair into one report: what the second had nothing to do about stays."""

    def key(item: ReportItem) -> tuple[str, str, str]:
        return (item.source, item.target, item.analyzer)

    done = {key(item): item for item in first.items if item.status is Status.SUCCEEDED}
    items = {key(item): item for item in (*first.items, *then.items)}
    items |= {key(item): done.get(key(item), item) for item in then.items if item.status is Status.SKIPPED}
    counts = Counter(item.status for item in items.values())
    return then.model_copy(
        update={
            "seconds": round(first.seconds + then.seconds, 3),
            "totals": {status: counts[status] for status in Status},
            "items": tuple(items.values()),
        }
    )
