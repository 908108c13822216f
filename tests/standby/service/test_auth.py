"""Keys and Entra tokens; azure-identity is the real one, against an endpoint like App Service's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
from azure.core.credentials import AccessToken
from pydantic import SecretStr

from standby.config.resource import DeploymentOverrides, EntraCredentials, KeyCredentials
from standby.service.auth import DATA_SCOPE, EntraAuth, auth_for
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import NotAuthorized, NotConnected, ProtocolError
from standby.service.protocols import CopyAuthorization, protocol_for
from standby.service.retries import HttpRetries

if TYPE_CHECKING:
    from pathlib import Path

    from tests.standby.conftest import MakeResource
    from tests.standby.service.conftest import Connect, Failure, FastTime, Identity, Service

ENTRA = {"kind": "entra"}


class Fake:
    """A credential whose tokens last as long as is said."""

    def __init__(self, lifetimes: list[float], *, hold_first: bool = False) -> None:
        self.asked = asyncio.Event()
        self._lifetimes = lifetimes
        self._hold = hold_first
        self._given = 0

    async def get_token(self, *_: str, **__: Any) -> AccessToken:
        self._given += 1
        self.asked.set()
        if self._hold and self._given == 1:
            await asyncio.Event().wait()
        return AccessToken(f"token-{self._given}", int(time.time() + self._lifetimes[self._given - 1]))

    async def close(self) -> None:
        """Nothing is open."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""


def found(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"analyzerId": "a"})


def signatures(service: Service) -> list[str]:
    return [request.headers["authorization"] for request in service.requests]


async def test_a_key_is_on_every_request_and_no_token(connect: Connect, service: Service) -> None:
    client = connect(service)
    service.always(found)
    await client.get_analyzer("a")
    await client.get_analyzer("a")
    for request in service.requests:
        assert request.headers["ocp-apim-subscription-key"] == "canary-key-of-west"
        assert "authorization" not in request.headers


async def test_a_key_that_is_refused_is_not_tried_again(connect: Connect, service: Service, failure: Failure) -> None:
    service.will(failure(401, "PermissionDenied"))
    with pytest.raises(NotAuthorized, match="Correct the key"):
        await connect(service).get_analyzer("a")
    assert len(service.requests) == 1


async def test_a_token_is_asked_for_as_app_service_has_it(
    connect: Connect, service: Service, identity: Identity
) -> None:
    service.always(found)
    await connect(service, credentials=ENTRA).get_analyzer("a")
    (asked,) = identity.asked
    query = httpx.URL(f"http://x{asked.target}").params
    assert (asked.method, query["resource"]) == ("GET", "https://cognitiveservices.azure.com")
    assert query["api-version"] == "2019-08-01"
    assert asked.headers["x-identity-header"] == "canary-identity-header"
    assert signatures(service) == ["Bearer canary-token-1"]


async def test_a_token_is_kept_until_shortly_before_its_end(
    connect: Connect, service: Service, identity: Identity
) -> None:
    client = connect(service, credentials=ENTRA)
    service.always(found)
    for _ in range(3):
        await client.get_analyzer("a")
    assert len(identity.asked) == 1


async def test_a_token_about_to_end_is_renewed_before_it_is_used_again(connect: Connect, service: Service) -> None:
    credential = Fake(lifetimes=[299, 3600])
    auth = EntraAuth(lambda: credential, "scope")
    async with httpx.AsyncClient(auth=auth, transport=httpx.MockTransport(service.handle)) as http:
        service.always(found)
        for _ in range(3):
            await http.get("https://west.example/")
    assert signatures(service) == ["Bearer token-1", "Bearer token-2", "Bearer token-2"]


async def test_requests_that_start_together_ask_for_one_token(
    connect: Connect, service: Service, identity: Identity
) -> None:
    client = connect(service, credentials=ENTRA)
    service.always(found)
    await asyncio.gather(*(client.get_analyzer("a") for _ in range(20)))
    assert len(identity.asked) == 1
    assert set(signatures(service)) == {"Bearer canary-token-1"}


async def test_a_refused_token_is_renewed_once_and_the_request_repeated(
    connect: Connect, service: Service, failure: Failure, identity: Identity
) -> None:
    client = connect(service, credentials=ENTRA)
    service.will(failure(401))
    service.always(found)
    await client.get_analyzer("a")
    await client.get_analyzer("a")
    assert signatures(service) == [f"Bearer canary-token-{number}" for number in (1, 2, 2)]
    assert len(identity.asked) == 2


async def test_a_second_refusal_is_final(
    connect: Connect, service: Service, failure: Failure, identity: Identity
) -> None:
    service.always(lambda _: failure(401, "PermissionDenied"))
    with pytest.raises(NotAuthorized) as caught:
        await connect(service, credentials=ENTRA).get_analyzer("a")
    assert (len(service.requests), len(identity.asked)) == (2, 2)
    assert (caught.value.status, caught.value.code) == (401, "PermissionDenied")


async def test_requests_that_are_refused_together_ask_for_one_new_token(
    connect: Connect, service: Service, failure: Failure, identity: Identity
) -> None:
    client = connect(service, credentials=ENTRA)
    together = asyncio.Barrier(10)

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["authorization"] == "Bearer canary-token-1":
            await together.wait()
            return failure(401)
        return found(request)

    service.always(answer)
    await asyncio.gather(*(client.get_analyzer("a") for _ in range(10)))
    assert (len(service.requests), len(identity.asked)) == (20, 2)


async def test_whoever_gives_up_while_a_token_is_fetched_holds_nobody_up(connect: Connect, service: Service) -> None:
    credential = Fake(lifetimes=[3600, 3600], hold_first=True)
    auth = EntraAuth(lambda: credential, "scope")
    service.always(found)
    async with httpx.AsyncClient(auth=auth, transport=httpx.MockTransport(service.handle)) as http:
        impatient = asyncio.create_task(http.get("https://west.example/"))
        await credential.asked.wait()
        patient = asyncio.create_task(http.get("https://west.example/"))
        impatient.cancel()
        assert (await patient).status_code == 200
        with pytest.raises(asyncio.CancelledError):
            await impatient
    assert signatures(service) == ["Bearer token-2"]


async def test_the_management_plane_gets_a_token_of_its_own(
    connect: Connect, service: Service, identity: Identity
) -> None:
    client = connect(service, credentials=ENTRA)
    service.will(found, httpx.Response(200, json={"value": []}))
    await client.get_analyzer("a")
    await client.arm.list_deployments()
    resources = [httpx.URL(f"http://x{asked.target}").params["resource"] for asked in identity.asked]
    assert resources == ["https://cognitiveservices.azure.com", "https://management.azure.com"]
    assert signatures(service) == ["Bearer canary-token-1", "Bearer canary-token-2"]
    assert [request.url.host for request in service.requests] == [
        "west.services.ai.azure.com",
        "management.azure.com",
    ]


async def test_a_user_assigned_identity_is_named(
    connect: Connect, service: Service, identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.always(found)
    await connect(service, credentials={**ENTRA, "client_id": "mine"}).get_analyzer("a")
    monkeypatch.setenv("AZURE_CLIENT_ID", "the-environments")
    await connect(service, credentials=ENTRA).get_analyzer("a")
    named = [httpx.URL(f"http://x{asked.target}").params["client_id"] for asked in identity.asked]
    assert named == ["mine", "the-environments"]


@pytest.mark.parametrize(
    "refusal",
    [
        httpx.Response(400, json={"error": "invalid_request", "error_description": "No such identity"}),
        httpx.Response(200, json={"access_token": "canary-token", "expires_on": "soon", "resource": "r"}),
        httpx.Response(200, json={"access_token": "canary-token", "expires_on": "99999999999"}),
        httpx.Response(200, json={"access_token": "canary-token"}),
        httpx.Response(200, text="canary-token"),
        httpx.Response(200, json=[]),
    ],
    ids=["refused", "no date", "no resource", "no end", "no JSON", "no object"],
)
async def test_where_no_token_can_be_had_nothing_is_sent(
    connect: Connect, service: Service, identity: Identity, refusal: httpx.Response
) -> None:
    identity.refusal = refusal
    with pytest.raises(NotAuthorized, match=r"west: .* token.* Correct the entra credentials") as caught:
        await connect(service, credentials=ENTRA).get_analyzer("a")
    assert "canary" not in f"{caught.value!s} {caught.value!r}"
    assert (caught.value.resource, caught.value.analyzer) == ("west", "a")
    assert service.requests == []


async def test_a_tenant_that_cannot_be_one_is_told(connect: Connect, service: Service) -> None:
    credentials = {**ENTRA, "tenant_id": "not a tenant", "client_id": "c", "client_secret": "canary-secret"}
    with pytest.raises(NotAuthorized, match="tenant"):
        await connect(service, credentials=credentials).get_analyzer("a")


def test_a_client_secret_fails_cleanly_where_entra_cannot_be_reached(
    fast_time: FastTime, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://127.0.0.1:1")
    credentials = EntraCredentials(tenant_id="tenant", client_id="client", client_secret=SecretStr("canary-secret"))

    async def ask() -> None:
        auth = auth_for(credentials)
        assert isinstance(auth, EntraAuth)
        transport = httpx.MockTransport(service.handle)
        try:
            async with httpx.AsyncClient(auth=auth, transport=transport) as http:
                await http.get("https://west.example/")
        finally:
            await auth.aclose()

    with pytest.raises(NotConnected, match="Entra cannot be reached for a token") as caught:
        fast_time(ask(), grace=0.02)
    assert "canary" not in f"{caught.value!s} {caught.value!r}"
    assert service.requests == []


def test_a_copy_for_which_no_token_could_be_had_has_certainly_not_begun(
    fast_time: FastTime, make_resource: MakeResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", "https://127.0.0.1:1")
    credentials = {**ENTRA, "tenant_id": "tenant", "client_id": "client", "client_secret": "canary"}
    source, target = make_resource("east"), make_resource("west", credentials=credentials)
    leave = CopyAuthorization(source, "invoice", "invoice", expires_at=None)

    async def copy() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(500))
        retries = HttpRetries(attempts=2)
        async with ContentUnderstandingClient(target, retries=retries, transport=transport) as client:
            await protocol_for(source, target).copy(client, leave, overrides=DeploymentOverrides(), allow_replace=False)

    with pytest.raises(NotConnected, match="west: Entra cannot be reached"):
        fast_time(copy(), grace=0.02)


@pytest.fixture
def asked_of_az(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], str]:
    """What a stand-in for `az` on the PATH was asked."""
    az = tmp_path / "az"
    az.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/asked
echo '{{"accessToken": "canary-az", "expires_on": 4102444800, "tokenType": "Bearer"}}'
""",
        encoding="utf-8",
    )
    az.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    return lambda: (tmp_path / "asked").read_text(encoding="utf-8")


async def test_the_tenant_of_a_developer_is_the_configured_one(
    connect: Connect, service: Service, asked_of_az: Callable[[], str]
) -> None:
    service.always(found)
    await connect(service, credentials={**ENTRA, "tenant_id": "our-tenant"}).get_analyzer("a")
    assert "--tenant our-tenant" in asked_of_az()
    assert signatures(service) == ["Bearer canary-az"]


@pytest.mark.parametrize(
    ("endpoint", "audience", "arm"),
    [
        ("west.services.ai.azure.com", "cognitiveservices.azure.com", "management.azure.com"),
        ("west.cognitiveservices.azure.us", "cognitiveservices.azure.us", "management.usgovcloudapi.net"),
        ("west.services.ai.azure.cn", "cognitiveservices.azure.cn", "management.chinacloudapi.cn"),
    ],
)
async def test_a_token_is_asked_for_the_cloud_of_the_endpoint(
    asked_of_az: Callable[[], str], connect: Connect, service: Service, endpoint: str, audience: str, arm: str
) -> None:
    service.always(found)
    client = connect(service, credentials=ENTRA, endpoint=f"https://{endpoint}")
    await client.get_analyzer("a")
    with pytest.raises(ProtocolError):
        await client.arm.get_account()
    assert f"--resource https://{audience}" in asked_of_az()
    assert f"--resource https://{arm}" in asked_of_az()
    assert service.requests[-1].url.host == arm


def test_tokens_are_not_for_clients_that_do_not_wait() -> None:
    auth = auth_for(EntraCredentials())
    with httpx.Client(auth=auth, transport=httpx.MockTransport(found)) as http, pytest.raises(RuntimeError):
        http.get("https://west.example/")


def test_credentials_decide_how_requests_are_signed() -> None:
    key = auth_for(KeyCredentials(key=SecretStr("canary")), "https://management.azure.com/.default")
    with httpx.Client(auth=key, transport=httpx.MockTransport(lambda r: httpx.Response(200))) as http:
        assert http.get("https://x/").request.headers["Ocp-Apim-Subscription-Key"] == "canary"
    assert isinstance(auth_for(EntraCredentials(), DATA_SCOPE), EntraAuth)
