from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.standby.gateway.conftest import HEALTHY, UNHEALTHY
from tests.standby.gateway.samples import impacted, service_health

if TYPE_CHECKING:
    from tests.standby.gateway.conftest import Gateway


async def test_an_incident_is_about_every_resource_of_its_regions(gateway: Gateway) -> None:
    services = impacted(("Azure AI services", ["East US", "North Europe"]), ("Storage", ["West US 3"]))

    answer = await gateway.alert(service_health(services))

    assert answer.json() == {"posted": 2, "duplicates": 0, "ignored": []}
    assert gateway.told() == [(UNHEALTHY, "east"), (UNHEALTHY, "north")]
    payload = gateway.prefect.posted[0]["payload"]
    assert (payload["observer"], payload["source"]) == ("service-health", "service-health")
    assert payload["claimed_at"].startswith("2026-03-22T13:57:19")
    assert payload["summary"] == ("Service Health incident 0DET-URB is active: Azure AI services: errors in East US")


@pytest.mark.parametrize("escapes", [0, 1, 2, 3])
async def test_the_services_are_read_however_often_they_are_escaped(gateway: Gateway, escapes: int) -> None:
    await gateway.alert(service_health(escapes=escapes))

    assert gateway.told() == [(UNHEALTHY, "east")]


@pytest.mark.parametrize(
    "name", ["Cognitive Services", "azure  ai SERVICES", "Foundry Tools", "Azure AI Content Understanding"]
)
async def test_the_service_is_known_under_all_its_names(gateway: Gateway, name: str) -> None:
    await gateway.alert(service_health(impacted((name, ["eastus"]))))

    assert gateway.told() == [(UNHEALTHY, "east")]


async def test_a_later_update_that_calls_it_resolved_says_that_all_is_well(gateway: Gateway) -> None:
    # It fires as well: alerts upon the activity log have no other condition.
    await gateway.alert(service_health())
    await gateway.alert(service_health(stage="Resolved"))

    assert gateway.told() == [(UNHEALTHY, "east"), (HEALTHY, "east")]


async def test_without_a_stage_the_status_counts(gateway: Gateway) -> None:
    await gateway.alert(service_health(stage=None))

    assert gateway.told() == [(UNHEALTHY, "east")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"incidentType": "Maintenance"}, "Service Health reports Maintenance, which is not an incident"),
        ({"incidentType": "Informational"}, "Service Health reports Informational, which is not an incident"),
        ({"stage": "RCA"}, "The stage of the Service Health incident is rca, neither active nor resolved"),
        (
            {"services": impacted(("Virtual Machines", ["East US"]))},
            "The Service Health incident is about other services",
        ),
        (
            {"services": impacted(("Cognitive Services", ["Global"]))},
            "It is about Global, and about none of the configuration",
        ),
        ({"services": []}, "The Service Health incident is about other services"),
    ],
)
async def test_what_is_no_outage_of_ours_is_ignored(gateway: Gateway, change: dict[str, Any], reason: str) -> None:
    answer = await gateway.alert(service_health(**change))

    assert answer.status_code == 202
    assert answer.json() == {"posted": 0, "duplicates": 0, "ignored": [reason]}


@pytest.mark.parametrize(
    "told",
    [
        "[{",
        "not json",
        '[{"ServiceName": "Cognitive Services"}]',
        '[{"ServiceName": "Cognitive Services", "ImpactedRegions": [{}]}]',
        '{"ServiceName": "Cognitive Services"}',
        "[NaN]",
        "[" * 40 + "]" * 40,
        None,
        7,
    ],
)
async def test_services_that_cannot_be_read_are_refused(gateway: Gateway, told: Any) -> None:
    answer = await gateway.alert(service_health(impactedServices=told))

    assert answer.status_code == 400
    assert "The request is not a valid Service Health alert: properties.impactedServices" in answer.json()["error"]
    assert gateway.prefect.requests == []


async def test_what_is_escaped_without_end_is_refused(gateway: Gateway) -> None:
    answer = await gateway.alert(service_health(escapes=6))

    assert answer.status_code == 400
    assert "is escaped too often" in answer.json()["error"]
