"""What the last replication runs left at the targets: what is still known when the source is dark.

The ledger says what was copied; an analyzer that did not change for months is copied once and found in sync
ever after, which only the reports of those runs say. They also say which id at home a copy belongs to.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from standby.recovery.readiness.durations import Kind, add_durations
from standby.replication.actions import COPYING
from standby.replication.planned import Selection
from standby.replication.report import Report, ReportItem
from standby.replication.results import GOOD, Status
from standby.replication.verdict import Verdict
from standby.vault.errors import VaultError
from standby.vault.filesystem import Objects
from standby.vault.knowledge import read_knowledge

log = logging.getLogger("standby.recovery")

EVERYTHING = ("*",)
"""The patterns of a run that chooses nothing."""


class Left(BaseModel):
    """How a run left one analyzer.

    Attributes:
        target_analyzer: id at the target.
        at: when the run ended, UTC.
        behind: whether the source had something that the target still lacked.
    """

    model_config = ConfigDict(frozen=True)

    target_analyzer: str
    at: AwareDatetime
    behind: bool


class PairLeft(BaseModel):
    """How the last runs left one pair.

    Attributes:
        listed_at: when a run ended that went through all that the plan protects, UTC: what it did not have
            was not there any more. `None` where every run chose.
        analyzers: by id at the source.
    """

    model_config = ConfigDict(frozen=True)

    listed_at: AwareDatetime | None = None
    analyzers: Mapping[str, Left] = {}


class LastRuns(BaseModel):
    """How the last runs left each pair, by source and target."""

    model_config = ConfigDict(frozen=True)

    sources: Mapping[str, Mapping[str, PairLeft]] = {}

    def of(self, source: str, target: str) -> PairLeft:
        """Give what is known of one pair."""
        return self.sources.get(source, {}).get(target, PairLeft())


async def read_last_runs(objects: Objects, plan: str) -> LastRuns:
    """Read what the last runs left; a file that cannot be understood is warned of and counts as none.

    Raises:
        VaultUnavailable: it cannot be told.
    """
    return await read_knowledge(objects, _path(plan), LastRuns)


async def remember_run(objects: Objects, report: Report, selection: Selection, ended_at: datetime) -> None:
    """Keep what a replication run left, and how long its copies took; a vault that fails is only warned of.

    Args:
        objects: the vault.
        report: of the run.
        selection: what of the plan it was asked for.
        ended_at: UTC.
    """
    copied = (
        item.seconds for item in report.items if item.status is Status.SUCCEEDED and item.action in COPYING
    )
    try:
        known = await read_last_runs(objects, report.plan)
        content = _with(known, report.items, selection, ended_at).model_dump_json()
        await objects.write(_path(report.plan), content.encode())
        await add_durations(objects, report.plan, Kind.COPY, copied)
    except VaultError as error:
        log.warning("What this run left is not remembered, which readiness would tell by: %s", error)


def _with(known: LastRuns, items: Iterable[ReportItem], selection: Selection, at: datetime) -> LastRuns:
    by_pair: dict[tuple[str, str], dict[str, Left]] = {}
    for item in items:
        # A target that alone was edited is not behind; it is told from the target itself.
        behind = item.status not in GOOD and item.verdict is not Verdict.TARGET_AHEAD
        left = Left(target_analyzer=item.target_analyzer, at=at, behind=behind)
        by_pair.setdefault((item.source, item.target), {})[item.analyzer] = left
    sources = {source: dict(targets) for source, targets in known.sources.items()}
    for (source, target), found in by_pair.items():
        before = known.of(source, target)
        sources.setdefault(source, {})[target] = (
            PairLeft(listed_at=at, analyzers=found)
            if selection.analyzers == EVERYTHING
            else PairLeft(listed_at=before.listed_at, analyzers={**before.analyzers, **found})
        )
    return LastRuns(sources=sources)


def _path(plan: str) -> str:
    return f"readiness/{plan}.json"
