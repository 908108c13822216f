"""The vault in a folder: whole files or none, inside it only, one writer."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from standby.document import write_whole
from standby.vault.errors import Changed, Held, OutsideVault, TakenOver, VaultUnavailable
from standby.vault.folder import LocalFolder
from standby.vault.storage import Version
from tests.patience import PATIENCE

OUTSIDE = ["", "/etc/passwd", "..", "a/../../b", "a//b", "./a", "a/", "a\\b", "a\0b", "file:a", "a?b", "a#b"]

ENDLESS = """
import asyncio, sys
from pathlib import Path
from standby.vault.folder import LocalFolder
async def write():
    folder = LocalFolder(Path(sys.argv[1]))
    print("begun", flush=True)
    while True:
        for letter in b"ab":
            await folder.write("a/file", bytes([letter]) * 300_000)
asyncio.run(write())
"""

HOLDER = """
import asyncio, sys
from pathlib import Path
from standby.vault.folder import LocalFolder
async def hold():
    async with LocalFolder(Path(sys.argv[1])).hold("file"):
        print("held", flush=True)
        await asyncio.sleep(60)
asyncio.run(hold())
"""


FULL = """
import asyncio, resource, signal, sys
from pathlib import Path
from standby.vault.errors import VaultUnavailable
from standby.vault.folder import LocalFolder
async def fill():
    async with LocalFolder(Path(sys.argv[1])).hold("file") as file:
        await file.write(b"one\\n")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6, resource.RLIM_INFINITY))
        try:
            await file.write(b"one\\ntwo\\n")
        except VaultUnavailable as error:
            print(error.cause, flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await file.write(b"one\\ntwo\\nthree\\n")
asyncio.run(fill())
"""

CONTENDER = """
import asyncio, sys
from pathlib import Path
from standby.vault.errors import Changed
from standby.vault.folder import LocalFolder
async def count(times):
    folder = LocalFolder(Path(sys.argv[1]))
    print("begun", flush=True)
    won = 0
    while won < times:
        there = await folder.read_version("a/counter")
        number = int(there.content) if there else 0
        try:
            await folder.swap("a/counter", b"%d" % (number + 1), there.tag if there else None)
            won += 1
        except Changed:
            pass
asyncio.run(count(250))
"""


@pytest.fixture
def folder(tmp_path: Path) -> LocalFolder:
    return LocalFolder(tmp_path / "vault")


@contextmanager
def process(code: str, root: Path, says: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline() == f"{says}\n"
            yield started
        finally:
            started.kill()


@pytest.mark.parametrize("path", OUTSIDE)
async def test_a_path_that_could_lead_out_is_refused_for_everything(folder: LocalFolder, path: str) -> None:
    with pytest.raises(OutsideVault):
        await folder.read(path)
    with pytest.raises(OutsideVault):
        await folder.write(path, b"")
    with pytest.raises(OutsideVault):
        async with folder.hold(path):
            pytest.fail("held")
    assert not folder.root.exists()


async def test_a_link_that_leads_out_is_not_followed(folder: LocalFolder, tmp_path: Path) -> None:
    folder.root.mkdir()
    (tmp_path / "outside").mkdir()
    (folder.root / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(OutsideVault):
        await folder.write("link/file", b"")
    assert list((tmp_path / "outside").iterdir()) == []


async def test_a_vault_that_is_a_link_itself_is_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    folder = LocalFolder(tmp_path / "link")
    await folder.write("a/file", b"x")
    assert await folder.read("a/file") == b"x"


async def test_a_file_that_cannot_be_read_is_not_called_missing(folder: LocalFolder) -> None:
    (folder.root / "file").mkdir(parents=True)
    with pytest.raises(VaultUnavailable, match="could not be read"):
        await folder.read("file")


def names(folder: LocalFolder) -> list[str]:
    return sorted(path.name for path in folder.root.iterdir())


async def test_a_file_that_cannot_be_written_says_why_and_leaves_nothing(folder: LocalFolder) -> None:
    (folder.root / "file").mkdir(parents=True)
    with pytest.raises(VaultUnavailable, match="could not be written: Is a directory"):
        await folder.write("file", b"x")
    assert names(folder) == ["file"]


def test_whoever_reads_while_a_writer_is_killed_sees_one_whole_content(folder: LocalFolder) -> None:
    seen = set()
    for _ in range(3):
        with process(ENDLESS, folder.root, "begun") as writer:
            place = folder.root / "a" / "file"
            while not place.exists():
                assert writer.poll() is None
            for _ in range(50):
                seen.add(place.read_bytes())
            writer.send_signal(signal.SIGKILL)
            writer.wait(10)
            seen.add(place.read_bytes())
    assert seen <= {b"a" * 300_000, b"b" * 300_000}


async def test_another_process_is_refused_until_the_holder_is_killed(folder: LocalFolder) -> None:
    with process(HOLDER, folder.root, "held") as holder:
        with pytest.raises(Held):
            async with folder.hold("file"):
                pytest.fail("two writers")
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        async with folder.hold("file") as file:
            await file.write(b"line\n")
    assert await folder.read("file") == b"line\n"


async def test_a_full_disk_fails_the_write_it_cuts_off_and_no_other(folder: LocalFolder) -> None:
    says = f"{folder.root / 'file'} could not be written: File too large"
    with process(FULL, folder.root, says) as writer:
        assert writer.wait(30) == 0
    assert await folder.read("file") == b"one\ntwo\nthree\n"
    assert names(folder) == ["file", "file.lock"]


async def test_of_two_processes_that_swap_one_file_each_swap_has_one_winner(folder: LocalFolder) -> None:
    with process(CONTENDER, folder.root, "begun") as one, process(CONTENDER, folder.root, "begun") as other:
        assert (one.wait(PATIENCE), other.wait(PATIENCE)) == (0, 0)
    assert await folder.read("a/counter") == b"500"


async def test_a_file_is_swapped_only_as_it_was_read(folder: LocalFolder) -> None:
    tag = await folder.swap("file", b"one", None)
    with pytest.raises(Changed, match="file"):
        await folder.swap("file", b"two", None)
    second = await folder.swap("file", b"two", tag)
    with pytest.raises(Changed):
        await folder.swap("file", b"three", tag)
    assert await folder.read_version("file") == Version(b"two", second)


async def test_a_lost_lock_file_lets_no_two_runs_write_in_turn(folder: LocalFolder) -> None:
    async with folder.hold("file") as first:
        await first.write(b"first")
        (folder.root / "file.lock").unlink()
        async with folder.hold("file") as second:
            await second.write(b"second")
            with pytest.raises(TakenOver, match="file"):
                await first.write(b"first again")
            await second.write(b"second again")
        with pytest.raises(TakenOver):
            await first.write(b"first at last")
    assert await folder.read("file") == b"second again"


async def test_a_cancelled_write_is_known_to_the_next_one(folder: LocalFolder) -> None:
    async with folder.hold("file") as file:
        writing = asyncio.create_task(file.write(b"one"))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await file.write(b"two")
    assert await folder.read("file") == b"two"


async def test_files_and_folders_are_their_owners_alone_whatever_the_umask(folder: LocalFolder) -> None:
    for mask in (0o000, 0o077, 0o277):
        before = os.umask(mask)
        try:
            await folder.write(f"a{mask}/file", b"x")
            async with folder.hold(f"b{mask}/file") as file:
                await file.write(b"x")
        finally:
            os.umask(before)
        for name in ("a", "b"):
            place = folder.root / f"{name}{mask}"
            assert stat.S_IMODE((place / "file").stat().st_mode) == 0o600
            assert stat.S_IMODE(place.stat().st_mode) & 0o077 == 0


async def test_files_are_listed_by_path_without_locks_and_unfinished_ones(folder: LocalFolder) -> None:
    assert await folder.list() == await folder.list("a/") == ()
    for path in ("b/two", "a/one", "a/c/three"):
        await folder.write(path, path.encode())
    async with folder.hold("a/one"):
        (folder.root / "a" / ".one.1234.new").write_bytes(b"half")
        sizes = {found.path: found.size for found in await folder.list()}
    assert list(sizes.items()) == [("a/c/three", 9), ("a/one", 5), ("b/two", 5)]
    (found,) = await folder.list("b/")
    assert (found.path, found.changed_at.utcoffset()) == ("b/two", timedelta(0))


@pytest.mark.parametrize(
    ("root", "reason"),
    [
        ("loop", "loop is a link to itself"),
        ("loop/vault", "loop is a link to itself"),
        ("v" * 300, "File name too long"),
        ("v/" * 3000, "File name too long"),
    ],
    ids=["loop", "below a loop", "long name", "long path"],
)
async def test_a_vault_that_cannot_be_found_says_why(tmp_path: Path, root: str, reason: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    folder = LocalFolder(tmp_path / root)
    for work in (folder.read("a"), folder.write("a", b""), folder.swap("a", b"", None), folder.list()):
        with pytest.raises(VaultUnavailable, match=reason):
            await work


async def test_a_device_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    with pytest.raises(VaultUnavailable, match="is a device or a pipe"):
        await LocalFolder(tmp_path).write("a", b"x")
    assert (tmp_path / "a").is_fifo()


def test_what_is_written_as_a_whole_replaces_no_device_either(tmp_path: Path) -> None:
    (tmp_path / "b").symlink_to("/dev/null")
    write_whole(tmp_path / "b", "x")
    assert (tmp_path / "b").is_symlink()
    write_whole(tmp_path / "c", "x")
    assert {each.name for each in tmp_path.iterdir()} == {"b", "c"}


@pytest.mark.parametrize("link", ["vault", "disk"])
async def test_a_vault_behind_a_dangling_link_is_no_empty_one(tmp_path: Path, link: str) -> None:
    (tmp_path / link).symlink_to(tmp_path / "not-mounted")
    folder = LocalFolder(tmp_path / "vault" if link == "vault" else tmp_path / "disk" / "vault")
    for call in (folder.read("a/file"), folder.read_version("a/file"), folder.write("a/file", b"x"), folder.list()):
        with pytest.raises(VaultUnavailable, match="is a link to something that is not there"):
            await call
    assert not (tmp_path / "not-mounted").exists()
