"""What the management plane lists: subscriptions, and the resources of one, in pages."""

from __future__ import annotations

import httpx
import pytest

from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import Emulator, running
from standby.service.client import open_arm
from standby.service.errors import NotAuthorized, ResourceNotFound
from standby.service.retries import HttpRetries

ONE, TWO = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
REGIONS = {
    "east": ("eastus", ONE),
    "west": ("westus3", ONE),
    "south": ("southcentralus", ONE),
    "north": ("northeurope", TWO),
}
CONFIG = EmulatorConfig.model_validate(
    {"page_size": 2, "resources": {name: {"region": it[0], "subscription": it[1]} for name, it in REGIONS.items()}}
)


def identify(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", emulator.identity.endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", emulator.identity.header)


async def test_subscriptions_and_their_resources_are_listed_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(CONFIG) as emulator:
        identify(emulator, monkeypatch)
        async with open_arm(emulator.arm, HttpRetries(attempts=1)) as arm:
            assert [each.id for each in await arm.list_subscriptions()] == [ONE, TWO]
            listed = await arm.list_accounts(ONE)
            assert [(each.name, each.location, each.kind) for each in listed] == [
                (name, REGIONS[name][0], "AIServices") for name in ("east", "west", "south")
            ]
            assert [each.id for each in listed] == [emulator.resources[each.name].resource_id for each in listed]
            assert {each.endpoint.rstrip("/") for each in listed} <= {it.endpoint for it in emulator.resources.values()}
            assert emulator.world.resources["east"].stats.calls["arm_accounts"] == 2


async def test_a_subscription_can_be_closed_to_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = {"resource": "north", "call": "arm_accounts", "fault": {"kind": "status", "status": 403}}
    config = EmulatorConfig.model_validate({**CONFIG.model_dump(), "faults": [rule]})
    async with running(config) as emulator:
        identify(emulator, monkeypatch)
        async with open_arm(emulator.arm, HttpRetries(attempts=1)) as arm:
            with pytest.raises(NotAuthorized, match=f"the role Reader on subscription {TWO}"):
                await arm.list_accounts(TWO)
            with pytest.raises(ResourceNotFound):
                await arm.list_accounts("33333333-3333-3333-3333-333333333333")


async def test_no_list_is_given_without_a_token() -> None:
    async with running(CONFIG) as emulator, httpx.AsyncClient() as client:
        for path in ("/subscriptions", f"/subscriptions/{ONE}/providers/Microsoft.CognitiveServices/accounts"):
            assert (await client.get(f"{emulator.arm}{path}?api-version=2024-10-01")).status_code == 401
