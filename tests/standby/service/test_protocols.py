from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from standby.config.plan import NoEncryption
from standby.service.errors import (
    AnswerUnreadable,
    ApiVersionMismatch,
    Conflict,
    CopyOutcomeUnknown,
    ForeignOrigin,
    NotConnected,
    Throttled,
)
from standby.service.protocols import protocol_for

if TYPE_CHECKING:
    from tests.standby.conftest import MakeResource
    from tests.standby.service.conftest import Connect, Failure, Pair, Service

SEED = "2025-05-01-preview"
RELEASED = "2025-11-01"
EAST = "https://east.services.ai.azure.com/contentunderstanding/analyzers"


def test_a_pair_must_agree_on_the_api_version(make_resource: MakeResource) -> None:
    source = make_resource("east", api_version=SEED)
    with pytest.raises(ApiVersionMismatch) as caught:
        protocol_for(source, make_resource("west"))
    assert str(caught.value) == (
        "east has api_version 2025-05-01-preview and west 2025-11-01. Set the same api_version on both resources."
    )


@pytest.mark.parametrize(
    ("version", "action"),
    [
        (SEED, ":getCopyAuthorization"),
        (RELEASED, ":grantCopyAuthorization"),
        ("2026-06-01-preview", ":grantCopyAuthorization"),
    ],
)
async def test_the_api_version_decides_which_protocol_is_spoken(
    connect: Connect, make_resource: MakeResource, service: Service, version: str, action: str
) -> None:
    source, target = connect(service, "east", api_version=version), make_resource("west", api_version=version)
    service.will(httpx.Response(200, json={"source": f"{EAST}/invoice", "authorizationToken": "canary"}))
    await protocol_for(source.resource, target).authorize(
        source, "invoice", target, "invoice-copy", encryption=NoEncryption()
    )
    (request,) = service.requests
    assert str(request.url) == f"{EAST}/invoice{action}?api-version={version}"
    assert request.method == "POST"


@pytest.mark.parametrize("when", ["soon", "2026-13-01T00:00:00Z", 5])
async def test_a_grant_that_ends_at_no_time_is_an_error(pair: Pair, when: object) -> None:
    pair.service.always(lambda _: pair.grant(expiresAt=when))
    with pytest.raises(AnswerUnreadable, match="lacks expiresAt"):
        await pair.authorize()


async def test_a_grant_that_ends_at_an_unsaid_time_is_taken(pair: Pair) -> None:
    pair.service.will(pair.grant(expiresAt=None))
    assert (await pair.authorize()).expires_at is None


async def test_an_analyzer_that_is_there_already_is_a_conflict(pair: Pair, failure: Failure) -> None:
    leave = await pair.granted()
    pair.service.will(failure(409))
    with pytest.raises(Conflict):
        await pair.copy(leave)


@pytest.mark.parametrize(
    "lost",
    [
        httpx.ReadTimeout("canary"),
        httpx.ReadError("canary"),
        httpx.WriteError("canary"),
        httpx.RemoteProtocolError("canary"),
        httpx.Response(500),
        httpx.Response(502, text="<html>Bad gateway</html>"),
        httpx.Response(503, headers={"Retry-After": "0"}),
        httpx.Response(408),
        httpx.Response(200, text="not JSON"),
        httpx.Response(200, json={"status": "creating"}),
        httpx.Response(200, json={"analyzerId": "invoice-copy"}),
        httpx.Response(304),
    ],
    ids=lambda lost: type(lost).__name__ if isinstance(lost, Exception) else f"{lost.status_code}-{lost.text}",
)
async def test_a_lost_answer_to_a_copy_is_never_repeated(pair: Pair, lost: Exception | httpx.Response) -> None:
    leave = await pair.granted()
    pair.service.will(lost)
    with pytest.raises(CopyOutcomeUnknown) as caught:
        await pair.copy(leave)
    assert len(pair.service.requests) == 2
    assert (caught.value.resource, caught.value.analyzer) == ("west", "invoice-copy")
    assert caught.value.next_action == "Run again: the target is checked before anything is copied"


@pytest.mark.parametrize("nowhere", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError])
async def test_a_copy_that_was_never_sent_is_sent_again(pair: Pair, nowhere: type[httpx.TransportError]) -> None:
    leave = await pair.granted()
    pair.service.will(nowhere("1"), nowhere("2"), pair.taken())
    assert (await pair.copy(leave)).operation_id == "op-1"


async def test_a_copy_that_was_too_many_is_sent_again(pair: Pair, failure: Failure) -> None:
    leave = await pair.granted()
    pair.service.will(failure(429, retry_after="0"), pair.taken())
    assert (await pair.copy(leave)).operation_id == "op-1"


async def test_after_all_attempts_the_reason_that_a_copy_was_not_taken_is_told(pair: Pair, failure: Failure) -> None:
    leave = await pair.granted()
    pair.service.always(lambda _: failure(429))
    with pytest.raises(Throttled):
        await pair.copy(leave)
    pair.service.will(*(httpx.ConnectError("") for _ in range(4)))
    with pytest.raises(NotConnected):
        await pair.copy(leave)
    assert len(pair.service.requests) == 1 + 4 + 4


async def test_a_copy_whose_operation_is_elsewhere_names_both_places(pair: Pair) -> None:
    leave = await pair.granted()
    pair.service.will(
        httpx.Response(
            200,
            json={"analyzerId": "invoice-copy"},
            headers={"Operation-Location": "https://elsewhere.example/operations/1"},
        )
    )
    with pytest.raises(ForeignOrigin, match=r"west is at https://west.* but points to https://elsewhere"):
        await pair.copy(leave)
