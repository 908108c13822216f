"""A plan in memory that can be killed at any write, any telling of a sink and any call of the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from standby.fencing import Assignment, Fence, read_fence
from standby.recovery.activation.sinks import Activation, ActiveEndpoint, SinkFailed, must_follow
from standby.recovery.audit import verify_audit
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.failback.failback import fail_back
from standby.recovery.failback.report import FailbackReport
from standby.recovery.failover.failover import commit, fail_over
from standby.recovery.failover.report import CommitReport, FailoverReport
from standby.vault.errors import VaultUnavailable
from tests.standby.recovery.failback.world import World
from tests.standby.recovery.stages import DirectStages
from tests.standby.replication.world import recovery_plan
from tests.standby.vault.world import MemoryVault


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Reaper:
    """Ends the process at a boundary that is chosen beforehand; from then on nothing of it does anything.

    Attributes:
        passing: is told of each boundary that is passed, as somebody who presses Ctrl-C there.
    """

    left: int | None = None
    passed: int = 0
    dead: bool = False
    passing: Callable[[int], None] = lambda _: None

    def boundary(self) -> None:
        self.passing(self.passed)
        if self.dead or self.left == 0:
            self.dead = True
            raise Killed
        self.passed += 1
        if self.left is not None:
            self.left -= 1

    def revive(self, left: int | None = None) -> None:
        self.left, self.dead, self.passed = left, False, 0


class MortalVault(MemoryVault):
    """A vault of which each write is a boundary, before and after.

    Attributes:
        out: paths that can be written no more begin so.
    """

    def __init__(self, reaper: Reaper | None = None) -> None:
        super().__init__()
        self.reaper = reaper or Reaper()
        self.out: tuple[str, ...] = ()

    async def get(self, path: str) -> bytes | None:
        if self.reaper.dead:
            raise Killed
        return await super().get(path)

    async def put(self, path: str, content: bytes) -> None:
        if path.startswith(self.out) and self.out:
            raise VaultUnavailable(self.where(path), "written", "it is full")
        self.reaper.boundary()
        await super().put(path, content)
        self.reaper.boundary()


@dataclass
class MemorySink:
    """A sink that minds what a file minds.

    Attributes:
        fails: it takes nothing.
        mute: it cannot be read, as a webhook.
        hangs: what it waits for before it answers; `waiting` while it does.
        heard: everything it took.
    """

    name: str
    reaper: Reaper
    fails: bool = False
    mute: bool = False
    heard: list[Activation] = field(default_factory=list)
    on_change: Any = None
    required: bool = True
    hangs: asyncio.Event | None = None
    waiting: bool = False

    @property
    def id(self) -> str:
        return self.name if self.mute else ""

    @property
    def readable(self) -> bool:
        return not self.mute

    async def publish(self, activation: Activation) -> None:
        self.reaper.boundary()
        if self.hangs is not None:
            self.waiting = True
            await self.hangs.wait()
            self.waiting = False
        if self.fails:
            raise SinkFailed(self.name, "it is out")
        must_follow(self.name, self.last, activation)
        if not activation.says_the_same(self.last):
            self.heard.append(activation)
            self.on_change()
        self.reaper.boundary()
        # The answer takes a moment.
        await asyncio.sleep(0)

    async def read(self, plan: str) -> Activation | None:
        if self.reaper.dead:
            raise Killed
        if self.fails and not self.mute:
            raise SinkFailed(self.name, "it is out")
        return None if self.mute else self.last

    @property
    def last(self) -> Activation | None:
        return self.heard[-1] if self.heard else None

    def endpoint(self, primary: str = "east") -> ActiveEndpoint | None:
        return self.last.sources[primary] if self.last is not None else None

    @property
    def side(self) -> str | None:
        """The resource it names."""
        endpoint = self.endpoint()
        return endpoint.resource if endpoint is not None else None


class Site:
    """A plan from east to west and north, whose copies are in sync, and two sinks that name east."""

    def __init__(self, targets: Iterable[str] = ("west", "north"), **plan: Any) -> None:
        self.reaper = Reaper()
        self.vault = MortalVault(reaper=self.reaper)
        self.world = World(recovery_plan(targets=tuple(targets), **plan), vault=self.vault)
        self.world.service.intervene = self._intervene
        self.sinks = [MemorySink(name, self.reaper, on_change=self._watch) for name in ("file", "hook")]
        self.dark: set[str] = set()
        self.seen: list[set[str]] = []
        self.runs = 0

    @classmethod
    async def made(cls, *analyzers: str, **plan: Any) -> Site:
        site = cls(**plan)
        for name in analyzers or ("invoice",):
            site.world.create("east", name)
        await site.world.replicate()
        await site.commit()
        return site

    @asynccontextmanager
    async def context(self) -> AsyncIterator[RecoveryContext]:
        self.runs += 1
        async with self.world.context(f"run-{self.runs}") as context:
            yield replace(context, sinks=tuple(self.sinks))

    async def fail_over(self, to: str = "west", *, planned: bool = False, **order: Any) -> FailoverReport:
        async with self.context() as context:
            asked = FailoverRequest(primary="east", to=to, planned=planned, **order)
            return await fail_over(context, asked, DirectStages())

    async def roll_back(self, **more: Any) -> FailoverReport:
        async with self.context() as context:
            return await fail_over(context, FailoverRequest(primary="east", action="roll back", **more), DirectStages())

    async def commit(self) -> CommitReport:
        async with self.context() as context:
            return await commit(context)

    async def fail_back(self) -> FailbackReport:
        async with self.context() as context:
            return await fail_back(context, "east", DirectStages())

    async def fence(self) -> Fence:
        return await read_fence(self.vault, self.world.plan)

    async def side(self) -> Assignment:
        return (await self.fence()).assignments["east"]

    async def deeds(self) -> list[str]:
        """What the audit log has; it must be whole."""
        check = await verify_audit(self.vault, self.world.plan.name, None)
        assert not check.problems
        return [line.action for line in check.lines]

    @property
    def named(self) -> set[str]:
        """The sides that sinks name now."""
        return {sink.side for sink in self.sinks if sink.side is not None}

    def calls_to(self, resource: str) -> int:
        return sum(call[0] == resource for call in self.world.service.calls)

    def _watch(self) -> None:
        self.seen.append(self.named)

    def _intervene(self, when: str, request: httpx.Request) -> httpx.Response | None:
        self.reaper.boundary()
        if request.url.host.partition(".")[0] in self.dark:
            raise httpx.ConnectError("dark", request=request)
        return None
