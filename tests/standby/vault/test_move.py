"""A vault that is copied to another place: whole or not used, its source untouched."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.clock import SystemClock
from standby.config.vault import Place
from standby.vault.errors import NothingToMove, OtherVault, RunUnderWay, StillWritten, Unfinished, VaultUnavailable
from standby.vault.folder import LocalFolder
from standby.vault.replica import Replicated
from standby.vault.role import ROLE, Move, Moved, guarded, read_role
from standby.vault.storage import Listed, Storage
from standby.vault.vault import open_place
from tests.standby.vault.world import HandClock, Killed, Memory, MemoryVault

FILES = {
    "recovery/p/fence.json": b'{"epoch": 1}',
    "audit/p.jsonl": b"one\ntwo\n",
    "objects/p/ab": b"definition",
    "snapshots/p/index.jsonl": b"line\n",
}


async def move(source: Storage, target: Storage) -> Moved:
    return await Move(source, target, "vault", SystemClock(), "ada@desk").run()


def records(place: MemoryVault) -> dict[str, bytes]:
    return {path: content for path, content in place.files.items() if path != ROLE}


async def test_everything_is_copied_and_the_source_stays_as_it_is() -> None:
    source, target = Memory(files=dict(FILES)), Memory()
    moved = await move(source, target)
    assert (moved.copied, moved.equal) == (4, 0)
    assert records(target) == source.files == FILES
    role = await read_role(target)
    assert role is not None
    assert (role.kind, role.by) == ("vault", "ada@desk")
    assert source.written == []


@given(died=st.lists(st.integers(1, 25), max_size=3))
def test_killed_anywhere_it_is_continued_and_until_then_not_used(died: list[int]) -> None:
    async def run() -> None:
        source, target = Memory(files=dict(FILES)), Memory()
        for calls in died:
            target.calls, target.dies_at = 0, calls
            try:
                await move(source, target)
            except Killed:
                target.dies_at = None
                if records(target) and records(target) != FILES:
                    with pytest.raises(Unfinished):
                        await guarded(target).write("audit/p.jsonl", b"")
        target.dies_at = None
        await move(source, target)
        assert records(target) == source.files == FILES
        await guarded(target).write("audit/p.jsonl", b"three\n")

    asyncio.run(run())


async def test_nothing_that_is_there_already_is_copied_again() -> None:
    source, target = Memory(files=dict(FILES)), Memory()
    await move(source, target)
    target.written.clear()
    moved = await move(source, target)
    assert (moved.copied, moved.equal) == (0, 4)
    assert set(target.written) == {ROLE}


@pytest.mark.parametrize(
    "there", [{"recovery/q/fence.json": b"{}"}, {**FILES, "ledger/x.jsonl": b"a copy"}], ids=["another", "more"]
)
async def test_what_the_source_does_not_have_is_not_moved_upon(there: dict[str, bytes]) -> None:
    source, target = Memory(files=dict(FILES)), Memory(files=dict(there))
    with pytest.raises(OtherVault):
        await move(source, target)
    assert target.files == there


async def test_what_is_newer_at_the_target_is_not_overwritten_and_what_is_older_is(tmp_path: Path) -> None:
    source, target = LocalFolder(tmp_path / "a"), LocalFolder(tmp_path / "b")
    await target.write("audit/p.jsonl", b"one\n")
    await source.write("audit/p.jsonl", b"one\ntwo\n")
    await move(source, target)
    assert await target.read("audit/p.jsonl") == b"one\ntwo\n"
    await target.write("audit/p.jsonl", b"one\ntwo\nthree\n")
    with pytest.raises(OtherVault):
        await move(source, target)
    assert await target.read("audit/p.jsonl") == b"one\ntwo\nthree\n"


async def test_another_move_to_the_same_place_has_to_end_first() -> None:
    source, target = Memory(files=dict(FILES)), Memory(dies_at=12)
    with pytest.raises(Killed):
        await move(source, target)
    target.dies_at = None

    class Elsewhere(Memory):
        def where(self, path: str) -> str:
            return f"elsewhere:{path}"

    with pytest.raises(Unfinished):
        await move(Elsewhere(files=dict(FILES)), target)
    with pytest.raises(Unfinished):
        await move(target, Memory())


async def test_an_empty_source_is_no_vault() -> None:
    with pytest.raises(NothingToMove):
        await move(Memory(), Memory())


@pytest.mark.parametrize("kind", ["folder", "object storage"])
async def test_a_run_that_holds_something_is_waited_for(kind: str, tmp_path: Path) -> None:
    source: Storage = LocalFolder(tmp_path) if kind == "folder" else Memory(HandClock(), files=dict(FILES))
    clock = SystemClock() if kind == "folder" else HandClock()
    if kind == "folder":
        await source.write("recovery/p/fence.json", b"{}")
    target = Memory()
    async with source.hold("recovery/p/fence.json"):
        with pytest.raises(RunUnderWay):
            await Move(source, target, "vault", clock).run()
        assert target.files == {}
    await Move(source, target, "vault", clock).run()


class Busy(Memory):
    """A vault that a run writes to whenever it is listed, for some time."""

    def __init__(self, times: int) -> None:
        super().__init__(files=dict(FILES))
        self.times = times

    async def list(self, prefix: str = "") -> tuple[Listed, ...]:
        listed = await super().list(prefix)
        if self.times:
            self.times -= 1
            self.files[f"decisions/{self.times}.json"] = b"{}"
            self.files.pop("objects/p/ab", None)
        return listed


async def test_what_is_written_or_removed_meanwhile_is_so_in_the_copy_too() -> None:
    source, target = Busy(2), Memory()
    await move(source, target)
    assert records(target) == source.files


async def test_a_vault_that_is_written_all_the_time_is_not_called_copied() -> None:
    source, target = Busy(1000), Memory()
    with pytest.raises(StillWritten):
        await move(source, target)
    with pytest.raises(Unfinished):
        await guarded(target).write("audit/p.jsonl", b"")


class Lossy(Memory):
    """A place that keeps less of a file than was written."""

    def _write(self, path: str, content: bytes) -> None:
        super()._write(path, content[:-1] if path != ROLE else content)


async def test_a_copy_that_is_not_what_was_written_is_noticed() -> None:
    with pytest.raises(VaultUnavailable, match="a file read back differs"):
        await move(Memory(files=dict(FILES)), Lossy())


async def test_a_vault_that_was_moved_is_written_no_more_where_its_replica_has_followed() -> None:
    first, second, new = Memory(), Memory(), Memory()
    vault = Replicated(first, second)
    await vault.write("recovery/p/fence.json", b"{}")
    await vault.aclose()
    await move(first, new)
    later = Replicated(new, second)
    await later.write("recovery/p/fence.json", b'{"epoch": 2}')
    assert (await later.catch_up(5)).whole
    await later.aclose()
    state = await vault.state()
    assert state.refused
    assert "was promoted" in state.problem


async def test_a_folder_is_moved_to_real_object_storage_and_back(place: Place, tmp_path: Path) -> None:
    source, back = LocalFolder(tmp_path / "a"), LocalFolder(tmp_path / "b")
    for path, content in FILES.items():
        await source.write(path, content)
    async with open_place(place) as there:
        moved = await move(source, there)
        assert (moved.copied, moved.size) == (4, sum(map(len, FILES.values())))
        again = await move(source, there)
        assert again.copied == 0
        await move(there, back)
    for path, content in FILES.items():
        assert await back.read(path) == content
    assert not list((tmp_path / "a").rglob("role.json"))
