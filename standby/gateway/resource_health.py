"""What Azure Resource Health says of one resource, by an alert or through Event Grid.

https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-payload-samples (monitoringService
ResourceHealth) and https://learn.microsoft.com/azure/event-grid/event-schema-health-resources. Its alerts
come from the activity log, so each change fires one of its own: that it fired says nothing, the status does.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field

from standby.gateway.notice import Ignored, Notice, Observer, Source
from standby.gateway.reading import Moment, Text, Told, unescaped, validated
from standby.service.models import JsonValue

WHAT = "Resource Health alert"

WELL = {"available": True, "unavailable": False}
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
    change = validated(Change, context, WHAT)
    return _notice(Source.AZURE_MONITOR, alert_id, change.properties.current, change.at, resources)


def read_availability(event_id: str, data: JsonValue) -> Notice | Ignored:
    """Read the data of an event.

    Raises:
        Malformed: it is none of Resource Health.
    """
    found = validated(Availability, data, "AvailabilityStatusChanged event").info.properties
    return _notice(Source.EVENT_GRID, event_id, found.state, found.occurred_at, (found.target,))


def _notice(
    source: Source, id: str, state: str, at: datetime, resources: tuple[str, ...]
) -> Notice | Ignored:
    healthy = WELL.get(state.lower())
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
