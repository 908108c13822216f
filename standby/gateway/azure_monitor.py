"""Alerts in Azure Monitor's common schema, as action groups send them.

https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema and alerts-payload-samples: the
essentials name the alert, its condition and its targets; the context depends on the monitoring service.

Of Service Health, each update of an incident fires an alert of its own, and its stage says how things stand
(https://learn.microsoft.com/azure/service-health/service-health-event-properties). The list of services and
regions is JSON escaped in a text.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from standby.document import JsonValue
from standby.gateway.body import Moment, Part, Text, unescaped, validated
from standby.gateway.errors import Malformed
from standby.gateway.notice import Ignored, Notice, Observer, Source, resource_health

WHAT = "alert in the common schema"
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
        raise Malformed(WHAT, f"its schemaId is not {SCHEMA}", "Switch the common schema on in the action group")
    data = validated(CommonAlert, body, WHAT).data
    essentials = data.essentials
    match essentials.service.replace(" ", "").lower():
        case "servicehealth":
            return _read_incident(essentials.alert_id, data.context)
        case "resourcehealth":
            return _read_change(essentials.alert_id, essentials.resources, data.context)
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


RESOURCE_HEALTH = "Resource Health alert"


class ChangeProperties(Part):
    current: Text = Field(alias="currentHealthStatus")


class Change(Part):
    at: Moment = Field(alias="eventTimestamp")
    properties: Annotated[ChangeProperties, BeforeValidator(unescaped)]


def _read_change(alert_id: str, resources: tuple[str, ...], context: JsonValue) -> Notice | Ignored:
    change = validated(Change, context, RESOURCE_HEALTH)
    return resource_health(Source.AZURE_MONITOR, alert_id, change.properties.current, change.at, resources)


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
    incident = validated(Incident, context, SERVICE_HEALTH)
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
