"""Bootstrap and a worker, on the tests' Prefect server."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import get_client, settings
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.variables import Variable

from standby.config.configuration import Configuration
from standby.config.sinks import VariableSink
from standby.errors import StandbyError
from standby.flows.bootstrap import (
    FILE,
    RECOVERY_POOL,
    WORK_POOL,
    full_name,
    pause_schedules,
    save_what_runs_need,
    save_what_starts_runs,
    wanted_deployments,
)
from standby.flows.errors import BootstrapUnfinished
from standby.flows.orchestrator import Prefect
from standby.flows.recovery import VariableActivation
from standby.flows.replicate import replicate
from standby.flows.watch import watch
from standby.recovery.activation.sinks import Activation
from tests.flows.working import delete_deployments

TIME = datetime(2026, 11, 28, tzinfo=UTC)


def with_plans(configuration: Configuration, *names: str) -> Configuration:
    plan = configuration.plan("p")
    return configuration.model_copy(update={"plans": {name: plan.model_copy(update={"name": name}) for name in names}})


async def deployed() -> set[str]:
    async with get_client() as client:
        flows = {flow.id: flow.name for flow in await client.read_flows()}
        return {f"{flows[found.flow_id]}/{found.name}" for found in await client.read_deployments()}


async def test_bootstrap_saves_everything_and_a_second_time_changes_nothing(
    make_scene: Any, prefect_server: Any
) -> None:
    await delete_deployments()
    async with make_scene([], targets=("west",)) as scene:
        changes = await Prefect().bootstrap(scene.configuration)
        again = await Prefect().bootstrap(scene.configuration)
    assert "deployment replicate/scheduled saved" in changes
    assert "deployment replicate/manual saved" in changes
    assert "block recovery-plan/p changed" in changes or "block recovery-plan/p created" in changes
    assert again == []
    assert await deployed() == {full_name(entry) for entry in yaml.safe_load(FILE.read_text())["deployments"]}
    async with get_client() as client:
        pools = [await client.read_work_pool(name) for name in (WORK_POOL, RECOVERY_POOL)]
        scheduled = await client.read_deployment_by_name("replicate/scheduled")
        limit = await client.read_global_concurrency_limit_by_name("content-understanding-west")
        types = {block_type.slug for block_type in await client.read_block_types()}
    assert [pool.type for pool in pools] == ["process", "process"]
    assert scheduled.parameters == {"plan": "p"}
    assert [schedule.slug for schedule in scheduled.schedules] == ["p"]
    assert (limit.limit, limit.active) == (1, True)
    assert {"content-understanding-key", "content-understanding-entra"} <= types


async def everything() -> dict[str, str]:
    """What the server keeps of ours, and when each was changed last."""
    async with get_client() as client:
        kept: list[Any] = [
            *await client.read_block_documents(include_secrets=False),
            *await client.read_deployments(),
            *await client.read_work_pools(),
            *await client.read_global_concurrency_limits(),
            *await client.read_automations(),
        ]
    return {str(each.id): f"{each.name} {getattr(each, 'updated', None)}" for each in kept}


@pytest.mark.parametrize("wrong", ["deployments", "notifications", "server"])
async def test_a_bootstrap_that_cannot_end_saves_nothing(
    wrong: str, make_scene: Any, prefect_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with make_scene([], targets=("west",)) as scene:
        configuration, words = with_plans(scene.configuration, "never"), "is of version 3"
        if wrong == "deployments":
            broken = tmp_path / "prefect.yaml"
            broken.write_text(FILE.read_text().replace("drill.drill", "drill.dirll"))
            monkeypatch.setattr(wanted_deployments, "__defaults__", (broken, None))
            words = "dirll"
        elif wrong == "notifications":
            configuration, words = (
                configuration.model_copy(update={"notifications": ("slack-webhook/no",)}),
                "is not on",
            )
        else:
            monkeypatch.setattr("prefect.__version__", "3.99.1")
        before = await everything()
        with pytest.raises(StandbyError, match=words):
            await Prefect().bootstrap(configuration)
    assert await everything() == before


async def test_a_bootstrap_that_fails_midway_names_what_it_saved(
    make_scene: Any, prefect_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("standby.flows.bootstrap.QUICKLY", ("-c", "raise SystemExit('no room there')"))
    async with make_scene([], targets=("west",)) as scene:
        with pytest.raises(BootstrapUnfinished) as failed:
            await Prefect().bootstrap(with_plans(scene.configuration, "midway"))
    assert failed.value.cause.startswith("prefect deploy failed: no room there\nBefore that: ")
    assert "block recovery-plan/midway c" in failed.value.cause
    assert failed.value.next_action.endswith("Then run this again: it saves what is missing")


async def test_schedules_follow_the_plans_of_the_configuration(make_scene: Any, prefect_server: Any) -> None:
    async with make_scene([], targets=("west",)) as scene:
        two = with_plans(scene.configuration, "one", "two")
        await save_what_starts_runs(two)
        assert "replicate/scheduled-two" in await deployed()
        async with get_client() as client:
            watch = await client.read_deployment_by_name("watch/scheduled")
            # As an earlier version deployed it.
            await client.update_deployment(watch.id, DeploymentUpdate(concurrency_limit=1))
            assert (await client.read_deployment(watch.id)).global_concurrency_limit
            manual = await client.read_deployment_by_name("failover/manual")
            before = (manual.parameter_openapi_schema or {})["properties"]["plan"]["enum"]
        removed = await save_what_starts_runs(with_plans(scene.configuration, "two"))
    assert "deployment replicate/scheduled-two removed" in removed
    assert "schedule one of replicate/scheduled removed" in removed
    assert {"one", "two"} <= set(before)
    assert "form of failover/manual saved" in removed
    assert "replicate/scheduled-two" not in await deployed()
    async with get_client() as client:
        scheduled = await client.read_deployment_by_name("replicate/scheduled")
        watch = await client.read_deployment_by_name("watch/scheduled")
        manual = await client.read_deployment_by_name("failover/manual")
    fields = (manual.parameter_openapi_schema or {})["properties"]
    assert "one" not in fields["plan"]["enum"]
    assert "outage_of" not in fields
    assert not manual.enforce_parameter_schema
    assert scheduled.tags == ["standby", "replicate", "plan:two"]
    assert [schedule.slug for schedule in scheduled.schedules] == ["two"]
    assert watch.global_concurrency_limit is None
    assert watch.work_pool_name == RECOVERY_POOL


async def test_it_can_be_asked_whether_workers_run_and_whether_the_watch_still_looks(
    make_scene: Any, prefect_server: Any, until: Any, only_deploy: Any
) -> None:
    await delete_deployments()
    only_deploy("watch/scheduled")
    async with make_scene([], targets=("west",)) as scene:
        plans = [scene.configuration.plan("p")]
        await save_what_runs_need(scene.configuration)
        before = (await Prefect().watching(plans))["watch of p"]
        await save_what_starts_runs(scene.configuration)
        await watch(plan="p", return_state=True)

        async def looked() -> Any:
            found = await Prefect().watching(plans)
            return found if found["watch of p"].well else None

        found = await until(looked)
        await pause_schedules()
        paused = (await Prefect().watching(plans))["watch of p"]
    assert (before.well, before.next_action) == (None, "Run standby bootstrap")
    assert found[f"pool {RECOVERY_POOL}"].well is False
    assert found[f"pool {RECOVERY_POOL}"].next_action.startswith(f"Run prefect worker start --pool {RECOVERY_POOL}")
    assert (paused.well, "paused" in paused.detail) == (False, True)


async def health(**environment: str) -> str:
    """What a process of its own says of Prefect: it reads its settings when it is first imported."""
    program = "import asyncio; from standby.flows.orchestrator import Prefect; print(asyncio.run(Prefect().health()))"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    return told.decode()


@pytest.mark.prefect
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {"PREFECT_CLIENT_MAX_RETRIES": "canary"},
            "Prefect cannot be used with its settings: PREFECT_CLIENT_MAX_RETRIES: Input should be a valid integer",
        ),
        ({"PREFECT_HOME": "{folder}"}, "{folder}/profiles.toml"),
    ],
)
async def test_a_setting_with_which_prefect_cannot_be_used_is_named(
    tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    (tmp_path / "profiles.toml").write_text("active = 'x'\n[profiles.x")
    given = {name: value.format(folder=tmp_path) for name, value in environment.items()}
    told = await health(**given)
    assert words.format(folder=tmp_path) in told
    assert "well=False" in told
    assert "canary" not in told


@pytest.mark.prefect
@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (401, "application/json", "refuses this client (HTTP 401)"),
        (404, "application/json", "is not the API of a Prefect server: it answers HTTP 404"),
        (200, "text/html", "is not the API of a Prefect server: it answers with a web page"),
    ],
)
async def test_what_answers_and_is_no_server_that_lets_us_in_is_named(status: int, kind: str, words: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        writer.write(head.encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with settings.temporary_settings({settings.PREFECT_API_URL: url}):
            found = await Prefect().health()
    assert found.well is False
    assert words in found.detail
    assert status == 401 or f"Set it to {url}/api" in found.next_action


@pytest.mark.prefect
async def test_a_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with settings.temporary_settings({settings.PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        found = await Prefect().health()
        monkeypatch.setenv("NO_PROXY", "[::1]")
        unreadable = await Prefect().health()
    assert found.detail == "The Prefect server at http://127.0.0.1:9/api does not respond (ConnectError)"
    assert "NO_PROXY or PREFECT_API_URL has a value that is not a URL" in unreadable.detail


async def test_what_standby_made_on_a_server_can_be_removed_and_nothing_else(
    make_scene: Any, prefect_server: Any
) -> None:
    await delete_deployments()
    async with make_scene([], targets=("west",)) as scene:
        two = with_plans(scene.configuration, "one", "two")
        configuration = two.model_copy(update={"activation": (VariableSink(name="active"), VariableSink(name="other"))})
        await Prefect().bootstrap(configuration)
        foreign = await replicate.ato_deployment("of-others", work_pool_name=WORK_POOL, tags=["standby"])
        await foreign.apply()  # type: ignore[misc]
        async with get_client() as client:
            their_drill = await client.create_flow_from_name("drill")
            of_fire = {"name": "scheduled-fire", "tags": ["standby"], "entrypoint": "theirs/fire.py:drill"}
            await client.create_deployment(their_drill, **of_fire)  # type: ignore[arg-type]
        await Prefect().bootstrap(configuration)
        await Variable.aset("other", "nothing of ours", overwrite=True)
        sink = VariableActivation(VariableSink(name="active"))
        await sink.publish(Activation(plan="one", epoch=0, changed_at=TIME, as_of=TIME, run_id="run", sources={}))
        found = await Prefect().removable(configuration)
        await Prefect().remove(configuration, found)
        left = await Prefect().removable(configuration)
    assert {
        "automation standby outage of one",
        "automation standby ends runs that stopped",
        "automation standby tells of silence of two",
        "deployment replicate/scheduled",
        "deployment replicate/scheduled-two",
        "work pool standby-recovery",
        "block type content-understanding-entra",
        "concurrency limit content-understanding-west",
        "concurrency limit standby-variable-active",
        "variable active",
    } <= set(found)
    (plans,) = (name for name in found if name.startswith("block type recovery-plan with its blocks "))
    assert {"one", "two"} <= set(plans.rpartition("blocks ")[2].split(", "))
    assert left == []
    assert await deployed() == {"replicate/of-others", "drill/scheduled-fire"}
    async with get_client() as client:
        assert (await client.read_work_pool(WORK_POOL)).name == WORK_POOL
        kinds = {block_type.slug for block_type in await client.read_block_types()}
    assert kinds.isdisjoint({"recovery-plan", "content-understanding-resource", "content-understanding-key"})
    assert await Variable.aget("other") == "nothing of ours"
    await delete_deployments()
