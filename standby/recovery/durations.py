"""Measured durations of copies, restores, detections and failovers, and the forecast for a failover."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from standby.config.plan import FailoverPolicy, RecoveryPlan
from standby.document import Document
from standby.text import counted
from standby.vault.documents import Stored, change_document, read_document
from standby.vault.storage import Storage

MOST = 200
"""Measurements of each kind that are kept, the newest ones."""


class Kind(StrEnum):
    """What can be measured.

    A copy and a restore are of one analyzer. Detection is from the first sign of an outage to the decision to
    fail over; activation is from that decision until the map is published to every sink, without the restores.
    """

    COPY = "copy"
    RESTORE = "restore"
    DETECT = "detect"
    ACTIVATE = "activate"


class Durations(Stored):
    """Seconds by kind, oldest first."""

    seconds: Mapping[Kind, tuple[float, ...]] = {}

    def of(self, kind: Kind) -> tuple[float, ...]:
        """Give what was measured of one kind."""
        return self.seconds.get(kind, ())


async def read_durations(storage: Storage, plan: str) -> Durations:
    """Read what was measured; a file that cannot be understood is warned of and counts as none."""
    return await read_document(storage, _path(plan), Durations) or Durations()


async def add_durations(storage: Storage, plan: str, seconds: Mapping[Kind, Iterable[float]]) -> None:
    """Add measurements to those of a plan; a negative or infinite one is left out."""
    measured = {
        kind: tuple(round(each, 3) for each in found if math.isfinite(each) and each >= 0)
        for kind, found in seconds.items()
    }
    if not any(measured.values()):
        return

    def add(found: Durations | None) -> Durations:
        known = found or Durations()
        added = {kind: (*known.of(kind), *new)[-MOST:] for kind, new in measured.items() if new}
        return Durations(seconds={**known.seconds, **added})

    await change_document(storage, _path(plan), Durations, add)


def _path(plan: str) -> str:
    return f"durations/{plan}.json"


OFTEN = 0.1
"""Share of the measurements that were faster than the low end of a forecast."""

SELDOM = 0.9
"""Share of the measurements that were faster than the high end of a forecast."""


@dataclass(frozen=True)
class _Part:
    low: float
    high: float
    words: str


def forecast_rto(plan: RecoveryPlan, durations: Durations, to_restore: int, slots: int) -> RtoForecast:
    """Add up detection, restores of what is missing, and the failover itself.

    Args:
        to_restore: how many analyzers would have to be restored first.
        slots: how many of them are restored at the same time.

    Returns:
        No seconds where no failover was measured, or a restore is needed and neither restores nor copies were.
    """
    parts = [_detection(plan.failover, durations), _restores(durations, to_restore, slots), _switch(durations)]
    known = [part for part in parts if isinstance(part, _Part)]
    objective = plan.objectives.rto.total_seconds() if plan.objectives.rto else None
    if len(known) < len(parts):
        unknown = " ".join(part for part in parts if isinstance(part, str))
        return RtoForecast(low=None, high=None, basis=unknown, objective=objective, met=None)
    low, high = sum(part.low for part in known), sum(part.high for part in known)
    return RtoForecast(
        low=round(low, 1),
        high=round(high, 1),
        basis=" ".join(part.words for part in known if part.words),
        objective=objective,
        met=None if objective is None else high <= objective,
    )


def share(measured: Sequence[float], part: float) -> float:
    """Give the measurement that a part of all are not above."""
    ordered = sorted(measured)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _detection(policy: FailoverPolicy, durations: Durations) -> _Part:
    if measured := durations.of(Kind.DETECT):
        low, high = share(measured, OFTEN), share(measured, SELDOM)
        return _Part(low, high, f"Detection: {_span(low, high)}, measured {_times(measured)}.")
    probe, least = policy.probe_every.total_seconds(), policy.minimum_outage.total_seconds()
    low, high = max((policy.quorum - 1) * probe, least), max(policy.quorum * probe, least + probe)
    rule = f"{policy.quorum} probes, {probe:g} s apart"
    return _Part(low, high, f"Detection: {_span(low, high)} by the policy ({rule}); not measured yet.")


def _restores(durations: Durations, to_restore: int, slots: int) -> _Part | str:
    if not to_restore:
        return _Part(0.0, 0.0, "")
    measured, what = durations.of(Kind.RESTORE), "restores"
    if not measured:
        measured, what = durations.of(Kind.COPY), "copies, because no restore was measured yet"
    if not measured:
        return f"{counted(to_restore, 'analyzer')} must be restored first, and no restore was measured yet."
    waves = math.ceil(to_restore / max(1, slots))
    low, high = waves * share(measured, OFTEN), waves * share(measured, SELDOM)
    basis = f"{counted(to_restore, 'analyzer')}, {slots} at a time, from {len(measured)} measured {what}"
    return _Part(low, high, f"Restoring what is missing: {_span(low, high)} ({basis}).")


def _switch(durations: Durations) -> _Part | str:
    measured = durations.of(Kind.ACTIVATE)
    if not measured:
        return "No failover was measured yet; a drill measures one."
    low, high = share(measured, OFTEN), share(measured, SELDOM)
    return _Part(low, high, f"Failover: {_span(low, high)}, measured {_times(measured)}.")


def _times(measured: Sequence[float]) -> str:
    return "once" if len(measured) == 1 else f"{len(measured)} times"


def _span(low: float, high: float) -> str:
    shortest, longest = f"{low:.1f}".removesuffix(".0"), f"{high:.1f}".removesuffix(".0")
    return f"{longest} s" if shortest == longest else f"{shortest} to {longest} s"


class RtoForecast(Document):
    """How long a failover would take, from the first sign of an outage.

    Attributes:
        low: seconds, where everything goes as fast as it often did; `None` where nothing was measured.
        high: seconds, where everything is as slow as it seldom was; likewise.
        basis: what it is made from, sentences.
        objective: the plan's RTO in seconds, where it has one.
        met: whether even `high` is within it; `None` where one of the two is unknown.
    """

    low: float | None
    high: float | None
    basis: str
    objective: float | None
    met: bool | None
