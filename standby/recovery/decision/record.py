"""Recorded decisions: kept in the vault, replayed from there, and put into the same sentences everywhere."""

import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import assert_never
from uuid import uuid4

from pydantic import AwareDatetime, Field, ValidationError

from standby import __version__
from standby.config.durations import format_duration, roughly
from standby.config.errors import summary
from standby.document import Document, digest_of
from standby.errors import StandbyError
from standby.fencing import Phase
from standby.recovery.audit import AuditAction, AuditBroken, record_action, verify_audit
from standby.recovery.chain import unsigned
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.evaluate import Recall, evaluate, nothing_more
from standby.recovery.decision.guards import decide, withheld
from standby.recovery.decision.input import Decision, DecisionInput, FailoverRequest, Outcome
from standby.recovery.probe import Observation
from standby.recovery.witnesses import looked
from standby.text import some_of, utc
from standby.vault.documents import Stored, parse_stored
from standby.vault.errors import Changed
from standby.vault.signing import Signer
from standby.vault.storage import Storage

log = logging.getLogger("standby.recovery")


class NoSuchDecision(StandbyError):
    def __init__(self, decision_id: str, where: str) -> None:
        action = "Take an id from a report, an event or the audit log, such as invoices-20260131T031402Z-1a2b"
        super().__init__(f"No decision {decision_id} is recorded: there is no {where}", action)


class DecisionUnreadable(StandbyError):
    def __init__(self, where: str, reason: str) -> None:
        cause = f"{where} cannot be read as the record of a decision: {reason}"
        super().__init__(cause, "Restore an older version of that file; standby audit verify checks the audit log")


_ID = re.compile(r"([a-z0-9][a-z0-9-]*)-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")


class DecisionRecord(Stored):
    id: str  # its plan, when it was recorded, and four digits against chance
    recorded_at: AwareDatetime
    actor: str
    via: str
    version: str
    given: DecisionInput = Field(alias="case")
    decision: Decision


async def decide_and_record(
    context: RecoveryContext,
    request: FailoverRequest,
    *,
    history: Sequence[Observation] = (),
    recall: Recall = nothing_more,
    rounds: int | None = None,
) -> DecisionRecord:
    context = await looked(context)
    given, decision = await evaluate(context, request, history=history, recall=recall, rounds=rounds)
    return await record_decision(context, given, decision)


def as_decided(request: FailoverRequest, record: DecisionRecord) -> FailoverRequest:
    """Give the request that is to be carried out after a decision to act."""
    given, decision = record.given, record.decision
    outage = given.requested_by == "outage"
    is_way_back = given.assignment.phase is Phase.ACTIVATED and given.assignment.previous == decision.to
    return replace(
        request,
        action="roll back" if outage and is_way_back else request.action,
        to=str(decision.to),
        planned=given.planned,
        active=given.active,
        epoch=given.epoch,
        phase=given.assignment.phase,
        decision_id=record.id,
        detected_at=given.asked_at if outage else None,
        unhealthy_since=decision.unhealthy_since,
        healthy_until=decision.healthy_until,
        left_out=withheld(record.given, decision),
    )


def as_approved(
    request: FailoverRequest,
    proposed: DecisionRecord,
    record: DecisionRecord,
    approved_at: datetime,
    asked_at: datetime | None = None,  # when the outage was first asked about, where proposals were not answered
) -> FailoverRequest:
    """Give the request that is to be carried out after a proposal was approved and decided once more.

    The outage was detected by the proposal; the time until the answer is the approval's. Where the resource was
    healthy meanwhile, it is another outage, for which nobody waited.
    """
    decided = as_decided(request, record)
    healthy_until = record.decision.healthy_until
    if healthy_until is not None and healthy_until > proposed.given.asked_at:
        return decided
    before = as_decided(request, proposed)
    return replace(
        decided,
        detected_at=min(asked_at or proposed.given.asked_at, proposed.given.asked_at),
        approved_at=approved_at,
        unhealthy_since=before.unhealthy_since or decided.unhealthy_since,
        healthy_until=before.healthy_until or decided.healthy_until,
    )


async def first_asked(context: RecoveryContext, record: DecisionRecord) -> datetime | None:
    """Say when somebody was first asked to approve a failover because of the outage that a decision is about."""
    since, primary = record.decision.healthy_until, record.given.primary
    try:
        lines = (await verify_audit(context.vault, context.plan.name, context.signer)).lines
    except StandbyError as error:
        # It only says how long somebody was waited for.
        log.warning("%s", error)
        return None
    asked = (line.at for line in lines if line.action == AuditAction.PROPOSED and line.facts.get("home") == primary)
    return min((at for at in asked if since is not None and at > since), default=None)


async def record_decision(context: RecoveryContext, given: DecisionInput, decision: Decision) -> DecisionRecord:
    """Keep a decision in the vault, and record its digest in the audit log."""
    now, record, content = context.clock.now(), None, b""
    while record is None:
        chosen = DecisionRecord(
            id=f"{given.plan}-{now:%Y%m%dT%H%M%SZ}-{uuid4().hex[:4]}",
            recorded_at=now,
            actor=context.actor,
            via=context.via,
            version=__version__,
            given=given,
            decision=decision,
        )
        content = chosen.model_dump_json(indent=1).encode()
        with suppress(Changed):  # Another decision has this id already.
            await context.vault.swap(decision_path(chosen.id), content, None)
            record = chosen
    facts = {"decision": record.id, "home": given.primary, "outcome": decision.outcome.value, "to": decision.to}
    facts |= {"requested_by": given.requested_by, "digest": digest_of(content)}
    try:
        await record_action(context, AuditAction.DECIDED, facts, epoch=given.epoch)
    except AuditBroken as error:
        if not given.records_lost:
            raise
        # That is why it refuses, which must be told anyway.
        log.warning("%s", error)
    return record


async def read_record(storage: Storage, decision_id: str) -> tuple[DecisionRecord, str]:
    """Read a decision, with the digest of what its file holds now."""
    path = decision_path(decision_id)
    where = storage.where(path)
    content = await storage.read(path)
    if content is None:
        raise NoSuchDecision(decision_id, where)
    try:
        return parse_stored(where, content, DecisionRecord), digest_of(content)
    except ValidationError as error:
        raise DecisionUnreadable(where, summary(error)) from None


def decision_path(decision_id: str) -> str:
    """Give the path of a decision in the vault; `NoSuchDecision` for what is no id, and might lead elsewhere."""
    plan_of(decision_id)
    return f"decisions/{decision_id}.json"


def plan_of(decision_id: str) -> str:
    """Give the name of the plan that a decision is about; the id has it, whatever was done to the file."""
    found = _ID.fullmatch(decision_id)
    if found is None:
        raise NoSuchDecision(decision_id, "file of this name")
    return found.group(1)


class Explanation(Document):
    """A recorded decision, and what the same input leads to now."""

    where: str
    record: DecisionRecord
    again: Decision  # what the same input leads to under the rules of this version
    same: bool  # whether that is what was decided, in whatever words
    problems: tuple[str, ...]  # why the record may not be the one that was written, a sentence each; none where it is


async def explain(storage: Storage, decision_id: str, signer: Signer | None) -> Explanation:
    """Replay a decision from its record alone; no resource is asked."""
    record, digest = await read_record(storage, decision_id)
    again = decide(record.given)
    plan = plan_of(decision_id)
    checked = await verify_audit(storage, plan, signer)
    said = (line for line in checked.lines if line.action == AuditAction.DECIDED)
    line = next((line for line in said if line.facts.get("decision") == decision_id), None)
    where = storage.where(decision_path(decision_id))
    problems = []
    if record.id != decision_id or record.given.plan != plan:
        problems.append(f"It is the record of {record.id}, stored under another id")
    if line is None:
        broken = f", and is not whole: {checked.problems[0]}" if checked.problems else ""
        problems.append(f"{checked.where} has no line about it{broken}")
    elif line.facts.get("digest") != digest:
        problems.append(f"{where} was changed after it was written: the audit log has another digest of it")
    if line is not None and (reason := unsigned(line, signer)):
        problems.append(f"Its line in {checked.where} is not valid: {reason}")
    same = again.is_same_as(record.decision)
    return Explanation(where=where, record=record, again=again, same=same, problems=tuple(problems))


def conclusion(decision: Decision, given: DecisionInput) -> str:
    """Say what a decision leads to, without a full stop."""
    instead = "" if given.primary == given.active else f" for {given.primary}"
    what = f"fail over from {given.active} to {decision.to}{instead}"
    match decision.outcome:
        case Outcome.ACT if decision.needs_approval:
            return f"propose to {what}"
        case Outcome.ACT:
            return what
        case Outcome.WAIT:
            return "wait; nothing was done"
        case Outcome.REFUSE:
            return "refuse; nothing was done"
        case _:
            assert_never(decision.outcome)


def requester(given: DecisionInput, actor: str) -> str:
    if given.requested_by == "outage":
        return f"an outage of {given.outage_of or given.active} ({actor})"
    kind = "planned" if given.planned else "unplanned"
    return f"{actor}, {kind}{f': {given.reason}' if given.reason else ''}"


def reasons_against(decision: Decision) -> str:
    return "; ".join(f"{result.guard.value}: {result.text}" for result in decision.against)


def unanswered(record: DecisionRecord) -> str:
    """Say that an outage is not answered by a failover, and why."""
    proved = "is" if record.decision.detected_at else "may be"
    return (
        f"{record.given.active} {proved} down, and no failover was started: {reasons_against(record.decision)}. "
        f"standby explain {record.id} shows every reason. {by_hand(record)}"
    )


def by_hand(record: DecisionRecord) -> str:
    """Say how somebody decides otherwise, as a sentence."""
    order = f"standby failover {record.given.plan} --to {record.decision.to or 'RESOURCE'} --unplanned"
    if record.given.records_lost:
        # Without that it would be refused, too.
        order = f'{order} --force fence --reason "...", if the vault that was used last is lost'
    return f"To decide by hand: {order}."


def request_of(record: DecisionRecord) -> FailoverRequest:
    """Make the request that a decision about an outage answered once more."""
    given = record.given
    to, outage_of, reason = str(record.decision.to), given.outage_of, given.reason
    return FailoverRequest(primary=given.primary, to=to, requested_by="outage", outage_of=outage_of, reason=reason)


def proposal(record: DecisionRecord) -> str:
    """Say what is proposed: shown beside the form that approves it."""
    given, decision = record.given, record.decision
    without = f", without {', '.join(decision.left_out)}, which it cannot serve" if decision.left_out else ""
    lasted = f" for {roughly(given.asked_at - decision.unhealthy_since)}" if decision.unhealthy_since else ""
    return (
        f"{given.active} has been unhealthy{lasted}. The proposal is that {decision.to} serves instead{without}. "
        f"{expected_loss(record)} Approve it, name another target, or reject it. "
        "Everything is checked once more before anything is done."
    )


def expected_loss(record: DecisionRecord) -> str:
    """Say which edits the proposed target does not have, as far as that is known."""
    chosen = (each for each in record.given.candidates if each.resource == record.decision.to)
    fitness = next((each.fitness for each in chosen), None)
    serving = [] if fitness is None else [it for it in fitness.copies if it.analyzer not in record.decision.left_out]
    verified = [copy.verified_at for copy in serving if copy.verified_at]
    if not verified:
        return "It is unknown which edits would be lost."
    behind = [copy.analyzer for copy in serving if copy.source_changed]
    newest = f"the copies there were last verified between {utc(min(verified))} and {utc(max(verified))}"
    if behind:
        return f"The latest edits of {some_of(behind)} would be lost, and later ones of the others: {newest}."
    return f"No known edit would be lost, but later ones would be: {newest}."


def not_approved(record: DecisionRecord, *, answered: bool, comment: str) -> str:
    """Say that a proposal was rejected, or that nobody answered; without a full stop."""
    failover = f"the failover from {record.given.active} to {record.decision.to}"
    if answered:
        return f"Somebody rejected {failover}{f': {comment}' if comment else ''}"
    return f"Nobody approved or rejected {failover} within {format_duration(record.given.policy.approval_timeout)}"
