"""The recovery's flows on a real Prefect server, against emulated resources."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact
from prefect.events import emit_event

from standby.blocks import ContentUnderstandingResource
from standby.config.configuration import Configuration
from standby.config.sinks import FileSink
from standby.config.vault import VaultSettings
from standby.flows.bootstrap import save_what_runs_need
from standby.flows.check import check
from standby.flows.commit import commit
from standby.flows.drill import drill
from standby.flows.events import (
    DEGRADED,
    HEALTHY,
    PROTECTION_CHANGED,
    READINESS_CHANGED,
    UNHEALTHY,
    read_observations,
    resource_id,
)
from standby.flows.failback import failback
from standby.flows.orchestrator import Prefect
from standby.flows.replicate import replicate
from standby.flows.restore import restore
from standby.flows.snapshot import snapshot
from standby.flows.watch import watch
from standby.recovery.activation.file import FileActivation
from standby.recovery.activation.sinks import Activation
from standby.recovery.probe import Observation
from standby.recovery.snapshots.restore import RestoreReport
from standby.recovery.snapshots.take import SnapshotTaken

Runs = Callable[..., Awaitable[Any]]


@pytest.fixture
def run(prefect_server: Any) -> Runs:
    """Save a configuration's blocks and run a flow; its final state comes back."""

    async def run(flow: Any, configuration: Configuration, **parameters: Any) -> Any:
        await save_what_runs_need(configuration)
        return await flow(plan="p", return_state=True, **parameters)

    return run


@pytest.fixture
def told(events: Any, until: Any) -> Callable[..., Awaitable[list[Any]]]:
    """Give the events of a name that hold some text, such as the port of this test's emulator."""

    async def read(name: str, text: str, at_least: int = 1) -> list[Any]:
        async def some() -> list[Any]:
            found = [event for event in await events(name) if text in str(event)]
            return found if len(found) >= at_least else []

        found: list[Any] = await until(some)
        return found

    return read


async def artifacts_of(state: Any) -> dict[str, Artifact]:
    async with get_client() as client:
        found = await client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[state.state_details.flow_run_id]))
        )
    return {str(artifact.key): artifact for artifact in found}


async def test_a_check_tells_drift_and_readiness(
    make_scene: Any, make_analyzer: Any, run: Runs, run_replicate: Any, told: Any
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        vault = scene.configuration.vault.model_copy(update={"report": True})
        drifted = await run(check, scene.configuration.model_copy(update={"vault": vault}))
        before = await artifacts_of(drifted)
        page = (vault.folder / "report" / "p.html").read_text(encoding="utf-8")
        await run_replicate(scene.configuration)
        in_sync = await run(check, scene.configuration)
        await run(check, scene.configuration)
    assert (drifted.name, drifted.is_completed()) == ("Drifted", True)
    assert "1 missing" in str(drifted.message)
    assert '"invoice"' in str(before["drift"].data)
    assert "**not ready**" in str(before["readiness"].data)
    assert "missing analyzer" in str(before["readiness"].data)
    assert "west not ready" in page
    assert "report/p.html" in str(before["report"].data)
    assert in_sync.name == "Completed", in_sync.message
    run_ids = [str(state.state_details.flow_run_id) for state in (drifted, in_sync)]
    changes = [await told(READINESS_CHANGED, run_id) for run_id in run_ids]
    assert [event["payload"]["state"] for event in changes[0]] == ["not_ready"]
    assert changes[1][0]["payload"]["before"] == "not_ready"


async def test_a_check_says_what_is_ready_while_the_source_is_dark(
    make_scene: Any, make_analyzer: Any, run: Runs
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        state = await run(check, scene.configuration)
    assert state.is_failed()
    assert "east" in str(state.message)
    assert "readiness" in await artifacts_of(state)


async def test_a_snapshot_is_restored_by_flows_without_the_source(
    make_scene: Any, make_analyzer: Any, prefect_server: Any, run: Runs, task_runs: Any
) -> None:
    analyzers = [make_analyzer("mailroom", "invoice"), make_analyzer("invoice")]
    async with make_scene(analyzers, targets=("west",)) as scene:
        told = await Prefect().recover(scene.configuration, "p", "snapshot", {"plan": "p"})
        taken = SnapshotTaken.model_validate(told)
        assert (taken.complete, taken.resources) == (True, {"east": 2})
        (stage,) = [each.name for each in await task_runs(taken.run_id, 1)]
        assert stage == "p: snapshot p"
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        restored = await Prefect().recover(scene.configuration, "p", "restore", {"to": "west"})
        again = await run(restore, scene.configuration, to="west")
    report = RestoreReport.model_validate(restored)
    assert report.complete, report.items
    assert (report.snapshot, report.via) == (taken.id, "prefect")
    assert (again.name, "2 skipped" in str(again.message)) == ("Completed", True)
    assert '"invoice"' in str((await artifacts_of(again))["restore-report"].data)


async def test_a_snapshot_without_a_resource_needs_somebody(make_scene: Any, make_analyzer: Any, run: Runs) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        state = await run(snapshot, scene.configuration)
    assert state.is_failed()
    assert "east" in str(state.message)


SOON = {"probe_every": "1s", "quorum": 1, "minimum_outage": "1s"}
"""A policy by which two looks prove an outage, so that the watch has little to wait for."""


async def test_the_watch_tells_what_serves_and_is_not_green_where_its_outage_cannot_be_answered(
    make_scene: Any, make_analyzer: Any, run: Runs, told: Any
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",), failover=SOON) as scene:
        well = await run(watch, scene.configuration)
        same = await run(watch, scene.configuration)
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        down = await run(watch, scene.configuration)
        flow_run = str(down.state_details.flow_run_id)
    assert (well.name, same.name) == ("Completed", "Completed")
    # Nothing was ever replicated.
    assert (down.name, down.is_failed()) == ("Refused", True)
    assert "east is down, and no failover was started" in str(down.message)
    assert [key in await artifacts_of(state) for key in ["watch-p"] for state in (same, down)] == [
        False,
        True,
    ]
    event, *_ = await told(UNHEALTHY, flow_run)
    assert event["resource"]["prefect.resource.id"] == "content-understanding.resource.east"
    (related,) = [each for each in event["related"] if each["prefect.resource.role"] != "flow-run"][:1]
    assert (related["prefect.resource.id"], related["prefect.resource.role"]) == (
        "standby.plan.p",
        "served-by",
    )
    assert (event["payload"]["healthy"], event["payload"]["source"]) == (False, "watch")
    assert event["payload"]["severity"] == "critical"
    (event,) = await told(HEALTHY, flow_run)
    assert "standby-of" in str(event["related"])


async def test_a_resource_whose_block_cannot_be_used_costs_itself_only(
    make_scene: Any, make_analyzer: Any, prefect_server: Any
) -> None:
    async with make_scene([make_analyzer("invoice")]) as scene:
        await save_what_runs_need(scene.configuration)
        block: ContentUnderstandingResource = await ContentUnderstandingResource.aload("west")
        block.endpoint = "https://example.com"
        await block.asave("west", overwrite=True)
        looked = await watch(plan="p", return_state=True)
        copied = await replicate(plan="p", return_state=True)
    assert "east healthy, north healthy, west unknown" in str(looked.message)
    assert "1 succeeded, 1 blocked" in str(copied.message)
    for state in (looked, copied):
        assert state.is_failed()
        assert "The block content-understanding-resource/west cannot be used" in str(state.message)


async def test_a_key_that_is_rejected_is_told_at_once_and_once_and_so_is_its_end(
    make_scene: Any, make_analyzer: Any, run: Runs, told: Any
) -> None:
    fault = {"kind": "status", "status": 401, "code": "PermissionDenied"}
    async with make_scene([make_analyzer("invoice")], targets=("west",), failover=SOON) as scene:
        await run(watch, scene.configuration)  # Whatever other tests told of a plan of this name is over.
        for call in ("list", "get_defaults"):
            await scene.control("/faults", {"resource": "east", "call": call, "times": None, "fault": fault})
        rejected = [await run(watch, scene.configuration) for _ in range(2)]
        await scene.control("/reset", {})
        well = await run(watch, scene.configuration)
    assert [state.is_failed() for state in (*rejected, well)] == [True, True, False]
    changes = []
    for state in (rejected[0], well):
        changes += await told(PROTECTION_CHANGED, str(state.state_details.flow_run_id))
    began, over = (event["payload"] for event in changes)
    assert (began["severity"], [each["kind"] for each in began["began"]]) == ("critical", ["access"])
    assert "east serves, and it is unknown whether it is down" in began["summary"]
    assert began["next_action"] == "Run standby doctor p, which says what to correct."
    assert (over["severity"], [each["about"] for each in over["ended"]]) == ("info", ["east"])


@pytest.mark.parametrize(("call", "check"), [("list", "listing"), ("authorize", "grant")])
async def test_what_fails_alone_is_told_as_degraded_and_is_no_outage(
    make_scene: Any, make_analyzer: Any, run: Runs, told: Any, call: str, check: str
) -> None:
    fault = {"kind": "status", "status": 503, "code": "Busy"}
    async with make_scene([make_analyzer("invoice")], targets=("west",), failover=SOON) as scene:
        await scene.control("/faults", {"resource": "east", "call": call, "times": None, "fault": fault})
        state = await run(watch, scene.configuration)
    assert (state.name, state.is_completed()) == ("Degraded", True)
    assert f"east degraded, west healthy. east: {check}: HTTP 503 (Busy)" in str(state.message)
    (event,) = await told(DEGRADED, str(state.state_details.flow_run_id))
    assert (event["payload"]["healthy"], event["payload"]["severity"]) == (True, "warning")
    assert event["payload"]["summary"].startswith(f"{check}: HTTP 503 (Busy)")


async def test_alerts_are_read_as_alerts_and_dated_by_their_receipt_whatever_they_claim(
    prefect_server: Any, until: Any
) -> None:
    """As an earlier version posted them: dated by what they claim, and by nothing but a name told from a probe."""
    now, name = datetime.now(UTC), f"r{uuid4().hex}"
    claimed = Observation(
        resource=name, observer="azure-monitor", at=now - timedelta(minutes=10), healthy=False, checks=()
    ).model_dump(mode="json", exclude={"alert", "degraded"})
    emit_event(event=UNHEALTHY, resource={"prefect.resource.id": resource_id(name)}, payload=claimed, occurred=now)

    async def some() -> tuple[Observation, ...]:
        return await read_observations(name, now, timedelta(minutes=1))

    (found,) = await until(some)
    assert (found.alert, found.at, found.healthy) == (True, now, False)


async def test_a_flood_of_alerts_hides_no_look(prefect_server: Any, until: Any) -> None:
    now, name = datetime.now(UTC), f"r{uuid4().hex}"
    seen = Observation(resource=name, observer="watch@a", at=now, healthy=False, checks=())
    said = Observation(resource=name, observer="azure-monitor", at=now, healthy=False, checks=(), alert=True)
    for number, each in enumerate([seen, *[said] * 120]):
        emit_event(
            event=UNHEALTHY,
            resource={"prefect.resource.id": resource_id(name)},
            payload=each.model_dump(mode="json"),
            occurred=now + timedelta(milliseconds=number),
        )

    async def all_of_it() -> tuple[Observation, ...]:
        found = await read_observations(name, now, timedelta(minutes=1))
        newest = max((each.at for each in found), default=now)
        return found if newest == now + timedelta(milliseconds=120) else ()

    assert {each.observer: each.at for each in await until(all_of_it)} == {
        "watch@a": now,
        "azure-monitor": now + timedelta(milliseconds=120),
    }


async def test_one_run_of_the_watch_looks_until_the_outage_is_proved(
    make_scene: Any, make_analyzer: Any, run: Runs, told: Any
) -> None:
    policy = {"probe_every": "1s", "quorum": 3, "minimum_outage": "2s"}
    async with make_scene([make_analyzer("invoice")], targets=("west",), failover=policy) as scene:
        # One that does not serve, so that nothing else begins.
        await scene.control("/outages", {"resource": "west", "kind": "refuse"})
        state = await run(watch, scene.configuration)
        flow_run = str(state.state_details.flow_run_id)
        # The first two are told at once, which starts an evaluation.
        await told(UNHEALTHY, flow_run, at_least=2)
        calls = (await scene.stats("east"))["calls"]
    assert state.name == "Unhealthy"
    assert calls["get_defaults"] == 1, "a resource that is healthy is probed once"


@pytest.fixture
def dumb_port() -> Iterator[int]:
    """A port that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as taken:
        yield taken.getsockname()[1]


@pytest.mark.parametrize("how", ["unreadable", "hangs"])
async def test_an_outage_is_told_where_neither_vault_nor_fence_can_be_read(
    make_scene: Any, make_analyzer: Any, run: Runs, told: Any, tmp_path: Path, dumb_port: int, how: str
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",), failover=SOON) as scene:
        configuration = scene.configuration
        if how == "unreadable":
            fence = tmp_path / "vault/recovery/p/fence.json"
            fence.parent.mkdir(parents=True)
            fence.write_text("{")
        else:
            key = {"kind": "key", "key": "c2VjcmV0"}
            place = {"url": "az://box/folder", "endpoint": f"http://127.0.0.1:{dumb_port}/account", "credentials": key}
            configuration = configuration.model_copy(update={"vault": VaultSettings.model_validate(place)})
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        state = await run(watch, configuration)
        flow_run = str(state.state_details.flow_run_id)
        east, *_ = await told(UNHEALTHY, flow_run)
        (west,) = await told(HEALTHY, flow_run)
    assert state.is_failed()
    assert "east unhealthy, west healthy" in str(state.message)
    assert "It is unknown which resource serves" in str(state.message)
    (change,) = await told(PROTECTION_CHANGED, flow_run)
    kinds = {each["kind"] for each in change["payload"]["began"]}
    # Of the fence the other case has told already.
    assert "vault" in kinds if how == "hangs" else kinds == {"fence"}
    for event in (east, west):
        roles = {each["prefect.resource.id"]: each["prefect.resource.role"] for each in event["related"]}
        assert roles["standby.plan.p"] == "served-by"


@pytest.mark.parametrize("flow", [replicate, restore, snapshot, failback, commit, drill], ids=lambda flow: flow.name)
async def test_no_flow_goes_by_a_fence_that_a_sink_knows_to_be_lost(
    make_scene: Any, make_analyzer: Any, run: Runs, tmp_path: Path, flow: Any
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        file = FileActivation(tmp_path / "active.json")
        at = datetime(2026, 1, 1, tzinfo=UTC)
        await file.publish(Activation(plan="p", epoch=3, changed_at=at, run_id="r", sources={"east": None}))
        sinks = (FileSink(path=tmp_path / "active.json"),)
        configuration = scene.configuration.model_copy(update={"activation": sinks})
        parameters = {"to": "west"} if flow in {restore, drill} else {}

        state = await run(flow, configuration, **parameters)
        checked = await run(check, configuration)

        assert (state.name, state.is_failed()) == ("Refused", True), state
        assert "active.json (epoch 3)" in str(state.message)
        assert checked.name == "RecordsLost"
        copies = (await scene.stats("west"))["calls"]
        assert "copy" not in copies
