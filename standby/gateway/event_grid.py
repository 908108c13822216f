"""Deliveries of Event Grid, in its own schema and as CloudEvents.

https://learn.microsoft.com/azure/event-grid/event-schema and cloud-event-schema for the form,
https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema and
end-point-validation-cloud-events-schema for the two ways in which Event Grid asks whether it may deliver.
"""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from standby.document import JsonValue
from standby.gateway.body import Moment, Part, Text, unescaped, validated
from standby.gateway.errors import Malformed
from standby.gateway.notice import Ignored, Notice, Source, resource_health

WHAT = "delivery of Event Grid"
VALIDATION = "Microsoft.EventGrid.SubscriptionValidationEvent"
AVAILABILITY = "Microsoft.ResourceNotifications.HealthResources.AvailabilityStatusChanged"
MOST_EVENTS = 1000  # Events in one delivery; Event Grid sends no more than 5,000, and one by default
_ORIGIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


class GridEvent(Part):
    """An event in Event Grid's own schema."""

    id: Text
    kind: Text = Field(alias="eventType")
    at: Moment = Field(alias="eventTime")
    data: JsonValue = None

    @property
    def full_id(self) -> str:
        return self.id


class CloudEvent(Part):
    """An event as CloudEvents 1.0 has it; its id is unique within its source."""

    version: Literal["1.0"] = Field(alias="specversion")
    id: Text
    source: Text
    kind: Text = Field(alias="type")
    data: JsonValue = None

    @property
    def full_id(self) -> str:
        return f"{self.source} {self.id}"


class Validation(Part):
    """Event Grid asks whether the endpoint is the subscriber's, which gives the code back."""

    code: Text = Field(alias="validationCode")


class AvailabilityProperties(Part):
    target: Text = Field(alias="targetResourceId")
    state: Text = Field(alias="availabilityState")
    occurred_at: Moment = Field(alias="occurredTime")


class ResourceInfo(Part):
    properties: Annotated[AvailabilityProperties, BeforeValidator(unescaped)]


class Availability(Part):
    info: ResourceInfo = Field(alias="resourceInfo")


def read_delivery(body: JsonValue) -> Validation | tuple[Notice | Ignored, ...]:
    """Read what Event Grid sent: all of it, or nothing."""
    entries = body if isinstance(body, list) else [body]
    if not entries or len(entries) > MOST_EVENTS:
        raise Malformed(WHAT, f"it must have between 1 and {MOST_EVENTS} events")
    events = [_event(entry) for entry in entries]
    if any(event.kind == VALIDATION for event in events):
        if len(events) > 1:
            raise Malformed(WHAT, "a validation must be the only event")
        return validated(Validation, events[0].data, "subscription validation")
    return tuple(
        _read_availability(event.full_id, event.data)
        if event.kind == AVAILABILITY
        else Ignored(f"Events of the type {event.kind} say nothing about health")
        for event in events
    )


def _event(entry: JsonValue) -> GridEvent | CloudEvent:
    if isinstance(entry, dict) and "specversion" in entry:
        return validated(CloudEvent, entry, "CloudEvents 1.0 event")
    return validated(GridEvent, entry, "Event Grid event")


def _read_availability(event_id: str, data: JsonValue) -> Notice | Ignored:
    found = validated(Availability, data, "AvailabilityStatusChanged event").info.properties
    return resource_health(Source.EVENT_GRID, event_id, found.state, found.occurred_at, (found.target,))


def allowed_origin(origin: str | None) -> str:
    """Give back who asks for permission to deliver; the token was shown already."""
    if origin is None or not _ORIGIN.fullmatch(origin):
        raise Malformed("request for permission", "WebHook-Request-Origin is not a host name")
    return origin
