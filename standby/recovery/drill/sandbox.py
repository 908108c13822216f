"""The stage of a drill: the plan and its resources as they are, with a vault and a sink of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from pydantic import ValidationError

from standby.config.plan import RecoveryPlan, RegionPair
from standby.document import Document, digest_of
from standby.fencing import Fence, hold_fence
from standby.recovery.activation.sinks import Activation, SinkFailed, must_follow, read_back
from standby.recovery.context import RecoveryContext
from standby.recovery.drill.manifest import TAG, Intent
from standby.replication.inventory import Connections, connect
from standby.vault.errors import VaultError
from standby.vault.filesystem import FileSystem, Journal, Objects

OWN = ("recovery/", "audit/", "durations/", "drills/")
"""Never read from the real vault."""

KEPT = "snapshots/"
"""Read from the real vault once: what is newest stays so for the whole rehearsal."""


class RehearsalVault:
    """A view of a vault that changes nothing in it but below one folder."""

    def __init__(self, real: FileSystem, folder: str) -> None:
        """Look at a vault.

        Args:
            real: is read from.
            folder: path in it below which everything is written.
        """
        self._real = real
        self._folder = folder
        self._written: set[str] = set()
        self._kept: dict[str, bytes | None] = {}

    def where(self, path: str) -> str:
        """Say where a file is."""
        return self._real.where(self._inside(path) if self._is_own(path) else path)

    async def read(self, path: str) -> bytes | None:
        """Give what was written here, or what the real vault holds where that has a part in it."""
        if self._is_own(path):
            return await self._real.read(self._inside(path))
        if not path.startswith(KEPT):
            return await self._real.read(path)
        if path not in self._kept:
            self._kept[path] = await self._real.read(path)
        return self._kept[path]

    async def write(self, path: str, content: bytes) -> None:
        """Write below the folder."""
        await self._real.write(self._inside(path), content)
        self._written.add(path)

    async def remove(self, path: str) -> None:
        """Remove what is below the folder; the real file stays, and is not seen here any more."""
        await self._real.remove(self._inside(path))
        self._written.add(path)

    @asynccontextmanager
    async def hold(self, path: str) -> AsyncIterator[Journal]:
        """Open a journal below the folder; it begins as the real one is, where that has a part in it."""
        if not self._is_own(path) and (content := await self._real.read(path)) is not None:
            await self.write(path, content)
        self._written.add(path)
        async with self._real.hold(self._inside(path)) as journal:
            yield journal

    def _is_own(self, path: str) -> bool:
        return path in self._written or path.startswith(OWN)

    def _inside(self, path: str) -> str:
        return f"{self._folder}/{path}"


UNKNOWN = "unknown"
"""Stands for what cannot be read."""


async def seen_now(context: RecoveryContext) -> Mapping[str, str]:
    """Give the digest of everything real that a failover would change, by what it is."""
    fence = f"recovery/{context.plan.name}/fence.json"
    seen = {f"fence {context.vault.where(fence)}": digest_of(await context.vault.read(fence) or b"")}
    told = await read_back(context.sinks, context.plan.name)
    for sink, activation in zip(context.sinks, told, strict=True):
        if activation is None or isinstance(activation, SinkFailed):
            seen[sink.name] = UNKNOWN
        else:
            seen[sink.name] = digest_of(activation.model_dump_json().encode())
    return seen


TOLD = "told.json"


class Told(Document):
    """Everything a rehearsal's sink was told, in order."""

    activations: tuple[Activation, ...] = ()


@dataclass(frozen=True)
class RehearsalSink:
    """Stands in for every sink of the configuration: it minds what a file minds, and nobody reads it."""

    objects: Objects
    path: str

    @property
    def name(self) -> str:
        """What reports call it."""
        return "rehearsal"

    async def publish(self, activation: Activation) -> None:
        """Take down what it is told."""
        told = await self.told()
        must_follow(self.name, told[-1] if told else None, activation)
        await self._write((*told, activation))

    async def read(self, plan: str) -> Activation | None:
        """Give what it was told last."""
        told = [activation for activation in await self.told() if activation.plan == plan]
        return told[-1] if told else None

    async def told(self) -> tuple[Activation, ...]:
        """Give all that it was told."""
        try:
            content = await self.objects.read(self.path)
            return Told.model_validate_json(content).activations if content else ()
        except (VaultError, ValidationError) as error:
            reason = error.cause if isinstance(error, VaultError) else "it cannot be read"
            raise SinkFailed(self.name, reason) from None

    async def _write(self, activations: tuple[Activation, ...]) -> None:
        try:
            content = Told(activations=activations).model_dump_json(indent=1)
            await self.objects.write(self.path, content.encode())
        except VaultError as error:
            raise SinkFailed(self.name, error.cause) from None


@dataclass(frozen=True)
class Rehearsal:
    """Everything a failover works with, none of it real but the resource that it is rehearsed at.

    Attributes:
        fence: as the rehearsal found it, which is as it really is.
    """

    context: RecoveryContext
    sink: RehearsalSink
    fence: Fence


@asynccontextmanager
async def rehearsing(context: RecoveryContext, intent: Intent, fence: Fence, like: str) -> AsyncIterator[Rehearsal]:
    """Set the stage.

    Args:
        context: the real one.
        intent: of the drill.
        fence: the real one, which the rehearsal's begins as.
        like: the target whose deployments a scratch resource is used with.
    """
    folder = drill_folder(context.plan.name, intent.run_id)
    vault = RehearsalVault(context.vault, folder)
    plan = _rehearsed(context.plan, intent, like)
    sink = RehearsalSink(context.vault, f"{folder}/{TOLD}")
    async with connected(context, intent.to) as connections:
        yield Rehearsal(
            context=replace(
                context,
                configuration=context.configuration.model_copy(
                    update={"plans": {**context.configuration.plans, plan.name: plan}}
                ),
                run=replace(context.run, recovery_plan=plan, connections=connections, vault=vault),
                second=None if context.second is None else RehearsalVault(context.second, folder),
                sinks=(sink,),
            ),
            sink=sink,
            fence=await _begun_as(vault, plan, fence),
        )


@asynccontextmanager
async def connected(context: RecoveryContext, resource: str) -> AsyncIterator[Connections]:
    """Have a client of one more resource, where the plan has none."""
    if resource in context.connections.clients:
        yield context.connections
        return
    async with connect([context.configuration.resource(resource)]) as more:
        yield Connections({**context.connections.clients, **more.clients}, context.connections.clock)


def drill_folder(plan: str, run_id: str) -> str:
    """Give the path in the vault below which everything of a drill is."""
    return f"drills/{plan}/{run_id}"


async def _begun_as(vault: RehearsalVault, plan: RecoveryPlan, fence: Fence) -> Fence:
    async with hold_fence(vault, plan) as held:
        await held.write(fence)
        return held.fence


def _rehearsed(plan: RecoveryPlan, intent: Intent, like: str) -> RecoveryPlan:
    # The tag of a drill is no difference; and defaults that are missing are told, not added for good.
    changed: dict[str, object] = {"ignore": (*plan.ignore, f"tags.{TAG}")}
    if plan.missing_defaults == "sync":
        changed["missing_defaults"] = "fail"
    if intent.scratch:
        added = RegionPair(source=intent.primary, targets=(intent.scratch,))
        changed["pairs"] = (*plan.pairs, added)
        if like in plan.deployments:
            changed["deployments"] = {**plan.deployments, intent.scratch: plan.deployments[like]}
    return plan.model_copy(update=changed)
