"""The copy of the released API: grant at the source, copy at the target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from standby.emulator.serve import Emulator

Client = Callable[..., httpx.AsyncClient]
Finish = Callable[[httpx.AsyncClient, httpx.Response], Awaitable[Any]]
Grant = Callable[[], Awaitable[httpx.Response]]
COPY = "/analyzers/invoice:copy"


@pytest.fixture
def grant(emulator: Emulator, east: httpx.AsyncClient) -> Grant:
    """Grants west the copy of east's invoice."""
    target = {"targetAzureResourceId": emulator.resources["west"].resource_id, "targetRegion": "westus3"}
    return lambda: east.post("/analyzers/invoice:grantCopyAuthorization", json=target)


@pytest.fixture
def order(emulator: Emulator) -> dict[str, str]:
    """What west is told to copy."""
    return {
        "sourceAnalyzerId": "invoice",
        "sourceAzureResourceId": emulator.resources["east"].resource_id,
        "sourceRegion": "eastus",
    }


def assert_not_granted(refused: httpx.Response, source_id: str, analyzer: str = "invoice") -> None:
    assert refused.status_code == 404
    assert refused.json()["error"]["code"] == "NotFound"
    assert refused.json()["error"]["innererror"] == {
        "code": "ModelNotFound",
        "message": f"The resource '{source_id}' has not granted the necessary permissions for the source "
        f"analyzer '{analyzer}' to copy to the target resource.",
    }


async def test_a_copy_carries_the_definition_and_nothing_of_the_history(
    east: httpx.AsyncClient, west: httpx.AsyncClient, grant: Grant, order: dict[str, str], finish: Finish
) -> None:
    await grant()
    started = await west.post(COPY, json=order)
    assert (started.status_code, started.json()["status"]) == (201, "creating")
    ended = await finish(west, started)
    assert ended["status"] == "Succeeded"
    source, copy = [(await each.get("/analyzers/invoice")).json() for each in (east, west)]
    assert copy == ended["result"]
    dates = {"createdAt": copy["createdAt"], "lastModifiedAt": copy["lastModifiedAt"]}
    # knowledgeSources goes on to point at the storage of the source.
    assert copy == {**source, **dates}


async def test_a_copy_is_a_snapshot(
    east: httpx.AsyncClient, west: httpx.AsyncClient, grant: Grant, order: dict[str, str], finish: Finish
) -> None:
    await grant()
    await finish(west, await west.post(COPY, json=order))
    await east.patch("/analyzers/invoice", json={"description": "Later"})
    assert (await west.get("/analyzers/invoice")).json()["description"] == "Invoices"


async def test_a_copy_needs_no_defaults_at_the_target_and_none_come_along(
    west: httpx.AsyncClient, grant: Grant, order: dict[str, str], finish: Finish
) -> None:
    await grant()
    ended = await finish(west, await west.post(COPY, json=order))
    assert ended["result"]["models"]["completion"] == "gpt-4.1"
    assert (await west.get("/defaults")).status_code == 400


async def test_within_a_resource_a_copy_needs_no_grant(east: httpx.AsyncClient, finish: Finish) -> None:
    started = await east.post("/analyzers/second:copy", json={"sourceAnalyzerId": "invoice"})
    assert (await finish(east, started))["result"]["analyzerId"] == "second"


async def test_a_grant_lasts_a_day_and_has_neither_token_nor_source(grant: Grant, emulator: Emulator) -> None:
    granted = (await grant()).json()
    assert granted.keys() == {"targetAzureResourceId", "targetRegion", "expiresAt"}
    assert granted["targetAzureResourceId"] == emulator.resources["west"].resource_id
    left = datetime.fromisoformat(granted["expiresAt"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)


async def test_a_grant_serves_more_than_one_copy(
    west: httpx.AsyncClient, grant: Grant, order: dict[str, str], finish: Finish
) -> None:
    await grant()
    for name in ("one", "two"):
        assert (await finish(west, await west.post(f"/analyzers/{name}:copy", json=order)))["result"]


async def test_without_a_grant_a_copy_is_not_granted(west: httpx.AsyncClient, order: dict[str, str]) -> None:
    assert_not_granted(await west.post(COPY, json=order), order["sourceAzureResourceId"])
    assert (await west.get("/analyzers/invoice")).status_code == 404


async def test_resource_ids_are_compared_by_case(
    emulator: Emulator,
    east: httpx.AsyncClient,
    west: httpx.AsyncClient,
    grant: Grant,
    order: dict[str, str],
) -> None:
    lower = emulator.resources["west"].resource_id.lower()
    granted = await east.post("/analyzers/invoice:grantCopyAuthorization", json={"targetAzureResourceId": lower})
    assert granted.status_code == 200
    assert_not_granted(await west.post(COPY, json=order), order["sourceAzureResourceId"])
    await grant()
    source = order["sourceAzureResourceId"].lower()
    assert_not_granted(await west.post(COPY, json={**order, "sourceAzureResourceId": source}), source)


async def test_a_region_where_the_resource_is_not_leads_nowhere(
    emulator: Emulator,
    east: httpx.AsyncClient,
    west: httpx.AsyncClient,
    grant: Grant,
    order: dict[str, str],
) -> None:
    target = {"targetAzureResourceId": emulator.resources["west"].resource_id, "targetRegion": "uksouth"}
    await east.post("/analyzers/invoice:grantCopyAuthorization", json=target)
    assert_not_granted(await west.post(COPY, json=order), order["sourceAzureResourceId"])
    await grant()
    elsewhere = {**order, "sourceRegion": "uksouth"}
    assert_not_granted(await west.post(COPY, json=elsewhere), order["sourceAzureResourceId"])
    assert (await west.post(COPY, json={**order, "sourceRegion": "East US"})).status_code == 201


async def test_a_grant_goes_with_its_analyzer(
    east: httpx.AsyncClient, west: httpx.AsyncClient, grant: Grant, order: dict[str, str]
) -> None:
    await grant()
    await east.delete("/analyzers/invoice")
    await east.put("/analyzers/invoice", json={})
    assert_not_granted(await west.post(COPY, json=order), order["sourceAzureResourceId"])


async def test_a_grant_is_void_once_it_is_over(
    west: httpx.AsyncClient, grant: Grant, order: dict[str, str], control: httpx.AsyncClient
) -> None:
    fault = {"call": "authorize", "fault": {"kind": "short_grant", "seconds": 0}}
    await control.post("/faults", json=fault)
    assert (await grant()).status_code == 200
    assert_not_granted(await west.post(COPY, json=order), order["sourceAzureResourceId"])


async def test_a_grant_that_ends_while_the_copy_runs_does_not_stop_it(
    east: httpx.AsyncClient, west: httpx.AsyncClient, grant: Grant, order: dict[str, str], finish: Finish
) -> None:
    await grant()
    started = await west.post(COPY, json=order)
    await east.delete("/analyzers/invoice")
    assert (await finish(west, started))["status"] == "Succeeded"


async def test_an_existing_analyzer_is_copied_over_only_where_that_is_allowed(
    west: httpx.AsyncClient, grant: Grant, order: dict[str, str], finish: Finish
) -> None:
    await grant()
    await west.put("/analyzers/invoice", json={"description": "Own"})
    assert (await west.post(COPY, json=order)).status_code == 409
    assert (await west.get("/analyzers/invoice")).json()["description"] == "Own"
    started = await west.post(COPY, json=order, params={"allowReplace": "true"})
    assert started.status_code == 201
    assert (await finish(west, started))["result"]["description"] == "Invoices"


async def test_of_two_copies_to_the_same_id_at_once_one_is_taken(
    west: httpx.AsyncClient, grant: Grant, order: dict[str, str], control: httpx.AsyncClient
) -> None:
    await control.post("/settings", json={"service_time": 60})
    await grant()
    assert [(await west.post(COPY, json=order)).status_code for _ in range(2)] == [201, 409]


@pytest.mark.parametrize("body", [{}, {"sourceAnalyzerId": "nobody"}, {"sourceAnalyzerId": ""}])
async def test_a_missing_source_is_an_invalid_request(east: httpx.AsyncClient, body: dict[str, str]) -> None:
    refused = await east.post(COPY.replace("invoice", "new"), json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InvalidRequest")


async def test_a_source_that_is_not_ready_is_an_invalid_request(
    east: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    await control.post("/settings", json={"service_time": 60})
    await east.put("/analyzers/slow", json={"fieldSchema": {"fields": {}}})
    refused = await east.post("/analyzers/new:copy", json={"sourceAnalyzerId": "slow"})
    assert refused.status_code == 400


async def test_the_analyzer_to_grant_must_exist_and_the_target_must_be_named(
    east: httpx.AsyncClient, emulator: Emulator
) -> None:
    target = {"targetAzureResourceId": emulator.resources["west"].resource_id}
    nobody = await east.post("/analyzers/nobody:grantCopyAuthorization", json=target)
    unnamed = await east.post("/analyzers/invoice:grantCopyAuthorization", json={})
    assert (nobody.status_code, unnamed.status_code) == (404, 400)


async def test_each_protocol_is_there_only_under_its_own_versions(emulator: Emulator, client: Client) -> None:
    served = emulator.resources["east"]
    target = {"targetAzureResourceId": emulator.resources["west"].resource_id}
    found = {
        (version, action): (await client(served, version).post(f"/analyzers/invoice:{action}", json=target)).status_code
        for version in ("2025-05-01-preview", "2025-11-01", "2026-06-01-preview")
        for action in ("grantCopyAuthorization", "getCopyAuthorization")
    }
    assert [key for key, status in found.items() if status == 200] == [
        ("2025-05-01-preview", "getCopyAuthorization"),
        ("2025-11-01", "grantCopyAuthorization"),
        ("2026-06-01-preview", "grantCopyAuthorization"),
    ]
    assert set(found.values()) == {200, 404}


async def test_a_grant_under_one_version_is_none_under_another(
    emulator: Emulator, client: Client, grant: Grant, order: dict[str, str]
) -> None:
    await grant()
    newer = client(emulator.resources["west"], "2026-06-01-preview")
    assert_not_granted(await newer.post(COPY, json=order), order["sourceAzureResourceId"])
