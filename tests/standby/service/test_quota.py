"""No window of 60 s sees more calls than the quota, whatever comes in and however it is driven."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from standby.service.client import ContentUnderstandingClient
from standby.service.retries import quota

if TYPE_CHECKING:
    import ssl

    from tests.standby.conftest import MakeResource
    from tests.standby.service.conftest import (
        Connect,
        Failure,
        FastTime,
        Heard,
        Identity,
        Loopback,
        Service,
    )

WINDOW = 60.0


def most_in_a_window(times: list[float]) -> int:
    """The most calls that any 60 s saw."""
    ordered = sorted(times)
    return max(bisect_right(ordered, start + WINDOW) - place for place, start in enumerate(ordered))


def passed(fast_time: FastTime, operations: int, pauses: list[tuple[float, int]]) -> list[float]:
    """When the bucket let calls through that came in bursts, with pauses between them."""

    async def drive() -> list[float]:
        bucket, loop = quota(operations), asyncio.get_running_loop()
        times: list[float] = []

        async def call() -> None:
            await bucket.acquire()
            times.append(loop.time())

        async with asyncio.TaskGroup() as group:
            for pause, burst in pauses:
                await asyncio.sleep(pause)
                for _ in range(burst):
                    group.create_task(call())
        return times

    found: list[float] = fast_time(drive())
    return found


@given(
    st.one_of(st.integers(1, 130), st.sampled_from([600, 2999, 3000])),
    st.lists(st.tuples(st.floats(0, 90), st.integers(0, 60)), min_size=1, max_size=6).filter(
        lambda pauses: any(burst for _, burst in pauses)
    ),
)
@example(1, [(0.0, 3), (61.0, 1)])
@example(60, [(0.0, 200)])
@example(119, [(0.0, 1), (59.0, 200)])
def test_no_minute_sees_more_calls_than_the_quota(
    fast_time: FastTime, operations: int, pauses: list[tuple[float, int]]
) -> None:
    times = passed(fast_time, operations, pauses)
    assert len(times) == sum(burst for _, burst in pauses)
    assert most_in_a_window(times) <= operations


@given(st.integers(1, 3000))
def test_a_full_bucket_and_what_flows_in_meanwhile_are_within_the_quota(operations: int) -> None:
    bucket = quota(operations)
    most = bucket.max_rate + WINDOW * bucket.max_rate / bucket.time_period
    # Calls are whole: one and a bit is one.
    assert int(most) <= operations


@given(st.integers(60, 3000))
def test_nearly_the_whole_quota_can_be_used(operations: int) -> None:
    bucket = quota(operations)
    assert WINDOW * bucket.max_rate / bucket.time_period > 0.94 * operations - 1


def test_the_largest_quota_is_used_and_kept(fast_time: FastTime) -> None:
    times = passed(fast_time, 3000, [(0.0, 4000)])
    assert 2900 < most_in_a_window(times) <= 3000


def test_every_attempt_counts(
    fast_time: FastTime, make_resource: MakeResource, tls: ssl.SSLContext, failure: Failure
) -> None:
    times: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        times.append(asyncio.get_running_loop().time())
        return failure(503, retry_after="0")

    async def drive() -> None:
        client = ContentUnderstandingClient(
            make_resource(operations_per_minute=6), tls=tls, transport=httpx.MockTransport(answer)
        )
        async with client:
            await asyncio.gather(*(client.get_defaults() for _ in range(3)), return_exceptions=True)

    fast_time(drive())
    assert len(times) >= 9
    assert most_in_a_window(times) <= 6


async def test_a_request_that_is_signed_anew_counts_too(
    connect: Connect, service: Service, failure: Failure, identity: Identity
) -> None:
    client = connect(service, credentials={"kind": "entra"}, operations_per_minute=119)
    times: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        times.append(asyncio.get_running_loop().time())
        return failure(401) if len(times) == 1 else httpx.Response(200, json={"modelDeployments": {}})

    service.always(answer)
    await client.get_defaults()
    first, second = times
    assert second - first > 0.9 * WINDOW / 119
    assert len(identity.asked) == 2


def test_requests_that_waited_for_a_token_together_do_not_leave_together(
    fast_time: FastTime,
    make_resource: MakeResource,
    tls: ssl.SSLContext,
    loopback: type[Loopback],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        times.append(asyncio.get_running_loop().time())
        return httpx.Response(200, json={"modelDeployments": {}})

    async def slow_token(_: Heard) -> httpx.Response:
        await asyncio.sleep(10)
        token = {"access_token": "t", "expires_on": "4102444800", "resource": "r", "token_type": "Bearer"}
        return httpx.Response(200, json=token)

    async def drive() -> None:
        server = await asyncio.start_server(loopback(slow_token).serve, "127.0.0.1", 0)
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        monkeypatch.setenv("IDENTITY_HEADER", "h")
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        resource = make_resource(operations_per_minute=6, credentials={"kind": "entra"})
        async with (
            server,
            ContentUnderstandingClient(resource, tls=tls, transport=httpx.MockTransport(answer)) as client,
        ):
            await asyncio.gather(*(client.get_defaults() for _ in range(15)))

    fast_time(drive(), grace=0.02)
    assert len(times) == 15
    assert most_in_a_window(times) <= 6
