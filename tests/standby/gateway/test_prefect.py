"""A real Prefect server takes what the gateway posts, and counts it once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx

from standby.clock import SystemClock
from standby.gateway.app import make_app
from standby.gateway.notice import open_poster, prefect_api
from tests.patience import PATIENCE
from tests.standby.gateway.conftest import TLS, TOKEN, UNHEALTHY, configuration_of
from tests.standby.gateway.samples import metric_alert, resource_id

PREFIX = "gateway-"
"""Of all names, so that no other test of this server hears of it."""


async def recorded(api_url: str, resource: str) -> list[dict[str, Any]]:
    """Read the events of a resource back."""
    condition = {
        "event": {"name": [UNHEALTHY]},
        "resource": {"id": [f"content-understanding.resource.{PREFIX}{resource}"]},
    }
    async with httpx.AsyncClient(verify=TLS) as http:
        answer = await http.post(f"{api_url}/events/filter", json={"filter": condition})
        found: list[dict[str, Any]] = answer.raise_for_status().json()["events"]
        return found


async def deliver(api_url: str, vault: Path, alert: Any) -> None:
    """Deliver an alert to a gateway that was started just now."""
    async with open_poster(prefect_api({"PREFECT_API_URL": api_url}), TLS) as poster:
        app = make_app(configuration_of(vault, PREFIX), poster.post)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
            answer = await http.post("/azure-monitor", json=alert, params={"token": TOKEN})
            assert answer.json()["posted"] == 1


async def test_an_alert_arrives_on_a_prefect_server_once(prefect_server: Any, tmp_path: Path) -> None:
    now = SystemClock().now().isoformat()
    alert = metric_alert(firedDateTime=now, alertTargetIDs=[resource_id("east")])
    for each in (alert, alert, metric_alert(firedDateTime=now, alertTargetIDs=[resource_id("north")])):
        await deliver(prefect_server.api_url, tmp_path, each)

    async with asyncio.timeout(PATIENCE):
        # What came before the last is recorded before it.
        while not await recorded(prefect_server.api_url, "north"):
            await asyncio.sleep(0.1)
    (event,) = await recorded(prefect_server.api_url, "east")

    assert event["payload"]["observer"] == "azure-monitor"
    assert event["payload"]["healthy"] is False
    assert event["related"] == [
        {"prefect.resource.id": f"standby.plan.{PREFIX}invoices", "prefect.resource.role": "served-by"}
    ]
