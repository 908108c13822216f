"""A failover in a flow run, and the answer to an outage: stages, events, pages, the form for an approval, the end."""

import asyncio
import logging
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, TypeVar
from uuid import UUID

from prefect import artifacts, get_client, runtime, states
from prefect.client.schemas.objects import State
from prefect.client.schemas.responses import SetStateStatus
from prefect.input import RunInput, keyset_from_paused_state
from pydantic import Field

from standby.config.configuration import Configuration
from standby.config.plan import RecoveryPlan
from standby.errors import GuardRefused, StandbyError, sentence
from standby.fencing import Fence
from standby.flows import events
from standby.flows.outcome import FlowOutcome, bullets, escaped, page, phase_table, seconds, shown, table
from standby.flows.recovery import open_in_flow
from standby.flows.run import to_its_report
from standby.recovery import audit, concerns, watch, witnesses
from standby.recovery.activation.sinks import SinkResult
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.evaluate import Recall, approve, withdraw_approvals
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.decision.record import DecisionRecord, conclusion, not_approved, proposal, request_of, requester
from standby.recovery.failover import outage
from standby.recovery.failover import report as reports
from standby.recovery.failover.attendance import TOLD_EVERY, all_is_settled
from standby.recovery.failover.failover import complete, fail_over, publish_behind
from standby.recovery.failover.report import FailoverReport
from standby.recovery.sync import synchronise
from standby.tasks.copy import TaskSteps
from standby.tasks.stage import TaskStages, tried
from standby.text import clean, utc

LATEST = 20  # Observations that are shown; the newest
DECISION_SECONDS = 5.0  # How long a failover may wait for the page of its decision
STATE_NAMES = {"activated": "Activated", "rolled_back": "RolledBack", "fenced": "Fenced"}
EVENTS = {
    "activated": events.ACTIVATED,
    "rolled_back": events.ROLLED_BACK,
}  # What happened, where it is what was asked for


async def carry_out(context: RecoveryContext, request: FailoverRequest) -> FailoverReport:
    """Carry a request out, with its stages and copies as task runs."""
    return await to_its_report(fail_over(context, request, TaskStages(), sync=partial(synchronise, steps=TaskSteps)))


def outcome_of(report: FailoverReport) -> FlowOutcome:
    """Say by the end of the run which resource serves."""
    name = STATE_NAMES[report.state]
    return FlowOutcome(
        f"Partially{name}" if report.serves_as_asked and not report.complete else name,
        reports.summary(report),
        report,
        good=report.complete,
        interrupted=report.interrupted,
        artifact=artifacts.MarkdownArtifact(
            key="failover-report", markdown=failover_page(report), description=sentence(reports.ending(report))
        ),
        event=events.PlanEvent(
            EVENTS.get(report.state, events.REFUSED) if report.serves_as_asked else events.REFUSED,
            report.plan,
            report.facts,
            "info" if report.complete else "critical",
        ),
    )


async def leave_decision(record: DecisionRecord) -> None:
    """Leave the page of a recorded decision; a failover does not wait for it.

    That it found a resource healthy is emitted as well: no later evaluation counts what was before.
    """
    given = record.given
    own = given.own_probe
    if own is not None and own.healthy:
        events.emit_observation(
            own, given.plan, Fence(plan=given.plan, epoch=given.epoch, assignments=given.assignments)
        )
    text = f"Plan **{given.plan}**: {conclusion(record.decision, given)}."
    decided = artifacts.MarkdownArtifact(key="failover-decision", markdown=decision_page(record), description=text)
    await tried("the page of the decision", shown(decided).acreate, DECISION_SECONDS)


def decision_page(record: DecisionRecord) -> str:
    given, decision = record.given, record.decision
    newest = sorted(given.observations, key=lambda each: each.at)[-LATEST:]
    return page(
        f"# {escaped(f'{given.plan}: {conclusion(decision, given)}')}",
        f"Requested by {escaped(requester(given, record.actor))}. `standby explain {record.id}` replays the decision.",
        table(
            ("guard", "outcome", "because"),
            ((result.guard.value, result.outcome.value, sentence(result.text)) for result in decision.reasons),
        ),
        f"## Observations of {given.active}",
        table(
            ("at (UTC)", "by", "found", "evidence"),
            ((f"{each.at:%H:%M:%S}", each.observer, each.health, each.summary) for each in newest),
        ),
    )


def failover_page(report: FailoverReport) -> str:
    objective = report.rto_objective_seconds
    met = {True: "met", False: "**missed**", None: "unknown whether met"}[report.rto_met]
    rows = (
        ("from, to", f"{report.from_resource} → {report.to} ({report.mode}, epoch {report.epoch})"),
        ("why", report.reason or "no reason was given"),
        ("decision", report.decision_id or "none"),
        ("detected after", reports.detection_words(report)),
        ("approved after", "" if report.approval_seconds is None else seconds(report.approval_seconds)),
        ("failed over in", seconds(report.recovery_seconds)),
        ("serving again", reports.outage_words(report)),
        ("RTO objective", "none" if objective is None else f"{seconds(objective)}, {met}"),
        ("forced", ", ".join(report.forced) or "nothing"),
    )
    names = [sink.name if sink.required else f"{sink.name} (not required)" for sink in report.sinks]
    sinks = [(name, sink.status, sink.published, sink.reason) for name, sink in zip(names, report.sinks, strict=True)]
    it = report.restored
    return page(
        f"# {escaped(reports.ending(report))}",
        bullets([report.next_action]) if report.next_action else "",
        # What was not measured is left out, such as the detection of an order.
        table(("", ""), (row for row in rows if row[1])),
        f"## Left out at {report.serving}" if report.missing else "",
        table(("analyzer", "because"), ((name, sentence(cause)) for name, cause in report.missing.items())),
        bullets(report.problems),
        "## Phases",
        phase_table(report.phases),
        "## Sinks",
        table(("sink", "status", "published", "reason"), sinks) or "None is configured: applications are not informed.",
        f"## Restored from snapshot {it.snapshot_id} of {it.taken_at:%Y-%m-%d %H:%M} UTC" if it else "",
        bullets(it.created) if it else "",
        table(("not restored", "reason"), it.failed.items()) if it else "",
    )


LOOK = 2  # Seconds after which it is checked again whether somebody answered
SPARE = 600  # Seconds for which Prefect lets the run wait beyond its time: then it would fail the run itself
HISTORY = timedelta(minutes=15)  # How far back events are read
COMPLETE_SECONDS = 45.0  # How long a watch may look for what works again and is left out of the active map

T = TypeVar("T")

log = logging.getLogger("standby.flows")


class Approval(RunInput):
    """The form that somebody fills in."""

    approve: bool = Field(description="Fail over. Everything is checked once more before anything is done.")
    to: str = Field("", description="Another target instead of the proposed one.")
    comment: str = Field("", description="Why; it goes into the audit log.")
    by: str = Field("", description="Your name; needed where the plan asks for two persons.")


RUN = "flow run "  # Stands for who gave no name: nobody

HOW_TO_ANSWER = "Press Resume at the top of this run's page, switch Approve on or leave it off, and submit."


async def ask(text: str, patience: timedelta, question: int = 1) -> Approval | None:
    """Pause this flow run until somebody fills in the form; `None` where nobody does in time.

    Prefect's own pause has no message, and people who open the run would not see what it waits for.
    """
    until = f"until {utc(datetime.now(UTC) + patience)}"
    # The page shows the first sixty characters, and the rest when asked.
    waiting = f"Waits for an approval {until}. {HOW_TO_ANSWER} {text}"
    form = Approval.with_initial_data(description=escaped(f"{text} An answer counts {until}."))
    seconds, run_id = patience.total_seconds(), UUID(str(runtime.flow_run.id))
    state: State[Any] = states.Paused(
        name="WaitingForApproval",
        message=clean(waiting),
        timeout_seconds=int(seconds) + SPARE,
        pause_key=f"approval-{question}",
    )
    keyset = keyset_from_paused_state(state)
    state.state_details.run_input_keyset = dict[str, str](**keyset)
    async with get_client() as client:
        paused = await client.set_flow_run_state(run_id, state)
        if paused.status is not SetStateStatus.ACCEPT:
            raise RuntimeError(f"The flow run cannot be paused: {paused.details}")
        await form.asave(keyset, flow_run_id=run_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    found = await tried("a look for an answer", lambda: client.read_flow_run(run_id))
                    if found is not None and found.state is not None and found.state.is_running():
                        return await form.aload(keyset, flow_run_id=run_id)
                    await asyncio.sleep(LOOK)
    return None


async def after_outage(context: RecoveryContext, outage_of: str, to: str) -> State[Any]:
    """Decide whether the outage is one, and act on it; a person is asked where the plan says so."""
    means = means_in(context)
    answers = await outage.answer_outage(context, outage_of, to, means)
    asked = next((each.record for each in answers if each.state is outage.AnswerState.PROPOSED and each.record), None)
    if asked is None:
        return await finish_answers(answers)
    await _leave_reports(answers)
    # Nothing is held meanwhile: an answer may take half an hour, and another primary of the plan may fail.
    answer, by = await _asked_of_all(context, asked)
    if answer is None or not answer.approve:
        return await _rejected(context, asked, answer)
    to = answer.to or str(asked.decision.to)
    facts = {**outage.facts_of(asked), "to": to, "comment": answer.comment, **({"by": by} if by else {})}
    await audit.record_action(context, audit.AuditAction.APPROVED, facts, epoch=asked.given.epoch)
    # Decided once more, since the answer may have taken long.
    approved = replace(means, approved=outage.Approved(asked, context.clock.now()))
    return await finish_answers(await outage.answer_outage(context, outage_of, to, approved))


async def _asked_of_all(context: RecoveryContext, asked: DecisionRecord) -> tuple[Approval | None, str]:
    """Ask until as many different persons approve as the plan wants; give the last answer, and their names."""
    policy, text = context.plan.failover, proposal(asked)
    for question in count(1):
        answer = await ask(text, policy.approval_timeout, question)
        if answer is None or not answer.approve or policy.approvals == 1:
            break
        request = replace(request_of(asked), to=answer.to or str(asked.decision.to))
        given = await approve(context, request, asked.given.epoch, by=answer.by or RUN, comment=answer.comment)
        names = " and ".join(each.by for each in given)
        if len(given) >= policy.approvals:
            return answer, names
        so_far = f"{policy.approvals} different persons have to approve it: for {request.to}, so far"
        text = f"{so_far} {names or 'nobody who gave a name'} did. {proposal(asked)}"
    return answer, ""


def means_in(context: RecoveryContext, *, may_ask: bool = True) -> outage.Means:
    """Give what attending to an outage needs of a flow run."""

    def recall(resource: str) -> Recall:
        return lambda: events.read_observations(resource, context.clock.now(), HISTORY)

    def tell(answer: outage.Answer) -> None:
        name = {outage.AnswerState.PROPOSED: events.PROPOSED, outage.AnswerState.REFUSED: events.REFUSED}.get(
            answer.state, events.WAITING
        )
        facts = outage.facts_of(answer.record) if answer.record else {"home": answer.primary, "what": answer.what}
        proved = answer.record is None or answer.record.decision.detected_at is not None
        severity: concerns.Severity = "critical" if proved or answer.report else "warning"
        events.PlanEvent(name, context.plan.name, facts, severity).emit(answer.text)

    async def lately(what: str) -> bool:
        return await events.told_lately(context.plan.name, what, TOLD_EVERY)

    return outage.Means(recall, leave_decision, carry_out, tell, lately, may_ask=may_ask)


async def finish_answers(answers: Sequence[outage.Answer]) -> State[Any]:
    """End the run: what is worst names its state, all is said, and each failover leaves its page and its event."""
    ranks = list(outage.AnswerState)
    worst = max(answers, key=lambda answer: ranks.index(answer.state))
    await _leave_reports([answer for answer in answers if answer is not worst])
    message = " ".join(answer.text for answer in answers)
    match worst:
        case outage.Answer(state=outage.AnswerState.NOT_NEEDED):
            outcome = FlowOutcome("NotNeeded", message)
        case outage.Answer(state=outage.AnswerState.CARRIED_OUT, report=FailoverReport() as report):
            outcome = replace(outcome_of(report), message=message)
        case _:
            name = worst.state.value.title()
            page = outcome_of(worst.report).artifact if worst.report else None
            outcome = FlowOutcome(name, message, worst.report, good=False, artifact=page)
    return await outcome.finish()


async def _leave_reports(answers: Sequence[outage.Answer]) -> None:
    """Leave page and event of each failover that was begun and does not name the end of the run."""
    for answer in answers:
        if answer.report is not None:
            await outcome_of(answer.report).finish()


async def _rejected(context: RecoveryContext, found: DecisionRecord, answer: Approval | None) -> State[Any]:
    comment = answer.comment if answer is not None else ""
    facts = {**outage.facts_of(found), "answered": answer is not None, "comment": comment}
    if answer is not None and context.plan.failover.approvals > 1:
        await withdraw_approvals(context)
    await audit.record_action(context, audit.AuditAction.REJECTED, facts, epoch=found.given.epoch)
    message = sentence(not_approved(found, answered=answer is not None, comment=comment))
    event = events.PlanEvent(events.REFUSED, context.plan.name, facts, "critical")
    name = "NotAnswered" if answer is None else "Rejected"
    return await FlowOutcome(name, message, event=event, good=False).finish()


@dataclass
class Attended:
    """The results of handling what no other run handles."""

    answers: list[outage.Answer] = field(default_factory=list)  # to outages, and to failovers that did not end
    problems: list[str] = field(default_factory=list)  # sentences without their full stops
    look: concerns.Look = field(default_factory=concerns.Look)  # at the sinks, where they could be asked

    async def apart(self, work: Awaitable[T]) -> T | None:
        """Give the result of some work; a failure is listed as a problem, and affects nothing else."""
        try:
            return await work
        except Exception as error:
            known = isinstance(error, StandbyError)
            self.problems.append(error.cause if isinstance(error, StandbyError) else type(error).__name__)
            log.warning("attending failed: %s", self.problems[-1], exc_info=None if known else error)
            return None


async def attend(configuration: Configuration, plan: str, found: watch.Watched) -> Attended:
    """Attend to what is not settled, where no other run does."""
    attended = Attended()

    async def opened() -> bool:
        async with open_in_flow(configuration, plan) as context:
            return await _attend(await witnesses.looked(context) if found.down else context, found, attended)

    if not await attended.apart(opened()) and found.down:
        await tell_unattended(plan, found.down, attended.problems)
    return attended


async def tell_unattended(plan: str, down: Iterable[str], problems: Iterable[str]) -> str:
    """Tell people of an outage whose answer failed, also where the vault cannot keep track of that; give the words."""
    what = "no run can handle that"
    reasons = " ".join(map(sentence, problems))
    said = f"{', '.join(sorted(down))} was reported to be down, and {what}: {reasons} See standby status {plan}."
    if not await events.told_lately(plan, what, TOLD_EVERY):
        events.PlanEvent(events.WAITING, plan, {"what": what}, "critical").emit(said)
    return said


async def _attend(context: RecoveryContext, found: watch.Watched, attended: Attended) -> bool:
    """Attend to each thing by itself; say whether each outage has an answer, whatever that is."""
    # The run that an event started has a form for an approval; this one has not.
    means = means_in(context, may_ask=False)
    wanted = await outage.to_be_attended(context, found.down)
    all_answered = True
    for resource in wanted:
        answers = await attended.apart(outage.answer_outage(context, resource, "", means))
        all_answered = all_answered and answers is not None
        # That another run attends, or that all is well again, is no news of this one.
        attended.answers += [each for each in answers or () if each.state is not outage.AnswerState.NOT_NEEDED]
    await attended.apart(_complete(context))
    behind = await attended.apart(publish_behind(context))
    if behind is not None:
        left = [each for each in behind if each.status == "failed"]
        attended.look = lagging(left, context.plan)
        attended.problems += [each.reason for each in left]
    if not wanted and not await outage.not_well(context, found.observations):
        await attended.apart(all_is_settled(context))
    return all_answered


async def _complete(context: RecoveryContext) -> None:
    with suppress(GuardRefused):  # What another run does now comes first.
        async with asyncio.timeout(COMPLETE_SECONDS):
            await complete(context)


def lagging(left: Sequence[SinkResult], plan: RecoveryPlan) -> concerns.Look:
    wrong = "does not hold the active map, so its applications may call a resource that no longer serves"
    action = f"Correct that: the watch publishes to it again; standby status {plan.name} shows what each sink holds"
    found = tuple(
        concerns.Concern(
            kind=concerns.Kind.SINK,
            about=each.name,
            severity="critical" if each.required else "warning",
            summary=f"{each.name} {wrong}: {each.reason}",
            next_action=action,
            lasting=plan.failover.probe_every,
        )
        for each in left
    )
    return concerns.Look(frozenset({concerns.Kind.SINK}), found)
