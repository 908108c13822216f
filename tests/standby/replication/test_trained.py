"""What labelled data trained is never overwritten unasked by what it did not train, whatever the vault still knows."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from datetime import date
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.recovery.snapshots.take import take_snapshot
from standby.recovery.sync import synchronise
from standby.replication.items import PlanItem, Selection, Status
from standby.replication.ledger import read_rebuilt
from standby.replication.replicate import survey
from standby.replication.report import Report, ReportItem
from standby.replication.trained import is_side_copy, side_copy_names
from standby.replication.verdict import Action, Verdict
from tests.standby.recovery.failback.world import World
from tests.standby.recovery.snapshots.world import Cloud
from tests.standby.replication.world import START, recorded, recovery_plan, refusal

HIDDEN = "https://x.blob.core.example/labels"
REPLACE = Selection(on_existing="replace")
FORCE = Selection(on_existing="replace", force=("taught",))
KEPT = f"taught_kept_{START:%Y%m%d}"


def labels() -> dict[str, Any]:
    return {"knowledgeSources": [{"kind": "labeledData", "containerUrl": HIDDEN, "fileListPath": "f"}]}


async def copied_world(**plan: Any) -> World:
    """A trained analyzer at east, and a copy of it at west; what it was trained with is beside its definition."""
    world = World(recovery_plan(**plan), Cloud(polls=0))
    world.create("east", "taught", _training=1, **labels())
    await world.replicate()
    assert training(world, "west") == 1
    return world


def training(world: World, where: str, name: str = "taught") -> Any:
    return world.at(where)[name].get("_training")


def train(world: World, where: str, number: int, *, anew: bool = False) -> None:
    """Train again under the same definition: in its place, or as another incarnation."""
    dates = {"lastModifiedAt": world.stamp, **({"createdAt": world.stamp} if anew else {})}
    world.at(where)["taught"] |= {"_training": number, **dates}
    world.pass_time()


async def rebuild(world: World, where: str) -> None:
    """Lose an analyzer after a snapshot, and restore it from that."""
    async with world.context() as context:
        assert (await take_snapshot(context)).complete
    world.pass_time()
    world.delete(where, "taught")
    async with world.context("restore") as context:
        plan = await plan_restore(context, await open_snapshot(context), where)
        assert (await restore(context, plan)).complete
    world.pass_time()
    assert training(world, where) is None


async def planned(world: World, selection: Selection = REPLACE) -> PlanItem:
    async with world.context() as context:
        [item] = (await survey(context.run, selection)).items
    return item


async def replicated(world: World, selection: Selection = REPLACE) -> ReportItem:
    [item] = (await world.replicate(selection)).items
    return item


# Retrained at the target.


@pytest.mark.parametrize("anew", [False, True], ids=["in its place", "as another incarnation"])
@pytest.mark.parametrize("on_existing", ["refuse", "replace", "version"])
async def test_a_training_at_the_target_is_ahead_and_stays(anew: bool, on_existing: Any) -> None:
    world = await copied_world()
    train(world, "west", 2, anew=anew)

    item = await planned(world, Selection(on_existing=on_existing))

    assert (item.verdict, item.action) == (Verdict.TARGET_AHEAD, Action.REFUSE)
    assert item.reason.startswith("By its dates, it was trained again at west since it was copied.")
    assert (await replicated(world)).status is Status.REFUSED
    assert training(world, "west") == 2


@pytest.mark.parametrize(("east", "west"), [*itertools.product([False, True], repeat=2)])
@pytest.mark.parametrize("first", ["east", "west"])
async def test_trainings_at_both_are_divergence(east: bool, west: bool, first: str) -> None:
    world = await copied_world()
    order = ["east", "west"] if first == "east" else ["west", "east"]
    for number, where in enumerate(order, start=2):
        train(world, where, number, anew=east if where == "east" else west)
    at_west = training(world, "west")

    assert (await planned(world)).verdict is Verdict.DIVERGED
    assert (await replicated(world)).status is Status.REFUSED
    assert training(world, "west") == at_west


async def test_an_edit_at_the_source_does_not_overwrite_a_training_at_the_target() -> None:
    world = await copied_world()
    train(world, "west", 2)
    world.patch("east", "taught", "edited at east")

    assert (await planned(world)).verdict is Verdict.DIVERGED
    assert (await replicated(world)).status is Status.REFUSED
    assert training(world, "west") == 2


async def test_a_training_at_the_source_is_copied_as_before() -> None:
    world = await copied_world()
    train(world, "east", 2)

    item = await replicated(world)

    assert (item.verdict, item.status) == (Verdict.SOURCE_AHEAD, Status.SUCCEEDED)
    assert training(world, "west") == 2
    assert not any("cannot be restored" in warning for warning in item.warnings)


async def test_one_of_another_definition_that_is_not_known_to_be_a_copy_stays() -> None:
    world = await copied_world()
    world.create("west", "taught", _training=2, description="theirs", **labels())

    item = await replicated(world)

    assert (item.verdict, item.status) == (Verdict.FOREIGN, Status.REFUSED)
    assert item.reason.startswith("Labelled data trained taught at west, and no record says that it is an older copy")
    assert "--force taught" in item.reason
    assert training(world, "west") == 2


async def test_a_trained_one_may_be_overwritten_by_order_and_the_report_says_what_that_costs() -> None:
    world = await copied_world()
    train(world, "west", 2)

    item = await replicated(world, FORCE)

    assert (item.status, training(world, "west")) == (Status.SUCCEEDED, 1)
    assert any(warning.startswith("Only the definition of the trained taught of west") for warning in item.warnings)
    assert [kept["_training"] for kept in world.kept()] == [2]
    assert set(world.at("west")) == {"taught"}, "what replaces it was trained, too"


async def test_a_trained_one_is_not_overwritten_by_one_that_has_no_labelled_data_any_more() -> None:
    world = await copied_world()
    del world.at("east")["taught"]["knowledgeSources"]
    world.patch("east", "taught", "without labels")

    item = await replicated(world)

    assert item.status is Status.REFUSED
    assert item.reason.startswith("taught at west has its training, and the one at east has no labelled data.")
    assert (await replicated(world, FORCE)).status is Status.SUCCEEDED
    assert training(world, "west", KEPT) == 1


# What the vault does not know any more.


def lose(world: World, *folders: str) -> None:
    for path in list(world.vault.files):
        if path.startswith(folders):
            world.vault.files.pop(path)


async def test_without_a_ledger_an_equal_one_that_was_made_later_counts_as_the_copy() -> None:
    world = await copied_world()
    lose(world, "ledger/", "begun/")

    assert (await replicated(world)).verdict is Verdict.IN_SYNC
    train(world, "east", 2)
    assert (await replicated(world)).status is Status.SUCCEEDED
    assert training(world, "west") == 2


async def test_without_a_ledger_an_equal_one_that_was_made_earlier_stays() -> None:
    world = await copied_world()
    lose(world, "ledger/", "begun/")
    train(world, "west", 2)
    train(world, "east", 3)

    assert (await replicated(world)).status is Status.REFUSED
    assert training(world, "west") == 2


class Killed(BaseException):
    """Nothing of ours runs after it."""


def killed_after_copy(world: World) -> None:
    """Let the run die as soon as the service has taken the copy."""

    def intervene(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "after" and request.url.path.endswith(":copy"):
            raise Killed
        return None

    world.service.intervene = intervene


@pytest.mark.parametrize("lost", [(), ("ledger/",)], ids=["nothing lost", "the ledger lost"])
@pytest.mark.parametrize("deleted", [False, True], ids=["replaced", "copied again"])
async def test_a_run_that_was_killed_before_it_recorded_a_copy_is_not_taken_for_a_training(
    deleted: bool, lost: tuple[str, ...]
) -> None:
    world = await copied_world()
    if deleted:
        world.delete("west", "taught")
    else:
        train(world, "east", 2)
    ledger = {path: content for path, content in world.vault.files.items() if path.startswith("ledger/")}
    killed_after_copy(world)
    with pytest.raises(BaseException) as died:
        await world.replicate(REPLACE)
    assert "Killed" in repr(died.value)
    world.vault.files.update(ledger)
    world.vault.held.clear()
    world.service.intervene = lambda _when, _request: None
    world.service.settle()
    world.pass_time()
    lose(world, *lost)
    accepted = dict(world.service.accepted)

    assert (await replicated(world)).verdict is Verdict.IN_SYNC
    assert world.service.accepted == accepted, "it is not started over"
    train(world, "west", 5, anew=True)
    assert (await replicated(world)).verdict is Verdict.TARGET_AHEAD, "the note of it is spent"


# Rebuilt at the source.


@pytest.mark.parametrize("lost", [(), ("rebuilt/",), ("ledger/", "begun/"), ("rebuilt/", "ledger/", "begun/")])
@pytest.mark.parametrize("edited", [False, True])
async def test_what_was_rebuilt_never_replaces_the_only_trained_copy(edited: bool, lost: tuple[str, ...]) -> None:
    world = await copied_world()
    await rebuild(world, "east")
    lose(world, *lost)
    if edited:
        world.patch("east", "taught", "edited at east")

    for _ in range(2):
        item = await replicated(world)
        assert item.status is Status.REFUSED
        assert item.reason.startswith("taught at west has its training, and the one at east was rebuilt"), item
        assert "fail back" in item.reason
        assert "--force taught" in item.reason
    assert training(world, "west") == 1


async def test_without_the_list_a_rebuilt_copy_is_not_taken_for_a_training() -> None:
    world = await copied_world()
    await rebuild(world, "west")
    lose(world, "rebuilt/")

    assert (await planned(world)).verdict is Verdict.IN_SYNC


async def test_the_log_of_a_restore_before_this_change_says_enough() -> None:
    world = await copied_world()
    await rebuild(world, "east")
    lose(world, "rebuilt/")
    forget_what_was_rebuilt(world)

    assert (await replicated(world)).status is Status.REFUSED
    assert training(world, "west") == 1


@pytest.mark.parametrize("older", [False, True], ids=["as written now", "as written before"])
async def test_what_a_restore_only_kept_is_as_trained_as_before(older: bool) -> None:
    """Also where it was made moments before, so that its dates alone would say that the restore built it."""
    world = await copied_world()
    async with world.context() as context:
        assert (await take_snapshot(context)).complete
        world.service.clock.seconds += 1
        plan = await plan_restore(context, await open_snapshot(context), "west")
        assert (await restore(context, plan)).complete
    train(world, "west", 2)
    await rebuild(world, "east")
    if older:
        forget_what_was_rebuilt(world)

    assert (await replicated(world)).status is Status.REFUSED
    assert (await replicated(world, FORCE)).status is Status.SUCCEEDED
    assert training(world, "west", KEPT) == 2


def forget_what_was_rebuilt(world: World) -> None:
    """Let the audit log say of restores what it said in earlier versions."""
    path = "audit/invoices.jsonl"
    lines = [json.loads(line) for line in world.vault.files[path].splitlines()]
    for line in lines:
        line["facts"].pop("rebuilt", None)
    world.vault.files[path] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)


async def test_a_log_that_cannot_be_read_costs_only_what_it_knew() -> None:
    world = await copied_world()
    world.vault.files["audit/invoices.jsonl"] = b'{"deed": "restore.ended"\n\xff\n'
    train(world, "east", 2)

    assert (await replicated(world)).status is Status.SUCCEEDED


async def test_by_order_the_trained_one_is_kept_beside_what_replaces_it() -> None:
    world = await copied_world()
    await rebuild(world, "east")

    shown = await planned(world, FORCE)
    item = await replicated(world, FORCE)

    assert (shown.action, shown.kept_as) == (Action.REPLACE, KEPT)
    assert item.status is Status.SUCCEEDED
    assert {name: training(world, "west", name) for name in world.at("west")} == {"taught": None, KEPT: 1}
    assert f"The trained taught of west is kept there as {KEPT}; delete it when it is no longer needed." in (
        item.warnings
    )


async def test_what_was_rebuilt_stays_that_wherever_it_is_copied_to() -> None:
    world = await copied_world(targets=["west", "north"])
    await rebuild(world, "east")
    await world.replicate(Selection(on_existing="replace", force=("taught",), targets=("west",)))
    assert set(await read_rebuilt(world.vault, "west")) == {"taught"}
    record = (await recorded(world.vault, "east", "west"))["taught"]
    assert (record.source.rebuilt, record.target.rebuilt) == (True, True)
    await world.serve_at("west")

    async with world.context() as context:
        report = await synchronise(context, "west", "north")

    assert {item.status for item in report.items if item.analyzer == "taught"} == {Status.SKIPPED}
    assert training(world, "north") == 1


async def test_a_rebuilt_copy_is_brought_up_to_date_like_any_other_one() -> None:
    world = await copied_world()
    await rebuild(world, "east")
    await replicated(world, FORCE)
    world.patch("east", "taught", "edited at east")

    assert (await replicated(world)).status is Status.SUCCEEDED
    assert world.says("west")["taught"] == "edited at east"


async def test_a_planned_failover_leaves_the_trained_copy_as_it_is() -> None:
    world = await copied_world()
    await rebuild(world, "east")

    async with world.context() as context:
        report = await synchronise(context, "east", "west")

    assert [item.status for item in report.items] == [Status.SKIPPED]
    assert training(world, "west") == 1


async def test_what_was_trained_at_the_source_after_it_was_rebuilt_is_copied() -> None:
    world = await copied_world()
    await rebuild(world, "east")
    train(world, "east", 7, anew=True)

    assert (await replicated(world)).status is Status.SUCCEEDED
    assert training(world, "west") == 7


# Side copies.


async def test_where_the_side_copy_fails_nothing_is_replaced() -> None:
    world = await copied_world()
    await rebuild(world, "east")
    world.service.intervene = lambda when, request: (
        refusal(400, "InvalidRequest", "Quota", "No.") if when == "before" and KEPT in request.url.path else None
    )

    item = await replicated(world, FORCE)

    assert item.status is Status.FAILED
    assert item.reason.startswith(f"The trained taught of west could not be kept as {KEPT}, so it is not replaced:")
    assert training(world, "west") == 1
    assert not any("delete it" in warning for warning in item.warnings)


async def test_a_side_copy_that_was_made_already_is_used_again() -> None:
    world = await copied_world()
    await rebuild(world, "east")
    world.service.intervene = lambda when, request: (
        refusal(400, "InvalidRequest", "Quota", "No.")
        if when == "before" and "taught:copy" in request.url.path
        else None
    )
    assert (await replicated(world, FORCE)).status is Status.FAILED
    assert training(world, "west", KEPT) == 1
    world.service.intervene = lambda _when, _request: None

    assert (await replicated(world, FORCE)).status is Status.SUCCEEDED
    assert set(world.at("west")) == {"taught", KEPT}


async def test_a_side_copy_never_takes_the_place_of_another_one() -> None:
    world = await copied_world()
    await rebuild(world, "east")
    await replicated(world, FORCE)
    train(world, "west", 2, anew=True)

    assert (await replicated(world, FORCE)).status is Status.SUCCEEDED
    assert {name: training(world, "west", name) for name in world.at("west")} == {
        "taught": None,
        KEPT: 1,
        f"{KEPT}_2": 2,
    }


async def test_side_copies_are_not_replicated_unless_a_filter_names_them() -> None:
    world = await copied_world()
    world.create("east", KEPT)

    def selected(report: Report) -> set[str]:
        return {item.analyzer for item in report.items}

    assert selected(await world.replicate()) == {"taught"}
    world.plan = world.plan.model_copy(update={"include": ("*", "*_kept_*")})
    assert selected(await world.replicate()) == {"taught", KEPT}


async def test_the_protocol_that_cannot_replace_refuses_as_before() -> None:
    world = World(recovery_plan(), Cloud(polls=0))
    for where in ("east", "west"):
        world.create(where, "taught", description=where, **labels())

    async with world.context(api_version="2025-05-01-preview") as context:
        [item] = (await survey(context.run, FORCE)).items

    assert (item.action, item.kept_as) == (Action.REFUSE, "")
    assert "cannot replace it" in item.reason


IDS = st.text(st.sampled_from("abcXYZ019._-"), min_size=1, max_size=64)


@given(st.sets(IDS, min_size=1, max_size=4), st.dates(min_value=date(2025, 1, 1), max_value=date(2099, 12, 31)))
def test_names_of_side_copies_are_ids_and_differ(analyzers: set[str], day: date) -> None:
    names = [name for analyzer in analyzers for name in itertools.islice(side_copy_names(analyzer, day), 12)]

    assert all(re.fullmatch(r"[a-zA-Z0-9._-]{1,64}", name) for name in names)
    assert all(is_side_copy(name) for name in names)
    assert len(set(names)) == len(names)
    assert all(next(side_copy_names(each, day)) == f"{each}_kept_{day:%Y%m%d}" for each in analyzers if len(each) <= 50)


@given(
    st.lists(
        st.tuples(st.sampled_from(["east", "west"]), st.sampled_from(["train", "train anew", "rebuild", "edit"])),
        max_size=5,
    ),
    st.sampled_from(["refuse", "replace", "version"]),
    st.sampled_from([(), ("ledger/",), ("rebuilt/",), ("begun/",), ("ledger/", "begun/"), ("ledger/", "rebuilt/")]),
)
def test_whatever_happens_no_training_of_the_targets_own_is_lost(
    story: list[tuple[str, str]], on_existing: Any, lost: tuple[str, ...]
) -> None:
    async def live() -> None:
        world = await copied_world()
        for number, (where, deed) in enumerate(story, start=2):
            if deed == "rebuild":
                await rebuild(world, where)
            elif deed == "edit":
                world.patch(where, "taught", f"edit {number}")
            else:
                train(world, where, number, anew=deed == "train anew")
        lose(world, *lost)
        own = training(world, "west")
        source = training(world, "east")

        await world.replicate(Selection(on_existing=on_existing))

        # What was copied from the source may give way to what the source trained since, and to nothing else.
        now = training(world, "west")
        if own not in (None, 1):
            assert now == own
        elif own == 1:
            assert now in (1, source)
            assert now is not None

    asyncio.run(live())
