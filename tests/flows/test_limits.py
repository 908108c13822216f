"""One run at a time per target, across processes that share a Prefect server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prefect import get_client

from standby.flows.limits import ensure_limits, hold, hold_targets, limit_name
from standby.flows.orchestrator import Prefect


async def test_a_second_run_waits_until_the_first_has_left_the_target(prefect_server: Any) -> None:
    order: list[str] = []
    entered = asyncio.Event()
    leave = asyncio.Event()

    async def first() -> None:
        async with hold_targets(["shared", "other"]):
            order.append("first in")
            entered.set()
            await leave.wait()
            order.append("first out")

    async def second() -> None:
        await entered.wait()
        async with hold_targets(["nobody-elses"]):
            leave.set()
        async with hold_targets(["shared"]):
            order.append("second in")

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(first())
        group.create_task(second())
    assert order == ["first in", "first out", "second in"]


async def test_a_slot_that_is_not_left_is_done_without(prefect_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """As one is that a killed run left taken: what may be written is decided by the ledgers in the vault."""
    async with hold_targets(["left-behind"]), hold_targets(["left-behind"], patience=0.2):
        pass
    assert "continues without its slot" in caplog.text


async def test_every_flow_that_writes_to_a_target_takes_its_limit_but_a_failover_waits_for_none(
    make_scene: Any, make_analyzer: Any, run_replicate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[set[str]] = []

    @asynccontextmanager
    async def spied(name: str, patience: float) -> AsyncIterator[None]:
        taken[-1].add(name)
        async with hold(name, patience):
            yield

    monkeypatch.setattr("standby.flows.limits.hold", spied)
    async with make_scene([make_analyzer("invoice")], targets=("west",), failover={"cool_down": "1s"}) as scene:

        async def limits_of(flow: str, **parameters: Any) -> set[str]:
            taken.append(set())
            await Prefect().recover(scene.configuration, "p", flow, parameters)
            return taken[-1]

        taken.append(set())
        await run_replicate(scene.configuration)
        assert taken[-1] == {limit_name("west")}
        assert await limits_of("snapshot") == set()
        assert await limits_of("drill", to="west") == {limit_name("west")}
        assert await limits_of("restore", to="west") == {limit_name("west")}
        assert await limits_of("failover", to="west") == set()
        assert await limits_of("failback") == {limit_name("east"), limit_name("west")}


async def test_a_limit_that_was_changed_by_hand_is_left_so(prefect_server: Any) -> None:
    async with get_client() as client:
        name = limit_name("by-hand")
        assert await ensure_limits(client, [name]) == [name]
        await client.upsert_global_concurrency_limit_by_name(name, limit=3)
        assert await ensure_limits(client, [name]) == []
        limit = await client.read_global_concurrency_limit_by_name(name)
    assert limit.limit == 3
