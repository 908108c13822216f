"""What every step of a run works with: the plan, a client per resource, a place for what is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from standby.clock import Clock, SystemClock
from standby.config.plan import RecoveryPlan
from standby.config.resource import DeploymentOverrides, Resource
from standby.replication.inventory import read_serving
from standby.replication.serving import Serving
from standby.service.calls import trusted_certificates
from standby.service.client import ContentUnderstandingClient
from standby.vault.filesystem import FileSystem

SERVING_AGE = 60.0
"""Seconds for which what a resource serves is taken as still true."""


@dataclass
class Connections:
    """An open client for each resource, and what the resource was last seen to serve."""

    clients: Mapping[str, ContentUnderstandingClient]
    clock: Clock = field(default_factory=SystemClock)
    _serving: dict[str, tuple[float, Serving]] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __getitem__(self, resource: str) -> ContentUnderstandingClient:
        """Give the client of a resource, by name."""
        return self.clients[resource]

    async def serving(self, resource: str) -> Serving:
        """Tell what a resource serves, asked at most once in `SERVING_AGE` seconds."""
        async with self._lock:
            known = self._serving.get(resource)
            if known is None or self.clock.monotonic() - known[0] > SERVING_AGE:
                self.remember_serving(await read_serving(self.clients[resource]))
            return self._serving[resource][1]

    def remember_serving(self, serving: Serving) -> None:
        """Take what was just read for true, for a while."""
        self._serving[serving.resource.name] = (self.clock.monotonic(), serving)

    def forget_serving(self, resource: str) -> None:
        """Ask again next time, because it was just changed."""
        self._serving.pop(resource, None)


@asynccontextmanager
async def connect(resources: Iterable[Resource]) -> AsyncIterator[Connections]:
    """Open one client per resource, and close them all."""
    tls = trusted_certificates()
    async with AsyncExitStack() as stack:
        clients = {
            resource.name: await stack.enter_async_context(ContentUnderstandingClient(resource, tls=tls))
            for resource in resources
        }
        yield Connections(clients)


@dataclass(frozen=True)
class RunContext:
    """Everything a step needs beside the item it works on.

    Attributes:
        vault: where the ledgers are, and the definitions that a run replaces.
        switch: run id of the failover or failback that this run is a part of; empty where it is none.
    """

    recovery_plan: RecoveryPlan
    connections: Connections
    vault: FileSystem
    clock: Clock = field(default_factory=SystemClock)
    switch: str = ""

    def overrides(self, target: str) -> DeploymentOverrides:
        """The plan's deployment overrides for a target."""
        return self.recovery_plan.deployments.get(target, DeploymentOverrides())
