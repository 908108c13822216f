"""The copy of `2025-05-01-preview`: a token goes from the source to the target."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import Emulator, running

Client = Callable[..., httpx.AsyncClient]
Finish = Callable[[httpx.AsyncClient, httpx.Response], Awaitable[Any]]
VERSION = "2025-05-01-preview"
AUTHORIZE = "/analyzers/invoice:getCopyAuthorization"
COPY = "/analyzers/invoice:copy"


@pytest.fixture
def source(emulator: Emulator, client: Client) -> httpx.AsyncClient:
    """East, under `2025-05-01-preview`."""
    return client(emulator.resources["east"], VERSION)


@pytest.fixture
def target(emulator: Emulator, client: Client) -> httpx.AsyncClient:
    """West, under `2025-05-01-preview`."""
    return client(emulator.resources["west"], VERSION)


async def authorized(source: httpx.AsyncClient, **body: str) -> dict[str, str]:
    answer = await source.post(AUTHORIZE, json=body)
    assert answer.status_code == 200, answer.text
    got: dict[str, str] = answer.json()
    return got


def inner_code(refused: httpx.Response) -> str:
    return str(refused.json()["error"]["innererror"]["code"])


def assert_not_granted(refused: httpx.Response) -> None:
    assert refused.status_code == 404
    assert "has not granted" in refused.json()["error"]["innererror"]["message"]


async def test_a_copy_follows_the_page_to_the_letter(
    source: httpx.AsyncClient, target: httpx.AsyncClient, emulator: Emulator, finish: Finish
) -> None:
    authorization = await authorized(source)
    assert authorization.keys() == {"source", "authorizationToken", "expiresAt"}
    assert authorization["source"] == f"{emulator.resources['east'].endpoint}/contentunderstanding/analyzers/invoice"
    # The page: the body of the copy is the response of the authorization.
    started = await target.post(COPY, json=authorization)
    assert started.status_code == 200
    assert started.json() == {"analyzerId": "invoice", "status": "creating"}
    assert b"Operation-Location" in dict(started.headers.raw)
    assert started.headers["operation-location"].startswith(
        f"{emulator.resources['west'].endpoint}/contentunderstanding/analyzers/invoice/operations/"
    )
    ended = await finish(target, started)
    assert (ended["status"], ended["result"]["status"]) == ("Succeeded", "ready")
    assert "warnings" not in ended
    original = (await source.get("/analyzers/invoice")).json()
    copy = (await target.get("/analyzers/invoice")).json()
    assert {**copy, "createdAt": 0, "lastModifiedAt": 0} == {**original, "createdAt": 0, "lastModifiedAt": 0}


async def test_a_token_is_opaque_new_each_time_and_lasts_a_day(source: httpx.AsyncClient) -> None:
    one, other = await authorized(source), await authorized(source)
    assert one["authorizationToken"] != other["authorizationToken"]
    assert "invoice" not in one["authorizationToken"]
    left = datetime.fromisoformat(one["expiresAt"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(hours=24)


async def test_a_locked_token_opens_its_target_only(
    source: httpx.AsyncClient, target: httpx.AsyncClient, emulator: Emulator
) -> None:
    url = f"{emulator.resources['west'].endpoint}/contentunderstanding/analyzers/invoice"
    authorization = await authorized(source, target=url)
    assert authorization["target"] == url
    assert_not_granted(await target.post("/analyzers/other:copy", json=authorization))
    assert_not_granted(await source.post("/analyzers/invoice2:copy", json=authorization))
    assert (await target.post(COPY, json=authorization)).status_code == 200


async def test_an_encrypted_token_needs_its_key(source: httpx.AsyncClient, target: httpx.AsyncClient) -> None:
    authorization = await authorized(source, encryptionKey="open sesame")
    assert "open sesame" not in str(authorization)
    for key in ({}, {"decryptionKey": "another"}):
        refused = await target.post(COPY, json={**authorization, **key})
        assert (refused.status_code, inner_code(refused)) == (400, "InvalidDecryptionKey")
    opened = await target.post(COPY, json={**authorization, "decryptionKey": "open sesame"})
    assert opened.status_code == 200


@pytest.mark.parametrize("kind", ["void_grant", "short_grant"])
async def test_a_void_or_expired_token_opens_nothing(
    source: httpx.AsyncClient, target: httpx.AsyncClient, control: httpx.AsyncClient, kind: str
) -> None:
    fault = {"kind": kind, "seconds": 0} if kind == "short_grant" else {"kind": kind}
    await control.post("/faults", json={"call": "authorize", "fault": fault})
    assert_not_granted(await target.post(COPY, json=await authorized(source)))


async def test_a_token_is_needed_and_only_for_its_own_source(
    source: httpx.AsyncClient, target: httpx.AsyncClient
) -> None:
    authorization = await authorized(source)
    assert_not_granted(await target.post(COPY, json={"source": authorization["source"]}))
    assert_not_granted(await target.post(COPY, json={**authorization, "authorizationToken": "made up"}))
    elsewhere = {**authorization, "source": authorization["source"] + "2"}
    assert_not_granted(await target.post(COPY, json=elsewhere))
    relative = {**authorization, "source": "/analyzers/invoice"}
    assert (await target.post(COPY, json=relative)).status_code == 400
    assert (await target.post(COPY, json={})).status_code == 400


async def test_a_source_deleted_after_its_authorization_is_an_invalid_request(
    source: httpx.AsyncClient, target: httpx.AsyncClient
) -> None:
    authorization = await authorized(source)
    await source.delete("/analyzers/invoice")
    refused = await target.post(COPY, json=authorization)
    assert refused.status_code == 400
    assert (await source.post(AUTHORIZE, json={})).status_code == 404


async def test_a_source_that_is_not_ready_is_an_invalid_request(
    source: httpx.AsyncClient, target: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    await control.post("/edit", json={"resource": "east", "analyzer": "invoice", "changes": {"status": "failed"}})
    refused = await target.post(COPY, json=await authorized(source))
    assert (refused.status_code, inner_code(refused)) == (400, "ModelNotReady")


@pytest.mark.parametrize("deployments", ["text", {"chatCompletion": 1}])
async def test_overrides_of_the_wrong_kind_are_an_invalid_request(
    source: httpx.AsyncClient, target: httpx.AsyncClient, deployments: object
) -> None:
    refused = await target.post(COPY, json={**await authorized(source), "deployments": deployments})
    assert refused.status_code == 400


async def test_nothing_is_ever_replaced(source: httpx.AsyncClient, target: httpx.AsyncClient) -> None:
    await target.put("/analyzers/invoice", json={"description": "Own"})
    authorization = await authorized(source)
    refused = await target.post(COPY, json=authorization, params={"allowReplace": "true"})
    assert refused.status_code == 409
    assert (await target.get("/analyzers/invoice")).json()["description"] == "Own"


async def test_models_are_names_of_deployments(source: httpx.AsyncClient, east: httpx.AsyncClient) -> None:
    assert (await source.get("/analyzers/invoice")).json()["models"] == {
        "completion": "chat",
        "embedding": "embed",
    }
    assert (await east.get("/analyzers/invoice")).json()["models"]["completion"] == "gpt-4.1"


async def test_the_files_analyzers_name_deployments_where_there_are_some() -> None:
    analyzers = [
        {"analyzerId": "filled", "models": {"completion": "gpt-4.1"}},
        {"analyzerId": "unmapped", "models": {"completion": "gpt-4o"}},
        {"analyzerId": "direct", "models": {"completion": "chat"}},
    ]
    east = {
        "region": "eastus",
        "key": "key",
        "deployments": [{"name": "chat", "model": "gpt-4.1"}],
        "analyzers": analyzers,
    }
    found = []
    for defaults in ({"gpt-4.1": "chat", "text-embedding-3-large": "embed"}, None):
        resources = {"east": {**east, "defaults": defaults}}
        async with (
            running(EmulatorConfig.model_validate({"resources": resources})) as emulator,
            httpx.AsyncClient(headers={"Ocp-Apim-Subscription-Key": "key"}) as client,
        ):
            url = f"{emulator.resources['east'].endpoint}/contentunderstanding/analyzers"
            listed = await client.get(url, params={"api-version": VERSION})
            found.append([analyzer["models"] for analyzer in listed.json()["value"][-3:]])
    assert found == [
        [
            {"completion": "chat", "embedding": "embed"},
            {"completion": "chat", "embedding": "embed"},
            {"completion": "gpt-4o", "embedding": "embed"},
        ],
        [{"completion": "chat"}, {"completion": "gpt-4.1"}, {"completion": "gpt-4o"}],
    ]


async def test_an_override_stands_in_the_copys_models(
    source: httpx.AsyncClient, target: httpx.AsyncClient, control: httpx.AsyncClient, finish: Finish
) -> None:
    deployments = [
        {"name": "west-chat", "model": "gpt-4.1"},
        {"name": "embed", "model": "text-embedding-3-large"},
    ]
    await control.post("/settings", json={"resource": "west", "deployments": deployments})
    authorization = await authorized(source)
    missing = await target.post(COPY, json=authorization)
    assert (missing.status_code, inner_code(missing)) == (400, "DeploymentNotFound")
    started = await target.post(COPY, json={**authorization, "deployments": {"chatCompletion": "west-chat"}})
    ended = await finish(target, started)
    assert ended["result"]["models"] == {"completion": "west-chat", "embedding": "embed"}
    assert "warnings" not in started.json()


async def test_a_named_deployment_that_is_missing_fails_the_copy(
    source: httpx.AsyncClient, target: httpx.AsyncClient
) -> None:
    body = {**await authorized(source), "deployments": {"embedding": "nowhere"}}
    refused = await target.post(COPY, json=body)
    assert (refused.status_code, inner_code(refused)) == (400, "DeploymentNotFound")
    assert "nowhere" in refused.json()["error"]["innererror"]["message"]


async def test_another_embedding_model_is_an_invalid_request(
    source: httpx.AsyncClient, target: httpx.AsyncClient
) -> None:
    body = {**await authorized(source), "deployments": {"embedding": "embed-small"}}
    refused = await target.post(COPY, json=body)
    assert (refused.status_code, inner_code(refused)) == (400, "EmbeddingModelMismatch")
    assert (await target.get("/analyzers/invoice")).status_code == 404


async def test_another_completion_model_is_a_warning(
    source: httpx.AsyncClient, target: httpx.AsyncClient, finish: Finish
) -> None:
    body = {**await authorized(source), "deployments": {"chatCompletion": "chat-mini"}}
    started = await target.post(COPY, json=body)
    (warning,) = started.json()["warnings"]
    assert "gpt-4.1-mini" in warning["message"]
    ended = await finish(target, started)
    assert (ended["status"], ended["warnings"]) == ("Succeeded", [warning])


async def test_an_analyzer_without_models_copies_whatever_the_target_has(
    source: httpx.AsyncClient, target: httpx.AsyncClient, control: httpx.AsyncClient
) -> None:
    await control.post("/settings", json={"resource": "west", "deployments": []})
    authorization = (await source.post("/analyzers/a-classifier:getCopyAuthorization", json={})).json()
    overrides = {"deployments": {"chatCompletion": "nowhere"}}
    copied = await target.post("/analyzers/a-classifier:copy", json={**authorization, **overrides})
    assert copied.status_code == 200


@pytest.mark.parametrize("body", [{"target": 1}, {"target": "no url"}, {"target": "https://[x"}, {"encryptionKey": 1}])
async def test_a_wrong_authorization_request_is_refused(source: httpx.AsyncClient, body: dict[str, object]) -> None:
    assert (await source.post(AUTHORIZE, json=body)).status_code == 400
