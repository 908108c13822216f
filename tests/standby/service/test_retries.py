"""What is tried again, how often and after how long: on a loop whose clock runs while nobody waits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.service.client import ContentUnderstandingClient
from standby.service.errors import NotConnected, ServiceError, Throttled
from standby.service.failures import parse_retry_after
from standby.service.retries import HttpRetries, Repeat, send_again

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from typing import TypeAlias

    from tests.standby.conftest import MakeResource
    from tests.standby.service.conftest import Connect, Failure, FastTime, Service

    Waits: TypeAlias = Callable[[HttpRetries], list[float]]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FOUND = httpx.Response(200, json={"analyzerId": "a"})


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_passes_is_tried_again(connect: Connect, service: Service, failure: Failure, status: int) -> None:
    service.will(failure(status, retry_after="0"), failure(status, retry_after="0"), FOUND)
    assert (await connect(service).get_analyzer("a")).analyzer_id == "a"


@pytest.mark.parametrize("problem", [httpx.ConnectError, httpx.ReadError, httpx.ReadTimeout, httpx.WriteError])
async def test_a_lost_connection_is_tried_again(
    connect: Connect, service: Service, problem: type[httpx.TransportError]
) -> None:
    service.will(problem("1"), problem("2"), FOUND)
    assert (await connect(service).get_analyzer("a")).analyzer_id == "a"


@pytest.mark.parametrize("status", [300, 304, 400, 401, 403, 404, 409, 410, 412, 422])
async def test_what_stays_is_not_tried_again(connect: Connect, service: Service, failure: Failure, status: int) -> None:
    service.will(failure(status, retry_after="0"))
    with pytest.raises(ServiceError):
        await connect(service).get_analyzer("a")
    assert len(service.requests) == 1


async def test_every_attempt_has_a_request_id_of_its_own(connect: Connect, service: Service, failure: Failure) -> None:
    service.will(failure(503), failure(503), FOUND)
    await connect(service).get_analyzer("a")
    assert len({request.headers["x-ms-client-request-id"] for request in service.requests}) == 3


async def test_the_last_failure_is_the_one_that_is_told(connect: Connect, service: Service, failure: Failure) -> None:
    service.will(failure(503), failure(503), failure(503), failure(429))
    with pytest.raises(Throttled):
        await connect(service).get_analyzer("a")
    assert len(service.requests) == 4


@pytest.fixture
def waits(fast_time: FastTime, make_resource: MakeResource, tls: ssl.SSLContext, service: Service) -> Waits:
    """Gives the seconds between the attempts of one call."""

    def measure(retries: HttpRetries) -> list[float]:
        times: list[float] = []

        async def note(request: httpx.Request) -> httpx.Response:
            times.append(asyncio.get_running_loop().time())
            return await service.handle(request)

        async def call() -> None:
            client = ContentUnderstandingClient(
                make_resource(), tls=tls, retries=retries, transport=httpx.MockTransport(note)
            )
            async with client:
                try:
                    await client.get_analyzer("a")
                except ServiceError:
                    assert len(times) == len(service.requests)

        fast_time(call())
        return [later - earlier for earlier, later in pairwise(times)]

    return measure


def test_waits_double_up_to_a_bound_with_some_jitter(waits: Waits, service: Service, failure: Failure) -> None:
    service.always(lambda _: failure(503))
    retries = HttpRetries(attempts=7, wait_initial=0.25, wait_max=2.0, wait_jitter=0.25)
    for waited, least in zip(waits(retries), [0.25, 0.5, 1.0, 2.0, 2.0, 2.0], strict=True):
        assert least <= waited + 0.05
        assert waited <= min(least + 0.25, 2.0) + 0.05


@pytest.mark.parametrize(
    ("header", "wait"),
    [("7", 7.0), ("0", 0.0), ("2.5", 2.5), ("3600", 60.0), ("9" * 400, 60.0)],
    ids=["seconds", "at once", "with a fraction", "cut", "beyond all numbers"],
)
def test_the_service_says_how_long_to_wait_up_to_a_cap(
    waits: Waits, service: Service, failure: Failure, header: str, wait: float
) -> None:
    service.will(failure(429, retry_after=header), FOUND)
    [waited] = waits(HttpRetries())
    assert -0.1 <= waited - wait < 0.9  # What the machine itself takes counts, too.


def test_the_service_may_say_it_with_a_date(waits: Waits, service: Service, failure: Failure) -> None:
    until = format_datetime(NOW + timedelta(seconds=9), usegmt=True)
    service.will(failure(503, retry_after=until, date=format_datetime(NOW, usegmt=True)), FOUND)
    assert waits(HttpRetries()) == [pytest.approx(9.0, abs=0.1)]


def test_a_wish_that_cannot_be_read_leaves_the_usual_wait(waits: Waits, service: Service, failure: Failure) -> None:
    service.will(failure(503, retry_after="soon"), FOUND)
    retries = HttpRetries(wait_initial=1.0, wait_jitter=0.0)
    assert waits(retries) == [pytest.approx(1.0, abs=0.1)]


def test_no_attempt_begins_after_the_total(waits: Waits, service: Service, failure: Failure) -> None:
    service.always(lambda _: failure(429, retry_after="50"))
    assert len(waits(HttpRetries(attempts=10, total=120.0))) == 2


@pytest.mark.parametrize("repeat", Repeat)
async def test_cancelling_ends_the_waiting_at_once(repeat: Repeat) -> None:
    began = asyncio.Event()
    attempts = 0

    async def send() -> None:
        nonlocal attempts
        attempts += 1
        began.set()
        raise NotConnected("No connection")

    task = asyncio.create_task(send_again(HttpRetries(wait_initial=50, wait_max=50), repeat, send))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert attempts == 1


async def test_cancelling_an_attempt_is_no_failure_to_try_again(connect: Connect, service: Service) -> None:
    began = asyncio.Event()

    async def never(_: httpx.Request) -> httpx.Response:
        began.set()
        await asyncio.Event().wait()
        return FOUND

    service.will(never)
    task = asyncio.create_task(connect(service).get_analyzer("a"))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(service.requests) == 1


async def test_an_error_of_ours_is_no_failure_to_try_again() -> None:
    attempts = 0

    async def send() -> None:
        nonlocal attempts
        attempts += 1
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await send_again(HttpRetries(), Repeat.ALWAYS, send)
    assert attempts == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("0.25", 0.25),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Friday, 02-Jan-26 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 03:05:05 -0100", 3660.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        (None, None),
        ("", None),
        (".", None),
        ("-5", None),
        ("+5", None),
        ("1e3", None),
        ("1.2.3", None),
        ("0x10", None),
        ("٣", None),
        ("soon", None),
        ("Fri, 99 Jan 2026 03:05:05 GMT", None),
        ("NaN", None),
        ("inf", None),
    ],
)
def test_a_wait_is_read_as_seconds_or_as_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, date=None, now=NOW) == seconds


def test_the_services_own_date_corrects_a_wrong_clock() -> None:
    until = "Fri, 02 Jan 2026 03:05:05 GMT"
    date = "Fri, 02 Jan 2026 03:05:00 GMT"
    wrong = NOW + timedelta(days=400)
    assert parse_retry_after(until, date=date, now=wrong) == 5.0
    assert parse_retry_after(until, date="yesterday", now=NOW) == 60.0


@given(st.integers(0, 10**9))
def test_whole_seconds_are_read_as_they_are(seconds: int) -> None:
    assert parse_retry_after(str(seconds), date=None, now=NOW) == seconds


@given(st.integers(0, 4 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)))
def test_a_date_is_waited_for_and_a_past_one_is_not(until: datetime) -> None:
    waited = parse_retry_after(format_datetime(until, usegmt=True), date=None, now=NOW)
    assert waited == max(0.0, (until - NOW).total_seconds())


HEADERS = st.one_of(
    st.none(),
    st.text(),
    st.text(st.sampled_from("0123456789.+-: ,GMTJanFri")),
    st.datetimes(timezones=st.timezones()).map(format_datetime),
)


@given(HEADERS, HEADERS)
def test_no_header_brings_the_reading_down(value: str | None, date: str | None) -> None:
    seconds: Any = parse_retry_after(value, date=date, now=NOW)
    assert seconds is None or seconds >= 0.0
