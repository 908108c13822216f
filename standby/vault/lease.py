"""The right to write a file of an object storage, for one run: an object that its owner renews.

Every change of it is a compare-and-swap, so that of two runs that find it free only one gets it. An object that did
not change for a whole lease, by the clock of the one who watches it, has lost its owner. An owner that was only slow
finds out when it next writes: the file itself is written by compare-and-swap, too.
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
from standby.vault.errors import Changed, Held, TakenOver, VaultError
from standby.vault.storage import LOCK, HeldFile, Storage, Version

log = logging.getLogger("standby.vault")
LEASE = 45.0  # Seconds for which an owner that shows no sign of life is waited for
RENEWAL = 10.0  # Seconds between two signs of life
LOOK = 3.0  # Seconds between two checks of another run's lease
SKEW = timedelta(minutes=5)  # How far two machines' clocks may be apart: what ended longer ago need not be watched


class _Note(Document):
    """What the object says; an owner that gave it back is nobody."""

    owner: str
    until: datetime


def is_held(lease: bytes, now: datetime) -> bool:
    """Whether what a lease's object says is that a run has it, and showed a sign of life lately."""
    try:
        note = _Note.model_validate_json(lease)
    except ValidationError:
        return True  # It is watched like any other.
    return bool(note.owner) and note.until > now


@asynccontextmanager
async def hold_by_lease(storage: Storage, path: str, clock: Clock) -> AsyncIterator[HeldFile]:
    """Hold a file under a lease; `Held` where another run has it."""
    lease = _Lease(storage, f"{path}{LOCK}", clock)
    await lease.take()
    renewing = asyncio.create_task(lease.renew_now_and_then())
    try:
        yield _LeasedFile(storage, path, await storage.read_version(path), lease)
    finally:
        renewing.cancel()
        await to_its_end(lease.give_back(renewing))


class _LeasedFile(HeldFile):
    def __init__(self, storage: Storage, path: str, version: Version | None, lease: _Lease) -> None:
        super().__init__(storage, path, version)
        self._lease = lease

    async def write(self, content: bytes) -> None:
        if self._lease.lost:
            raise TakenOver(self.where)
        await super().write(content)


class _Lease:
    def __init__(self, storage: Storage, path: str, clock: Clock) -> None:
        self.lost = False
        self._storage = storage
        self._path = path
        self._clock = clock
        self._owner = f"{socket.gethostname()} {os.getpid()} {uuid4()}"
        self._tag: str | None = None

    async def take(self) -> None:
        seen = await self._abandoned()
        try:
            await self._write(self._owner, seen.tag if seen else None)
        except Changed:
            raise Held(self._file) from None

    async def renew_now_and_then(self) -> None:
        while True:
            await self._clock.sleep(RENEWAL)
            try:
                # A renewal that is cut off would leave open which tag is the right one.
                await to_its_end(self._write(self._owner, self._tag))
            except Changed:
                self.lost = True
                log.warning("%s", TakenOver(self._file))
                return
            except VaultError as error:
                log.warning("%s", error)

    async def give_back(self, renewing: asyncio.Task[None]) -> None:
        await asyncio.wait({renewing})
        if self.lost:
            return
        try:
            await self._write("", self._tag)
        except Changed:
            return
        except VaultError as error:
            log.warning("%s", error)

    @property
    def _file(self) -> str:
        return self._storage.where(self._path.removesuffix(LOCK))

    async def _abandoned(self) -> Version | None:
        """Wait until the lease is free, or its owner was silent for as long as it lasts."""
        seen = await self._storage.read_version(self._path)
        begun = self._clock.monotonic()
        while not self._is_free(seen) and self._clock.monotonic() - begun < LEASE:
            await self._clock.sleep(LOOK)
            now = await self._storage.read_version(self._path)
            if now != seen and not self._is_free(now):
                raise Held(self._file)
            seen = now
        return seen

    def _is_free(self, seen: Version | None) -> bool:
        return seen is None or not is_held(seen.content, self._clock.now() - SKEW)

    async def _write(self, owner: str, tag: str | None) -> None:
        note = _Note(owner=owner, until=self._clock.now() + timedelta(seconds=LEASE))
        self._tag = await self._storage.swap(self._path, note.model_dump_json().encode(), tag)
