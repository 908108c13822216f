from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from standby.recovery.audit import AuditAction, verify_audit
from standby.recovery.snapshots.snapshot import list_snapshots, open_snapshot, verify_snapshots
from standby.recovery.snapshots.take import NothingReachable, SnapshotTaken
from standby.vault.errors import Held, VaultLost, VaultUnavailable
from standby.vault.role import ROLE
from tests.standby.recovery.snapshots.world import Died, Files, World, analyzer, definitions_of, labelled_by, served
from tests.standby.replication.world import DEFAULTS, recovery_plan

SAS = "https://x.blob.core.windows.net/labels?sv=2024&sig=canary%2Bsignature"


def world_of(*definitions: dict[str, Any], **plan: Any) -> World:
    world = served(World(plan=recovery_plan(targets=("west", "north"), **plan)))
    world.hold("east", *definitions)
    return world


async def test_keeps_what_the_plan_protects_and_what_that_needs() -> None:
    world = world_of(analyzer("router", "invoice"), analyzer("invoice"), analyzer("scratch"), include=["router"])

    await world.take()

    snapshot = await open_snapshot(world.context())
    part = snapshot.resources["east"]
    assert list(part.analyzers) == ["invoice", "router"]
    assert (part.primary, part.defaults, part.deployments) == ("east", DEFAULTS, None)
    definitions = await definitions_of(world.context(), snapshot, "east")
    assert definitions["router"] == analyzer("router", "invoice")


async def test_leaves_out_what_is_just_being_deleted() -> None:
    world = world_of(analyzer("invoice"), analyzer("old", status="deleting"))

    taken = await world.take()

    assert taken.resources == {"east": 1}


async def test_never_keeps_what_gives_access() -> None:
    world = world_of(labelled_by(SAS), analyzer("wordy", description=f"see {SAS} for more"))

    await world.take()

    everything = b"".join(world.vault.files.values())
    assert b"canary" not in everything
    definitions: dict[str, Any] = {}
    definitions |= await definitions_of(world.context(), await open_snapshot(world.context()), "east")
    [source] = definitions["trained"]["knowledgeSources"]
    assert source["containerUrl"] == "https://x.blob.core.windows.net/labels"
    assert definitions["wordy"]["description"] == "see https://x.blob.core.windows.net/labels for more"


async def test_a_second_snapshot_of_the_same_writes_no_definition() -> None:
    world = world_of(analyzer("invoice"), analyzer("receipt"))
    first = await world.take()
    world.vault.written.clear()

    second = await world.take()

    assert (first.new_objects, second.new_objects) == (2, 0)
    assert not [path for path in world.vault.written if path.startswith("objects/")]
    assert second.complete


async def test_each_manifest_names_the_one_before_it() -> None:
    world = world_of(analyzer("invoice"))
    first = await world.take()
    await world.take()

    newest = await open_snapshot(world.context())

    assert newest.manifest.previous == first.digest


async def test_writes_what_the_resource_holds_that_serves_now() -> None:
    world = world_of(analyzer("invoice"))
    world.hold("west", analyzer("invoice"), analyzer("made-here"))
    world.switch(epoch=7, east="west")

    await world.take()

    snapshot = await open_snapshot(world.context())
    assert list(snapshot.resources) == ["west"]
    assert (snapshot.resources["west"].primary, snapshot.manifest.epoch) == ("east", 7)
    assert list(snapshot.resources["west"].analyzers) == ["invoice", "made-here"]


async def test_filters_copies_by_the_id_they_have_at_the_primary() -> None:
    world = world_of(include=["invoice"], target_id="{id}-dr")
    world.hold("west", analyzer("invoice-dr"), analyzer("other-dr"))
    world.switch(east="west")

    taken = await world.take()

    assert taken.resources == {"west": 1}


def two_sources() -> World:
    pairs = [{"source": "east", "targets": ["west"]}, {"source": "south", "targets": ["north"]}]
    world = served(World(plan=recovery_plan().model_validate({"name": "invoices", "pairs": pairs})), "east", "south")
    world.hold("east", analyzer("invoice"))
    world.hold("south", analyzer("receipt"))
    return world


async def test_carries_on_what_a_source_had_that_does_not_answer() -> None:
    world = two_sources()
    first = await world.take()
    world.cloud.down.add("east")
    world.hold("south", analyzer("new"))

    taken = await world.take()

    assert list(taken.missing) == ["east"]
    assert not taken.complete
    snapshot = await open_snapshot(world.context())
    assert {name: len(part.analyzers) for name, part in snapshot.resources.items()} == {"east": 1, "south": 2}
    assert snapshot.resources["east"].seen_at == first.taken_at
    assert snapshot.resources["south"].seen_at == snapshot.taken_at


async def test_keeps_the_others_where_a_source_never_answered() -> None:
    world = two_sources()
    world.cloud.down.add("east")

    taken = await world.take()

    assert (taken.resources, list(taken.missing)) == ({"south": 1}, ["east"])


async def test_writes_nothing_where_nobody_answers() -> None:
    world = world_of(analyzer("invoice"))
    world.cloud.down.add("east")

    with pytest.raises(NothingReachable, match="east: "):
        await world.take()

    assert world.vault.files == {}


async def test_notes_what_it_took() -> None:
    world = world_of(analyzer("invoice"))
    taken = await world.take()

    check = await verify_audit(world.vault, "invoices", world.signer)

    assert [(line.action, line.facts["id"], line.facts["digest"]) for line in check.lines] == [
        (AuditAction.SNAPSHOT_TAKEN.value, taken.id, taken.digest)
    ]


async def test_one_run_at_a_time_writes() -> None:
    world = world_of(analyzer("invoice"))
    async with world.vault.hold("snapshots/invoices/index.jsonl"):
        with pytest.raises(Held):
            await world.take()


async def test_vault_and_replica_have_the_same() -> None:
    world = world_of(analyzer("invoice"))
    world.second = Files()

    await world.take()

    assert {path for path in world.second.files if path.startswith("audit/")}
    assert world.second.files | {ROLE: b""} == world.vault.files | {ROLE: b""}


async def test_says_that_the_replica_was_away_and_brings_over_what_it_missed() -> None:
    world = world_of(analyzer("invoice"))
    world.second = Files()
    world.second.down = True
    first = await world.take()
    world.second.down = False
    world.hold("east", analyzer("receipt"))

    second = await world.take()

    assert "The replica of the vault cannot be kept: memory:role.json could not be read: down." in first.problems
    assert second.problems == ()
    assert (await verify_snapshots(world.context())).whole
    assert len([path for path in world.second.files if path.startswith("objects/")]) == 2


async def test_a_vault_that_lost_its_snapshots_is_filled_from_its_replica() -> None:
    world = world_of(analyzer("invoice"))
    world.second = Files()
    first = await world.take()
    lost = [path for path in world.vault.files if path.startswith(("snapshots/", "objects/"))]
    for path in lost:
        del world.vault.files[path]
    world.hold("east", analyzer("invoice", description="another"))

    await world.take()

    entries = await list_snapshots(world.context())
    assert entries[-1].id == first.id
    world.second = None
    check = await verify_snapshots(world.context())
    assert (check.snapshots, check.objects, check.problems) == (2, 2, ())


async def test_a_vault_that_lost_everything_is_not_taken_for_a_new_one() -> None:
    world = world_of(analyzer("invoice"))
    world.second = Files()
    await world.take()
    world.vault = Files()
    kept = dict(world.second.files)

    with pytest.raises(VaultLost):
        await world.take()

    assert (world.vault.files, world.second.files) == ({}, kept)


async def test_repairs_a_damaged_definition_that_still_is_the_same() -> None:
    world = world_of(analyzer("invoice"))
    await world.take()
    [path] = [path for path in world.vault.files if path.startswith("objects/")]
    world.vault.files[path] = b"{}"

    taken = await world.take()

    assert taken.problems == (f"memory:{path} (the vault) was damaged; it is written again",)
    assert (await verify_snapshots(world.context())).whole


async def test_nothing_is_taken_where_the_vault_is_away() -> None:
    world = world_of(analyzer("invoice"))
    world.second = Files()
    world.vault.down = True

    with pytest.raises(VaultUnavailable):
        await world.take()


async def snapshots_of(world: World, count: int) -> list[SnapshotTaken]:
    """Take snapshots, a day apart, each with a definition of its own."""
    taken = []
    for _ in range(count):
        world.hold("east", analyzer("invoice", description=f"of {world.cloud.clock.now()}"))
        world.cloud.clock.seconds += timedelta(days=1).total_seconds()
        taken.append(await world.take())
    return taken


async def test_old_snapshots_go_with_what_only_they_needed() -> None:
    world = world_of(analyzer("steady"), snapshots={"keep": 2, "keep_for": "1d"})
    world.second = Files()

    taken = await snapshots_of(world, 4)

    assert taken[3].retired == (taken[1].id,)
    assert [entry.id for entry in await list_snapshots(world.context())] == [taken[3].id, taken[2].id]
    for store in (world.vault, world.second):
        assert len([path for path in store.files if path.startswith("objects/")]) == 3
        assert not [path for path in store.files if taken[0].id in path]
    assert (await verify_snapshots(world.context())).whole


async def test_young_snapshots_stay_beyond_the_number() -> None:
    world = world_of(snapshots={"keep": 1, "keep_for": "10d"})

    taken = await snapshots_of(world, 4)

    assert all(each.retired == () for each in taken)
    assert len(await list_snapshots(world.context())) == 4


async def test_removes_no_definition_while_a_manifest_that_stays_cannot_be_read() -> None:
    world = world_of(snapshots={"keep": 2, "keep_for": "1d"})
    taken = await snapshots_of(world, 2)
    world.vault.files[f"snapshots/invoices/{taken[1].id}.json"] = b"spoilt"

    await snapshots_of(world, 1)

    assert len([path for path in world.vault.files if path.startswith("objects/")]) == 3


@pytest.mark.parametrize("dies_at", range(1, 20))
async def test_a_crash_at_any_write_leaves_nothing_that_looks_damaged(dies_at: int) -> None:
    world = world_of(snapshots={"keep": 2, "keep_for": "1d"})
    await snapshots_of(world, 2)
    world.vault.changes, world.vault.dies_at = 0, dies_at
    with suppress(Died):
        await snapshots_of(world, 1)
    world.vault.dies_at = None
    world.vault.held.clear()

    between = await verify_snapshots(world.context())
    await snapshots_of(world, 1)
    after = await verify_snapshots(world.context())

    assert (between.problems, after.problems) == ((), ())
    assert len(await list_snapshots(world.context())) == 2


async def test_the_manifest_is_json_that_people_can_read() -> None:
    world = world_of(analyzer("invoice"))
    taken = await world.take()

    told = json.loads(world.vault.files[f"snapshots/invoices/{taken.id}.json"])

    assert told["plan"] == "invoices"
    assert told["resources"]["east"]["analyzers"]["invoice"]["status"] == "ready"
    assert told["resources"]["east"]["homes"] == ["east"], "the key that snapshots have had since the first one"
