"""Lets a run notice by itself that it is to stop: nobody may be there to send its process a signal."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect import get_client

T = TypeVar("T")

EVERY = 5.0
"""Seconds between two looks at the state of one's own flow run."""


async def unless_stopped(work: Coroutine[Any, Any, None], flow_run_id: UUID) -> bool:
    """Do some work to its end, or until its flow run is cancelled or was given up.

    Args:
        work: what to do; it is cancelled, and its end awaited, where the run is to stop.
        flow_run_id: the flow run it is done in.

    Returns:
        Whether it was stopped.
    """
    doing = asyncio.create_task(work)
    told = asyncio.create_task(_until_told(flow_run_id))
    try:
        await asyncio.wait({doing, told}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            return True
        await doing
        return False
    finally:
        for task in (doing, told):
            task.cancel()
        await asyncio.gather(doing, told, return_exceptions=True)


async def to_its_report(work: Coroutine[Any, Any, T], flow_run_id: UUID) -> T:
    """Do some work that answers a cancellation with its report, and cancel it where its flow run is to stop.

    Args:
        work: what to do; it ends early, with a true report, when it is cancelled.
        flow_run_id: the flow run it is done in.

    Returns:
        The report; that of an interrupted run, too, where this was cancelled meanwhile.
    """
    doing = asyncio.create_task(work)
    told = asyncio.create_task(_until_told(flow_run_id))
    try:
        await asyncio.wait({doing, told}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        pass  # What is under way must be known: the work is told below.
    finally:
        told.cancel()
        await asyncio.gather(told, return_exceptions=True)
    if not doing.done():
        doing.cancel()
    return await doing


async def _until_told(flow_run_id: UUID) -> None:
    async with get_client() as client:
        while True:
            await asyncio.sleep(EVERY)
            try:
                state = (await client.read_flow_run(flow_run_id)).state
            except httpx.HTTPError:
                continue  # The server may be away for a while; the run goes on.
            if state is not None and (state.is_cancelling() or state.is_final()):
                return
