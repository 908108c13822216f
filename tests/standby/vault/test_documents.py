"""One document of the vault: read, held by one run at a time, written back, and waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from standby.vault.documents import AGAIN, Stored, change_document, hold_document, once_free, read_document
from standby.vault.errors import Held, NewerFormat, VaultUnavailable
from standby.vault.folder import LocalFolder
from tests.standby.vault.world import HandClock, Memory


class Known(Stored):
    times: int = 0


class Damaged(Exception):
    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")


class Busy(Exception):
    pass


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path)


@pytest.mark.parametrize(("files", "found"), [({}, None), ({"k": b""}, None), ({"k": b'{"times": 3}'}, Known(times=3))])
async def test_what_is_there_is_read(files: dict[str, bytes], found: Known | None) -> None:
    assert await read_document(Memory(files=files), "k", Known) == found
    async with hold_document(Memory(files=files), "k", Known) as held:
        assert held.found == found


async def test_what_cannot_be_understood_is_warned_of_by_name(caplog: pytest.LogCaptureFixture) -> None:
    found = await read_document(Memory(files={"k": b"secret nonsense"}), "k", Known)

    assert found is None
    assert "memory:k cannot be read and counts as missing" in caplog.text
    assert "nonsense" not in caplog.text


async def test_what_cannot_be_understood_is_an_error_where_the_caller_says_so() -> None:
    memory = Memory(files={"k": b"nonsense"})

    with pytest.raises(Damaged, match="memory:k: "):
        await read_document(memory, "k", Known, Damaged)
    with pytest.raises(Damaged, match="memory:k: "):
        async with hold_document(memory, "k", Known, unreadable=Damaged):
            pass


async def test_a_vault_that_is_down_is_no_empty_one() -> None:
    memory = Memory()
    memory.down = True

    with pytest.raises(VaultUnavailable):
        await read_document(memory, "k", Known)


async def test_what_a_holder_wrote_is_there_for_the_next_one() -> None:
    memory = Memory()
    async with hold_document(memory, "k", Known) as held:
        await held.write(Known(times=1))
        assert await read_document(memory, "k", Known) == held.found == Known(times=1)
    async with hold_document(memory, "k", Known) as held:
        assert (held.where, held.found) == ("memory:k", Known(times=1))


async def test_one_run_at_a_time_holds_it_and_gets_the_error_it_asked_for(folder: LocalFolder) -> None:
    async with hold_document(folder, "k", Known):
        with pytest.raises(Held):
            async with hold_document(folder, "k", Known):
                pass
        with pytest.raises(Busy, match=r"k$"):
            async with hold_document(folder, "k", Known, busy=Busy):
                pass
    async with hold_document(folder, "k", Known, busy=Busy):
        pass


async def test_an_error_of_the_work_is_not_taken_for_a_held_document(folder: LocalFolder) -> None:
    with pytest.raises(Held, match="another"):
        async with hold_document(folder, "k", Known, busy=Busy):
            raise Held("another")


async def test_somebody_else_is_waited_for_no_longer_than_patience_says() -> None:
    clock, tries = HandClock(), 0

    async def work() -> int:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise Busy
        return tries

    assert await once_free(clock, work, patience=10, busy=Busy) == 4
    assert clock.monotonic() == 3 * AGAIN

    tries = 0
    with pytest.raises(Busy):
        await once_free(clock, work, patience=2 * AGAIN, busy=Busy)
    assert tries == 3

    tries = 0
    with pytest.raises(Busy):
        await once_free(clock, work, patience=0, busy=Busy)
    assert tries == 1


async def test_changes_at_the_same_time_are_all_kept() -> None:
    memory = Memory()

    def once_more(known: Known | None) -> Known:
        return Known(times=(known.times if known else 0) + 1)

    await asyncio.gather(*(change_document(memory, "k", Known, once_more) for _ in range(20)))
    assert await read_document(memory, "k", Known) == Known(times=20)


async def test_a_change_that_changes_nothing_writes_nothing() -> None:
    memory = Memory(files={"k": b'{"times": 3}'})
    assert await change_document(memory, "k", Known, lambda _: Known(times=3)) == Known(times=3)
    assert memory.written == []


async def test_a_write_that_arrived_without_an_answer_is_known_for_ours() -> None:
    class Deaf(Memory):
        async def swap(self, path: str, content: bytes, tag: str | None) -> str:
            new = await super().swap(path, content, tag)
            if b"3" in content and path == "k":
                raise VaultUnavailable(self.where(path), "written", "no answer")
            return new

    memory = Deaf()
    async with hold_document(memory, "k", Known) as held:
        with pytest.raises(VaultUnavailable):
            await held.write(Known(times=3))
        await held.write(Known(times=4))
    assert await read_document(memory, "k", Known) == Known(times=4)


async def test_what_cannot_be_understood_is_set_aside_before_something_takes_its_place() -> None:
    memory = Memory(files={"k": b"nonsense", "l": b"other nonsense"})

    async with hold_document(memory, "k", Known) as held:
        assert "k.damaged" not in memory.files, "nothing was written yet"
        await held.write(Known(times=1))
        await held.write(Known(times=2))
    await change_document(memory, "l", Known, lambda known: known or Known(times=3))
    memory.files["l"] = b"worse"
    for _ in range(2):
        await change_document(memory, "l", Known, lambda known: known or Known(times=4))

    assert memory.files["k.damaged"] == b"nonsense\n"
    assert memory.files["l.damaged"] == b"other nonsense\nworse\n"
    assert await read_document(memory, "k", Known) == Known(times=2)


@pytest.mark.parametrize("unreadable", [None, Damaged])
async def test_what_a_newer_version_wrote_is_neither_missing_nor_overwritten(
    unreadable: type[Damaged] | None,
) -> None:
    newer = b'{"format": 2, "times": 3}'
    memory = Memory(files={"k": newer})

    with pytest.raises(NewerFormat, match="memory:k was written by a newer version"):
        await read_document(memory, "k", Known, unreadable)
    with pytest.raises(NewerFormat):
        async with hold_document(memory, "k", Known, unreadable=unreadable):
            pytest.fail("it is not held")
    with pytest.raises(NewerFormat):
        await change_document(memory, "k", Known, lambda _: Known())

    assert (memory.files["k"], set(memory.files) - {"k", "k.lock"}) == (newer, set())
