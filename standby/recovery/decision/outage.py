"""The answer to a report that a resource is unhealthy: a decision, a proposal, or a refusal that is reported."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from standby.config.durations import roughly
from standby.config.plan import FailoverPolicy
from standby.document import JsonValue
from standby.fencing import read_fence
from standby.recovery.audit import AuditAction, verify_audit
from standby.recovery.chain import AuditLine
from standby.recovery.context import Known, RecoveryContext
from standby.recovery.decision.evaluate import Recall
from standby.recovery.decision.input import Decision, FailoverRequest, Guard, Outcome
from standby.recovery.decision.record import DecisionRecord, decide_and_record
from standby.recovery.witnesses import looked
from standby.vault.documents import Stored, change_document, read_document
from standby.vault.errors import FormatUnknown

log = logging.getLogger("standby.recovery")

ANSWERS = frozenset({AuditAction.APPROVED.value, AuditAction.REJECTED.value})

REPEATED_AFTER = timedelta(hours=1)
"""After which the same refusal is reported again."""

NOBODY_HAS_TO_ACT = frozenset(
    {Guard.QUORUM, Guard.MINIMUM_OUTAGE, Guard.OBSERVERS_AGREE, Guard.ALREADY_ACTIVE, Guard.ONE_AT_A_TIME}
)
"""Guards that refuse or wait where there is no outage, or where another run deals with it already."""


def decision_slot(plan: str) -> str:
    """Name the slot of the one run that decides about a plan."""
    return f"standby-failover-{plan}"


async def decide_outage(
    context: RecoveryContext,
    outage_of: str,
    to: str,
    recall: Recall,
    publish: Callable[[DecisionRecord], Awaitable[None]],
) -> DecisionRecord | str:
    """Decide for each primary that the resource serves for, until there is something to do.

    Args:
        outage_of: the resource that was reported to be unhealthy.
        to: the target; empty where the decision chooses.
        recall: gives the observations of others.
        publish: called with every decision that was recorded.

    Returns:
        The last decision; or why nothing was decided, as a sentence without its full stop.
    """
    context = await looked(context)
    known = context.known or Known()
    fence = known.correct(await read_fence(context.vault, context.plan))
    found: DecisionRecord | str = f"{outage_of} serves for no primary of plan {fence.plan}"
    for primary, assignment in fence.assignments.items():
        if assignment.active != outage_of:
            continue
        if reason := await _why_not_propose(context, primary):
            found = reason
            continue
        request = FailoverRequest(
            primary=primary, to=to, requested_by="outage", outage_of=outage_of, reason=f"outage of {outage_of}"
        )
        found = await decide_and_record(context, request, recall=recall)
        await publish(found)
        if found.decision.outcome is Outcome.ACT:
            break
    return found


def request_of(record: DecisionRecord, to: str = "") -> FailoverRequest:
    """Make the request that a decision about an outage answered once more; `to` is the target somebody approved."""
    given = record.given
    return FailoverRequest(
        primary=given.primary,
        to=to or str(record.decision.to),
        requested_by="outage",
        outage_of=given.outage_of,
        reason=given.reason,
    )


def facts_of(record: DecisionRecord) -> dict[str, JsonValue]:
    """Give what the audit log and the events say of a decision."""
    given, decision = record.given, record.decision
    return {"home": given.primary, "from": given.active, "to": decision.to, "decision": record.id}


async def _why_not_propose(context: RecoveryContext, primary: str) -> str:
    if context.plan.failover.automatic:
        return ""
    checked = await verify_audit(context.vault, context.plan.name, context.signer)
    return why_not_propose(checked.lines, primary, context.clock.now(), context.plan.failover)


def why_not_propose(lines: Sequence[AuditLine], primary: str, now: datetime, policy: FailoverPolicy) -> str:
    """Say why no failover is to be proposed now; empty where one may be.

    While one proposal waits for its answer there is no second one. After a rejection nobody is asked again
    within the cool-down. Where nobody answered, the proposal may be repeated.
    """
    answers: dict[str, AuditLine] = {}
    for line in reversed(lines):
        if line.facts.get("home") != primary:
            continue
        age = now - line.at
        if line.action in ANSWERS:
            answers.setdefault(line.run_id, line)
            rejected = line.action == AuditAction.REJECTED and line.facts.get("answered") is True
            if rejected and age < policy.cool_down:
                comment = line.facts.get("comment")
                return f"a failover was rejected {roughly(age)} ago{f': {comment}' if comment else ''}"
        elif line.action == AuditAction.PROPOSED and line.run_id not in answers and age < policy.approval_timeout:
            return f"a proposal made {roughly(age)} ago waits for its approval in flow run {line.run_id}"
    return ""


def nobody_has_to_act(decision: Decision) -> bool:
    """Say whether it did not act because there is no outage, or because another run deals with it."""
    return any(result.guard in NOBODY_HAS_TO_ACT for result in decision.against)


class LastRefusal(Stored):
    """What was reported last, and when."""

    primary: str = Field(alias="home")
    guards: tuple[Guard, ...]
    at: AwareDatetime


async def report_refusal(context: RecoveryContext, record: DecisionRecord, publish: Callable[[], None]) -> None:
    """Report that an outage was not answered by a failover, unless the same was reported lately."""
    path = f"recovery/{context.plan.name}/refused.json"
    guards = tuple(result.guard for result in record.decision.against)
    refusal = LastRefusal(primary=record.given.primary, guards=guards, at=context.clock.now())
    # The file only spares repetitions: one that cannot be read costs one more report.
    try:
        last = await read_document(context.vault, path, LastRefusal)
    except FormatUnknown as error:
        # Nor is anything overwritten that a newer version wrote.
        log.warning("%s", error)
        publish()
        return
    same = last is not None and (last.primary, last.guards) == (refusal.primary, refusal.guards)
    if last is None or not same or refusal.at - last.at >= REPEATED_AFTER:
        publish()
        await change_document(context.vault, path, LastRefusal, lambda _: refusal)
