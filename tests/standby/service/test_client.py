from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

from standby.service.errors import (
    AnalyzerNotFound,
    ArmUnavailable,
    Conflict,
    DefaultsNotSet,
    ForeignOrigin,
    InvalidRequest,
    ProtocolError,
)

if TYPE_CHECKING:
    from tests.standby.service.conftest import Connect, Failure, Service

HOST = "https://west.services.ai.azure.com"
ANALYZERS = f"{HOST}/contentunderstanding/analyzers"
VERSION = "api-version=2025-11-01"


def begun(location: str | None = f"{ANALYZERS}/a/operations/op-1?{VERSION}") -> httpx.Response:
    """The answer to a build that was begun."""
    headers = {} if location is None else {"Operation-Location": location}
    return httpx.Response(201, json={"analyzerId": "a", "status": "creating"}, headers=headers)


async def test_an_id_is_one_part_of_a_path_whatever_is_in_it(connect: Connect, service: Service) -> None:
    service.will(httpx.Response(200, json={"analyzerId": "x"}))
    await connect(service).get_analyzer("a/../b?c#d:copy")
    assert service.requests[0].url.raw_path == (
        b"/contentunderstanding/analyzers/a%2F..%2Fb%3Fc%23d%3Acopy?" + VERSION.encode()
    )


@pytest.mark.parametrize("analyzer", ["", ".", ".."])
async def test_an_id_that_would_lead_to_another_path_is_refused(
    connect: Connect, service: Service, analyzer: str
) -> None:
    with pytest.raises(InvalidRequest, match="not a valid analyzer id"):
        await connect(service).delete_analyzer(analyzer)
    assert service.requests == []


async def test_an_analyzer_that_is_not_there_is_told_with_its_id(
    connect: Connect, service: Service, failure: Failure
) -> None:
    service.will(failure(404, "NotFound", inner=("ModelNotFound", "The requested model was not found.")))
    with pytest.raises(AnalyzerNotFound, match="invoice at west: The requested model was not found"):
        await connect(service).get_analyzer("invoice")


async def test_building_says_where_the_operation_is(connect: Connect, service: Service) -> None:
    service.will(begun())
    started = await connect(service).put_analyzer("a", {"baseAnalyzerId": "prebuilt-document"})
    assert started.operation_url == f"{ANALYZERS}/a/operations/op-1?{VERSION}"
    assert started.operation_id == "op-1"
    assert started.analyzer.status == "creating"
    assert json.loads(service.requests[0].content) == {"baseAnalyzerId": "prebuilt-document"}
    assert service.requests[0].url.query == VERSION.encode()


async def test_building_over_an_analyzer_has_to_be_asked_for(
    connect: Connect, service: Service, failure: Failure
) -> None:
    service.will(failure(409), begun())
    client = connect(service)
    with pytest.raises(Conflict):
        await client.put_analyzer("a", {})
    await client.put_analyzer("a", {}, allow_replace=True)
    assert service.requests[1].url.params["allowReplace"] == "true"


async def test_building_is_repeated_only_where_it_may_be_done_twice(
    connect: Connect, service: Service, failure: Failure
) -> None:
    client = connect(service)
    service.will(failure(503), begun())
    await client.put_analyzer("a", {}, allow_replace=True)
    service.will(failure(503))
    with pytest.raises(Exception, match="HTTP 503"):
        await client.put_analyzer("a", {})
    assert len(service.requests) == 3


@pytest.mark.parametrize("location", [None, ""])
async def test_a_build_whose_operation_is_nowhere_is_an_error(
    connect: Connect, service: Service, location: str | None
) -> None:
    service.will(begun(location))
    with pytest.raises(ProtocolError, match="its answer does not name it"):
        await connect(service).put_analyzer("a", {})


async def test_an_operation_of_another_origin_is_refused_when_it_is_named(connect: Connect, service: Service) -> None:
    service.will(begun("https://elsewhere.example/operations/1"))
    with pytest.raises(ForeignOrigin, match=r"https://elsewhere\.example"):
        await connect(service).put_analyzer("a", {})


async def test_an_operation_of_another_origin_is_refused_when_it_is_asked(connect: Connect, service: Service) -> None:
    with pytest.raises(ForeignOrigin, match=r"https://elsewhere\.example"):
        await connect(service).poll("https://elsewhere.example/operations/1")
    assert service.requests == []


async def test_an_operation_location_without_a_host_is_completed(connect: Connect, service: Service) -> None:
    service.will(begun("/contentunderstanding/analyzers/a/operations/op-2?x=1"))
    started = await connect(service).put_analyzer("a", {})
    assert started.operation_url == f"{ANALYZERS}/a/operations/op-2?x=1"


async def test_an_operation_id_that_is_none_is_left_out(connect: Connect, service: Service) -> None:
    service.will(begun(f"{HOST}/operations/%0Aforged%20line"))
    assert (await connect(service).put_analyzer("a", {})).operation_id == ""


async def test_polling_asks_the_url_as_it_was_given(connect: Connect, service: Service) -> None:
    url = f"{ANALYZERS}/a/operations/op-1?api-version=another&b=%2F"
    service.will(httpx.Response(200, json={"id": "op-1", "status": "RUNNING"}, headers={"Retry-After": "7"}))
    polled = await connect(service).poll(url)
    assert str(service.requests[0].url) == url
    assert (polled.operation.status, polled.operation.done, polled.retry_after) == ("running", False, 7.0)


async def test_an_operation_that_is_no_longer_known_is_told(
    connect: Connect, service: Service, failure: Failure
) -> None:
    service.will(failure(404))
    with pytest.raises(AnalyzerNotFound):
        await connect(service).poll(f"{ANALYZERS}/a/operations/op-1")


async def test_defaults_that_were_never_set_are_told_apart(
    connect: Connect, service: Service, failure: Failure
) -> None:
    service.will(failure(404, "NotFound", inner=("DefaultsNotSet", "Defaults are not set.")))
    with pytest.raises(DefaultsNotSet):
        await connect(service).get_defaults()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "it does not accept a key"),
        ({"arm_endpoint": "", "credentials": {"kind": "entra"}}, "arm_endpoint is empty"),
    ],
)
async def test_the_management_plane_is_not_asked_where_it_cannot_be(
    connect: Connect, service: Service, changes: dict[str, object], reason: str
) -> None:
    client = connect(service, **changes)
    with pytest.raises(ArmUnavailable, match=reason):
        await client.arm.list_deployments()
    with pytest.raises(ArmUnavailable, match=reason):
        await client.arm.get_account()
    assert service.requests == []
