"""From the outage to the switched sinks: a real Prefect server with its schedules, automation and workers.

Nothing in the test looks at the region or starts anything: it loses the region, and waits for the sinks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.states import Pending, Scheduled
from prefect.variables import Variable
from pydantic import SecretStr

from standby.config.configuration import Configuration, GatewaySettings
from standby.config.plan import RecoveryPlan
from standby.config.sinks import FileSink, VariableSink, WebhookSink
from standby.flows.bootstrap import RECOVERY_POOL, WORK_POOL
from standby.flows.events import ACTIVATED, UNHEALTHY
from standby.flows.limits import limit_name
from standby.flows.orchestrator import Prefect
from standby.gateway.app import make_app
from standby.gateway.notice import open_poster, prefect_api
from standby.recovery.activation.file import FileActivation
from standby.recovery.audit import verify_audit
from standby.recovery.decision.record import explain
from standby.recovery.probe import observer_here
from standby.replication.items import Selection
from standby.replication.replicate import begin, open_run
from standby.replication.steps import DirectSteps
from standby.service.calls import trusted_certificates
from standby.vault.folder import LocalFolder
from tests.conftest import NewDatabase, Scene
from tests.flows.receiver import Receiver, receiving
from tests.flows.working import WholeServer, whole_server, worker
from tests.patience import PATIENCE
from tests.standby.gateway.samples import metric_alert

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("second Prefect server")]

POLICY = {"automatic": True, "probe_every": "10s", "quorum": 3, "minimum_outage": "10s"}

TOKEN = "a token of sixteen characters"


@pytest.fixture
def application() -> Iterator[Receiver]:
    """What is posted to when a resource becomes active."""
    with receiving() as receiver:
        yield receiver


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


async def replicated(configuration: Configuration) -> None:
    async with (
        open_run(configuration, "p") as context,
        begin(context, Selection(), DirectSteps(context)) as replication,
    ):
        await replication.run()


async def alert(server: WholeServer, configuration: Configuration) -> None:
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


async def events(name: str) -> list[Any]:
    async with get_client() as client:
        page = await client.read_events(EventFilter(event=EventNameFilter(name=[name])), limit=50)
        return list(page.events)


async def ends_of(deployment: str) -> list[tuple[str | None, str | None]]:
    """Give state and message of the runs of a deployment."""
    async with get_client() as client:
        found = await client.read_deployment_by_name(deployment)
        wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[found.id]))
        runs = await client.read_flow_runs(flow_run_filter=wanted)
    return [(run.state.name, run.state.message) for run in runs if run.state is not None]


async def give_up_a_watch() -> None:
    """Leave a run of the watch as a worker leaves it that is killed while it starts it."""
    async with get_client() as client:
        watch = await client.read_deployment_by_name("watch/scheduled")
        await client.create_flow_run_from_deployment(watch.id, state=Pending(name="Submitting"))


async def miss_watches(count: int) -> None:
    """Leave runs of the watch that nobody began in time, as a pause of the worker does."""
    async with get_client() as client:
        watch = await client.read_deployment_by_name("watch/scheduled")
        for minutes in range(count):
            due = datetime.now(UTC) - timedelta(minutes=minutes + 1)
            await client.create_flow_run_from_deployment(watch.id, state=Scheduled(scheduled_time=due))


async def keep_copies_waiting() -> None:
    """Start two runs that copy, and let neither begin: they take the only place of their worker."""
    async with get_client() as client:
        await client.upsert_global_concurrency_limit_by_name(limit_name("west"), 0)
        replicate = await client.read_deployment_by_name("replicate/manual")
        for _ in range(2):
            await client.create_flow_run_from_deployment(replicate.id, parameters={"plan": "p"})


@asynccontextmanager
async def set_up(
    scene: Scene, configuration: Configuration, folder: Path, new_database: NewDatabase
) -> AsyncIterator[WholeServer]:
    """Run everything that an operator would run, until the watch has found that all is well."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(whole_server(folder / "prefect", new_database))
        await Prefect().bootstrap(configuration)
        await replicated(configuration)
        await keep_copies_waiting()
        await give_up_a_watch()
        await miss_watches(7)
        for pool, limit in ((WORK_POOL, 1), (RECOVERY_POOL, 5)):
            await stack.enter_async_context(worker(server, limit, pool))
        await watched(configuration.plan("p"))
        yield server


async def activated() -> list[tuple[str | None, str | None]]:
    """Give the ends of evaluations and watches, once the run that failed over has one: the watch does where it must."""
    async with asyncio.timeout(PATIENCE):
        while True:
            ends = [*await ends_of("failover/on-outage"), *await ends_of("watch/scheduled")]
            if any(name == "Activated" for name, _ in ends):
                return ends
            await asyncio.sleep(0.5)


async def happened(name: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await events(name):
            await asyncio.sleep(0.5)


async def watched(plan: RecoveryPlan) -> None:
    """Wait until it is known of the watch of a plan that it reports."""
    async with asyncio.timeout(PATIENCE):
        while not (await Prefect().watching([plan]))[f"watch of {plan.name}"].well:
            await asyncio.sleep(0.5)


async def served_by(resource: str, file: Path) -> dict[str, Any]:
    """Wait until the sink names a resource; give its map."""
    sink = FileActivation(file)
    async with asyncio.timeout(PATIENCE):
        while True:
            published = await sink.read("p")
            serving = published.sources["east"] if published else None
            if published and serving and serving.resource == resource:
                return published.model_dump(mode="json")
            await asyncio.sleep(0.25)


async def activation() -> Any:
    """Give the only event of a failover, once it is recorded."""
    await happened(ACTIVATED)
    (event,) = await events(ACTIVATED)
    return event.payload


async def test_an_outage_is_noticed_proved_and_answered_while_nobody_looks(
    make_scene: Any,
    make_analyzer: Any,
    application: Receiver,
    new_database: NewDatabase,
    tmp_path: Path,
    chaos: bool,
) -> None:
    analyzers = [make_analyzer("mailroom", "invoice"), make_analyzer("invoice")]
    async with make_scene(
        analyzers, targets=("west",), failover=POLICY, objectives={"rpo": "24h", "rto": "5m"}
    ) as scene:
        configuration = configured(scene, application, tmp_path)
        async with set_up(scene, configuration, tmp_path, new_database) as server:
            dark_at = datetime.now(UTC)
            await scene.control("/outages", {"resource": "east", "kind": "refuse"})
            await alert(server, configuration)
            if chaos:
                # That only delays the answer.
                await happened(UNHEALTHY)
                await server.kill()
                await server.start()
            file = await served_by("west", tmp_path / "active.json")
            measured = await activation()
            waited = (datetime.now(UTC) - dark_at).total_seconds()
            variable: Any = await Variable.aget("active-endpoints")
            ends = await activated()

    # Every application was told, and of the same resource.
    posted = [json.loads(body) for body in application.bodies]
    assert file["sources"]["east"]["analyzers"] == {"invoice": "invoice", "mailroom": "mailroom"}
    assert variable["plans"]["p"]["sources"]["east"]["resource"] == "west"
    assert posted[0]["sources"]["east"] is None, "first of all nobody serves"
    assert posted[-1] == file
    assert {each["epoch"] for each in posted} == {file["epoch"]} == {variable["plans"]["p"]["epoch"]}

    # What it took was measured, from the last healthy look and from the first that failed.
    assert (measured["side"], measured["state"], measured["rto_met"]) == ("west", "activated", True)
    assert set(measured["sinks"].values()) == {"told"}
    assert 10 <= measured["detection_at_least_seconds"] <= waited
    assert 0 < measured["recovery_seconds"] <= waited
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
    assert [name for name, _ in ends].count("Activated") == 1

    # What was missed while no worker ran was not made up for.
    assert ("Cancelled", "A later run looked.") in ends
