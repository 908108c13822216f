from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from standby.fencing import hold_fence
from standby.recovery.probe import Observation
from tests.standby.gateway.conftest import HEALTHY, NOW, UNHEALTHY
from tests.standby.gateway.samples import FIRED_AT, metric_alert, resource_health, resource_id

if TYPE_CHECKING:
    from tests.standby.gateway.conftest import Gateway


async def test_an_alert_that_fired_becomes_an_event_of_the_resource(gateway: Gateway) -> None:
    answer = await gateway.alert(metric_alert())

    assert answer.status_code == 202
    assert answer.json() == {"posted": 1, "duplicates": 0, "ignored": []}
    (event,) = gateway.prefect.posted
    assert event["event"] == UNHEALTHY
    assert event["resource"] == {
        "prefect.resource.id": "content-understanding.resource.east",
        "prefect.resource.name": "east",
    }
    assert event["occurred"] == NOW.isoformat().replace("+00:00", "Z")
    assert event["payload"].pop("source") == "azure-monitor"
    assert event["payload"].pop("severity") == "warning"
    assert event["payload"].pop("claimed_at")[:26] == FIRED_AT[:26]
    observation = Observation.model_validate(event["payload"])
    assert observation.resource == "east"
    assert observation.observer == "azure-monitor"
    assert observation.healthy is False
    assert (observation.at, observation.alert) == (NOW, True)
    assert observation.summary == "alert rule availability of east fired"
    assert [(check.name, check.ok) for check in observation.checks] == [("azure-monitor", False)]


async def test_an_alert_that_was_resolved_says_that_the_resource_is_well(gateway: Gateway) -> None:
    resolved_at = "2026-03-22T14:00:16.2246313Z"
    await gateway.alert(metric_alert(monitorCondition="Resolved", resolvedDateTime=resolved_at))

    assert gateway.told() == [(HEALTHY, "east")]
    assert gateway.prefect.posted[0]["payload"]["claimed_at"].startswith("2026-03-22T14:00:16")


async def test_a_resource_is_known_whatever_the_case_of_its_id(gateway: Gateway) -> None:
    await gateway.alert(metric_alert(alertTargetIDs=[resource_id("WEST").upper()], configurationItems=None))

    assert gateway.told() == [(UNHEALTHY, "west")]


async def test_a_log_alert_names_its_resource_among_the_items(gateway: Gateway) -> None:
    workspace = "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w"
    await gateway.alert(
        metric_alert(
            monitoringService="Log Alerts V2",
            signalType="Log",
            alertTargetIDs=[workspace],
            configurationItems=[resource_id("north")],
        )
    )

    assert gateway.told() == [(UNHEALTHY, "north")]


async def test_one_alert_may_be_about_several_resources(gateway: Gateway) -> None:
    await gateway.alert(metric_alert(alertTargetIDs=[resource_id("east"), resource_id("west")]))

    assert gateway.told() == [(UNHEALTHY, "east"), (UNHEALTHY, "west")]
    assert len(gateway.prefect.requests) == 1


@pytest.mark.parametrize(
    ("essentials", "reason"),
    [
        ({"alertTargetIDs": [resource_id("south")]}, "It is about /subscriptions"),
        (
            {"alertTargetIDs": None, "configurationItems": None},
            "It is about no resource, and about none of the configuration",
        ),
        ({"severity": "Sev3"}, "Its severity Sev3 is not one of Sev0, Sev1 and Sev2"),
        ({"severity": None}, "Its severity None is not one of Sev0, Sev1 and Sev2"),
        (
            {"monitoringService": "Activity Log - Administrative", "signalType": "Activity Log"},
            "Alerts of Activity Log - Administrative say nothing about health",
        ),
        (
            {"monitoringService": "CostAlerts", "signalType": None},
            "Alerts of CostAlerts say nothing about health",
        ),
        ({"firedDateTime": "2026-03-21T13:58:24Z"}, "It is from 2026-03-21 13:58 UTC, more than a day ago"),
    ],
)
async def test_what_says_nothing_of_a_resource_is_ignored_with_a_reason(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, essentials: dict[str, Any], reason: str
) -> None:
    answer = await gateway.alert(metric_alert(**essentials))

    assert answer.status_code == 202
    assert answer.json()["posted"] == 0
    assert answer.json()["ignored"][0].startswith(reason)
    assert gateway.prefect.requests == []
    assert f"An alert is ignored: {reason}" in caplog.text


@pytest.mark.parametrize("claimed", ["2026-03-22T18:00:00Z", "2026-03-22T13:01:00Z"])
async def test_an_alert_is_dated_by_its_receipt_whatever_it_claims(gateway: Gateway, claimed: str) -> None:
    await gateway.alert(metric_alert(firedDateTime=claimed))

    assert gateway.prefect.posted[0]["payload"]["at"] == NOW.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"alertId": None}, "data.essentials.alertId must be text"),
        ({"alertId": 7}, "data.essentials.alertId must be text"),
        ({"monitorCondition": "Perhaps"}, "data.essentials.monitorCondition must be one of"),
        ({"firedDateTime": 1774187904}, "data.essentials.firedDateTime must be a date and time"),
        ({"firedDateTime": "2026-03-22T13:58:24"}, "data.essentials.firedDateTime"),
        ({"alertTargetIDs": "east"}, "data.essentials.alertTargetIDs must be a list"),
    ],
)
async def test_an_alert_that_is_malformed_is_refused_and_its_problem_told(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, change: dict[str, Any], problem: str
) -> None:
    answer = await gateway.alert(metric_alert(**change))

    assert answer.status_code == 400
    assert "The request is not a valid alert in the common schema: " in answer.json()["error"]
    assert problem in caplog.text
    assert "Perhaps" not in caplog.text
    assert gateway.prefect.requests == []


async def test_another_schema_is_refused_with_what_to_do(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    answer = await gateway.alert({"schemaId": "Microsoft.Insights/activityLogs", "data": {}})

    assert answer.status_code == 400
    assert "Enable the common alert schema in the action group" in caplog.text


@pytest.mark.parametrize(("status", "event"), [("Unavailable", UNHEALTHY), ("Available", HEALTHY)])
async def test_resource_health_counts_by_its_status_and_not_by_having_fired(
    gateway: Gateway, status: str, event: str
) -> None:
    await gateway.alert(resource_health(status))

    assert gateway.told() == [(event, "east")]
    payload = gateway.prefect.posted[0]["payload"]
    assert (payload["observer"], payload["source"]) == ("resource-health", "azure-monitor")
    assert payload["summary"] == f"Resource Health reports it as {status}"


@pytest.mark.parametrize("status", ["Degraded", "Unknown"])
async def test_a_status_between_well_and_lost_is_ignored(gateway: Gateway, status: str) -> None:
    answer = await gateway.alert(resource_health(status))

    assert answer.json()["ignored"] == [
        f"Resource Health reports the resource as {status}, which is neither Available nor Unavailable"
    ]
    assert gateway.told() == []


async def test_a_context_without_a_status_is_refused(gateway: Gateway) -> None:
    body = resource_health()
    body["data"]["alertContext"] = None

    assert (await gateway.alert(body)).status_code == 400


async def test_what_an_alert_says_cannot_write_lines_of_its_own_into_the_log(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="standby")
    forged = "/x\nerror: region lost\x1b[2J" + "y" * 4000

    answer = await gateway.alert(metric_alert(alertTargetIDs=[forged], configurationItems=None))
    await gateway.alert(metric_alert(alertRule=forged))

    assert all(char.isprintable() for char in answer.json()["ignored"][0])
    assert all("\n" not in record.getMessage() for record in caplog.records)
    assert max(len(record.getMessage()) for record in caplog.records) < 400
    assert "\n" not in gateway.prefect.posted[0]["payload"]["summary"]


def roles(event: dict[str, Any]) -> dict[str, str]:
    return {each["prefect.resource.id"]: each["prefect.resource.role"] for each in event["related"]}


async def test_an_event_names_the_plans_of_its_resource_and_its_role_in_each(gateway: Gateway) -> None:
    both = [resource_id("east"), resource_id("west")]
    await gateway.alert(metric_alert(alertTargetIDs=both))

    east, west = gateway.prefect.posted
    assert roles(east) == {"standby.plan.invoices": "served-by"}
    assert roles(west) == {"standby.plan.invoices": "standby-of", "standby.plan.claims": "served-by"}


async def test_after_a_failover_the_fence_says_who_serves(gateway: Gateway) -> None:
    async with hold_fence(gateway.vault, gateway.configuration.plan("invoices")) as held:
        side = held.fence.assignments["east"].model_copy(update={"active": "west", "previous": "east"})
        await held.write(held.fence.model_copy(update={"epoch": 1, "assignments": {"east": side}}))

    await gateway.alert(metric_alert(alertTargetIDs=[resource_id("east"), resource_id("west")]))

    east, west = gateway.prefect.posted
    assert roles(east) == {"standby.plan.invoices": "standby-of"}
    assert roles(west)["standby.plan.invoices"] == "served-by"


async def test_a_fence_that_cannot_be_read_does_not_hold_an_alert_up(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    await gateway.vault.write("recovery/invoices/fence.json", b"{")

    answer = await gateway.alert(metric_alert())

    assert answer.json()["posted"] == 1
    assert roles(gateway.prefect.posted[0]) == {"standby.plan.invoices": "served-by"}
    assert "The sources of invoices are assumed to serve" in caplog.text
