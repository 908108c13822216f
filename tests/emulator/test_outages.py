"""Outages of a whole resource, its latency, and its quota."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import pytest

from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import Emulator, running
from standby.emulator.world import SlidingMinute, Stats

Client = Callable[..., httpx.AsyncClient]


async def test_a_refusing_resource_closes_its_port_and_opens_the_same_again(
    east: httpx.AsyncClient, west: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    assert (await east.get("/analyzers/invoice")).status_code == 200
    for _ in range(2):
        await control.post("/outages", json={"resource": "east", "kind": "refuse"})
        with pytest.raises(httpx.ConnectError):
            await east.get("/analyzers/invoice")
        assert (await west.get("/analyzers")).status_code == 200
        await control.post("/outages", json={"resource": "east", "kind": "none"})
        assert (await east.get("/analyzers/invoice")).status_code == 200


async def test_a_hanging_resource_accepts_and_never_answers(
    emulator: Emulator, client: Client, east: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    await control.post("/outages", json={"resource": "east", "kind": "hang"})
    with pytest.raises(httpx.ReadTimeout):
        await client(emulator.resources["east"], timeout=0.1).get("/analyzers/invoice")
    await control.post("/outages", json={"resource": "east", "kind": "none"})
    assert (await east.get("/analyzers/invoice")).status_code == 200


async def test_an_unavailable_resource_answers_503_whatever_the_key(
    east: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    await control.post("/outages", json={"resource": "east", "kind": "unavailable"})
    answer = await east.get("/analyzers/invoice", headers={"Ocp-Apim-Subscription-Key": "wrong"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "ServiceUnavailable")


async def test_a_reset_ends_outages_and_the_file_may_begin_with_one(config: EmulatorConfig) -> None:
    outage = {"resource": "east", "kind": "refuse"}
    told = EmulatorConfig.model_validate(config.model_dump() | {"outages": [outage]})
    async with running(told) as emulator, httpx.AsyncClient() as client:
        east, west = (emulator.resources[name].endpoint for name in ("east", "west"))
        for _ in range(2):
            with pytest.raises(httpx.ConnectError):
                await client.get(east)
            assert (await client.get(west)).status_code == 404
            await client.post(f"{emulator.control}/outages", json={**outage, "kind": "none"})
            assert (await client.get(east)).status_code == 404
            await client.post(f"{emulator.control}/outages", json={"resource": "west", "kind": "unavailable"})
            await client.post(f"{emulator.control}/reset")


async def test_latency_is_added_to_every_call(east: httpx.AsyncClient, control: httpx.AsyncClient) -> None:
    await control.post("/settings", json={"resource": "east", "latency": 0.1})
    started = time.monotonic()
    await east.get("/analyzers/invoice")
    assert time.monotonic() - started >= 0.1


async def test_more_calls_than_the_quota_of_a_minute_are_refused_with_retry_after(
    east: httpx.AsyncClient, west: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    await control.post("/settings", json={"resource": "east", "operations_per_minute": 2})
    answers = [await east.get("/analyzers/invoice") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 55 <= int(answers[-1].headers["retry-after"]) <= 60
    assert answers[-1].headers["x-ms-error-code"] == "429"
    assert (await west.get("/analyzers")).status_code == 200
    await control.post("/settings", json={"resource": "east", "operations_per_minute": 100})
    assert (await east.get("/analyzers/invoice")).status_code == 200


def test_a_minute_slides() -> None:
    minute = SlidingMinute()
    assert minute.seconds_until_room(0.0) == 0.0
    assert [minute.add(moment) for moment in (0.0, 10.0, 59.9, 60.0, 70.1)] == [1, 2, 3, 3, 3]
    assert minute.seconds_until_room(80.0) == pytest.approx(39.9)
    assert minute.count(200.0) == 0


def test_the_worst_minute_is_remembered() -> None:
    stats = Stats()
    for moment in (0.0, 1.0, 2.0, 100.0, 101.0):
        stats.called("get", data_plane=True, now=moment)
    stats.called("arm_resource", data_plane=False, now=101.0)
    assert stats.to_json()["most_operations_in_a_minute"] == 3
    assert stats.calls == {"get": 5, "arm_resource": 1}
