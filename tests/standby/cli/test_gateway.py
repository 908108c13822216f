from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.standby.gateway.samples import metric_alert

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace

TOKEN = "canary-token-0123456789"


@pytest.fixture
def prefect() -> Iterator[tuple[str, list[Any]]]:
    """The URL of a Prefect API that takes events, and the events."""
    posted: list[Any] = []

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            posted.append((self.path, self.headers["authorization"], json.loads(content)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api", posted
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def guarded(workspace: Workspace, prefect: tuple[str, list[Any]]) -> Workspace:
    """A configuration with a token, and an environment with a Prefect server."""
    with workspace.file.open("a", encoding="utf-8") as file:
        file.write("gateway: {token: ${GATEWAY_TOKEN}}\n")
    workspace.environment |= {
        "GATEWAY_TOKEN": TOKEN,
        "PREFECT_API_URL": prefect[0],
        "PREFECT_API_KEY": "canary-prefect-key",
    }
    return workspace


def test_it_announces_its_url_passes_an_alert_on_and_ends_when_interrupted(
    guarded: Workspace, cloud: Cloud, prefect: tuple[str, list[Any]]
) -> None:
    process = guarded.start("gateway", "--port", "0", "-v")
    assert process.stdout is not None
    line = process.stdout.readline()
    url = line.removeprefix("Serving on ").strip()
    alert = metric_alert(
        alertTargetIDs=[cloud.emulator.resources["east"].resource_id],
        firedDateTime="2999-01-01T00:00:00Z",
    )
    answer = httpx.post(f"{url}/azure-monitor", params={"token": TOKEN}, json=alert)
    refused = httpx.post(f"{url}/azure-monitor", params={"token": f"{TOKEN}x"}, json=alert)
    process.send_signal(signal.SIGINT)
    ran = guarded.ended(process)

    assert line.startswith("Serving on http://127.0.0.1:")
    assert (answer.status_code, refused.status_code) == (202, 401)
    ((path, authorization, (event,)),) = prefect[1]
    assert (path, authorization) == ("/api/events", "Bearer canary-prefect-key")
    assert event["event"] == "content-understanding.resource.unhealthy"
    assert event["related"] == [{"prefect.resource.id": "standby.plan.invoices", "prefect.resource.role": "served-by"}]
    assert (ran.status, ran.out) == (130, "")
    assert "posted content-understanding.resource.unhealthy of east" in ran.err
    assert "refused (401)" in ran.err
    assert "canary" not in ran.err
    assert "Traceback" not in ran.err


def test_asked_for_json_the_announcement_is_the_document(guarded: Workspace) -> None:
    process = guarded.start("gateway", "--port", "0", "--json")
    assert process.stdout is not None
    announced = json.loads("".join(takewhile(lambda line: line != "}\n", process.stdout)) + "}")
    process.send_signal(signal.SIGTERM)
    ran = guarded.ended(process)

    assert httpx.URL(announced["url"]).host == "127.0.0.1"
    assert (ran.status, ran.out) == (130, "")


def test_without_a_token_it_does_not_start(guarded: Workspace) -> None:
    guarded.edit("gateway: {token: ${GATEWAY_TOKEN}}\n", "")

    ran = guarded.run("gateway", "--json")

    assert ran.status == 1
    assert ran.document["error"]["kind"] == "NoGatewayToken"
    assert "gateway: {token: ${STANDBY_GATEWAY_TOKEN}}" in ran.err


def test_a_token_that_the_environment_lacks_or_that_is_short_is_told(guarded: Workspace) -> None:
    guarded.environment["GATEWAY_TOKEN"] = "canary"
    short = guarded.run("gateway")
    guarded.environment["GATEWAY_TOKEN"] = ""
    del guarded.environment["GATEWAY_TOKEN"]
    missing = guarded.run("gateway")

    assert (short.status, missing.status) == (1, 1)
    assert "gateway.token" in short.err
    assert "canary" not in short.err
    assert "GATEWAY_TOKEN" in missing.err


def test_without_a_prefect_server_it_does_not_start(guarded: Workspace) -> None:
    guarded.environment["PREFECT_API_URL"] = ""

    ran = guarded.run("gateway", "--json")

    assert ran.status == 1
    assert ran.document["error"]["kind"] == "NoPrefectServer"


def test_an_address_that_is_none_of_this_machine_is_told(guarded: Workspace) -> None:
    ran = guarded.run("gateway", "--host", "192.0.2.1", "--json")

    assert ran.status == 1
    assert ran.document["error"]["kind"] == "AddressUnusable"
    assert "--host" in ran.document["error"]["next_action"]
