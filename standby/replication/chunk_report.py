"""What a chunk run leaves for its parent, and what the parent makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pydantic import BaseModel, ConfigDict

from standby.replication.planned import PlanItem
from standby.replication.report import ReportItem
from standby.replication.results import ItemResult, Status
from standby.replication.verdict import CopyRecord


class ChunkReport(BaseModel):
    """The end of a chunk run, as JSON has it; there are no secrets in it.

    Attributes:
        records: what was copied and found good, or found equal, by target analyzer.
    """

    model_config = ConfigDict(frozen=True)

    items: tuple[ReportItem, ...]
    records: dict[str, CopyRecord]


def results_of(
    items: Iterable[PlanItem], report: ChunkReport | None, otherwise: str
) -> tuple[ItemResult, ...]:
    """Give the results of a chunk's items.

    Args:
        items: the parent's, in the plan's order.
        report: what the chunk run left; `None` where it left nothing.
        otherwise: why there is no result of an item of which nothing was reported.
    """
    told = {item.analyzer: item for item in report.items} if report else {}
    return tuple(_result(item, told.get(item.analyzer), otherwise) for item in items)


def _result(item: PlanItem, told: ReportItem | None, otherwise: str) -> ItemResult:
    if told is None:
        return ItemResult(item, Status.FAILED, otherwise, warnings=item.warnings)
    # The chunk run planned afresh: what it decided counts.
    decided = replace(item, target_analyzer=told.target_analyzer, verdict=told.verdict, action=told.action)
    return ItemResult(
        item=decided,
        status=told.status,
        reason=told.reason,
        seconds=told.seconds,
        attempts=told.attempts,
        operation_id=told.operation_id,
        warnings=told.warnings,
    )
