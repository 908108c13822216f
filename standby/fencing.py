"""The fence of a plan: which resource serves for each primary, under an epoch that only grows.

It is one object in the vault, held while a failover is under way. Without it every primary serves itself. Every
copy asks it first, so that a scheduled run does not write old definitions over the resource that serves. It asks the
fences of other plans in the vault as well, since two plans may protect the same analyzer: what serves elsewhere for
one of them serves there for all.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial

from pydantic import Field

from standby.concurrency import all_of
from standby.config.globs import Scope
from standby.config.plan import RecoveryPlan
from standby.document import Document
from standby.errors import GuardRefused, StandbyError
from standby.vault.documents import HeldDocument, Stored, hold_document, read_document, understood
from standby.vault.signing import LogMark
from standby.vault.storage import Storage


class Fenced(GuardRefused):
    """A copy would write to a resource that serves, or read from one that does not."""

    def __init__(self, plan: str, source: str, target: str, active: str, epoch: int, phase: Phase) -> None:
        news = f"has failed over to {active} (epoch {epoch})"
        action = f"To make {source} serve again, run standby failback {plan}; standby status {plan} shows what serves"
        if phase is Phase.SWITCHING:
            news = f"is failing over to {active} (epoch {epoch}), and that has not ended"
            action = f"Wait until it ends; if it was interrupted, standby status {plan} says how to end it"
        super().__init__(f"Plan {plan} {news}, so nothing is copied from {source} to {target}", action)


class FailoverUnderWay(GuardRefused):
    def __init__(self, plan: str, where: str) -> None:
        cause = f"Another run is changing which resource serves in plan {plan} (it has locked {where})"
        super().__init__(cause, f"Wait until it ends, then see standby status {plan}")


class FenceUnreadable(StandbyError):
    """The fence cannot be understood; nothing is assumed about what serves."""

    def __init__(self, where: str, reason: str) -> None:
        cause = f"{where}, which says which resource serves, cannot be read: {reason}"
        super().__init__(cause, "Restore an older version of that file; standby audit verify shows the last epoch")


class FenceBehind(GuardRefused):
    """The fence is not the one that was written last: what it says of who serves may be long gone."""

    def __init__(self, plan: str, where: str, epoch: int, known: int) -> None:
        cause = f"{where} is at epoch {epoch}, and plan {plan} was at {known} already: it was lost or is an older copy"
        super().__init__(cause, f"See standby status {plan}; nothing was changed")


class Phase(StrEnum):
    """Whether what serves for a primary is about to change, or may still be rolled back."""

    STEADY = "steady"
    SWITCHING = "switching"
    ACTIVATED = "activated"


class Assignment(Document):
    """The resource that serves for one primary of the plan."""

    active: str  # the resource that serves; during a failover the one that served until it began
    phase: Phase = Phase.STEADY
    target: str | None = None  # the resource that serves once the failover has ended
    previous: str | None = None  # what served before the last failover; a rollback leads there
    run_id: str = ""  # the run that changed it last
    since: datetime | None = None
    # The analyzers that it is about; `None` where an earlier version wrote it, which counts as all.
    scope: Scope | None = None
    # Analyzers, by their ids at the primary, that are left out: the resource that serves does not have them.
    missing: tuple[str, ...] = ()

    @property
    def upcoming(self) -> str | None:
        """The resource that a failover under way leads to."""
        return self.target if self.phase is Phase.SWITCHING else None


class Fence(Stored):
    """The resources that serve for the primaries of one plan."""

    plan: str
    epoch: int = 0  # grows with every failover and every rollback
    assignments: Mapping[str, Assignment] = Field(alias="sides")
    log: LogMark | None = None  # the newest line of the audit log when it was written; `None` where that was not known

    @property
    def serving(self) -> dict[str, str]:
        """The resource that serves, by primary."""
        return {primary: assignment.active for primary, assignment in self.assignments.items()}

    @property
    def is_under_way(self) -> bool:
        """Whether a failover of the plan has not ended."""
        return any(assignment.phase is Phase.SWITCHING for assignment in self.assignments.values())

    def primary_of(self, resource: str) -> str | None:
        """Give the primary that a resource serves for, or is about to serve for."""
        for primary, assignment in self.assignments.items():
            if assignment.active == resource:
                return primary
        if resource in self.assignments:
            return resource
        return next((primary for primary, each in self.assignments.items() if each.upcoming == resource), None)

    def must_allow_copy(self, source: str, target: str, failover_run: str = "") -> None:
        """Allow a copy only from a resource that serves to one that does not."""
        primary = self.primary_of(source)
        served = [assignment for assignment in self.assignments.values() if assignment.active == source]
        if primary and not served:
            raise self._fenced(source, target, self.assignments[primary])
        if not any(failover_run and assignment.run_id == failover_run for assignment in served):
            for assignment in served:
                if assignment.phase is Phase.SWITCHING:
                    raise self._fenced(source, target, assignment)
        for serves, assignment in self.assignments.items():
            is_served = assignment.active == target
            will_be = assignment.upcoming == target and assignment.active != source
            if serves != target and (is_served or will_be):
                raise self._fenced(source, target, assignment)

    def _fenced(self, source: str, target: str, assignment: Assignment) -> Fenced:
        return Fenced(self.plan, source, target, assignment.target or assignment.active, self.epoch, assignment.phase)


@dataclass
class HeldFence(HeldDocument[Fence]):
    """The fence of a plan in the hands of one run: as it is `found`, completed by what the plan has."""

    fence: Fence

    async def write(self, fence: Fence) -> None:
        """Replace the fence; the new one is safe when this returns."""
        await super().write(fence)
        self.fence = fence


async def read_fence(objects: Storage, plan: RecoveryPlan, *, known: int = 0) -> Fence:
    """Read which resource serves for each primary; `known` is the highest epoch that the run knows."""
    where = objects.where(fence_path(plan.name))
    return _not_older(fence_of_plan(plan, await read_stored_fence(objects, plan.name), where), where, known)


async def read_stored_fence(objects: Storage, plan: str) -> Fence | None:
    """Read the fence as it is stored; `None` where there is none, or an empty file: see `recovery/witnesses.py`."""
    content = await objects.read(fence_path(plan))
    is_there = content is not None and content.strip()
    return understood(objects.where(fence_path(plan)), content, Fence, FenceUnreadable) if is_there else None


@asynccontextmanager
async def hold_fence(files: Storage, plan: RecoveryPlan, *, known: int = 0) -> AsyncIterator[HeldFence]:
    """Hold the fence of a plan for changing it; `known` is the highest epoch that the run knows."""
    busy = partial(FailoverUnderWay, plan.name)
    async with hold_document(files, fence_path(plan.name), Fence, busy=busy, unreadable=FenceUnreadable) as held:
        fence = _not_older(fence_of_plan(plan, held.found, held.where), held.where, known)
        yield HeldFence(**vars(held), fence=fence)


def _not_older(fence: Fence, where: str, known: int) -> Fence:
    if fence.epoch < known:
        raise FenceBehind(fence.plan, where, fence.epoch, known)
    return fence


def fence_path(plan: str) -> str:
    return f"recovery/{plan}/fence.json"


def switch_path(plan: str) -> str:
    return f"recovery/{plan}/switch.json"


def fence_of_plan(plan: RecoveryPlan, found: Fence | None, where: str) -> Fence:
    steady = {pair.source: Assignment(active=pair.source) for pair in plan.pairs}
    if found is None:
        return Fence(plan=plan.name, assignments=steady)
    if found.plan != plan.name:
        raise FenceUnreadable(where, f"it belongs to plan {found.plan}")
    # A source that was added to the plan since serves itself; one that was removed does not matter any more.
    assignments = {primary: found.assignments.get(primary, steady[primary]) for primary in steady}
    return found.model_copy(update={"assignments": assignments})


@dataclass(frozen=True)
class ElsewhereActive:
    """What another plan says of one of its primaries: another resource serves for it, or is about to."""

    plan: str
    epoch: int
    primary: str
    assignment: Assignment

    @property
    def resource(self) -> str:
        """The resource that serves, or will when a failover under way has ended."""
        return self.assignment.upcoming or self.assignment.active

    @property
    def is_settled(self) -> bool:
        return self.assignment.phase is not Phase.SWITCHING

    @property
    def scope(self) -> Scope:
        return self.assignment.scope or Scope()

    def serves_at(self, resource: str, analyzer: str) -> bool:
        """Say whether an analyzer of a resource serves for that plan, or is about to."""
        away = {self.assignment.active} - {self.primary}
        upcoming = {self.assignment.upcoming} if self.assignment.upcoming else set()
        return resource in away | upcoming and self.scope.has_at(resource, analyzer)

    def __str__(self) -> str:
        """As a part of a sentence, which names the plan."""
        if self.is_settled:
            return f"{self.resource} serves for {self.primary} in plan {self.plan} (epoch {self.epoch})"
        return f"plan {self.plan} is failing {self.primary} over to {self.resource} (epoch {self.epoch})"

    @property
    def way_out(self) -> str:
        if self.is_settled:
            return f"Run standby failback {self.plan} first"
        return f"Wait until that failover ends; if it was interrupted, standby status {self.plan} says how to end it"

    def or_follow(self, plan: str) -> str:
        """Say what a plan can do instead that protects the same analyzers."""
        return f"{self.way_out}, or follow it with standby failover {plan} --to {self.resource}"


class ActiveElsewhere(GuardRefused):
    """Another plan lets another resource serve, and what was asked for would contradict that."""

    def __init__(self, plan: str, what: str, other: ElsewhereActive, way_out: str = "") -> None:
        known = f"where plan {other.plan} is not in the configuration, add it again first"
        super().__init__(f"Plan {plan} {what}, since {other}", f"{way_out or other.way_out} ({known})")
        self.other = other


class OtherFenceUnknown(GuardRefused):
    """It is unknown what serves for another plan, which may protect the same analyzers."""

    def __init__(self, plan: str, what: str, other: UnknownFence) -> None:
        cause = f"Plan {plan} {what}, since it is unknown what serves for plan {other.plan}: {other.reason}"
        super().__init__(cause, f"Restore {other.where} as it was; standby audit verify shows the last epoch")


@dataclass(frozen=True)
class UnknownFence:
    """The fence of another plan that cannot be understood, or that should be there."""

    plan: str
    where: str
    reason: str


@dataclass(frozen=True)
class OtherPlans:
    """What the fences of all other plans in the vault say: plans whose primaries serve themselves do not appear."""

    plan: str  # the plan that asks
    active: tuple[ElsewhereActive, ...] = ()
    unknown: tuple[UnknownFence, ...] = ()

    def of(self, primary: str) -> Iterable[ElsewhereActive]:
        return (other for other in self.active if other.primary == primary)

    def serving(self, resource: str, analyzer: str) -> ElsewhereActive | None:
        """Give the other plan for which an analyzer of a resource serves, or is about to."""
        return next((other for other in self.active if other.serves_at(resource, analyzer)), None)

    def against_copy(self, source: str, target: str, analyzer: str, target_analyzer: str) -> GuardRefused | None:
        """Say why an analyzer is not to be copied: its copy serves, or the source does not serve it any more."""
        what = f"does not copy {analyzer} from {source} to {target}"
        if other := self.serving(target, target_analyzer):
            follow = other.is_settled and other.primary == source
            return ActiveElsewhere(self.plan, what, other, other.or_follow(self.plan) if follow else "")
        for other in self.of(source):
            if other.scope.has(analyzer):
                return ActiveElsewhere(self.plan, what, other)
        return OtherFenceUnknown(self.plan, what, self.unknown[0]) if self.unknown else None

    def must_let_serve(self, primary: str, resource: str, scope: Scope, *, forced: bool = False) -> None:
        """Let a resource serve for a scope of a primary only where no other plan has another one serve any of it."""
        # Forced, it may where that is the primary itself, and where it is unknown what other plans say.
        what = f"does not make {resource} serve for {primary}"
        for other in () if forced and resource == primary else self.of(primary):
            if other.resource != resource and (both := scope.shared_with(other.scope)):
                more = f" and {len(both) - 1} more" if len(both) > 1 else ""
                what = f"{what}, which has {both[0]}{more} in common with plan {other.plan}"
                alone = f"{other.way_out}; to fail both back one after the other, begin with --force shared"
                either = alone if resource == primary else other.or_follow(self.plan)
                raise ActiveElsewhere(self.plan, what, other, either if other.is_settled else "")
        if self.unknown and not forced:
            raise OtherFenceUnknown(self.plan, what, self.unknown[0])


async def read_other_plans(storage: Storage, plan: str) -> OtherPlans:
    """Read what serves for the other plans of a vault, whether they are configured here or not."""
    found: dict[str, set[str]] = {}
    for listed in await storage.list("recovery/"):
        match listed.path.split("/"):
            case [_, name, ("fence.json" | "switch.json") as file] if name != plan and (
                file != "fence.json" or listed.size
            ):
                found.setdefault(name, set()).add(file)
    results = await all_of(_read_other(storage, name, files) for name, files in sorted(found.items()))
    unknown = tuple(result for result in results if isinstance(result, UnknownFence))
    active = (other for result in results if not isinstance(result, UnknownFence) for other in result)
    return OtherPlans(plan, tuple(active), unknown)


class LastFailover(Stored):
    """What other plans and witnesses read of the last failover; the whole is `failover/state.py: SwitchRecord`."""

    primary: str = Field(alias="home")
    before: Assignment  # the assignment before the failover; undoing it leads there
    to: str
    epoch: int
    fenced: bool | None = None  # the fence was seen to have its epoch; `None` where an earlier version wrote it
    ended: bool = False  # it was completed or undone, and the audit log says so
    log: LogMark | None = None  # the newest line of the audit log when it was written
    touched: bool = True  # something of it may have been published to a sink
    # Id of an analyzer at a resource by its id at the primary; by primary and resource.
    names: Mapping[str, Mapping[str, Mapping[str, str]]] = {}

    def add_names(self, other: ElsewhereActive) -> ElsewhereActive:
        """Add which analyzers it is about, which is written down here first, while it is under way."""
        if other.is_settled or (self.primary, self.epoch) != (other.primary, other.epoch):
            return other
        known = {name: ids for name, ids in self.names.get(self.primary, {}).items() if name != self.primary}
        scope = other.scope.model_copy(update={"names": {**known, **other.scope.names}})
        return replace(other, assignment=other.assignment.model_copy(update={"scope": scope}))


async def _read_other(
    storage: Storage, plan: str, files: Collection[str]
) -> tuple[ElsewhereActive, ...] | UnknownFence:
    path, record_path = fence_path(plan), switch_path(plan)
    where = storage.where(path)
    try:
        if "fence.json" not in files:
            begun = await read_document(storage, record_path, LastFailover, FenceUnreadable)
            if begun is None or (begun.epoch == 1 and not begun.touched):
                return ()  # Its first failover is just about to write its fence.
            return UnknownFence(plan, where, f"{where} is missing, though that plan was failed over before")
        fence = await read_document(storage, path, Fence, FenceUnreadable)
        # A record that cannot be read counts as none: then the plan's globs alone say what it is about.
        record = await read_document(storage, record_path, LastFailover) if fence and fence.is_under_way else None
    except StandbyError as error:
        return UnknownFence(plan, where, error.cause)
    if fence is None or fence.plan != plan:
        reason = "it is empty" if fence is None else f"it belongs to plan {fence.plan}"
        return UnknownFence(plan, where, FenceUnreadable(where, reason).cause)
    moved = ((name, each) for name, each in fence.assignments.items() if each.active != name or each.upcoming)
    away = tuple(ElsewhereActive(plan, fence.epoch, primary, assignment) for primary, assignment in moved)
    return away if record is None else tuple(record.add_names(other) for other in away)
