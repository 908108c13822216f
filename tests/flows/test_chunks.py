"""Large runs in chunks, on workers some of which are lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Cancelling

from standby.flows import run as runs
from standby.flows.bootstrap import pause_schedules, save_what_runs_need, save_what_starts_runs
from standby.flows.dispatch import Dispatch
from standby.flows.errors import NoChunkDeployment
from standby.flows.replicate import replicate
from standby.flows.run import listen
from standby.replication import chunks
from standby.replication.report import Report
from tests.flows.working import kill_all, worker
from tests.patience import PATIENCE

ANALYZERS = 6


def family(make_analyzer: Any) -> list[dict[str, Any]]:
    return [
        make_analyzer("router", "part-0", "part-1"),
        *(make_analyzer(f"part-{number}") for number in range(ANALYZERS - 1)),
    ]


async def children_of(parent: Any) -> list[FlowRun]:
    async with get_client() as client:
        return await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent]))
        )


@pytest.fixture(autouse=True)
def chunks_only(only_deploy: Any) -> None:
    """Deploy no other flow."""
    only_deploy("replicate-chunk/worker")


@asynccontextmanager
async def deployed(configuration: Any) -> AsyncIterator[None]:
    await save_what_runs_need(configuration)
    await save_what_starts_runs(configuration)
    await pause_schedules()
    yield


async def running_parent() -> FlowRun:
    """Give the flow run of `replicate` that is under way."""
    async with get_client() as client:
        running = [found for found in await client.read_flow_runs() if found.state_name == "Running"]
    (parent,) = [found for found in running if found.name == "replicate-p"]
    return parent


async def test_chunks_go_to_workers_and_survive_the_loss_of_one(
    make_scene: Any,
    make_analyzer: Any,
    prefect_server: Any,
    until: Any,
    task_runs: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits = {"max_concurrent_copies": 2}
    async with (
        # Long enough that the first chunk is still at work when the second one begins, however slow the machine is.
        make_scene(family(make_analyzer), service_time=20, resources=limits) as scene,
        deployed(scene.configuration),
        worker(prefect_server) as first,
        worker(prefect_server),
        asyncio.timeout(PATIENCE),
    ):

        async def replicated() -> State[Any]:
            return await replicate(plan="p", dispatch="workers", return_state=True)

        run = asyncio.create_task(replicated())

        async def both_at_work() -> bool:
            return all([(await scene.stats(name))["copies_accepted"] for name in ("west", "north")])

        await until(both_at_work)
        parent = await running_parent()
        with monkeypatch.context() as sooner:
            # Only now: on a busy machine a run that is starting gives no heartbeat for a while.
            sooner.setattr(chunks, "LOST_AFTER", 12.0)
            kill_all(first.pid)

            async def one_is_lost() -> bool:
                return any(child.state_name == "Crashed" for child in await children_of(parent.id))

            await until(one_is_lost)
        for name in ("west", "north"):
            await scene.control("/settings", {"resource": name, "service_time": 0.5})
        state = await run
        for target in ("west", "north"):
            stats = await scene.stats(target)
            assert stats["copies_accepted"] == dict.fromkeys(stats["copies_accepted"], 1)
            assert len(stats["copies_accepted"]) == ANALYZERS
            assert stats["max_copies_in_flight"] <= 2
    assert state.is_completed(), state.message
    report = Report.model_validate(await state.aresult())
    assert [item.target for item in report.items] == ["west"] * ANALYZERS + ["north"] * ANALYZERS
    children = await children_of(state.state_details.flow_run_id)
    assert sorted(str(child.state_name) for child in children)[-1] == "Crashed"
    assert len(children) == 3


async def test_cancelling_a_run_cancels_its_chunks_and_tells_what_is_under_way(
    make_scene: Any, make_analyzer: Any, prefect_server: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "EVERY", 0.5)
    async with (
        make_scene(family(make_analyzer), targets=("west",), service_time=60) as scene,
        deployed(scene.configuration),
        worker(prefect_server),
        asyncio.timeout(PATIENCE),
    ):

        async def replicated() -> State[Any]:
            return await replicate(plan="p", dispatch="workers", return_state=True)

        with listen(lambda _: None) as listener:
            run = asyncio.create_task(replicated())

        async def at_work() -> bool:
            return bool((await scene.stats("west"))["copies_accepted"])

        await until(at_work)
        async with get_client() as client:
            await client.set_flow_run_state((await running_parent()).id, Cancelling())
        state = await run

        async def chunk_cancelled() -> bool:
            (chunk,) = await children_of(state.state_details.flow_run_id)
            return chunk.state_type is StateType.CANCELLED

        # Its worker says so once the process has ended.
        await until(chunk_cancelled)
    assert state.is_cancelled()
    assert isinstance(listener.report, Report)
    ends = {item.analyzer: item for item in listener.report.items}
    assert len(ends) == ANALYZERS
    assert ends["part-0"].operation_id in ends["part-0"].reason
    assert "under way at west" in ends["part-0"].reason
    assert "before it began" in ends["router"].reason


async def test_chunks_that_no_worker_takes_are_given_up(
    make_scene: Any, make_analyzer: Any, prefect_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "UNTAKEN_AFTER", 1.0)
    async with (
        make_scene([make_analyzer("invoice")], targets=("west",)) as scene,
        deployed(scene.configuration),
        asyncio.timeout(PATIENCE),
    ):
        state = await replicate(plan="p", dispatch="workers", return_state=True)
        assert (await scene.stats("west"))["copies_accepted"] == {}
    (item,) = Report.model_validate(await state.aresult(raise_on_failure=False)).items
    assert item.status == "failed"
    assert "No worker took flow run chunk-1-of-1-east-to-west" in item.reason
    (chunk,) = await children_of(state.state_details.flow_run_id)
    assert chunk.state_type is StateType.CANCELLED


async def test_nothing_is_begun_without_a_deployment_for_the_chunks(prefect_server: Any) -> None:
    async with get_client() as client:
        with pytest.raises(NoChunkDeployment, match="standby bootstrap"):
            await Dispatch(client, run="r", deployment="replicate-chunk/nowhere").must_be_deployed()
