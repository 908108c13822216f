"""What the vault needs of a storage: files read and written as a whole, and held by one run at a time.

Where the storage has no locks, the right to write a file is an object beside it, that its owner renews. Every change of
it is a compare-and-swap, so that of two runs that find it free only one gets it. An object that did not change for a
whole lease, by the clock of the one who watches it, has lost its owner. An owner that was only slow finds out when it
next writes: the file itself is written by compare-and-swap, too.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import uuid4

from pydantic import ValidationError

from standby.clock import Clock
from standby.concurrency import to_its_end
from standby.document import Document
from standby.vault.errors import Changed, Held, OutsideVault, TakenOver, VaultError, VaultUnavailable


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

    def __init__(
        self, storage: Storage, path: str, version: Version | None, is_lost: Callable[[], bool] = lambda: False
    ) -> None:
        """Take it as it was read; after it `is_lost` nothing is written any more."""
        self.found = version.content if version else None
        self.storage = storage  # by which it is written
        self._is_lost = is_lost
        self.path = path
        self._tag = version.tag if version else None
        self._doubtful: bytes | None = None

    @property
    def where(self) -> str:
        return self.storage.where(self.path)

    async def write(self, content: bytes) -> None:
        """Replace what it holds; it is safe when this returns, and not written after `TakenOver`."""
        if self._is_lost():
            raise TakenOver(self.where)
        # A write that is cut off would leave open which tag is the right one.
        await to_its_end(self._write(content))

    async def _write(self, content: bytes) -> None:
        try:
            try:
                self._tag = await self.storage.swap(self.path, content, self._tag)
            except Changed:
                there = await self.storage.read_version(self.path)
                if there is None or there.content != self._doubtful:
                    raise
                # It was this run: that write arrived although the storage did not say so.
                self._tag = await self.storage.swap(self.path, content, there.tag)
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


log = logging.getLogger("standby.vault")
LEASE = 45.0  # Seconds for which an owner that shows no heartbeat is waited for
RENEWAL = 10.0  # Seconds between two signs of life
LOOK = 3.0  # Seconds between two checks of another run's lease
SKEW = timedelta(minutes=5)  # How far two machines' clocks may be apart: what ended longer ago need not be watched


class _Note(Document):
    """What the object says; an owner that gave it back is nobody."""

    owner: str
    until: datetime


def is_held(lease: bytes, now: datetime) -> bool:
    """Whether what a lease's object says is that a run has it, and showed a sign of life recently."""
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
        yield HeldFile(storage, path, await storage.read_version(path), lambda: lease.lost)
    finally:
        renewing.cancel()
        await to_its_end(lease.give_back(renewing))


@dataclass
class _Lease:
    _storage: Storage
    _path: str
    _clock: Clock
    _owner: str = field(default_factory=lambda: f"{socket.gethostname()} {os.getpid()} {uuid4()}")
    _tag: str | None = None
    lost: bool = False

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
