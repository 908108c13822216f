"""What is on every request, how long it may take, and where it does not go."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest

from standby import __version__
from standby.service.calls import route_to
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import ForeignOrigin, NotConnected, NotFromHere, ProtocolError, Unreachable
from standby.service.retries import HttpRetries
from tests.patience import PATIENCE

if TYPE_CHECKING:
    import ssl

    from tests.standby.conftest import MakeResource
    from tests.standby.service.conftest import (
        Connect,
        FastTime,
        Heard,
        Listen,
        Loopback,
        Service,
    )

FOUND = {"analyzerId": "a"}


async def test_every_request_says_who_asks_and_under_which_id(connect: Connect, service: Service) -> None:
    client = connect(service)
    service.always(lambda _: httpx.Response(200, json=FOUND))
    await client.get_analyzer("a")
    await client.get_analyzer("a")
    ids = {UUID(request.headers["x-ms-client-request-id"]) for request in service.requests}
    assert len(ids) == 2
    assert {request.headers["user-agent"] for request in service.requests} == {f"standby/{__version__}"}


async def test_ids_and_times_are_logged_and_queries_are_not(
    connect: Connect, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    answer = httpx.Response(200, json={"id": "1", "status": "Running"}, headers={"apim-request-id": "theirs-1"})
    service.will(answer)
    with caplog.at_level(logging.DEBUG, "standby.service"):
        await connect(service).poll("https://west.services.ai.azure.com/operations/1?sig=canary")
    (record,) = [record for record in caplog.records if record.name == "standby.service"]
    told = record.getMessage()
    assert told.startswith("west GET /operations/1: 200 in ")
    assert service.requests[0].headers["x-ms-client-request-id"] in told
    assert "theirs-1" in told
    assert "canary" not in told


async def test_a_lost_connection_is_logged_with_its_id(
    connect: Connect, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.will(httpx.ReadTimeout("canary"))
    with caplog.at_level(logging.DEBUG, "standby.service"), pytest.raises(Unreachable):
        await connect(service, retries=HttpRetries(attempts=1)).get_analyzer("a")
    told = caplog.records[-1].getMessage()
    assert told.startswith("west GET /contentunderstanding/analyzers/a: ReadTimeout")
    assert service.requests[0].headers["x-ms-client-request-id"] in told


async def test_a_forged_request_id_does_not_reach_the_log(
    connect: Connect, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.will(httpx.Response(200, json=FOUND, headers={"apim-request-id": "forged entry <b>"}))
    with caplog.at_level(logging.DEBUG, "standby.service"):
        await connect(service).get_analyzer("a")
    assert "forged" not in caplog.text


async def test_connecting_reading_and_writing_are_bounded(connect: Connect, service: Service) -> None:
    service.will(httpx.Response(200, json=FOUND))
    await connect(service).get_analyzer("a")
    assert service.requests[0].extensions["timeout"] == {
        "connect": 10.0,
        "read": 30.0,
        "write": 30.0,
        "pool": 60.0,
    }


def test_an_answer_that_trickles_in_for_ever_is_given_up(
    fast_time: FastTime, make_resource: MakeResource, tls: ssl.SSLContext
) -> None:
    seconds: list[float] = []

    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            while True:
                yield b" "
                await asyncio.sleep(5)

    async def drive() -> None:
        loop = asyncio.get_running_loop()
        transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Trickle()))
        retries = HttpRetries(attempts=1)
        client = ContentUnderstandingClient(make_resource(), tls=tls, retries=retries, transport=transport)
        async with client:
            started = loop.time()
            with pytest.raises(Unreachable, match="No complete answer from west within 15 s"):
                await client.get_analyzer("a")
            seconds.append(loop.time() - started)

    fast_time(drive())
    assert seconds == [pytest.approx(15.0, abs=1.0)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_to_another_origin(connect: Connect, service: Service, status: int) -> None:
    service.will(httpx.Response(status, headers={"Location": "https://elsewhere.example/x"}))
    with pytest.raises(ForeignOrigin, match=r"https://west\.services.* points to https://elsewhere"):
        await connect(service).get_analyzer("a")
    assert len(service.requests) == 1


@pytest.mark.parametrize("location", ["/elsewhere", "https://west.services.ai.azure.com/x", None])
async def test_no_redirect_is_followed_within_the_origin_either(
    connect: Connect, service: Service, location: str | None
) -> None:
    headers = {} if location is None else {"Location": location}
    service.will(httpx.Response(302, headers=headers))
    with pytest.raises(ProtocolError):
        await connect(service).get_analyzer("a")
    assert len(service.requests) == 1


@pytest.mark.parametrize(("copies", "connections"), [(1, 5), (3, 7), (100, 50)])
async def test_a_resource_gets_so_many_connections_as_its_copies_need_and_no_more(
    connect: Connect, listen: Listen, loopback: type[Loopback], copies: int, connections: int
) -> None:
    together = asyncio.Barrier(connections)

    async def answer(_: Heard) -> httpx.Response:
        # Nobody is answered before all the connections there may be are in use.
        async with asyncio.timeout(PATIENCE):
            await together.wait()
        return httpx.Response(200, json=FOUND)

    server = loopback(answer)
    client = connect(endpoint=await listen(server), max_concurrent_copies=copies)
    await asyncio.gather(*(client.get_analyzer("a") for _ in range(2 * connections)))
    assert server.most_connections == connections


async def test_a_connection_is_used_again(connect: Connect, listen: Listen, loopback: type[Loopback]) -> None:
    async def answer(_: Heard) -> httpx.Response:
        return httpx.Response(200, json=FOUND)

    server = loopback(answer)
    client = connect(endpoint=await listen(server))
    for _ in range(5):
        await client.get_analyzer("a")
    assert server.most_connections == 1


async def test_a_call_whose_answer_is_lost_is_not_sent_again_below_us_nor_taken_for_unsent(
    connect: Connect, listen: Listen
) -> None:
    heard: list[str] = []

    async def answer(request: Heard) -> httpx.Response:
        heard.append(request.method)
        if len(heard) > 1:
            raise ConnectionResetError
        return httpx.Response(200, json=FOUND)

    client = connect(endpoint=await listen(answer), retries=HttpRetries(attempts=1))
    # Then its connection is one that is used again, which libraries take for stale.
    await client.get_analyzer("a")
    with pytest.raises(Unreachable) as caught:
        await client.put_analyzer("a", {})
    assert type(caught.value) is Unreachable
    assert heard == ["GET", "PUT"]


async def test_what_stays_on_this_machine_does_not_go_through_a_proxy(
    connect: Connect, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied: list[Heard] = []

    async def proxy(heard: Heard) -> httpx.Response:
        proxied.append(heard)
        return httpx.Response(502)

    async def answer(_: Heard) -> httpx.Response:
        return httpx.Response(200, json=FOUND)

    monkeypatch.setenv("HTTP_PROXY", await listen(proxy))
    monkeypatch.setenv("ALL_PROXY", await listen(proxy))
    await connect(endpoint=await listen(answer)).get_analyzer("a")
    assert proxied == []


async def test_other_resources_go_through_the_proxy_and_its_refusal_is_no_connection(
    connect: Connect, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied: list[Heard] = []

    async def proxy(heard: Heard) -> httpx.Response:
        proxied.append(heard)
        return httpx.Response(407)

    monkeypatch.setenv("HTTPS_PROXY", await listen(proxy))
    with pytest.raises(NotFromHere, match=r"HTTP 407 of the proxy http://127.0.0.1:[0-9]+ that HTTPS_PROXY names"):
        await connect(retries=HttpRetries(attempts=1)).get_analyzer("a")
    (heard,) = proxied
    assert (heard.method, heard.target) == ("CONNECT", "west.services.ai.azure.com:443")
    assert "canary" not in str(heard.headers)


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_proxy_that_finds_nobody_says_something_about_the_service(
    connect: Connect, listen: Listen, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    async def proxy(_: Heard) -> httpx.Response:
        return httpx.Response(status)

    monkeypatch.setenv("HTTPS_PROXY", await listen(proxy))
    with pytest.raises(NotConnected, match=r"No connection to west .* through the proxy") as caught:
        await connect(retries=HttpRetries(attempts=1)).get_analyzer("a")
    assert type(caught.value) is NotConnected


@pytest.mark.parametrize(
    ("variable", "proxy", "words"),
    [
        ("HTTPS_PROXY", "http://user:canary@127.0.0.1:1", "the proxy http://127.0.0.1:1 that HTTPS_PROXY names"),
        ("https_proxy", "127.0.0.1:1", "the proxy http://127.0.0.1:1 that https_proxy names"),
        ("ALL_PROXY", "http://canary.invalid", "the proxy http://canary.invalid that ALL_PROXY names"),
        ("ALL_PROXY", "socks5h://user:canary@127.0.0.1:1080", "ALL_PROXY names a socks5h:// proxy"),
        ("HTTPS_PROXY", "http://[::1", "HTTPS_PROXY is not the URL of a proxy"),
        ("HTTPS_PROXY", "http://127.0.0.1:99999", "HTTPS_PROXY is not the URL of a proxy"),
        ("HTTPS_PROXY", "http://", "HTTPS_PROXY is not the URL of a proxy"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_named_with_its_variable(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, variable: str, proxy: str, words: str
) -> None:
    monkeypatch.setenv(variable, proxy)
    with pytest.raises(NotFromHere) as caught:
        await connect(retries=HttpRetries(attempts=1)).get_analyzer("a")
    assert words in caught.value.cause
    assert "user:canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("excepted", "address", "is_straight"),
    [
        ("[::1]", "https://west.services.ai.azure.com", False),
        ("fd00::/8, ,x", "https://[fd00::7]", True),
        ("[fd00::]/8", "https://[fd00::7]:8443", True),
        ("[fd00::7]", "https://[fd00::7]", True),
        ("fd00::/8", "https://[fe80::7]", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        (".azure.com", "https://west.services.ai.azure.com", True),
        ("azure.com:443", "https://west.services.ai.azure.com", True),
        ("*", "https://west.services.ai.azure.com", True),
        ("99.99.99.999/99", "https://west.services.ai.azure.com", False),
    ],
)
def test_what_is_excepted_from_the_proxy_may_be_written_in_every_way(
    monkeypatch: pytest.MonkeyPatch, excepted: str, address: str, is_straight: bool
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", excepted)
    assert (route_to(address).proxy is None) == is_straight


async def test_a_closed_client_holds_no_connection(
    make_resource: MakeResource, tls: ssl.SSLContext, listen: Listen, loopback: type[Loopback]
) -> None:
    async def answer(_: Heard) -> httpx.Response:
        return httpx.Response(200, json=FOUND)

    server = loopback(answer)
    resource = make_resource(endpoint=await listen(server))
    async with ContentUnderstandingClient(resource, tls=tls) as client:
        await client.get_analyzer("a")
        assert server.open_connections == 1
    async with asyncio.timeout(PATIENCE):
        await server.all_closed()
    assert server.open_connections == 0
