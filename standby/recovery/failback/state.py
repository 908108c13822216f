"""From where a plan is failed back, and how far that is; one run at a time may do it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from pydantic import Field

from standby.document import Document
from standby.fencing import Fence, Phase
from standby.recovery.context import RecoveryContext
from standby.recovery.failback.errors import FailbackUnderWay
from standby.recovery.failback.report import Choice
from standby.recovery.failover.errors import FailoverUnfinished
from standby.vault.documents import HeldDocument, hold_document


@dataclass(frozen=True)
class FailbackState:
    """Where a failback stands, by the fence.

    Attributes:
        standby: the resource that serves for the primary, or did until the failback; `None` where none did.
        is_back: the primary serves already.
        is_switching: the failback's failover has begun, and has not ended.
    """

    primary: str
    standby: str | None
    is_back: bool
    is_switching: bool


def failback_state(fence: Fence, primary: str, unfinished: str | None = None) -> FailbackState:
    """Say from which resource a primary is failed back.

    Args:
        fence: what serves.
        primary: what is to serve again.
        unfinished: the standby of a failback that was begun and has not ended.

    Raises:
        FailoverUnfinished: a failover to another resource has to end first.
    """
    assignment = fence.assignments[primary]
    if assignment.phase is Phase.SWITCHING:
        if assignment.active == primary or assignment.target != primary:
            raise FailoverUnfinished(fence.plan, primary, assignment.target or assignment.active, assignment.active)
        return FailbackState(primary, assignment.active, is_back=False, is_switching=True)
    if assignment.active != primary:
        return FailbackState(primary, assignment.active, is_back=False, is_switching=False)
    return FailbackState(primary, unfinished or assignment.previous, is_back=True, is_switching=False)


class FailbackProgress(Document):
    """A failback that was begun.

    Attributes:
        keep: whose analyzers are kept, by id at the primary, where somebody decided.
        ended: it is done, and the next one is another one.
    """

    plan: str
    primary: str = Field(alias="home")
    standby: str
    run_id: str
    begun_at: datetime
    keep: dict[str, Choice]
    ended: bool = False


def hold_progress(
    context: RecoveryContext, primary: str
) -> AbstractAsyncContextManager[HeldDocument[FailbackProgress]]:
    """Hold the failback of one primary of a plan.

    One that cannot be read counts as missing: all it adds is what was decided about conflicts, and that can be
    decided again.

    Raises:
        FailbackUnderWay: another run holds it.
    """
    path = f"recovery/{context.plan.name}/failback-{primary}.json"
    busy = partial(FailbackUnderWay, context.plan.name, primary)
    return hold_document(context.vault, path, FailbackProgress, busy=busy)
