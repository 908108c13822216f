"""One question in time that jumps: what counts as an answer, and how long it is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from standby.recovery.probe import Check, Limits, check
from standby.service.errors import NotAuthorized, NotConnected, ServiceUnavailable
from tests.standby.recovery.decision.virtual_time import LoopClock, run_in_no_time

LIMITS = Limits(seconds=6.0, tries=2, pause=0.5)

Step = float | Exception
"""Seconds until it answers, or what it fails with at once."""

FOREVER = 1e6


def asked(*steps: Step, limits: Limits = LIMITS) -> Check:
    """Let the tries of a question go as the steps say, one after the other."""
    waiting = list(steps)

    async def question() -> None:
        step = waiting.pop(0)
        if isinstance(step, Exception):
            raise step
        await asyncio.sleep(step)

    return run_in_no_time(check("listing", question, limits, LoopClock()))


def test_is_content_with_the_first_answer() -> None:
    found = asked(0.25)

    assert (found.ok, found.tries, found.code) == (True, 1, "")
    assert found.seconds == pytest.approx(0.25)


def test_takes_one_lost_connection_for_no_outage() -> None:
    found = asked(NotConnected("No connection to east"), 0.2)

    assert (found.ok, found.tries) == (True, 2)
    assert found.seconds == pytest.approx(0.7)


def test_overtakes_a_try_that_hangs() -> None:
    found = asked(FOREVER, 0.2)

    assert (found.ok, found.tries) == (True, 2)
    assert found.seconds == pytest.approx(3.2)


def test_lets_an_answer_take_the_whole_time() -> None:
    found = asked(5.9, FOREVER)

    assert (found.ok, found.tries) == (True, 2)
    assert found.seconds == pytest.approx(5.9)


def test_waits_for_the_slow_one_where_the_quick_one_fails() -> None:
    assert asked(5.0, NotConnected("No connection to east")).ok is True


def test_gives_up_when_its_time_is_over() -> None:
    found = asked(FOREVER, FOREVER)

    assert (found.ok, found.code, found.detail) == (False, "Timeout", "no answer within 6 s")
    assert found.seconds == pytest.approx(6.0)


def test_names_the_failure_rather_than_the_time_where_there_was_one() -> None:
    found = asked(FOREVER, ServiceUnavailable("It is broken", status=503, inner_code="RegionDown"))

    assert (found.ok, found.code, found.detail) == (False, "RegionDown", "HTTP 503 (RegionDown)")


def test_gives_up_when_every_try_failed() -> None:
    refused = [NotConnected("No connection to east") for _ in range(3)]

    found = asked(*refused, limits=Limits(seconds=6, tries=3, pause=0.5))

    assert (found.ok, found.tries, found.code) == (False, 3, "NotConnected")
    assert found.seconds == pytest.approx(1.0)


def test_does_not_ask_again_after_a_refusal() -> None:
    found = asked(NotAuthorized("Access denied", status=401, inner_code="PermissionDenied"), 0.1)

    assert (found.ok, found.tries, found.code) == (None, 1, "PermissionDenied")


@pytest.mark.parametrize("cancelled_after", [1.0, 4.0])
def test_leaves_no_try_behind(cancelled_after: float) -> None:
    left: list[str] = []

    async def question() -> None:
        try:
            await asyncio.sleep(FOREVER)
        finally:
            left.append("ended")

    async def cancelled() -> None:
        task = asyncio.create_task(check("listing", question, LIMITS, LoopClock()))
        await asyncio.sleep(cancelled_after)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert len(asyncio.all_tasks()) == 1

    run_in_no_time(cancelled())

    assert left == ["ended"] * (1 if cancelled_after < 3 else 2)


def test_lets_other_errors_through() -> None:
    async def broken() -> None:
        raise RuntimeError("a mistake of ours")

    ask: Callable[[], Awaitable[None]] = broken
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        run_in_no_time(check("listing", ask, LIMITS, LoopClock()))
