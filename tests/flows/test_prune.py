"""Flow runs that have ended are removed after a while."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow, get_client
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Crashed, Failed, Paused, Pending, Running, Scheduled

from standby.flows.bootstrap import TAG
from standby.flows.prune import prune, to_remove

LONG = timedelta(days=30)
AT_ONCE = timedelta(microseconds=1)


@pytest.mark.parametrize("state", [Pending(), Running(), Paused(), Scheduled(), None])
def test_what_has_not_ended_is_never_removed(state: State[Any] | None) -> None:
    assert to_remove([FlowRun(flow_id=uuid4(), state=state)], set()) == []


@pytest.mark.parametrize("state", [Completed(), Failed(name="Refused"), Crashed(), Cancelled()])
def test_what_has_ended_is_removed_but_the_last(state: State[Any]) -> None:
    first, last = (FlowRun(flow_id=uuid4(), state=state) for _ in range(2))
    assert to_remove([first, last], {last.id}) == [first]


@flow(name="watch")
async def looking(key: str) -> None:
    if key:
        await acreate_markdown_artifact("# seen", key=key)


@flow(name="replicate")
async def copying() -> None:
    await acreate_markdown_artifact("# copied", key="of-copying")


@pytest.fixture
async def client(prefect_server: Any) -> AsyncIterator[PrefectClient]:
    async with get_client() as client:
        yield client


async def deployed(client: PrefectClient, of: Any, name: str) -> UUID:
    return await client.create_deployment(await client.create_flow(of), name, tags=[TAG])


async def there(client: PrefectClient, *runs: FlowRun) -> list[bool]:
    kept = {run.id for run in await client.read_flow_runs()}
    return [run.id in kept for run in runs]


async def pruned(looks: timedelta, others: timedelta) -> State[Any]:
    state: State[Any] = await prune(looks=looks, others=others, return_state=True)
    assert state.is_completed()
    return state


async def test_looks_go_soon_others_later_and_the_last_of_each_deployment_stays(client: PrefectClient) -> None:
    watch, replicate = (
        await deployed(client, looking, "of-prune"),
        await deployed(client, copying, "of-prune"),
    )

    async def made(deployment: UUID, *states: State[Any]) -> list[FlowRun]:
        runs = []
        for state in states:
            run = await client.create_flow_run_from_deployment(deployment)
            await client.set_flow_run_state(run.id, state, force=True)
            runs.append(run)
        return runs

    looks = await made(watch, Running(), Completed(), Failed(name="Unhealthy"), Completed(), Completed())
    copies = await made(replicate, Completed(), Cancelled(), Paused(), Failed(name="Refused"), Completed())
    foreign = await client.create_flow_run(looking, parameters={"key": ""}, state=Completed())

    await pruned(AT_ONCE, LONG)
    assert await there(client, *looks, foreign) == [True, False, False, False, True, True]
    assert await there(client, *copies) == [True, False, True, True, True]

    await pruned(AT_ONCE, AT_ONCE)
    assert await there(client, *looks, *copies) == [True, *[False] * 3, True, False, False, True, False, True]


async def test_pages_go_with_their_runs_but_the_latest_of_each_kind(client: PrefectClient) -> None:
    @flow(name="watch")
    async def seen() -> str:
        await acreate_markdown_artifact("# seen", key="of-prune")
        return str(flow_run.id)

    tagged = [UUID(await _tagged(seen)) for _ in range(3)]
    await pruned(AT_ONCE, LONG)
    left = [each for each in await client.read_artifacts() if each.key == "of-prune"]
    assert [each.flow_run_id for each in left] == tagged[-1:]
    kept = {run.id for run in await client.read_flow_runs()}
    assert not kept & set(tagged)


async def _tagged(run: Any) -> str:
    from prefect import tags  # noqa: PLC0415

    with tags(TAG):
        return str(await run())
