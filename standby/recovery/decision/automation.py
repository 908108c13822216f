"""The off switch: whether outages may start a failover. It does not stop an operator.

One object of the vault, for all of its plans. Where it is missing, automation is on.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import AwareDatetime, ValidationError

from standby.config.errors import summary
from standby.errors import StandbyError
from standby.fencing import FenceUnreadable
from standby.recovery.audit import AuditAction, AuditBroken, AuditBusy, record_action
from standby.recovery.chain import plain_text
from standby.recovery.context import RecoveryContext
from standby.recovery.witnesses import looked
from standby.text import utc
from standby.vault.documents import Stored, change_document, parse_stored
from standby.vault.storage import Storage

AUTOMATION_PATH = "recovery/automation.json"


class AutomationUnreadable(StandbyError):
    """The off switch cannot be read; neither position is assumed."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(
            f"{where}, which says whether outages may start a failover, cannot be read: {reason}",
            "Set it again with standby automation on or standby automation off",
        )


class AutomationNotRecorded(StandbyError):
    """The off switch was set, but the audit log of a plan does not say so."""

    def __init__(self, on: bool, cause: str, next_action: str) -> None:
        super().__init__(
            f"Automation is {'on' if on else 'off'} now, but that could not be recorded in the audit log: {cause}",
            next_action,
        )


class Automation(Stored):
    """The position of the off switch, and who put it there.

    Attributes:
        on: whether outages may start a failover; each plan's own failover.automatic comes on top.
    """

    on: bool = True
    changed_at: AwareDatetime | None = None
    by: str = ""
    reason: str = ""


def position_words(automation: Automation) -> str:
    """Say whether automation is on, who set it and why, without a full stop."""
    position = f"Automation is {'on' if automation.on else 'off'}"
    if automation.changed_at is None:
        return f"{position}: nobody has ever switched it off"
    why = f": {automation.reason}" if automation.reason else ""
    return f"{position}, by {automation.by} at {utc(automation.changed_at)}{why}"


async def read_automation(storage: Storage) -> Automation:
    """Read the off switch.

    Raises:
        AutomationUnreadable: it is there and cannot be understood.
    """
    content = await storage.read(AUTOMATION_PATH)
    if content is None:
        return Automation()
    where = storage.where(AUTOMATION_PATH)
    try:
        return parse_stored(where, content, Automation)
    except ValidationError as error:
        raise AutomationUnreadable(where, summary(error)) from None


async def set_automation(plans: Sequence[RecoveryContext], *, on: bool, reason: str) -> Automation:
    """Set the off switch, and record it in the audit log of every plan.

    The off switch is set first: an audit log that cannot be written must not keep automation on.

    Raises:
        AutomationNotRecorded: it is set, and that could not be recorded.
    """
    first = plans[0]
    automation = Automation(on=on, changed_at=first.clock.now(), by=first.actor, reason=plain_text(reason))
    await change_document(first.vault, AUTOMATION_PATH, Automation, lambda _: automation)
    try:
        for context in plans:
            # A log that was lost is not begun anew by this line.
            known = await looked(context)
            await record_action(known, AuditAction.AUTOMATION_SWITCHED, {"on": on, "reason": reason})
    except (AuditBroken, AuditBusy, FenceUnreadable) as error:
        raise AutomationNotRecorded(on, error.cause, error.next_action) from error
    return automation
