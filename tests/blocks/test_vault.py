"""The vault in Prefect's file systems: what every one of them promises, and how blocks are found."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.blocks.system import Secret
from prefect.filesystems import LocalFileSystem, RemoteFileSystem, WritableFileSystem
from pydantic import SecretStr

from blocks import BlockFileSystem, VaultBlockUnusable, open_second, open_vault
from standby.config.vault import SecondStore, VaultSettings
from standby.vault.errors import Held, OutsideVault, VaultNeedsPrefect, VaultUnavailable
from standby.vault.filesystem import FileSystem
from standby.vault.folder import LocalFolder, open_folder
from standby.vault.journal import LOOK, RENEWAL, SAVE_EVERY
from tests.patience import PATIENCE
from tests.standby.vault.world import HandClock, Memory

REFERENCE = "remote-file-system/vault"


def remote(clock: HandClock | None = None, place: str = "") -> BlockFileSystem:
    block = RemoteFileSystem(basepath=f"memory://{place or uuid4().hex}")
    return BlockFileSystem(block, REFERENCE, clock or HandClock())


@pytest.fixture(params=["folder", "remote", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FileSystem:
    if request.param == "folder":
        return LocalFolder(tmp_path / "vault")
    return remote() if request.param == "remote" else Memory()


# What every file system promises.


async def test_what_is_written_is_read_and_what_is_not_is_missing(files: FileSystem) -> None:
    assert await files.read("a/b/file.json") is None
    await files.write("a/b/file.json", b"\x00one")
    assert await files.read("a/b/file.json") == b"\x00one"
    assert await files.read("a/b/other.json") is None


async def test_writing_again_leaves_nothing_of_what_was_there(files: FileSystem) -> None:
    await files.write("file", b"a long content")
    await files.write("file", b"")
    assert await files.read("file") == b""


async def test_what_is_removed_is_missing_or_empty(files: FileSystem) -> None:
    await files.write("a/file", b"content")

    await files.remove("a/file")
    await files.remove("a/never-there")

    assert not await files.read("a/file")
    assert await files.read("a/never-there") is None
    with pytest.raises(OutsideVault):
        await files.remove("../x")


async def test_many_files_can_be_written_at_once(files: FileSystem) -> None:
    await asyncio.gather(*(files.write(f"many/{number}", b"%d" % number) for number in range(30)))
    assert [await files.read(f"many/{number}") for number in range(30)] == [b"%d" % n for n in range(30)]


async def test_a_path_cannot_lead_out(files: FileSystem) -> None:
    for path in ("../x", "/x", "a/../../x", "memory://other/x", ""):
        with pytest.raises(OutsideVault):
            await files.read(path)
        with pytest.raises(OutsideVault):
            await files.write(path, b"x")


async def test_a_journal_keeps_its_lines_and_gives_them_to_the_next_one(files: FileSystem) -> None:
    async with files.hold("journal") as journal:
        assert journal.found is None
        journal.add(b"one\n")
        journal.add(b"two\n")
    async with files.hold("journal") as journal:
        assert journal.found == b"one\ntwo\n"
        await journal.rewrite(b"two\n")
        assert await files.read("journal") == b"two\n"
        journal.add(b"three\n")
    assert await files.read("journal") == b"two\nthree\n"


async def test_where_a_file_is_can_be_told(files: FileSystem) -> None:
    assert "replaced/x.json" in files.where("replaced/x.json")


# Blocks.


async def until(holds: Any) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await holds():
            await asyncio.sleep(0.005)


async def test_a_journal_in_a_block_is_saved_meanwhile_too() -> None:
    clock = HandClock()
    files = remote(clock)
    async with files.hold("journal") as journal:
        journal.add(b"one\n")

        async def saved() -> bool:
            await clock.move(SAVE_EVERY)
            return await files.read("journal") == b"one\n"

        await until(saved)


async def test_a_second_run_at_one_block_is_refused_once_the_first_shows_that_it_lives() -> None:
    place = uuid4().hex
    first_clock, second_clock = HandClock(), HandClock()
    first, second = remote(first_clock, place), remote(second_clock, place)
    async with first.hold("journal") as journal:
        lease = await first.read("journal.lock")
        waiting = asyncio.create_task(second.hold("journal").__aenter__())

        async def watches() -> bool:
            return second_clock.sleepers > 0

        async def lives() -> bool:
            await first_clock.move(RENEWAL)
            # Two who read a file of memory:// at once share its position, and one may find nothing in it.
            return await first.read("journal.lock") not in (lease, b"")

        await until(watches)
        await until(lives)
        await second_clock.move(LOOK)
        with pytest.raises(Held):
            async with asyncio.timeout(PATIENCE):
                await waiting
        journal.add(b"one\n")
    assert await first.read("journal") == b"one\n"


class Stubborn(WritableFileSystem):
    """A file system that fails as it is told, and remembers in which threads it ran."""

    _block_type_name = "Stubborn"
    _error: Exception | None = None
    _threads: set[int] = set()  # noqa: RUF012 - a private attribute, which pydantic copies

    async def read_path(self, path: str) -> bytes:
        self._threads.add(threading.get_ident())
        if self._error is not None:
            raise self._error
        return b"content"

    async def write_path(self, path: str, content: bytes) -> None:
        await self.read_path(path)


def stubborn(error: Exception | None = None) -> tuple[Stubborn, BlockFileSystem]:
    block = Stubborn()
    block._error = error
    return block, BlockFileSystem(block, "stubborn/vault")


async def test_a_block_that_has_only_the_two_methods_of_the_protocol_will_do() -> None:
    block, files = stubborn()
    assert await files.read("x") == b"content"
    await files.write("x", b"")
    assert threading.get_ident() not in block._threads


async def test_an_outage_is_told_without_what_the_storage_said() -> None:
    error = RuntimeError("sig=secret")
    error.__cause__ = PermissionError("key=secret")
    _, files = stubborn(error)
    for call in (files.read("x"), files.write("x", b"")):
        with pytest.raises(VaultUnavailable, match="RuntimeError after PermissionError") as caught:
            await call
        assert "secret" not in str(caught.value)
        assert "x in the block stubborn/vault could not be" in str(caught.value)


async def test_a_file_that_is_missing_while_writing_is_an_outage() -> None:
    _, files = stubborn(FileNotFoundError("container"))
    assert await files.read("x") is None
    with pytest.raises(VaultUnavailable):
        await files.write("x", b"")


def test_a_run_without_prefect_needs_a_folder() -> None:
    with pytest.raises(VaultNeedsPrefect, match="add a path beside the block"):
        open_folder(VaultSettings(block=REFERENCE))
    both = VaultSettings(path=Path("keep"), block=REFERENCE)
    assert open_folder(both) == LocalFolder(Path("keep"))
    assert open_folder(VaultSettings()) == LocalFolder(Path("vault"))


async def test_a_vault_without_a_block_is_its_folder_for_flows_too(tmp_path: Path) -> None:
    assert await open_vault(VaultSettings(path=tmp_path)) == LocalFolder(tmp_path)


# Blocks of a server.


async def test_a_block_is_loaded_by_its_reference(prefect_server: Any) -> None:
    await RemoteFileSystem(basepath="memory://loaded").asave("vault", overwrite=True)
    files = await open_vault(VaultSettings(block=REFERENCE, path=Path("not-used")))
    await files.write("x", b"one")
    assert isinstance(files, BlockFileSystem)
    assert await remote(place="loaded").read("x") == b"one"


async def test_a_local_file_system_block_is_a_folder_with_all_its_safety(prefect_server: Any, tmp_path: Path) -> None:
    await LocalFileSystem(basepath=str(tmp_path)).asave("vault", overwrite=True)
    assert await open_vault(VaultSettings(block="local-file-system/vault")) == LocalFolder(tmp_path)


async def test_the_second_store_is_a_folder_a_block_or_nothing(prefect_server: Any, tmp_path: Path) -> None:
    await LocalFileSystem(basepath=str(tmp_path)).asave("second", overwrite=True)
    assert await open_second(VaultSettings()) is None
    for second in (SecondStore(path=tmp_path), SecondStore(block="local-file-system/second")):
        assert await open_second(VaultSettings(second=second)) == LocalFolder(tmp_path)
    with pytest.raises(VaultBlockUnusable, match="remote-file-system/no-such is not on the Prefect server"):
        await open_second(VaultSettings(second=SecondStore(block="remote-file-system/no-such")))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("remote-file-system/no-such", "is not on the Prefect server"),
        ("no-such-type/vault", "is not on the Prefect server"),
        ("secret/vault", "is not a file system that can be written to"),
    ],
)
async def test_a_block_that_cannot_be_the_vault_is_refused_by_name(
    prefect_server: Any, block: str, reason: str
) -> None:
    await Secret(value=SecretStr("x")).asave("vault", overwrite=True)
    with pytest.raises(VaultBlockUnusable, match=f"The vault's block {block} {reason}"):
        await open_vault(VaultSettings(block=block))
