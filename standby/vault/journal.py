"""A journal where files are written as a whole only, and the lease by which one run at a time writes it.

The journal is kept in memory, and saved every few seconds and at the end.

The lease is an object that its owner renews. Two runs that find it free both write it; the last one stands. So
each waits, longer than any write may have taken since it looked, and reads again: a run that finds its own name has
it (Fischer's algorithm). An object that did not change for a whole lease, by the clock of the one who watches it,
has lost its owner. This cannot promise what a storage with conditional writes could: a run that is stopped for
longer than a lease between its last look and its write (a suspended machine) may still write once after another
one took over. A ledger loses nothing but knowledge that way, until the next run records again what is in sync.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import uuid4

from pydantic import ValidationError

from standby.clock import Clock
from standby.concurrency import to_its_end
from standby.document import Document
from standby.vault.errors import Held, TakenOver, VaultError, VaultTooSlow
from standby.vault.filesystem import Journal, Objects

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
                "The last lines of %s were not saved; the next run finds out again what it can",
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


LEASE = 60.0
"""Seconds for which an owner that shows no sign of life is waited for."""

RENEWAL = 15.0
"""Seconds between two signs of life."""

LOOK = 5.0
"""Seconds between two checks of another run's lease."""

SETTLE = 2.0
"""Seconds that a write may take, and after which it is believed."""

SKEW = timedelta(minutes=5)
"""How far two machines' clocks may be apart: what ended longer ago need not be watched."""


class _Note(Document):
    """What the object says; an owner that gave it back is nobody."""

    owner: str
    until: datetime


class Lease:
    """The right to write one file, for one run."""

    def __init__(self, objects: Objects, path: str, clock: Clock) -> None:
        self._objects = objects
        self._path = path
        self._clock = clock
        self._owner = f"{socket.gethostname()} {os.getpid()} {uuid4()}"
        self._written: float | None = None

    @property
    def due(self) -> bool:
        """Whether a sign of life should be given."""
        return self._written is None or self._clock.monotonic() - self._written >= RENEWAL

    async def take(self) -> None:
        """Become the owner; a lease whose owner seems dead is waited for.

        Raises:
            Held: its owner lives, or another run was faster.
            VaultTooSlow: the storage is too slow to be sure.
            VaultUnavailable: it does not answer.
        """
        seen = await self._abandoned()
        begun = self._clock.monotonic()
        if await self._objects.read(self._path) != seen:
            raise Held(self._where)
        await self._write(self._owner)
        if self._clock.monotonic() - begun > SETTLE:
            # It may have hit somebody who had settled, and keeps a third one waiting until that is seen.
            self._written = None
            raise VaultTooSlow(self._where, SETTLE)
        await self._clock.sleep(SETTLE)
        if not await self._is_ours():
            raise Held(self._where)

    async def keep(self) -> bool:
        """Make sure that the lease is still ours, and give a sign of life where one is due."""
        if not await self._is_ours():
            return False
        if self.due:
            await self._write(self._owner)
        return True

    async def give_back(self) -> None:
        """Let the next one have it at once."""
        if self._written is not None and await self._is_ours():
            await self._write("")

    @property
    def _where(self) -> str:
        return self._objects.where(self._path)

    async def _abandoned(self) -> bytes | None:
        seen = await self._objects.read(self._path)
        begun = self._clock.monotonic()
        while not self._is_free(seen) and self._clock.monotonic() - begun < LEASE:
            await self._clock.sleep(LOOK)
            now = await self._objects.read(self._path)
            if now != seen and not self._is_free(now):
                raise Held(self._where)
            seen = now
        return seen

    def _is_free(self, content: bytes | None) -> bool:
        if content is None:
            return True
        note = _note(content)
        # One that cannot be read may be half written: it is watched like any other.
        return note is not None and (not note.owner or note.until + SKEW < self._clock.now())

    async def _is_ours(self) -> bool:
        note = _note(await self._objects.read(self._path) or b"")
        return note is not None and note.owner == self._owner

    async def _write(self, owner: str) -> None:
        self._written = self._clock.monotonic()
        note = _Note(owner=owner, until=self._clock.now() + timedelta(seconds=LEASE))
        await self._objects.write(self._path, note.model_dump_json().encode())


def _note(content: bytes) -> _Note | None:
    try:
        return _Note.model_validate_json(content)
    except ValidationError:
        return None
