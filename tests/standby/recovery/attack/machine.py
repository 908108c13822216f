"""A machine on which commands run in no time, are killed at any boundary, and run in each other's middle.

Time is one number that jumps to the next timer. A boundary is a moment before or after a call that leaves the process:
a request, or a write to the vault or to a file that applications read. A process that is killed there does nothing
more, as after kill -9; one that is stopped there goes on when another one has run from its beginning to its end.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx
import pytest

from standby.clock import SystemClock
from standby.service.transport import Transport
from standby.vault.errors import VaultFull
from standby.vault.folder import LocalFolder
from standby.vault.storage import Listed, Version
from tests.standby.replication.world import START, FakeClock

T = TypeVar("T")


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Process:
    """A run of ours.

    Attributes:
        dies_at: boundaries after which it is killed.
        stops_at: boundaries after which it stops until `meanwhile` is over.
        passed: boundaries so far.
    """

    dies_at: int | None = None
    stops_at: int | None = None
    meanwhile: Callable[[], None] = lambda: None
    passed: int = 0
    dead: bool = False

    def live(self) -> None:
        if self.dead:
            raise Killed


class Time(FakeClock):
    """The time of everything: of processes, of the service, of people."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Jumping(selectors.DefaultSelector):
    """Does not wait for a timer, but moves the time to it."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            assert timeout is not None, "everything waits, and nothing will ever happen"
            # Never by nothing: what waits for a share of a second that no number can tell would wait for ever.
            self._time.seconds += max(1e-6, timeout)
        return events


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, time: Time) -> None:
        self._shared = time
        super().__init__(_Jumping(time))

    def time(self) -> float:
        return self._shared.seconds


class _Policy(asyncio.DefaultEventLoopPolicy):
    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return _Loop(self._time)


Network = Callable[[httpx.Request], httpx.Response | float]
"""Answers a request, raises, or says for how many seconds it is silent."""


@dataclass
class Machine:
    """Where processes run.

    Attributes:
        network: answers what they ask.
        fails: says which files cannot be written.
        wrote: is called after each write, with the file.
    """

    time: Time
    network: Network
    environment: Mapping[str, str] = field(default_factory=dict)
    fails: Callable[[str], bool] = lambda _: False
    wrote: Callable[[str], None] = lambda _: None
    processes: list[Process] = field(default_factory=list)

    def run(self, process: Process, work: Callable[[], T]) -> T | None:
        """Run a process; `None` where it was killed."""
        # One may run in the middle of another one, which stands still meanwhile.
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(None)
        self.processes.append(process)
        try:
            return work()
        except BaseException as error:
            if not _is_death(error):
                raise
            return None
        finally:
            self.processes.pop()
            asyncio._set_running_loop(outer)

    def boundary(self) -> None:
        """Pass a boundary, or be killed or stopped there."""
        process = self.processes[-1]
        process.live()
        process.passed += 1
        if process.passed == process.dies_at:
            process.dead = True
            raise Killed
        if process.passed == process.stops_at:
            process.meanwhile()

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Carry a request to the network."""
        await request.aread()
        self.boundary()
        found = self.network(request)
        limits = request.extensions["timeout"]
        if isinstance(found, float):
            await asyncio.sleep(min(found, limits["read"]))
            if found >= limits["read"]:
                raise httpx.ReadTimeout("silence", request=request)
            found = self.network(request)
            assert isinstance(found, httpx.Response)
        self.boundary()
        found.request = request
        return found

    async def write(self, file: str, work: Callable[[], Awaitable[T]]) -> T:
        """Write to the disk."""
        self.boundary()
        if self.fails(file):
            raise VaultFull(file, "written", "No space left on device")
        done = await work()
        self.wrote(file)
        self.boundary()
        return done


def _is_death(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(Killed)[1] is None
    return isinstance(error, Killed)


@contextmanager
def booted(machine: Machine) -> Iterator[None]:
    """Let everything of this process run on a machine."""
    before = asyncio.get_event_loop_policy()
    with pytest.MonkeyPatch.context() as patch:
        _patch(patch, machine)
        asyncio.set_event_loop_policy(_Policy(machine.time))
        try:
            yield
        finally:
            asyncio.set_event_loop_policy(before)


def _patch(patch: pytest.MonkeyPatch, machine: Machine) -> None:
    async def inline(work: Callable[..., T], *args: Any, **options: Any) -> T:
        return work(*args, **options)

    here = threading.get_ident()

    def handled(transport: type[httpx.AsyncBaseTransport]) -> Callable[..., Awaitable[httpx.Response]]:
        real = transport.handle_async_request

        async def handle(self: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
            # What earlier tests of Prefect left in threads of its own goes on talking to its server.
            return await (machine.answer(request) if threading.get_ident() == here else real(self, request))

        return handle

    for name, value in machine.environment.items():
        patch.setenv(name, value)
    patch.setattr(asyncio, "to_thread", inline)
    patch.setattr(os, "fsync", lambda _: None)
    for transport in (httpx.AsyncHTTPTransport, Transport):
        patch.setattr(transport, "handle_async_request", handled(transport))
    patch.setattr(SystemClock, "now", lambda _: _now(machine.time))
    patch.setattr(SystemClock, "monotonic", lambda _: machine.time.seconds)
    read, read_version, listed = LocalFolder.read, LocalFolder.read_version, LocalFolder.list
    write, swap, remove = LocalFolder.write, LocalFolder.swap, LocalFolder.remove

    async def mortal_read(folder: LocalFolder, path: str) -> bytes | None:
        machine.processes[-1].live()
        return await read(folder, path)

    async def mortal_version(folder: LocalFolder, path: str) -> Version | None:
        machine.processes[-1].live()
        return await read_version(folder, path)

    async def mortal_list(folder: LocalFolder, prefix: str = "") -> tuple[Listed, ...]:
        machine.processes[-1].live()
        return await listed(folder, prefix)

    async def mortal_write(folder: LocalFolder, path: str, content: bytes) -> None:
        return await machine.write(folder.where(path), lambda: write(folder, path, content))

    async def mortal_swap(folder: LocalFolder, path: str, content: bytes, tag: str | None) -> str:
        return await machine.write(folder.where(path), lambda: swap(folder, path, content, tag))

    async def mortal_remove(folder: LocalFolder, path: str) -> None:
        return await machine.write(folder.where(path), lambda: remove(folder, path))

    for name, mortal in (
        ("read", mortal_read),
        ("read_version", mortal_version),
        ("list", mortal_list),
        ("write", mortal_write),
        ("swap", mortal_swap),
        ("remove", mortal_remove),
    ):
        patch.setattr(LocalFolder, name, mortal)


def _now(time: Time) -> datetime:
    return START + timedelta(seconds=time.seconds)
