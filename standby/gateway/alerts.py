"""What Azure sends: alerts of action groups in the common schema, and deliveries of Event Grid.

https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema and alerts-payload-samples: the
essentials name the alert, its condition and its targets; the context depends on the monitoring service.

Of Service Health, each update of an incident fires an alert of its own, and its stage gives the state
(https://learn.microsoft.com/azure/service-health/service-health-event-properties). The list of services and
regions is JSON escaped in a text.

Event Grid sends its own schema or CloudEvents (https://learn.microsoft.com/azure/event-grid/event-schema and
cloud-event-schema), and asks in two ways whether it may deliver: end-point-validation-event-grid-events-schema and
end-point-validation-cloud-events-schema there.

All of it is JSON, bounded in size, time and depth, also where it is escaped inside JSON.
"""

import asyncio
import json
import re
from typing import Annotated, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from starlette.requests import ClientDisconnect, Request

from standby.config.errors import summary
from standby.document import JsonValue
from standby.gateway.errors import Malformed, NotJson, TooLarge, TooSlow
from standby.gateway.notice import Ignored, Notice, Observer, Source, resource_health

MOST_BYTES = 256 * 1024  # Azure Monitor cuts alerts there; Event Grid's deliveries are smaller by default
BODY_SECONDS = 5.0  # Seconds in which a body must have come
DEEPEST = 32  # Levels of lists and objects; what Azure sends has about ten
ESCAPES = 4  # Times that JSON may be escaped inside JSON
CONTENT_TYPES = frozenset({"application/json", "application/cloudevents+json", "application/cloudevents-batch+json"})
_NOT_JSON = f"it cannot be parsed, or has more than {DEEPEST} levels"
_STRINGS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)

M = TypeVar("M", bound=BaseModel)


class Part(BaseModel):
    """A part of a delivery; only what is needed of it is read."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)


def _written(value: object) -> object:
    # A number would be taken for seconds since 1970.
    if not isinstance(value, str):
        raise ValueError("must be a date and time")  # noqa: TRY004 - pydantic reports ValueError only
    return value


Text = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Moment = Annotated[AwareDatetime, BeforeValidator(_written)]


async def read_json(request: Request) -> JsonValue:
    _check_headers(request)
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise TooLarge(MOST_BYTES)
    except TimeoutError:
        raise TooSlow(BODY_SECONDS) from None
    except ClientDisconnect:
        raise Malformed("delivery", "the sender closed the connection before the end") from None
    try:
        return parse(body.decode("utf-8"))
    except ValueError as error:
        # Never the codec's or the parser's own words, which may quote the body.
        raise Malformed("JSON document", "it is not UTF-8" if isinstance(error, UnicodeError) else _NOT_JSON) from None


def _check_headers(request: Request) -> None:
    content_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").lower()
    if (
        content_type.strip().lower() not in CONTENT_TYPES
        or charset not in {"", "charset=utf-8"}
        or request.headers.get("content-encoding", "identity").lower() != "identity"
    ):
        raise NotJson
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length[:20]) > MOST_BYTES:
        raise TooLarge(MOST_BYTES)


def parse(text: str) -> JsonValue:
    """Parse JSON that is not nested too deeply; a `ValueError` for anything else."""
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", _STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > DEEPEST:
            raise ValueError
    found: JsonValue = json.loads(text, parse_constant=_no_number)
    return found


def _no_number(_constant: str) -> None:
    raise ValueError


def unescaped(value: object) -> object:
    """Give the JSON that a text holds, however often it was escaped; anything else is given as it is."""
    for _ in range(ESCAPES):
        if not isinstance(value, str):
            return value
        try:
            value = parse(value)
        except ValueError:
            raise ValueError("must be JSON, perhaps escaped") from None
    if isinstance(value, str):
        raise ValueError("is escaped too often")  # noqa: TRY004 - pydantic reports ValueError only
    return value


def validated(model: type[M], value: object, what: str) -> M:
    """Read a part of a delivery as a model; no error quotes its content."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise Malformed(what, summary(error)) from None


ALERT = "alert in the common schema"
SCHEMA = "azureMonitorCommonAlertSchema"
IMPORTANT = frozenset({"Sev0", "Sev1", "Sev2"})
"""Critical, error and warning; Azure calls the other two informational and verbose."""


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Essentials(Part):
    alert_id: Text = Field(alias="alertId")
    alert_rule: Text | None = Field(None, alias="alertRule")
    severity: Text | None = None
    signal_type: Text | None = Field(None, alias="signalType")
    condition: Annotated[Literal["fired", "resolved"], BeforeValidator(_lower)] = Field(alias="monitorCondition")
    service: Text = Field(alias="monitoringService")
    targets: tuple[Text, ...] | None = Field(None, alias="alertTargetIDs")
    items: tuple[Text, ...] | None = Field(None, alias="configurationItems")
    fired_at: Moment = Field(alias="firedDateTime")
    resolved_at: Moment | None = Field(None, alias="resolvedDateTime")

    @property
    def resources(self) -> tuple[str, ...]:
        """The ids among its targets and items: items are often plain names."""
        named = (*(self.targets or ()), *(self.items or ()))
        return tuple(dict.fromkeys(each for each in named if each.startswith("/")))


class Data(Part):
    essentials: Essentials
    context: Annotated[JsonValue, BeforeValidator(unescaped)] = Field(None, alias="alertContext")


class CommonAlert(Part):
    data: Annotated[Data, BeforeValidator(unescaped)]


def read_alert(body: JsonValue) -> Notice | Ignored:
    schema = body.get("schemaId") if isinstance(body, dict) else None
    if schema != SCHEMA:
        raise Malformed(ALERT, f"its schemaId is not {SCHEMA}", "Enable the common alert schema in the action group")
    data = validated(CommonAlert, body, ALERT).data
    essentials = data.essentials
    match essentials.service.replace(" ", "").lower():
        case "servicehealth":
            return _read_incident(essentials.alert_id, data.context)
        case "resourcehealth":
            change = validated(Change, data.context, "Resource Health alert")
            said = change.properties.current, change.at, essentials.resources
            return resource_health(Source.AZURE_MONITOR, essentials.alert_id, *said)
    return _of_rule(essentials)


def _of_rule(alert: Essentials) -> Notice | Ignored:
    """Read an alert of the operator's own rule about metrics or logs."""
    if (alert.signal_type or "").lower() not in {"metric", "log"}:
        return Ignored(f"Alerts of {alert.service} say nothing about health")
    if alert.severity not in IMPORTANT:
        return Ignored(f"Its severity {alert.severity} is not one of Sev0, Sev1 and Sev2")
    resolved = alert.condition == "resolved"
    return Notice(
        source=Source.AZURE_MONITOR,
        observer=Observer.ALERT_RULE,
        id=alert.alert_id,
        state=alert.condition,
        healthy=resolved,
        at=(alert.resolved_at if resolved else None) or alert.fired_at,
        summary=f"alert rule {alert.alert_rule or 'without a name'} {'resolved' if resolved else 'fired'}",
        resources=alert.resources,
    )


class ChangeProperties(Part):
    current: Text = Field(alias="currentHealthStatus")


class Change(Part):
    at: Moment = Field(alias="eventTimestamp")
    properties: Annotated[ChangeProperties, BeforeValidator(unescaped)]


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
"""Names of the service so far. Inferred: Azure renames it without keeping the old names."""

RESOLVED = {"active": False, "resolved": True}  # Other stages, such as RCA, come after the end


class ImpactedRegion(Part):
    name: Text = Field(alias="RegionName")


class ImpactedService(Part):
    name: Text = Field(alias="ServiceName")
    regions: tuple[ImpactedRegion, ...] = Field(alias="ImpactedRegions")


class IncidentProperties(Part):
    kind: Text = Field(alias="incidentType")
    stage: Text | None = None
    title: Text | None = None
    tracking_id: Text | None = Field(None, alias="trackingId")
    impacted: Annotated[tuple[ImpactedService, ...], BeforeValidator(unescaped)] = Field(alias="impactedServices")


class Incident(Part):
    at: Moment = Field(alias="eventTimestamp")
    status: Text | None = None
    properties: Annotated[IncidentProperties, BeforeValidator(unescaped)]


def _read_incident(alert_id: str, context: JsonValue) -> Notice | Ignored:
    incident = validated(Incident, context, "Service Health alert")
    found = incident.properties
    if found.kind.lower() != "incident":
        return Ignored(f"Service Health reports {found.kind}, which is not an incident")
    stage = (found.stage or incident.status or "").lower()
    healthy = RESOLVED.get(stage)
    if healthy is None:
        return Ignored(f"The stage of the Service Health incident is {stage or 'unknown'}, neither active nor resolved")
    hit = [each for each in found.impacted if " ".join(each.name.lower().split()) in SERVICES]
    regions = tuple(dict.fromkeys(region.name for service in hit for region in service.regions))
    if not regions:
        return Ignored("The Service Health incident is about other services")
    return Notice(
        source=Source.SERVICE_HEALTH,
        observer=Observer.SERVICE_HEALTH,
        id=alert_id,
        state=stage,
        healthy=healthy,
        at=incident.at,
        summary=f"Service Health incident {found.tracking_id or ''} is {stage}: {found.title or 'untitled'}",
        regions=regions,
    )


DELIVERY = "delivery of Event Grid"
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
        raise Malformed(DELIVERY, f"it must have between 1 and {MOST_EVENTS} events")
    events = [_event(entry) for entry in entries]
    if any(event.kind == VALIDATION for event in events):
        if len(events) > 1:
            raise Malformed(DELIVERY, "a validation must be the only event")
        return validated(Validation, events[0].data, "subscription validation")
    return tuple(map(_availability, events))


def _event(entry: JsonValue) -> GridEvent | CloudEvent:
    if isinstance(entry, dict) and "specversion" in entry:
        return validated(CloudEvent, entry, "CloudEvents 1.0 event")
    return validated(GridEvent, entry, "Event Grid event")


def _availability(event: GridEvent | CloudEvent) -> Notice | Ignored:
    if event.kind != AVAILABILITY:
        return Ignored(f"Events of the type {event.kind} say nothing about health")
    found = validated(Availability, event.data, "AvailabilityStatusChanged event").info.properties
    return resource_health(Source.EVENT_GRID, event.full_id, found.state, found.occurred_at, (found.target,))


def allowed_origin(origin: str | None) -> str:
    """Give back who asks for permission to deliver; the token was shown already."""
    if origin is None or not _ORIGIN.fullmatch(origin):
        raise Malformed("request for permission", "WebHook-Request-Origin is not a host name")
    return origin
