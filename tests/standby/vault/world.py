"""Vaults in memory, some of which fail when they are told to, and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta

from standby.document import digest_of
from standby.vault.errors import Changed, Held, VaultUnavailable
from standby.vault.storage import LOCK, HeldFile, Listed, Version, checked, hold_by_lease

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Killed(BaseException):
    """Nothing of ours runs after it."""


class HandClock:
    """Short waits pass by themselves, unless none shall; longer ones when time is moved."""

    def __init__(self, short: float = 2.0) -> None:
        self.seconds = 0.0
        self.short = short
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        if seconds <= self.short:
            self.seconds += seconds
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.seconds + seconds, future))
        await future

    async def move(self, seconds: float) -> None:
        """Let time pass, and everybody do what they do when they wake."""
        end = self.seconds + seconds
        await settled()
        while due := self._due(end):
            self.seconds, future = due
            self._sleepers.remove(due)
            if not future.done():
                future.set_result(None)
            await settled()
        self.seconds = end

    @property
    def sleepers(self) -> int:
        """How many wait for time to be moved."""
        return sum(not future.done() for _, future in self._sleepers)

    def _due(self, end: float) -> tuple[float, asyncio.Future[None]] | None:
        waiting = sorted((each for each in self._sleepers if each[0] <= end), key=lambda each: each[0])
        return waiting[0] if waiting else None


async def settled() -> None:
    """Let every task go on until it waits for time."""
    for _ in range(30):
        await asyncio.sleep(0)


class MemoryVault:
    """A vault in memory; what is written is there at once.

    Subclasses change what it is like to get and to put a file; everything goes through these two and `drop`.
    """

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files: dict[str, bytes] = {} if files is None else files
        self.held: set[str] = set()

    async def get(self, path: str) -> bytes | None:
        return self.files.get(checked(path))

    async def put(self, path: str, content: bytes) -> None:
        self.files[checked(path)] = content

    async def drop(self, path: str) -> None:
        self.files.pop(checked(path), None)

    def where(self, path: str) -> str:
        return f"memory:{path}"

    async def read(self, path: str) -> bytes | None:
        return await self.get(path)

    async def read_version(self, path: str) -> Version | None:
        content = await self.get(path)
        return None if content is None else Version(content, digest_of(content))

    async def write(self, path: str, content: bytes) -> None:
        await self.put(path, content)

    async def swap(self, path: str, content: bytes, tag: str | None) -> str:
        there = self.files.get(checked(path))
        if tag != (None if there is None else digest_of(there)):
            raise Changed(self.where(path))
        await self.put(path, content)
        return digest_of(content)

    async def remove(self, path: str) -> None:
        await self.drop(path)

    async def list(self, prefix: str = "") -> tuple[Listed, ...]:
        return tuple(
            Listed(path, len(content), START)
            for path, content in sorted(self.files.items())
            if path.startswith(prefix) and not path.endswith(LOCK)
        )

    def hold(self, path: str) -> AbstractAsyncContextManager[HeldFile]:
        return self._hold(path)

    @asynccontextmanager
    async def _hold(self, path: str) -> AsyncIterator[HeldFile]:
        if path in self.held:
            raise Held(self.where(path))
        self.held.add(path)
        try:
            yield HeldFile(self, path, await self.read_version(path))
        finally:
            self.held.discard(path)


class Memory(MemoryVault):
    """Object storage in memory, with leases.

    Attributes:
        fails_at: numbers of the writes that fail without an effect, counted from 1.
        dies_at: number of the call, read or write, before which the process dies.
        down: whether it answers nobody.
        delays: seconds that the calls take, in turn, before they have an effect.
    """

    def __init__(
        self,
        clock: HandClock | None = None,
        *,
        files: dict[str, bytes] | None = None,
        fails_at: set[int] | None = None,
        dies_at: int | None = None,
        delays: list[float] | None = None,
    ) -> None:
        super().__init__(files)
        self.clock = clock or HandClock()
        self.fails_at = fails_at or set()
        self.dies_at = dies_at
        self.delays = delays or []
        self.down = False
        self.calls = 0
        self.written: list[str] = []

    async def get(self, path: str) -> bytes | None:
        await self._call()
        if self.down:
            raise VaultUnavailable(self.where(path), "read", "down")
        return await super().get(path)

    async def put(self, path: str, content: bytes) -> None:
        await self._call()
        self._write(path, content)

    async def swap(self, path: str, content: bytes, tag: str | None) -> str:
        await self._call()
        # Nothing comes between the comparison and the write: that is what a storage promises.
        there = self.files.get(checked(path))
        if not self.down and tag != (None if there is None else digest_of(there)):
            raise Changed(self.where(path))
        self._write(path, content)
        return digest_of(content)

    async def drop(self, path: str) -> None:
        await self._call()
        if self.down:
            raise VaultUnavailable(self.where(path), "removed", "down")
        await super().drop(path)

    def hold(self, path: str) -> AbstractAsyncContextManager[HeldFile]:
        return hold_by_lease(self, path, self.clock)

    def _write(self, path: str, content: bytes) -> None:
        self.written.append(path)
        if self.down or len(self.written) in self.fails_at:
            raise VaultUnavailable(self.where(path), "written", "down")
        self.files[checked(path)] = content

    async def _call(self) -> None:
        self.calls += 1
        if self.dies_at is not None and self.calls >= self.dies_at:
            raise Killed
        if self.delays:
            await self.clock.sleep(self.delays.pop(0))
        else:
            await asyncio.sleep(0)
