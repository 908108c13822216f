"""A journal where files are written as a whole only: in memory, saved every few seconds and at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from standby.clock import Clock
from standby.concurrency import to_its_end
from standby.vault.errors import TakenOver, VaultError
from standby.vault.filesystem import Journal, Objects
from standby.vault.lease import Lease

log = logging.getLogger("standby.vault")

SAVE_EVERY = 5.0
"""Seconds for which a line may be in memory only."""


@asynccontextmanager
async def hold_object(objects: Objects, path: str, clock: Clock) -> AsyncIterator[Journal]:
    """Open a journal that is one object, under a lease; it is saved at the end however that comes.

    A storage that fails meanwhile costs lines, not the run: it is warned of, and tried again until the end.

    Raises:
        Held: another run has it.
        VaultUnavailable: it could not be opened.
    """
    lease = Lease(objects, f"{path}.lock", clock)
    try:
        await lease.take()
        journal = _SavedObject(objects, path, lease, await objects.read(path))
        saving = asyncio.create_task(journal.save_now_and_then(clock))
        try:
            yield journal
        finally:
            saving.cancel()
            await to_its_end(journal.end(saving))
    finally:
        await to_its_end(_give_back(lease))


class _SavedObject:
    def __init__(self, objects: Objects, path: str, lease: Lease, found: bytes | None) -> None:
        self.found = found
        self._objects = objects
        self._path = path
        self._lease = lease
        self._content = bytearray(found or b"")
        self._saved = len(self._content)
        self._trouble = ""
        self._turn = asyncio.Lock()

    def add(self, lines: bytes) -> None:
        self._content += lines

    async def rewrite(self, content: bytes) -> None:
        self._content[:] = content
        self._saved = -1
        await to_its_end(self._save())

    async def save_now_and_then(self, clock: Clock) -> None:
        while True:
            await clock.sleep(SAVE_EVERY)
            if self._unsaved or self._lease.due:
                await to_its_end(self._try_to_save())

    async def end(self, saving: asyncio.Task[None]) -> None:
        await asyncio.wait({saving})
        if self._unsaved:
            await self._try_to_save()
        if self._unsaved:
            log.warning(
                "The last lines of %s were not saved; the next run finds again what they said where it can",
                self._objects.where(self._path),
            )

    @property
    def _unsaved(self) -> bool:
        return len(self._content) != self._saved

    async def _try_to_save(self) -> None:
        try:
            await self._save()
        except VaultError as error:
            if str(error) != self._trouble:
                log.warning("%s", error)
            self._trouble = str(error)

    async def _save(self) -> None:
        async with self._turn:
            if not await self._lease.keep():
                raise TakenOver(self._objects.where(self._path))
            if self._unsaved:
                content = bytes(self._content)
                await self._objects.write(self._path, content)
                self._saved = len(content)


async def _give_back(lease: Lease) -> None:
    try:
        await lease.give_back()
    except VaultError as error:
        log.warning("%s", error)
