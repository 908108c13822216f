"""Answers that are wrong once, for ever, too large, too slow or never there: by kind, for every call that reads."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from standby.clock import SystemClock
from standby.config.plan import FreshKey
from standby.recovery.probe import probe_client
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import (
    AnswerUnreadable,
    ApiVersionRetired,
    InvalidRequest,
    NotConnected,
    ServiceUnavailable,
    StillSilent,
    Unreachable,
)
from standby.service.protocols import protocol_for
from standby.service.retries import HttpRetries

if TYPE_CHECKING:
    import ssl

    from tests.standby.conftest import MakeResource
    from tests.standby.service.conftest import Connect, Failure, FastTime, Heard, Listen, Loopback, Service

HOST = "https://west.services.ai.azure.com"
ANALYZERS = f"{HOST}/contentunderstanding/analyzers"
LIST = {"value": [{"analyzerId": "a"}]}


class Raw(httpx.AsyncByteStream):
    """A body as it comes over the network."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            yield part


def sent(*parts: bytes, coding: str = "", status: int = 200) -> httpx.Response:
    headers = {"Content-Encoding": coding} if coding else {}
    return httpx.Response(status, stream=Raw(*parts), headers=headers)


async def grant(client: ContentUnderstandingClient) -> object:
    target = client.resource.model_copy(update={"name": "north"})
    return await protocol_for(target, target).authorize(client, "a", target, "a", encryption=FreshKey())


GRANTED = {"expiresAt": "2126-01-02T03:04:05.12345+00:00"}

READS: dict[str, tuple[Callable[[ContentUnderstandingClient], Awaitable[Any]], dict[str, Any]]] = {
    "list": (lambda client: client.list_analyzers(), LIST),
    "first page": (lambda client: client.list_first_page(), LIST),
    "get": (lambda client: client.get_analyzer("a"), {"analyzerId": "a"}),
    "poll": (lambda client: client.poll(f"{HOST}/operations/1"), {"id": "1", "status": "Running"}),
    "defaults": (lambda client: client.get_defaults(), {"modelDeployments": {}}),
    "added defaults": (lambda client: client.patch_defaults({"m": "d"}), {"modelDeployments": {}}),
    "grant": (grant, GRANTED),
}
WHOLE = json.dumps({"analyzerId": "a", "description": "long enough to be cut " * 20}).encode()
WRONG: dict[str, Callable[[], httpx.Response]] = {
    "cut off": lambda: sent(b'{"value": [{"analyzerId": "a"'),
    "a web page": lambda: sent(b"<html><body>Sign in to the network</body></html>"),
    "nothing": lambda: sent(b""),
    "another shape": lambda: sent(b"[]"),
    "no gzip": lambda: sent(WHOLE, coding="gzip"),
    "half of gzip": lambda: sent(gzip.compress(WHOLE)[:40], coding="gzip"),
    "gzip with a wrong sum": lambda: sent(gzip.compress(WHOLE)[:-8] + b"12345678", coding="gzip"),
    "no deflate": lambda: sent(WHOLE, coding="deflate"),
    "brotli unasked": lambda: sent(b"\x1b\x03\x00", coding="br"),
    "compressed twice": lambda: sent(gzip.compress(gzip.compress(WHOLE)), coding="gzip, gzip"),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("wrong", WRONG)
async def test_an_answer_that_is_wrong_once_is_asked_for_again(
    connect: Connect, service: Service, read: str, wrong: str
) -> None:
    ask, right = READS[read]
    service.will(WRONG[wrong](), httpx.Response(200, json=right))
    await ask(connect(service))
    assert len(service.requests) == 2


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("wrong", WRONG)
async def test_an_answer_that_stays_wrong_is_told_with_its_origin(
    connect: Connect, service: Service, read: str, wrong: str
) -> None:
    service.always(lambda _: WRONG[wrong]())
    with pytest.raises(AnswerUnreadable, match=f"west.*from {HOST}") as caught:
        await READS[read][0](connect(service))
    assert "proxy or gateway" in caught.value.next_action
    assert len(service.requests) == 4


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_an_answer_that_is_compressed_is_read(connect: Connect, service: Service, coding: str) -> None:
    packed = gzip.compress(WHOLE) if coding == "gzip" else zlib.compress(WHOLE)
    service.will(sent(packed[:7], packed[7:], coding=coding))
    assert (await connect(service).get_analyzer("a")).description
    assert service.requests[0].headers["accept-encoding"] == "gzip, deflate"


def zeros(window: int) -> bytes:
    """Give the compressed form of 400 MiB, of which each MiB but the first is compressed to the same bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    first, other = (packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + other * 399


def bombs() -> dict[str, tuple[list[bytes], str]]:
    """What a small answer may become: 400 MB; and an answer that does not end."""
    packed, plain = zeros(zlib.MAX_WBITS | 16), zeros(zlib.MAX_WBITS)
    return {
        "gzip": ([packed], "gzip"),
        "deflate": ([plain], "deflate"),
        "gzip twice": ([gzip.compress(packed)], "gzip, gzip"),
        "br": ([packed], "br"),
        "zstd": ([packed], "zstd"),
        "endless": ([bytes(2**20)] * 400, ""),
        "empty values": ([b'{"value":[' + b"[]," * 5_000_000 + b"[]]}"], ""),
        "after the end": ([gzip.compress(b"{}"), *[bytes(2**20)] * 400], "gzip"),
    }


BOMBS = bombs()


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("status", [200, 400])
async def test_an_answer_takes_no_more_memory_than_it_may(
    connect: Connect, service: Service, bomb: str, status: int
) -> None:
    parts, coding = BOMBS[bomb]
    service.always(lambda _: sent(*parts, coding=coding, status=status))
    client = connect(service, retries=HttpRetries(attempts=1))
    tracemalloc.start()
    with pytest.raises(AnswerUnreadable if status == 200 else InvalidRequest):
        await client.list_analyzers()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 200 * 2**20


@pytest.mark.parametrize("told", [5, 500])
async def test_a_length_that_is_a_lie_costs_no_more_than_another_attempt(
    connect: Connect, listen: Listen, loopback: type[Loopback], told: int
) -> None:
    """Nor does what is left over of an answer become that of the next call."""
    heard: list[str] = []

    async def speak(request: Heard) -> httpx.Response:
        heard.append(request.target)
        body = json.dumps({"analyzerId": request.target.partition("?")[0][-1]}).encode()
        if len(heard) == 1:
            asyncio.get_running_loop().call_later(0.1, server.hang_up)
            return httpx.Response(200, content=body, headers={"Content-Length": str(told)})
        return httpx.Response(200, content=body)

    server = loopback(speak)
    client = connect(endpoint=await listen(server))
    assert (await client.get_analyzer("x")).analyzer_id == "x"
    assert (await client.get_analyzer("y")).analyzer_id == "y"


Hanging = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
Work = Callable[[ContentUnderstandingClient], Awaitable[object]]


async def hang(_: httpx.Request) -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def drip(_: httpx.Request) -> httpx.Response:
    class Drip(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" "
                await asyncio.sleep(3)

    return httpx.Response(200, stream=Drip())


async def slow_refusal(_: httpx.Request) -> httpx.Response:
    await asyncio.sleep(14)
    return httpx.Response(503, json={})


async def slow_page(request: httpx.Request) -> httpx.Response:
    await asyncio.sleep(5)
    number = int(request.url.params.get("p", "0"))
    body = {"value": [{"analyzerId": f"a{number}"}], "nextLink": f"{ANALYZERS}?p={number + 1}"}
    return httpx.Response(200, json=body)


@pytest.fixture
def timed(fast_time: FastTime, make_resource: MakeResource, tls: ssl.SSLContext) -> Callable[..., float]:
    """Gives the seconds that some work with a client takes, whose service answers so."""

    def run(answering: Hanging, work: Work) -> float:
        async def drive() -> float:
            network = httpx.MockTransport(answering)
            client = ContentUnderstandingClient(make_resource(), tls=tls, transport=network)
            async with client:
                begun = asyncio.get_running_loop().time()
                await work(client)
                return asyncio.get_running_loop().time() - begun

        return float(fast_time(drive()))

    return run


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("answering", [hang, drip, slow_refusal])
def test_no_call_takes_more_than_half_a_minute(timed: Callable[..., float], read: str, answering: Hanging) -> None:
    async def work(client: ContentUnderstandingClient) -> None:
        with pytest.raises(Exception, match=r"No complete answer|HTTP 503"):
            await READS[read][0](client)

    assert timed(answering, work) <= 32.0


def test_a_list_whose_pages_trickle_in_is_given_up(timed: Callable[..., float]) -> None:
    async def work(client: ContentUnderstandingClient) -> None:
        with pytest.raises(Unreachable, match="west gave only 5 pages of the list of analyzers in 25 s"):
            await client.list_analyzers()

    assert timed(slow_page, work) < 31.0


async def in_turn(client: ContentUnderstandingClient, read: str, count: int) -> list[type[BaseException]]:
    ended: list[type[BaseException]] = []
    for _ in range(count):
        try:
            await READS[read][0](client)
        except (Unreachable, ServiceUnavailable) as error:
            ended.append(type(error))
    return ended


async def unavailable(_: httpx.Request) -> httpx.Response:
    return httpx.Response(503, json={}, headers={"Retry-After": "5"})


async def refuse(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("")


@pytest.mark.parametrize("answering", [hang, unavailable, refuse])
@pytest.mark.parametrize(("read", "seconds"), [("list", 15.0), ("defaults", 15.0), ("grant", 45.0), ("get", 45.0)])
def test_calls_that_follow_one_another_do_not_each_wait_for_what_does_no_work(
    timed: Callable[..., float], read: str, seconds: float, answering: Hanging
) -> None:
    async def work(client: ContentUnderstandingClient) -> None:
        ended = await in_turn(client, read, 40)
        assert ended[0] in {Unreachable, NotConnected, ServiceUnavailable}
        assert len(ended) == 40

    assert timed(answering, work) <= seconds + 1.0


def test_another_kind_of_call_is_not_held_to_blame_and_an_answer_ends_it(timed: Callable[..., float]) -> None:
    hung = True

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/defaults") and hung:
            await asyncio.Event().wait()
        return httpx.Response(200, json={"modelDeployments": {}} if request.url.path.endswith("/defaults") else LIST)

    async def work(client: ContentUnderstandingClient) -> None:
        nonlocal hung
        assert await in_turn(client, "defaults", 2) == [Unreachable, StillSilent]
        assert await in_turn(client, "list", 2) == []
        hung = False
        for _ in range(2):
            assert await in_turn(client, "defaults", 1) == [StillSilent]
            await asyncio.sleep(4)
        assert await in_turn(client, "defaults", 3) == []

    timed(answer, work)


def test_a_probe_asks_each_time_whatever_was_in_vain_before(
    fast_time: FastTime, make_resource: MakeResource, tls: ssl.SSLContext
) -> None:
    asked = 0

    async def count(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        return await hang(request)

    async def drive() -> None:
        async with probe_client(make_resource(), tls, SystemClock(), httpx.MockTransport(count)) as client:
            assert await in_turn(client, "list", 3) == [Unreachable] * 3

    fast_time(drive())
    assert asked == 3


@pytest.mark.parametrize(
    ("version", "others"),
    [
        ("2025-05-01-preview", "2025-11-01 or 2026-06-01-preview"),
        ("2025-11-01", "2026-06-01-preview"),
        ("2026-06-01-preview", "2025-11-01"),
    ],
)
@pytest.mark.parametrize(
    "refused",
    [(410, "Gone", None), (410, "", None), (400, "ApiVersionRetired", None), (400, "Bad", "ApiVersionRetired")],
)
async def test_a_version_that_was_retired_is_told_with_those_to_move_to(
    connect: Connect,
    service: Service,
    failure: Failure,
    version: str,
    others: str,
    refused: tuple[int, str, str | None],
) -> None:
    status, code, inner = refused
    service.will(failure(status, code, inner=(inner, "No.") if inner else None))
    with pytest.raises(ApiVersionRetired, match=f"west no longer supports api-version {version}") as caught:
        await connect(service, api_version=version).list_analyzers()
    assert f"Set api_version: {others} for west" in caught.value.next_action
