"""A window of 60 s sees as many calls as the quota, and never more, whatever comes in and however it is driven."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from standby.service.client import ContentUnderstandingClient
from standby.service.retries import MOST_HELD, SLACK, SPARED, WINDOW, Quota

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


def used(operations: int) -> int:
    """How much of a quota may be used: some of it is left to others."""
    return operations - operations // SPARED


def most_in_a_window(times: list[float]) -> int:
    """The most calls that any 60 s saw."""
    ordered = sorted(times)
    return max(bisect_right(ordered, start + WINDOW) - place for place, start in enumerate(ordered))


@dataclass(frozen=True)
class Burst:
    """Calls that come at once, after a pause; each takes `travel` seconds and arrives somewhere in between."""

    pause: float
    calls: int
    travel: float = 0.0
    arrival: float = 0.0  # As a part of `travel`


@dataclass
class Seen:
    """When calls were sent, and when the service saw them."""

    gone: list[float] = field(default_factory=list)
    arrived: list[float] = field(default_factory=list)
    order: list[int] = field(default_factory=list)


def passed(fast_time: FastTime, operations: int, bursts: list[Burst], cancelled: frozenset[int] = frozenset()) -> Seen:
    """Drive calls through a quota, of which some are cancelled as soon as all have come."""

    async def drive() -> Seen:
        quota, loop, seen = Quota(operations), asyncio.get_running_loop(), Seen()

        async def call(number: int, burst: Burst) -> None:
            await quota.acquire()
            seen.gone.append(loop.time())
            seen.order.append(number)
            try:
                await asyncio.sleep(burst.travel * burst.arrival)
                seen.arrived.append(loop.time())
                await asyncio.sleep(burst.travel * (1 - burst.arrival))
            finally:
                quota.give_back()

        tasks: list[asyncio.Task[None]] = []
        for burst in bursts:
            await asyncio.sleep(burst.pause)
            tasks += [asyncio.create_task(call(len(tasks) + each, burst)) for each in range(burst.calls)]
        await asyncio.sleep(0)
        for number in cancelled:
            tasks[number % len(tasks)].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return seen

    found: Seen = fast_time(drive())
    return found


BURSTS = st.lists(
    st.builds(Burst, st.floats(0, 90), st.integers(0, 60), st.floats(0, 20), st.floats(0, 1)), min_size=1, max_size=6
).filter(lambda bursts: any(burst.calls for burst in bursts))
OPERATIONS = st.one_of(st.integers(1, 130), st.sampled_from([600, 2999, 3000]))


@given(OPERATIONS, BURSTS)
@example(1, [Burst(0, 3), Burst(61, 1)])
@example(60, [Burst(0, 200)])
@example(119, [Burst(0, 1), Burst(59, 200)])
@example(10, [Burst(0, 10, 5.0, 1.0), Burst(0, 30)])
def test_no_minute_sees_more_calls_than_the_quota(fast_time: FastTime, operations: int, bursts: list[Burst]) -> None:
    seen = passed(fast_time, operations, bursts)
    assert len(seen.arrived) == sum(burst.calls for burst in bursts)
    assert most_in_a_window(seen.arrived) <= used(operations)
    assert most_in_a_window(seen.gone) <= used(operations)


@given(OPERATIONS, BURSTS)
def test_calls_go_in_the_order_in_which_they_came(fast_time: FastTime, operations: int, bursts: list[Burst]) -> None:
    order = passed(fast_time, operations, bursts).order
    assert order == sorted(order)


@given(st.integers(1, 60), BURSTS, st.frozensets(st.integers(0, 359)))
def test_what_is_cancelled_takes_no_place_from_others(
    fast_time: FastTime, operations: int, bursts: list[Burst], cancelled: frozenset[int]
) -> None:
    seen = passed(fast_time, operations, bursts, cancelled)
    come = sum(burst.calls for burst in bursts)
    assert len(seen.gone) >= come - len({number % come for number in cancelled})
    assert most_in_a_window(seen.gone) <= used(operations)


@given(st.integers(1, 3000))
def test_a_window_is_used_at_once_and_the_next_as_it_opens(fast_time: FastTime, operations: int) -> None:
    gone = passed(fast_time, operations, [Burst(0, used(operations) + 1)]).gone
    assert gone[-2] - gone[0] < WINDOW / 4
    assert WINDOW + SLACK <= gone[-1] - gone[0] < 1.25 * WINDOW


def test_at_least_95_percent_of_the_largest_quota_are_used(fast_time: FastTime) -> None:
    gone = passed(fast_time, 3000, [Burst(0, 4 * used(3000), 0.3)]).gone
    assert most_in_a_window(gone) <= 3000
    # The fourth window has only just begun.
    assert 3 * used(3000) / ((gone[-1] - gone[0]) / WINDOW) >= 0.95 * 3000


def held_back(fast_time: FastTime, refusals: list[float], calls: int = 3, succeeding: int = 10**9) -> list[float]:
    """When calls go after a refusal of each that is gone; each that is refused comes again."""

    async def drive() -> list[float]:
        quota, loop, gone = Quota(3000), asyncio.get_running_loop(), list[float]()
        begun = loop.time()

        async def call() -> None:
            await quota.acquire()
            gone.append(loop.time() - begun)
            quota.give_back()
            if len(gone) <= len(refusals):
                quota.refused(refusals[len(gone) - 1])
            elif len(gone) == succeeding:
                quota.let_through()

        for _ in range(calls):
            await call()
        return gone

    found: list[float] = fast_time(drive())
    return found


def test_a_refusal_holds_all_calls_back_as_long_as_the_service_says(fast_time: FastTime) -> None:
    assert held_back(fast_time, [20.0]) == [
        pytest.approx(0.0, abs=5.0),
        pytest.approx(20.0, abs=5.0),
        pytest.approx(20.0, abs=5.0),
    ]


def test_refusals_without_an_end_are_run_into_at_last(fast_time: FastTime) -> None:
    gone = held_back(fast_time, [50.0] * 20, calls=20)
    assert gone[-1] <= MOST_HELD
    assert gone[-1] == pytest.approx(gone[3], abs=5.0)


def test_cancelling_a_call_that_is_held_back_gives_its_place_back(fast_time: FastTime) -> None:
    async def drive() -> float:
        quota, loop = Quota(1), asyncio.get_running_loop()
        begun = loop.time()
        quota.refused(20.0)
        waiting = asyncio.create_task(quota.acquire())
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await quota.acquire()
        return loop.time() - begun

    assert fast_time(drive()) == pytest.approx(20.0, abs=5.0)


def test_what_one_call_was_refused_for_no_other_runs_into(
    fast_time: FastTime, make_resource: MakeResource, tls: ssl.SSLContext, failure: Failure
) -> None:
    times: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        times.append(asyncio.get_running_loop().time())
        return failure(429, retry_after="30") if len(times) == 1 else httpx.Response(200, json={"modelDeployments": {}})

    async def drive() -> None:
        client = ContentUnderstandingClient(make_resource(), tls=tls, transport=httpx.MockTransport(answer))
        async with client, asyncio.TaskGroup() as group:
            group.create_task(client.get_defaults())
            await asyncio.sleep(1)
            for _ in range(50):
                group.create_task(client.get_defaults())

    fast_time(drive())
    assert len(times) == 52
    assert times[1] - times[0] == pytest.approx(30.0, abs=5.0)


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
    client = connect(service, credentials={"kind": "entra"}, operations_per_minute=2)
    service.will(failure(401))
    service.always(lambda _: httpx.Response(200, json={"modelDeployments": {}}))
    await client.get_defaults()
    assert len(identity.asked) == 2
    third = asyncio.create_task(client.get_defaults())
    await asyncio.sleep(0.1)
    third.cancel()
    with pytest.raises(asyncio.CancelledError):
        await third
    assert len(service.requests) == 2


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
