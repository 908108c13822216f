"""The vault in a folder: whole files or none, inside it only, one writer."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from standby.vault.errors import Held, OutsideVault, VaultUnavailable
from standby.vault.folder import LocalFolder

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
    async with LocalFolder(Path(sys.argv[1])).hold("journal"):
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
    async with LocalFolder(Path(sys.argv[1])).hold("journal") as journal:
        journal.add(b"one\\n")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6, resource.RLIM_INFINITY))
        try:
            journal.add(b"two\\n")
        except VaultUnavailable as error:
            print(error.cause, flush=True)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        journal.add(b"three\\n")
asyncio.run(fill())
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
            async with folder.hold("journal"):
                pytest.fail("two writers")
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
        async with folder.hold("journal") as journal:
            journal.add(b"line\n")
    assert await folder.read("journal") == b"line\n"


async def test_a_line_is_on_the_disk_when_it_is_added(folder: LocalFolder) -> None:
    async with folder.hold("journal") as journal:
        journal.add(b"one\n")
        assert await folder.read("journal") == b"one\n"


async def test_a_full_disk_fails_the_line_it_cuts_off_and_no_other(folder: LocalFolder) -> None:
    says = f"{folder.root / 'journal'} could not be written: File too large"
    with process(FULL, folder.root, says) as writer:
        assert writer.wait(30) == 0
    assert await folder.read("journal") == b"one\ntw\nthree\n"
