"""Deliveries as Azure's documentation shows them, about resources of ours."""

from __future__ import annotations

import json
from typing import Any

SUBSCRIPTION = "/subscriptions/aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e"

FIRED_AT = "2026-03-22T13:58:24.3713213Z"
"""With the seven digits of a second that Azure writes."""


def resource_id(name: str) -> str:
    return f"{SUBSCRIPTION}/resourceGroups/recovery/providers/Microsoft.CognitiveServices/accounts/{name}"


def alert(service: str, context: Any, **essentials: Any) -> dict[str, Any]:
    """Put a context into the common schema."""
    return {
        "schemaId": "azureMonitorCommonAlertSchema",
        "data": {
            "essentials": {
                "alertId": f"{SUBSCRIPTION}/providers/Microsoft.AlertsManagement/alerts/b9569717",
                "alertRule": "availability of east",
                "severity": "Sev1",
                "signalType": "Metric",
                "monitorCondition": "Fired",
                "monitoringService": service,
                "alertTargetIDs": [resource_id("east").lower()],
                "configurationItems": ["east"],
                "originAlertId": "aaaa0a0a_recovery_microsoft.insights_metricAlerts_availability_-117781227",
                "firedDateTime": FIRED_AT,
                "description": "",
                "essentialsVersion": "1.0",
                "alertContextVersion": "1.0",
                **essentials,
            },
            "alertContext": context,
            "customProperties": None,
        },
    }


def metric_alert(**essentials: Any) -> dict[str, Any]:
    """An alert of a rule upon a metric."""
    condition = {
        "windowSize": "PT5M",
        "allOf": [
            {
                "metricName": "SuccessRate",
                "metricNamespace": "Microsoft.CognitiveServices/accounts",
                "operator": "LessThan",
                "threshold": "95",
                "timeAggregation": "Average",
                "dimensions": [],
                "metricValue": 12.5,
            }
        ],
    }
    context = {
        "properties": None,
        "conditionType": "SingleResourceMultipleMetricCriteria",
        "condition": condition,
    }
    return alert("Platform", context, **essentials)


def activity(properties: Any, operation: str, **context: Any) -> dict[str, Any]:
    """The context of an alert upon the activity log."""
    return {
        "authorization": None,
        "channels": 1,
        "claims": None,
        "caller": None,
        "correlationId": "bbbb1111-cc22-3333-44dd-555555eeeeee",
        "eventSource": 2,
        "eventTimestamp": "2026-03-22T13:57:19.0312699+00:00",
        "httpRequest": None,
        "level": 3,
        "operationName": operation,
        "properties": properties,
        "status": "Active",
        "subStatus": None,
        "submissionTimestamp": "2026-03-22T13:57:31.7147357+00:00",
        "ResourceType": None,
        **context,
    }


def impacted(*services: tuple[str, list[str]]) -> list[dict[str, Any]]:
    """Services with their regions."""
    return [
        {"ImpactedRegions": [{"RegionName": region} for region in regions], "ServiceName": service}
        for service, regions in services
    ]


def service_health(
    services: Any = None, *, escapes: int = 1, condition: str = "Fired", **properties: Any
) -> dict[str, Any]:
    """An alert of Service Health; its list of services is JSON, escaped so many times."""
    told: Any = impacted(("Azure AI services", ["East US"])) if services is None else services
    for _ in range(escapes):
        told = json.dumps(told)
    found = {
        "title": "Azure AI services: errors in East US",
        "service": "Azure AI services",
        "region": "East US",
        "communication": "<p>We are looking into it.</p>",
        "incidentType": "Incident",
        "trackingId": "0DET-URB",
        "impactStartTime": "2026-03-22T13:12:00Z",
        "impactedServices": told,
        "impactedServicesTableRows": "<tr>\r\n<td align='center'>Azure AI services</td>\r\n</tr>\r\n",
        "stage": "Active",
        "communicationId": "11000112233",
        "isHIR": "false",
        "version": "0.1.1",
        **properties,
    }
    return alert(
        "ServiceHealth",
        activity(found, "Microsoft.ServiceHealth/incident/action"),
        alertRule="service health",
        severity="Sev4",
        signalType="Activity Log",
        alertTargetIDs=[SUBSCRIPTION],
        configurationItems=None,
        monitorCondition=condition,
    )


def resource_health(status: str = "Unavailable", **essentials: Any) -> dict[str, Any]:
    """An alert of Resource Health."""
    properties = {
        "title": "Unplanned",
        "details": None,
        "currentHealthStatus": status,
        "previousHealthStatus": "Available",
        "type": "Downtime",
        "cause": "PlatformInitiated",
    }
    given = {"severity": "Sev4", "signalType": "Activity Log", **essentials}
    context = activity(properties, "Microsoft.Resourcehealth/healthevent/Activated/action")
    return alert("Resource Health", context, **given)


def availability(state: str = "Unavailable", name: str = "east") -> dict[str, Any]:
    """The data of an AvailabilityStatusChanged event."""
    target = resource_id(name)
    return {
        "resourceInfo": {
            "id": f"{target}/providers/Microsoft.ResourceHealth/availabilityStatuses/4810f077",
            "name": "4810f077",
            "type": "Microsoft.ResourceHealth/availabilityStatuses",
            "properties": {
                "targetResourceId": target,
                "targetResourceType": "Microsoft.CognitiveServices/accounts",
                "occurredTime": "2026-03-22T13:57:37.9245071Z",
                "previousAvailabilityState": "Available",
                "availabilityState": state,
            },
        },
        "operationalInfo": {"resourceEventTime": "2026-03-22T13:57:37.9245071Z"},
        "apiVersion": "2023-12-01",
    }


CHANGED = "Microsoft.ResourceNotifications.HealthResources.AvailabilityStatusChanged"


def grid_event(
    data: Any = None, *, id: str = "1fb6fa94-d965-4306-abe0-4810f0774e97", kind: str = CHANGED
) -> dict[str, Any]:
    """An event in Event Grid's own schema."""
    return {
        "id": id,
        "topic": SUBSCRIPTION,
        "subject": resource_id("east"),
        "data": availability() if data is None else data,
        "eventType": kind,
        "dataVersion": "1",
        "metadataVersion": "1",
        "eventTime": "2026-03-22T13:57:37.9245071Z",
    }


def cloud_event(
    data: Any = None, *, id: str = "1fb6fa94-d965-4306-abe0-4810f0774e97", kind: str = CHANGED
) -> dict[str, Any]:
    """A CloudEvents 1.0 event."""
    return {
        "id": id,
        "source": SUBSCRIPTION,
        "subject": resource_id("east"),
        "data": availability() if data is None else data,
        "type": kind,
        "specversion": "1.0",
        "time": "2026-03-22T13:57:37.9245071Z",
    }


def validation(code: str = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6") -> dict[str, Any]:
    """The event by which Event Grid asks whether it may deliver."""
    url = "https://rp-eastus2.eventgrid.azure.net:553/eventsubscriptions/estest/validate?id=512d38b6"
    data = {"validationCode": code, "validationUrl": url}
    return grid_event(data, kind="Microsoft.EventGrid.SubscriptionValidationEvent")
