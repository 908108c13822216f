"""The client against traffic of the real service: it asks what was asked, and keeps what was answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from standby.config.plan import NoEncryption
from standby.config.resource import DeploymentOverrides
from standby.service.errors import AnalyzerNotFound
from standby.service.protocols import protocol_for

if TYPE_CHECKING:
    from standby.service.client import ContentUnderstandingClient
    from tests.standby.service.conftest import Connect, Service

RECORDINGS = Path(__file__).parents[2] / "emulator" / "recordings"

Exchange = dict[str, Any]


def exchanges(*methods: str, action: str = "") -> list[Any]:
    """Every recorded exchange of some methods, one test each."""
    found = []
    for path in sorted(RECORDINGS.glob("*.json")):
        for number, exchange in enumerate(json.loads(path.read_text(encoding="utf-8"))["exchanges"]):
            resource = httpx.URL(exchange["RequestUri"]).path
            if exchange["RequestMethod"] in methods and resource.endswith(action):
                found.append(pytest.param(exchange, id=f"{path.stem}-{number}"))
    assert found
    return found


def answer_of(exchange: Exchange) -> httpx.Response:
    """What the service answered, with its own headers."""
    kept = {
        name: value
        for name, value in exchange["ResponseHeaders"].items()
        if name.lower() not in {"content-length", "transfer-encoding"}
    }
    body = exchange["ResponseBody"]
    content = b"" if body is None else json.dumps(body).encode()
    return httpx.Response(exchange["StatusCode"], content=content, headers=kept)


def recorded(connect: Connect, service: Service) -> ContentUnderstandingClient:
    """A client of the resource that was recorded."""
    return connect(service, "sanitized")


def analyzer_in(exchange: Exchange) -> str:
    """The analyzer that an exchange is about."""
    path = httpx.URL(exchange["RequestUri"]).path
    return path.partition("/analyzers/")[2].partition("/")[0].partition(":")[0]


def assert_asked(service: Service, exchange: Exchange, *, body: Any = None) -> None:
    """The one request that was made is the recorded one."""
    (request,) = service.requests
    url = httpx.URL(exchange["RequestUri"])
    assert request.method == exchange["RequestMethod"]
    assert (request.url.host, request.url.path) == (url.host, url.path)
    assert dict(request.url.params) == dict(url.params)
    assert (json.loads(request.content) if request.content else None) == body
    if body is not None:
        assert request.headers["content-type"] == exchange["RequestHeaders"].get(
            "Content-Type", request.headers["content-type"]
        )


@pytest.mark.parametrize("exchange", exchanges("PUT"))
async def test_a_build_is_asked_for_as_recorded(connect: Connect, service: Service, exchange: Exchange) -> None:
    service.will(answer_of(exchange))
    started = await recorded(connect, service).put_analyzer(
        analyzer_in(exchange),
        exchange["RequestBody"],
        allow_replace="allowReplace=true" in exchange["RequestUri"],
    )
    assert_asked(service, exchange, body=exchange["RequestBody"])
    assert started.analyzer.to_json() == exchange["ResponseBody"]
    location = exchange["ResponseHeaders"]["Operation-Location"]
    assert started.operation_url == location
    assert started.operation_id == exchange["ResponseHeaders"].get("apim-request-id", started.operation_id)


@pytest.mark.parametrize("exchange", exchanges("GET"))
async def test_what_is_read_is_kept_whole(connect: Connect, service: Service, exchange: Exchange) -> None:
    service.will(answer_of(exchange))
    client = recorded(connect, service)
    url: str = exchange["RequestUri"]
    if exchange["StatusCode"] == 404:
        with pytest.raises(AnalyzerNotFound) as caught:
            await client.get_analyzer(analyzer_in(exchange))
        assert (caught.value.status, caught.value.code) == (404, "NotFound")
        assert caught.value.inner_code == "ModelNotFound"
        assert caught.value.request_id == exchange["ResponseHeaders"]["apim-request-id"]
    elif "/operations/" in url:
        operation, body = (await client.poll(url)).operation, exchange["ResponseBody"]
        assert (operation.id, operation.status) == (body["id"], body["status"].lower())
        assert (operation.result.to_json() if operation.result else None) == body.get("result")
    elif "/defaults" in url:
        assert (await client.get_defaults()).model_deployments == exchange["ResponseBody"]["modelDeployments"]
    else:
        assert (await client.get_analyzer(analyzer_in(exchange))).to_json() == exchange["ResponseBody"]
    assert_asked(service, exchange)


@pytest.mark.parametrize("exchange", exchanges("DELETE"))
async def test_deleting_is_done_whether_there_was_something_or_not(
    connect: Connect, service: Service, exchange: Exchange
) -> None:
    service.will(answer_of(exchange))
    await recorded(connect, service).delete_analyzer(analyzer_in(exchange))
    assert_asked(service, exchange)


@pytest.mark.parametrize("exchange", exchanges("PATCH", action="/defaults"))
async def test_defaults_are_added_as_recorded(connect: Connect, service: Service, exchange: Exchange) -> None:
    service.will(answer_of(exchange))
    deployments = exchange["RequestBody"]["modelDeployments"]
    defaults = await recorded(connect, service).patch_defaults(deployments)
    assert_asked(service, exchange, body=exchange["RequestBody"])
    assert defaults.model_deployments == deployments
    assert defaults.model_deployments == exchange["ResponseBody"]["modelDeployments"]


async def test_the_recorded_grant_and_copy_are_spoken_word_for_word(connect: Connect, service: Service) -> None:
    (grant,) = exchanges("POST", action=":grantCopyAuthorization")[0].values
    (copy,) = exchanges("POST", action=":copy")[0].values
    client = recorded(connect, service)
    # Ids and regions of the resources are blanked in the recording.
    target = connect(service, "sanitized", region="swedencentral", resource_id=client.resource.resource_id + "2")
    named = {"targetAzureResourceId": target.resource.resource_id, "targetRegion": target.resource.region}
    service.will(answer_of({**grant, "ResponseBody": {**grant["ResponseBody"], **named}}))
    protocol = protocol_for(client.resource, target.resource)
    leave = await protocol.authorize(
        client, analyzer_in(grant), target.resource, analyzer_in(copy), encryption=NoEncryption()
    )
    assert_asked(service, grant, body=named)
    assert leave.expires_at is not None
    assert leave.expires_at.isoformat() == "2025-12-12T16:50:15.148064+00:00"

    service.requests.clear()
    service.will(answer_of(copy))
    started = await protocol.copy(target, leave, overrides=DeploymentOverrides(), allow_replace=False)
    own = {
        "sourceAzureResourceId": client.resource.resource_id,
        "sourceRegion": client.resource.region,
    }
    assert_asked(service, copy, body={**copy["RequestBody"], **own})
    assert started.analyzer.to_json() == copy["ResponseBody"]
    assert started.operation_url == copy["ResponseHeaders"]["operation-location"]
    assert started.operation_id == copy["ResponseHeaders"]["apim-request-id"]
