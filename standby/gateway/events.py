"""Prefect events of what alerts say of configured resources; they have the form of the watch's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from pydantic import AwareDatetime, BaseModel, ConfigDict

from standby.config.plan import RecoveryPlan
from standby.gateway.notice import Ignored, Notice
from standby.gateway.sides import Serving
from standby.recovery.watch.observation import Check, Observation
from standby.service.models import JsonValue
from standby.service.resource import Resource
from standby.service.scrubbing import one_line

NAMESPACE = UUID("5d0c8f6e-6f0b-4d0f-9a51-7b3f4a1f5a86")
"""Of the ids of events, so that an alert has the same one after a restart too."""

OLDEST = timedelta(days=1)
"""Age at which an alert says nothing of how things are, and is not known as a duplicate any more."""


class Event(BaseModel):
    """An event as `POST /events` of Prefect 3 takes it."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    occurred: AwareDatetime
    event: str
    resource: Mapping[str, str]
    related: tuple[Mapping[str, str], ...]
    payload: Mapping[str, JsonValue]


def concerned(notice: Notice, resources: Iterable[Resource], now: datetime) -> tuple[Resource, ...] | Ignored:
    """Find the configured resources that a notice is about."""
    if now - notice.at > OLDEST:
        return Ignored(f"It is of {notice.at:%Y-%m-%d %H:%M} UTC, more than a day ago")
    ids = {each.rstrip("/").lower() for each in notice.resources}
    regions = {_plain(each) for each in notice.regions}
    found = tuple(
        each for each in resources if each.resource_id.lower() in ids or _plain(each.region) in regions
    )
    if found:
        return found
    about = ", ".join((*notice.resources, *notice.regions)) or "nothing"
    return Ignored(f"No resource of the configuration is meant: it is about {about}")


def event_of(
    notice: Notice, resource: str, plans: Iterable[RecoveryPlan], serving: Serving, now: datetime
) -> Event:
    """Make the event that says of one resource what a notice says.

    Args:
        notice: what was told.
        resource: name of the resource.
        plans: of the configuration.
        serving: the resources that serve in each of them.
        now: the time, UTC.
    """
    summary = one_line(notice.summary)
    observation = Observation(
        resource=resource,
        observer=notice.observer.value,
        # Whose clock is ahead saw it now, not later.
        at=min(notice.at, now),
        healthy=notice.healthy,
        checks=(Check(name=notice.observer.value, ok=notice.healthy, detail=summary, seconds=0.0),),
        summary=summary,
    )
    return Event(
        id=uuid5(NAMESPACE, f"{notice.key}|{resource}"),
        # Triggers count what comes within a time, and alerts come minutes late: this is when it was told.
        occurred=now,
        event=f"content-understanding.resource.{'healthy' if notice.healthy else 'unhealthy'}",
        resource={
            "prefect.resource.id": f"content-understanding.resource.{resource}",
            "prefect.resource.name": resource,
        },
        related=tuple(
            {
                "prefect.resource.id": f"standby.plan.{plan.name}",
                "prefect.resource.role": "served-by" if resource in serving[plan.name] else "standby-of",
            }
            for plan in plans
            if resource in plan.resources
        ),
        payload={**observation.model_dump(mode="json"), "source": notice.source.value},
    )


def _plain(region: str) -> str:
    """Bring `East US` and `eastus` to one form."""
    return "".join(char for char in region.lower() if char.isalnum())
