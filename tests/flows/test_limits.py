"""One run at a time per target, across processes that share a Prefect server."""

from __future__ import annotations

import asyncio
from typing import Any

from prefect import get_client

from flows.limits import ensure_limits, hold_targets, limit_name


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


async def test_a_limit_that_was_changed_by_hand_is_left_so(prefect_server: Any) -> None:
    async with get_client() as client:
        name = limit_name("by-hand")
        assert await ensure_limits(client, [name]) == [name]
        await client.upsert_global_concurrency_limit_by_name(name, limit=3)
        assert await ensure_limits(client, [name]) == []
        limit = await client.read_global_concurrency_limit_by_name(name)
    assert limit.limit == 3
