"""How much would be lost if a source went now, against what the plan allows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from standby.replication.planned import PlanItem, ReplicationPlan
from standby.replication.results import GOOD, ItemResult
from standby.replication.verdict import Verdict


@dataclass(frozen=True)
class RecoveryPoint:
    """What a target holds of one analyzer.

    Attributes:
        verified_at: when it was last copied and found good, UTC; `None` where no such copy is known.
        age: seconds since then.
        source_changed: whether the source has something that the copy lacks.
        met: whether the plan's RPO holds; `None` where the plan has none.
    """

    source: str
    target: str
    analyzer: str
    verified_at: datetime | None
    age: float | None
    source_changed: bool
    met: bool | None


def recovery_points(plan: ReplicationPlan) -> tuple[RecoveryPoint, ...]:
    """Evaluate every item of a plan at the moment it was made."""
    return tuple(_point(item, plan.made_at, plan.recovery_plan.objectives.rpo) for item in plan.items)


def missed_after(
    results: Iterable[ItemResult], now: datetime, objective: timedelta | None
) -> tuple[RecoveryPoint, ...]:
    """Name what a run left behind its RPO: what succeeded or was in sync is good as of now."""
    points = (_point(result.item, now, objective) for result in results if result.status not in GOOD)
    return tuple(point for point in points if point.met is False)


def _point(item: PlanItem, now: datetime, objective: timedelta | None) -> RecoveryPoint:
    verified_at = item.last.copied_at if item.last else None
    age = None if verified_at is None else max(0.0, (now - verified_at).total_seconds())
    changed = _source_changed(item)
    return RecoveryPoint(
        source=item.source,
        target=item.target,
        analyzer=item.analyzer,
        verified_at=verified_at,
        age=age,
        source_changed=changed,
        met=None
        if objective is None
        else not changed or (age is not None and age <= objective.total_seconds()),
    )


def _source_changed(item: PlanItem) -> bool:
    if item.verdict is Verdict.SOURCE_AHEAD:
        return True  # Also by labelled data alone, under the same definition.
    if item.found is not None and item.found.fingerprint == item.expected.fingerprint:
        return item.found.status != "ready"
    return item.last is None or item.last.source.fingerprint != item.expected.fingerprint
