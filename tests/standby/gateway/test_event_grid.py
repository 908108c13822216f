from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.standby.gateway.conftest import HEALTHY, TOKEN, UNHEALTHY
from tests.standby.gateway.samples import availability, cloud_event, grid_event, validation

if TYPE_CHECKING:
    from tests.standby.gateway.conftest import Gateway


async def test_a_validation_event_is_answered_with_its_code(gateway: Gateway) -> None:
    answer = await gateway.tell("/event-grid", [validation("code-1")])

    assert answer.status_code == 200
    assert answer.json() == {"validationResponse": "code-1"}
    assert gateway.prefect.requests == []


async def test_a_validation_needs_the_token_as_well(gateway: Gateway) -> None:
    answer = await gateway.http.post("/event-grid", json=[validation("code-1")])

    assert answer.status_code == 401
    assert "code-1" not in answer.text


async def test_cloud_events_ask_for_permission_first(gateway: Gateway) -> None:
    answer = await gateway.http.options(
        "/event-grid", params={"token": TOKEN}, headers={"WebHook-Request-Origin": "eventgrid.azure.net"}
    )

    assert answer.status_code == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert answer.headers["WebHook-Allowed-Rate"] == "600"


@pytest.mark.parametrize("origin", [None, "", "a b", "x" * 300, "host, other"])
async def test_a_request_for_permission_needs_a_host_name(gateway: Gateway, origin: str | None) -> None:
    headers = {} if origin is None else {"WebHook-Request-Origin": origin}
    answer = await gateway.http.options("/event-grid", params={"token": TOKEN}, headers=headers)

    assert answer.status_code == 400
    assert "WebHook-Allowed-Origin" not in answer.headers


async def test_a_stranger_gets_no_permission(gateway: Gateway) -> None:
    headers = {"WebHook-Request-Origin": "eventgrid.azure.net"}

    assert (await gateway.http.options("/event-grid", headers=headers)).status_code == 401


@pytest.mark.parametrize("make", [grid_event, cloud_event])
@pytest.mark.parametrize(("state", "event"), [("Unavailable", UNHEALTHY), ("Available", HEALTHY)])
async def test_a_change_of_availability_becomes_an_event_in_both_schemas(
    gateway: Gateway, make: Any, state: str, event: str
) -> None:
    made = make(availability(state))
    answer = await gateway.tell("/event-grid", [made] if make is grid_event else made)

    assert answer.json() == {"posted": 1, "duplicates": 0, "ignored": []}
    assert gateway.told() == [(event, "east")]
    payload = gateway.prefect.posted[0]["payload"]
    # Resource Health saw it, whichever way it came.
    assert (payload["observer"], payload["source"]) == ("resource-health", "event-grid")
    assert payload["claimed_at"].startswith("2026-03-22T13:57:37")


async def test_cloud_events_have_content_types_of_their_own(gateway: Gateway) -> None:
    one, batch = (f"application/cloudevents{kind}+json; charset=utf-8" for kind in ("", "-batch"))
    await gateway.tell("/event-grid", cloud_event(), headers={"content-type": one})
    await gateway.tell("/event-grid", [cloud_event(id="2")], headers={"content-type": batch})

    assert gateway.told() == [(UNHEALTHY, "east")] * 2


async def test_a_delivery_of_several_events_is_posted_at_once(gateway: Gateway) -> None:
    delivery = [
        grid_event(id="1"),
        grid_event(availability(name="west"), id="2"),
        grid_event({"annotationName": "x"}, id="3", kind="Microsoft.ResourceNotifications.Other"),
        grid_event(availability(name="nobody"), id="4"),
    ]
    answer = await gateway.tell("/event-grid", delivery)

    assert answer.json()["posted"] == 2
    assert len(answer.json()["ignored"]) == 2
    assert gateway.told() == [(UNHEALTHY, "east"), (UNHEALTHY, "west")]
    assert len(gateway.prefect.requests) == 1


@pytest.mark.parametrize(
    "delivery",
    [
        [],
        "text",
        [7],
        [grid_event(id="1"), {"id": "2"}],
        [grid_event(id="1"), grid_event({"resourceInfo": {}}, id="2")],
        [validation(), grid_event()],
        [grid_event({}, kind="Microsoft.EventGrid.SubscriptionValidationEvent")],
        {**cloud_event(), "specversion": "0.3"},
        {**cloud_event(), "source": None},
        [grid_event(id=str(number)) for number in range(1001)],
    ],
)
async def test_one_event_that_is_malformed_refuses_the_whole_delivery(gateway: Gateway, delivery: Any) -> None:
    answer = await gateway.tell("/event-grid", delivery)

    assert answer.status_code in {400, 413}
    assert gateway.prefect.requests == []
