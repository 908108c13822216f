"""A plan is failed back with the edits of primary and standby."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import httpx
import pytest

from standby.errors import GuardRefused
from standby.fencing import Phase
from standby.recovery.assignments import NotAPrimary, SeveralPrimaries
from standby.recovery.audit import AuditAction, verify_audit
from standby.recovery.context import Stage, Stages
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.failback.divergence import NotCompared, NothingThere, PrimaryDoesNotAnswer
from standby.recovery.failback.failback import (
    FailbackUnderWay,
    UnsettledEdits,
    fail_back,
    hold_progress,
    report_divergence,
)
from standby.recovery.failback.report import Choice, Divergence, DivergenceReport, FailbackReport
from standby.recovery.failover.errors import FailoverUnfinished
from standby.recovery.failover.failover import fail_over
from standby.replication.items import Status
from standby.replication.verdict import Action
from standby.service.errors import NotConnected
from tests.standby.recovery.failback.world import World
from tests.standby.recovery.stages import DirectStages
from tests.standby.replication.world import recovery_plan, refusal

T = TypeVar("T")


async def away(*names: str, trained: bool = False, **plan: Any) -> World:
    """A plan that was failed over to west a while ago."""
    world = World(recovery_plan(**plan))
    for name in names:
        world.create("east", name, trained=trained)
    await world.replicate()
    await world.serve_at("west")
    return world


async def run_failback(
    world: World,
    keep: Mapping[str, Choice] | None = None,
    *,
    run_id: str = "back",
    stages: Stages | None = None,
    primary: str = "",
) -> FailbackReport:
    async with world.context(run_id) as context:
        report = await fail_back(context, primary, stages or DirectStages(), keep=keep)
    world.pass_time()
    return report


async def compared(world: World, keep: Mapping[str, Choice] | None = None) -> DivergenceReport:
    async with world.context() as context:
        report = await report_divergence(context, keep=keep)
    assert report is not None
    return report


async def recorded_actions(world: World) -> list[str]:
    check = await verify_audit(world.vault, world.plan.name, None)
    assert check.problems == ()
    return [line.action for line in check.lines]


async def test_edits_of_the_standby_are_copied_to_the_primary_and_it_serves_again() -> None:
    world = await away("invoice", "receipt")
    world.patch("west", "invoice", "edited at west")
    world.put("west", "receipt", "another at west")
    world.create("west", "form")

    report = await run_failback(world)

    assert (report.state, report.primary, report.standby) == ("failed_back", "east", "west")
    assert world.says("east") == world.says("west")
    assert world.says("east")["invoice"] == "edited at west"
    side = await world.active()
    assert (side.active, side.phase) == ("east", Phase.STEADY)
    assert (report.problems, report.next_action) == ((), "")
    assert report.sync is not None
    assert report.sync.totals[Status.SUCCEEDED] == 3


async def test_edits_of_the_primary_stay_and_are_copied_to_the_standby() -> None:
    world = await away("invoice", "receipt")
    world.put("east", "invoice", "another at east")
    world.create("east", "form")
    world.delete("west", "receipt")

    report = await run_failback(world)

    assert report.state == "failed_back"
    assert world.says("west") == world.says("east")
    assert world.says("east")["invoice"] == "another at east"


async def test_it_compares_before_it_does_anything() -> None:
    world = await away("same", "here", "there", "gone-here", "gone-there", exclude=["other*"])
    world.patch("east", "here", "edited at east")
    world.patch("west", "there", "edited at west")
    world.delete("east", "gone-here")
    world.delete("west", "gone-there")
    world.create("west", "new-there")
    world.create("east", "new-here")
    world.create("west", "other-app")
    before = (world.says("east"), world.says("west"), dict(world.vault.files))

    report = await compared(world)

    told = {item.analyzer: (item.divergence, item.keep) for item in report.items}
    assert told == {
        "same": (Divergence.IN_SYNC, "home"),
        "here": (Divergence.EDITED_AT_PRIMARY, "home"),
        "there": (Divergence.EDITED_AT_STANDBY, "standby"),
        "gone-here": (Divergence.DELETED_AT_PRIMARY, "standby"),
        "gone-there": (Divergence.DELETED_AT_STANDBY, "home"),
        "new-here": (Divergence.NEW_AT_PRIMARY, "home"),
        "new-there": (Divergence.NEW_AT_STANDBY, "standby"),
    }
    assert report.outside == ("other-app",)
    assert report.totals[Divergence.IN_SYNC] == 1
    assert {item.analyzer: item.differences for item in report.items if item.differences} == {
        "here": ("$.description",),
        "there": ("$.description",),
    }
    assert (world.says("east"), world.says("west"), world.vault.files) == before


async def test_what_was_edited_at_both_has_to_be_decided_first() -> None:
    world = await away("invoice", "receipt")
    for where in ("east", "west"):
        world.patch(where, "invoice", f"edited at {where}")
    world.patch("west", "receipt", "edited at west")

    with pytest.raises(UnsettledEdits, match="have different versions of invoice, and nobody has decided") as caught:
        await run_failback(world)

    assert isinstance(caught.value, GuardRefused)
    assert "--keep invoice=primary or --keep invoice=standby" in caught.value.next_action
    assert (await world.active()).active == "west"
    assert world.says("east")["receipt"] == "what receipt is"


async def test_an_analyzer_that_was_never_copied_and_differs_has_to_be_decided_too() -> None:
    world = await away()
    for where in ("east", "west"):
        world.create(where, "invoice", description=f"made at {where}")

    with pytest.raises(UnsettledEdits):
        await run_failback(world)


@pytest.mark.parametrize(("kept", "where", "other"), [("home", "east", "west"), ("standby", "west", "east")])
async def test_whose_goes_on_is_said_and_the_other_one_is_kept_in_the_vault(
    kept: Choice, where: str, other: str
) -> None:
    world = await away("invoice")
    for side in ("east", "west"):
        world.put(side, "invoice", f"edited at {side}")

    report = await run_failback(world, {"invoice": kept})

    assert report.state == "failed_back"
    assert world.says("east") == world.says("west") == {"invoice": f"edited at {where}"}
    assert [each["description"] for each in world.kept()] == [f"edited at {other}"]


async def test_the_primary_s_may_also_be_kept_where_only_the_standby_was_edited() -> None:
    world = await away("invoice", "gone")
    world.patch("west", "invoice", "a mistake")
    world.delete("east", "gone")
    world.create("west", "new")

    report = await run_failback(world, {"invoice": "home", "gone": "home", "new": "home"})

    assert report.state == "failed_back"
    assert world.says("east") == {"invoice": "what invoice is"}
    assert world.says("west").keys() == {"invoice", "gone", "new"}
    assert world.says("west")["invoice"] == "what invoice is"


async def test_the_standby_may_overwrite_what_only_the_primary_edited() -> None:
    world = await away("invoice")
    world.patch("east", "invoice", "a mistake")

    await run_failback(world, {"invoice": "standby"})

    assert world.says("east") == {"invoice": "what invoice is"}
    assert [each["description"] for each in world.kept()] == ["a mistake"]


async def test_a_parent_is_copied_though_its_child_stays_as_the_primary_has_it() -> None:
    world = World()
    world.create("east", "child")
    world.create("east", "parent", "child")
    await world.replicate()
    await world.serve_at("west")
    world.patch("west", "parent", "edited at west")
    world.patch("east", "child", "edited at east")

    report = await run_failback(world)

    assert report.state == "failed_back"
    assert (
        world.says("east")
        == world.says("west")
        == {
            "parent": "edited at west",
            "child": "edited at east",
        }
    )


async def test_who_is_to_be_kept_must_be_there() -> None:
    world = await away("invoice")
    world.delete("west", "invoice")

    with pytest.raises(NotCompared, match="an analyzer invoize"):
        await compared(world, {"invoize": "home"})
    with pytest.raises(NothingThere, match="west has no invoice"):
        await compared(world, {"invoice": "standby"})


async def test_a_second_one_right_away_does_nothing() -> None:
    world = await away("invoice")
    world.patch("west", "invoice", "edited")
    await run_failback(world)
    calls, log = len(world.service.calls), await recorded_actions(world)

    report = await run_failback(world)

    assert (report.state, report.sync, report.failover) == ("at_home", None, None)
    assert (len(world.service.calls), await recorded_actions(world)) == (calls, log)
    async with world.context() as context:
        assert await report_divergence(context) is None


async def test_the_next_scheduled_run_copies_nothing_back() -> None:
    world = await away("invoice", "receipt", trained=True)
    world.retrain("west", "invoice")
    world.retrain("east", "receipt")
    await run_failback(world)
    accepted = dict(world.service.accepted)

    report = await world.replicate()

    assert {item.action for item in report.items} == {Action.SKIP}
    assert world.service.accepted == accepted
    assert accepted == {
        ("west", "invoice"): 1,
        ("west", "receipt"): 2,
        ("east", "invoice"): 1,
    }


async def test_a_region_that_was_built_anew_gets_everything_back() -> None:
    world = await away("invoice", "receipt", target_id="{id}-dr")
    world.at("east").clear()
    world.patch("west", "invoice-dr", "edited")

    report = await run_failback(world)

    assert report.state == "failed_back"
    assert world.says("east") == {"invoice": "edited", "receipt": "what receipt is"}
    assert world.says("west").keys() == {"invoice-dr", "receipt-dr"}


async def test_a_primary_that_lacks_a_model_is_not_switched_to() -> None:
    world = await away("invoice")
    world.at("east").clear()
    world.service.region("east").defaults = None

    report = await run_failback(world)

    assert report.state == "refused"
    assert "invoice blocked: east has no defaults, so model gpt-4.1 leads to no deployment" in report.problems[0]
    assert "--keep invoice=primary" in report.next_action
    assert (await world.active()).active == "west"
    assert report.failover is None


async def test_a_copy_that_fails_leaves_the_standby_serving_and_the_next_run_goes_on() -> None:
    world = await away("invoice", "receipt")
    world.patch("west", "invoice", "edited")
    world.patch("west", "receipt", "edited")
    world.service.intervene = lambda when, request: (
        refusal(403, "Forbidden", "Denied", "No.")
        if when == "before" and request.url.path.endswith("receipt:copy")
        else None
    )
    failed = await run_failback(world)
    world.service.intervene = lambda _when, _request: None

    report = await run_failback(world)

    assert (failed.state, failed.failover) == ("incomplete", None)
    assert failed.problems[0].startswith("receipt failed")
    assert report.state == "failed_back"
    assert world.says("east") == {"invoice": "edited", "receipt": "edited"}
    assert world.service.accepted["east", "invoice"] == 1


async def test_what_an_earlier_run_was_told_to_keep_counts_only_while_it_is_there() -> None:
    world = await away("invoice", "receipt")
    for where in ("east", "west"):
        world.patch(where, "invoice", f"edited at {where}")
    world.service.intervene = lambda when, request: (
        refusal(403, "Forbidden", "Forbidden", "No.") if request.url.path.endswith(":copy") else None
    )
    assert (await run_failback(world, {"invoice": "standby"})).state == "incomplete"
    world.service.intervene = lambda _when, _request: None
    world.delete("west", "invoice")

    report = await run_failback(world)

    assert report.state == "failed_back"
    assert world.says("east")["invoice"] == "edited at east"


async def test_nothing_is_copied_to_a_primary_that_does_not_answer() -> None:
    world = await away("invoice")
    world.service.intervene = lambda when, request: (
        refusal(403, "Forbidden", "Denied", "No.") if when == "before" and request.url.host.startswith("east") else None
    )

    with pytest.raises(PrimaryDoesNotAnswer) as caught:
        await run_failback(world)

    assert isinstance(caught.value, GuardRefused)
    assert (await world.active()).active == "west"


async def test_a_standby_that_goes_down_after_the_switch_costs_nothing_but_its_update() -> None:
    world = await away("invoice", "receipt")
    world.patch("west", "invoice", "edited at west")
    world.patch("east", "receipt", "edited at east")

    class Outage(DirectStages):
        async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:
            if name == "copy east to west":
                raise NotConnected("west does not answer", resource="west")
            return await work()

    report = await run_failback(world, stages=Outage())
    again = await run_failback(world)

    assert report.state == again.state == "failed_back"
    assert "west could not be updated" in report.problems[0]
    assert "standby failback invoices again" in report.next_action
    assert (again.failover, again.problems) == (None, ())
    assert world.says("west") == {"invoice": "edited at west", "receipt": "edited at east"}


async def test_an_edit_in_the_last_moment_comes_along() -> None:
    world = await away("invoice")

    class LateEdit(DirectStages):
        async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:
            if name == "last sync":
                world.patch("west", "invoice", "edited late")
            return await work()

    report = await run_failback(world, stages=LateEdit())

    assert report.state == "failed_back"
    assert world.says("east") == {"invoice": "edited late"}
    assert report.sync is not None
    assert report.sync.totals[Status.SUCCEEDED] == 1


async def test_a_conflict_in_the_last_moment_leaves_the_standby_serving() -> None:
    world = await away("invoice")

    class LateEdit(DirectStages):
        async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:
            if name == "last sync":
                world.patch("west", "invoice", "edited late at west")
                world.patch("east", "invoice", "edited late at east")
            return await work()

    report = await run_failback(world, stages=LateEdit())

    assert report.state == "incomplete"
    assert report.failover is not None
    assert report.failover.state == "rolled_back"
    side = await world.active()
    assert (side.active, side.phase) == ("west", Phase.STEADY)
    assert world.says("east") == {"invoice": "edited late at east"}
    assert any("have different versions of invoice, and nobody has decided" in each for each in report.problems)


async def test_it_says_what_it_did_in_the_audit_log() -> None:
    world = await away("invoice")
    world.patch("west", "invoice", "edited")

    await run_failback(world)

    assert await recorded_actions(world) == [
        AuditAction.FAILBACK_BEGUN,
        AuditAction.FENCED,
        AuditAction.ACTIVATED,
        AuditAction.COMMITTED,
        AuditAction.FAILBACK_ENDED,
    ]


async def test_a_failover_that_has_not_ended_goes_first() -> None:
    world = World()
    await world.serve_at("east", phase=Phase.SWITCHING, target="west", run_id="over")

    with pytest.raises(FailoverUnfinished):
        await run_failback(world)


async def test_two_at_once_do_not_get_into_each_others_way() -> None:
    world = await away("invoice")

    async with world.context() as context, hold_progress(context, "east"):
        with pytest.raises(FailbackUnderWay):
            await run_failback(world)


async def test_a_switch_back_that_was_made_by_hand_is_finished() -> None:
    world = await away("invoice", "receipt")
    world.patch("west", "invoice", "edited at west")
    async with world.context("hand") as context:
        order = FailoverRequest(primary="east", to="east", planned=True)
        assert (await fail_over(context, order, DirectStages())).state == "activated"
    world.patch("east", "receipt", "edited at east")

    report = await run_failback(world)

    assert (report.state, report.failover) == ("failed_back", None)
    assert (await world.active()).phase is Phase.STEADY
    assert (
        world.says("east")
        == world.says("west")
        == {
            "invoice": "edited at west",
            "receipt": "edited at east",
        }
    )


async def test_which_primary_is_meant_is_asked_where_it_is_not_clear() -> None:
    pairs = [{"source": "east", "targets": ["west"]}, {"source": "north", "targets": ["south"]}]
    world = World(recovery_plan(pairs=pairs))
    with pytest.raises(SeveralPrimaries, match="east, north"):
        await run_failback(world)
    with pytest.raises(NotAPrimary):
        await run_failback(world, primary="west")
    await world.serve_at("south", primary="north")

    assert (await run_failback(world)).primary == "north"


async def test_cancelled_anywhere_it_goes_on_and_loses_nothing() -> None:
    """The run is cancelled before each of its calls to the service, in turn."""
    for number in range(1, 200):
        world = await away("invoice", "receipt", "both")
        world.create("west", "form", trained=True)
        world.patch("west", "invoice", "edited at west")
        world.put("east", "receipt", "another at east")
        world.put("west", "both", "both at west")
        world.put("east", "both", "both at east")
        calls = len(world.service.calls)
        running = asyncio.ensure_future(run_failback(world, {"both": "standby"}, run_id="first"))
        world.service.intervene = partial(cut, world, running, calls + number)
        with suppress(asyncio.CancelledError):
            await running
        world.service.intervene = lambda _when, _request: None
        world.service.settle()
        if len(world.service.calls) < calls + number:
            assert number > 20
            return

        report = await run_failback(world, {} if is_begun(world) else {"both": "standby"}, run_id="second")

        assert report.state in {"failed_back", "at_home"}, (number, report.problems)
        expected = {
            "invoice": "edited at west",
            "receipt": "another at east",
            "both": "both at west",
            "form": "what form is",
        }
        assert world.says("east") == world.says("west") == expected, number
        assert "both at east" in {each["description"] for each in world.kept()}
        side = await world.active()
        assert (side.active, side.phase) == ("east", Phase.STEADY), number
        assert {item.action for item in (await world.replicate()).items} == {Action.SKIP}, number
    pytest.fail("it never came to its end")


def cut(world: World, running: asyncio.Future[FailbackReport], last: int, when: str, _request: httpx.Request) -> None:
    if when == "before" and len(world.service.calls) == last:
        running.cancel()


def is_begun(world: World) -> bool:
    """Whether what was said about conflicts is in the vault."""
    return bool(world.vault.files.get("recovery/invoices/failback-east.json"))
