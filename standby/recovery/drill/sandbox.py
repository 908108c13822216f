"""Where a drill runs: the plan and its resources as they are, with a vault and a sink of its own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from standby.config.plan import RecoveryPlan, RegionPair
from standby.document import digest_of
from standby.fencing import Fence, fence_path, hold_fence
from standby.recovery.activation.sinks import Activation, SinkFailed, must_follow, read_back
from standby.recovery.context import Known, LogEnd, RecoveryContext
from standby.recovery.drill.cleanup import DrillManifest, connected
from standby.replication.inventory import DRILL_TAG
from standby.vault.documents import Stored, parse_stored
from standby.vault.errors import VaultError
from standby.vault.storage import HeldFile, Listed, Storage, Version

OWN = ("recovery/", "audit/", "durations/", "drills/")  # Never read from the real vault
KEPT = "snapshots/"  # Read from the real vault once: the newest snapshot stays the same for the whole drill


@dataclass(frozen=True)
class IsolatedVault:
    """A view of a vault that changes nothing in it except below one folder."""

    _real: Storage
    _folder: str
    _written: set[str] = field(default_factory=set)
    _kept: dict[str, bytes | None] = field(default_factory=dict)

    def where(self, path: str) -> str:
        return self._real.where(self._inside(path) if self._is_own(path) else path)

    async def read(self, path: str) -> bytes | None:
        """Give what was written here, or what the real vault holds where it may be read."""
        if self._is_own(path):
            return await self._real.read(self._inside(path))
        if not path.startswith(KEPT):
            return await self._real.read(path)
        if path not in self._kept:
            self._kept[path] = await self._real.read(path)
        return self._kept[path]

    async def write(self, path: str, content: bytes) -> None:
        await self._real.write(self._inside(path), content)
        self._written.add(path)

    async def remove(self, path: str) -> None:
        """Remove what is below the folder; the real file stays, and is no longer seen here."""
        await self._real.remove(self._inside(path))
        self._written.add(path)

    async def read_version(self, path: str) -> Version | None:
        """Give what is below the folder, which begins as the real one where that may be read."""
        await self._begin(path)
        return await self._real.read_version(self._inside(path))

    async def swap(self, path: str, content: bytes, tag: str | None) -> str:
        """Replace what is below the folder, if it is still as it was read."""
        await self._begin(path)
        return await self._real.swap(self._inside(path), content, tag)

    async def list(self, prefix: str = "") -> tuple[Listed, ...]:
        found = await self._real.list(self._inside(prefix))
        return tuple(replace(each, path=each.path.removeprefix(self._inside(""))) for each in found)

    @asynccontextmanager
    async def hold(self, path: str) -> AsyncIterator[HeldFile]:
        """Hold a file below the folder; it begins like the real one, where that may be read."""
        await self._begin(path)
        async with self._real.hold(self._inside(path)) as file:
            yield file

    async def _begin(self, path: str) -> None:
        """Let a file that is to be written begin like the real one, where that may be read."""
        if not self._is_own(path) and (content := await self._real.read(path)) is not None:
            await self.write(path, content)
        self._written.add(path)

    def _is_own(self, path: str) -> bool:
        return path in self._written or path.startswith(OWN)

    def _inside(self, path: str) -> str:
        return f"{self._folder}/{path}"


UNKNOWN = "unknown"  # The digest of what cannot be read


async def digests_of_production(context: RecoveryContext) -> Mapping[str, str]:
    """Give the digest of everything real that a failover would change, by what it is."""
    fence = fence_path(context.plan.name)
    digests = {f"fence {context.vault.where(fence)}": digest_of(await context.vault.read(fence) or b"")}
    published = await read_back(context.sinks, context.plan.name)
    for sink, activation in zip(context.sinks, published, strict=True):
        if activation is None or isinstance(activation, SinkFailed):
            digests[sink.name] = UNKNOWN
        else:
            digests[sink.name] = digest_of(activation.model_dump_json().encode())
    return digests


class Published(Stored):
    """Everything that was published to a sandbox's sink, in order."""

    activations: tuple[Activation, ...] = ()


@dataclass(frozen=True)
class SandboxSink:
    """Replaces every sink of the configuration: it refuses what a file would refuse, and nobody reads it."""

    objects: Storage
    path: str
    name: str = "sandbox"
    id: str = ""
    required: bool = True
    readable: bool = True

    async def publish(self, activation: Activation) -> None:
        published = await self.published()
        must_follow(self.name, published[-1] if published else None, activation)
        try:
            content = Published(activations=(*published, activation)).model_dump_json(indent=1)
            await self.objects.write(self.path, content.encode())
        except VaultError as error:
            raise SinkFailed(self.name, error.cause) from None

    async def read(self, plan: str) -> Activation | None:
        published = [activation for activation in await self.published() if activation.plan == plan]
        return published[-1] if published else None

    async def published(self) -> tuple[Activation, ...]:
        try:
            content = await self.objects.read(self.path)
            where = self.objects.where(self.path)
            return parse_stored(where, content, Published).activations if content else ()
        except (VaultError, ValidationError) as error:
            reason = error.cause if isinstance(error, VaultError) else "it cannot be read"
            raise SinkFailed(self.name, reason) from None


@asynccontextmanager
async def open_sandbox(
    context: RecoveryContext, manifest: DrillManifest, fence: Fence, like: str
) -> AsyncIterator[tuple[RecoveryContext, SandboxSink]]:
    """Open the sandbox of one drill, which begins with the real fence: nothing in it is real except the resource."""
    # A scratch resource is used with the deployments of the target that it is `like`.
    folder = drill_folder(context.plan.name, manifest.run_id)
    vault = IsolatedVault(context.vault, folder)
    plan = _drilled_plan(context.plan, manifest, like)
    sink = SandboxSink(context.vault, f"{folder}/told.json")
    async with hold_fence(vault, plan) as held:
        await held.write(fence)
    plans = {**context.configuration.plans, plan.name: plan}
    async with connected(context, manifest.to) as connections:
        sandbox = replace(
            context,
            configuration=context.configuration.model_copy(update={"plans": plans}),
            run=replace(context.run, recovery_plan=plan, connections=connections, vault=vault),
            second=None if context.second is None else IsolatedVault(context.second, folder),
            sinks=(sink,),
            known=Known(),
            log_end=LogEnd(),
        )
        yield sandbox, sink


def drill_folder(plan: str, run_id: str) -> str:
    return f"drills/{plan}/{run_id}"


def _drilled_plan(plan: RecoveryPlan, manifest: DrillManifest, like: str) -> RecoveryPlan:
    # The tag of a drill is no difference; and missing defaults are reported, not added to the real resource.
    changed: dict[str, object] = {"ignore": (*plan.ignore, f"tags.{DRILL_TAG}")}
    changed["failover"] = plan.failover.model_copy(update={"approvals": 1})  # Nothing real is failed over.
    changed["samples"] = None  # The drill analyses them itself, with the baselines of the real vault.
    if plan.missing_defaults == "sync":
        changed["missing_defaults"] = "fail"
    if manifest.scratch:
        added = RegionPair(source=manifest.primary, targets=(manifest.scratch,))
        changed["pairs"] = (*plan.pairs, added)
        if like in plan.deployments:
            changed["deployments"] = {**plan.deployments, manifest.scratch: plan.deployments[like]}
    return plan.model_copy(update=changed)
