"""Measured durations of copies, restores, detections and failovers, and the forecast for a failover."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from standby.config.plan import FailoverPolicy, RecoveryPlan
from standby.document import Document
from standby.errors import sentence
from standby.replication.forecast import Spread, play_often, share
from standby.text import alike, counted, some_of
from standby.vault.documents import Remembered
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
