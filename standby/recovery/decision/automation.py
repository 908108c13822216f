"""Whether an outage may start a failover by itself: the off switch, and what people answered who were asked.

The off switch is one object of the vault, for all of its plans; it does not stop an operator. Where it is missing,
automation is on.
"""

from collections.abc import Sequence
from datetime import datetime

from pydantic import AwareDatetime

from standby.config.durations import roughly
from standby.config.plan import FailoverPolicy
from standby.errors import StandbyError
from standby.fencing import FenceUnreadable
from standby.recovery.audit import AuditAction, AuditBroken, AuditBusy, record_action, verify_audit
from standby.recovery.chain import AuditLine, plain_text
from standby.recovery.context import RecoveryContext
from standby.recovery.witnesses import looked
from standby.text import utc
from standby.vault.documents import Stored, change_document, read_document
from standby.vault.storage import Storage

AUTOMATION_PATH = "recovery/automation.json"


class AutomationUnreadable(StandbyError):
    def __init__(self, where: str, reason: str) -> None:
        cause = f"{where}, which says whether outages may start a failover, cannot be read: {reason}"
        super().__init__(cause, "Set it again with standby automation on or standby automation off")


class AutomationNotRecorded(StandbyError):
    def __init__(self, on: bool, cause: str, next_action: str) -> None:
        position = "on" if on else "off"
        text = f"Automation is {position} now, but that could not be recorded in the audit log: {cause}"
        super().__init__(text, f"{next_action}. Then run standby automation {position} again, which records it")


class Automation(Stored):
    """The position of the off switch, and who put it there; each plan's own failover.automatic comes on top."""

    on: bool = True
    changed_at: AwareDatetime | None = None
    by: str = ""
    reason: str = ""


def position_words(automation: Automation) -> str:
    """Say whether automation is on, who set it and why, without a full stop."""
    if automation.on and automation.changed_at is None:
        return "Automation is on: nobody has ever switched it off"
    at = f" at {utc(automation.changed_at)}" if automation.changed_at else ""
    why = f": {automation.reason}" if automation.reason else ""
    return f"Automation is {'on' if automation.on else 'off'}, by {automation.by or 'somebody'}{at}{why}"


async def read_automation(storage: Storage) -> Automation:
    return await read_document(storage, AUTOMATION_PATH, Automation, AutomationUnreadable) or Automation()


async def set_automation(plans: Sequence[RecoveryContext], *, on: bool, reason: str) -> Automation:
    # The off switch is set first: an audit log that cannot be written must not keep automation on.
    first = plans[0]
    automation = Automation(on=on, changed_at=first.clock.now(), by=first.actor, reason=plain_text(reason))
    await change_document(first.vault, AUTOMATION_PATH, Automation, lambda _: automation)
    try:
        for context in plans:
            # A log that was lost must not begin again with this line.
            known = await looked(context)
            await record_action(known, AuditAction.AUTOMATION_SWITCHED, {"on": on, "reason": reason})
    except (AuditBroken, AuditBusy, FenceUnreadable) as error:
        raise AutomationNotRecorded(on, error.cause, error.next_action) from error
    return automation


ANSWERS = frozenset({AuditAction.APPROVED.value, AuditAction.REJECTED.value})


async def waits_for_a_person(context: RecoveryContext, primary: str) -> str:
    """Say why no failover is proposed now; empty where one may be, or where the plan asks nobody."""
    if context.plan.failover.automatic:
        return ""
    checked = await verify_audit(context.vault, context.plan.name, context.signer)
    return why_not_propose(checked.lines, primary, context.clock.now(), context.plan.failover)


def why_not_propose(lines: Sequence[AuditLine], primary: str, now: datetime, policy: FailoverPolicy) -> str:
    """Say why no failover is to be proposed now; empty where one may be."""
    # While one proposal waits for its answer there is no second one. After a rejection nobody is asked again within the
    # cool-down. Where nobody answered, the proposal may be repeated.
    answers: dict[str, AuditLine] = {}
    for line in reversed(lines):
        if line.facts.get("home") != primary:
            continue
        age = now - line.at
        if line.action in ANSWERS and not line.facts.get("waiting"):
            answers.setdefault(line.run_id, line)
            rejected = line.action == AuditAction.REJECTED and line.facts.get("answered") is True
            if rejected and age < policy.cool_down:
                comment = line.facts.get("comment")
                return f"a failover was rejected {roughly(age)} ago{f': {comment}' if comment else ''}"
        elif line.action == AuditAction.PROPOSED and line.run_id not in answers and age < policy.approval_timeout:
            return f"a proposal made {roughly(age)} ago waits for its approval in flow run {line.run_id}"
    return ""
