"""Steps without Prefect: how often each is tried, and how long it waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import RetryPolicy
from standby.replication.engine import is_transient, try_again
from standby.replication.errors import CopyNotStarted, MayBeUnderWay
from standby.replication.items import PlanItem, Selection
from standby.replication.replicate import survey
from standby.replication.steps import DirectSteps, RunContext, copy_again
from standby.service.errors import Conflict, GrantVoid, OperationHung, ServiceUnavailable
from tests.standby.replication.world import FakeClock, Service, definition, recovery_plan

OFTEN: dict[str, Any] = {"attempts": 3, "delays": [2, 7], "jitter": 0}
RETRIES = dict.fromkeys(("authorize", "validate_deployments", "copy", "poll", "verify"), OFTEN)
DOWN = ServiceUnavailable("down")


class Failing:
    """A step that fails some times before it succeeds."""

    def __init__(self, times: int, error: Exception = DOWN) -> None:
        self.left = times
        self.error = error
        self.tried = 0

    async def __call__(self) -> str:
        self.tried += 1
        if self.left > 0:
            self.left -= 1
            raise self.error
        return "done"


async def tried(times: int, clock: FakeClock, error: Exception = DOWN, **policy: Any) -> tuple[str, int]:
    step = Failing(times, error)
    return await try_again(RetryPolicy(**policy), is_transient, step, clock), step.tried


async def test_a_step_that_succeeds_is_tried_once_and_waits_for_nothing() -> None:
    clock = FakeClock()
    assert await tried(0, clock) == ("done", 1)
    assert clock.waits == []


async def test_the_delays_are_those_of_the_plan_and_the_last_is_used_again() -> None:
    clock = FakeClock()
    assert await tried(5, clock, attempts=6, delays=(1.0, 60.0, 2.0), jitter=0) == ("done", 6)
    assert clock.waits == [1.0, 60.0, 2.0, 2.0, 2.0]


async def test_more_delays_than_retries_are_no_more_retries() -> None:
    clock = FakeClock()
    with pytest.raises(ServiceUnavailable):
        await tried(9, clock, attempts=2, delays=(1.0, 2.0, 3.0), jitter=0)
    assert clock.waits == [1.0]


async def test_one_attempt_means_no_retry() -> None:
    clock = FakeClock()
    with pytest.raises(ServiceUnavailable):
        await tried(1, clock, attempts=1)
    assert clock.waits == []


async def test_what_is_not_worth_it_is_not_tried_again() -> None:
    clock = FakeClock()
    with pytest.raises(Conflict):
        await tried(1, clock, Conflict("exists"), attempts=5)
    assert clock.waits == []


@given(st.lists(st.floats(0, 3600), min_size=1, max_size=20), st.floats(0, 1), st.integers(1, 20))
async def test_jitter_leaves_its_share_of_a_delay_to_chance_and_no_more(
    delays: list[float], jitter: float, attempts: int
) -> None:
    clock = FakeClock()
    await tried(attempts - 1, clock, attempts=attempts, delays=tuple(delays), jitter=jitter)
    assert len(clock.waits) == attempts - 1
    for place, waited in enumerate(clock.waits):
        delay = delays[min(place, len(delays) - 1)]
        assert delay * (1 - jitter) - 1e-6 <= waited <= delay * (1 + jitter) + 1e-6


@pytest.mark.parametrize(
    ("worth_it", "error", "again"),
    [
        (copy_again, CopyNotStarted("a", "west"), True),
        (copy_again, DOWN, True),
        (copy_again, GrantVoid("void"), False),
        (copy_again, Conflict("exists"), False),
        (copy_again, MayBeUnderWay("a", "west"), False),
        (is_transient, OperationHung("hung"), False),
        (is_transient, ValueError("odd"), False),
    ],
)
def test_each_step_has_its_own_idea_of_what_is_worth_a_retry(worth_it: Any, error: Exception, again: bool) -> None:
    assert worth_it(error) is again


# The steps themselves, over a service that is down for a moment.


class Outage:
    """Answers the calls of one kind with 503 as often as it is told to."""

    def __init__(self) -> None:
        self.kind = ("", "")
        self.left = 0

    def __call__(self, when: str, request: httpx.Request) -> httpx.Response | None:
        matches = request.method == self.kind[0] and request.url.path.endswith(self.kind[1])
        if when == "before" and matches and self.left > 0:
            self.left -= 1
            return httpx.Response(503)
        return None


@pytest.fixture
def outage() -> Outage:
    return Outage()


@pytest.fixture
def service(outage: Outage) -> Service:
    made = Service(intervene=outage, polls=0)
    made.hold("east", definition("a"))
    return made


@pytest.fixture
async def context(service: Service, tmp_path: Path) -> AsyncIterator[RunContext]:
    made = service.context(recovery_plan(retries=RETRIES), tmp_path)
    yield made
    for client in made.connections.clients.values():
        await client.__aexit__()


async def planned(context: RunContext) -> PlanItem:
    (item,) = (await survey(context, Selection())).items
    return item


@pytest.mark.parametrize(
    "kind",
    [
        ("POST", ":grantCopyAuthorization"),
        ("POST", ":copy"),
        ("GET", "/operations/op-1"),
        ("GET", "/analyzers/a"),
        ("PATCH", "/defaults"),
    ],
    ids=["authorize", "copy", "poll", "verify", "add_defaults"],
)
@pytest.mark.parametrize(("failures", "survives"), [(2, True), (3, False)])
async def test_every_step_is_tried_as_often_as_the_plan_says(
    service: Service,
    context: RunContext,
    outage: Outage,
    kind: tuple[str, str],
    failures: int,
    survives: bool,
) -> None:
    item, steps = await planned(context), DirectSteps(context)
    outage.kind, outage.left, service.shows_results = kind, failures, False

    async def run() -> int:
        await steps.add_defaults("west", {"gpt-4.1": "gpt"})
        authorization = await steps.authorize(item)
        await steps.validate_deployments(item)
        receipt = await steps.copy(item, authorization)
        await steps.verify(item, await steps.poll(item, receipt))
        return receipt.attempts

    if survives:
        assert await run() == (3 if kind[1] == ":copy" else 1)
        assert service.region("west").defaults == {"gpt-4.1": "gpt"}
        assert service.accepted == {("west", "a"): 1}
    else:
        # A copy that a gateway answers is looked for at the target before it is called not started.
        with pytest.raises(CopyNotStarted if kind[1] == ":copy" else ServiceUnavailable):
            await run()
    assert [wait for wait in service.clock.waits if wait in OFTEN["delays"]] == OFTEN["delays"]


async def test_validation_asks_again_when_the_target_could_not_tell_what_it_serves(
    service: Service, context: RunContext, outage: Outage
) -> None:
    item, steps = await planned(context), DirectSteps(context)
    context.connections.forget_serving("west")
    outage.kind, outage.left = ("GET", "/defaults"), 2
    assert await steps.validate_deployments(item) == ()
    assert service.clock.waits == [2.0, 7.0]
