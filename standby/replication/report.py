"""The results of a plan, a check and a run: as JSON, and in the words that terminal, artifact and page use."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, Protocol

from pydantic import Field, TypeAdapter

from standby.config.durations import format_duration, roughly
from standby.document import Document, JsonObject
from standby.replication.engine import Attempt
from standby.replication.fingerprint import same_meaning
from standby.replication.items import GOOD, Key, PlanItem, ReplicationPlan, Status, count
from standby.replication.verdict import Action, Verdict
from standby.text import lasting, totals


@dataclass(frozen=True)
class RecoveryPoint:
    """What a target holds of one analyzer: when it was verified, how many seconds ago, and whether the RPO is met."""

    source: str
    target: str
    analyzer: str
    verified_at: datetime | None
    age: float | None
    source_changed: bool
    met: bool | None


def recovery_points(plan: ReplicationPlan) -> tuple[RecoveryPoint, ...]:
    return tuple(_point(item, plan.made_at, plan.recovery_plan.objectives.rpo) for item in plan.items)


def _point(item: PlanItem, now: datetime, objective: timedelta | None) -> RecoveryPoint:
    verified_at = item.last.copied_at if item.last else None
    age = None if verified_at is None else max(0.0, (now - verified_at).total_seconds())
    changed = _source_changed(item)
    met = None if objective is None else not changed or (age is not None and age <= objective.total_seconds())
    return RecoveryPoint(item.source, item.target, item.analyzer, verified_at, age, changed, met)


def _source_changed(item: PlanItem) -> bool:
    if item.verdict is Verdict.SOURCE_AHEAD:
        return True  # Also by labelled data alone, under the same definition.
    if item.verdict is Verdict.IN_SYNC and not item.is_in_sync:
        return True  # What serves elsewhere may have been edited there.
    if item.verdict is Verdict.IN_SYNC:
        return False  # Also where the target filled in what the source does not have.
    if item.found is not None and same_meaning(item.found.fingerprint, item.expected.fingerprint):
        return item.found.status != "ready"
    return item.last is None or not same_meaning(item.last.source.fingerprint, item.expected.fingerprint)


Via = Literal["direct", "prefect"]


class ReportItem(Document):
    """One analyzer at one target, and how it ended; unless it succeeded, `reason` is the cause and the next action."""

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

    @property
    def key(self) -> Key:
        return (self.source, self.target, self.analyzer)


def end_of(
    item: PlanItem, status: Status, reason: str = "", attempt: Attempt | None = None, *, seconds: float = 0.0
) -> ReportItem:
    """Say how an item of a plan ended; its own warnings come before those of the run."""
    warnings = item.warnings + (attempt.kept + attempt.warnings if attempt else ())
    return ReportItem(
        source=item.source,
        target=item.target,
        analyzer=item.analyzer,
        target_analyzer=item.target_analyzer,
        verdict=item.verdict,
        action=item.action,
        status=status,
        reason=reason,
        seconds=round(seconds, 3),
        attempts=attempt.attempts if attempt else 0,
        operation_id=attempt.receipt.operation_id if attempt and attempt.receipt else "",
        warnings=tuple(dict.fromkeys(warnings)),
    )


class MissedPoint(Document):
    """An analyzer whose copy is further behind than the plan allows."""

    source: str
    target: str
    analyzer: str
    age_seconds: float | None


class ObjectivesReport(Document):
    """The plan's recovery point objective, held against what the run left."""

    rpo_seconds: float | None
    missed: tuple[MissedPoint, ...]


class Report(Document):
    """A whole run; `unseen` says by name why a resource could not be looked at."""

    plan: str
    run_id: str
    via: Via
    seconds: float
    totals: dict[Status, int]
    objectives: ObjectivesReport
    items: tuple[ReportItem, ...]
    unseen: dict[str, str] = Field(default_factory=dict, exclude_if=lambda unseen: not unseen)

    @property
    def complete(self) -> bool:
        """Whether every item is usable at its target, and every resource could be looked at."""
        return not self.unseen and all(item.status in GOOD for item in self.items)

    @property
    def summary(self) -> str:
        return f"Plan {self.plan}: {totals(self.totals)} in {lasting(self.seconds)}."


@dataclass(frozen=True)
class Ended:
    """How a run ended for the one who started it."""

    report: Report
    interrupted: bool = False


def make_report(
    plan: ReplicationPlan, results: Iterable[ReportItem], *, run_id: str, via: Via, seconds: float, now: datetime
) -> Report:
    items = tuple(results)
    return Report(
        plan=plan.recovery_plan.name,
        run_id=run_id,
        via=via,
        seconds=round(seconds, 3),
        totals=count(items),
        objectives=_objectives(plan, items, now),
        items=items,
        unseen=dict(plan.unseen),
    )


def _objectives(plan: ReplicationPlan, results: tuple[ReportItem, ...], now: datetime) -> ObjectivesReport:
    """Name what a run left behind its RPO: what succeeded or was in sync is good as of now."""
    rpo = plan.recovery_plan.objectives.rpo
    points = (
        # A chunk's run planned again: what it found counts.
        _point(replace(item, verdict=result.verdict), now, rpo)
        for item, result in zip(plan.items, results, strict=True)
        if result.status not in GOOD
    )
    late = (point for point in points if point.met is False)
    missed = (MissedPoint(source=it.source, target=it.target, analyzer=it.analyzer, age_seconds=it.age) for it in late)
    return ObjectivesReport(rpo_seconds=rpo.total_seconds() if rpo else None, missed=tuple(missed))


_ACTIONS = {
    Action.COPY: "to copy",
    Action.REPLACE: "to replace",
    Action.COPY_AS_VERSION: "to copy as a version",
    Action.ADOPT: "under way",
    Action.SKIP: "in sync",
    Action.REFUSE: "to leave alone",
}


def plan_totals(plan: ReplicationPlan) -> str:
    """Say what a run would do: "3 to copy, 2 in sync"."""
    counts = Counter(item.action for item in plan.items)
    return totals({_ACTIONS[action]: counts[action] for action in Action}, none="no analyzer is selected")


def drift_totals(plan: ReplicationPlan) -> str:
    """Say what a check found: "5 in sync, 2 source ahead"."""
    elsewhere = "serving elsewhere"
    beside = {item.key for item in plan.items if item.verdict is Verdict.IN_SYNC and not item.is_in_sync}
    counts = Counter(elsewhere if item.key in beside else item.verdict.words for item in plan.items)
    words = {each: counts[each] for each in (*(verdict.words for verdict in Verdict), elsewhere)}
    return totals(words, none="no analyzer is selected")


def rpo_words(points: Sequence[RecoveryPoint], objective: timedelta) -> str:
    """Say how many copies hold the plan's RPO, and which is worst."""
    missed = [point for point in points if not point.met]
    words = f"RPO {format_duration(objective)}: met by {len(points) - len(missed)} of {len(points)}"
    if not missed:
        return f"{words}."
    worst = max(missed, key=lambda point: float("inf") if point.age is None else point.age)
    copied = "never copied" if worst.age is None else f"last copied {roughly(timedelta(seconds=worst.age))} ago"
    return f"{words}; worst is {worst.analyzer} at {worst.target}, {copied}."


_ITEM = TypeAdapter(PlanItem)
_SHOWN = {"source", "target", "analyzer", "target_analyzer", "verdict", "action", "reason", "warnings"}


def plan_document(plan: ReplicationPlan) -> JsonObject:
    """Give a plan as JSON: the items of a report, without what only a run can know."""
    defaults: JsonObject = {target: dict(added) for target, added in plan.added_defaults.items()}
    known: JsonObject = {"plan": plan.recovery_plan.name, "made_at": plan.made_at.isoformat()}
    unseen: JsonObject = {"unseen": dict(plan.unseen)} if plan.unseen else {}
    return {**known, "added_defaults": defaults, "items": [_planned(item) for item in plan.items], **unseen}


def is_in_sync(plan: ReplicationPlan) -> bool:
    """Say whether the targets have what serves; it is unknown of one that could not be looked at."""
    return not plan.unseen and all(item.is_in_sync for item in plan.items)


def unseen_words(unseen: Mapping[str, str]) -> list[str]:
    return [f"{name} could not be read, and everything about it is blocked: {why}" for name, why in unseen.items()]


def drift_document(plan: ReplicationPlan) -> JsonObject:
    """Give what a check found as JSON: a plan's items, with JSON paths that differ and recovery points."""
    rpo = plan.recovery_plan.objectives.rpo
    points = recovery_points(plan)
    return {
        "plan": plan.recovery_plan.name,
        "checked_at": plan.made_at.isoformat(),
        "in_sync": is_in_sync(plan),
        "rpo_seconds": rpo.total_seconds() if rpo else None,
        "items": [
            _planned(item) | {"differences": list(item.differences), "recovery_point": _told(point)}
            for item, point in zip(plan.items, points, strict=True)
        ],
        **({"unseen": dict(plan.unseen)} if plan.unseen else {}),
    }


def _told(point: RecoveryPoint) -> JsonObject:
    verified_at = point.verified_at.isoformat() if point.verified_at else None
    age, changed = point.age, point.source_changed
    return {"verified_at": verified_at, "age_seconds": age, "source_changed": changed, "met": point.met}


def _planned(item: PlanItem) -> JsonObject:
    shown: JsonObject = _ITEM.dump_python(item, mode="json", include=_SHOWN)
    return shown


class Run(Protocol):
    """A run that is ready to start: only a cancellation raises, and its report is true at any moment."""

    async def run(self) -> None: ...
    def report(self, *, run_id: str, via: Via) -> Report: ...


async def run_to_report(run: Run, *, run_id: str, via: Via) -> Ended:
    """Do a run; a cancellation ends it early, with a true report."""
    interrupted = False
    try:
        await run.run()
    except asyncio.CancelledError:
        interrupted = True
    return Ended(run.report(run_id=run_id, via=via), interrupted)
