"""The vault in a local folder: atomic by renaming, durable by fsync, one writer by a lock of the kernel."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from uuid import uuid4

from standby.config.vault import VaultSettings
from standby.vault.errors import Held, OutsideVault, VaultNeedsPrefect, VaultUnavailable
from standby.vault.filesystem import Journal, checked


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine. It is made when something is written, not before."""

    root: Path

    def where(self, path: str) -> str:
        return str(self.root / path)

    async def read(self, path: str) -> bytes | None:
        return await asyncio.to_thread(_read, self._inside(path))

    async def write(self, path: str, content: bytes) -> None:
        await asyncio.to_thread(_replace, self._inside(path), content)

    async def remove(self, path: str) -> None:
        await asyncio.to_thread(_remove, self._inside(path))

    @asynccontextmanager
    async def hold(self, path: str) -> AsyncIterator[Journal]:
        """Open a journal that no other process of this machine can open meanwhile; lines are safe at once."""
        with _held(self._inside(path)) as journal:
            yield journal

    def _inside(self, path: str) -> Path:
        place = self.root / checked(path)
        if not place.resolve().is_relative_to(self.root.resolve()):
            raise OutsideVault(path)
        return place


class _AppendedFile:
    def __init__(self, place: Path) -> None:
        self.found = _read(place)
        self._place = place
        self._file = self._open()
        self._torn = False

    def add(self, lines: bytes) -> None:
        with _vault_errors(self._place, "written"):
            # A line that was cut off by a full disk ends before the next one begins.
            rest = memoryview(b"\n" + lines if self._torn else lines)
            self._torn = True
            while rest:
                rest = rest[self._file.write(rest) :]
            self._torn = False
            os.fsync(self._file.fileno())

    async def rewrite(self, content: bytes) -> None:
        _replace(self._place, content)
        self._file.close()
        self._file = self._open()

    def close(self) -> None:
        self._file.close()

    def _open(self) -> FileIO:
        with _vault_errors(self._place, "written"):
            file = self._place.open("ab", buffering=0)
            _sync(self._place.parent)
            return file


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Hold the lock that goes with a file; it is a file of its own, so that the other may be replaced.

    Raises:
        Held: another process of this machine holds it.
    """
    with _vault_errors(place, "written"):
        _make(place.parent)
        lock = place.with_name(f"{place.name}.lock").open("ab")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Held(str(place)) from None
        yield


@contextmanager
def _held(place: Path) -> Iterator[_AppendedFile]:
    with locked(place):
        journal = _AppendedFile(place)
        try:
            yield journal
        finally:
            journal.close()


def _read(place: Path) -> bytes | None:
    with _vault_errors(place, "read"):
        try:
            return place.read_bytes()
        except FileNotFoundError:
            return None


def _replace(place: Path, content: bytes) -> None:
    with _vault_errors(place, "written"):
        _make(place.parent)
        # Two writers of one file must not share it before it is whole.
        fresh = place.with_name(f".{place.name}.{uuid4().hex}.new")
        try:
            with fresh.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(place)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        _sync(place.parent)


def _remove(place: Path) -> None:
    with _vault_errors(place, "removed"):
        try:
            place.unlink()
        except FileNotFoundError:
            return
        _sync(place.parent)


def _make(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _sync(each.parent)


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk: a file that has none is lost."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _vault_errors(place: Path, action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise VaultUnavailable(str(place), action, error.strerror or type(error).__name__) from None


def open_folder(settings: VaultSettings) -> LocalFolder:
    """Give the local folder of the vault."""
    if settings.folder is None:
        raise VaultNeedsPrefect(str(settings.block))
    return LocalFolder(settings.folder)
