"""How far a failback is, in the vault, so that another run can go on with it; one run at a time may."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from pydantic import Field, ValidationError

from standby.config.errors import summary
from standby.document import Document
from standby.fencing import Fence, Phase
from standby.recovery.context import RecoveryContext
from standby.recovery.failback.errors import FailbackUnderWay
from standby.recovery.failback.report import Kept
from standby.recovery.failover.errors import SwitchUnfinished
from standby.vault.errors import Held
from standby.vault.filesystem import Journal


@dataclass(frozen=True)
class Way:
    """The way back of one source of a plan.

    Attributes:
        standby: what serves in its place, or did until the switch; `None` where nothing did.
        is_back: home serves already.
        is_switching: the switch has begun, and has not ended.
    """

    primary: str
    standby: str | None
    is_back: bool
    is_switching: bool


def way_back(fence: Fence, primary: str, unfinished: str | None) -> Way:
    """Say from where a source is to be brought back.

    Args:
        fence: which side serves.
        home: the source.
        unfinished: the standby of a failback that was begun and has not ended.

    Raises:
        SwitchUnfinished: a switch that leads elsewhere has to end first.
    """
    side = fence.assignments[primary]
    if side.phase is Phase.SWITCHING:
        if side.active == primary or side.target != primary:
            raise SwitchUnfinished(fence.plan, primary, side.target or side.active, side.active)
        return Way(primary, side.active, is_back=False, is_switching=True)
    if side.active != primary:
        return Way(primary, side.active, is_back=False, is_switching=False)
    return Way(primary, unfinished or side.previous, is_back=True, is_switching=False)


log = logging.getLogger("standby.recovery")


class FailbackProgress(Document):
    """A failback that was begun.

    Attributes:
        begun_at: UTC.
        keep: whose analyzers go on, by id at home, where somebody said so.
        ended: it is done, and the next one is another one.
    """

    plan: str
    primary: str = Field(alias="home")
    standby: str
    run_id: str
    begun_at: datetime
    keep: dict[str, Kept]
    ended: bool = False


@dataclass
class HeldProgress:
    """The progress of one failback in the hands of one run.

    Attributes:
        unfinished: what an earlier run left; `None` where there is nothing to go on with.
    """

    unfinished: FailbackProgress | None
    _journal: Journal

    async def write(self, progress: FailbackProgress) -> None:
        """Put down how far it is; it is safe when this returns."""
        await self._journal.rewrite(progress.model_dump_json(indent=1).encode())


@asynccontextmanager
async def hold_progress(context: RecoveryContext, primary: str) -> AsyncIterator[HeldProgress]:
    """Hold the failback of one source of a plan.

    Raises:
        FailbackUnderWay: another run does.
    """
    path = f"recovery/{context.plan.name}/failback-{primary}.json"
    async with AsyncExitStack() as stack:
        try:
            journal = await stack.enter_async_context(context.vault.hold(path))
        except Held as held:
            raise FailbackUnderWay(context.plan.name, primary, held.where) from None
        yield HeldProgress(_unfinished(context.vault.where(path), journal.found), journal)


def _unfinished(where: str, content: bytes | None) -> FailbackProgress | None:
    if not content:
        return None
    try:
        found = FailbackProgress.model_validate_json(content)
    except ValidationError as error:
        # All it would add is what was said about conflicts, and that can be said again.
        log.warning("%s cannot be read, so the failback begins anew: %s", where, summary(error))
        return None
    return None if found.ended else found
