"""The answer to an outage: one run attends to it until it is settled, or people were told why it is not.

Which run that is the vault says, not Prefect: whoever holds its object there shows that it is alive, and is followed
by another one if it dies. Nothing that is wrong ends without being told.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from pydantic import AwareDatetime, ValidationError

from standby.document import Document, JsonValue
from standby.errors import GuardRefused, StandbyError, sentence
from standby.fencing import FailoverUnderWay, read_fence
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import Known, RecoveryContext
from standby.recovery.decision.automation import waits_for_a_person
from standby.recovery.decision.evaluate import Recall
from standby.recovery.decision.guards import outage_is_elsewhere
from standby.recovery.decision.input import FailoverRequest, Guard, GuardOutcome, Outcome
from standby.recovery.decision.record import (
    DecisionRecord,
    as_approved,
    as_decided,
    by_hand,
    decide_and_record,
    proposal,
    reasons_against,
    request_of,
    unanswered,
)
from standby.recovery.failover.begin import Unfinished, unfinished
from standby.recovery.failover.failover import decide_request
from standby.recovery.failover.report import FailoverReport, summary
from standby.recovery.probe import Observation
from standby.recovery.witnesses import looked
from standby.text import utc
from standby.vault.documents import Stored, hold_file, parse_stored
from standby.vault.errors import FormatUnknown, Held, VaultError
from standby.vault.storage import HeldFile

log = logging.getLogger("standby.recovery")

PAUSES = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 285.0)
"""Seconds before each further attempt: ten minutes in all. After that the next report of the outage begins anew."""

TOO_LONG = timedelta(minutes=20)
"""After which a run that attends to an outage, and seems to be alive, counts as one that does nothing any more."""

TOLD_EVERY = timedelta(minutes=15)
"""After which people are told again of what is still not settled."""


class Told(Document):
    """What people were told last of what is not settled for one primary, and when.

    Attributes:
        what: tells the same from something new.
    """

    what: str
    at: AwareDatetime


class Evaluation(Stored):
    """The one run that attends to the outages of a plan, and what people were told last.

    Attributes:
        run_id: the run that attends to them now, or did last.
        told: by primary; nothing for one for which all is settled.
    """

    run_id: str
    actor: str
    since: AwareDatetime
    told: Mapping[str, Told] = {}


class EvaluatedElsewhere(GuardRefused):
    """Another run, which is alive, attends to the outages of the plan."""

    def __init__(self, plan: str, holder: Evaluation | None) -> None:
        self.since = holder.since if holder else None
        who = f"{holder.actor} (run {holder.run_id})" if holder else "another run"
        since = f" since {utc(holder.since)}" if holder else ""
        super().__init__(
            f"{who[:1].upper()}{who[1:]} has attended to the outages of plan {plan}{since}, and is alive",
            f"See that run; standby status {plan} shows what serves",
        )


def evaluation_path(plan: str) -> str:
    """Give the path of the object that the one run holds."""
    return f"recovery/{plan}/evaluation.json"


@dataclass
class Attendance:
    """The outages of a plan in the hands of one run; others are kept away by the vault, and take over if it dies."""

    context: RecoveryContext
    _file: HeldFile
    _last: Evaluation
    _is_ours: bool

    async def begin(self) -> None:
        """Write down who attends now."""
        await self._note(self._last.told)

    async def tell(self, primary: str, what: str, publish: Callable[[], None]) -> None:
        """Tell people that something is not settled for a primary: when it is new, and then from time to time.

        Args:
            what: tells the same from something new.
            publish: does it.
        """
        now, last = self.context.clock.now(), self._last.told.get(primary)
        if last is None or last.what != what or now - last.at >= TOLD_EVERY:
            publish()
            await self._note({**self._last.told, primary: Told(what=what, at=now)})

    async def settled(self, primary: str) -> None:
        """Note that nothing is unsettled any more, so that the next time counts as new."""
        if primary in self._last.told:
            await self._note({name: told for name, told in self._last.told.items() if name != primary})

    async def _note(self, told: Mapping[str, Told]) -> None:
        self._last = self._last.model_copy(update={"told": told})
        if not self._is_ours:
            return  # Nothing is overwritten that a newer version wrote.
        try:
            await self._file.write(self._last.model_dump_json(indent=1).encode())
        except VaultError as error:
            # It only spares repetitions: one that is not written costs one more.
            log.warning("%s", error)


@asynccontextmanager
async def attending(context: RecoveryContext) -> AsyncIterator[Attendance]:
    """Attend to the outages of a plan, as the only run that does; whoever dies meanwhile is followed by another.

    Raises:
        EvaluatedElsewhere: another run does, and is alive.
        VaultUnavailable: the vault does not say.
    """
    plan = context.plan.name
    path = evaluation_path(plan)
    async with AsyncExitStack() as stack:
        try:
            file = await stack.enter_async_context(hold_file(context.vault, path, Held))
        except Held:
            raise EvaluatedElsewhere(plan, _parsed(path, await context.vault.read(path))[0]) from None
        before, is_ours = _parsed(file.where, file.found)
        present = Evaluation(
            run_id=context.run_id,
            actor=context.actor,
            since=context.clock.now(),
            told=before.told if before else {},
        )
        attendance = Attendance(context, file, present, is_ours)
        await attendance.begin()
        yield attendance


def _parsed(where: str, content: bytes | None) -> tuple[Evaluation | None, bool]:
    """Understand what is there, and say whether it may be overwritten: it only spares repetitions."""
    if content is None:
        return None, True
    try:
        return parse_stored(where, content, Evaluation), True
    except FormatUnknown as error:
        log.warning("%s", error)
        return None, False
    except ValidationError:
        return None, True


async def _served_by(context: RecoveryContext, resource: str) -> list[str]:
    """Name the primaries that a resource serves for, by all that is known; one that a failover leads away counts."""
    known = context.known or Known()
    fence = known.correct(await read_fence(context.vault, context.plan))
    return [primary for primary, assignment in fence.assignments.items() if assignment.active == resource]


def facts_of(record: DecisionRecord) -> dict[str, JsonValue]:
    """Give what the audit log and the events say of a decision."""
    given, decision = record.given, record.decision
    return {"home": given.primary, "from": given.active, "to": decision.to, "decision": record.id}


def nothing_is_wrong(record: DecisionRecord) -> bool:
    """Say whether nothing is wrong: the resource that serves answers, or the outage is that of another one."""
    return outage_is_elsewhere(record.given) or any(
        result.guard is Guard.QUORUM and result.outcome is GuardOutcome.REFUSE for result in record.decision.against
    )


class AnswerState(StrEnum):
    """What came of an attempt to answer an outage.

    Only the first two are good ends. `waiting` may change by itself; `refused` is what somebody has to change.
    """

    NOT_NEEDED = "not needed"
    CARRIED_OUT = "carried out"
    PROPOSED = "proposed"
    WAITING = "waiting"
    REFUSED = "refused"


UNSETTLED = frozenset({AnswerState.PROPOSED, AnswerState.WAITING, AnswerState.REFUSED})


@dataclass(frozen=True)
class Answer:
    """What came of an attempt to answer an outage for one primary.

    Attributes:
        text: what it means and what to do, in sentences.
        what: tells the same from something new.
        record: the decision, where there was one.
        report: of the failover, where one was begun.
        again: whether a further attempt may help.
    """

    primary: str
    state: AnswerState
    text: str
    what: str = ""
    record: DecisionRecord | None = None
    report: FailoverReport | None = None
    again: bool = False


@dataclass(frozen=True)
class Approved:
    """A proposal that somebody has approved, and when, UTC."""

    proposed: DecisionRecord
    at: datetime

    @property
    def primary(self) -> str:
        """The primary that it is about."""
        return self.proposed.given.primary


@dataclass(frozen=True)
class Means:
    """What attending to an outage needs of whoever does it.

    Attributes:
        recall: gives what others have seen of a resource.
        decided: called with every decision that was recorded.
        carry_out: fails over as asked.
        tell: tells people of an answer that leaves something unsettled; called no more often than they should hear it.
        may_ask: whether somebody can be asked for an approval.
        approved: what somebody has approved; the other primaries are left alone then.
        seen: what earlier attempts have seen, so that a further one need not prove the outage anew.
    """

    recall: Callable[[str], Recall]
    decided: Callable[[DecisionRecord], Awaitable[None]]
    carry_out: Callable[[RecoveryContext, FailoverRequest], Awaitable[FailoverReport]]
    tell: Callable[[Answer], None]
    may_ask: bool = True
    approved: Approved | None = None
    seen: dict[Observation, None] = field(default_factory=dict)


async def answer_outage(context: RecoveryContext, resource: str, to: str, means: Means) -> tuple[Answer, ...]:
    """Answer the outage of a resource for every primary that it serves for, or what was begun and has not ended there.

    What fails on the way is tried again for ten minutes, with growing pauses, and told meanwhile.

    Args:
        resource: that was reported to be unhealthy, or from which a failover leads that has not ended.
        to: the resource that is to serve instead; empty where the decision chooses.

    Returns:
        What came of it, by primary; a single one for the plan where nothing could be asked.
    """
    plan = context.plan.name
    answer: Answer | None = None
    for pause in (0.0, *PAUSES):
        await context.clock.sleep(pause)
        try:
            async with attending(context) as attendance:
                return await _attend(attendance, context, resource, to, means)
        except EvaluatedElsewhere as error:
            is_alive = error.since is None or context.clock.now() - error.since < TOO_LONG
            if is_alive and not means.approved:
                return (Answer("", AnswerState.NOT_NEEDED, sentence(error.cause)),)
            found = Answer("", AnswerState.WAITING, f"{resource} was reported to be down. {error}")
        except VaultError as error:
            text = f"{resource} was reported to be down, and what serves for plan {plan} cannot be read: {error}"
            found = Answer("", AnswerState.WAITING, text)
        if answer is None:
            means.tell(found)
        answer = found
    return (answer,) if answer else ()


async def _attend(
    attendance: Attendance, context: RecoveryContext, resource: str, to: str, means: Means
) -> tuple[Answer, ...]:
    answers: dict[str, Answer] = {}
    left = [means.approved.primary] if means.approved else await _served_by(await looked(context), resource)
    for pause in (0.0, *PAUSES):
        await context.clock.sleep(pause)
        for primary in left:
            answers[primary] = await _attempt(attendance, context, primary, resource, to, means)
        left = [name for name, answer in answers.items() if answer.again]
        if not left:
            break
    for primary in left:
        await attendance.tell(primary, answers[primary].what, partial(means.tell, answers[primary]))
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
    except StandbyError as error:
        text = f"The outage of {resource} is not answered yet: {error}"
        answer = Answer(primary, AnswerState.WAITING, text, what=type(error).__name__, again=True)
        if isinstance(error, FailoverUnderWay):
            return answer  # An operator is alive and at it: told only if that does not end.
    if answer.state in UNSETTLED:
        await attendance.tell(primary, answer.what, partial(means.tell, answer))
    else:
        await attendance.settled(primary)
    return answer


async def _answer(context: RecoveryContext, primary: str, resource: str, to: str, means: Means) -> Answer:
    lost = context.known is not None and context.known.problem
    begun = None if lost else await unfinished(context, primary)
    if begun is not None:
        return await _take_up(context, begun, means)
    plan = context.plan.name
    if not means.approved and (reason := await waits_for_a_person(context, primary)):
        text = (
            f"{resource} was reported to be down, and no failover is begun: {reason}. "
            f"To decide by hand: standby failover {plan} --to RESOURCE --unplanned."
        )
        return Answer(primary, AnswerState.WAITING, text, what=WAITS)
    record = await _decided(context, primary, resource, to, means)
    if record.decision.outcome is not Outcome.ACT:
        return _not_done(primary, record)
    if record.decision.needs_approval and not means.approved:
        if not means.may_ask:
            text = f"{proposal(record)} Nobody was asked yet. {by_hand(record)}"
            return Answer(primary, AnswerState.WAITING, text, what=WAITS, record=record)
        await record_action(context, AuditAction.PROPOSED, facts_of(record), epoch=record.given.epoch)
        return Answer(primary, AnswerState.PROPOSED, proposal(record), what=WAITS, record=record)
    request = request_of(record)
    given = means.approved
    decided = as_approved(request, given.proposed, record, given.at) if given else as_decided(request, record)
    return await _carried_out(context, decided, record, means)


WAITS = "waits for a person"


async def _decided(context: RecoveryContext, primary: str, resource: str, to: str, means: Means) -> DecisionRecord:
    request = FailoverRequest(
        primary=primary, to=to, requested_by="outage", outage_of=resource, reason=f"outage of {resource}"
    )
    history = tuple(means.seen)
    record = await decide_and_record(context, request, history=history, recall=means.recall(resource))
    means.seen.update(dict.fromkeys(record.given.observations))
    await means.decided(record)
    return record


def _not_done(primary: str, record: DecisionRecord) -> Answer:
    if nothing_is_wrong(record):
        text = f"{sentence(reasons_against(record.decision))} standby explain {record.id} shows all of it."
        return Answer(primary, AnswerState.NOT_NEEDED, text, record=record)
    waits = record.decision.outcome is Outcome.WAIT
    return Answer(
        primary,
        AnswerState.WAITING if waits else AnswerState.REFUSED,
        unanswered(record),
        what=",".join(result.guard for result in record.decision.against),
        record=record,
    )


async def _take_up(context: RecoveryContext, begun: Unfinished, means: Means) -> Answer:
    """End what was begun: as it was decided, or by a new decision where nothing was told yet, or by its operator."""
    primary, active = begun.primary, begun.active
    if begun.by_outage and begun.touched and begun.to != active:
        return await _resumed(context, begun, begun.to, None, means)
    to = begun.to if begun.to != active else begun.back
    record = await _decided(context, primary, active, to, means)
    may_act = begun.by_outage or means.approved is not None or not record.decision.needs_approval
    if record.decision.outcome is Outcome.ACT and may_act:
        return await _resumed(context, begun, to, record, means)
    if begun.by_outage and nothing_is_wrong(record):
        return await _resumed(context, begun, active, record, means)
    plan = context.plan.name
    resume, back = (f"standby failover {plan} --to {each}" for each in (to, active))
    text = (
        f"A failover of plan {plan} to {to} for {primary} was begun and has not ended: "
        f"{reasons_against(record.decision) or 'it was begun by an operator'}. "
        f"Resume it with {resume}, or roll it back with {back}."
    )
    return Answer(primary, AnswerState.WAITING, text, what="unfinished", record=record)


async def _resumed(
    context: RecoveryContext, begun: Unfinished, to: str, record: DecisionRecord | None, means: Means
) -> Answer:
    request, _ = await decide_request(context, begun.towards(to))
    return await _carried_out(context, request, record, means)


async def _carried_out(
    context: RecoveryContext, request: FailoverRequest, record: DecisionRecord | None, means: Means
) -> Answer:
    report = await means.carry_out(context, request)
    if report.serves_as_asked or report.interrupted:
        return Answer(request.primary, AnswerState.CARRIED_OUT, summary(report), record=record, report=report)
    what = f"stopped: {report.state}"
    return Answer(
        request.primary, AnswerState.WAITING, summary(report), what=what, record=record, report=report, again=True
    )
