"""One writer at a time where the storage has no locks: an object that its owner renews.

Two runs that find the object free both write it; the last one stands. So each waits, longer than any write
may have taken since it looked, and reads again: whoever finds its own name has it (Fischer's algorithm). An
object that did not change for a whole lease, by the clock of the one who watches it, has lost its owner.

This cannot promise what a storage with conditional writes could: a run that is stopped for longer than a
lease between its last look and its write (a suspended machine) may still write once after another one took
over. A ledger loses nothing but knowledge that way, until the next run records again what is in sync.
"""

from __future__ import annotations

import os
import socket
from datetime import datetime, timedelta
from uuid import uuid4

from pydantic import ValidationError

from standby.clock import Clock
from standby.document import Document
from standby.vault.errors import Held, VaultTooSlow
from standby.vault.filesystem import Objects

LEASE = 60.0
"""Seconds for which an owner that shows no sign of life is waited for."""

RENEWAL = 15.0
"""Seconds between two signs of life."""

LOOK = 5.0
"""Seconds between two looks at somebody else's lease."""

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
        """Prepare to take the lease.

        Args:
            objects: where it is written.
            path: of the lease's own object.
            clock: for waits and dates.
        """
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
            VaultTooSlow: the storage is too slow to tell.
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
