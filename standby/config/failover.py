"""When a plan may fail over, and who decides it."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from standby.config.durations import Duration
from standby.config.names import Name
from standby.config.strict import Strict


class FailoverPolicy(Strict):
    """The guards of a failover that an outage asks for."""

    automatic: bool = Field(
        False, description="Fail over without asking; otherwise it is proposed and waits for approval."
    )
    prefer: tuple[Name, ...] = Field(
        (), description="Targets in the order of preference; the plan's own order if left out."
    )
    probe_every: Duration = Field(
        timedelta(seconds=30), description="Time between two probes of a resource, as the watch is scheduled."
    )
    quorum: int = Field(
        3, ge=1, le=20, description="Unhealthy observations in a row, one per observer and probe period."
    )
    # An outage may begin just after a probe, and is to be detected within three probe periods all the same:
    # one passes until it is seen; two are left for this, the last probe and an uneven schedule.
    minimum_outage: Duration = Field(
        timedelta(seconds=50), description="How long an outage must have lasted before anything is done."
    )
    cool_down: Duration = Field(timedelta(hours=1), description="Time that must lie between two failovers.")
    staleness: Duration = Field(
        timedelta(days=7),
        description="A copy this old, of a source that has changed, forbids it.",
    )
    approval_timeout: Duration = Field(
        timedelta(minutes=30), description="How long a proposal waits for its approval."
    )


class SnapshotPolicy(Strict):
    """How many snapshots of a plan are kept."""

    keep: int = Field(30, ge=1, le=1000, description="Newest snapshots that are always kept.")
    keep_for: Duration = Field(
        timedelta(days=90), description="Age up to which snapshots beyond that number are kept too."
    )
