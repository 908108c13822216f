from __future__ import annotations

import asyncio
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import SnapshotPolicy
from standby.recovery.snapshots.catalog import retired
from standby.recovery.snapshots.manifest import IndexEntry, merged
from standby.recovery.snapshots.snapshot import list_snapshots, verify_snapshots
from tests.standby.recovery.snapshots.world import Files, World, analyzer, served
from tests.standby.replication.world import START, recovery_plan


def entry(number: int, minutes: int) -> IndexEntry:
    return IndexEntry(
        id=f"20260102T030405Z-{number:06x}",
        taken_at=START + timedelta(minutes=minutes),
        digest="0" * 64,
        previous=None,
        signed=False,
        resources={},
        size=0,
    )


@given(
    minutes=st.lists(st.integers(0, 1000), max_size=30),
    keep=st.integers(1, 10),
    keep_for=st.integers(1, 500),
)
def test_the_newest_always_stay_and_of_the_rest_the_young(minutes: list[int], keep: int, keep_for: int) -> None:
    entries = [entry(number, each) for number, each in enumerate(sorted(minutes))]
    now = START + timedelta(minutes=1000)
    policy = SnapshotPolicy(keep=keep, keep_for=timedelta(minutes=keep_for))

    going = retired(entries, policy, now)

    assert not [each for each in entries[-keep:] if each in going]
    assert all(now - each.taken_at > timedelta(minutes=keep_for) for each in going)
    assert all(each in going or now - each.taken_at <= timedelta(minutes=keep_for) for each in entries[:-keep])


@given(
    states=st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2), min_size=1), max_size=8),
    keep=st.integers(1, 3),
)
def test_no_object_goes_that_a_snapshot_needs_which_stays_and_no_other_stays(
    states: list[dict[str, int]], keep: int
) -> None:
    async def everything() -> tuple[World, int]:
        world = served(World(plan=recovery_plan(snapshots={"keep": keep, "keep_for": "1s"}), second=Files()))
        needed = 0
        for state in states:
            held = world.cloud.region("east").analyzers
            held.clear()
            world.hold("east", *(analyzer(name, description=f"{value}") for name, value in state.items()))
            await world.take()
        found = await verify_snapshots(world.context())
        assert found.problems == ()
        assert len(await list_snapshots(world.context())) == min(len(states), keep)
        needed = found.objects
        return world, needed

    world, needed = asyncio.run(everything())

    for store in (world.vault, world.second):
        assert store is not None
        assert len([path for path in store.files if path.startswith("objects/")]) == needed


@given(lost=st.sets(st.integers(0, 9)), also_lost=st.sets(st.integers(0, 9)))
def test_two_lists_together_keep_their_order(lost: set[int], also_lost: set[int]) -> None:
    entries = [entry(number, number) for number in range(10)]
    one = [each for number, each in enumerate(entries) if number not in lost]
    other = [each for number, each in enumerate(entries) if number not in also_lost - lost]

    together = merged(one, other)

    assert together == tuple(entries)
