"""One holder at a time in a storage that swaps, whatever becomes of the holders."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.vault.errors import Held, TakenOver, VaultError, VaultUnavailable
from standby.vault.storage import LEASE, RENEWAL, SKEW, HeldFile
from tests.standby.vault.world import HandClock, Killed, Memory, settled


async def test_a_file_that_was_left_is_free_at_once() -> None:
    memory = Memory()
    async with memory.hold("file"):
        pass
    begun = memory.clock.seconds
    async with memory.hold("file"):
        assert memory.clock.seconds == begun


async def test_a_live_holder_is_noticed_by_its_renewals() -> None:
    memory = Memory(HandClock(short=0))
    async with memory.hold("file") as file:
        second = asyncio.create_task(memory.hold("file").__aenter__())
        await memory.clock.move(2 * RENEWAL)
        with pytest.raises(Held, match="memory:file"):
            await second
        await file.write(b"still ours")
    assert memory.files["file"] == b"still ours"


class Suspended(HandClock):
    """The clock of a machine that stands still: whoever sleeps by it never wakes."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


async def test_a_dead_holder_is_waited_for_and_then_followed_and_writes_no_more() -> None:
    files: dict[str, bytes] = {}
    suspended, other = Memory(Suspended(), files=files), Memory(HandClock(short=0), files=files)
    async with suspended.hold("file") as lost:
        await lost.write(b"theirs\n")
        async with AsyncExitStack() as stack:
            taking = asyncio.create_task(stack.enter_async_context(other.hold("file")))
            await other.clock.move(LEASE - 1)
            assert not taking.done()
            await other.clock.move(LEASE)
            file = await taking
            assert file.found == b"theirs\n"
            await file.write(b"ours\n")
            with pytest.raises(TakenOver, match="memory:file"):
                await lost.write(b"theirs again\n")
            await file.write(b"ours again\n")
    assert files["file"] == b"ours again\n"


async def test_a_holder_that_died_long_ago_is_not_waited_for() -> None:
    files: dict[str, bytes] = {}
    with pytest.raises(Killed):
        async with Memory(files=files).hold("file"):
            raise Killed
    clock = HandClock()
    clock.seconds += LEASE + SKEW.total_seconds() + 1
    begun = clock.seconds
    async with Memory(clock, files=files).hold("file"):
        assert clock.seconds == begun


@pytest.mark.parametrize("rubbish", [b"", b"{", b'{"owner": 5}', b"\xff", b"[]"])
async def test_a_damaged_lease_is_watched_like_one_whose_owner_may_live(rubbish: bytes) -> None:
    memory = Memory(HandClock(short=0), files={"file.lock": rubbish})
    async with AsyncExitStack() as stack:
        taking = asyncio.create_task(stack.enter_async_context(memory.hold("file")))
        await memory.clock.move(LEASE - 1)
        assert not taking.done()
        await memory.clock.move(LEASE)
        await taking


async def test_a_lost_lock_lets_no_two_runs_write_in_turn() -> None:
    memory = Memory()
    async with memory.hold("file") as first:
        await first.write(b"first")
        del memory.files["file.lock"]
        async with memory.hold("file") as second:
            await second.write(b"second")
            with pytest.raises(TakenOver):
                await first.write(b"first again")
            await second.write(b"second again")
    assert memory.files["file"] == b"second again"


async def test_a_storage_that_is_down_for_a_while_does_not_cost_the_lease() -> None:
    memory = Memory(HandClock(short=0))
    async with memory.hold("file") as file:
        memory.down = True
        await memory.clock.move(RENEWAL)
        memory.down = False
        await memory.clock.move(RENEWAL)
        await file.write(b"ours")
    assert memory.files["file"] == b"ours"


async def test_a_storage_that_does_not_answer_is_no_free_one() -> None:
    memory = Memory()
    memory.down = True
    with pytest.raises(VaultUnavailable):
        async with memory.hold("file"):
            pytest.fail("held")


async def test_a_cancelled_holder_leaves_the_file_free() -> None:
    memory = Memory()

    async def work() -> None:
        async with memory.hold("file"):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with memory.hold("file") as file:
        await file.write(b"ours")


@given(
    st.lists(
        st.tuples(st.floats(0, 100), st.lists(st.floats(0.01, 20), min_size=12, max_size=12), st.booleans()),
        min_size=2,
        max_size=4,
    )
)
def test_whatever_each_call_takes_and_whoever_dies_no_write_is_built_on_what_another_run_replaced(
    runs: list[tuple[float, list[float], bool]],
) -> None:
    async def race() -> tuple[list[bytes], list[bytes]]:
        clock = HandClock(short=0)
        files: dict[str, bytes] = {}
        history: list[bytes] = []
        kept: list[bytes] = []

        async def one(number: int, start: float, delays: list[float], dies: bool) -> None:
            await clock.sleep(start + 0.001)
            own = Memory(clock, files=files, delays=list(delays))

            async def add(file: HeldFile, step: int) -> None:
                line = b"%d.%d\n" % (number, step)
                await file.write((file.found or b"") + line)
                history.append(line)

            try:
                async with own.hold("file") as file:
                    await add(file, 1)
                    await clock.sleep(5)
                    if dies:
                        own.down = True
                    await add(file, 2)
            except VaultError:
                return

        tasks = [asyncio.create_task(one(number, *run)) for number, run in enumerate(runs)]
        await clock.move(20 * LEASE)
        await asyncio.gather(*tasks)
        kept.extend(files.get("file", b"").splitlines(keepends=True))
        return history, kept

    history, kept = asyncio.run(race())
    assert kept == history
