"""The report of a run, as JSON has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from standby.replication.actions import Action
from standby.replication.planning import PlanItem, ReplicationPlan
from standby.replication.results import GOOD, ItemResult, Status, count
from standby.replication.verdict import Verdict
from standby.service.models import JsonValue

Via = Literal["direct", "prefect"]


class ReportItem(BaseModel):
    """One analyzer at one target."""

    model_config = ConfigDict(frozen=True)

    source: str
    target: str
    analyzer: str
    target_analyzer: str
    verdict: Verdict
    action: Action
    status: Status
    reason: str
    seconds: float
    attempts: int
    operation_id: str
    warnings: tuple[str, ...]


class Report(BaseModel):
    """A whole run."""

    model_config = ConfigDict(frozen=True)

    plan: str
    run_id: str
    via: Via
    seconds: float
    totals: dict[Status, int]
    items: tuple[ReportItem, ...]

    @property
    def complete(self) -> bool:
        """Whether every item is usable at its target."""
        return all(item.status in GOOD for item in self.items)


@dataclass(frozen=True)
class Ended:
    """How a run ended for the one who started it."""

    report: Report
    interrupted: bool = False


def make_report(*, plan: str, run_id: str, via: Via, seconds: float, results: Iterable[ItemResult]) -> Report:
    """Put the results of a run into its report."""
    ended = tuple(results)
    return Report(
        plan=plan,
        run_id=run_id,
        via=via,
        seconds=round(seconds, 3),
        totals=count(ended),
        items=tuple(_item(result) for result in ended),
    )


def _item(result: ItemResult) -> ReportItem:
    item = result.item
    return ReportItem(
        source=item.source,
        target=item.target,
        analyzer=item.analyzer,
        target_analyzer=item.target_analyzer,
        verdict=item.verdict,
        action=item.action,
        status=result.status,
        reason=result.reason,
        seconds=round(result.seconds, 3),
        attempts=result.attempts,
        operation_id=result.operation_id,
        warnings=result.warnings,
    )


def plan_document(plan: ReplicationPlan) -> dict[str, JsonValue]:
    """Give a plan as JSON: the items of a report, without what only a run can know."""
    return {
        "plan": plan.recovery_plan.name,
        "made_at": plan.made_at.isoformat(),
        "added_defaults": {target: dict(added) for target, added in plan.added_defaults.items()},
        "items": [_planned(item) for item in plan.items],
    }


def drift_document(plan: ReplicationPlan) -> dict[str, JsonValue]:
    """Give what a check found as JSON: a plan's items, with the JSON paths that differ."""
    return {
        "plan": plan.recovery_plan.name,
        "checked_at": plan.made_at.isoformat(),
        "in_sync": all(item.verdict is Verdict.IN_SYNC for item in plan.items),
        "items": [_planned(item) | {"differences": list(item.differences)} for item in plan.items],
    }


def _planned(item: PlanItem) -> dict[str, JsonValue]:
    return {
        "source": item.source,
        "target": item.target,
        "analyzer": item.analyzer,
        "target_analyzer": item.target_analyzer,
        "verdict": item.verdict.value,
        "action": item.action.value,
        "reason": item.reason,
        "warnings": list(item.warnings),
    }
