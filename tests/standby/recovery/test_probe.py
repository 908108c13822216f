"""What a probe makes of what a resource does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from standby.clock import SystemClock
from standby.config.resource import Resource
from standby.recovery.probe import (
    LIMITS,
    Check,
    Limits,
    Observation,
    WatchReport,
    check,
    observed,
    observer_here,
    probe,
    probe_client,
    probe_resources,
)
from standby.service.calls import Tls, trusted_certificates
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import NotAuthorized, ServiceError, TokenUnavailable
from tests.patience import PATIENCE
from tests.standby.recovery.decision.virtual_time import LoopClock, run_in_no_time
from tests.standby.replication.world import START

if TYPE_CHECKING:
    from tests.conftest import Scene, SceneMaker

QUICK = Limits(seconds=0.4, tries=2, pause=0.01)

Answering = Callable[[httpx.Request], httpx.Response]

EAST = Resource.model_validate(
    {
        "name": "east",
        "endpoint": "https://east.services.ai.azure.com",
        "region": "eastus",
        "resource_id": "/subscriptions/1/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/e",
        "credentials": {"kind": "key", "key": "canary-key"},
    }
)


@pytest.fixture(scope="module")
def tls() -> Tls:
    return trusted_certificates()


async def seen(answering: Answering, tls: Tls) -> Observation:
    async with probe_client(EAST, tls, SystemClock(), httpx.MockTransport(answering)) as client:
        return await probe(client, "watch@here", SystemClock(), QUICK)


def well(request: httpx.Request) -> httpx.Response:
    if request.url.path.endswith("/defaults"):
        return httpx.Response(200, json={"modelDeployments": {}})
    page = {"value": [{"analyzerId": "invoice"}], "nextLink": "https://east.services.ai.azure.com/next"}
    return httpx.Response(200, json=page)


def refusing(status: int, code: str, inner: str = "") -> Answering:
    error: dict[str, Any] = {"code": code, "message": "No."}
    if inner:
        error["innererror"] = {"code": inner}
    return lambda _: httpx.Response(status, json={"error": error})


async def test_finds_a_resource_healthy_that_does_its_work(tls: Tls) -> None:
    asked: list[str] = []

    def answering(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return well(request)

    found = await seen(answering, tls)

    assert found.healthy is True
    assert [(check.name, check.ok, check.tries) for check in found.checks] == [
        ("defaults", True, 1),
        ("listing", True, 1),
    ]
    # The list has another page, which a probe does not ask for.
    assert sorted(asked) == ["/contentunderstanding/analyzers", "/contentunderstanding/defaults"]


@pytest.mark.parametrize("status", [500, 502, 503, 504, 408])
async def test_finds_a_resource_unhealthy_that_answers_that_it_cannot(tls: Tls, status: int) -> None:
    found = await seen(refusing(status, "InternalServerError", "RegionDown"), tls)

    assert found.healthy is False
    assert {(check.code, check.tries) for check in found.checks} == {("RegionDown", 2)}
    assert f"listing: HTTP {status} (RegionDown)" in found.summary


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (httpx.ConnectError, "ConnectError"),
        (httpx.ConnectTimeout, "the connection was not accepted in time"),
        (httpx.ReadTimeout, "it did not come in time"),
        (httpx.ReadError, "ReadError"),
    ],
)
async def test_finds_a_resource_unhealthy_that_does_not_answer(
    tls: Tls, error: type[httpx.TransportError], words: str
) -> None:
    def answering(_: httpx.Request) -> httpx.Response:
        raise error("nobody there")

    found = await seen(answering, tls)

    assert found.healthy is False
    assert words in found.summary


@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize(("failing", "path"), [("listing", "/analyzers"), ("defaults", "/defaults")])
async def test_a_500_on_the_listing_or_the_defaults_alone_is_degraded_and_no_outage(
    tls: Tls, failing: str, path: str, status: int
) -> None:
    def answering(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status) if request.url.path.endswith(path) else well(request)

    found = await seen(answering, tls)

    assert (found.healthy, found.degraded, found.health) == (True, True, "degraded")
    assert found.summary.startswith(f"{failing}: HTTP {status}")
    assert found.summary.count(":") == 1


@pytest.mark.parametrize("path", ["/analyzers", "/defaults"])
async def test_a_part_of_the_service_that_does_not_answer_is_degraded_and_no_outage(tls: Tls, path: str) -> None:
    def answering(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith(path):
            raise httpx.ReadTimeout("no answer")
        return well(request)

    found = await seen(answering, tls)

    assert (found.healthy, found.health) == (True, "degraded")
    assert "it did not come in time" in found.summary


async def test_cannot_tell_of_a_service_that_half_fails_and_half_refuses(tls: Tls) -> None:
    def answering(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503 if request.url.path.endswith("/defaults") else 403)

    found = await seen(answering, tls)

    assert (found.healthy, found.degraded) == (None, False)
    assert "defaults: HTTP 503" in found.summary
    assert "listing: " in found.summary


@pytest.mark.parametrize("latency", [3.5, 6.5, 8.0, 9.0, 9.9])
def test_an_answer_after_seconds_is_slow_and_degraded_and_no_outage(latency: float) -> None:
    found = run_in_no_time(looked(latency))

    assert (found.healthy, found.degraded, found.seconds) == (True, True, latency)
    assert found.summary.startswith(f"defaults: answers, but only after {latency:.1f} s")


def test_an_answer_within_three_seconds_is_well() -> None:
    found = run_in_no_time(looked(2.9))

    assert (found.health, found.is_well) == ("healthy", True)


def test_a_region_that_hangs_is_unhealthy_after_ten_seconds_and_two_tries() -> None:
    found = run_in_no_time(looked(3600.0))

    assert (found.healthy, found.seconds) == (False, 10.0)
    assert {(each.tries, each.last_try) for each in found.checks} == {(2, 3.0)}


def test_a_single_answer_that_is_lost_is_neither_an_outage_nor_slow() -> None:
    found = run_in_no_time(looked(3600.0, 0.1))

    assert (found.health, found.seconds) == ("healthy", 3.1)


async def looked(*latencies: float) -> Observation:
    """Look at a resource that answers each question's tries after so many seconds; the last is for all that follow."""
    clock = LoopClock()

    async def checked(name: str) -> Check:
        tries = iter(latencies)

        async def question() -> None:
            await asyncio.sleep(next(tries, latencies[-1]))

        return await check(name, question, LIMITS, clock)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(checked(name)) for name in ("defaults", "listing")]
    return observed("east", "watch@here", clock.now(), clock.monotonic(), [task.result() for task in tasks])


async def test_a_refused_connection_is_known_within_a_second(make_scene: SceneMaker) -> None:
    """By what it waits for: two tries, and the pause between them."""
    async with make_scene([]) as scene:
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        found = await probe_resources([scene.configuration.resource("east")], "watch@here", SystemClock())

    assert found["east"].healthy is False
    assert LIMITS.pause * (LIMITS.tries - 1) < 1
    assert {each.tries for each in found["east"].checks} == {LIMITS.tries}


@pytest.mark.parametrize("version", ["2025-11-01", "2025-05-01-preview"])
class TestGrant:
    async def test_a_grant_that_answers_503_is_seen_as_degraded(
        self, make_scene: SceneMaker, make_analyzer: Callable[..., dict[str, Any]], version: str
    ) -> None:
        async with make_scene([make_analyzer("invoice")], api_version=version) as scene:
            fault = {"kind": "status", "status": 503, "code": "Busy"}
            await scene.control("/faults", {"resource": "east", "call": "authorize", "times": None, "fault": fault})
            found = await self.granted(scene)

        assert (found.healthy, found.health) == (True, "degraded")
        assert found.summary.startswith("grant: HTTP 503 (Busy)")

    async def test_a_grant_that_is_given_is_well_and_its_token_is_kept_nowhere(
        self, make_scene: SceneMaker, make_analyzer: Callable[..., dict[str, Any]], version: str
    ) -> None:
        async with make_scene([make_analyzer("invoice")], api_version=version) as scene:
            found = await self.granted(scene)
            calls = (await scene.stats("east"))["calls"]

        assert found.health == "healthy"
        assert [(each.name, each.detail) for each in found.checks][-1] == ("grant", "answers")
        assert calls["authorize"] == 1
        assert "oken" not in found.model_dump_json()

    async def test_a_grant_that_is_refused_says_nothing_of_the_service(
        self, make_scene: SceneMaker, make_analyzer: Callable[..., dict[str, Any]], version: str
    ) -> None:
        async with make_scene([make_analyzer("invoice")], api_version=version) as scene:
            fault = {"kind": "status", "status": 401, "code": "PermissionDenied"}
            await scene.control("/faults", {"resource": "east", "call": "authorize", "times": None, "fault": fault})
            found = await self.granted(scene)

        assert found.health == "healthy"

    async def test_nothing_is_asked_where_there_is_nothing_to_copy(self, make_scene: SceneMaker, version: str) -> None:
        async with make_scene([], api_version=version) as scene:
            found = await self.granted(scene)

        # In 2025-05-01-preview a resource has no defaults.
        first = "defaults" if version == "2025-11-01" else "analyzer"
        assert (found.health, [each.name for each in found.checks]) == ("healthy", [first, "listing"])

    @staticmethod
    async def granted(scene: Scene) -> Observation:
        east, west = (scene.configuration.resource(name) for name in ("east", "west"))
        found = await probe_resources([east], observer_here("watch"), SystemClock(), grants={"east": west})
        return found["east"]


def test_an_observation_of_an_earlier_version_is_read_and_its_alerts_are_known() -> None:
    earlier = {"resource": "east", "observer": "watch@a", "at": "2026-01-01T00:00:00Z", "healthy": False, "checks": []}

    assert not Observation.model_validate(earlier).alert
    for observer in ("azure-monitor", "resource-health", "service-health"):
        assert Observation.model_validate({**earlier, "observer": observer}).alert


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [(429, "TooManyRequests", "too many requests"), (400, "DefaultsNotSet", "no defaults are set")],
)
async def test_notes_what_is_no_outage(tls: Tls, status: int, code: str, told: str) -> None:
    found = await seen(refusing(status, code), tls)

    assert found.healthy is True
    assert told in found.summary


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409])
async def test_cannot_tell_of_a_service_that_answers_and_refuses(tls: Tls, status: int) -> None:
    found = await seen(refusing(status, "Refused"), tls)

    assert found.healthy is None
    assert {check.tries for check in found.checks} == {1}


async def test_cannot_tell_where_something_else_answers(tls: Tls) -> None:
    found = await seen(lambda _: httpx.Response(200, text="<h1>Please sign in to the hotel</h1>"), tls)

    assert found.healthy is None


@pytest.mark.parametrize("error", [TokenUnavailable("Entra is down"), NotAuthorized("No such application")])
async def test_never_takes_a_missing_token_for_an_outage(tls: Tls, error: ServiceError) -> None:
    class Unsigned(ContentUnderstandingClient):
        async def sign_in(self) -> None:
            raise error

    def answering(_: httpx.Request) -> httpx.Response:
        raise AssertionError("nothing may be asked without a token")

    async with Unsigned(EAST, tls=tls, transport=httpx.MockTransport(answering)) as client:
        found = await probe(client, "watch@here", SystemClock(), QUICK)

    assert found.healthy is None
    assert [(check.name, check.ok) for check in found.checks] == [("sign-in", None)]
    assert error.cause in found.summary


async def test_says_nothing_of_the_key_that_the_service_quotes(tls: Tls) -> None:
    error = {"code": "401", "message": "canary-key is no valid key"}
    found = await seen(lambda _: httpx.Response(401, json={"error": error}), tls)

    assert "is no valid key" in found.summary
    assert "canary-key" not in found.model_dump_json()


async def test_an_observation_survives_an_event(tls: Tls) -> None:
    found = await seen(refusing(503, "Busy"), tls)

    assert Observation.model_validate(found.model_dump(mode="json")) == found


async def test_looks_at_several_resources_and_tells_them_apart(make_scene: SceneMaker) -> None:
    async with make_scene([]) as scene:
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        await scene.control("/faults", {"resource": "north", "call": "list", "times": None, "fault": {"kind": "hang"}})

        resources = scene.configuration.resources.values()
        found = await probe_resources(resources, observer_here("watch"), SystemClock(), limits=QUICK)

        assert {name: seen.healthy for name, seen in found.items()} == {
            "east": False,
            "north": True,
            "west": True,
        }
        assert found["north"].degraded
        assert {seen.observer for seen in found.values()} == {observer_here("watch")}
        assert "listing: no answer within 0.4 s" in found["north"].summary


async def test_ends_in_its_time_however_slow_the_resource_is(make_scene: SceneMaker) -> None:
    async with make_scene([]) as scene:
        await scene.control("/faults", {"resource": "east", "times": None, "fault": {"kind": "hang"}})

        async with asyncio.timeout(PATIENCE):
            found = await probe_resources([scene.configuration.resource("east")], "watch", SystemClock(), limits=QUICK)

        assert found["east"].healthy is False
        assert found["east"].seconds < PATIENCE


def test_a_report_names_the_state_of_each_resource_and_the_evidence_of_those_that_are_not_healthy() -> None:
    found = {
        name: Observation(resource=name, observer="o", at=START, healthy=healthy, checks=(), summary=f"{name} said")
        for name, healthy in (("west", False), ("east", True), ("north", None))
    }
    report = WatchReport(plan="p", observations=found)
    assert report.states == "east healthy, north unknown, west unhealthy"
    assert report.summary == "east healthy, north unknown, west unhealthy. north: north said. west: west said"
    assert not report.complete
    degraded = {"east": found["east"].model_copy(update={"degraded": True})}
    assert WatchReport(plan="p", observations=degraded).summary == "east degraded. east: east said"
    assert not WatchReport(plan="p", observations=degraded).complete
