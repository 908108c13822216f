"""One owner at a time, on a storage that can only read and write."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from standby.vault.errors import Held, VaultError, VaultTooSlow
from standby.vault.journal import LEASE, RENEWAL, SETTLE, SKEW, Lease
from tests.patience import PATIENCE
from tests.standby.vault.world import HandClock, Memory


def lease(memory: Memory) -> Lease:
    return Lease(memory, "lock", memory.clock)


async def test_a_lease_that_was_given_back_is_free_at_once() -> None:
    memory = Memory()
    first = lease(memory)
    await first.take()
    await first.give_back()
    begun = memory.clock.seconds
    await lease(memory).take()
    assert memory.clock.seconds - begun == SETTLE


async def test_a_live_owner_is_noticed_by_its_renewals() -> None:
    memory = Memory()
    first = lease(memory)
    await first.take()
    second = asyncio.create_task(lease(memory).take())
    await memory.clock.move(RENEWAL)
    assert await first.keep()
    await memory.clock.move(RENEWAL)
    with pytest.raises(Held, match="memory:lock"):
        await second
    assert await first.keep()


async def test_a_dead_owner_is_waited_for_and_then_followed() -> None:
    memory = Memory()
    first = lease(memory)
    await first.take()
    begun = memory.clock.seconds
    second = lease(memory)
    taking = asyncio.create_task(second.take())
    await memory.clock.move(LEASE - 1)
    assert not taking.done()
    await memory.clock.move(LEASE)
    await taking
    assert memory.clock.seconds - begun >= LEASE
    assert not await first.keep()
    assert await second.keep()


async def test_an_owner_that_died_long_ago_is_not_waited_for() -> None:
    memory = Memory()
    await lease(memory).take()
    memory.clock.seconds += LEASE + SKEW.total_seconds() + 1
    await asyncio.wait_for(lease(memory).take(), PATIENCE)


@pytest.mark.parametrize("rubbish", [b"", b"{", b'{"owner": 5}', b"\xff", b"[]"])
async def test_a_damaged_lease_is_watched_like_one_whose_owner_may_live(rubbish: bytes) -> None:
    memory = Memory(files={"lock": rubbish})
    taking = asyncio.create_task(lease(memory).take())
    await memory.clock.move(LEASE - 1)
    assert not taking.done()
    await memory.clock.move(LEASE)
    await taking


async def test_one_who_lost_it_gives_nothing_back() -> None:
    memory = Memory()
    first, second = lease(memory), lease(memory)
    await first.take()
    memory.clock.seconds += LEASE + SKEW.total_seconds() + 1
    await second.take()
    await first.give_back()
    assert await second.keep()


async def test_a_storage_too_slow_to_tell_two_runs_apart_is_refused() -> None:
    memory = Memory(delays=[0, SETTLE, SETTLE])
    with pytest.raises(VaultTooSlow, match="longer than 2 s"):
        await lease(memory).take()


@example([(0.0, [0.01] * 12), (0.0, [0.01, 0.01, 0.6] + [0.01] * 9)])
@given(
    st.lists(
        st.tuples(st.floats(0, 2), st.lists(st.floats(0.01, 0.6), min_size=12, max_size=12)),
        min_size=2,
        max_size=4,
    )
)
def test_of_runs_that_come_at_once_at_most_one_has_it_whatever_each_call_takes(
    runs: list[tuple[float, list[float]]],
) -> None:
    async def race() -> int:
        clock = HandClock(short=0)
        files: dict[str, bytes] = {}
        holding, most = 0, 0

        async def one(start: float, delays: list[float]) -> None:
            nonlocal holding, most
            await clock.sleep(start + 0.001)
            own = Lease(Memory(clock, files=files, delays=list(delays)), "lock", clock)
            try:
                await own.take()
            except VaultError:
                return
            holding += 1
            most = max(most, holding)
            await clock.sleep(1)
            assert await own.keep()
            holding -= 1
            await own.give_back()

        tasks = [asyncio.create_task(one(*run)) for run in runs]
        await clock.move(3 * LEASE)
        await asyncio.gather(*tasks)
        return most

    assert asyncio.run(race()) <= 1
