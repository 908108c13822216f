"""The resources of a plan in memory, a vault in memory, and people who edit at every resource."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from standby.config.configuration import Configuration
from standby.config.plan import RecoveryPlan
from standby.fencing import Assignment, Fence, Phase, hold_fence, read_fence
from standby.recovery.context import RecoveryContext
from standby.replication.items import Selection
from standby.replication.replicate import begin
from standby.replication.report import Report
from standby.replication.steps import DirectSteps
from tests.standby.replication.world import (
    DEFAULTS,
    MODELS,
    Service,
    definition,
    labelled,
    recovery_plan,
    resource,
)
from tests.standby.vault.world import MemoryVault

RUN = "run-1"


@dataclass
class World:
    """A plan, its resources and its vault."""

    plan: RecoveryPlan = field(default_factory=recovery_plan)
    service: Service = field(default_factory=lambda: Service(polls=0))
    vault: MemoryVault = field(default_factory=MemoryVault)

    def __post_init__(self) -> None:
        for name in self.plan.resources:
            self.service.region(name).defaults = dict(DEFAULTS)

    @asynccontextmanager
    async def context(self, run_id: str = RUN, **fields: Any) -> AsyncIterator[RecoveryContext]:
        run = self.service.context(self.plan, self.vault, **fields)
        names = self.plan.resources
        configuration = Configuration(
            resources={name: resource(name, **fields) for name in names}, plans={self.plan.name: self.plan}
        )
        try:
            yield RecoveryContext(
                configuration=configuration,
                run=run,
                second=None,
                signer=None,
                sinks=(),
                via="direct",
                actor="ada@desk",
                run_id=run_id,
            )
        finally:
            for client in run.connections.clients.values():
                await client.__aexit__()

    async def replicate(self, selection: Selection | None = None) -> Report:
        """Do what a scheduled run does."""
        async with self.context() as context:
            steps = DirectSteps(context.run)
            async with begin(context.run, selection or Selection(), steps) as replication:
                await replication.run()
                report = replication.report(run_id="scheduled", via="direct")
        self.pass_time()
        return report

    async def serve_at(self, active: str, primary: str = "east", phase: Phase = Phase.STEADY, **side: Any) -> None:
        """Let a resource serve, as after a failover that was committed."""
        async with hold_fence(self.vault, self.plan) as held:
            changed = Assignment(active=active, phase=phase, **side)
            sides = {**held.fence.assignments, primary: changed}
            await held.write(Fence(plan=self.plan.name, epoch=held.fence.epoch + 1, assignments=sides))
        self.pass_time()

    async def active(self, primary: str = "east") -> Assignment:
        return (await read_fence(self.vault, self.plan)).assignments[primary]

    def pass_time(self, seconds: float = 2.0) -> None:
        """Dates of the service are whole seconds."""
        self.service.clock.seconds += seconds

    @property
    def stamp(self) -> str:
        return f"{self.service.clock.now():%Y-%m-%dT%H:%M:%SZ}"

    def at(self, where: str) -> dict[str, dict[str, Any]]:
        """What a resource holds."""
        return self.service.region(where).analyzers

    def says(self, where: str) -> dict[str, str]:
        """What a resource's analyzers say of themselves, by id."""
        return {name: str(found["description"]) for name, found in self.at(where).items()}

    def create(self, where: str, name: str, *children: str, trained: bool = False, **fields: Any) -> None:
        """Make an analyzer, or replace the one of this id."""
        values = {"createdAt": self.stamp, "models": dict(MODELS), **fields}
        made = (
            labelled(name, self.stamp, **values)
            if trained
            else definition(name, *children, lastModifiedAt=self.stamp, **values)
        )
        self.service.hold(where, made)
        self.pass_time()

    def patch(self, where: str, name: str, text: str) -> None:
        """Edit an analyzer in its place, as PATCH does."""
        self.at(where)[name] |= {"description": text, "lastModifiedAt": self.stamp}
        self.pass_time()

    def put(self, where: str, name: str, text: str) -> None:
        """Edit an analyzer by putting another one in its place."""
        self.at(where)[name] |= {"description": text, "createdAt": self.stamp, "lastModifiedAt": self.stamp}
        self.pass_time()

    def retrain(self, where: str, name: str) -> None:
        """Build an analyzer again from labelled data that changed: its definition stays."""
        self.at(where)[name] |= {"createdAt": self.stamp, "lastModifiedAt": self.stamp}
        self.pass_time()

    def delete(self, where: str, name: str) -> None:
        del self.at(where)[name]
        self.pass_time()

    def kept(self) -> list[Mapping[str, Any]]:
        """Every definition that was replaced and kept in the vault."""
        return [json.loads(text) for path, text in self.vault.files.items() if path.startswith("replaced/")]
