from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from standby.service.errors import (
    AnswerUnreadable,
    ForeignOrigin,
    InvalidRequest,
    ProtocolError,
    ResourceNotFound,
    ServiceError,
)

if TYPE_CHECKING:
    from tests.standby.service.conftest import Connect, Service

HOST = "https://west.services.ai.azure.com"
ANALYZERS = f"{HOST}/contentunderstanding/analyzers"
VERSION = "api-version=2025-11-01"


def page(*names: str, following: str | None = None) -> httpx.Response:
    """One page of a list, perhaps with a link to the next."""
    body: dict[str, object] = {"value": [{"analyzerId": name} for name in names]}
    return httpx.Response(200, json=body if following is None else {**body, "nextLink": following})


async def test_a_list_is_read_over_all_its_pages_in_order(connect: Connect, service: Service) -> None:
    second = f"{ANALYZERS}?{VERSION}&skip=2"
    service.will(page("a", "b", following=second), page("c"))
    found = await connect(service).list_analyzers()
    assert [analyzer.analyzer_id for analyzer in found] == ["a", "b", "c"]
    assert [str(request.url) for request in service.requests] == [f"{ANALYZERS}?{VERSION}", second]


async def test_a_next_link_without_a_host_is_one_of_the_same_host(connect: Connect, service: Service) -> None:
    service.will(page("a", following=f"/contentunderstanding/analyzers?{VERSION}&p=2"), page("b"))
    await connect(service).list_analyzers()
    assert str(service.requests[1].url) == f"{ANALYZERS}?{VERSION}&p=2"


async def test_a_page_that_holds_nothing_does_not_end_a_list(connect: Connect, service: Service) -> None:
    links = [f"{ANALYZERS}?p={number}" for number in range(6)]
    service.will(*(page(following=link) for link in links), page("a"))
    assert len(await connect(service).list_analyzers()) == 1


async def test_what_moves_on_to_the_next_page_meanwhile_is_listed_once(connect: Connect, service: Service) -> None:
    service.will(page("b", "c", following=f"{ANALYZERS}?p=2"), page("c", "d"))
    found = await connect(service).list_analyzers()
    assert [analyzer.analyzer_id for analyzer in found] == ["b", "c", "d"]


@pytest.mark.parametrize(
    "links",
    [
        (f"{ANALYZERS}?p=1", f"{ANALYZERS}?p=1"),
        (f"{ANALYZERS}?p=1", f"{ANALYZERS}?p=2", f"{ANALYZERS}?p=1"),
        (f"{ANALYZERS}?p=1", f"{ANALYZERS}?p=1".replace("https://west", "HTTPS://WEST")),
    ],
    ids=["to itself", "back and forth", "to itself in other letters"],
)
async def test_links_that_lead_in_a_circle_are_an_error(
    connect: Connect, service: Service, links: tuple[str, ...]
) -> None:
    service.will(*(page(f"a{number}", following=link) for number, link in enumerate(links)))
    with pytest.raises(ProtocolError, match="repeat"):
        await connect(service).list_analyzers()
    assert len(service.requests) == len(links)


async def test_a_page_that_comes_again_under_another_link_is_an_error(connect: Connect, service: Service) -> None:
    service.will(page("a", "b", following=f"{ANALYZERS}?p=2"), page("b", "a", following=f"{ANALYZERS}?p=3"))
    with pytest.raises(ProtocolError, match="repeat"):
        await connect(service).list_analyzers()


async def test_pages_that_hold_nothing_for_ever_are_an_error(connect: Connect, service: Service) -> None:
    def endless(_: httpx.Request) -> httpx.Response:
        assert len(service.requests) < 20
        return page(following=f"{ANALYZERS}?p={len(service.requests)}")

    service.always(endless)
    with pytest.raises(ProtocolError, match="repeat"):
        await connect(service).list_analyzers()


@pytest.mark.parametrize(
    "link",
    [
        "https://elsewhere.example/analyzers",
        "//elsewhere.example/analyzers",
        "http://west.services.ai.azure.com/analyzers",
        "https://west.services.ai.azure.com:8443/analyzers",
        "https://west.services.ai.azure.com.elsewhere.example/analyzers",
        "https://west.services.ai.azure.com./analyzers",
        "https://WEST.services.ai.azure.com.ELSEWHERE.example/",
        "https://wеst.services.ai.azure.com/with-a-cyrillic-letter",
        "\t//elsewhere.example/",
    ],
)
async def test_no_byte_goes_to_a_next_link_of_another_origin(connect: Connect, service: Service, link: str) -> None:
    service.will(page("a", following=link))
    service.always(lambda _: page("b"))
    with pytest.raises(ForeignOrigin) as caught:
        await connect(service).list_analyzers()
    assert caught.value.resource == "west"
    assert {request.url.host for request in service.requests} == {"west.services.ai.azure.com"}
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "link",
    [
        "https://user:password@west.services.ai.azure.com/analyzers",
        "https://west.services.ai.azure.com\\@elsewhere.example/",
        "https://west.services.ai.azure.com@elsewhere.example/",
        "https://[::1/analyzers",
        "https://west.services.ai.azure.com:port/analyzers",
        "https://℀.services.ai.azure.com/",
    ],
)
async def test_a_next_link_with_a_user_in_it_or_that_is_none_is_not_followed(
    connect: Connect, service: Service, link: str
) -> None:
    service.will(page("a", following=link))
    with pytest.raises(ForeignOrigin, match="a URL that cannot be followed") as caught:
        await connect(service).list_analyzers()
    assert "password" not in str(caught.value)
    assert len(service.requests) == 1


async def test_a_foreign_origin_is_named_beside_our_own(connect: Connect, service: Service) -> None:
    service.will(page("a", following="https://elsewhere.example:444/x?sig=canary"))
    with pytest.raises(ForeignOrigin) as caught:
        await connect(service).list_analyzers()
    assert f"west is at {HOST} but points to https://elsewhere.example:444" in str(caught.value)
    assert "canary" not in str(caught.value)


async def test_the_port_of_https_and_the_case_of_a_host_make_no_other_origin(
    connect: Connect, service: Service
) -> None:
    service.will(page("a", following="HTTPS://West.Services.AI.Azure.com:443/contentunderstanding/x"), page("b"))
    assert len(await connect(service).list_analyzers()) == 2


@pytest.mark.parametrize("body", [{"value": None}, {"value": [{"id": "a"}]}, {}, [], {"value": [], "nextLink": 5}])
async def test_a_list_of_another_shape_is_an_error(connect: Connect, service: Service, body: object) -> None:
    service.always(lambda _: httpx.Response(200, json=body))
    with pytest.raises(AnswerUnreadable, match="An answer of west lacks"):
        await connect(service).list_analyzers()


@pytest.mark.parametrize("content", [b"", b"<html>", b"\xff", b"[" * 200_000, b'{"value": ['], ids=range(5))
async def test_a_list_that_is_no_json_is_an_error(connect: Connect, service: Service, content: bytes) -> None:
    service.always(lambda _: httpx.Response(200, content=content))
    with pytest.raises(AnswerUnreadable, match="west answered something that is not JSON"):
        await connect(service).list_analyzers()


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"nextLink": 5}, "lacks a nextLink that is text"),
        ({"nextLink": False}, "lacks a nextLink that is text"),
        ({"nextLink": {}}, "lacks a nextLink that is text"),
        ({"nextLink": "https://elsewhere.example/"}, "points to https://elsewhere.example"),
        ({"nextLink": f"{ANALYZERS}?p=2"}, "repeat"),
        ({"value": None}, "lacks value"),
        ({"value": [7]}, "lacks value"),
    ],
)
async def test_an_odd_page_costs_no_other(
    connect: Connect, service: Service, second: dict[str, object], words: str
) -> None:
    body = {"value": [{"analyzerId": "b"}], **second}
    service.will(page("a", following=f"{ANALYZERS}?p=2"))
    service.always(lambda _: httpx.Response(200, json=body))
    *read, rest = await connect(service).list_readable()
    assert [analyzer.analyzer_id for analyzer in read] == (["a"] if "value" in second else ["a", "b"])
    assert (rest.is_nameless, rest.status) == (True, "unreadable")
    assert words in rest.unreadable("west")
    with pytest.raises((ProtocolError, ForeignOrigin), match=words):
        await connect(service).list_analyzers()


@pytest.mark.parametrize(("status", "error"), [(404, ResourceNotFound), (400, InvalidRequest)])
async def test_a_page_that_is_refused_costs_no_other(
    connect: Connect, service: Service, status: int, error: type[ServiceError]
) -> None:
    service.will(page("a", following=f"{ANALYZERS}?p=2"), httpx.Response(status))
    first, rest = await connect(service).list_readable()
    assert (first.analyzer_id, rest.is_nameless) == ("a", True)
    assert f"answered HTTP {status}" in rest.unreadable("west")
    service.will(httpx.Response(status))
    with pytest.raises(error):
        await connect(service).list_readable()


async def test_what_cannot_be_read_as_text_or_number_costs_its_own_entry_only(
    connect: Connect, service: Service
) -> None:
    odd = b'{"analyzerId":"%b","description":%b}'
    values = [b'"\\ud800"', b'"\xff"', b"NaN", b"1e999", b"9" * 5000, b"[" * 50_000 + b"]" * 50_000, b'"a\nb"']
    entries = [odd % (b"a%d" % place, value) for place, value in enumerate(values)]
    service.will(httpx.Response(200, content=b'\xef\xbb\xbf{"value":[%b]}' % b",".join(entries)))
    found = await connect(service).list_analyzers()
    assert [analyzer.status for analyzer in found] == [*["unreadable"] * 6, "undefined"]
    assert [analyzer.wrong.partition("description ")[2] for analyzer in found] == [
        "has text that is not Unicode",
        "has text that is not Unicode",
        "has a number that is not valid or too large",
        "has a number that is not valid or too large",
        "has a number that is not valid or too large",
        "is nested deeper than 100 levels",
        "",
    ]
    assert found[0].definition() == {"analyzerId": "a0", "description": "unreadable"}
