"""From the outage to the switched sinks: a real Prefect server and worker, the emulator and the gateway."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import FlowRun
from prefect.variables import Variable
from pydantic import SecretStr

from flows.bootstrap import RECOVERY_POOL, pause_schedules
from flows.events import ACTIVATED
from flows.notifications import save_automations
from flows.orchestrator import Prefect
from flows.watch import watch
from standby.config.configuration import Configuration, GatewaySettings
from standby.config.sinks import FileSink, VariableSink, WebhookSink
from standby.gateway.app import make_app
from standby.gateway.poster import open_poster, prefect_api
from standby.recovery.audit import verify_audit
from standby.recovery.decision.record import explain
from standby.recovery.probe import observer_here
from standby.service.calls import trusted_certificates
from standby.vault.folder import LocalFolder
from tests.conftest import Scene
from tests.flows.receiver import Receiver, receiving
from tests.flows.working import delete_deployments, worker
from tests.patience import PATIENCE
from tests.standby.gateway.samples import metric_alert

POLICY = {"automatic": True, "probe_every": "2s", "quorum": 3, "minimum_outage": "3s"}

ROUND = 1.0
"""Seconds between two watches; each is a flow run in this process, since a worker takes some to start one."""


TOKEN = "a token of sixteen characters"


@pytest.fixture
def application() -> Iterator[Receiver]:
    """What is posted to when a side becomes active."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
async def nothing_starts_by_itself(prefect_server: Any) -> AsyncIterator[None]:
    """Leave no trigger and no schedule for the other tests of the server."""
    yield
    await save_automations([])
    await delete_deployments()


def configured(scene: Scene, application: Receiver, folder: Path) -> Configuration:
    return scene.configuration.model_copy(
        update={
            "activation": (
                FileSink(path=folder / "active.json"),
                WebhookSink(url=application.url, secret=SecretStr("sesame")),
                VariableSink(name="active-endpoints"),
            ),
            "gateway": GatewaySettings(token=SecretStr(TOKEN)),
        }
    )


@asynccontextmanager
async def watching() -> AsyncIterator[None]:
    """Watch the plan again and again."""

    async def look() -> None:
        while True:
            await watch(plan="p", return_state=True)
            await asyncio.sleep(ROUND)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking


async def alert(server: Any, configuration: Configuration) -> None:
    """Have Azure Monitor tell the gateway that the source is not available."""
    alarm = metric_alert(
        alertId="/subscriptions/s/providers/Microsoft.AlertsManagement/alerts/outage-test",
        firedDateTime=datetime.now(UTC).isoformat(),
        alertTargetIDs=[configuration.resource("east").resource_id],
    )
    vault = LocalFolder(configuration.vault.folder or Path())
    api = prefect_api({"PREFECT_API_URL": server.api_url})
    async with open_poster(api, trusted_certificates()) as poster:
        app = make_app(configuration, poster.post, vault)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as http:
            answer = await http.post("/azure-monitor", json=alarm, headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.json()["posted"] == 1, answer.text


async def outage_runs() -> list[FlowRun]:
    async with get_client() as client:
        outage = await client.read_deployment_by_name("failover/on-outage")
        wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[outage.id]))
        return await client.read_flow_runs(flow_run_filter=wanted)


async def activated() -> FlowRun:
    """Wait for the failover; no evaluation before it may have gone wrong."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for run in await outage_runs():
                state = run.state
                if state is not None and state.is_final():
                    assert state.name in {"Activated", "NotNeeded"}, (state.name, state.message)
                    if state.name == "Activated":
                        return run
            await asyncio.sleep(0.5)


async def test_an_outage_is_noticed_proved_and_answered_while_nobody_looks(
    make_scene: Any,
    make_analyzer: Any,
    prefect_server: Any,
    run_replicate: Any,
    application: Receiver,
    events: Any,
    until: Any,
    tmp_path: Path,
) -> None:
    analyzers = [make_analyzer("mailroom", "invoice"), make_analyzer("invoice")]
    async with make_scene(
        analyzers, targets=("west",), failover=POLICY, objectives={"rpo": "24h", "rto": "5m"}
    ) as scene:
        configuration = configured(scene, application, tmp_path)
        await Prefect().bootstrap(configuration)
        await pause_schedules()
        await run_replicate(configuration)
        await Prefect().recover(configuration, "p", "snapshot", {})
        async with worker(prefect_server, limit=2, pool=RECOVERY_POOL), watching():
            dark_at = datetime.now(UTC)
            await scene.control("/outages", {"resource": "east", "kind": "refuse"})
            await alert(prefect_server, configuration)
            run = await activated()
        waited = (datetime.now(UTC) - dark_at).total_seconds()

    # Every application was told, and of the same side.
    file = json.loads((tmp_path / "active.json").read_text())["plans"]["p"]
    variable: Any = await Variable.aget("active-endpoints")
    posted = [json.loads(body) for body in application.bodies]
    assert file["sources"]["east"]["resource"] == "west"
    assert file["sources"]["east"]["analyzers"] == {"invoice": "invoice", "mailroom": "mailroom"}
    assert variable["plans"]["p"]["sources"]["east"]["resource"] == "west"
    assert posted[0]["sources"]["east"] is None, "first of all nobody serves"
    assert posted[-1] == file
    assert {each["epoch"] for each in posted} == {file["epoch"]} == {variable["plans"]["p"]["epoch"]}

    # What it took was measured, from the last healthy look and from the first that failed.
    async def told() -> list[Any]:
        return [event for event in await events(ACTIVATED) if event["payload"]["run_id"] == str(run.id)]

    (event,) = await until(told)
    measured = event["payload"]
    assert (measured["side"], measured["state"], measured["rto_met"]) == ("west", "activated", True)
    assert set(measured["sinks"].values()) == {"told"}
    assert 3 <= measured["detection_at_least_seconds"] <= waited
    assert 0 < measured["recovery_seconds"] <= waited
    # It began with the alert or the first failed look, at most one round after the outage itself.
    whole = measured["detection_at_least_seconds"] + measured["recovery_seconds"]
    assert measured["rto_at_least_seconds"] == pytest.approx(whole, abs=0.01)
    assert measured["rto_at_least_seconds"] <= waited
    assert measured["rto_seconds"] is None or measured["rto_seconds"] >= measured["rto_at_least_seconds"]
    assert measured["approval_seconds"] is None

    # Why it was done can be replayed, from what was seen by several who do not depend on each other.
    vault = LocalFolder(configuration.vault.folder or Path())
    explanation = await explain(vault, measured["decision"], None)
    seen = {each.observer for each in explanation.record.given.observations if each.healthy is False}
    assert explanation.same
    assert not explanation.problems
    assert seen >= {observer_here("watch"), observer_here("evaluation"), "azure-monitor"}
    assert not (await verify_audit(vault, "p", None)).problems

    # And however many events there were, it was done once.
    names = [each.state.name for each in await outage_runs() if each.state is not None]
    assert names.count("Activated") == 1
