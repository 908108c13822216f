"""The answer to an outage: what was begun is taken up, what is proved is answered, and what is not settled is told."""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial

from standby.document import JsonValue
from standby.errors import StandbyError, sentence
from standby.fencing import FailoverUnderWay, Fence, Phase, read_fence
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import Known, RecoveryContext
from standby.recovery.decision.automation import position_words, read_automation, waits_for_a_person
from standby.recovery.decision.evaluate import Recall
from standby.recovery.decision.guards import outage_is_elsewhere
from standby.recovery.decision.input import FailoverRequest, Guard, GuardOutcome, Outcome
from standby.recovery.decision.record import (
    DecisionRecord,
    as_approved,
    as_decided,
    by_hand,
    decide_and_record,
    first_asked,
    proposal,
    reasons_against,
    request_of,
    unanswered,
)
from standby.recovery.failover.attendance import (
    STOPPED,
    TOO_LONG,
    UNFINISHED,
    Attendance,
    EvaluatedElsewhere,
    attending,
)
from standby.recovery.failover.begin import unfinished
from standby.recovery.failover.failover import decide_request
from standby.recovery.failover.report import FailoverReport, summary
from standby.recovery.failover.state import SwitchRecord
from standby.recovery.probe import Observation, observer_here, probe_resources
from standby.recovery.witnesses import looked

log = logging.getLogger("standby.recovery")

PAUSES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 285.0)
"""Seconds before each further attempt: ten minutes in all. After that the next report of the outage begins anew."""

OUTSIDE = PAUSES[:4]
"""The same for a run that does not get to attend at all: the next report comes soon, and such runs must not pile up."""


async def to_be_attended(context: RecoveryContext, down: Collection[str]) -> list[str]:
    """Name what somebody has to attend to: a resource that serves and is down, or has a failover that did not end."""
    assignments = (await _fence(context)).assignments.values()
    wanted = [each.active for each in assignments if each.active in down or each.phase is Phase.SWITCHING]
    return list(dict.fromkeys(wanted))


async def not_well(context: RecoveryContext, found: Mapping[str, Observation]) -> list[str]:
    serving = (await _fence(context)).serving.values()
    return [name for name in dict.fromkeys(serving) if name not in found or not found[name].healthy]


async def _fence(context: RecoveryContext) -> Fence:
    known = context.known or Known()
    return known.correct(await read_fence(context.vault, context.plan))


def facts_of(record: DecisionRecord) -> dict[str, JsonValue]:
    """Give what the audit log and the events say of a decision."""
    given, decision = record.given, record.decision
    lost: dict[str, JsonValue] = {"missing": [*decision.left_out]} if decision.left_out else {}
    return {"home": given.primary, "from": given.active, "to": decision.to, "decision": record.id, **lost}


def nothing_is_wrong(record: DecisionRecord) -> bool:
    """Say whether nothing is wrong: the resource that serves answers, or the outage is that of another one."""
    refused = [it.guard for it in record.decision.against if it.outcome is GuardOutcome.REFUSE]
    return outage_is_elsewhere(record.given) or Guard.QUORUM in refused


class AnswerState(StrEnum):
    """The result of an attempt to answer an outage.

    Only the first two are successes. `waiting` may change by itself; `refused` is what somebody has to change.
    """

    NOT_NEEDED = "not needed"
    CARRIED_OUT = "carried out"
    PROPOSED = "proposed"
    WAITING = "waiting"
    REFUSED = "refused"


UNSETTLED = frozenset({AnswerState.PROPOSED, AnswerState.WAITING, AnswerState.REFUSED})


@dataclass(frozen=True)
class Answer:
    primary: str
    state: AnswerState
    text: str  # what it means and what to do, in sentences
    what: str = ""  # tells the same from something new
    record: DecisionRecord | None = None
    report: FailoverReport | None = None
    again: bool = False  # whether a further attempt may help


@dataclass(frozen=True)
class Approved:
    """A proposal that somebody has approved, and when, UTC."""

    proposed: DecisionRecord
    at: datetime


async def never(_: str) -> bool:
    """Say that people were told of nothing recently."""
    return False


@dataclass(frozen=True)
class Means:
    recall: Callable[[str], Recall]  # gives what others have seen of a resource
    decided: Callable[[DecisionRecord], Awaitable[None]]
    carry_out: Callable[[RecoveryContext, FailoverRequest], Awaitable[FailoverReport]]
    # Tells people of an answer that leaves something unsettled; called no more often than people should be told.
    tell: Callable[[Answer], None]
    # Says whether people were told recently of what the vault cannot keep track of.
    told_lately: Callable[[str], Awaitable[bool]] = never
    may_ask: bool = True  # whether somebody can be asked for an approval
    approved: Approved | None = None  # what somebody has approved; the other primaries are left alone then
    # What earlier attempts have seen, so that a further one need not prove the outage again.
    seen: dict[Observation, None] = field(default_factory=dict)


async def answer_outage(context: RecoveryContext, resource: str, to: str, means: Means) -> tuple[Answer, ...]:
    """Answer the outage of a resource for every primary that it serves for, or what was begun and has not ended there.

    What fails on the way is tried again for ten minutes, with growing pauses, and told meanwhile. There is one answer
    for each primary, or a single one for the plan where nothing could be asked. The resource was reported to be
    unhealthy, or a failover that has not ended leads away from it; where `to` is empty, the decision chooses.
    """
    answer: Answer | None = None
    told: set[str] = set()
    for pause in (0.0, *(PAUSES if means.approved else OUTSIDE)):
        await context.clock.sleep(pause)
        try:
            async with attending(context, resource) as attendance:
                return await _attend(attendance, context, resource, to, means)
        except EvaluatedElsewhere as error:
            is_alive = error.since is None or context.clock.now() - error.since < TOO_LONG
            text = f"{resource} was reported to be down. {error}"
            answer = Answer("", AnswerState.WAITING, text, what=f"{resource}: another run attends")
            is_left_to_it = is_alive and error.resource in {"", resource} and not means.approved
            if is_left_to_it:
                answer = Answer("", AnswerState.NOT_NEEDED, sentence(error.cause))
            # A watch comes again. Who may ask somebody waits for its turn: that other run may not be able to ask.
            if is_alive and (not means.may_ask or (is_left_to_it and context.plan.failover.automatic)):
                return (answer,)
            if is_alive:
                continue  # It may end in a moment: told only if it does not.
        except StandbyError as error:
            unread = f"what serves for plan {context.plan.name} cannot be read"
            text = f"{resource} was reported to be down, and {unread}: {error}"
            answer = Answer("", AnswerState.WAITING, text, what=f"{resource}: nothing can be read")
        await _tell_once(answer, means, told)
    if answer is not None and answer.state is not AnswerState.NOT_NEEDED:
        await _tell_once(answer, means, told)
    return (answer,) if answer else ()


async def _tell_once(answer: Answer, means: Means, told: set[str]) -> None:
    """Tell people of what cannot be written down in the vault, unless this run or another one did so recently."""
    if answer.what not in told and not await means.told_lately(answer.what):
        means.tell(answer)
    told.add(answer.what)


async def _attend(
    attendance: Attendance, context: RecoveryContext, resource: str, to: str, means: Means
) -> tuple[Answer, ...]:
    answers: dict[str, Answer] = {}
    if means.approved:
        left = [means.approved.proposed.given.primary]
    else:
        # One that a failover leads away counts.
        serving = (await _fence(await looked(context))).assignments.items()
        left = [primary for primary, assignment in serving if assignment.active == resource]
    for pause in (0.0, *PAUSES):
        await context.clock.sleep(pause)
        for primary in left:
            # One form at a time: the next run asks about the next proposal.
            asks = any(answer.state is AnswerState.PROPOSED for answer in answers.values())
            given = replace(means, may_ask=False) if asks else means
            answers[primary] = await _attempt(attendance, context, primary, resource, to, given)
        left = [name for name, answer in answers.items() if answer.again]
        if not left or any(answer.state is AnswerState.PROPOSED for answer in answers.values()):
            break
    for primary in left:
        await _tell(attendance, means, answers[primary])
    if not answers:
        text = f"{resource} serves for no primary of plan {context.plan.name}."
        return (Answer("", AnswerState.NOT_NEEDED, text),)
    return tuple(answers.values())


async def _attempt(
    attendance: Attendance, context: RecoveryContext, primary: str, resource: str, to: str, means: Means
) -> Answer:
    try:
        # What a failed attempt has changed counts, and so does what somebody else has.
        known = await looked(replace(context, known=None))
        answer = await _answer(known, primary, resource, to, means)
    except Exception as error:
        # A failure with one primary does not affect another one, and is told.
        name = type(error).__name__
        cause = str(error) if isinstance(error, StandbyError) else f"{name}; the log of this run says where"
        text = f"The outage of {resource} is not answered yet: {cause}"
        answer = Answer(primary, AnswerState.WAITING, text, what=name, again=True)
        if isinstance(error, FailoverUnderWay):
            # An operator is alive and at it: told only if that does not end. A watch comes again.
            return replace(answer, again=means.may_ask)
        log.warning("%s", text, exc_info=None if isinstance(error, StandbyError) else error)
    if answer.state is AnswerState.PROPOSED:
        await attendance.settled(primary)  # Even if people were reminded a moment ago, this is a new form.
    if answer.state in UNSETTLED:
        await _tell(attendance, means, answer)
    else:
        await attendance.settled(primary)
    return answer


async def _tell(attendance: Attendance, means: Means, answer: Answer) -> None:
    await attendance.tell(answer.primary, answer.what, answer.text, partial(means.tell, answer))


async def _answer(context: RecoveryContext, primary: str, resource: str, to: str, means: Means) -> Answer:
    lost = context.known is not None and context.known.problem
    begun = None if lost else await unfinished(context, primary)
    if begun is not None:
        return await _take_up(context, begun, means)
    plan = context.plan.name
    if not means.approved and (reason := await waits_for_a_person(context, primary)):
        text = (
            f"{resource} was reported to be down, and no failover was started: {reason}. "
            f"To decide by hand: standby failover {plan} --to RESOURCE --unplanned."
        )
        return Answer(primary, AnswerState.WAITING, text, what=WAITS)
    record = await _decided(context, primary, resource, to, means)
    if record.decision.outcome is not Outcome.ACT:
        return _not_done(primary, record)
    if record.decision.needs_approval and not means.approved:
        if not means.may_ask:
            text = f"{proposal(record)} No approval was requested yet. {by_hand(record)}"
            return Answer(primary, AnswerState.WAITING, text, what="nobody was asked", record=record)
        await record_action(context, AuditAction.PROPOSED, facts_of(record), epoch=record.given.epoch)
        return Answer(primary, AnswerState.PROPOSED, proposal(record), what=WAITS, record=record)
    request = request_of(record)
    given = means.approved
    decided = as_decided(request, record)
    if given:
        decided = as_approved(request, given.proposed, record, given.at, await first_asked(context, record))
    return await _carried_out(context, decided, record, means)


WAITS = "waits for a person"


async def _decided(context: RecoveryContext, primary: str, resource: str, to: str, means: Means) -> DecisionRecord:
    reason = f"outage of {resource}"
    request = FailoverRequest(primary=primary, to=to, requested_by="outage", outage_of=resource, reason=reason)
    history = tuple(means.seen)
    record = await decide_and_record(context, request, history=history, recall=means.recall(resource))
    means.seen.update(dict.fromkeys(record.given.observations))
    await means.decided(record)
    return record


def _not_done(primary: str, record: DecisionRecord) -> Answer:
    if nothing_is_wrong(record):
        text = f"{sentence(reasons_against(record.decision))} standby explain {record.id} shows every reason."
        return Answer(primary, AnswerState.NOT_NEEDED, text, record=record)
    state = AnswerState.WAITING if record.decision.outcome is Outcome.WAIT else AnswerState.REFUSED
    what = ",".join(result.guard for result in record.decision.against)
    return Answer(primary, state, unanswered(record), what=what, record=record)


async def _take_up(context: RecoveryContext, begun: SwitchRecord, means: Means) -> Answer:
    """End what was begun: as it was decided, or by a new decision where nothing was told yet, or by its operator."""
    active, by_outage = begun.before.active, begun.requested_by == "outage"
    to = begun.to if begun.to != active else begun.from_resource
    switch = await read_automation(context.vault)
    if not switch.on:
        return _left_to_people(context, begun, to, position_words(switch))
    if by_outage and begun.touched and to == begun.to:
        # Nobody serves now. Where what it leads to was lost as well, what served before is better than that.
        both = [context.configuration.resource(name) for name in (begun.from_resource, to)]
        seen = await probe_resources(both, observer_here("evaluation"), context.clock)
        lost = seen[begun.from_resource].healthy is True and seen[to].healthy is False
        return await _resumed(context, begun, begun.from_resource if lost else to, None, means)
    record = await _decided(context, begun.primary, active, to, means)
    may_act = by_outage or means.approved is not None or not record.decision.needs_approval
    if record.decision.outcome is Outcome.ACT and may_act:
        return await _resumed(context, begun, to, record, means)
    if by_outage and nothing_is_wrong(record):
        return await _resumed(context, begun, active, record, means)
    reasons = reasons_against(record.decision) or "it was begun by an operator"
    return replace(_left_to_people(context, begun, to, reasons), record=record)


def _left_to_people(context: RecoveryContext, begun: SwitchRecord, to: str, reason: str) -> Answer:
    plan = context.plan.name
    resume, back = (f"standby failover {plan} --to {each}" for each in (to, begun.before.active))
    text = (
        f"A failover of plan {plan} to {to} for {begun.primary} was begun and has not ended: {reason}. "
        f"Resume it with {resume}, or roll it back with {back}."
    )
    return Answer(begun.primary, AnswerState.WAITING, text, what=UNFINISHED)


async def _resumed(
    context: RecoveryContext, begun: SwitchRecord, to: str, record: DecisionRecord | None, means: Means
) -> Answer:
    request = FailoverRequest(to=to, primary=begun.primary, requested_by="outage", forced=frozenset(begun.forced))
    if record is not None and record.decision.outcome is Outcome.ACT:
        # Whatever an operator began: what served is lost, and that is what was decided about now.
        request = as_decided(request, record)
    request, _ = await decide_request(context, request)
    return await _carried_out(context, request, record, means)


async def _carried_out(
    context: RecoveryContext, request: FailoverRequest, record: DecisionRecord | None, means: Means
) -> Answer:
    report = await means.carry_out(context, request)
    if report.serves_as_asked or report.interrupted:
        return Answer(request.primary, AnswerState.CARRIED_OUT, summary(report), record=record, report=report)
    what = STOPPED if report.state == "fenced" else f"stopped: {report.state}"
    text = summary(report)
    return Answer(request.primary, AnswerState.WAITING, text, what=what, record=record, report=report, again=True)
