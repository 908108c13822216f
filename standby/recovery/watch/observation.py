"""What one look at a resource found, with its evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Check(BaseModel):
    """One question that was put to the data plane.

    Attributes:
        name: defaults, listing or analysis.
        ok: whether the service did its work; `None` where that cannot be told, because it refuses us or
            because something on the way to it is wrong.
        detail: what was found, as a sentence without its full stop.
        seconds: what it took, all tries together.
        tries: how often it was asked.
        code: the service's innermost error code, or else the kind of failure; empty where all is well.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    ok: bool | None
    detail: str
    seconds: float = Field(ge=0)
    tries: int = Field(1, ge=0)
    code: str = ""


class Observation(BaseModel):
    """One look at a resource, by one observer.

    Attributes:
        resource: name of the resource.
        observer: who looked; the same one has the same name every time.
        at: when it began, UTC.
        healthy: `None` where it cannot be told: nothing follows from it either way.
        seconds: how long it took.
        summary: the evidence in one line.
    """

    model_config = ConfigDict(frozen=True)

    resource: str
    observer: str
    at: AwareDatetime
    healthy: bool | None
    checks: tuple[Check, ...]
    seconds: float = Field(0.0, ge=0)
    summary: str = ""

    @property
    def ended(self) -> datetime:
        """When it was known."""
        return self.at + timedelta(seconds=self.seconds)


class WatchReport(BaseModel):
    """One look at every resource of a plan."""

    model_config = ConfigDict(frozen=True)

    plan: str
    observations: Mapping[str, Observation]

    @property
    def complete(self) -> bool:
        """Whether every resource is healthy."""
        return all(observation.healthy for observation in self.observations.values())


def observed(
    resource: str, observer: str, at: datetime, seconds: float, checks: Sequence[Check]
) -> Observation:
    """Make one observation of several checks.

    One that fails is enough: applications need all of what is asked. Where none fails and one cannot be told,
    nothing is said.

    Args:
        resource: name of the resource.
        observer: who looked.
        at: when it began, UTC.
        seconds: how long it took.
        checks: at least one.
    """
    answers = [check.ok for check in checks]
    healthy = False if False in answers else None if None in answers else True
    telling = [check for check in checks if check.ok is healthy] if not healthy else list(checks)
    return Observation(
        resource=resource,
        observer=observer,
        at=at,
        healthy=healthy,
        checks=tuple(checks),
        seconds=seconds,
        summary="; ".join(f"{check.name}: {check.detail} ({check.seconds:.1f} s)" for check in telling),
    )
