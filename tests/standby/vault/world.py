"""A file system in memory that fails when it is told to, and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

from standby.vault.errors import VaultUnavailable
from standby.vault.filesystem import Journal, checked
from standby.vault.journal import SETTLE, hold_object

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Killed(BaseException):
    """Nothing of ours runs after it."""


class HandClock:
    """Short waits pass by themselves, unless none shall; longer ones when time is moved."""

    def __init__(self, short: float = SETTLE) -> None:
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


class Memory:
    """Whole objects in a dictionary.

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
        self.clock = clock or HandClock()
        self.files = {} if files is None else files
        self.fails_at = fails_at or set()
        self.dies_at = dies_at
        self.delays = delays or []
        self.down = False
        self.calls = 0
        self.written: list[str] = []

    def where(self, path: str) -> str:
        return f"memory:{path}"

    async def read(self, path: str) -> bytes | None:
        await self._call()
        if self.down:
            raise VaultUnavailable(self.where(path), "read", "down")
        return self.files.get(checked(path))

    async def write(self, path: str, content: bytes) -> None:
        await self._call()
        self.written.append(path)
        if self.down or len(self.written) in self.fails_at:
            raise VaultUnavailable(self.where(path), "written", "down")
        self.files[checked(path)] = content

    async def remove(self, path: str) -> None:
        await self._call()
        if self.down:
            raise VaultUnavailable(self.where(path), "removed", "down")
        self.files.pop(checked(path), None)

    def hold(self, path: str) -> AbstractAsyncContextManager[Journal]:
        return hold_object(self, path, self.clock)

    async def _call(self) -> None:
        self.calls += 1
        if self.dies_at is not None and self.calls >= self.dies_at:
            raise Killed
        if self.delays:
            await self.clock.sleep(self.delays.pop(0))
        else:
            await asyncio.sleep(0)
