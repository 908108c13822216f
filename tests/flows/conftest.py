"""Flows on the tests' Prefect server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun
from prefect.events.filters import EventFilter, EventNameFilter

from standby.config.configuration import Configuration
from standby.flows.bootstrap import FILE, full_name, save_what_runs_need, wanted_deployments
from standby.flows.replicate import replicate
from tests.patience import PATIENCE

Run = Callable[..., Awaitable[Any]]
Until = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


@pytest.fixture
async def run_replicate(prefect_server: Any) -> AsyncIterator[Run]:
    """Save a configuration's blocks and run the flow; its final state comes back."""

    async def run(configuration: Configuration, **parameters: Any) -> Any:
        await save_what_runs_need(configuration)
        return await replicate(plan="p", return_state=True, **parameters)

    yield run


@pytest.fixture
def only_deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Leave all but one deployment out of what is deployed: each takes a third of a second, and a test needs few."""

    def only(name: str) -> None:
        described = yaml.safe_load(FILE.read_text(encoding="utf-8"))
        described["deployments"] = [entry for entry in described["deployments"] if full_name(entry) == name]
        file = tmp_path / "prefect.yaml"
        file.write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
        monkeypatch.setattr(wanted_deployments, "__defaults__", (file, None))

    return only


@pytest.fixture
def until() -> Until:
    """Ask again until there is an answer that is not empty."""

    async def wait(ask: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(PATIENCE):
            while not (answer := await ask()):
                await asyncio.sleep(0.1)
            return answer

    return wait


@pytest.fixture
def task_runs(prefect_server: Any, until: Until) -> Callable[[UUID, int], Awaitable[list[TaskRun]]]:
    """Give every task run of a flow run, once as many are recorded as there should be."""

    async def read(flow_run_id: UUID, count: int) -> list[TaskRun]:
        async with get_client() as client:

            async def all_pages() -> list[TaskRun]:
                found: list[TaskRun] = []
                while True:
                    page = await client.read_task_runs(
                        flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id])),
                        limit=200,
                        offset=len(found),
                    )
                    found += page
                    if len(page) < 200:
                        ended = [run for run in found if run.state and run.state.is_final()]
                        return found if len(ended) >= count else []

            found: list[TaskRun] = await until(all_pages)
            return found

    return read


@pytest.fixture
def events(prefect_server: Any, until: Until) -> Callable[[str], Awaitable[list[Any]]]:
    """Give the recorded events of a name, once there are any."""

    async def read(name: str) -> list[Any]:
        async with get_client() as client:

            async def page() -> list[Any]:
                body = {"filter": EventFilter(event=EventNameFilter(name=[name])).model_dump(mode="json")}
                answer = await client.request("POST", "/events/filter", json=body)
                found: list[Any] = answer.json()["events"]
                return found

            found: list[Any] = await until(page)
            return found

    return read
