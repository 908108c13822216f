"""Records of the last replication runs and drills, for when the source does not answer.

The ledger says what was copied. But an analyzer that does not change for months is copied once and found in sync by
every later run, which only this file says. It also has the id at the primary that a copy belongs to.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

from pydantic import AwareDatetime, Field

from standby.document import Document
from standby.recovery.durations import Kind, add_durations
from standby.replication.items import GOOD, Selection, Status
from standby.replication.report import Report, ReportItem
from standby.replication.verdict import COPYING, Verdict
from standby.service.models import NAMELESS
from standby.vault.documents import Remembered
from standby.vault.errors import VaultError
from standby.vault.storage import Storage

log = logging.getLogger("standby.recovery")

EVERYTHING = ("*",)  # The patterns of a run that goes through the whole plan


class AnalyzerRun(Document):
    """How a run left one analyzer."""

    target_analyzer: str
    at: AwareDatetime  # when the run looked at the source, UTC
    behind: bool  # whether the source had something that the target still lacked


class PairRun(Document):
    """How the last runs left one pair."""

    # When the last run that went through all that the plan protects looked at the source, UTC: what it did not have did
    # not exist then. `None` where every run was for some analyzers only.
    listed_at: AwareDatetime | None = None
    analyzers: Mapping[str, AnalyzerRun] = {}


class LastRuns(Remembered):
    """How the last runs left each pair, by source and target."""

    place = "readiness/{plan}.json"

    sources: Mapping[str, Mapping[str, PairRun]] = {}

    def of(self, source: str, target: str) -> PairRun:
        return self.sources.get(source, {}).get(target, PairRun())


async def remember_run(storage: Storage, report: Report, selection: Selection, seen_at: datetime) -> None:
    """Record what a replication run left, and how long its copies took; a vault that fails is only warned of.

    It counts from when it looked at the source, and not from its end: what was edited meanwhile it has not seen.
    """
    # Of a pair that could not be looked at, the last run that did look is the one to know.
    listed = [item for item in report.items if report.unseen.keys().isdisjoint((item.source, item.target))]
    copied = (item.seconds for item in report.items if item.status is Status.SUCCEEDED and item.action in COPYING)
    try:
        await LastRuns.change(storage, report.plan, lambda known: _with(known, listed, selection, seen_at))
        await add_durations(storage, report.plan, {Kind.COPY: copied})
    except VaultError as error:
        log.warning("This run is not recorded for readiness, because the vault could not be written: %s", error)


def _with(known: LastRuns, items: Iterable[ReportItem], selection: Selection, at: datetime) -> LastRuns:
    by_pair: dict[tuple[str, str], dict[str, AnalyzerRun]] = {}
    partly: set[tuple[str, str]] = set()  # what was listed has something without a name, which may be any of the others
    for item in items:
        if item.analyzer.startswith(NAMELESS):
            partly.add((item.source, item.target))
            continue
        # A target that alone was edited is not behind; that is seen at the target itself.
        behind = item.status not in GOOD and item.verdict is not Verdict.TARGET_AHEAD
        left = AnalyzerRun(target_analyzer=item.target_analyzer, at=at, behind=behind)
        by_pair.setdefault((item.source, item.target), {})[item.analyzer] = left
    sources = {source: dict(targets) for source, targets in known.sources.items()}
    for (source, target), found in by_pair.items():
        before = known.of(source, target)
        sources.setdefault(source, {})[target] = (
            PairRun(listed_at=at, analyzers=found)
            if selection.analyzers == EVERYTHING and (source, target) not in partly
            else PairRun(listed_at=before.listed_at, analyzers={**before.analyzers, **found})
        )
    return LastRuns(sources=sources)


class DrillSummary(Document):
    run_id: str
    ended_at: AwareDatetime  # when its clean-up was proven, or given up, UTC
    target: str
    passed: bool
    seconds: float
    recovery_seconds: float | None  # how long a failover would have taken; `None` where it did not get so far
    reason: str
    primary: str = Field("", alias="home")  # the one whose loss was simulated; empty where an older drill does not say


class LatestDrills(Remembered):
    """The last drill of each target of a plan, by the name of the target."""

    place = "drills/{plan}/latest.json"

    drills: dict[str, DrillSummary] = Field(default_factory=dict)

    def after(self, drill: DrillSummary) -> LatestDrills:
        return LatestDrills(drills={**self.drills, drill.target: drill})

    def at(self, target: str) -> DrillSummary | None:
        return self.drills.get(target)

    @property
    def newest(self) -> DrillSummary | None:
        return max(self.drills.values(), key=lambda drill: drill.ended_at, default=None)
