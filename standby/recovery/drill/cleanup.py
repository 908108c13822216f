"""The analyzers that a drill makes: listed before they are made, and removed at the end, also after a kill -9.

One object in the vault lists the drills of a plan that were begun and are not proven clean. A drill holds it
while it runs, so that nobody takes its analyzers for leftovers; a run that is killed releases it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from pydantic import AwareDatetime, Field

from standby.clock import Clock
from standby.concurrency import do_for_each, to_its_end
from standby.config.errors import UnknownName
from standby.document import Document, JsonObject
from standby.errors import GuardRefused, StandbyError
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, Stage, Stages
from standby.replication.inventory import DRILL_TAG, Connections, connect
from standby.service.client import ContentUnderstandingClient
from standby.service.errors import AnalyzerNotFound, ServiceError
from standby.service.models import Analyzer
from standby.text import some_of
from standby.vault.documents import HeldDocument, Stored, hold_document
from standby.vault.storage import Storage

log = logging.getLogger("standby.recovery")

EMPTY_LISTINGS = 2
"""So many listings in a row must have nothing: one may be behind, and a build under way may still appear."""

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # Seconds between two listings, the longer the more there were
LONGEST = 600.0  # Seconds that a clean-up may take in all


class DrillUnderWay(GuardRefused):
    def __init__(self, plan: str, where: str) -> None:
        cause = f"Another drill of plan {plan} is running (it has locked {where})"
        super().__init__(cause, "Wait until it has ended, then run again")


class LeftBehind(StandbyError):
    """Leftovers of an earlier drill at the same target cannot be removed, so another drill would prove nothing."""

    def __init__(self, plan: str, run_id: str, resource: str, left: Sequence[str], problem: str) -> None:
        super().__init__(
            f"The leftovers of drill {run_id} at {resource} are not removed: "
            f"{problem or f'{some_of(left, 5)} cannot be deleted'}",
            clean_up_again(plan),
        )


class ManifestUnreadable(StandbyError):
    def __init__(self, where: str, reason: str) -> None:
        action = "Put back an older version of it; or delete every analyzer with the tag standby-drill, then the file"
        super().__init__(f"{where}, which lists what unfinished drills have made, cannot be read: {reason}", action)


def clean_up_again(plan: str) -> str:
    """Say what to do where something of a drill is left."""
    return f"Fix that, then run standby drill {plan} --clean-up"


class DrillManifest(Document):
    """One drill, and how to recognize its analyzers."""

    run_id: str
    primary: str = Field(alias="home")  # whose outage is simulated
    to: str  # resource at which analyzers are made
    scratch: str | None  # the same, where it is a scratch resource and no target of the plan
    prefix: str  # of every id it makes; empty at a scratch resource
    # Ids that were at the scratch resource before; none of them belongs to the drill.
    found: frozenset[str] = frozenset()
    begun_at: AwareDatetime
    actor: str

    def made(self, analyzer: Analyzer) -> bool:
        """Say whether this drill made an analyzer: its tag and its id must both say so."""
        return (
            analyzer.tags.get(DRILL_TAG) == self.run_id
            and analyzer.analyzer_id.startswith(self.prefix)
            and analyzer.analyzer_id not in self.found
            and bool(self.prefix or self.scratch)
        )


class OpenDrills(Stored):
    """The drills of a plan that were begun and are not proven clean, oldest first."""

    drills: tuple[DrillManifest, ...] = ()


class HeldDrills(HeldDocument[OpenDrills]):
    """The list of unfinished drills, held by one run; what was written is safe."""

    @property
    def drills(self) -> tuple[DrillManifest, ...]:
        return self.found.drills if self.found else ()

    async def begin(self, manifest: DrillManifest) -> None:
        await self.write(OpenDrills(drills=(*self.drills, manifest)))

    async def end(self, run_id: str) -> None:
        """Take a drill off the list: nothing of it is left."""
        await self.write(OpenDrills(drills=tuple(drill for drill in self.drills if drill.run_id != run_id)))


@asynccontextmanager
async def hold_drills(files: Storage, plan: str) -> AsyncIterator[HeldDrills]:
    """Hold the list of a plan's unfinished drills; one run at a time may."""
    path = f"drills/{plan}/open.json"
    busy = partial(DrillUnderWay, plan)
    async with hold_document(files, path, OpenDrills, busy=busy, unreadable=ManifestUnreadable) as held:
        yield HeldDrills(**vars(held))


class CleanUp(Document):
    """What was done about the analyzers that a drill made."""

    created: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    proven: bool = False  # whether the resource said more than once that nothing is left
    problem: str = ""  # why it is not proven
    seconds: float = 0.0

    @property
    def outcome(self) -> str:
        """How many were deleted, and whether that is proven, in a few words."""
        deleted = f"{len(self.deleted)} of {len(self.created)} deleted"
        if self.proven:
            return f"{deleted}, proven complete"
        left = f"; {some_of(self.left, 5)} left" if self.left else ""
        return f"{deleted}, not proven complete{left}"


class CleanedUp(Document):
    """The leftovers of one unfinished drill, and whether they were removed."""

    run_id: str
    to: str
    begun_at: AwareDatetime
    cleanup: CleanUp


class CleanUpReport(Document):
    """Whether everything that earlier drills of a plan had left was removed."""

    plan: str
    drills: tuple[CleanedUp, ...]

    @property
    def complete(self) -> bool:
        return all(drill.cleanup.proven for drill in self.drills)


async def clean_up(context: RecoveryContext, stages: Stages) -> CleanUpReport:
    """Remove what unfinished drills of a plan left, and prove it."""
    async with hold_drills(context.vault, context.plan.name) as drills:
        return await remove_leftovers(context, drills, stages)


async def remove_leftovers(context: RecoveryContext, drills: HeldDrills, stages: Stages) -> CleanUpReport:
    """Remove what every unfinished drill left; those that are proven clean are taken off the list."""
    done = [await _remove(context, drills, manifest, stages) for manifest in drills.drills]
    return CleanUpReport(plan=context.plan.name, drills=tuple(done))


def must_be_clean(report: CleanUpReport, target: str) -> None:
    """Let a drill begin only where nothing of an earlier one is left; leftovers elsewhere are warned of."""
    for drill in report.drills:
        if drill.cleanup.proven:
            continue
        error = LeftBehind(report.plan, drill.run_id, drill.to, drill.cleanup.left, drill.cleanup.problem)
        if drill.to == target:
            raise error
        log.warning("%s", error)


async def _remove(context: RecoveryContext, drills: HeldDrills, manifest: DrillManifest, stages: Stages) -> CleanedUp:
    name = f"clean up {manifest.to} after drill {manifest.run_id}"
    cleanup = await to_its_end(stages.run(Stage.CLEAN_UP, name, lambda: _cleaned(context, manifest)))
    if cleanup.proven:
        await drills.end(manifest.run_id)
        reason = "it did not finish, and was cleaned up later"
        facts: JsonObject = {"drill": manifest.run_id, "to": manifest.to, "passed": False, "reason": reason}
        facts["deleted"] = len(cleanup.deleted)
        await record_action(context, AuditAction.DRILL_ENDED, facts)
    return CleanedUp(run_id=manifest.run_id, to=manifest.to, begun_at=manifest.begun_at, cleanup=cleanup)


async def _cleaned(context: RecoveryContext, manifest: DrillManifest) -> CleanUp:
    try:
        async with connected(context, manifest.to) as connections:
            return await clean(connections[manifest.to], manifest, context.clock)
    except UnknownName as error:
        return CleanUp(problem=f"{error.cause}. Put it back into the configuration")


@asynccontextmanager
async def connected(context: RecoveryContext, resource: str) -> AsyncIterator[Connections]:
    """Add a client for one more resource, where the plan has none."""
    if resource in context.connections.clients:
        yield context.connections
        return
    async with connect([context.configuration.resource(resource)]) as more:
        yield Connections({**context.connections.clients, **more.clients}, context.connections.clock)


@dataclass
class _CleanUp:
    """What was seen and done so far: true at whatever moment the clean-up is stopped."""

    client: ContentUnderstandingClient
    manifest: DrillManifest
    clock: Clock
    seen: set[str] = field(default_factory=set)
    here: set[str] = field(default_factory=set)
    failures: dict[str, str] = field(default_factory=dict)
    unlisted: str = ""
    proven: bool = False

    @property
    def problem(self) -> str:
        if self.proven:
            return ""
        failed = next((f"{name}: {self.failures[name]}" for name in sorted(self.here) if name in self.failures), "")
        return self.unlisted or failed or "the resource still lists analyzers that it was asked to delete"

    async def until_empty(self) -> None:
        empty = 0
        for wait in (*WAITS, 0.0):
            try:
                listed = await self.client.list_analyzers()
            except ServiceError as error:
                self.unlisted = str(error)
            else:
                self.unlisted = ""
                self.here = {analyzer.analyzer_id for analyzer in listed if self.manifest.made(analyzer)}
                self.seen |= self.here
                empty = 0 if self.here else empty + 1
                if empty == EMPTY_LISTINGS:
                    self.proven = True
                    return
                self.failures = {}
                await do_for_each(sorted(self.here), self._delete, self.client.resource.max_concurrent_copies)
            await self.clock.sleep(wait)

    async def _delete(self, analyzer: str) -> None:
        try:
            await self.client.delete_analyzer(analyzer)
        except AnalyzerNotFound:
            return
        except ServiceError as error:
            self.failures[analyzer] = str(error)


async def clean(client: ContentUnderstandingClient, manifest: DrillManifest, clock: Clock) -> CleanUp:
    """Remove what a drill made at a resource, and prove it; a failure is reported, and not raised."""
    begun = clock.monotonic()
    progress = _CleanUp(client, manifest, clock)
    try:
        async with asyncio.timeout(LONGEST):
            await progress.until_empty()
    except TimeoutError:
        progress.unlisted = f"it did not end within {LONGEST:.0f} s"
    return CleanUp(
        created=tuple(sorted(progress.seen)),
        deleted=tuple(sorted(progress.seen - progress.here)),
        left=tuple(sorted(progress.here)),
        proven=progress.proven,
        problem=progress.problem,
        seconds=round(clock.monotonic() - begun, 3),
    )
