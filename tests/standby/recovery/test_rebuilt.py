"""What a restore rebuilt is never taken for a copy of what labelled data trained."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest

from standby.cli.failback import divergence_lines
from standby.fencing import Phase
from standby.recovery.failback.failback import TrainingWouldBeLost, fail_back, report_divergence
from standby.recovery.failback.report import Choice, Divergence, DivergenceItem, DivergenceReport, FailbackReport
from standby.recovery.snapshots.fidelity import Fidelity, RestoreAction, RestoreItem
from standby.recovery.snapshots.id_mapping import Naming, keep_names
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import RestoreReport, restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.recovery.snapshots.take import take_snapshot
from standby.recovery.sync import synchronise
from standby.replication.items import Selection, Status
from standby.replication.ledger import Rebuilt, add_rebuilt, read_rebuilt
from standby.replication.report import Report
from standby.replication.verdict import Action
from tests.standby.recovery.failback.world import RUN, World
from tests.standby.recovery.snapshots.world import Cloud
from tests.standby.recovery.stages import DirectStages
from tests.standby.replication.world import START, recorded, recovery_plan
from tests.standby.vault.world import MemoryVault

HIDDEN = "https://x.blob.core.example/labels"
"""A container that is never asked, so that what it holds is unknown."""


def by_labels(url: str = HIDDEN) -> dict[str, Any]:
    return {"knowledgeSources": [{"kind": "labeledData", "containerUrl": url, "fileListPath": "f"}]}


def a_world(**plan: Any) -> World:
    """A trained analyzer at east; what it was trained with is written beside its definition."""
    world = World(recovery_plan(**plan), Cloud(polls=0))
    world.create("east", "taught", _training=1, **by_labels())
    return world


async def snapped(world: World) -> None:
    async with world.context() as context:
        assert (await take_snapshot(context)).complete
    world.pass_time()


async def restored(world: World, to: str = "west", naming: Naming = keep_names) -> RestoreReport:
    async with world.context() as context:
        plan = await plan_restore(context, await open_snapshot(context), to, naming=naming)
        report = await restore(context, plan)
    world.pass_time()
    return report


async def planned(world: World, to: str = "west") -> dict[str, RestoreItem]:
    async with world.context() as context:
        plan = await plan_restore(context, await open_snapshot(context), to)
    return {item.analyzer: item for item in plan.items}


async def rebuilt_at_west(world: World | None = None, *, copied: bool = False) -> World:
    """A world that failed over to west, where the analyzer was rebuilt; or was again, after it was lost."""
    world = world or a_world()
    if copied:
        await world.replicate()
    await snapped(world)
    if copied:
        world.delete("west", "taught")
    await world.serve_at("west")
    assert (await restored(world)).complete
    return world


async def compared(world: World) -> DivergenceReport:
    async with world.context() as context:
        report = await report_divergence(context)
    assert report is not None
    return report


async def item_of(world: World, analyzer: str = "taught") -> DivergenceItem:
    return next(item for item in (await compared(world)).items if item.analyzer == analyzer)


async def run_failback(world: World, keep: Mapping[str, Choice] | None = None, *force: str) -> FailbackReport:
    async with world.context("back") as context:
        report = await fail_back(context, "", DirectStages(), keep=keep, force=force)
    world.pass_time()
    assert (report.state, report.problems) == ("failed_back", ()), report
    return report


async def copied_again(world: World) -> Report:
    return await world.replicate(Selection(targets=("west",), force=("taught",)))


async def listed(world: World, where: str = "west") -> dict[str, Rebuilt]:
    return dict(await read_rebuilt(world.vault, where))


async def test_a_restore_lists_what_it_built() -> None:
    world = a_world()
    world.create("east", "plain")

    await rebuilt_at_west(world)

    found = await listed(world)
    assert {name: (each.trained, each.fidelity, each.origin) for name, each in found.items()} == {
        "plain": (False, "equivalent", "east"),
        "taught": (True, "unfaithful", "east"),
    }
    made = {name: f"{each.created_at:%Y-%m-%dT%H:%M:%SZ}" for name, each in found.items()}
    assert made == {name: each["createdAt"] for name, each in world.at("west").items()}


async def test_it_is_listed_as_soon_as_its_build_has_begun() -> None:
    world = a_world()
    await snapped(world)
    seen: list[bool] = []

    def look(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "before" and "/operations/" in request.url.path:
            seen.append(b"taught" in world.vault.files.get("rebuilt/west.json", b""))
        return None

    world.service.intervene = look
    await restored(world)

    assert seen
    assert all(seen)


async def test_what_is_gone_is_dropped_and_the_rest_is_kept() -> None:
    world = a_world()
    world.create("east", "plain")
    world.create("east", "other")
    await rebuilt_at_west(world)
    before = await listed(world)
    world.delete("east", "other")
    await world.serve_at("east")
    await snapped(world)
    world.delete("west", "plain")
    world.delete("west", "other")

    await restored(world)

    after = await listed(world)
    assert set(after) == {"plain", "taught"}
    assert after["taught"] == before["taught"]
    assert after["plain"].created_at != before["plain"].created_at


async def test_ids_of_a_drill_are_not_listed() -> None:
    world = a_world()
    await snapped(world)

    assert (await restored(world, naming=Naming("drill-"))).complete

    assert "drill-taught" in world.at("west")
    assert await listed(world) == {}


async def test_one_that_a_replication_found_equal_is_still_not_exact() -> None:
    world = await rebuilt_at_west()
    await world.serve_at("east")
    await world.replicate()
    assert set(await recorded(world.vault, "east", "west")) == {"taught"}

    item = (await planned(world))["taught"]

    assert (item.fidelity, item.action, item.met) == (Fidelity.UNFAITHFUL, RestoreAction.KEEP, True)
    assert "rebuilt from its definition" in item.reason


async def test_one_without_labelled_data_is_equivalent_and_not_exact() -> None:
    world = a_world()
    world.create("east", "plain")
    await rebuilt_at_west(world)
    await world.serve_at("east")
    await world.replicate()

    assert (await planned(world))["plain"].fidelity is Fidelity.EQUIVALENT


@pytest.mark.parametrize("known_equal", [False, True])
async def test_a_forced_replication_copies_it_anew_and_the_list_speaks_of_it_no_more(
    known_equal: bool,
) -> None:
    world = await rebuilt_at_west()
    await world.serve_at("east")
    if known_equal:
        assert [item.action for item in (await world.replicate()).items] == [Action.SKIP]
    assert "_training" not in world.at("west")["taught"]

    report = await copied_again(world)

    assert [(item.action, item.status) for item in report.items] == [(Action.REPLACE, Status.SUCCEEDED)]
    assert world.at("west")["taught"]["_training"] == 1
    assert (await planned(world))["taught"].fidelity is Fidelity.EXACT
    again = await copied_again(world)
    assert [item.action for item in again.items] == [Action.SKIP], "a copy is a copy"


@pytest.mark.parametrize("copied", [False, True])
async def test_the_original_at_the_primary_stays_and_nothing_is_copied_to_and_fro(copied: bool) -> None:
    world = await rebuilt_at_west(copied=copied)
    accepted = dict(world.service.accepted)

    item = await item_of(world)
    await run_failback(world)

    assert (item.divergence, item.keep, item.rebuilt) == (Divergence.IN_SYNC, "home", True)
    assert world.at("east")["taught"]["_training"] == 1
    for _ in range(2):
        assert [item.action for item in (await world.replicate()).items] == [Action.SKIP]
        await world.serve_at("west")
        await run_failback(world)
    assert world.service.accepted == accepted
    assert world.at("east")["taught"]["_training"] == 1
    await copied_again(world)
    assert world.at("west")["taught"]["_training"] == 1


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("to", ["east", "north"])
async def test_a_last_sync_leaves_the_original_alone(to: str, copied: bool) -> None:
    world = a_world(targets=["west", "north"])
    await world.replicate(Selection(targets=("north",)))
    await rebuilt_at_west(world, copied=copied)

    async with world.context() as context:
        report = await synchronise(context, "west", to)

    assert [(item.action, item.status) for item in report.items] == [(Action.SKIP, Status.SKIPPED)]
    assert world.at(to)["taught"]["_training"] == 1


async def test_a_last_sync_leaves_the_original_alone_also_where_the_rebuilt_one_was_edited() -> None:
    world = await rebuilt_at_west(copied=True)
    world.patch("west", "taught", "edited at west")

    async with world.context() as context:
        report = await synchronise(context, "west", "east")

    [item] = report.items
    assert item.status is Status.REFUSED
    assert item.reason.startswith("taught at east has its training, and the one at west was rebuilt from a definition.")
    assert "--force taught" in item.reason
    assert world.at("east")["taught"]["_training"] == 1


@pytest.mark.parametrize("copied", [False, True])
@pytest.mark.parametrize("keep", [{}, {"taught": "standby"}], ids=["nobody decided", "the standby's is kept"])
async def test_an_edit_of_it_does_not_replace_the_trained_original_unasked(
    copied: bool, keep: dict[str, Choice]
) -> None:
    world = await rebuilt_at_west(copied=copied)
    world.patch("west", "taught", "edited at west")

    found = await compared(world)
    with pytest.raises(TrainingWouldBeLost) as refused:
        await run_failback(world, keep)

    [item] = found.items
    assert (item.divergence, item.keep, item.costs_training) == (Divergence.EDITED_AT_STANDBY, None, True)
    assert "--keep taught=standby --force taught" in str(refused.value)
    assert "--force taught" in " ".join(line.text for line in divergence_lines(found))
    assert world.at("east")["taught"]["_training"] == 1
    assert world.says("west") == {"taught": "edited at west"}


@pytest.mark.parametrize("copied", [False, True])
async def test_the_primarys_original_can_be_kept_instead(copied: bool) -> None:
    world = await rebuilt_at_west(copied=copied)
    world.patch("west", "taught", "edited at west")

    await run_failback(world, {"taught": "home"})

    assert [world.at(where)["taught"]["_training"] for where in ("east", "west")] == [1, 1]


@pytest.mark.parametrize("keep", [None, {"taught": "standby"}], ids=["force alone", "decided and forced"])
@pytest.mark.parametrize("copied", [False, True])
async def test_an_edit_of_it_that_is_forced_leaves_the_trained_original_beside_it(
    copied: bool, keep: dict[str, Choice] | None
) -> None:
    world = await rebuilt_at_west(copied=copied)
    world.patch("west", "taught", "edited at west")

    report = await run_failback(world, keep, "taught")

    kept = f"taught_kept_{START:%Y%m%d}"
    assert world.says("east") == {"taught": "edited at west", kept: "what taught is"}
    assert world.at("east")[kept]["_training"] == 1
    assert report.divergence is not None
    assert report.divergence.untrained == ("taught",)
    assert report.sync is not None
    assert any(kept in warning for item in report.sync.items for warning in item.warnings)
    # It is rebuilt at both now, and nothing more is copied.
    accepted = dict(world.service.accepted)
    assert set(await listed(world, "east")) == {"taught"}
    for _ in range(2):
        assert [item.action for item in (await world.replicate()).items] == [Action.SKIP]
        await world.serve_at("west")
        await run_failback(world)
    assert world.service.accepted == accepted


@pytest.mark.parametrize("copied", [False, True])
async def test_edits_at_both_are_for_people_to_decide(copied: bool) -> None:
    world = await rebuilt_at_west(copied=copied)
    world.patch("west", "taught", "edited at west")
    world.put("east", "taught", "edited at east")

    assert (await item_of(world)).keep is None

    await run_failback(world, {"taught": "home"})
    assert world.says("east") == world.says("west") == {"taught": "edited at east"}


@pytest.mark.parametrize("copied", [False, True])
async def test_a_primary_s_that_was_trained_again_is_copied_to_the_standby(copied: bool) -> None:
    world = await rebuilt_at_west(copied=copied)
    world.at("east")["taught"]["_training"] = 2
    world.retrain("east", "taught")

    item = await item_of(world)
    await run_failback(world)

    assert (item.divergence, item.keep) == (Divergence.EDITED_AT_PRIMARY, "home")
    assert world.at("east")["taught"]["_training"] == 2
    assert world.at("west")["taught"]["_training"] == 2


async def test_a_standby_that_only_lacks_a_signature_is_in_sync_and_never_copied_over_the_original() -> None:
    world = World(recovery_plan(), Cloud(polls=0))
    world.create("east", "taught", _training=1, **by_labels(f"{HIDDEN}?sig=s"))
    await rebuilt_at_west(world)
    assert world.at("west")["taught"]["knowledgeSources"][0]["containerUrl"] == HIDDEN

    item = await item_of(world)
    await run_failback(world)

    assert (item.divergence, item.keep) == (Divergence.IN_SYNC, "home")
    assert world.at("east")["taught"]["_training"] == 1
    assert world.at("east")["taught"]["knowledgeSources"][0]["containerUrl"].endswith("?sig=s")


@pytest.mark.parametrize(("copied", "divergence_of_it"), [(False, Divergence.DIFFERENT), (True, None)])
async def test_an_earlier_version_of_the_primary_s_is_never_copied_there_unasked(
    copied: bool, divergence_of_it: Divergence | None
) -> None:
    world = a_world()
    if copied:
        await world.replicate()
    await snapped(world)
    world.put("east", "taught", "a later version")
    if copied:
        world.delete("west", "taught")
    await world.serve_at("west")
    await restored(world)

    item = await item_of(world)

    assert item.divergence is (divergence_of_it or Divergence.EDITED_AT_PRIMARY)
    assert item.keep == (None if divergence_of_it else "home")


async def test_an_edit_that_only_a_snapshot_of_the_standby_has_is_for_people_to_decide() -> None:
    world = a_world()
    await world.replicate()
    await world.serve_at("west")
    world.patch("west", "taught", "edited at west")
    await snapped(world)
    world.delete("west", "taught")
    await restored(world)
    assert (await listed(world))["taught"].origin == "west"

    assert (await compared(world)).unforced == ("taught",)
    await run_failback(world, {"taught": "standby"}, "taught")

    assert world.says("east")["taught"] == "edited at west"


async def test_what_the_primary_has_lost_is_copied_back_as_it_was_rebuilt() -> None:
    world = await rebuilt_at_west()
    world.delete("east", "taught")

    found = await compared(world)
    await run_failback(world)

    assert found.untrained == ("taught",)
    assert set(world.at("east")) == {"taught"}


def entry(name: str, **fields: Any) -> Rebuilt:
    values: dict[str, Any] = {
        "created_at": START,
        "fingerprint": "f",
        "fidelity": "unfaithful",
        "trained": True,
        "origin": "east",
        "original": name,
        "plan": "invoices",
        **fields,
    }
    return Rebuilt(analyzer=name, **values)


async def test_two_restores_that_write_one_list_at_a_time_lose_nothing_of_each_other() -> None:
    vault = MemoryVault()
    await add_rebuilt(vault, "west", [entry("a"), entry("b")])
    later = entry("b", created_at=START + timedelta(seconds=5))
    await asyncio.gather(
        add_rebuilt(vault, "west", [later], gone=[entry("a")]), *(add_rebuilt(vault, "west", [entry(n)]) for n in "cde")
    )

    assert dict(await read_rebuilt(vault, "west")) == {"b": later, **{name: entry(name) for name in "cde"}}


async def test_a_list_that_cannot_be_read_counts_as_none(caplog: pytest.LogCaptureFixture) -> None:
    vault = MemoryVault()
    vault.files["rebuilt/west.json"] = b'{"rebuilt": [{"analyzer": 1'

    assert dict(await read_rebuilt(vault, "west")) == {}
    assert "memory:rebuilt/west.json cannot be read" in caplog.text


async def test_a_planned_failover_to_the_primary_keeps_the_original() -> None:
    world = await rebuilt_at_west(copied=True)
    await world.serve_at("west", phase=Phase.SWITCHING, target="east", run_id=RUN)

    async with world.context(RUN) as context:
        await synchronise(context, "west", "east")

    assert world.at("east")["taught"]["_training"] == 1


async def test_what_was_taken_while_the_restore_was_interrupted_is_listed_too() -> None:
    world = a_world()
    await snapped(world)
    task: asyncio.Task[RestoreReport]

    def lose(when: str, request: httpx.Request) -> httpx.Response | None:
        if when == "after" and request.method == "PUT":
            task.cancel()
            raise httpx.ReadError("the answer is lost", request=request)
        return None

    world.service.intervene = lose
    task = asyncio.create_task(restored(world))

    report = await task

    assert report.interrupted
    assert set(await listed(world)) == {"taught"}
