"""What was decided by an older epoch is not done: another run has switched the plan since."""

from __future__ import annotations

import asyncio

import pytest

from standby.fencing import Phase
from standby.recovery.assignments import AlreadyActive
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.failover.errors import DecidedBefore
from standby.recovery.failover.failover import decide_request, fail_over
from tests.standby.recovery.failover.world import Site
from tests.standby.recovery.stages import DirectStages


async def test_an_outage_of_one_side_does_not_switch_the_next_one_away() -> None:
    site = await Site.made()
    decided = (await site.fence()).epoch
    await site.fail_over("north")
    with pytest.raises(DecidedBefore, match="north serves for east"):
        await site.fail_over("west", epoch=decided)
    side = await site.side()
    assert (side.active, side.phase, site.named) == ("north", Phase.ACTIVATED, {"north"})
    assert (await site.fail_over("west", epoch=(await site.fence()).epoch)).serving == "west"


async def test_a_side_that_serves_already_is_said_to() -> None:
    site = await Site.made()
    decided = (await site.fence()).epoch
    await site.fail_over("west")
    with pytest.raises(AlreadyActive):
        await site.fail_over("west", epoch=decided)


async def test_going_on_with_a_switch_that_was_undone_meanwhile_does_not_begin_a_new_one() -> None:
    site = await Site.made()
    stopping: asyncio.Task[object] | None = None

    def stop() -> None:
        assert stopping is not None
        stopping.cancel()

    site.sinks[0].on_change = stop
    stopping = asyncio.create_task(site.fail_over("west"))
    await asyncio.wait({stopping})
    assert (await site.side()).phase is Phase.SWITCHING
    site.sinks[0].on_change = lambda: None
    async with site.context() as context:
        request, _ = await decide_request(context, FailoverRequest("west"))
        assert request.action == "resume"
        await site.roll_back()
        with pytest.raises(DecidedBefore):
            await fail_over(context, request, DirectStages())
    assert site.named == {"east"}


@pytest.mark.parametrize("to", ["north", "east"])
async def test_what_was_asked_while_another_run_was_at_it_does_not_follow_when_that_has_ended(to: str) -> None:
    site = await Site.made()
    site.sinks[0].hangs = asyncio.Event()
    running = asyncio.create_task(site.fail_over("west"))
    while not site.sinks[0].waiting:
        await asyncio.sleep(0)
    async with site.context() as context:
        request, _ = await decide_request(context, FailoverRequest(to))
    site.sinks[0].hangs.set()
    assert (await running).serving == "west"
    async with site.context() as context:
        with pytest.raises(DecidedBefore, match=r"west serves for east now \(epoch 1\)"):
            await fail_over(context, request, DirectStages())
    assert site.named == {"west"}


async def test_a_rollback_of_one_switch_does_not_undo_the_next_one() -> None:
    site = await Site.made()
    await site.fail_over("west")
    decided = (await site.fence()).epoch
    await site.fail_over("north")
    with pytest.raises(DecidedBefore):
        await site.roll_back(epoch=decided)
    assert site.named == {"north"}
