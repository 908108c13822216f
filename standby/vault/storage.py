"""What the vault needs of the place it is kept in, and the file that one run at a time may write."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from standby.concurrency import to_its_end
from standby.vault.errors import Changed, OutsideVault, TakenOver, VaultUnavailable


@dataclass(frozen=True)
class Version:
    """A file as it was read; its tag is another one as soon as the content is another one."""

    content: bytes
    tag: str


@dataclass(frozen=True)
class Listed:
    """A file in a list: its bytes, and when it was last written, UTC, by the clock of the storage."""

    path: str
    size: int
    changed_at: datetime


class Storage(Protocol):
    """Files that are read and written as a whole, by paths such as `replaced/west/invoice.json`."""

    def where(self, path: str) -> str:
        """Say where a file is, for people."""

    async def read(self, path: str) -> bytes | None:
        """Give what a file holds; `None` only where it is certain that there is no such file."""

    async def read_version(self, path: str) -> Version | None:
        """Give what a file holds, and the tag for `swap`; `None` only where there is certainly no such file."""

    async def write(self, path: str, content: bytes) -> None:
        """Replace a file, whatever it holds; the new content is safe when this returns.

        Readers, also after a crash or `VaultUnavailable`, see the old content or the new.
        """

    async def swap(self, path: str, content: bytes, tag: str | None) -> str:
        """Replace a file only if it is still as it was read: of several writers one at most succeeds.

        Args:
            tag: of the version that was read; `None` where there was no such file.

        Returns:
            The tag of the new version, which is safe.

        Raises:
            Changed: somebody else wrote it since; nothing was written.
            VaultUnavailable: it may or may not have been written.
        """

    async def remove(self, path: str) -> None:
        """Remove a file, which need not be there; after `VaultUnavailable` it may or may not be."""

    async def list(self, prefix: str = "") -> tuple[Listed, ...]:
        """List the files below a folder such as `recovery/`, or all of them, by path; locks are left out."""

    def hold(self, path: str) -> AbstractAsyncContextManager[HeldFile]:
        """Keep other runs from holding the same file meanwhile; `Held` where another one has it."""


class HeldFile:
    """A file that only this run writes: another writer makes its next write fail. `found` is `None` where none is."""

    def __init__(self, storage: Storage, path: str, version: Version | None) -> None:
        self.found = version.content if version else None
        self._storage = storage
        self._path = path
        self._tag = version.tag if version else None
        self._doubtful: bytes | None = None

    @property
    def where(self) -> str:
        """Say where it is, for people."""
        return self._storage.where(self._path)

    async def write(self, content: bytes) -> None:
        """Replace what it holds; it is safe when this returns, and not written after `TakenOver`."""
        # A write that is cut off would leave open which tag is the right one.
        await to_its_end(self._write(content))

    async def _write(self, content: bytes) -> None:
        try:
            try:
                self._tag = await self._storage.swap(self._path, content, self._tag)
            except Changed:
                there = await self._storage.read_version(self._path)
                if there is None or there.content != self._doubtful:
                    raise
                # It was this run: that write arrived although the storage did not say so.
                self._tag = await self._storage.swap(self._path, content, there.tag)
        except Changed:
            raise TakenOver(self.where) from None
        except VaultUnavailable:
            self._doubtful = content
            raise
        self._doubtful = None
        self.found = content


LOCK = ".lock"  # The end of the path of what keeps other runs away from a file
_FORBIDDEN = frozenset({"", ".", ".."})


def checked(path: str) -> str:
    """Return a path that cannot lead out of the vault; `OutsideVault` for any other."""
    if _FORBIDDEN.intersection(path.split("/")) or any(char in path for char in "\\\0?#:"):
        raise OutsideVault(path)
    return path
