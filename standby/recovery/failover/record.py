"""How far a switch is, in the vault: what the fence says of it, in detail.

It is written before what it speaks of is done. Every run that goes on with a switch, or undoes it, has an
epoch of its own: what a run that was only asleep still sends is refused by whoever was told since.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, ValidationError

from standby.concurrency import to_its_end
from standby.config.explanation import summary
from standby.fencing import Fence, Phase, Side
from standby.recovery.failover.report import Mode
from standby.vault.filesystem import Objects

log = logging.getLogger("standby.recovery")


class SwitchRecord(BaseModel):
    """One switch of a plan; the last one stays as the record of what the sinks were told.

    Attributes:
        epoch: of the run that is at it.
        before: the side as it was before the switch; where undoing it leads.
        from_resource: the side that is left.
        to: the side that is to serve.
        started_at: when the first run began it, UTC.
        prepared: the target was brought up to date and found ready.
        touched: a sink may have been told something under this switch.
        may_tell: the sides that a sink may be naming now. One of them may be named again at any time; another
            only when none of them is named any more.
        told_at: when the side that is to serve was first named, UTC.
        ended: it is done or undone, and the audit log says so.
        names: id of an analyzer at a resource by its id at its source; by source and resource.
    """

    model_config = ConfigDict(frozen=True)

    plan: str
    home: str
    run_id: str
    epoch: int
    before: Side
    from_resource: str
    to: str
    mode: Mode
    reason: str = ""
    decision_id: str = ""
    forced: tuple[str, ...] = ()
    started_at: datetime
    detected_at: datetime | None = None
    unhealthy_since: datetime | None = None
    prepared: bool = False
    touched: bool = False
    may_tell: tuple[str, ...]
    told_at: datetime | None = None
    ended: bool = False
    names: Mapping[str, Mapping[str, Mapping[str, str]]] = {}

    def speaks_of(self, fence: Fence) -> bool:
        """Say whether this is the switch that a fence has under way; the record is written first."""
        side = fence.sides.get(self.home)
        return (
            side is not None
            and side.phase is Phase.SWITCHING
            and self.epoch - fence.epoch in (0, 1)
            and side.target in (self.to, self.from_resource)
        )

    def names_at(self, home: str, resource: str) -> Mapping[str, str]:
        """Give the ids to call at a resource; an id that is not among them is called as it is."""
        known = self.names.get(home, {})
        if resource == home and home not in known:
            return {name: name for names in known.values() for name in names}
        return known.get(resource, {})

    def naming(self, resource: str, names: Mapping[str, str]) -> SwitchRecord:
        """Add the ids to call at one side of this switch."""
        ours = {**self.names.get(self.home, {}), resource: dict(names)}
        return self.model_copy(update={"names": {**self.names, self.home: ours}})


async def read_record(objects: Objects, plan: str) -> SwitchRecord | None:
    """Read how far the last switch of a plan is; one that cannot be understood counts as none.

    Without it nothing is taken for done: whoever goes on begins at the beginning, which is safe.

    Raises:
        VaultUnavailable: it cannot be told.
    """
    path = _path(plan)
    content = await objects.read(path)
    if not content:
        return None
    try:
        return SwitchRecord.model_validate_json(content)
    except ValidationError as error:
        log.warning("%s cannot be read, so the switch begins anew: %s", objects.where(path), summary(error))
        return None


async def write_record(objects: Objects, record: SwitchRecord) -> None:
    """Write how far a switch is; it is safe when this returns.

    Raises:
        VaultUnavailable: it may or may not have been written.
    """
    content = record.model_dump_json(indent=1).encode()
    # A write that is left to its thread would come later than what follows it.
    await to_its_end(objects.write(_path(record.plan), content))


def _path(plan: str) -> str:
    return f"recovery/{plan}/switch.json"
