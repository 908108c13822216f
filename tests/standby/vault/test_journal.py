"""A journal that is one object: saved now and then and at the end, whatever the storage and the caller do."""

from __future__ import annotations

import asyncio

import pytest

from standby.vault.errors import Held, VaultUnavailable
from standby.vault.journal import LEASE, SAVE_EVERY
from tests.standby.vault.world import HandClock, Killed, Memory, settled


async def test_lines_are_saved_after_some_seconds_and_at_the_end() -> None:
    memory = Memory()
    async with memory.hold("j") as journal:
        journal.add(b"one\n")
        await settled()
        assert "j" not in memory.files
        await memory.clock.move(SAVE_EVERY)
        assert memory.files["j"] == b"one\n"
        journal.add(b"two\n")
    assert memory.files["j"] == b"one\ntwo\n"


async def test_many_lines_make_one_write() -> None:
    memory = Memory()
    async with memory.hold("j") as journal:
        for _ in range(100):
            journal.add(b"line\n")
        await memory.clock.move(SAVE_EVERY)
        await memory.clock.move(3 * SAVE_EVERY)
    assert memory.written.count("j") == 1


async def test_lines_are_saved_when_the_caller_is_cancelled_even_twice() -> None:
    memory = Memory()

    async def work() -> None:
        async with memory.hold("j") as journal:
            journal.add(b"one\n")
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await settled()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert memory.files["j"] == b"one\n"
    async with memory.hold("j") as journal:
        assert journal.found == b"one\n"


async def test_a_storage_that_is_down_for_a_while_costs_nothing_and_is_warned_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    memory = Memory()
    async with memory.hold("j") as journal:
        journal.add(b"one\n")
        memory.down = True
        await memory.clock.move(5 * SAVE_EVERY)
        assert "j" not in memory.files
        memory.down = False
        await memory.clock.move(SAVE_EVERY)
        assert memory.files["j"] == b"one\n"
    assert [record.message.count("could not be") for record in caplog.records] == [1]


async def test_a_storage_that_stays_down_is_told_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    memory = Memory()
    async with memory.hold("j") as journal:
        journal.add(b"one\n")
        memory.down = True
    assert "The last lines of memory:j were not saved" in caplog.text


async def test_a_journal_that_cannot_be_opened_is_no_empty_one() -> None:
    memory = Memory(files={"j": b"one\n"})
    memory.down = True
    with pytest.raises(VaultUnavailable):
        async with memory.hold("j"):
            pytest.fail("opened")


async def test_rewriting_is_saved_when_it_returns() -> None:
    memory = Memory(files={"j": b"one\ntwo\n"})
    async with memory.hold("j") as journal:
        await journal.rewrite(b"two\n")
        assert memory.files["j"] == b"two\n"
        await journal.rewrite(b"six\n")
        assert memory.files["j"] == b"six\n"


async def test_a_run_that_was_taken_for_dead_writes_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """Its machine was suspended; meanwhile another one took over."""
    files: dict[str, bytes] = {}
    suspended, other = Memory(HandClock(), files=files), Memory(HandClock(short=LEASE), files=files)
    async with suspended.hold("j") as lost:
        lost.add(b"lost\n")
        async with other.hold("j") as journal:
            journal.add(b"theirs\n")
            await suspended.clock.move(2 * SAVE_EVERY)
        await suspended.clock.move(2 * SAVE_EVERY)
    assert files["j"] == b"theirs\n"
    assert caplog.text.count("Another run took over memory:j") == 1


async def test_a_second_run_is_refused_and_the_first_goes_on() -> None:
    clock = HandClock()
    memory = Memory(clock)
    async with memory.hold("j") as journal:
        second = asyncio.create_task(memory.hold("j").__aenter__())
        await clock.move(2 * LEASE)
        with pytest.raises(Held):
            await second
        journal.add(b"one\n")
    assert memory.files["j"] == b"one\n"


async def test_a_crash_before_any_call_leaves_the_old_lines_or_the_new_ones() -> None:
    old, new = b"old\n", b"old\nnew\n"
    ends = set()
    dies_at = 0
    alive = False
    while not alive:
        dies_at += 1
        memory = Memory(files={"j": old}, dies_at=dies_at)
        try:
            async with memory.hold("j") as journal:
                journal.add(b"new\n")
            alive = True
        except Killed:
            pass
        assert memory.files["j"] in {old, new}
        ends.add(memory.files["j"])
        again = Memory(HandClock(short=LEASE), files=memory.files)
        async with again.hold("j") as journal:
            assert journal.found in {old, new}
    assert ends == {old, new}
    assert dies_at > 5
