"""What the vault needs of the storage it is kept in.

It needs no list of files: Prefect's file systems have none. The path of each file is written down somewhere, or
made from what the file is about.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from standby.vault.errors import OutsideVault


class Objects(Protocol):
    """Files that are read and written as a whole, by paths such as `replaced/west/invoice.json`."""

    def where(self, path: str) -> str:
        """Say where a file is, for people."""
        ...

    async def read(self, path: str) -> bytes | None:
        """Give what a file holds; `None` only where it is certain that there is no such file."""
        ...

    async def write(self, path: str, content: bytes) -> None:
        """Replace a file; the new content is safe when this returns.

        Readers, also after a crash, see the old content or the new.

        Raises:
            VaultUnavailable: it may or may not have been written.
        """
        ...

    async def remove(self, path: str) -> None:
        """Remove a file, which need not be there. Where a storage cannot delete, an empty file is left.

        Raises:
            VaultUnavailable: it may or may not have been removed.
        """
        ...


class Journal(Protocol):
    """A file to which one run at a time adds lines."""

    @property
    def found(self) -> bytes | None:
        """What it held when it was opened; `None` where it was not there."""
        ...

    def add(self, lines: bytes) -> None:
        """Add whole lines; they are safe at once in a folder, after a few seconds elsewhere."""
        ...

    async def rewrite(self, content: bytes) -> None:
        """Replace all lines; the new content is safe when this returns."""
        ...


class FileSystem(Objects, Protocol):
    """Files, and journals among them."""

    def hold(self, path: str) -> AbstractAsyncContextManager[Journal]:
        """Open a journal; no other run can open it meanwhile. `Held` where another run has it."""
        ...


_FORBIDDEN = frozenset({"", ".", ".."})


def checked(path: str) -> str:
    """Return a path that cannot lead out of the vault; `OutsideVault` for any other."""
    if _FORBIDDEN.intersection(path.split("/")) or any(char in path for char in "\\\0?#:"):
        raise OutsideVault(path)
    return path
