"""What one resource holds, in one pass."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from standby.replication.inventory import Inventory, read_serving, take_inventories, take_inventory
from standby.service.client import ArmClient, ContentUnderstandingClient
from standby.service.errors import NotAuthorized, ServiceError, ServiceUnavailable
from standby.service.models import Deployment
from tests.standby.replication.world import (
    PREVIEW_2025,
    Service,
    certificates,
    definition,
    deployment,
    refusal,
    resource,
)


@pytest.fixture
def service() -> Service:
    return Service()


@asynccontextmanager
async def opened(service: Service, name: str = "west") -> AsyncIterator[ContentUnderstandingClient]:
    async with service.client(name) as client:
        yield client


async def taken(service: Service) -> Inventory:
    async with opened(service) as client:
        return await take_inventory(client)


async def test_prebuilt_analyzers_are_everywhere_and_left_out(service: Service) -> None:
    service.hold("west", definition("prebuilt-invoice"), definition("mine"))
    inventory = await taken(service)
    assert inventory.analyzers.keys() == inventory.definitions.keys() == {"mine"}


async def test_definitions_are_exactly_what_the_service_sent(service: Service) -> None:
    sent = definition("mine", unknownField={"deep": [1, None]}, config={"_experimental": {}})
    service.hold("west", sent)
    assert (await taken(service)).definitions["mine"] == sent


async def test_defaults_that_were_never_set_are_told_from_empty_ones(service: Service) -> None:
    assert (await taken(service)).serving.defaults is None
    service.region("west").defaults = {}
    assert (await taken(service)).serving.defaults == {}


async def test_with_a_key_deployments_are_unknown_and_not_none(service: Service) -> None:
    assert (await taken(service)).serving.deployments is None


async def test_the_preview_protocol_has_no_defaults_to_ask_for(service: Service) -> None:
    async with service.client("west", api_version=PREVIEW_2025) as client:
        assert (await read_serving(client)).defaults is None
    assert service.calls == []


@dataclass
class Arm(ArmClient):
    """A management plane that answers as it is told to."""

    deployments: Callable[[], tuple[Deployment, ...]]

    async def list_deployments(self) -> tuple[Deployment, ...]:
        return self.deployments()


class Managed(ContentUnderstandingClient):
    """A client with such a management plane."""

    deployments: Callable[[], tuple[Deployment, ...]] = tuple

    @property
    def arm(self) -> ArmClient:
        return Arm(self.deployments)


def managed(service: Service, answer: Callable[[], tuple[Deployment, ...]]) -> Managed:
    client = Managed(resource("west"), tls=certificates(), transport=service.transport())
    client.deployments = answer
    return client


async def test_deployments_are_known_by_name(service: Service) -> None:
    async with managed(service, lambda: (deployment("gpt", "gpt-4.1"),)) as client:
        assert (await read_serving(client)).deployments == {"gpt": deployment("gpt", "gpt-4.1")}


@pytest.mark.parametrize("error", [ServiceUnavailable("down"), NotAuthorized("no role")])
async def test_a_closed_management_plane_stops_nothing_and_is_warned_of(
    service: Service, error: ServiceError, caplog: pytest.LogCaptureFixture
) -> None:
    def closed() -> tuple[Deployment, ...]:
        raise error

    async with managed(service, closed) as client:
        assert (await read_serving(client)).deployments is None
    assert "deployments of west are unknown" in caplog.text


async def test_a_resource_that_refuses_is_raised_as_its_own_error(service: Service) -> None:
    service.intervene = lambda _when, _request: refusal(401, "PermissionDenied", "NoRole", "No.")
    async with opened(service, "west") as west, opened(service, "east") as east:
        with pytest.raises(NotAuthorized):
            await take_inventories([west, east])


async def test_inventories_are_by_resource(service: Service) -> None:
    service.hold("east", definition("a"))
    async with opened(service, "west") as west, opened(service, "east") as east:
        both = await take_inventories([west, east])
    assert {name: list(inventory.analyzers) for name, inventory in both.items()} == {
        "west": [],
        "east": ["a"],
    }
