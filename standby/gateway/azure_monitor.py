"""Alerts in Azure Monitor's common schema, as action groups send them.

https://learn.microsoft.com/azure/azure-monitor/alerts/alerts-common-schema and alerts-payload-samples: the
essentials name the alert, its condition and its targets; the context depends on the monitoring service.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from standby.document import JsonValue
from standby.gateway import health
from standby.gateway.errors import Malformed
from standby.gateway.events import Ignored, Notice, Observer, Source
from standby.gateway.reading import Moment, Text, Told, unescaped, validated

WHAT = "alert in the common schema"

SCHEMA = "azureMonitorCommonAlertSchema"

IMPORTANT = frozenset({"Sev0", "Sev1", "Sev2"})
"""Critical, error and warning; Azure calls the other two informational and verbose."""


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


class Essentials(Told):
    """What every alert has."""

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
        told = (*(self.targets or ()), *(self.items or ()))
        return tuple(dict.fromkeys(each for each in told if each.startswith("/")))


class Data(Told):
    """An alert without the name of its schema."""

    essentials: Essentials
    context: Annotated[JsonValue, BeforeValidator(unescaped)] = Field(None, alias="alertContext")


class CommonAlert(Told):
    """An alert."""

    data: Annotated[Data, BeforeValidator(unescaped)]


def read_alert(body: JsonValue) -> Notice | Ignored:
    """Read what an action group sent.

    Raises:
        Malformed: it is no alert in the common schema.
    """
    schema = body.get("schemaId") if isinstance(body, dict) else None
    if schema != SCHEMA:
        raise Malformed(WHAT, f"its schemaId is not {SCHEMA}", "Switch the common schema on in the action group")
    data = validated(CommonAlert, body, WHAT).data
    essentials = data.essentials
    match essentials.service.replace(" ", "").lower():
        case "servicehealth":
            return health.read_incident(essentials.alert_id, data.context)
        case "resourcehealth":
            return health.read_change(essentials.alert_id, essentials.resources, data.context)
    return _of_rule(essentials)


def _of_rule(alert: Essentials) -> Notice | Ignored:
    """Read an alert of a rule of the operator's own, upon metrics or logs."""
    if (alert.signal_type or "").lower() not in {"metric", "log"}:
        return Ignored(f"Alerts of {alert.service} say nothing of health")
    if alert.severity not in IMPORTANT:
        return Ignored(f"Its severity {alert.severity} is informational")
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
