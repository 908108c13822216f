"""Keys and tokens: who is let in at the data plane and at the management plane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from azure.core.credentials_async import AsyncTokenCredential
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

from standby.emulator.serve import Emulator
from standby.emulator.tokens import TokenIssuer

Client = Callable[..., httpx.AsyncClient]
DATA_PLANE = "https://cognitiveservices.azure.com/.default"
MANAGEMENT = "https://management.azure.com/.default"
IDENTITIES: list[type[AsyncTokenCredential]] = [ManagedIdentityCredential, DefaultAzureCredential]


@pytest.fixture
def _identity(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLIENT_ID", "TENANT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE", "TOKEN_CREDENTIALS"):
        monkeypatch.delenv(f"AZURE_{name}", raising=False)
    monkeypatch.setenv("IDENTITY_ENDPOINT", emulator.identity.endpoint)
    monkeypatch.setenv("IDENTITY_HEADER", emulator.identity.header)


@pytest.fixture(params=IDENTITIES)
async def identity(_identity: None, request: pytest.FixtureRequest) -> AsyncIterator[AsyncTokenCredential]:
    """The real azure-identity, as it would run in an App Service."""
    credential: AsyncTokenCredential = request.param()
    async with credential:
        yield credential


async def token(emulator: Emulator, audience: str) -> str:
    async with httpx.AsyncClient() as client:
        answer = await client.get(
            emulator.identity.endpoint,
            params={"resource": audience, "api-version": "2019-08-01"},
            headers={"X-IDENTITY-HEADER": emulator.identity.header},
        )
        return str(answer.json()["access_token"])


def bearing(client: Client, emulator: Emulator, bearer: str) -> httpx.AsyncClient:
    return client(emulator.resources["east"], headers={"Authorization": f"Bearer {bearer}"})


async def test_a_wrong_or_missing_key_is_a_401_whose_code_says_so(
    emulator: Emulator, client: Client, control: httpx.AsyncClient
) -> None:
    served = emulator.resources["east"]
    for headers in ({"Ocp-Apim-Subscription-Key": "wrong"}, {"Ocp-Apim-Subscription-Key": "schlüssel"}, {}):
        encoded = {name: value.encode() for name, value in headers.items()}
        refused = await client(served, headers=encoded).get("/analyzers")
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == refused.headers["x-ms-error-code"]
    assert (await control.get("/stats")).json()["resources"]["east"]["statuses"] == {"401": 3}


async def test_every_call_needs_a_key(emulator: Emulator, client: Client) -> None:
    stranger = client(emulator.resources["east"], headers={})
    for method, path in (
        ("GET", "/analyzers/invoice"),
        ("PUT", "/analyzers/x"),
        ("PATCH", "/analyzers/invoice"),
        ("DELETE", "/analyzers/invoice"),
        ("POST", "/analyzers/invoice:copy"),
        ("POST", "/analyzers/invoice:grantCopyAuthorization"),
        ("GET", "/analyzers/invoice/operations/x"),
        ("GET", "/defaults"),
        ("PATCH", "/defaults"),
    ):
        assert (await stranger.request(method, path)).status_code == 401


async def test_the_key_of_one_resource_is_not_that_of_another(emulator: Emulator, client: Client) -> None:
    key = emulator.resources["west"].key
    stranger = client(emulator.resources["east"], headers={"Ocp-Apim-Subscription-Key": key})
    assert (await stranger.get("/analyzers")).status_code == 401


async def test_azure_identity_gets_a_token_that_the_data_plane_takes(
    emulator: Emulator, client: Client, identity: AsyncTokenCredential
) -> None:
    got = await identity.get_token(DATA_PLANE)
    assert (await bearing(client, emulator, got.token).get("/analyzers")).status_code == 200


async def test_azure_identity_gets_a_token_that_the_management_plane_takes(
    emulator: Emulator, identity: AsyncTokenCredential
) -> None:
    got = await identity.get_token(MANAGEMENT)
    served = emulator.resources["east"]
    async with httpx.AsyncClient(
        base_url=emulator.arm,
        headers={"Authorization": f"Bearer {got.token}"},
        params={"api-version": "2024-10-01"},
    ) as arm:
        account = (await arm.get(served.resource_id.lower())).json()
        deployments = (await arm.get(f"{served.resource_id}/deployments")).json()
        nobody = await arm.get(f"{served.resource_id}x")
        no_version = await arm.get(served.resource_id, params={"api-version": ""})
    assert (account["id"], account["location"]) == (served.resource_id, "eastus")
    assert served.endpoint + "/" in account["properties"]["endpoints"].values()
    assert deployments["value"][0]["name"] == "chat"
    assert deployments["value"][0]["properties"]["model"]["name"] == "gpt-4.1"
    assert deployments["value"][0]["properties"]["provisioningState"] == "Succeeded"
    assert deployments["value"][0]["sku"]["capacity"] == 100
    assert (nobody.status_code, no_version.status_code) == (404, 400)


async def test_the_models_tell_when_they_end_and_the_deployments_do_not(
    emulator: Emulator, control: httpx.AsyncClient, identity: AsyncTokenCredential
) -> None:
    ending = {
        "name": "chat",
        "model": "gpt-4.1",
        "version": "2025",
        "retires_at": "2027-01-01T01:00:00+01:00",
    }
    await control.post(
        "/settings",
        json={"resource": "east", "deployments": [ending, {"name": "emb", "model": "embed"}]},
    )
    got = await identity.get_token(MANAGEMENT)
    url = f"{emulator.arm}{emulator.resources['east'].resource_id}"
    headers, version = {"Authorization": f"Bearer {got.token}"}, {"api-version": "2024-10-01"}
    models = (await control.get(f"{url}/models", headers=headers, params=version)).json()["value"]
    listed = await control.get(f"{url}/deployments", headers=headers, params=version)
    assert [(each["name"], each["version"], each["deprecation"]) for each in models] == [
        ("gpt-4.1", "2025", {"inference": "2027-01-01T00:00:00Z"}),
        ("embed", "1", {}),
    ]
    assert all("deprecation" not in each["properties"]["model"] for each in listed.json()["value"])


async def test_the_management_plane_takes_neither_a_key_nor_a_token_of_another_audience(
    emulator: Emulator, control: httpx.AsyncClient
) -> None:
    served = emulator.resources["east"]
    other = await token(emulator, "https://cognitiveservices.azure.com")
    url = f"{emulator.arm}{served.resource_id}?api-version=2024-10-01"
    for headers in ({"Ocp-Apim-Subscription-Key": served.key}, {"Authorization": f"Bearer {other}"}, {}):
        assert (await control.get(url, headers=headers)).status_code == 401
    counted = (await control.get("/stats")).json()["resources"]["east"]
    assert counted["calls"] == {"arm_resource": 3}
    assert counted["most_operations_in_a_minute"] == 0


async def test_the_management_plane_has_faults_too(emulator: Emulator, control: httpx.AsyncClient) -> None:
    rule = {"call": "arm_deployments", "fault": {"kind": "status", "status": 503}}
    await control.post("/faults", json=rule)
    url = f"{emulator.arm}{emulator.resources['east'].resource_id}"
    assert (await control.get(url)).status_code == 401
    assert (await control.get(f"{url}/deployments")).status_code == 503


async def test_a_token_of_another_audience_lacks_permission(emulator: Emulator, client: Client) -> None:
    stranger = bearing(client, emulator, await token(emulator, "https://management.azure.com"))
    refused = await stranger.get("/analyzers")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "PermissionDenied")


async def test_revoked_and_expired_tokens_are_refused_and_new_ones_taken(
    emulator: Emulator, client: Client, control: httpx.AsyncClient
) -> None:
    async def status_with_a_token(then: dict[str, object]) -> int:
        bearer = await token(emulator, "https://cognitiveservices.azure.com/")
        if then:
            await control.post("/settings", json=then)
        return (await bearing(client, emulator, bearer).get("/analyzers")).status_code

    assert await status_with_a_token({}) == 200
    assert await status_with_a_token({"revoke_tokens": True}) == 401
    assert await status_with_a_token({"token_seconds": 0}) == 200
    assert await status_with_a_token({}) == 401


async def test_the_identity_endpoint_needs_its_header_and_a_resource(
    emulator: Emulator, control: httpx.AsyncClient
) -> None:
    url, header = emulator.identity.endpoint, {"X-IDENTITY-HEADER": emulator.identity.header}
    asked = {"resource": "https://management.azure.com", "api-version": "2019-08-01"}
    assert (await control.get(url, params=asked)).status_code == 401
    assert (await control.get(url, params={"resource": "x"}, headers=header)).status_code == 400
    assert (await control.get(url, params=asked, headers=header)).json()["resource"] == asked["resource"]


def test_a_token_is_good_for_its_audience_until_it_is_over() -> None:
    issuer = TokenIssuer(60)
    bearer, _ = issuer.issue("https://management.azure.com/")
    assert issuer.audience(bearer) == "https://management.azure.com"
    assert issuer.audience("made up") is None
