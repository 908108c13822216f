from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.document import digest_of
from standby.recovery.snapshots.manifest import Manifest, entry_of, parse_index, write_index
from standby.recovery.snapshots.snapshot import (
    NewestSnapshotLost,
    NoSnapshot,
    SnapshotTampered,
    list_snapshots,
    open_snapshot,
    readable_definitions,
    verify_snapshots,
)
from standby.vault.signing import HmacSigner
from tests.standby.recovery.snapshots.world import Files, World, analyzer, definitions_of, flipped, served

INDEX = "snapshots/invoices/index.jsonl"


async def taken_twice(second: Files | None = None, signer: HmacSigner | None = None) -> World:
    world = served(World(second=second))
    world.signer = signer or world.signer
    world.hold("east", analyzer("router", "invoice"), analyzer("invoice"))
    await world.take()
    world.hold("east", analyzer("receipt"))
    await world.take()
    return world


def snapshot_files(files: Files) -> list[str]:
    return sorted(path for path in files.files if path.startswith(("snapshots/", "objects/")))


ONE = asyncio.run(taken_twice()).vault.files
TWO = asyncio.run(taken_twice(Files()))


@given(
    path=st.sampled_from(snapshot_files(Files(ONE))),
    place=st.integers(0, 10_000),
    mask=st.integers(1, 255),
)
def test_any_changed_byte_is_found_and_its_file_named(path: str, place: int, mask: int) -> None:
    world = World(vault=Files(dict(ONE)))
    world.vault.files[path] = flipped(ONE[path], place, mask)

    found = asyncio.run(verify_snapshots(world.context()))

    assert any(f"memory:{path} (the vault)" in problem for problem in found.problems)


@given(
    path=st.sampled_from(snapshot_files(Files(ONE))),
    place=st.integers(0, 10_000),
    mask=st.integers(1, 255),
    in_second=st.booleans(),
)
def test_with_two_stores_any_changed_byte_is_named_and_costs_nothing(
    path: str, place: int, mask: int, in_second: bool
) -> None:
    assert TWO.second is not None
    world = World(vault=Files(dict(TWO.vault.files)), second=Files(dict(TWO.second.files)))
    assert world.second is not None
    path = path if path in TWO.vault.files else INDEX
    spoilt = world.second if in_second else world.vault
    spoilt.files[path] = flipped(spoilt.files[path], place, mask)
    name = "the second store" if in_second else "the vault"

    async def everything() -> tuple[tuple[str, ...], dict[str, object]]:
        problems = (await verify_snapshots(world.context())).problems
        snapshot = await open_snapshot(world.context())
        return problems, dict(await definitions_of(world.context(), snapshot, "east"))

    problems, definitions = asyncio.run(everything())

    assert any(f"memory:{path} ({name})" in problem for problem in problems)
    assert sorted(definitions) == ["invoice", "receipt", "router"]


# Numbered: snapshots have random names, and every process of the tests must find the same ones.
FILES = snapshot_files(Files(ONE))
each_file = pytest.mark.parametrize("path", FILES, ids=[str(number) for number in range(len(FILES))])


@each_file
async def test_any_lost_file_is_missed(path: str) -> None:
    world = World(vault=Files({each: content for each, content in ONE.items() if each != path}))

    found = await verify_snapshots(world.context())

    lost = "is missing from every list" if path == INDEX else f"memory:{path} (the vault)"
    assert any(lost in problem for problem in found.problems)


@each_file
async def test_an_emptied_file_counts_as_lost(path: str) -> None:
    world = World(vault=Files({**ONE, path: b""}))

    assert not (await verify_snapshots(world.context())).whole


async def test_a_definition_that_is_damaged_everywhere_is_named() -> None:
    world = await taken_twice()
    snapshot = await open_snapshot(world.context())
    digest = snapshot.resources["east"].analyzers["invoice"].digest
    path = f"objects/invoices/{digest[:2]}/{digest}"
    world.vault.files[path] = b"{}"

    definitions, damaged = await readable_definitions(world.context(), snapshot, "east")
    assert "invoice" not in definitions
    assert any(path in problem for problems in damaged.values() for problem in problems)


@pytest.mark.parametrize(
    "odd", [b'{"score":NaN}', b'{"text":"\\ud800"}', b'{"deep":' + b"[" * 900 + b"]" * 900 + b"}", b"7"]
)
async def test_a_definition_that_an_earlier_version_kept_and_nobody_can_work_with_costs_itself_only(odd: bytes) -> None:
    world = await taken_twice()
    snapshot = await open_snapshot(world.context())
    digest, part = digest_of(odd), snapshot.resources["east"]
    world.vault.files[f"objects/invoices/{digest[:2]}/{digest}"] = odd
    entry = part.analyzers["invoice"].model_copy(update={"digest": digest})
    part = part.model_copy(update={"analyzers": {**part.analyzers, "invoice": entry}})
    kept = replace(snapshot, manifest=snapshot.manifest.model_copy(update={"resources": {"east": part}}))

    definitions, damaged = await readable_definitions(world.context(), kept, "east")

    assert (set(definitions), set(damaged)) == ({"receipt", "router"}, {"invoice"})
    assert damaged["invoice"][0].startswith(f"The definition of invoice in snapshot {snapshot.id} ")


def edited(world: World) -> str:
    """Edit the newest manifest, and the list with it, as somebody would who has no key."""
    entries = parse_index(INDEX, world.vault.files[INDEX]).entries
    path = f"snapshots/invoices/{entries[-1].id}.json"
    manifest = Manifest.model_validate_json(world.vault.files[path])
    forged = manifest.model_copy(update={"epoch": 99})
    world.vault.files[path] = forged.model_dump_json().encode()
    last = entry_of(forged, forged.model_dump_json().encode(), signed=entries[-1].signed)
    world.vault.files[INDEX] = write_index((*entries[:-1], last))
    return path


async def test_an_edited_manifest_is_refused_though_the_list_was_edited_with_it() -> None:
    world = await taken_twice()
    path = edited(world).replace(".json", ".sig")

    with pytest.raises(SnapshotTampered, match=f"{path} .the vault. belongs to other content"):
        await open_snapshot(world.context())


async def test_an_edited_manifest_is_taken_from_the_second_store_instead() -> None:
    world = await taken_twice(Files())
    edited(world)

    snapshot = await open_snapshot(world.context())

    assert snapshot.manifest.epoch == 0
    assert any("belongs to other content" in problem for problem in snapshot.problems)


async def test_a_manifest_without_a_signature_is_refused_where_there_is_a_key() -> None:
    world = await taken_twice()
    for path in [path for path in world.vault.files if path.endswith(".sig")]:
        del world.vault.files[path]

    with pytest.raises(SnapshotTampered, match="is missing, though a key is configured"):
        await open_snapshot(world.context())


async def test_a_manifest_that_another_key_signed_is_refused() -> None:
    world = await taken_twice()
    world.signer = HmacSigner(b"quite another key of the tests")

    with pytest.raises(SnapshotTampered, match="was made with key"):
        await open_snapshot(world.context())


async def test_without_a_key_nothing_is_signed_and_damage_is_found_all_the_same() -> None:
    world = served(World(signer=None))
    world.hold("east", analyzer("invoice"))
    taken = await world.take()
    assert not taken.signed
    path = f"snapshots/invoices/{taken.id}.json"
    world.vault.files[path] = world.vault.files[path].replace(b'"epoch":0', b'"epoch":1')

    with pytest.raises(SnapshotTampered, match="was changed after it was written"):
        await open_snapshot(world.context())


async def test_a_snapshot_taken_out_of_the_list_is_missed() -> None:
    world = await taken_twice()
    await world.take()
    entries = parse_index(INDEX, world.vault.files[INDEX]).entries
    world.vault.files[INDEX] = write_index((entries[0], entries[2]))

    snapshot = await open_snapshot(world.context())

    # Its manifest is still there, so that the others follow from each other again.
    assert snapshot.problems == (
        f"memory:{INDEX} (the vault) does not list {entries[1].id}, which the audit log says was taken",
    )


async def test_a_snapshot_taken_out_of_the_list_with_its_manifest_is_missed() -> None:
    world = await taken_twice()
    await world.take()
    entries = parse_index(INDEX, world.vault.files[INDEX]).entries
    world.vault.files[INDEX] = write_index((entries[0], entries[2]))
    del world.vault.files[f"snapshots/invoices/{entries[1].id}.json"]

    snapshot = await open_snapshot(world.context())

    assert snapshot.id == entries[2].id
    assert (
        f"Snapshot {entries[2].id} does not follow from {entries[0].id}: a snapshot between them was removed or added"
        in snapshot.problems
    )


async def test_no_older_snapshot_is_opened_for_the_newest_unless_it_is_meant() -> None:
    world = await taken_twice()
    entries = parse_index(INDEX, world.vault.files[INDEX]).entries
    world.vault.files[INDEX] = write_index(entries[:1])
    del world.vault.files[f"snapshots/invoices/{entries[1].id}.json"]

    with pytest.raises(NewestSnapshotLost, match=entries[1].id):
        await open_snapshot(world.context())

    assert (await open_snapshot(world.context(), as_of=entries[0].taken_at)).id == entries[0].id


@pytest.mark.parametrize("lost", [0, -1])
async def test_a_snapshot_taken_off_either_end_of_the_list_is_missed(lost: int) -> None:
    world = await taken_twice()
    entries = list(parse_index(INDEX, world.vault.files[INDEX]).entries)
    gone = entries.pop(lost)
    world.vault.files[INDEX] = write_index(entries)

    found = await verify_snapshots(world.context())

    assert any(gone.id in problem and "is missing from every list" in problem for problem in found.problems)


async def test_a_damaged_line_of_the_list_does_not_lose_its_snapshot() -> None:
    world = await taken_twice()
    entries = parse_index(INDEX, world.vault.files[INDEX]).entries
    world.vault.files[INDEX] = world.vault.files[INDEX].replace(b'"size":', b'"sice":')

    snapshot = await open_snapshot(world.context())
    listed = await list_snapshots(world.context())
    taken = await world.take()

    assert snapshot.id == entries[-1].id
    assert [entry.id for entry in listed] == [entry.id for entry in reversed(entries)]
    assert taken.problems == (f"memory:{INDEX} (the vault) has a line that was changed after it was written",) * 2
    assert (await verify_snapshots(world.context())).whole
    assert world.vault.files[f"{INDEX}.damaged"].count(b"\n") == 2


async def test_opens_the_newest_that_is_not_later_than_a_moment() -> None:
    world = await taken_twice()
    older, newer = parse_index(INDEX, world.vault.files[INDEX]).entries

    assert (await open_snapshot(world.context(), as_of=newer.taken_at)).id == newer.id
    assert (await open_snapshot(world.context(), as_of=older.taken_at)).id == older.id
    with pytest.raises(NoSnapshot, match="as of"):
        await open_snapshot(world.context(), as_of=older.taken_at.replace(year=2020))


async def test_opens_from_the_second_store_while_the_first_is_away() -> None:
    world = await taken_twice(Files())
    world.vault.down = True

    snapshot = await open_snapshot(world.context())
    definitions = await definitions_of(world.context(), snapshot, "east")

    assert sorted(definitions) == ["invoice", "receipt", "router"]
    assert "could not be read: down" in snapshot.problems[0]


async def test_an_id_that_leads_out_of_the_plan_is_no_entry() -> None:
    world = await taken_twice()
    entry = parse_index(INDEX, world.vault.files[INDEX]).entries[0]
    strange = entry.model_copy(update={"id": "../../elsewhere"})

    assert parse_index(INDEX, strange.line + b"\n").entries == ()


def test_errors_survive_the_way_between_processes() -> None:
    import pickle  # noqa: PLC0415

    for error in (
        NoSnapshot("p", "as of then"),
        SnapshotTampered("s", ["a", "b"]),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert str(again) == str(error)


async def test_a_plan_does_not_see_the_snapshots_of_another() -> None:
    world = await taken_twice()
    other = world.plan.model_copy(update={"name": "contracts"})

    assert await list_snapshots(replace(world, plan=other).context()) == ()
