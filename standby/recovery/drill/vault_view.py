"""A vault to rehearse in: reads the real one, and writes to a folder of the drill's own.

Whatever a failover writes, it writes here. What it decides by (fence, log, measurements, progress, earlier
drills) is read here, too, so that the real ones have no part in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from standby.vault.filesystem import FileSystem, Journal

OWN = ("recovery/", "audit/", "durations/", "drills/")
"""Never read from the real vault."""

KEPT = "snapshots/"
"""Read from the real vault once: what is newest stays so for the whole rehearsal."""


class RehearsalVault:
    """A view of a vault that changes nothing in it but below one folder."""

    def __init__(self, real: FileSystem, folder: str) -> None:
        """Look at a vault.

        Args:
            real: is read from.
            folder: path in it below which everything is written.
        """
        self._real = real
        self._folder = folder
        self._written: set[str] = set()
        self._kept: dict[str, bytes | None] = {}

    def where(self, path: str) -> str:
        """Say where a file is."""
        return self._real.where(self._inside(path) if self._is_own(path) else path)

    async def read(self, path: str) -> bytes | None:
        """Give what was written here, or what the real vault holds where that has a part in it."""
        if self._is_own(path):
            return await self._real.read(self._inside(path))
        if not path.startswith(KEPT):
            return await self._real.read(path)
        if path not in self._kept:
            self._kept[path] = await self._real.read(path)
        return self._kept[path]

    async def write(self, path: str, content: bytes) -> None:
        """Write below the folder."""
        await self._real.write(self._inside(path), content)
        self._written.add(path)

    async def remove(self, path: str) -> None:
        """Remove what is below the folder; the real file stays, and is not seen here any more."""
        await self._real.remove(self._inside(path))
        self._written.add(path)

    @asynccontextmanager
    async def hold(self, path: str) -> AsyncIterator[Journal]:
        """Open a journal below the folder; it begins as the real one is, where that has a part in it."""
        if not self._is_own(path) and (content := await self._real.read(path)) is not None:
            await self.write(path, content)
        self._written.add(path)
        async with self._real.hold(self._inside(path)) as journal:
            yield journal

    def _is_own(self, path: str) -> bool:
        return path in self._written or path.startswith(OWN)

    def _inside(self, path: str) -> str:
        return f"{self._folder}/{path}"
