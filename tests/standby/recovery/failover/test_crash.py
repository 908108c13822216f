"""Killed anywhere, a switch is gone on with or undone by the next run, and two sides are never named."""

from __future__ import annotations

import asyncio
import copy
from contextlib import suppress
from itertools import count
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.fencing import Phase
from standby.recovery.assignments import AlreadyActive
from standby.recovery.failover.errors import FailoverUnfinished, NothingToRollBack
from standby.recovery.failover.failover import complete
from standby.recovery.failover.report import FailoverReport
from tests.standby.recovery.failover.world import Killed, Site

AuditAction = Literal["unplanned", "forced", "planned", "back", "commit"]


async def do(site: Site, deed: AuditAction) -> FailoverReport | None:
    """Do something; that there is nothing to do is an answer, too."""
    try:
        match deed:
            case "back":
                return await site.roll_back()
            case "commit":
                await site.commit()
                return None
            case _:
                forced = frozenset({"readiness"} if deed == "forced" else ())
                return await site.fail_over(planned=deed == "planned", forced=forced)
    except (AlreadyActive, NothingToRollBack):
        return None


async def do_and_die(site: Site, deed: AuditAction, boundary: int) -> bool:
    """Do it in a process that is killed at a boundary; say whether it lived to its end."""
    site.reaper.revive(boundary)
    try:
        await do(site, deed)
    except Killed:
        pass
    except BaseExceptionGroup as group:
        if group.split(Killed)[1] is not None:
            raise
    lived = not site.reaper.dead
    site.reaper.revive()
    return lived


def check(site: Site) -> None:
    assert all(len(named) <= 1 for named in site.seen), "two sides were named at once"
    for sink in site.sinks:
        epochs = [activation.epoch for activation in sink.heard]
        assert epochs == sorted(epochs)


async def check_settled(site: Site, side: str) -> None:
    check(site)
    found = await site.side()
    assert (found.active, found.phase is Phase.SWITCHING) == (side, False)
    assert {sink.side for sink in site.sinks} == {side}
    await site.deeds()


async def site_for(deed: AuditAction) -> Site:
    """Make a site at which this is to be done."""
    site = await Site.made(targets=("west",))
    site.world.patch("east", "invoice", "edited")
    if deed == "back":
        await site.fail_over()
    return site


@pytest.mark.parametrize(
    ("deed", "again", "side"),
    [
        ("unplanned", "unplanned", "west"),
        ("unplanned", "back", "east"),
        ("planned", "planned", "west"),
        # A last sync that was cut off leaves copies that nobody has looked at: that is to be forced.
        ("planned", "forced", "west"),
        ("planned", "back", "east"),
        ("back", "back", "east"),
        ("back", "unplanned", "west"),
    ],
)
async def test_killed_at_any_boundary_it_ends_at_the_side_that_the_next_run_is_told(
    deed: AuditAction, again: AuditAction, side: str, chaos: bool
) -> None:
    template = await site_for(deed)
    for boundary in count(step=1 if chaos else 3):
        site = copy_of(template)
        lived = await do_and_die(site, deed, boundary)
        check(site)
        epoch = (await site.fence()).epoch
        report = await do(site, again)
        if report is not None:
            assert (report.serving, report.interrupted) == (side, False)
            assert report.state in {"activated", "rolled_back"}
        if (await site.side()).active == side:
            # Where the first run was killed before it had fenced anything, there is nothing to go back from.
            await check_settled(site, side)
        else:
            assert report is None
            assert again == "back"
        assert (await site.fence()).epoch >= epoch
        if lived:
            break
    assert boundary > 20, "hardly anything was killed"


@given(
    history=st.lists(
        st.tuples(st.sampled_from(["unplanned", "planned", "back", "commit"]), st.integers(0, 80)),
        max_size=5,
    ),
    last=st.sampled_from(["unplanned", "planned"]),
)
def test_after_any_history_of_deaths_the_last_run_ends_where_it_is_told(
    history: list[tuple[AuditAction, int]], last: AuditAction
) -> None:
    asyncio.run(live(history, last))


async def live(history: list[tuple[AuditAction, int]], last: AuditAction) -> None:
    site = await Site.made(targets=("west",))
    epoch = 0
    for deed, boundary in history:
        await do_and_die_as_allowed(site, deed, boundary)
        check(site)
        assert (await site.fence()).epoch >= epoch
        epoch = (await site.fence()).epoch
    report = await do(site, last)
    assert report is None or (report.serving, report.state) in {("west", "activated"), ("west", "rolled_back")}
    await site.commit()
    await check_settled(site, "west")
    deeds = await site.deeds()
    ends = [deed for deed in deeds if deed in {"failover.activated", "failover.rolled_back"}]
    # Each end is told once, however often it had to be taken up.
    assert len(ends) <= deeds.count("failover.fenced")


async def do_and_die_as_allowed(site: Site, deed: AuditAction, boundary: int) -> None:
    try:
        await do_and_die(site, deed, boundary)
    except FailoverUnfinished:
        site.reaper.revive()


def copy_of(template: Site) -> Site:
    """Give a site of its own in the same state."""
    site = Site(targets=("west",))
    site.vault.files = dict(template.vault.files)
    site.world.service.regions = copy.deepcopy(template.world.service.regions)
    site.world.service.clock.seconds = template.world.service.clock.seconds
    for sink, other in zip(site.sinks, template.sinks, strict=True):
        sink.heard = list(other.heard)
    site.runs = template.runs
    return site


async def test_after_a_death_by_force_the_next_run_without_force_names_no_second_side() -> None:
    """A sink that could not be silenced may name the old side still, whatever was forced."""
    for boundary in count():
        site = await Site.made(targets=("west",))
        hook = site.sinks[1]
        hook.fails = hook.mute = True
        site.reaper.revive(boundary)
        try:
            await site.fail_over(forced=frozenset({"sinks"}))
        except Killed:
            pass
        except BaseExceptionGroup as group:
            if group.split(Killed)[1] is not None:
                raise
        lived = not site.reaper.dead
        site.reaper.revive()
        if lived:
            break
        if site.named == {"east", "west"}:
            continue  # That is what was forced.
        await site.fail_over()
        assert site.named <= {"east"}, f"killed at {boundary}"
    assert boundary > 20


@pytest.mark.parametrize("boundary", range(14))
async def test_killed_while_it_completes_the_map_the_next_run_does_it(boundary: int) -> None:
    site = await Site.made("invoice", "receipt", targets=("west",))
    there = site.world.at("west")["receipt"]
    there["status"] = "failed"
    assert list((await site.fail_over()).missing) == ["receipt"]
    there["status"] = "ready"

    site.reaper.revive(boundary)
    with suppress(Killed, BaseExceptionGroup):
        async with site.context() as context:
            await complete(context)
    site.reaper.revive()
    async with site.context() as context:
        await complete(context)
    await site.commit()

    check(site)
    told = [sink.endpoint() for sink in site.sinks]
    assert [(each.missing, sorted(each.analyzers)) for each in told if each] == [((), ["invoice", "receipt"])] * 2
    assert (await site.side()).missing == ()
    assert "failover.completed" in await site.deeds()
