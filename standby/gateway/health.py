"""What Azure Service Health says of services in whole regions.

https://learn.microsoft.com/azure/service-health/service-health-event-properties and, for the form,
https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-payload-samples (monitoringService
ServiceHealth). Each update of an incident fires an alert of its own: its stage says how things stand. The
list of services and regions is JSON escaped in a text.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field

from standby.document import JsonValue
from standby.gateway.events import Ignored, Notice, Observer, Source
from standby.gateway.reading import Moment, Text, Told, unescaped, validated

RESOURCE_HEALTH = "Resource Health alert"

AVAILABLE = {"available": True, "unavailable": False}
"""Degraded and unknown are neither."""


class ChangeProperties(Told):
    """From which status to which."""

    current: Text = Field(alias="currentHealthStatus")


class Change(Told):
    """The context of a Resource Health alert."""

    at: Moment = Field(alias="eventTimestamp")
    properties: Annotated[ChangeProperties, BeforeValidator(unescaped)]


class AvailabilityProperties(Told):
    """The status of a resource, as Event Grid has it."""

    target: Text = Field(alias="targetResourceId")
    state: Text = Field(alias="availabilityState")
    occurred_at: Moment = Field(alias="occurredTime")


class ResourceInfo(Told):
    """Where Event Grid puts the status."""

    properties: Annotated[AvailabilityProperties, BeforeValidator(unescaped)]


class Availability(Told):
    """The data of an AvailabilityStatusChanged event."""

    info: ResourceInfo = Field(alias="resourceInfo")


def read_change(alert_id: str, resources: tuple[str, ...], context: JsonValue) -> Notice | Ignored:
    """Read the context of an alert.

    Raises:
        Malformed: it is none of Resource Health.
    """
    change = validated(Change, context, RESOURCE_HEALTH)
    return _notice(Source.AZURE_MONITOR, alert_id, change.properties.current, change.at, resources)


def read_availability(event_id: str, data: JsonValue) -> Notice | Ignored:
    """Read the data of an event.

    Raises:
        Malformed: it is none of Resource Health.
    """
    found = validated(Availability, data, "AvailabilityStatusChanged event").info.properties
    return _notice(Source.EVENT_GRID, event_id, found.state, found.occurred_at, (found.target,))


def _notice(source: Source, id: str, state: str, at: datetime, resources: tuple[str, ...]) -> Notice | Ignored:
    healthy = AVAILABLE.get(state.lower())
    if healthy is None:
        return Ignored(f"Resource Health calls the resource {state}, which is neither well nor lost")
    return Notice(
        source=source,
        observer=Observer.RESOURCE_HEALTH,
        id=id,
        state=state,
        healthy=healthy,
        at=at,
        summary=f"Resource Health calls it {state}",
        resources=resources,
    )


SERVICE_HEALTH = "Service Health alert"

SERVICES = frozenset(
    {
        "cognitive services",
        "azure cognitive services",
        "azure ai services",
        "foundry tools",
        "azure foundry tools",
        "content understanding",
        "azure content understanding",
        "azure ai content understanding",
        "azure content understanding in foundry tools",
    }
)
"""Names under which the service has been known. Inferred: Azure renames it without keeping the old names."""

RESOLVED = {"active": False, "resolved": True}
"""Other stages, such as RCA, come after the end."""


class ImpactedRegion(Told):
    """One region."""

    name: Text = Field(alias="RegionName")


class ImpactedService(Told):
    """One service, and where it is impacted."""

    name: Text = Field(alias="ServiceName")
    regions: tuple[ImpactedRegion, ...] = Field(alias="ImpactedRegions")


class IncidentProperties(Told):
    """What happened, where, and how it stands."""

    kind: Text = Field(alias="incidentType")
    stage: Text | None = None
    title: Text | None = None
    tracking_id: Text | None = Field(None, alias="trackingId")
    impacted: Annotated[tuple[ImpactedService, ...], BeforeValidator(unescaped)] = Field(alias="impactedServices")


class Incident(Told):
    """The context of a Service Health alert."""

    at: Moment = Field(alias="eventTimestamp")
    status: Text | None = None
    properties: Annotated[IncidentProperties, BeforeValidator(unescaped)]


def read_incident(alert_id: str, context: JsonValue) -> Notice | Ignored:
    """Read the context of an alert.

    Raises:
        Malformed: it is none of Service Health.
    """
    incident = validated(Incident, context, SERVICE_HEALTH)
    told = incident.properties
    if told.kind.lower() != "incident":
        return Ignored(f"Service Health tells of {told.kind}, which is no incident")
    stage = (told.stage or incident.status or "").lower()
    healthy = RESOLVED.get(stage)
    if healthy is None:
        return Ignored(f"Service Health's incident is at the stage {stage or 'unknown'}")
    regions = tuple(
        dict.fromkeys(
            region.name
            for service in told.impacted
            if " ".join(service.name.lower().split()) in SERVICES
            for region in service.regions
        )
    )
    if not regions:
        return Ignored("Service Health's incident is about other services")
    return Notice(
        source=Source.SERVICE_HEALTH,
        observer=Observer.SERVICE_HEALTH,
        id=alert_id,
        state=stage,
        healthy=healthy,
        at=incident.at,
        summary=f"Service Health incident {told.tracking_id or ''} is {stage}: {told.title or 'untitled'}",
        regions=regions,
    )
