"""A flow run while it is under way: it shows how far it is, stops when it is cancelled, and hands over its report.

A flow's parameters are stored, and its result is lost when it is cancelled. So a caller in this process gets
progress and report through a context variable.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from uuid import UUID

from prefect import get_client
from prefect.artifacts import acreate_progress_artifact, aupdate_progress_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import BaseModel

from standby.replication.items import Progress
from standby.tasks.stage import tried

T = TypeVar("T")


@dataclass
class Listener:
    """A caller in this process that waits for a run; it gets the report once there is one."""

    on_progress: Callable[[Progress], None]
    report: BaseModel | None = None


_LISTENER: ContextVar[Listener | None] = ContextVar("standby_listener", default=None)


@contextmanager
def listen(on_progress: Callable[[Progress], None] = lambda _: None) -> Iterator[Listener]:
    listener = Listener(on_progress)
    token = _LISTENER.set(listener)
    try:
        yield listener
    finally:
        _LISTENER.reset(token)


def hand_over(report: BaseModel) -> None:
    if listener := _LISTENER.get():
        listener.report = report


DEAD = "It sent no heartbeat, so its worker counts as lost."
"""The message of the state that Prefect gives a run without beats. A run that reads it lives, and goes on."""


EVERY = 5.0  # Seconds between two checks of the state of one's own flow run


async def to_its_report(work: Coroutine[Any, Any, T], flow_run_id: UUID | None = None) -> T:
    """Do work that answers a cancellation with its report; cancel it when its flow run, by default this, is."""
    doing = asyncio.create_task(work)
    cancelled = asyncio.create_task(_until_cancelled(flow_run_id or UUID(str(flow_run.id))))
    with _cancelled_by_sigterm(doing):
        try:
            await asyncio.wait({doing, cancelled}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # The report must say what is under way: the work is cancelled below, and ends with it.
        finally:
            cancelled.cancel()
            await asyncio.gather(cancelled, return_exceptions=True)
        _cancel_once(doing)
        return await doing


@contextmanager
def _cancelled_by_sigterm(work: asyncio.Task[T]) -> Iterator[None]:
    """Let SIGTERM cancel the work: Prefect's handler raises in whatever is done just then, and leaves no report."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(_cancel_once, work))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _cancel_once(work: asyncio.Task[T]) -> None:
    """Cancel what is not cancelled yet: a second time would interrupt it while it writes its report."""
    if not work.cancelling():
        work.cancel()


async def _until_cancelled(flow_run_id: UUID) -> None:
    """Wait until somebody cancels a flow run, or gives it up.

    A server that is away, was reset, or does not know the run any more cancels nothing: the run goes on.
    """

    async def read() -> State[Any] | None:
        async with get_client() as client:
            return (await client.read_flow_run(flow_run_id)).state

    while True:
        await asyncio.sleep(EVERY)
        state = await tried("a look whether the flow run was cancelled", read)
        if state is not None and (state.is_cancelling() or state.is_final()) and state.message != DEAD:
            return


BEAT = 5.0  # Seconds between two updates of it, progress or not: a sign of life for the run that waits for this one
PROGRESS = "replication"  # Key of the progress artifact


class ProgressArtifact:
    """A progress bar in the Prefect UI that follows a run."""

    _follower: asyncio.Task[None]
    _artifact: UUID | None

    def __init__(self, description: str) -> None:
        self._description = description
        self._percent = 0.0

    async def __aenter__(self) -> Self:
        text = self._description
        artifact = await tried(
            "the progress bar", lambda: acreate_progress_artifact(0.0, key=PROGRESS, description=text)
        )
        # Prefect types the id loosely; it is one.
        self._artifact = None if artifact is None else UUID(str(artifact))
        self._follower = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._follower.cancel()
        await asyncio.gather(self._follower, return_exceptions=True)
        await self._update()

    def show(self, progress: Progress) -> None:
        if listener := _LISTENER.get():
            listener.on_progress(progress)
        self._percent = 100.0 * progress.done / progress.total if progress.total else 100.0

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            await self._update()

    async def _update(self) -> None:
        artifact, percent = self._artifact, self._percent
        if artifact is not None:
            await tried("the progress", lambda: aupdate_progress_artifact(artifact, progress=percent))
