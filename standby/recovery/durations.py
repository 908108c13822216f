"""How long copies, restores, detections and switches really took: what a forecast is made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from standby.config.plan import FailoverPolicy, RecoveryPlan
from standby.document import Document
from standby.vault.documents import read_document
from standby.vault.filesystem import Objects

MOST = 200
"""Measurements of each kind that are kept, the newest ones."""


class Kind(StrEnum):
    """What can be measured.

    A copy and a restore are of one analyzer; detection is from the first sign of an outage to the order to
    fail over; activation is from that order until every sink was told, without the restores.
    """

    COPY = "copy"
    RESTORE = "restore"
    DETECT = "detect"
    ACTIVATE = "activate"


class Durations(Document):
    """Seconds by kind, oldest first."""

    seconds: Mapping[Kind, tuple[float, ...]] = {}

    def of(self, kind: Kind) -> tuple[float, ...]:
        """Give what was measured of one kind."""
        return self.seconds.get(kind, ())


async def read_durations(objects: Objects, plan: str) -> Durations:
    """Read what was measured of a plan; a file that cannot be understood is warned of and counts as none.

    Raises:
        VaultUnavailable: it cannot be told.
    """
    return await read_document(objects, _path(plan), Durations) or Durations()


async def add_durations(objects: Objects, plan: str, kind: Kind, seconds: Iterable[float]) -> None:
    """Add measurements to those of a plan.

    Two runs that add at the same moment may lose one's: that costs a forecast nothing worth a lock.

    Args:
        objects: the vault.
        plan: its name.
        kind: what was measured.
        seconds: what is negative or no number is left out.

    Raises:
        VaultUnavailable: they may or may not have been written.
    """
    measured = tuple(round(each, 3) for each in seconds if math.isfinite(each) and each >= 0)
    if not measured:
        return
    known = await read_durations(objects, plan)
    kept = (*known.of(kind), *measured)[-MOST:]
    content = Durations(seconds={**known.seconds, kind: kept}).model_dump_json(indent=1)
    await objects.write(_path(plan), content.encode())


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
    told: str


def forecast_rto(plan: RecoveryPlan, durations: Durations, to_restore: int, slots: int) -> RtoForecast:
    """Add up detection, restores of what is missing, and the switch itself.

    Args:
        plan: has the objective, and the policy that stands for a detection that was never measured.
        durations: what was measured.
        to_restore: how many analyzers would have to be restored first.
        slots: how many of them at once.

    Returns:
        No seconds where no switch was ever measured, or a restore is needed and neither that nor a copy was.
    """
    parts = [
        _detection(plan.failover, durations),
        _restores(durations, to_restore, slots),
        _switch(durations),
    ]
    known = [part for part in parts if isinstance(part, _Part)]
    objective = plan.objectives.rto.total_seconds() if plan.objectives.rto else None
    if len(known) < len(parts):
        unknown = " ".join(part for part in parts if isinstance(part, str))
        return RtoForecast(low=None, high=None, basis=unknown, objective=objective, met=None)
    low, high = sum(part.low for part in known), sum(part.high for part in known)
    return RtoForecast(
        low=round(low, 1),
        high=round(high, 1),
        basis=" ".join(part.told for part in known if part.told),
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
    told = f"{policy.quorum} probes, {probe:g} s apart"
    return _Part(low, high, f"Detection: {_span(low, high)} by the policy ({told}); never measured.")


def _restores(durations: Durations, to_restore: int, slots: int) -> _Part | str:
    if not to_restore:
        return _Part(0.0, 0.0, "")
    measured, what = durations.of(Kind.RESTORE), "restores"
    if not measured:
        measured, what = durations.of(Kind.COPY), "copies, as no restore was"
    if not measured:
        return f"{to_restore} analyzer(s) would have to be restored, and no restore was ever measured."
    waves = math.ceil(to_restore / max(1, slots))
    low, high = waves * share(measured, OFTEN), waves * share(measured, SELDOM)
    told = f"{to_restore} at most {slots} at once, by {len(measured)} measured {what}"
    return _Part(low, high, f"Restoring what is missing: {_span(low, high)} ({told}).")


def _switch(durations: Durations) -> _Part | str:
    measured = durations.of(Kind.ACTIVATE)
    if not measured:
        return "No switch was ever measured; a drill does."
    low, high = share(measured, OFTEN), share(measured, SELDOM)
    return _Part(low, high, f"Switching: {_span(low, high)}, measured {_times(measured)}.")


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
