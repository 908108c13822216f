"""What runs, drills and failovers left: how they ended, how long things took, and the forecast for a failover.

The ledger says what was copied. But an analyzer that does not change for months is copied once and found in sync by
every later run, which only the record of the last runs says. It also has the id at the primary that a copy belongs to.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pydantic import AwareDatetime, Field

from standby.config.plan import FailoverPolicy, RecoveryPlan
from standby.document import Document
from standby.errors import sentence
from standby.replication.items import GOOD, Selection, Status
from standby.replication.pacing import Spread, play_often, share
from standby.replication.report import Report, ReportItem
from standby.replication.verdict import COPYING, Verdict
from standby.service.models import NAMELESS
from standby.text import alike, counted, some_of
from standby.vault.documents import Remembered
from standby.vault.errors import VaultError
from standby.vault.storage import Storage

MOST = 200  # Measurements of each kind that are kept, the newest ones


class Kind(StrEnum):
    """What can be measured.

    A copy and a restore are of one analyzer. Detection is from the middle between the last healthy look and the first
    that failed to the decision to fail over, or to propose it; an order is none. Activation is from that decision,
    its approval or the order until the map is published to every sink, without the builds of a restore and without
    the sync of a planned failover.
    """

    COPY = "copy"
    RESTORE = "restore"
    DETECT = "detect"
    ACTIVATE = "activate"


class Durations(Remembered):
    """Seconds by kind, oldest first."""

    place = "durations/{plan}.json"

    seconds: Mapping[Kind, tuple[float, ...]] = {}

    def of(self, kind: Kind) -> tuple[float, ...]:
        return self.seconds.get(kind, ())


async def add_durations(storage: Storage, plan: str, seconds: Mapping[Kind, Iterable[float]]) -> None:
    """Add measurements to those of a plan; a negative or infinite one is left out."""
    valid = {kind: [each for each in found if math.isfinite(each) and each >= 0] for kind, found in seconds.items()}
    measured = {kind: tuple(round(each, 3) for each in found) for kind, found in valid.items()}
    if not any(measured.values()):
        return

    def add(known: Durations) -> Durations:
        added = {kind: (*known.of(kind), *new)[-MOST:] for kind, new in measured.items() if new}
        return Durations(seconds={**known.seconds, **added})

    await Durations.change(storage, plan, add)


@dataclass(frozen=True)
class Restoring:
    """What a failover would have to do about what its target lacks, by id at the primary."""

    # What each analyzer that can be restored waits for.
    needs: Mapping[str, Collection[str]] = field(default_factory=dict)
    # Why an analyzer cannot be recovered, a sentence without its full stop.
    lost: Mapping[str, str] = field(default_factory=dict)
    unknown: str = ""  # why it is unknown what can be restored; empty where that is known
    slots: int = 1  # how many are restored at the same time
    seen_at: datetime | None = None  # when the snapshot saw them; `None` where nothing is restored


@dataclass(frozen=True)
class Part:
    low: float
    spread: Spread
    words: str


def forecast_rto(plan: RecoveryPlan, durations: Durations, restoring: Restoring) -> RtoForecast:
    """Add up detection, restores of what is missing, and the failover itself; no approval is part of it."""
    # There are no seconds where a part was never measured, and none where something cannot be recovered.
    unmeasured = "Not known yet: no failover was measured; a drill measures one."
    itself = _measured("Failover", measured) if (measured := durations.of(Kind.ACTIVATE)) else unmeasured
    parts = [_detection(plan.failover, durations), _restores(durations, restoring), itself]
    known = [part for part in parts if isinstance(part, Part)]
    objective = plan.objectives.rto.total_seconds() if plan.objectives.rto else None
    words = [part for part in parts if isinstance(part, str)] or [part.words for part in known if part.words]
    if len(known) == len(parts) and not plan.failover.automatic:
        words.append("The time until somebody approves the failover is added to this.")
    if len(known) < len(parts) or restoring.lost:
        lost = tuple(restoring.lost)
        basis = " ".join((*_lost_words(restoring), *words))
        return RtoForecast(low=None, high=None, basis=basis, objective=objective, met=None, lost=lost)
    high = sum(part.spread.high for part in known)
    return RtoForecast(
        low=round(sum(part.low for part in known), 1),
        median=round(sum(part.spread.median for part in known), 1),
        high=round(high, 1),
        basis=" ".join(words),
        objective=objective,
        met=None if objective is None else high <= objective,
    )


def _lost_words(restoring: Restoring) -> list[str]:
    said = alike(("", name, sentence(why)) for name, why in restoring.lost.items())
    words = [f"{some_of(names)} cannot be recovered: {why}" for names, why in said[:MOST_NAMED]]
    if others := sum(len(names) for names, _ in said[MOST_NAMED:]):
        words.append(f"Nor can {counted(others, 'other analyzer')}.")
    return [*words, "For the rest:"] if words else []


MOST_NAMED = 5  # Reasons why analyzers cannot be recovered that are told
OFTEN = 0.1  # Share of the measurements that were faster than the low end of a forecast


def _detection(policy: FailoverPolicy, durations: Durations) -> Part:
    if measured := durations.of(Kind.DETECT):
        return _measured("Detection", measured)
    # An outage begins anywhere between two probes.
    probe, low = policy.probe_every.total_seconds(), policy.proof.total_seconds()
    rule = f"an outage of {low:g} s, probed every {probe:g} s"
    words = f"Detection: {low:g} to {low + probe:g} s by the policy ({rule}); not measured yet."
    return Part(low, Spread(low + probe / 2, low + probe), words)


def _restores(durations: Durations, restoring: Restoring) -> Part | str:
    if restoring.unknown:
        return sentence(f"It is unknown what can be restored, nor how long that takes: {restoring.unknown}")
    if not restoring.needs:
        return Part(0.0, Spread(0.0, 0.0), "")
    found = forecast_restores(durations, restoring.needs, restoring.slots)
    if isinstance(found, str):
        return found
    return Part(found.low, found.spread, f"Restoring what is missing: {found.words}.")


def forecast_restores(durations: Durations, needs: Mapping[str, Collection[str]], slots: int) -> Part | str:
    """Forecast builds, with needs and slots as in `Restoring`; a sentence where that is not known yet."""
    what = counted(len(needs), "analyzer")
    measured, kind = durations.of(Kind.RESTORE), "restores"
    if not measured:
        measured, kind = durations.of(Kind.COPY), "copies, because no restore was measured yet"
    if not measured:
        return f"Not known yet: {what} must be restored first, and no restore was measured."
    played = play_often(needs, slots, measured)
    spread = Spread.of(played)
    basis = f"{what}, {slots} at a time, children first, from {len(measured)} measured {kind}"
    return Part(share(played, OFTEN), spread, f"{spread} ({basis})")


def _measured(what: str, measured: Sequence[float]) -> Part:
    spread = Spread.of(measured)
    times = "once" if len(measured) == 1 else f"{len(measured)} times"
    return Part(share(measured, OFTEN), spread, f"{what}: {spread}, measured {times}.")


class RtoForecast(Document):
    """How long a failover would take since the outage began; nobody is waited for to approve it."""

    # Seconds, where everything is as fast as in the fastest tenth; `None` where something was not measured, or cannot
    # be recovered.
    low: float | None
    median: float | None = None  # seconds, where everything takes as long as it usually does; `None` as above
    high: float | None  # seconds, where everything is as slow as in the slowest tenth; `None` as above
    basis: str  # what it is made from, sentences
    objective: float | None  # the plan's RTO in seconds, where it has one
    met: bool | None  # whether even `high` is within it; `None` where one of the two is unknown
    lost: tuple[str, ...] = ()  # ids at the primary of what cannot be recovered: for that there is no RTO


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
