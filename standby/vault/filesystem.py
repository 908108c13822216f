"""What the vault needs of the place it is kept in.

It needs no list of files: Prefect's file systems have none. What is to be found again later has its path
written down somewhere, or made from what it is about.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from standby.vault.errors import OutsideVault


class Objects(Protocol):
    """Files that are read and written as a whole, by paths such as `replaced/west/invoice.json`."""

    def where(self, path: str) -> str:
        """Say where a file is, for somebody who looks for it."""
        ...

    async def read(self, path: str) -> bytes | None:
        """Give what a file holds.

        Returns:
            `None` only where it is certain that there is no such file.

        Raises:
            VaultUnavailable: it could not be told.
        """
        ...

    async def write(self, path: str, content: bytes) -> None:
        """Put a file in the place of what is there; it is safe when this returns.

        Whoever reads it, also after a crash, sees the old content or the new.

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
        """Put something else in the place of all lines; it is safe when this returns."""
        ...


class FileSystem(Objects, Protocol):
    """Files, and journals among them."""

    def hold(self, path: str) -> AbstractAsyncContextManager[Journal]:
        """Open a journal, which nobody else can meanwhile.

        Raises:
            Held: somebody else has it.
        """
        ...


_FORBIDDEN = frozenset({"", ".", ".."})


def checked(path: str) -> str:
    """Give a path back that cannot lead out of the vault.

    Raises:
        OutsideVault: it could.
    """
    if _FORBIDDEN.intersection(path.split("/")) or any(char in path for char in "\\\0?#:"):
        raise OutsideVault(path)
    return path
