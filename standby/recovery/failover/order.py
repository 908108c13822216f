"""What a failover is asked to do, and what may be done against a guard."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

SINKS = "sinks"
"""Go on without a sink that cannot be told, or past one that was told a higher epoch."""

SYNC = "sync"
"""Go on although the last sync left something behind."""

READINESS = "readiness"
"""Go on to a side that is not ready."""

REPLICATION = "replication"
"""Go on although a replication that began earlier is still at work."""

FORCEABLE = (READINESS, REPLICATION, SINKS, SYNC)
"""What a switch itself can be forced past; the guards of the decision come on top."""


@dataclass(frozen=True)
class FailoverOrder:
    """Which side is to serve, and why.

    Attributes:
        home: the source that serves in ordinary times.
        to: the resource that is to serve in its place.
        planned: the side that serves now still answers: what it holds is synchronised first.
        reason: for people.
        forced: guards that are passed all the same.
        decision_id: of the recorded decision that this follows from.
        detected_at: when the outage counted as one, UTC.
        unhealthy_since: when it began, as far as it was seen.
        epoch: of the fence that this was decided by; `None` where whoever gives the order holds what it
            depends on.
    """

    home: str
    to: str
    planned: bool
    reason: str = ""
    forced: frozenset[str] = frozenset()
    decision_id: str = ""
    detected_at: datetime | None = None
    unhealthy_since: datetime | None = None
    epoch: int | None = None
