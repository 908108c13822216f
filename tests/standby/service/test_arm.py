"""Azure's management plane; tokens come from the managed identity of the fixture."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from standby.service.errors import (
    ForeignOrigin,
    NotAuthorized,
    ProtocolError,
    ResourceNotFound,
    ServiceUnavailable,
)
from standby.service.models import Account, CatalogModel, Deployment
from standby.service.retries import HttpRetries

if TYPE_CHECKING:
    from standby.service.client import ContentUnderstandingClient
    from tests.standby.service.conftest import Connect, Failure, Identity, Service

ARM = "https://management.azure.com"
ACCOUNT = "/subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/west"
VERSION = "api-version=2024-10-01"


@pytest.fixture
def client(connect: Connect, service: Service, identity: Identity) -> ContentUnderstandingClient:
    return connect(service, credentials={"kind": "entra"})


def deployments(*entries: dict[str, Any], following: str | None = None) -> httpx.Response:
    return httpx.Response(200, json={"value": list(entries), "nextLink": following})


async def test_the_account_is_told_in_azures_own_spelling(client: ContentUnderstandingClient, service: Service) -> None:
    body = {
        "id": ACCOUNT.replace("resourceGroups/g", "resourceGroups/G"),
        "location": "westus",
        "properties": {"endpoints": {"Content Understanding": "https://west.services.ai.azure.com/"}},
        "kind": "AIServices",
    }
    service.will(httpx.Response(200, json=body))
    assert await client.arm.get_account() == Account(
        id=ACCOUNT.replace("resourceGroups/g", "resourceGroups/G"),
        location="westus",
    )
    assert str(service.requests[0].url) == f"{ARM}{ACCOUNT}?{VERSION}"


async def test_deployments_are_read_over_all_their_pages(client: ContentUnderstandingClient, service: Service) -> None:
    chat = {
        "name": "chat",
        "properties": {"model": {"name": "gpt-4.1", "version": "2025"}, "provisioningState": "Succeeded"},
        "sku": {"name": "Standard", "capacity": 50},
    }
    link = f"{ARM}{ACCOUNT}/deployments?{VERSION}&$skiptoken=a%2Fb"
    service.will(deployments(chat, following=link), deployments({"name": "bare"}))
    assert await client.arm.list_deployments() == (
        Deployment(name="chat", model="gpt-4.1", version="2025", capacity=50, state="Succeeded"),
        Deployment(name="bare", model=""),
    )
    assert [str(request.url) for request in service.requests] == [
        f"{ARM}{ACCOUNT}/deployments?{VERSION}",
        link,
    ]


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "d", "properties": None, "sku": None},
        {"name": "d", "properties": {"model": None}, "sku": {"capacity": None}},
        {"name": "d", "properties": {"model": {"version": None}}},
    ],
)
async def test_a_deployment_may_leave_all_but_its_name_unsaid(
    client: ContentUnderstandingClient, service: Service, entry: dict[str, Any]
) -> None:
    service.will(deployments(entry))
    assert await client.arm.list_deployments() == (Deployment(name="d", model=""),)


async def test_the_models_tell_when_they_end_over_all_pages(
    client: ContentUnderstandingClient, service: Service
) -> None:
    link = f"{ARM}{ACCOUNT}/models?{VERSION}&$skiptoken=2"
    ending = {"name": "gpt-4.1", "version": "2025", "deprecation": {"inference": "2026-10-14T00:00:00Z"}}
    service.will(
        deployments(ending, following=link),
        deployments(
            {"name": "later", "version": "1", "deprecation": {"fineTune": "2027-01-01T00:00:00Z"}},
            {"name": "odd", "version": None, "deprecation": {"inference": "next year"}},
            {"name": "none", "deprecation": None},
            {},
        ),
    )
    assert await client.arm.list_models() == (
        CatalogModel(name="gpt-4.1", version="2025", retires_at=datetime(2026, 10, 14, tzinfo=UTC)),
        CatalogModel(name="later", version="1", retires_at=None),
        CatalogModel(name="odd", version="", retires_at=None),
        CatalogModel(name="none", version="", retires_at=None),
        CatalogModel(name="", version="", retires_at=None),
    )
    assert [str(request.url) for request in service.requests] == [f"{ARM}{ACCOUNT}/models?{VERSION}", link]


@pytest.mark.parametrize("link", ["https://elsewhere.example/deployments", "https://west.services.ai.azure.com/x"])
async def test_the_management_token_goes_to_no_other_origin(
    client: ContentUnderstandingClient, service: Service, link: str
) -> None:
    service.will(deployments({"name": "d"}, following=link))
    with pytest.raises(ForeignOrigin, match=r"is at https://management\.azure\.com but points to"):
        await client.arm.list_deployments()
    assert len(service.requests) == 1


async def test_pages_of_deployments_without_an_end_are_an_error(
    client: ContentUnderstandingClient, service: Service
) -> None:
    service.always(lambda _: deployments(following=f"{ARM}{ACCOUNT}/deployments?p={len(service.requests)}"))
    with pytest.raises(ProtocolError, match="There is no end to the list of deployments"):
        await client.arm.list_deployments()
    assert len(service.requests) == 100


async def test_a_missing_role_is_told_with_its_name(
    client: ContentUnderstandingClient, service: Service, failure: Failure
) -> None:
    service.will(failure(403, "AuthorizationFailed", "The client has no role.", inner=("Inner", "No role.")))
    with pytest.raises(NotAuthorized) as caught:
        await client.arm.list_deployments()
    error = caught.value
    assert error.next_action == (
        "Give the identity the role Reader on west, or set its arm_endpoint to an empty string"
    )
    assert (error.status, error.code, error.inner_code) == (403, "AuthorizationFailed", "Inner")
    assert (error.request_id, error.resource) == ("r-1", "west")


async def test_where_there_is_no_token_a_role_is_not_what_is_missing(
    client: ContentUnderstandingClient, service: Service, identity: Identity
) -> None:
    identity.refusal = httpx.Response(400, json={"error": "no identity"})
    with pytest.raises(NotAuthorized) as caught:
        await client.arm.list_deployments()
    assert "Reader" not in caught.value.next_action
    assert service.requests == []


async def test_a_resource_that_azure_does_not_know_is_told(
    client: ContentUnderstandingClient, service: Service, failure: Failure
) -> None:
    service.will(failure(404, "ResourceNotFound", "Not found."))
    with pytest.raises(ResourceNotFound, match="the management plane of west"):
        await client.arm.get_account()


async def test_what_passes_is_asked_again(
    client: ContentUnderstandingClient, service: Service, failure: Failure
) -> None:
    service.will(failure(503), httpx.ReadError("lost"), deployments({"name": "d"}))
    assert len(await client.arm.list_deployments()) == 1


async def test_what_does_not_pass_is_told_in_the_end(
    connect: Connect, service: Service, failure: Failure, identity: Identity
) -> None:
    client = connect(service, credentials={"kind": "entra"}, retries=HttpRetries(attempts=1))
    service.will(failure(500))
    with pytest.raises(ServiceUnavailable):
        await client.arm.get_account()


@pytest.mark.parametrize("body", [{}, {"id": ACCOUNT}, {"value": [{}]}, []])
async def test_an_answer_of_another_shape_is_an_error(
    client: ContentUnderstandingClient, service: Service, body: object
) -> None:
    service.always(lambda _: httpx.Response(200, json=body))
    with pytest.raises(ProtocolError, match="lacks"):
        await client.arm.get_account()
    with pytest.raises(ProtocolError, match="lacks"):
        await client.arm.list_deployments()


async def test_a_deployment_that_cannot_be_read_costs_itself_only(
    client: ContentUnderstandingClient, service: Service
) -> None:
    odd = '{"value":[{"name":7},7,{"name":"\\ud800"},{"name":"a","sku":{"capacity":NaN}},{"name":"d"}]}'
    service.will(httpx.Response(200, content=odd.encode()))
    assert [each.name for each in await client.arm.list_deployments()] == ["d"]


async def test_a_default_that_cannot_be_read_costs_itself_only(
    client: ContentUnderstandingClient, service: Service
) -> None:
    odd = '{"modelDeployments":{"a":7,"b":null,"c\\ud800":"x","d":"\\udfff","gpt":"gpt-1"}}'
    service.will(httpx.Response(200, content=odd.encode()))
    assert (await client.get_defaults()).model_deployments == {"gpt": "gpt-1"}
