"""Duplicates, and what becomes of a delivery that Prefect does not take."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx
import pytest

from standby.gateway.app import make_app
from standby.gateway.errors import NoPrefectServer
from standby.gateway.notice import ATTEMPTS, open_poster, prefect_api
from tests.standby.gateway.conftest import TLS, TOKEN, UNHEALTHY, Prefect, configuration_of
from tests.standby.gateway.samples import grid_event, metric_alert, resource_id

if TYPE_CHECKING:
    from tests.standby.gateway.conftest import Gateway


async def test_an_alert_that_is_delivered_again_is_dropped(gateway: Gateway) -> None:
    await gateway.alert(metric_alert())
    gateway.clock.seconds += 3600
    answer = await gateway.alert(metric_alert())

    assert answer.status_code == 202
    assert answer.json() == {"posted": 0, "duplicates": 1, "ignored": []}
    assert gateway.told() == [(UNHEALTHY, "east")]


async def test_an_event_of_event_grid_that_is_delivered_again_is_dropped(gateway: Gateway) -> None:
    await gateway.tell("/event-grid", [grid_event(id="1")])
    answer = await gateway.tell("/event-grid", [grid_event(id="1"), grid_event(id="2"), grid_event(id="2")])

    assert answer.json() == {"posted": 1, "duplicates": 2, "ignored": []}


async def test_another_condition_or_another_time_is_no_duplicate(gateway: Gateway) -> None:
    await gateway.alert(metric_alert())
    await gateway.alert(metric_alert(monitorCondition="Resolved"))
    await gateway.alert(metric_alert(firedDateTime="2026-03-22T14:00:00Z"))

    assert len({event["id"] for event in gateway.prefect.posted}) == 3


async def test_a_gateway_that_was_restarted_gives_an_alert_the_same_id(gateway: Gateway, tmp_path: Path) -> None:
    await gateway.alert(metric_alert(alertTargetIDs=[resource_id("east"), resource_id("west")]))
    first = [event["id"] for event in gateway.prefect.posted]

    async with open_poster(
        prefect_api({"PREFECT_API_URL": "http://prefect/api"}),
        TLS,
        httpx.MockTransport(gateway.prefect.handle),
    ) as poster:
        app = make_app(configuration_of(tmp_path), poster.post, None, gateway.clock)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://again") as http:
            body = metric_alert(alertTargetIDs=[resource_id("east"), resource_id("west")])
            await http.post("/azure-monitor", json=body, params={"token": TOKEN})

    assert [event["id"] for event in gateway.prefect.posted] == first * 2
    assert len({UUID(each) for each in first}) == 2


@pytest.mark.parametrize("failure", [503, 500, 429, 408, httpx.ConnectError("no"), httpx.ReadTimeout("no")])
async def test_what_prefect_does_not_take_at_once_is_posted_again(gateway: Gateway, failure: int | Exception) -> None:
    gateway.prefect.answers = [failure]

    answer = await gateway.alert(metric_alert())

    assert answer.json()["posted"] == 1
    assert gateway.told() == [(UNHEALTHY, "east")]


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        ([503] * ATTEMPTS, "HTTP 503"),
        ([httpx.ConnectError("http://user:canary@host")] * ATTEMPTS, "ConnectError"),
        ([401], "HTTP 401. Correct PREFECT_API_KEY"),
        ([422], "HTTP 422. Check that PREFECT_API_URL is the URL of a Prefect 3 API"),
        ([307], "HTTP 307"),
    ],
)
async def test_what_prefect_never_takes_is_given_back_and_is_no_duplicate_when_it_comes_again(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, failures: list[Any], told: str
) -> None:
    gateway.prefect.answers = list(failures)

    refused = await gateway.alert(metric_alert())
    requests = len(gateway.prefect.requests)
    taken = await gateway.alert(metric_alert())

    assert refused.status_code == 503
    assert refused.headers["Retry-After"] == "30"
    assert requests == len(failures)
    assert taken.json()["posted"] == 1
    assert f"The Prefect server did not accept the events: {told}" in caplog.text
    assert "canary" not in caplog.text


async def test_a_server_that_hangs_is_given_up_before_the_sender_gives_us_up(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("standby.gateway.notice.POSTING_SECONDS", 0.05)

    async def hang(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    api = prefect_api({"PREFECT_API_URL": "http://prefect/api"})
    async with open_poster(api, TLS, httpx.MockTransport(hang)) as poster:
        app = make_app(gateway.configuration, poster.post, None, gateway.clock)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://again") as http:
            answer = await http.post("/azure-monitor", json=metric_alert(), params={"token": TOKEN})

    assert answer.status_code == 503


async def request_with(environ: dict[str, str]) -> httpx.Request:
    prefect = Prefect()
    async with open_poster(prefect_api(environ), TLS, httpx.MockTransport(prefect.handle)) as poster:
        await poster.post(())
    return prefect.requests[0]


async def test_it_signs_in_as_prefects_own_client_does() -> None:
    url = {"PREFECT_API_URL": "https://host/api/accounts/a/workspaces/w/"}
    plain = await request_with(url)
    by_key = await request_with({**url, "PREFECT_API_KEY": "pnu_canary"})
    by_password = await request_with({**url, "PREFECT_API_KEY": "k", "PREFECT_API_AUTH_STRING": "admin:pass"})

    assert plain.url == "https://host/api/accounts/a/workspaces/w/events"
    assert "authorization" not in plain.headers
    assert by_key.headers["authorization"] == "Bearer pnu_canary"
    assert by_password.headers["authorization"] == "Basic YWRtaW46cGFzcw=="
    assert "canary" not in repr(prefect_api({**url, "PREFECT_API_KEY": "pnu_canary"}))


@pytest.mark.parametrize("url", [None, "", "prefect:4200/api", "http://", "ftp://host", "http://host:port"])
def test_it_needs_to_know_a_server(url: str | None) -> None:
    with pytest.raises(NoPrefectServer, match="PREFECT_API_URL"):
        prefect_api({} if url is None else {"PREFECT_API_URL": url})


async def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("standby.gateway.app.MOST", 3)
    async with open_poster(
        prefect_api({"PREFECT_API_URL": "http://prefect/api"}), TLS, httpx.MockTransport(gateway.prefect.handle)
    ) as poster:
        app = make_app(gateway.configuration, poster.post, None, gateway.clock)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://again") as http:

            async def posted(event: str) -> int:
                answer = await http.post("/event-grid", json=[grid_event(id=event)], params={"token": TOKEN})
                return int(answer.json()["posted"])

            assert [await posted(each) for each in ("1", "2", "3", "4")] == [1, 1, 1, 1]
            assert [await posted(each) for each in ("4", "3", "1")] == [0, 0, 1]
