"""One replication run inside a switch, in both directions of a pair and between two standbys."""

from __future__ import annotations

import pytest

from standby.fencing import Fenced, Phase
from standby.recovery.sync import PATIENCE, NoPairBetween, synchronise
from standby.replication.errors import LedgerBusy
from standby.replication.items import Status
from standby.replication.ledger import write_ledger
from standby.replication.report import Report
from standby.replication.verdict import Action, Verdict
from tests.standby.recovery.failback.world import RUN, World
from tests.standby.replication.world import RELEASED, recorded, recovery_plan


async def sync(world: World, source: str, target: str, run_id: str = RUN) -> Report:
    async with world.context(run_id) as context:
        report = await synchronise(context, source, target)
    world.pass_time()
    return report


def told(report: Report) -> dict[str, tuple[str, Status]]:
    return {item.analyzer: (item.target_analyzer, item.status) for item in report.items}


async def test_a_planned_switch_takes_along_what_the_source_has_since() -> None:
    world = World()
    world.create("east", "invoice")
    world.create("east", "receipt")
    await world.replicate()
    world.patch("east", "invoice", "edited")
    world.create("east", "contract")
    await world.serve_at("east", phase=Phase.SWITCHING, target="west", run_id=RUN)

    report = await sync(world, "east", "west")

    assert report.complete
    assert (report.run_id, report.via) == (RUN, "direct")
    assert world.says("west") == world.says("east")
    assert [kept["description"] for kept in world.kept()] == ["what invoice is"]


async def test_it_never_overwrites_what_was_not_copied_from_the_source() -> None:
    world = World()
    world.create("east", "invoice")
    world.create("west", "invoice", description="their own")

    report = await sync(world, "east", "west")

    assert told(report) == {"invoice": ("invoice", Status.REFUSED)}
    assert world.says("west") == {"invoice": "their own"}


async def test_another_switch_under_way_keeps_it_out() -> None:
    world = World()
    world.create("east", "invoice")
    await world.serve_at("east", phase=Phase.SWITCHING, target="west", run_id="somebody else's")

    with pytest.raises(Fenced):
        await sync(world, "east", "west")

    assert world.says("west") == {}


async def test_nothing_is_copied_from_a_resource_that_does_not_serve() -> None:
    world = World()
    world.create("east", "invoice")
    await world.serve_at("west")

    with pytest.raises(Fenced):
        await sync(world, "east", "west")


async def test_a_resource_that_is_no_resource_of_the_plan_is_refused() -> None:
    world = World(recovery_plan(targets=("west", "north")))

    with pytest.raises(NoPairBetween, match="north serves for no primary that west could serve for"):
        await sync(world, "north", "west")


async def test_edits_of_a_standby_are_copied_to_the_primary_with_what_was_made_there() -> None:
    world = World()
    world.create("east", "invoice")
    world.create("east", "receipt")
    await world.replicate()
    await world.serve_at("west")
    world.patch("west", "invoice", "edited at west")
    world.create("west", "form")
    world.create("west", "folder", "form")

    report = await sync(world, "west", "east")

    assert report.complete
    assert world.says("east") == world.says("west")
    assert {item.analyzer: item.verdict for item in report.items} == {
        "invoice": Verdict.SOURCE_AHEAD,
        "receipt": Verdict.IN_SYNC,
        "form": Verdict.MISSING,
        "folder": Verdict.MISSING,
    }


async def test_copies_get_their_own_ids_again() -> None:
    world = World(recovery_plan(target_id="{id}-dr"))
    world.create("east", "invoice")
    world.create("east", "router", "invoice")
    await world.replicate()
    assert world.says("west").keys() == {"invoice", "router-dr"}
    await world.serve_at("west")
    world.patch("west", "router-dr", "edited")
    world.patch("west", "invoice", "edited, too")

    report = await sync(world, "west", "east")

    assert told(report) == {
        "invoice": ("invoice", Status.SUCCEEDED),
        "router-dr": ("router", Status.SUCCEEDED),
    }
    assert world.says("east") == {"invoice": "edited, too", "router": "edited"}


async def test_the_newest_version_is_copied_to_the_primary_and_not_the_ones_that_it_superseded() -> None:
    world = World(recovery_plan(on_existing="version"))
    world.create("east", "invoice")
    await world.replicate()
    world.patch("east", "invoice", "second")
    await world.replicate()
    assert world.says("west") == {"invoice": "what invoice is", "invoice_v2": "second"}
    await world.serve_at("west")
    world.patch("west", "invoice_v2", "third")

    report = await sync(world, "west", "east")

    assert told(report) == {"invoice_v2": ("invoice", Status.SUCCEEDED)}
    assert world.says("east") == {"invoice": "third"}


async def test_a_primary_that_is_empty_gets_all_of_it_under_the_old_ids() -> None:
    world = World(recovery_plan(target_id="dr-{id}"))
    world.create("east", "invoice")
    world.create("east", "router", "invoice")
    await world.replicate()
    before = world.says("east")
    await world.serve_at("west")
    world.at("east").clear()

    report = await sync(world, "west", "east")

    assert report.complete
    assert world.says("east") == before


async def test_an_empty_primary_gets_old_ids_by_the_template_where_the_ledger_is_lost_too() -> None:
    world = World(recovery_plan(target_id="dr-{id}"))
    world.create("east", "invoice")
    await world.replicate()
    await world.serve_at("west")
    world.at("east").clear()
    world.vault.files = {path: text for path, text in world.vault.files.items() if "ledger" not in path}

    await sync(world, "west", "east")

    assert world.says("east") == {"invoice": "what invoice is"}


async def test_what_was_edited_at_the_primary_is_left_and_reported() -> None:
    world = World()
    world.create("east", "invoice")
    await world.replicate()
    await world.serve_at("west")
    world.patch("east", "invoice", "edited at east")

    report = await sync(world, "west", "east")

    assert [(item.verdict, item.status) for item in report.items] == [(Verdict.TARGET_AHEAD, Status.REFUSED)]
    assert world.says("east") == {"invoice": "edited at east"}


async def test_what_is_not_in_the_plan_stays_where_it_is() -> None:
    world = World(recovery_plan(include=["in*"]))
    world.create("east", "invoice")
    await world.replicate()
    await world.serve_at("west")
    world.create("west", "theirs")
    world.create("west", "inventory")

    await sync(world, "west", "east")

    assert world.says("east").keys() == {"invoice", "inventory"}


async def test_deployments_of_the_standby_are_not_asked_of_the_primary() -> None:
    world = World(recovery_plan(deployments={"west": {"chatCompletion": "gpt-of-west"}}))
    world.create("east", "invoice")
    await world.replicate()
    await world.serve_at("west")
    world.patch("west", "invoice", "edited")

    report = await sync(world, "west", "east")

    assert report.complete
    assert world.at("east")["invoice"]["models"] == world.at("west")["invoice"]["models"]


async def test_what_labelled_data_trained_is_not_copied_to_and_fro() -> None:
    world = World()
    world.create("east", "invoice", trained=True)
    world.create("east", "receipt", trained=True)
    await world.replicate()
    await world.serve_at("west")
    world.retrain("west", "invoice")

    there = await sync(world, "west", "east")
    again = await sync(world, "west", "east")
    await world.serve_at("east")
    forward = await world.replicate()

    assert [item.action for item in there.items] == [Action.REPLACE, Action.SKIP]
    assert {item.action for item in (*again.items, *forward.items)} == {Action.SKIP}
    assert world.service.accepted["east", "invoice"] == 1
    assert world.service.accepted["west", "invoice"] == 1


async def test_without_the_loop_guard_it_would_be_copied_back() -> None:
    world = World()
    world.create("east", "invoice", trained=True)
    await world.replicate()
    forward = world.vault.files[f"ledger/{RELEASED}/east_west.jsonl"]
    await world.serve_at("west")
    world.retrain("west", "invoice")
    await sync(world, "west", "east")
    await world.serve_at("east")
    world.vault.files[f"ledger/{RELEASED}/east_west.jsonl"] = forward

    report = await world.replicate()

    assert [item.verdict for item in report.items] != [Verdict.IN_SYNC]


async def test_both_ledgers_say_the_same_afterwards() -> None:
    world = World(recovery_plan(target_id="{id}-dr"))
    world.create("east", "invoice")
    await world.replicate()
    await world.serve_at("west")
    world.patch("west", "invoice-dr", "edited")

    await sync(world, "west", "east")

    there = (await recorded(world.vault, "east", "west"))["invoice-dr"]
    back = (await recorded(world.vault, "west", "east"))["invoice"]
    assert (there.source, there.target, there.copied_at) == (back.target, back.source, back.copied_at)
    assert (there.analyzer, back.analyzer) == ("invoice", "invoice-dr")


async def test_one_standby_takes_over_from_another_while_the_primary_is_away() -> None:
    world = World(recovery_plan(targets=("west", "north"), target_id="{id}-dr"))
    world.create("east", "invoice")
    world.create("east", "receipt")
    await world.replicate()
    await world.serve_at("west")
    world.patch("west", "invoice-dr", "edited at west")
    world.patch("north", "receipt-dr", "edited at north")
    world.create("west", "new")
    world.at("east").clear()

    report = await sync(world, "west", "north")

    assert told(report) == {
        "invoice-dr": ("invoice-dr", Status.SUCCEEDED),
        "new": ("new-dr", Status.SUCCEEDED),
        "receipt-dr": ("receipt-dr", Status.REFUSED),
    }
    assert world.says("north")["invoice-dr"] == "edited at west"


async def test_a_replication_that_is_at_the_pair_is_waited_for() -> None:
    world = World()
    world.create("east", "invoice")
    holding = write_ledger(world.vault, "east", "west", RELEASED)
    await holding.__aenter__()

    async def let_go(seconds: float, sleep: object = world.service.clock.sleep) -> None:
        if world.service.clock.seconds > 10 and world.vault.held:
            await holding.__aexit__(None, None, None)
        await sleep(seconds)  # type: ignore[operator]

    world.service.clock.sleep = let_go  # type: ignore[method-assign]
    report = await sync(world, "east", "west")

    assert report.complete
    assert world.service.clock.seconds > 10


async def test_a_replication_that_does_not_end_is_not_waited_for_without_end() -> None:
    world = World()
    world.create("east", "invoice")

    async with write_ledger(world.vault, "east", "west", RELEASED):
        with pytest.raises(LedgerBusy):
            await sync(world, "east", "west")

    assert PATIENCE < world.service.clock.seconds < PATIENCE + 10
