"""The answer to an outage in a flow run: its events and pages, the form for an approval, and its final state."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

from prefect.artifacts import MarkdownArtifact
from prefect.client.schemas.objects import State
from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from pydantic import Field

from flows.events import PROPOSED, REFUSED, WAITING, PlanEvent, Severity, read_observations
from flows.execution import failover_page, leave_decision, outcome_of
from flows.outcome import FlowOutcome
from flows.recovery import open_in_flow
from flows.run import to_its_report
from standby.config.configuration import Configuration
from standby.errors import GuardRefused, StandbyError, sentence
from standby.recovery.activation.sinks import SinkResult
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.evaluate import Recall
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.decision.record import DecisionRecord, not_approved, proposal
from standby.recovery.failover.attendance import EvaluatedElsewhere, all_is_settled, attending
from standby.recovery.failover.failover import complete, fail_over, publish_behind
from standby.recovery.failover.outage import (
    Answer,
    AnswerState,
    Approved,
    Means,
    answer_outage,
    facts_of,
    to_be_attended,
)
from standby.recovery.failover.report import FailoverReport, ending
from standby.recovery.sync import synchronise
from standby.recovery.witnesses import looked
from tasks.copy import TaskSteps
from tasks.stage import TaskStages

LOOK = 2
"""Seconds after which it is checked again whether somebody answered."""

SPARE = 600
"""Seconds for which Prefect lets the run wait beyond its time: then it would fail the run itself."""

HISTORY = timedelta(minutes=15)
"""How far back events are read."""


class Approval(RunInput):
    """The form that somebody fills in."""

    approve: bool = Field(description="Fail over. Everything is checked once more before anything is done.")
    to: str = Field("", description="Another target than the one that is proposed.")
    comment: str = Field("", description="Why; it goes into the audit log.")


async def ask(text: str, patience: timedelta) -> Approval | None:
    """Pause this flow run until somebody fills in the form; `None` where nobody does in time."""
    form = Approval.with_initial_data(description=text)
    seconds = patience.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            return await apause_flow_run(form, timeout=int(seconds) + SPARE, poll_interval=LOOK)
    except TimeoutError:
        return None


async def after_outage(context: RecoveryContext, outage_of: str, to: str) -> State[Any]:
    """Decide whether the outage is one, and act on it; a person is asked where the plan says so."""
    means = means_in(context)
    answers = await answer_outage(context, outage_of, to, means)
    asked = next((each.record for each in answers if each.state is AnswerState.PROPOSED and each.record), None)
    if asked is None:
        return await finish_answers(answers)
    # Nothing is held meanwhile: an answer may take half an hour, and another primary of the plan may fail.
    answer = await ask(proposal(asked), context.plan.failover.approval_timeout)
    if answer is None or not answer.approve:
        return await _rejected(context, asked, answer)
    to = answer.to or str(asked.decision.to)
    facts = {**facts_of(asked), "to": to, "comment": answer.comment}
    await record_action(context, AuditAction.APPROVED, facts, epoch=asked.given.epoch)
    # Decided once more, since the answer may have taken long.
    approved = replace(means, approved=Approved(asked, context.clock.now()))
    return await finish_answers(await answer_outage(context, outage_of, to, approved))


def means_in(context: RecoveryContext, *, may_ask: bool = True) -> Means:
    """Give what attending to an outage needs of a flow run."""

    def recall(resource: str) -> Recall:
        return lambda: read_observations(resource, context.clock.now(), HISTORY)

    async def carry_out(known: RecoveryContext, request: FailoverRequest) -> FailoverReport:
        work = fail_over(known, request, TaskStages(), sync=partial(synchronise, steps=TaskSteps))
        return await to_its_report(work)

    def tell(answer: Answer) -> None:
        name = {AnswerState.PROPOSED: PROPOSED, AnswerState.REFUSED: REFUSED}.get(answer.state, WAITING)
        facts = facts_of(answer.record) if answer.record else {"home": answer.primary}
        proved = answer.record is None or answer.record.decision.detected_at is not None
        severity: Severity = "critical" if proved or answer.report else "warning"
        PlanEvent(name, context.plan.name, facts, severity).emit(answer.text)

    return Means(recall, leave_decision, carry_out, tell, may_ask=may_ask)


async def finish_answers(answers: Sequence[Answer]) -> State[Any]:
    """End the run: what is worst names its state, all is said, and each failover leaves its page and its event."""
    ranks = list(AnswerState)
    worst = max(answers, key=lambda answer: ranks.index(answer.state))
    for answer in answers:
        if answer is not worst and answer.report is not None:
            await outcome_of(answer.report).finish()
    message = " ".join(answer.text for answer in answers)
    match worst:
        case Answer(state=AnswerState.NOT_NEEDED):
            outcome = FlowOutcome("NotNeeded", message)
        case Answer(state=AnswerState.CARRIED_OUT, report=FailoverReport() as report):
            outcome = replace(outcome_of(report), message=message)
        case _:
            name = worst.state.value.title()
            outcome = FlowOutcome(name, message, worst.report, good=False, artifact=_page_of(worst.report))
    return await outcome.finish()


def _page_of(report: FailoverReport | None) -> MarkdownArtifact | None:
    if report is None:
        return None
    return MarkdownArtifact(key="failover-report", markdown=failover_page(report), description=sentence(ending(report)))


async def _rejected(context: RecoveryContext, found: DecisionRecord, answer: Approval | None) -> State[Any]:
    comment = answer.comment if answer is not None else ""
    facts = {**facts_of(found), "answered": answer is not None, "comment": comment}
    await record_action(context, AuditAction.REJECTED, facts, epoch=found.given.epoch)
    message = sentence(not_approved(found, answered=answer is not None, comment=comment))
    event = PlanEvent(REFUSED, context.plan.name, facts, "critical")
    name = "NotAnswered" if answer is None else "Rejected"
    return await FlowOutcome(name, message, event=event, good=False).finish()


@dataclass
class Attended:
    """What came of what nobody else attended to.

    Attributes:
        answers: to outages, and to failovers that did not end.
        problems: sentences without their full stops.
    """

    answers: list[Answer] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


async def attend(configuration: Configuration, plan: str, down: Collection[str]) -> Attended:
    """Attend to what is not settled, where no other run does."""
    attended = Attended()
    try:
        async with open_in_flow(configuration, plan) as opened:
            context = await looked(opened) if down else opened
            # The run that an event started has a form for an approval; this one has not.
            means = means_in(context, may_ask=False)
            wanted = await to_be_attended(context, down)
            for resource in wanted:
                answers = await answer_outage(context, resource, "", means)
                # That another run attends, or that all is well again, is no news of this one.
                attended.answers += [each for each in answers if each.state is not AnswerState.NOT_NEEDED]
            with suppress(GuardRefused):  # What another run does now comes first.
                await complete(context)
            left = [each for each in await publish_behind(context) if each.status == "failed"]
            if left:
                await _tell_of_sinks(context, left)
                attended.problems += [each.reason for each in left]
            elif not wanted:
                await all_is_settled(context)
    except (StandbyError, OSError) as error:
        attended.problems.append(error.cause if isinstance(error, StandbyError) else f"{type(error).__name__}")
    return attended


async def _tell_of_sinks(context: RecoveryContext, left: Sequence[SinkResult]) -> None:
    """Tell people, from time to time, of sinks that do not hold the active map."""
    names = ", ".join(each.name for each in left)
    summary = " ".join([f"These sinks do not hold the active map: {names}.", *(each.reason for each in left)])
    event = PlanEvent(WAITING, context.plan.name, {"sinks": [each.name for each in left]}, "warning")
    with suppress(EvaluatedElsewhere):
        async with attending(context) as attendance:
            await attendance.tell("sinks", names, summary, lambda: event.emit(summary))
