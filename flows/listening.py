"""Lets whoever starts a flow in this process hear of its progress and its report, also when it is cancelled.

A flow's parameters are stored, and its result is lost with a cancellation; a context variable is neither.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect import get_client
from pydantic import BaseModel

from standby.replication.items import Progress


@dataclass
class Listener:
    """Somebody in this process who waits for a run.

    Attributes:
        on_progress: called after every change.
        report: the run's report, once there is one; of the model that its flow has.
    """

    on_progress: Callable[[Progress], None]
    report: BaseModel | None = None


_LISTENER: ContextVar[Listener | None] = ContextVar("standby_listener", default=None)


@contextmanager
def listen(on_progress: Callable[[Progress], None] = lambda _: None) -> Iterator[Listener]:
    """Hear of the run that is started inside."""
    listener = Listener(on_progress)
    token = _LISTENER.set(listener)
    try:
        yield listener
    finally:
        _LISTENER.reset(token)


def tell_progress(progress: Progress) -> None:
    """Pass progress on to whoever listens."""
    listener = _LISTENER.get()
    if listener is not None:
        listener.on_progress(progress)


def tell_report(report: BaseModel) -> None:
    """Pass a report on to whoever listens."""
    listener = _LISTENER.get()
    if listener is not None:
        listener.report = report


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
