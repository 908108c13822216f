"""A switch as it should go, and each way in which it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from standby.fencing import FailoverUnderWay, Fenced, Phase, hold_fence
from standby.recovery.activation.sinks import SinkAhead, SinkFailed
from standby.recovery.assignments import AlreadyActive, NotATarget
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.failover.errors import FailoverUnfinished, NothingToRollBack
from standby.recovery.failover.failover import fail_over
from standby.replication.ledger import write_ledger
from standby.replication.report import Report
from tests.standby.recovery.failover.world import Site
from tests.standby.recovery.stages import DirectStages
from tests.standby.replication.world import RELEASED


async def test_an_unplanned_switch_names_the_target_to_every_sink_and_asks_the_source_nothing() -> None:
    site = await Site.made("invoice", "receipt")
    asked = site.calls_to("east")
    site.dark = {"east"}
    report = await site.fail_over(reason="the region is dark")
    assert (report.state, report.serving, report.epoch, report.problems) == ("activated", "west", 1, ())
    assert [(sink.status, sink.published) for sink in report.sinks] == [("told", "west")] * 2
    assert site.calls_to("east") == asked
    side = await site.side()
    assert (side.active, side.phase, side.previous) == ("west", Phase.ACTIVATED, "east")
    endpoint = site.sinks[0].endpoint()
    assert endpoint is not None
    assert endpoint.analyzers == {"invoice": "invoice", "receipt": "receipt"}
    assert endpoint.endpoint == "https://west.services.ai.azure.com"
    assert await site.deeds() == ["failover.fenced", "failover.activated"]
    assert "standby commit invoices" in report.next_action


async def test_every_sink_is_told_that_nobody_serves_before_any_is_told_who_does() -> None:
    site = await Site.made()
    await site.fail_over()
    assert [activation.sources["east"] is None for activation in site.sinks[0].heard] == [False, True, False]
    assert [activation.epoch for activation in site.sinks[1].heard] == [0, 1, 1]
    assert all(len(named) <= 1 for named in site.seen)


async def test_a_planned_switch_takes_along_what_was_edited_since_the_last_copy() -> None:
    site = await Site.made()
    site.world.patch("east", "invoice", "edited")
    site.world.create("east", "receipt")
    report = await site.fail_over(planned=True)
    assert report.state == "activated"
    assert site.world.says("west") == site.world.says("east")
    assert site.sinks[0].endpoint().analyzers.keys() == {"invoice", "receipt"}  # type: ignore[union-attr]
    assert [phase.outcome for phase in report.phases] == ["done"] * len(report.phases)


async def test_what_is_edited_between_the_last_sync_and_the_silence_goes_along_too() -> None:
    site = await Site.made()

    def edit() -> None:
        if site.named == {"east"} or site.sinks[0].side is not None:
            return
        if site.world.at("east")["invoice"]["description"] != "at the last moment":
            site.world.patch("east", "invoice", "at the last moment")

    for sink in site.sinks:
        sink.on_change = edit
    report = await site.fail_over(planned=True)
    assert report.state == "activated"
    assert site.world.says("west") == {"invoice": "at the last moment"}


async def test_a_sync_that_leaves_something_behind_is_undone_and_nobody_was_told_anything() -> None:
    site = await Site.made()
    site.world.create("west", "receipt", description="their own")
    site.world.create("east", "receipt")
    report = await site.fail_over(planned=True)
    assert (report.state, report.serving) == ("rolled_back", "east")
    assert "receipt" in report.problems[0]
    assert "--force sync" in report.next_action
    assert [len(sink.heard) for sink in site.sinks] == [1, 1]
    side = await site.side()
    assert (side.active, side.phase) == ("east", Phase.STEADY)
    assert (await site.deeds())[-1] == "failover.rolled_back"


async def test_by_force_it_leaves_that_behind_and_says_so() -> None:
    site = await Site.made()
    site.world.create("west", "receipt", description="their own")
    site.world.create("east", "receipt")
    forced = frozenset({"sync", "readiness"})
    report = await site.fail_over(planned=True, forced=forced)
    assert (report.state, report.serving) == ("activated", "west")
    assert report.forced == ("readiness", "sync")
    assert any(problem.startswith("Passed by force: The last sync") for problem in report.problems)


async def test_a_planned_switch_from_a_source_that_is_dark_is_undone() -> None:
    site = await Site.made()
    site.dark = {"east"}
    report = await site.fail_over(planned=True)
    assert (report.state, report.serving) == ("rolled_back", "east")


async def test_a_target_that_is_not_ready_is_not_switched_to() -> None:
    site = await Site.made("invoice", "receipt", failover={"missing": "refuse"})
    site.world.delete("west", "receipt")
    report = await site.fail_over()
    assert (report.state, report.serving) == ("rolled_back", "east")
    assert any("receipt" in problem for problem in report.problems)
    assert site.named == {"east"}
    forced = await site.fail_over(forced=frozenset({"readiness"}))
    assert (forced.state, forced.serving, forced.forced) == ("activated", "west", ("readiness",))
    assert list(forced.missing) == ["receipt"]


async def test_a_target_that_is_dark_is_not_switched_to() -> None:
    site = await Site.made()
    site.dark = {"east", "west"}
    report = await site.fail_over()
    assert (report.state, report.serving) == ("rolled_back", "east")
    assert site.named == {"east"}


async def test_a_sink_that_fails_before_the_target_was_named_undoes_the_switch() -> None:
    site = await Site.made()
    site.sinks[1].fails = site.sinks[1].mute = True
    report = await site.fail_over()
    # The other one, which was told that nobody serves, names the old side again. One is still to be told.
    assert (report.state, report.serving) == ("fenced", "east")
    assert site.named == {"east"}
    assert "hook" in report.problems[0]
    site.sinks[1].fails = False
    again = await site.roll_back()
    assert (again.state, again.serving) == ("rolled_back", "east")
    assert [sink.side for sink in site.sinks] == ["east", "east"]
    assert (await site.side()).phase is Phase.STEADY


async def test_a_sink_that_fails_once_undoes_the_switch_wholly() -> None:
    site = await Site.made()
    hook = site.sinks[1]
    hook.mute = True

    def stumble() -> None:
        hook.fails = site.sinks[0].side is None

    site.sinks[0].on_change = stumble
    report = await site.fail_over()
    assert (report.state, report.serving, report.epoch) == ("rolled_back", "east", 2)
    assert [sink.side for sink in site.sinks] == ["east", "east"]
    site.sinks[0].on_change = lambda: None
    assert (await site.fail_over()).state == "activated"


async def test_a_sink_that_fails_while_others_name_the_target_is_told_by_running_again() -> None:
    site = await Site.made()
    first, hook = site.sinks
    hook.mute = True

    def stumble() -> None:
        hook.fails = first.side == "west"

    # The first one is told first, and then the other one is out.
    hook.on_change = first.on_change = stumble
    site.sinks = [first, hook]
    report = await site.fail_over()
    assert (report.state, report.serving) == ("fenced", "east")
    assert [sink.status for sink in report.sinks] == ["told", "failed"]
    assert "standby failover invoices --to west" in report.next_action
    assert (first.side, hook.side) == ("west", None)
    hook.fails = False
    hook.on_change = first.on_change = lambda: None
    heard = len(first.heard)
    again = await site.fail_over()
    assert (again.state, again.serving) == ("activated", "west")
    # Nobody was told again that nobody serves.
    assert all(activation.sources["east"] is not None for activation in first.heard[heard:])


async def test_by_force_it_goes_on_without_a_sink_and_commit_tells_it_later() -> None:
    site = await Site.made()
    site.sinks[1].fails = True
    report = await site.fail_over(forced=frozenset({"sinks"}))
    assert (report.state, report.serving) == ("activated", "west")
    assert [sink.status for sink in report.sinks] == ["told", "failed"]
    assert any("hook" in problem for problem in report.problems)
    assert "standby commit" in report.next_action
    site.sinks[1].fails = False
    committed = await site.commit()
    assert committed.committed == {"east": "west"}
    assert [sink.status for sink in committed.sinks] == ["told", "told"]
    assert [sink.side for sink in site.sinks] == ["west", "west"]


async def test_a_sink_that_cannot_be_read_beforehand_stops_it_before_anything_is_done() -> None:
    site = await Site.made()
    site.sinks[1].fails = True
    with pytest.raises(SinkFailed):
        await site.fail_over()
    assert (await site.fence()).epoch == 0
    assert await site.deeds() == []


async def test_a_sink_that_was_told_a_higher_epoch_stops_it_before_anything_is_done() -> None:
    site = await Site.made()
    await site.fail_over()
    site.vault.files.clear()  # Another vault, or none of it left.
    with pytest.raises(SinkAhead):
        await site.fail_over()
    assert (await site.fence()).epoch == 0
    report = await site.fail_over(forced=frozenset({"sinks", "readiness"}))
    assert (report.state, report.serving, report.epoch) == ("activated", "west", 2)


async def test_what_serves_already_is_not_switched_to() -> None:
    site = await Site.made()
    with pytest.raises(AlreadyActive):
        await site.fail_over("east")
    await site.fail_over()
    with pytest.raises(AlreadyActive, match="west already serves for east"):
        await site.fail_over()


async def test_a_resource_that_is_no_target_is_refused() -> None:
    site = await Site.made(targets=("west",))
    with pytest.raises(NotATarget, match="north is not a target of east"):
        await site.fail_over("north")


async def test_one_switch_at_a_time() -> None:
    site = await Site.made()
    async with hold_fence(site.vault, site.world.plan):
        with pytest.raises(FailoverUnderWay):
            await site.fail_over()


async def test_a_switch_that_was_interrupted_is_ended_before_another_begins() -> None:
    site = await Site.made()
    site.sinks[1].fails = site.sinks[1].mute = True
    await site.fail_over()
    with pytest.raises(FailoverUnfinished, match="standby failover invoices --to east"):
        await site.fail_over("north")
    with pytest.raises(FailoverUnfinished):
        await site.commit()


async def test_a_rollback_names_the_old_side_again_under_a_higher_epoch() -> None:
    site = await Site.made()
    await site.fail_over()
    site.dark = set()
    report = await site.roll_back(reason="it was a false alarm")
    assert (report.mode, report.state, report.serving, report.epoch) == ("rollback", "rolled_back", "east", 2)
    assert [sink.side for sink in site.sinks] == ["east", "east"]
    assert site.sinks[0].endpoint().analyzers == {"invoice": "invoice"}  # type: ignore[union-attr]
    assert all(len(named) <= 1 for named in site.seen)
    side = await site.side()
    assert (side.active, side.phase, side.previous) == ("east", Phase.STEADY, None)
    assert (await site.deeds())[-2:] == ["failover.fenced", "failover.rolled_back"]


async def test_what_was_committed_is_not_rolled_back() -> None:
    site = await Site.made()
    with pytest.raises(NothingToRollBack):
        await site.roll_back()
    await site.fail_over()
    await site.commit()
    with pytest.raises(NothingToRollBack, match="standby failback"):
        await site.roll_back()
    assert (await site.side()).phase is Phase.STEADY
    assert (await site.deeds())[-1] == "failover.committed"


async def test_while_the_epoch_says_west_nothing_is_replicated_to_it() -> None:
    site = await Site.made()
    await site.fail_over()
    with pytest.raises(Fenced, match=r"failed over to west \(epoch 1\)"):
        await site.world.replicate()
    await site.commit()
    with pytest.raises(Fenced):
        await site.world.replicate()


async def test_from_one_standby_to_the_next_one() -> None:
    site = await Site.made()
    await site.fail_over()
    site.dark = {"east", "west"}
    report = await site.fail_over("north")
    assert (report.state, report.from_resource, report.serving) == ("activated", "west", "north")
    assert site.named == {"north"}
    assert all(len(named) <= 1 for named in site.seen)
    back = await site.roll_back()
    assert (back.serving, site.named) == ("west", {"west"})
    assert site.sinks[0].endpoint().analyzers == {"invoice": "invoice"}  # type: ignore[union-attr]


async def test_a_replication_that_began_earlier_is_waited_for() -> None:
    site = await Site.made()
    async with site.context() as context:
        order = FailoverRequest(primary="east", to="west", planned=False)
        ready = asyncio.Event()

        async def replicate() -> None:
            async with write_ledger(site.vault, "east", "west", RELEASED):
                ready.set()
                while not context.clock.waits:  # type: ignore[attr-defined]
                    await asyncio.sleep(0)

        running = asyncio.create_task(replicate())
        await ready.wait()
        report = await fail_over(context, order, DirectStages())
        await running
    assert report.state == "activated"
    assert context.clock.waits  # type: ignore[attr-defined]


async def test_a_replication_that_does_not_end_undoes_the_switch_unless_that_is_forced() -> None:
    site = await Site.made()
    async with write_ledger(site.vault, "east", "west", RELEASED):
        report = await site.fail_over()
        assert (report.state, report.serving) == ("rolled_back", "east")
        assert "from east to west" in report.problems[0]
        assert "--force replication" in report.next_action
        forced = await site.fail_over(forced=frozenset({"replication"}))
        assert (forced.state, forced.serving) == ("activated", "west")


async def test_a_sink_that_is_written_by_somebody_else_meanwhile_is_noticed() -> None:
    site = await Site.made()
    sink = site.sinks[0]

    def overwrite() -> None:
        if sink.side == "west":
            sink.heard.append(sink.heard[0].model_copy(update={"epoch": 9}))

    site.sinks[1].on_change = overwrite
    sink.on_change = overwrite
    report = await site.fail_over()
    assert (report.state, report.serving) == ("fenced", "east")
    assert "does not hold the map that was just published, but epoch 9" in report.problems[-1]


async def test_a_target_that_falls_silent_at_the_last_moment_is_told_and_serves_all_the_same() -> None:
    site = await Site.made()

    def fall() -> None:
        if site.named == {"west"}:
            site.dark = {"east", "west"}

    site.sinks[0].on_change = fall
    report = await site.fail_over()
    assert (report.state, report.serving) == ("activated", "west")
    assert any("west is not ready" in problem for problem in report.problems)


@pytest.mark.parametrize("path", ["recovery/invoices/switch", "recovery/invoices/fence", "audit/"])
async def test_a_vault_that_fails_leaves_a_report_or_an_error_and_never_two_sides(path: str) -> None:
    site = await Site.made()

    def fail() -> None:
        site.vault.out = (path,)

    site.sinks[0].on_change = fail
    report = await site.fail_over()
    assert (report.state, report.serving) == {
        "audit/": ("activated", "west"),
    }.get(path, ("fenced", "east"))
    assert any("it is full" in problem for problem in report.problems)
    assert len(site.named) <= 1
    site.vault.out = ()
    site.sinks[0].on_change = lambda: None
    if report.state == "fenced":
        assert (await site.fail_over()).serving == "west"
    await site.commit()
    assert site.named == {"west"}
    assert (await site.deeds()).count("failover.activated") == 1


async def test_a_cancellation_leaves_a_report_and_the_next_run_goes_on() -> None:
    site = await Site.made()
    running: asyncio.Task[Any] | None = None

    def cancel() -> None:
        if site.sinks[0].side is None:
            assert running is not None
            running.cancel()

    site.sinks[0].on_change = cancel
    running = asyncio.create_task(site.fail_over())
    report = await running
    assert (report.state, report.serving, report.interrupted) == ("fenced", "east", True)
    assert "Resume it with standby failover invoices --to west" in report.next_action
    site.sinks[0].on_change = lambda: None
    again = await site.fail_over()
    assert (again.state, again.serving) == ("activated", "west")


async def test_a_sync_of_the_callers_own_is_used() -> None:
    site = await Site.made()
    asked = []
    async with site.context() as context:

        async def sync(_context: Any, source: str, target: str, /) -> Report:
            asked.append((source, target))
            return Report.model_validate(
                {
                    "plan": "invoices",
                    "run_id": "r",
                    "via": "direct",
                    "seconds": 0,
                    "totals": {},
                    "objectives": {"rpo_seconds": None, "missed": []},
                    "items": [],
                }
            )

        order = FailoverRequest(primary="east", to="west", planned=True)
        report = await fail_over(context, order, DirectStages(), sync=sync)
    assert report.state == "activated"
    # Once while the source serves, and once when nobody does.
    assert asked == [("east", "west")] * 2


@pytest.mark.parametrize("content", [None, b"{", b"{}"])
@pytest.mark.parametrize("to", ["west", "east"])
async def test_where_the_record_of_a_switch_is_lost_every_sink_is_silenced_first(
    content: bytes | None, to: str
) -> None:
    site = await Site.made()
    first, hook = site.sinks
    hook.mute = True

    def stumble() -> None:
        hook.fails = first.side == "west"

    first.on_change = hook.on_change = stumble
    assert (await site.fail_over()).state == "fenced"
    hook.fails = False
    first.on_change = hook.on_change = lambda: site.seen.append(site.named)
    del site.vault.files["recovery/invoices/switch.json"]
    if content is not None:
        site.vault.files["recovery/invoices/switch.json"] = content
    report = await (site.fail_over() if to == "west" else site.roll_back())
    assert report.serving == to
    assert [sink.side for sink in site.sinks] == [to, to]
    assert all(len(named) <= 1 for named in site.seen)
    assert first.heard[-2].sources["east"] is None


async def test_a_switch_that_nobody_was_told_of_leaves_the_side_as_it_was() -> None:
    site = await Site.made("invoice", "receipt", failover={"missing": "refuse"})
    site.world.delete("west", "receipt")
    before = await site.side()
    assert (await site.fail_over()).state == "rolled_back"
    # Otherwise the cool-down would keep an outage from being answered once west is ready.
    assert await site.side() == before


async def test_a_switch_that_was_undone_after_sinks_were_told_counts_for_the_cool_down() -> None:
    site = await Site.made()
    hook = site.sinks[1]
    hook.mute = True

    def stumble() -> None:
        hook.fails = site.sinks[0].side is None

    site.sinks[0].on_change = stumble
    assert (await site.fail_over()).state == "rolled_back"
    assert (await site.side()).since is not None


async def test_a_commit_does_not_change_since_when_a_side_serves() -> None:
    site = await Site.made()
    await site.fail_over()
    since = (await site.side()).since
    site.world.pass_time(3600)
    await site.commit()
    side = await site.side()
    assert (side.phase, side.since) == (Phase.STEADY, since)
    assert since is not None


async def test_what_is_created_at_the_last_moment_is_told_with_its_id_at_the_target() -> None:
    site = await Site.made(target_id="{id}-dr")

    def create() -> None:
        if site.sinks[0].side is None and "late" not in site.world.at("east"):
            site.world.create("east", "late")

    for sink in site.sinks:
        sink.on_change = create
    report = await site.fail_over(planned=True)
    assert report.state == "activated"
    assert set(site.world.at("west")) == {"invoice-dr", "late-dr"}
    endpoint = site.sinks[0].endpoint()
    assert endpoint is not None
    assert endpoint.analyzers == {"invoice": "invoice-dr", "late": "late-dr"}


async def test_what_an_earlier_run_found_ready_is_looked_at_again_before_it_is_named() -> None:
    site = await Site.made(targets=("west",))
    stopping: asyncio.Task[object] | None = None

    def stop() -> None:
        assert stopping is not None
        stopping.cancel()

    site.sinks[0].on_change = stop
    stopping = asyncio.create_task(site.fail_over())
    await asyncio.wait({stopping})
    assert (await site.side()).phase is Phase.SWITCHING
    site.sinks[0].on_change = lambda: None
    site.world.delete("west", "invoice")
    report = await site.fail_over()
    assert (report.state, report.serving) == ("rolled_back", "east")
    assert any("invoice" in problem for problem in report.problems)
    assert site.named == {"east"}
