"""An alert about configured resources, and the Prefect event made of it, like the events of the watch."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid5

from pydantic import AwareDatetime

from standby.config.plan import RecoveryPlan
from standby.config.resource import Resource, plain_region
from standby.document import Document, JsonValue
from standby.errors import StandbyError
from standby.fencing import read_fence
from standby.recovery.probe import Check, Observation
from standby.service.redaction import one_line
from standby.vault.storage import Storage


class Source(StrEnum):
    """The way by which an alert came here."""

    AZURE_MONITOR = "azure-monitor"
    SERVICE_HEALTH = "service-health"
    EVENT_GRID = "event-grid"


class Observer(StrEnum):
    """Who saw what an alert says.

    Resource Health reports by action groups and by Event Grid; that makes it no second observer.
    """

    ALERT_RULE = "azure-monitor"
    RESOURCE_HEALTH = "resource-health"
    SERVICE_HEALTH = "service-health"


@dataclass(frozen=True)
class Notice:
    """That some resources are healthy, or are not."""

    source: Source
    observer: Observer
    id: str  # of the alert or event, as its sender gave it
    state: str  # what it says, in the sender's word
    healthy: bool
    at: datetime
    summary: str  # for people; not yet fit to be shown
    resources: tuple[str, ...] = ()  # the Azure resource ids that it is about
    regions: tuple[str, ...] = ()  # regions of which it is about every resource, as Azure writes them

    @property
    def key(self) -> str:
        """The same for each delivery of it, and for nothing else: an alert may fire again under its id."""
        at = self.at.astimezone(UTC).isoformat()
        return "|".join((self.source, self.id.lower(), self.state.lower(), at))


@dataclass(frozen=True)
class Ignored:
    """A valid delivery that says nothing about the health of a resource."""

    reason: str


AVAILABLE = {"available": True, "unavailable": False}  # Degraded and unknown are neither


def resource_health(source: Source, id: str, state: str, at: datetime, resources: tuple[str, ...]) -> Notice | Ignored:
    """Make the notice of what Resource Health says, by whichever way it came."""
    healthy = AVAILABLE.get(state.lower())
    if healthy is None:
        return Ignored(f"Resource Health reports the resource as {state}, which is neither Available nor Unavailable")
    return Notice(
        source=source,
        observer=Observer.RESOURCE_HEALTH,
        id=id,
        state=state,
        healthy=healthy,
        at=at,
        summary=f"Resource Health reports it as {state}",
        resources=resources,
    )


log = logging.getLogger("standby.gateway")

FENCES_SECONDS = 2.0
"""Seconds in which all fences must have been read: an alert is passed on without them rather than late."""

Serving = Mapping[str, frozenset[str]]  # The resources that serve, by the name of the plan


async def read_serving(plans: Iterable[RecoveryPlan], vault: Storage | None) -> Serving:
    """Read which resources serve in each plan; where the fence cannot be read, the sources are assumed to."""
    # The evaluation reads the fence again: this only decides which automation receives an event.
    found = {plan.name: frozenset(pair.source for pair in plan.pairs) for plan in plans}
    if vault is None:
        return found
    try:
        async with asyncio.timeout(FENCES_SECONDS):
            for plan in plans:
                try:
                    fence = await read_fence(vault, plan)
                except StandbyError as error:
                    log.warning("The sources of %s are assumed to serve: %s", plan.name, error)
                else:
                    found[plan.name] = frozenset(assignment.active for assignment in fence.assignments.values())
    except TimeoutError:
        log.warning("The vault does not answer, so the sources of all plans are assumed to serve")
    return found


NAMESPACE = UUID("5d0c8f6e-6f0b-4d0f-9a51-7b3f4a1f5a86")
"""Of the ids of events, so that an alert has the same one after a restart too."""

OLDEST = timedelta(days=1)
"""Age from which an alert says nothing about the present, and duplicates of it are no longer known."""


class Event(Document):
    """An event as `POST /events` of Prefect 3 takes it."""

    id: UUID
    occurred: AwareDatetime
    event: str
    resource: Mapping[str, str]
    related: tuple[Mapping[str, str], ...]
    payload: Mapping[str, JsonValue]


def concerned(notice: Notice, resources: Iterable[Resource], now: datetime) -> tuple[Resource, ...] | Ignored:
    if now - notice.at > OLDEST:
        return Ignored(f"It is from {notice.at:%Y-%m-%d %H:%M} UTC, more than a day ago")
    ids = {each.rstrip("/").lower() for each in notice.resources}
    regions = set(map(plain_region, notice.regions))
    found = tuple(each for each in resources if each.resource_id.lower() in ids or each.region in regions)
    if found:
        return found
    about = ", ".join((*notice.resources, *notice.regions)) or "no resource"
    return Ignored(f"It is about {about}, and about none of the configuration")


def event_of(notice: Notice, resource: str, plans: Iterable[RecoveryPlan], serving: Serving, now: datetime) -> Event:
    summary = one_line(notice.summary)
    observation = Observation(
        resource=resource,
        observer=notice.observer.value,
        # When it was received: what it says of its own time may be wrong, and is minutes ago.
        at=now,
        healthy=notice.healthy,
        checks=(Check(name=notice.observer.value, ok=notice.healthy, detail=summary, seconds=0.0),),
        summary=summary,
        alert=True,
    )
    return Event(
        id=uuid5(NAMESPACE, f"{notice.key}|{resource}"),
        # Triggers count what comes within a time, and alerts come minutes late: this is when it arrived.
        occurred=now,
        event=f"content-understanding.resource.{observation.health}",
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
        payload={
            **observation.model_dump(mode="json"),
            "source": notice.source.value,
            "claimed_at": notice.at.isoformat(),
            "severity": "info" if notice.healthy else "warning",
        },
    )
