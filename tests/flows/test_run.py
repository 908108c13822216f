"""Work that is told to stop, and the report it leaves."""

from __future__ import annotations

import asyncio
import signal
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow, get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling, Completed, Crashed
from prefect.utilities.engine import capture_sigterm

from standby.flows import run as stopping
from standby.flows.run import to_its_report


async def reporting(started: asyncio.Event) -> str:
    """Work that answers a cancellation with its report."""
    started.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "interrupted"
    return "done"


async def test_a_worker_that_ends_the_process_gets_the_report_whatever_is_done_just_then() -> None:
    """Prefect's own handler raises in the middle of whatever runs at that moment."""

    async def work() -> str:
        # Twice, as from a supervisor that passes on what the whole group of processes got already.
        signal.raise_signal(signal.SIGTERM)
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0.01)
            return "interrupted"
        return "done"

    with capture_sigterm():
        before = signal.getsignal(signal.SIGTERM)
        assert await asyncio.create_task(to_its_report(work(), uuid4())) == "interrupted"
        assert signal.getsignal(signal.SIGTERM) is before


async def test_the_report_of_what_ended_by_itself_is_given(prefect_server: Any) -> None:
    async def work() -> str:
        return "done"

    assert await to_its_report(work(), uuid4()) == "done"


async def test_an_error_of_the_work_is_its_callers_to_see(prefect_server: Any) -> None:
    async def work() -> str:
        raise LookupError("what is it?")

    with pytest.raises(LookupError, match="what is it"):
        await to_its_report(work(), uuid4())


async def test_whoever_is_cancelled_still_has_the_report(prefect_server: Any) -> None:
    started = asyncio.Event()
    waiting = asyncio.create_task(to_its_report(reporting(started), uuid4()))
    await started.wait()
    waiting.cancel()
    assert await waiting == "interrupted"


async def test_work_that_has_no_report_yet_is_cancelled_as_anything_else(prefect_server: Any) -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(to_its_report(work(), uuid4()))
    await started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_flow_run_that_is_cancelled_elsewhere_stops_with_its_report(
    prefect_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "EVERY", 0.2)

    @flow(persist_result=False)
    async def long() -> State[Any]:
        started = asyncio.Event()
        running = asyncio.create_task(to_its_report(reporting(started), flow_run.id))
        await started.wait()
        async with get_client() as client:
            await client.set_flow_run_state(flow_run.id, Cancelling())
        return Cancelled(message=await running)

    state = await long(return_state=True)
    assert (state.name, state.message) == ("Cancelled", "interrupted")


async def test_a_flow_run_that_the_server_does_not_know_is_not_cancelled(
    prefect_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "EVERY", 0.01)
    asked = asyncio.Event()
    read = PrefectClient.read_flow_run

    async def reading(self: PrefectClient, flow_run_id: UUID) -> Any:
        asked.set()
        return await read(self, flow_run_id)

    monkeypatch.setattr(PrefectClient, "read_flow_run", reading)

    async def work() -> str:
        for _ in range(2):
            asked.clear()
            await asked.wait()
        return "done"

    assert await to_its_report(work(), uuid4()) == "done"


async def test_a_run_that_was_taken_for_dead_and_lives_goes_on(
    prefect_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that was away for long believes that no run beats."""
    monkeypatch.setattr(stopping, "EVERY", 0.01)
    read = PrefectClient.read_flow_run
    looks = 0

    async def reading(self: PrefectClient, flow_run_id: UUID) -> Any:
        nonlocal looks
        looks += 1
        return await read(self, flow_run_id)

    monkeypatch.setattr(PrefectClient, "read_flow_run", reading)

    async def work() -> str:
        async with get_client() as client:
            await client.set_flow_run_state(flow_run.id, Crashed(message=stopping.DEAD))
        before = looks
        while looks < before + 3:
            await asyncio.sleep(0.01)
        return "done"

    @flow(persist_result=False)
    async def long() -> State[Any]:
        return Completed(message=await to_its_report(work(), flow_run.id))

    state = await long(return_state=True)
    assert (state.name, state.message) == ("Completed", "done")
