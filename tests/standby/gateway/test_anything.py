"""Whatever is delivered: an answer of 4xx, or ignored; never an event, never an error of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from standby.gateway.app import make_app
from tests.standby.gateway.conftest import TOKEN, StillClock, configuration_of
from tests.standby.gateway.samples import (
    availability,
    cloud_event,
    grid_event,
    metric_alert,
    resource_health,
    service_health,
)


class Counted:
    """Takes every event, and counts them."""

    def __init__(self) -> None:
        self.events = 0

    async def post(self, events: Any) -> None:
        self.events += len(events)


def gateway() -> tuple[Starlette, Counted]:
    counted = Counted()
    return make_app(configuration_of(Path("/nowhere")), counted.post, None, StillClock()), counted


def deliver(app: Starlette, path: str, content: bytes) -> httpx.Response:
    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
            return await http.post(
                path,
                params={"token": TOKEN},
                headers={"content-type": "application/json"},
                content=content,
            )

    return asyncio.run(send())


PATHS = st.sampled_from(["/azure-monitor", "/event-grid"])

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()

KEYS = st.text() | st.sampled_from(
    ["schemaId", "data", "essentials", "alertContext", "id", "eventType", "eventTime", "specversion"]
)

JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


def is_harmless(answer: httpx.Response) -> bool:
    if answer.status_code == 202:
        told = answer.json()
        return told["posted"] == 0 and bool(told["ignored"])
    return 400 <= answer.status_code < 500


@given(PATHS, st.binary(max_size=300))
def test_bytes_do_no_harm(path: str, content: bytes) -> None:
    app, counted = gateway()
    assert is_harmless(deliver(app, path, content))
    assert counted.events == 0


@given(PATHS, JSON)
def test_json_does_no_harm(path: str, body: Any) -> None:
    app, counted = gateway()
    assert is_harmless(deliver(app, path, json.dumps(body).encode()))
    assert counted.events == 0


SAMPLES = st.sampled_from(
    [
        ("/azure-monitor", metric_alert),
        ("/azure-monitor", resource_health),
        ("/azure-monitor", service_health),
        ("/event-grid", cloud_event),
        ("/event-grid", lambda: [grid_event()]),
    ]
)


def places(value: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [where, *(each for key, part in inner for each in places(part, (*where, key)))]


def put(document: Any, where: tuple[Any, ...], value: Any) -> Any:
    if not where:
        return value
    inside = document
    for key in where[:-1]:
        inside = inside[key]
    inside[where[-1]] = value
    return document


@given(SAMPLES, st.data())
def test_a_delivery_that_is_changed_anywhere_is_never_an_error_of_ours(
    sample: tuple[str, Callable[[], Any]], data: st.DataObject
) -> None:
    path, make = sample
    document = make()
    where = data.draw(st.sampled_from(places(document)))
    changed = put(document, where, data.draw(JSON))
    app, _ = gateway()

    assert deliver(app, path, json.dumps(changed).encode()).status_code in {202, 400}


NEEDED = [
    ("/azure-monitor", metric_alert, ("data", "essentials", "alertId")),
    ("/azure-monitor", metric_alert, ("data", "essentials", "monitorCondition")),
    ("/azure-monitor", metric_alert, ("data", "essentials", "firedDateTime")),
    ("/azure-monitor", metric_alert, ("data", "essentials", "alertTargetIDs")),
    ("/azure-monitor", service_health, ("data", "alertContext", "properties", "impactedServices")),
    ("/azure-monitor", service_health, ("data", "alertContext", "properties", "incidentType")),
    ("/azure-monitor", resource_health, ("data", "alertContext", "properties", "currentHealthStatus")),
    ("/azure-monitor", resource_health, ("data", "alertContext", "eventTimestamp")),
    ("/event-grid", cloud_event, ("type",)),
    ("/event-grid", cloud_event, ("data", "resourceInfo", "properties", "targetResourceId")),
    ("/event-grid", cloud_event, ("data", "resourceInfo", "properties", "availabilityState")),
]


@given(st.sampled_from(NEEDED), JSON)
def test_without_what_is_needed_there_is_no_event(needed: tuple[str, Any, tuple[Any, ...]], junk: Any) -> None:
    path, make, where = needed
    # Any text is an id, and this is about what no event can be made of.
    junk = junk if where[-1] != "alertId" or not isinstance(junk, str) else None
    app, counted = gateway()

    assert is_harmless(deliver(app, path, json.dumps(put(make(), where, junk)).encode()))
    assert counted.events == 0


def test_unchanged_each_of_them_is_an_event() -> None:
    samples: list[tuple[str, Any]] = [
        ("/azure-monitor", metric_alert()),
        ("/azure-monitor", resource_health()),
        ("/azure-monitor", service_health()),
        ("/event-grid", cloud_event()),
        ("/event-grid", grid_event(availability("Available"))),
    ]
    for path, body in samples:
        app, counted = gateway()
        assert deliver(app, path, json.dumps(body).encode()).json()["posted"] == 1
        assert counted.events == 1
