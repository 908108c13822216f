"""The control: counters, settings, edits, and the way back to the start."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

import httpx
import pytest

from standby.emulator.serve import Emulator
from tests.standby.replication.world import FakeClock

Client = Callable[..., httpx.AsyncClient]
Finish = Callable[[httpx.AsyncClient, httpx.Response], Awaitable[Any]]


async def stats(control: httpx.AsyncClient, resource: str) -> dict[str, Any]:
    found: dict[str, Any] = (await control.get("/stats")).json()["resources"][resource]
    return found


async def test_calls_and_statuses_are_counted_by_kind(
    east: httpx.AsyncClient, control: httpx.AsyncClient, finish: Finish
) -> None:
    await east.get("/analyzers")
    await east.get("/analyzers/nobody")
    await east.get("/defaults")
    await east.patch("/defaults", json={})
    await east.put("/analyzers/plain", json={})
    await east.patch("/analyzers/plain", json={})
    await east.delete("/analyzers/plain")
    await east.post("/analyzers/invoice:grantCopyAuthorization", json={"targetAzureResourceId": "/x"})
    await finish(east, await east.post("/analyzers/second:copy", json={"sourceAnalyzerId": "invoice"}))
    counted = await stats(control, "east")
    polls = counted["calls"].pop("poll")
    assert counted["calls"] == dict.fromkeys(
        (
            "list",
            "get",
            "get_defaults",
            "patch_defaults",
            "put",
            "patch",
            "delete",
            "authorize",
            "copy",
        ),
        1,
    )
    assert counted["statuses"] == {"200": 5 + polls, "404": 1, "201": 2, "204": 1}
    assert counted["most_operations_in_a_minute"] == 9 + polls
    assert counted["bytes"] > 10_000
    assert (await stats(control, "west"))["calls"] == {}


async def test_the_most_copies_at_one_time_are_those_accepted_and_not_over(
    east: httpx.AsyncClient, control: httpx.AsyncClient, finish: Finish
) -> None:
    async def copy(name: str) -> httpx.Response:
        return await east.post(f"/analyzers/{name}:copy", json={"sourceAnalyzerId": "invoice"})

    await finish(east, await copy("early"))
    await control.post("/settings", json={"service_time": 60})
    await asyncio.gather(*(copy(f"copy-{number}") for number in range(5)))
    assert (await copy("early")).status_code == 409
    await control.post("/settings", json={"service_time": 0})
    await finish(east, await copy("late"))
    counted = await stats(control, "east")
    assert counted["max_copies_in_flight"] == 6
    assert (counted["copies_in_flight"], counted["copies_finished"]) == (5, 2)
    assert counted["copies_accepted"] == {
        "early": 1,
        "late": 1,
        **{f"copy-{number}": 1 for number in range(5)},
    }


async def test_a_copy_is_over_when_its_time_is_whoever_looks(
    east: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    for name in ("one", "two", "three"):
        await east.post(f"/analyzers/{name}:copy", json={"sourceAnalyzerId": "invoice"})
    counted = await stats(control, "east")
    assert (counted["max_copies_in_flight"], counted["copies_in_flight"]) == (1, 0)


async def test_operations_spread_around_their_time_and_alike_in_every_run(
    east: httpx.AsyncClient, control: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("standby.emulator.world.TIME", clock)

    async def ended() -> list[int]:
        await control.post("/settings", json={"service_time": 100, "service_spread": 0.2})
        clock.seconds = 0.0
        for number in range(40):
            await east.post(f"/analyzers/copy-{number}:copy", json={"sourceAnalyzerId": "invoice"})
        finished = []
        for clock.seconds in (80.0, 90.0, 100.0, 110.0, 120.0):
            finished.append((await stats(control, "east"))["copies_finished"])
        taken = (await stats(control, "east"))["copy_seconds"]
        assert finished == [sum(each <= moment for each in taken) for moment in (80, 90, 100, 110, 120)]
        await control.post("/reset")
        return finished

    first = await ended()
    assert (first[0], first[-1]) == (0, 40)
    assert all(before < after for before, after in pairwise(first))
    assert await ended() == first


async def test_a_reset_puts_everything_back(
    emulator: Emulator, east: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    before = (await east.get("/analyzers")).json()
    await east.delete("/analyzers/invoice")
    await east.put("/analyzers/plain", json={})
    await east.patch("/defaults", json={"modelDeployments": {"gpt-5.2": "new"}})
    await control.post("/settings", json={"page_size": 1, "operations_per_minute": 1})
    await control.post("/faults", json={"times": None, "fault": {"kind": "drop"}})
    assert (await control.post("/reset")).status_code == 200
    assert (await stats(control, "east"))["calls"] == {}
    after = (await east.get("/analyzers")).json()
    assert [found["analyzerId"] for found in after["value"]] == [found["analyzerId"] for found in before["value"]]
    assert "gpt-5.2" not in (await east.get("/defaults")).json()["modelDeployments"]


async def test_defaults_can_be_set_and_unset(east: httpx.AsyncClient, control: httpx.AsyncClient) -> None:
    await control.post("/settings", json={"resource": "east", "defaults": None})
    assert (await east.get("/defaults")).status_code == 400
    await control.post("/settings", json={"resource": "east", "defaults": {"gpt-4o": "old"}})
    assert (await east.get("/defaults")).json() == {"modelDeployments": {"gpt-4o": "old"}}


async def test_what_a_settings_change_does_not_name_stays(east: httpx.AsyncClient, control: httpx.AsyncClient) -> None:
    await control.post("/settings", json={"page_size": 5})
    await control.post("/settings", json={"latency": 0})
    assert len((await east.get("/analyzers")).json()["value"]) == 5
    await control.post("/settings", json={"page_size": None})
    assert len((await east.get("/analyzers")).json()["value"]) == 90


async def test_an_edit_changes_any_field_under_every_version(
    emulator: Emulator, client: Client, control: httpx.AsyncClient
) -> None:
    clients = [client(emulator.resources["east"], version) for version in ("2025-11-01", "2026-06-01-preview")]
    changes = {"config": {"enableOcr": False}, "fieldSchema": None, "lastModifiedAt": "2031-01-01T00:00:00Z"}
    await control.post("/edit", json={"resource": "east", "analyzer": "invoice", "changes": changes})
    for each in clients:
        found = (await each.get("/analyzers/invoice")).json()
        assert found["config"]["enableOcr"] is False
        assert found["config"]["enableLayout"] is True
        assert "fieldSchema" not in found
        assert found["lastModifiedAt"] == "2031-01-01T00:00:00Z"


async def test_an_edit_can_be_for_one_version(
    emulator: Emulator, client: Client, east: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    order = {
        "resource": "east",
        "analyzer": "invoice",
        "api_version": "2026-06-01-preview",
        "changes": {"description": "New"},
    }
    await control.post("/edit", json=order)
    newer = client(emulator.resources["east"], "2026-06-01-preview")
    assert (await newer.get("/analyzers/invoice")).json()["description"] == "New"
    assert (await east.get("/analyzers/invoice")).json()["description"] == "Invoices"


async def test_retraining_shows_in_the_date_only(east: httpx.AsyncClient, control: httpx.AsyncClient) -> None:
    old = {"changes": {"lastModifiedAt": "2020-01-01T00:00:00Z"}}
    await control.post("/edit", json={"resource": "east", "analyzer": "invoice", **old})
    before = (await east.get("/analyzers/invoice")).json()
    await control.post("/edit", json={"resource": "east", "analyzer": "invoice", "retrained": True})
    after = (await east.get("/analyzers/invoice")).json()
    assert after.pop("lastModifiedAt") > before.pop("lastModifiedAt")
    assert after == before


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/settings", {"service_time": -1}),
        ("/settings", {"resource": "north", "latency": 1}),
        ("/outages", {"resource": "east", "kind": "flood"}),
        ("/outages", {"resource": "north", "kind": "hang"}),
        ("/edit", {"resource": "east", "analyzer": "nobody"}),
        ("/edit", {"resource": "east", "analyzer": "invoice", "api_version": "2024"}),
        ("/faults", "text"),
    ],
)
async def test_a_wrong_body_is_refused_with_a_sentence(control: httpx.AsyncClient, path: str, body: object) -> None:
    refused = await control.post(path, json=body)
    assert refused.status_code == 400
    assert refused.json()["error"].endswith(".")
    assert (await control.post(path, content=b"{")).status_code == 400


async def test_analyzers_whose_time_has_come_are_ready_in_the_listing(
    emulator: Emulator, east: httpx.AsyncClient
) -> None:
    for number in range(100):
        await east.put(f"/analyzers/many-{number:03}", json={"fieldSchema": {"fields": {}}})
    listed = await east.get("/analyzers")
    assert len(listed.json()["value"]) == 190
    assert {found["status"] for found in listed.json()["value"]} == {"ready"}
