"""How the last drills of a plan ended, at a path that is known beforehand, so that anybody can find it."""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict

from standby.vault.filesystem import Objects
from standby.vault.knowledge import read_knowledge


class DrillSummary(BaseModel):
    """One drill and its result.

    Attributes:
        run_id: under which its evidence is kept.
        ended_at: when its clean-up was proven, or given up, UTC.
        target: the resource at which it was rehearsed.
        passed: whether everything worked, and nothing of it was left behind.
        seconds: from its begin to its end, clean-up included.
        recovery_seconds: what a failover would have taken of that; `None` where it did not get so far.
        reason: why it did not pass; empty where it did.
        home: the source whose outage was rehearsed; empty where an older drill does not say.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    ended_at: AwareDatetime
    target: str
    passed: bool
    seconds: float
    recovery_seconds: float | None
    reason: str
    home: str = ""


class LatestDrills(BaseModel):
    """The last drill of each target of a plan, by the name of the target."""

    model_config = ConfigDict(frozen=True)

    drills: dict[str, DrillSummary] = {}

    def at(self, target: str) -> DrillSummary | None:
        """Give the last drill at a target."""
        return self.drills.get(target)

    @property
    def newest(self) -> DrillSummary | None:
        """Give the last drill of the plan, wherever it was."""
        return max(self.drills.values(), key=_ended_at, default=None)


def latest_path(plan: str) -> str:
    """Give the path in the vault at which the last drills of a plan are told."""
    return f"drills/{plan}/latest.json"


async def read_latest(objects: Objects, plan: str) -> LatestDrills:
    """Read the last drill of each target; a file that cannot be understood is warned of and counts as none.

    Raises:
        VaultUnavailable: it cannot be told.
    """
    return await read_knowledge(objects, latest_path(plan), LatestDrills)


async def write_latest(objects: Objects, plan: str, drill: DrillSummary) -> None:
    """Put a drill in the place of the last one at the same target.

    Raises:
        VaultUnavailable: it may or may not have been written.
    """
    known = await read_latest(objects, plan)
    latest = LatestDrills(drills={**known.drills, drill.target: drill})
    await objects.write(latest_path(plan), latest.model_dump_json(indent=1).encode())


def _ended_at(drill: DrillSummary) -> datetime:
    return drill.ended_at
