"""Bootstrap and a worker, on the tests' Prefect server."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.actions import DeploymentUpdate

from flows.bootstrap import (
    FILE,
    RECOVERY_POOL,
    WORK_POOL,
    full_name,
    pause_schedules,
    save_what_runs_need,
    save_what_starts_runs,
)
from flows.orchestrator import Prefect
from flows.watch import watch
from standby.config.configuration import Configuration
from tests.flows.working import delete_deployments


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
        removed = await save_what_starts_runs(with_plans(scene.configuration, "two"))
    assert "deployment replicate/scheduled-two removed" in removed
    assert "schedule one of replicate/scheduled removed" in removed
    assert "replicate/scheduled-two" not in await deployed()
    async with get_client() as client:
        scheduled = await client.read_deployment_by_name("replicate/scheduled")
        watch = await client.read_deployment_by_name("watch/scheduled")
    assert [schedule.slug for schedule in scheduled.schedules] == ["two"]
    assert watch.global_concurrency_limit is None
    assert watch.work_pool_name == RECOVERY_POOL


async def test_it_can_be_asked_whether_workers_run_and_whether_the_watch_still_looks(
    make_scene: Any, prefect_server: Any, until: Any
) -> None:
    await delete_deployments()
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


@pytest.mark.prefect
async def test_a_server_that_does_not_answer_is_named() -> None:
    program = "import asyncio; from flows.orchestrator import Prefect; print(asyncio.run(Prefect().health()))"
    environment = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program), env=environment, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert b"The Prefect server at http://127.0.0.1:9/api does not respond" in told
