"""The fence of a plan: which resource serves for each primary, under an epoch that only grows.

It is one object in the vault, held while a failover is under way. Without it every primary serves itself. Every
copy asks it first, so that a scheduled run does not write old definitions over the resource that serves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from standby.config.plan import RecoveryPlan
from standby.document import Document
from standby.errors import GuardRefused, StandbyError
from standby.vault.documents import HeldDocument, hold_document, read_document
from standby.vault.formats import Stored
from standby.vault.storage import Storage


class Fenced(GuardRefused):
    """A copy would write to a resource that serves, or read from one that does not."""

    def __init__(self, plan: str, source: str, target: str, active: str, epoch: int, phase: Phase) -> None:
        ended = phase is not Phase.SWITCHING
        news = f"has failed over to {active} (epoch {epoch})"
        if not ended:
            news = f"is failing over to {active} (epoch {epoch}), and that has not ended"
        super().__init__(
            f"Plan {plan} {news}, so nothing is copied from {source} to {target}",
            f"To let {source} serve again, run standby failback {plan}; standby status {plan} shows what serves"
            if ended
            else f"Wait until it ends; if it was interrupted, standby status {plan} says how to end it",
        )


class FailoverUnderWay(GuardRefused):
    def __init__(self, plan: str, where: str) -> None:
        super().__init__(
            f"Another run is changing which resource serves in plan {plan} (it has locked {where})",
            f"Wait until it ends, then see standby status {plan}",
        )


class FenceUnreadable(StandbyError):
    """The fence cannot be understood; nothing is assumed about what serves."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"{where}, which says which resource serves, cannot be read: {reason}",
            "Restore an older version of that file; standby audit verify shows the last epoch",
        )


class Phase(StrEnum):
    """Whether what serves for a primary is about to change, or may still be rolled back."""

    STEADY = "steady"
    SWITCHING = "switching"
    ACTIVATED = "activated"


class Assignment(Document):
    """The resource that serves for one primary of the plan.

    Attributes:
        active: the resource that serves; during a failover the one that served until it began.
        target: the resource that serves once the failover has ended.
        previous: what served before the last failover; a rollback leads there.
        run_id: the run that changed it last.
    """

    active: str
    phase: Phase = Phase.STEADY
    target: str | None = None
    previous: str | None = None
    run_id: str = ""
    since: datetime | None = None

    @property
    def upcoming(self) -> str | None:
        """The resource that a failover under way leads to."""
        return self.target if self.phase is Phase.SWITCHING else None


class Fence(Stored):
    """The resources that serve for the primaries of one plan.

    Attributes:
        epoch: grows with every failover and every rollback.
    """

    plan: str
    epoch: int = 0
    assignments: Mapping[str, Assignment] = Field(alias="sides")

    def primary_of(self, resource: str) -> str | None:
        """Give the primary that a resource serves for, or is about to serve for."""
        for primary, assignment in self.assignments.items():
            if assignment.active == resource:
                return primary
        if resource in self.assignments:
            return resource
        return next((primary for primary, each in self.assignments.items() if each.upcoming == resource), None)

    def must_allow_copy(self, source: str, target: str, failover_run: str = "") -> None:
        """Allow a copy only from a resource that serves to one that does not.

        Args:
            failover_run: run id of the failover that the copy is a part of, if it is one.

        Raises:
            Fenced: it leads to a resource that serves, or from one that does not.
        """
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
class HeldFence:
    """The fence of a plan in the hands of one run."""

    fence: Fence
    _document: HeldDocument[Fence]

    async def write(self, fence: Fence) -> None:
        """Replace the fence; the new one is safe when this returns."""
        await self._document.write(fence)
        self.fence = fence


async def read_fence(objects: Storage, plan: RecoveryPlan) -> Fence:
    """Read which resource serves for each primary.

    Raises:
        FenceUnreadable: it is there and cannot be understood.
    """
    path = _path(plan)
    return _of_plan(plan, await read_document(objects, path, Fence, FenceUnreadable), objects.where(path))


@asynccontextmanager
async def hold_fence(files: Storage, plan: RecoveryPlan) -> AsyncIterator[HeldFence]:
    """Hold the fence of a plan for changing it; `FailoverUnderWay` where another run does."""

    def busy(where: str) -> FailoverUnderWay:
        return FailoverUnderWay(plan.name, where)

    async with hold_document(files, _path(plan), Fence, busy=busy, unreadable=FenceUnreadable) as held:
        yield HeldFence(_of_plan(plan, held.found, held.where), held)


def _path(plan: RecoveryPlan) -> str:
    return f"recovery/{plan.name}/fence.json"


def _of_plan(plan: RecoveryPlan, found: Fence | None, where: str) -> Fence:
    steady = {pair.source: Assignment(active=pair.source) for pair in plan.pairs}
    if found is None:
        return Fence(plan=plan.name, assignments=steady)
    if found.plan != plan.name:
        raise FenceUnreadable(where, f"it belongs to plan {found.plan}")
    # A source that was added to the plan since serves itself; one that was removed does not matter any more.
    return found.model_copy(
        update={"assignments": {primary: found.assignments.get(primary, steady[primary]) for primary in steady}}
    )
