"""Who is let in, with what, and how often."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from standby.gateway.alerts import MOST_BYTES
from standby.gateway.app import PER_MINUTE, STRANGERS_PER_MINUTE, make_app
from standby.gateway.errors import NoGatewayToken
from tests.standby.gateway.conftest import TOKEN, configuration_of
from tests.standby.gateway.samples import metric_alert

if TYPE_CHECKING:
    from tests.standby.gateway.conftest import Gateway


async def test_the_token_may_be_a_bearer_token(gateway: Gateway) -> None:
    for scheme in ("Bearer", "bearer"):
        headers = {"Authorization": f"{scheme} {TOKEN}"}
        answer = await gateway.http.post("/azure-monitor", json=metric_alert(), headers=headers)
        assert answer.status_code == 202


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"params": {"token": ""}},
        {"params": {"token": TOKEN[:-1]}},
        {"params": {"token": TOKEN + "x"}},
        {"params": {"token": TOKEN.upper()}},
        {"params": {"Token": TOKEN}},
        {"params": "token=%FF%C3%A4"},
        {"params": {"token": ["x", "y", TOKEN]}},
        {"headers": {"Authorization": f"Basic {TOKEN}"}},
        {"headers": {"Authorization": TOKEN}},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": {"Cookie": f"token={TOKEN}"}},
    ],
)
async def test_without_the_token_nothing_is_read(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, more: dict[str, Any]
) -> None:
    answer = await gateway.http.post("/azure-monitor", json=metric_alert(), **more)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert gateway.prefect.requests == []
    assert "A delivery to /azure-monitor is refused (401): The request does not have the gateway's token" in caplog.text


async def test_the_token_is_never_logged_or_answered(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [
        await gateway.alert(metric_alert()),
        await gateway.alert({}),
        await gateway.tell("/nowhere", {}),
        await gateway.tell("/azure-monitor/", {}),
        await gateway.http.get("/azure-monitor", params={"token": TOKEN}),
        await gateway.http.post("/azure-monitor", params={"token": f"x{TOKEN}"}),
    ]

    ours = [record.getMessage() for record in caplog.records if record.name.startswith("standby")]
    assert len(ours) >= 5
    assert not [line for line in ours if TOKEN in line]
    assert not [answer for answer in answers if TOKEN in answer.text + str(answer.headers)]


async def test_what_leads_nowhere_is_refused_with_a_line_in_the_log(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    assert (await gateway.tell("/nowhere", {})).status_code == 404
    assert (await gateway.tell("/azure-monitor/", {})).status_code == 404
    wrong = await gateway.http.get("/event-grid")
    assert (wrong.status_code, set(wrong.headers["Allow"].split(", "))) == (405, {"POST", "OPTIONS"})
    assert "A request GET /event-grid is refused (405)" in caplog.text


async def test_whether_it_serves_may_be_asked_by_anybody(gateway: Gateway) -> None:
    answer = await gateway.http.get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/json; charset=latin-1", ""])
async def test_only_json_is_taken(gateway: Gateway, kind: str) -> None:
    answer = await gateway.tell("/azure-monitor", metric_alert(), headers={"content-type": kind})

    assert answer.status_code == 415


async def test_a_body_that_is_packed_is_not_unpacked(gateway: Gateway) -> None:
    answer = await gateway.http.post(
        "/azure-monitor",
        params={"token": TOKEN},
        headers={"content-type": "application/json", "content-encoding": "gzip"},
        content=gzip.compress(b" " * 10_000_000),
    )

    assert answer.status_code == 415


async def deliver(gateway: Gateway, content: Any) -> int:
    headers = {"content-type": "application/json"}
    answer = await gateway.http.post("/azure-monitor", params={"token": TOKEN}, headers=headers, content=content)
    return answer.status_code


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(gateway: Gateway) -> None:
    asked = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal asked
        while True:
            asked += 1
            yield b" " * 65_536

    assert await deliver(gateway, b" " * (MOST_BYTES + 1)) == 413
    assert await deliver(gateway, chunks()) == 413
    assert asked <= 6


async def test_a_body_that_does_not_come_is_not_waited_for(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("standby.gateway.alerts.BODY_SECONDS", 0.05)

    async def chunks() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    assert await deliver(gateway, chunks()) == 408


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a": NaN}',
        b"[" * 100_000,
        b"[" * 33 + b"]" * 33,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"1" * 100_000,
        b'"' + b"\\" * 99_999,
        b'["' + b'[{\\"' * 20_000 + b'"]',
    ],
)
async def test_a_body_that_is_no_json_or_nested_without_end_is_refused(gateway: Gateway, body: bytes) -> None:
    assert await deliver(gateway, body) == 400


async def test_more_than_it_takes_in_a_minute_is_refused_for_the_rest_of_it(gateway: Gateway) -> None:
    for _ in range(PER_MINUTE):
        assert await deliver(gateway, b"{}") == 400
    assert await deliver(gateway, b"{}") == 429
    gateway.clock.seconds += 60 / PER_MINUTE
    assert await deliver(gateway, b"{}") == 400
    assert await deliver(gateway, b"{}") == 429


async def test_strangers_use_up_nobody_elses_pace_and_not_the_log(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    statuses = [(await gateway.http.post("/azure-monitor", json={})).status_code for _ in range(PER_MINUTE + 1)]

    assert statuses.count(401) == STRANGERS_PER_MINUTE
    assert statuses[-1] == 429
    assert (await gateway.http.post("/nowhere")).status_code == 429
    assert len(caplog.records) == STRANGERS_PER_MINUTE
    assert (await gateway.alert(metric_alert())).status_code == 202


def test_without_a_token_there_is_no_gateway(tmp_path: Path) -> None:
    async def post(_: object) -> None:
        raise AssertionError

    configuration = configuration_of(tmp_path).model_copy(update={"gateway": None})
    with pytest.raises(NoGatewayToken, match=r"gateway\.token"):
        make_app(configuration, post)
