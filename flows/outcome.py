"""What a run leaves in Prefect for people to see: artifacts, an event and a final state."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import httpx
from prefect.artifacts import (
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.states import Cancelled, Completed, Failed
from pydantic import BaseModel

from flows.listening import tell_progress
from standby.errors import GuardRefused
from standby.replication.items import GOOD, PlanItem, Progress, ReplicationPlan, Status
from standby.replication.report import Report, ReportItem, plan_document
from standby.text import totals


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table; nothing where it has no rows."""
    lines = [_table_row(row) for row in rows]
    return "\n".join([_table_row(head), _table_row("---" for _ in head), *lines]) if lines else ""


def page(*parts: str) -> str:
    """Put parts below each other, without those that are empty."""
    return "\n\n".join(part for part in parts if part)


def bullets(lines: Iterable[str]) -> str:
    """Write a list."""
    return "\n".join(f"- {_inline(line)}" for line in lines)


def seconds(value: float | None) -> str:
    """Write seconds as people read them."""
    if value is None:
        return "not known"
    minutes, rest = divmod(value, 60)
    return f"{minutes:.0f} min {rest:.0f} s" if value >= 100 else f"{value:.1f} s"


def _table_row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(_inline(str(cell)).replace('|', chr(92) + '|') for cell in cells)} |"


def _inline(text: str) -> str:
    return " ".join(text.split())


def ended(name: str, message: str, report: BaseModel | None = None) -> State[Any]:
    """Give the state of a run that did what it is there for; the report is its result."""
    return Completed(name=name, message=message, data=_data(report))


def fell_short(name: str, message: str, report: BaseModel | None = None) -> State[Any]:
    """Give the state of a run that somebody has to look after."""
    return Failed(name=name, message=message, data=_data(report))


def stopped(message: str) -> State[Any]:
    """Give the state of a run that was told to stop, and did."""
    return Cancelled(message=message)


def refused(error: GuardRefused) -> State[Any]:
    """Give the state of a run that a guard refused: nothing was done, and the error is its result."""
    return Failed(name="Refused", message=str(error), data=error)


def _data(report: BaseModel | None) -> Any:
    return None if report is None else report.model_dump(mode="json")


log = logging.getLogger("standby.flows")

UPDATES = 20
"""How often, at most, a run's progress artifact is brought up to date because there is progress."""

BEAT = 5.0
"""Seconds after which it is sent again all the same: a sign of life for whoever waits for the run."""

PROGRESS = "replication"
"""Key of the progress artifact."""


class ProgressArtifact:
    """A progress bar in the Prefect UI that follows a run."""

    def __init__(self, description: str) -> None:
        """Prepare the bar.

        Args:
            description: what is under way, for the UI.
        """
        self._description = description
        self._percent = 0.0
        self._changed = asyncio.Event()
        self._follower: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        artifact = await acreate_progress_artifact(0.0, key=PROGRESS, description=self._description)
        # Prefect types the id loosely; it is one.
        self._follower = asyncio.create_task(self._follow(UUID(str(artifact))))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)

    def show(self, progress: Progress) -> None:
        """Take note of how far the run is."""
        tell_progress(progress)
        percent = 100.0 * progress.done / progress.total if progress.total else 100.0
        if percent >= 100.0 or percent - self._percent >= 100.0 / UPDATES:
            self._percent = percent
            self._changed.set()

    async def _follow(self, artifact: UUID) -> None:
        while True:
            # Not wait_for: before Python 3.12 it can swallow a cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await aupdate_progress_artifact(artifact, progress=self._percent)
            except httpx.HTTPError as error:
                # The server may be away for a while; the run goes on.
                log.warning("progress could not be shown: %s", type(error).__name__)


async def publish_plan(plan: ReplicationPlan) -> State[dict[str, Any]]:
    """Leave what a run would do, and end without doing it."""
    counts = Counter(item.action for item in plan.items)
    told = ", ".join(f"{count} to {action}" for action, count in sorted(counts.items())) or "nothing to do"
    await acreate_table_artifact(
        key="replication-plan",
        table=[_planned(item) for item in plan.items] or [{"analyzer": "none selected"}],
        description=f"Plan **{plan.recovery_plan.name}**: {told}. Nothing was changed.",
    )
    return Completed(message=f"{told}; nothing was changed.", data=plan_document(plan))


async def publish_report(report: Report) -> None:
    """Leave a run's table and its event."""
    await acreate_table_artifact(
        key="replication-report",
        # What needs somebody's attention comes first.
        table=[_row(item) for item in sorted(report.items, key=lambda item: item.status in GOOD)]
        or [{"analyzer": "none selected"}],
        description=f"Plan **{report.plan}**: {totals(report.totals)} in {report.seconds:.0f} s.",
    )
    emit_event(
        event="standby.replication.completed",
        resource={
            "prefect.resource.id": f"standby.plan.{report.plan}",
            "prefect.resource.name": report.plan,
        },
        payload={
            "run_id": report.run_id,
            "seconds": report.seconds,
            "rpo_missed": len(report.objectives.missed),
            "totals": {status.value: count for status, count in report.totals.items()},
        },
    )


def final_state(report: Report) -> State[dict[str, Any]]:
    """Tell by a run's state what became of it; the report is its result."""
    data = report.model_dump(mode="json")
    if not report.complete:
        return Failed(name="PartiallyFailed", message=f"{totals(report.totals)}.", data=data)
    if report.totals[Status.SKIPPED]:
        return Completed(name="CompletedWithSkips", message=f"{totals(report.totals)}.", data=data)
    return Completed(message=f"{totals(report.totals)}.", data=data)


def _planned(item: PlanItem) -> dict[str, Any]:
    return {
        "analyzer": item.analyzer,
        "from": item.source,
        "to": item.target,
        "action": item.action.value,
        "reason": item.reason,
        "verdict": item.verdict.value,
        "as": item.target_analyzer,
        "warnings": " ".join(item.warnings),
    }


def _row(item: ReportItem) -> dict[str, Any]:
    return {
        "analyzer": item.analyzer,
        "from": item.source,
        "to": item.target,
        "status": item.status.value,
        "reason": item.reason,
        "verdict": item.verdict.value,
        "action": item.action.value,
        "as": item.target_analyzer,
        "seconds": item.seconds,
        "warnings": " ".join(item.warnings),
    }
