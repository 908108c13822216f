"""What follows from events that a resource is unhealthy: an evaluation, and only then perhaps a failover."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.flow_runs import apause_flow_run
from prefect.input import RunInput
from pydantic import AwareDatetime, Field, ValidationError

from flows.errors import SlotTaken
from flows.events import PROPOSED, REFUSED, PlanEvent, read_observations
from flows.failover_run import decision_page, proposal_text, switch
from flows.leases import hold
from flows.outcome import FlowOutcome
from standby.config.durations import format_duration, roughly
from standby.config.plan import FailoverPolicy
from standby.document import Document, JsonValue
from standby.errors import sentence
from standby.fencing import read_fence
from standby.recovery.audit import AuditAction, AuditLine, record_action, verify_audit
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.evaluate import evaluate
from standby.recovery.decision.input import Decision, DecisionInput, Guard, GuardOutcome, Outcome, Request
from standby.recovery.decision.record import read_record, record_decision
from standby.recovery.failover.begin import FailoverOrder
from standby.recovery.failover.failover import Ordered
from standby.recovery.probe import Observation
from standby.vault.filesystem import Objects

LOOK = 2
"""Seconds between two looks whether somebody answered."""

SPARE = 600
"""Seconds for which Prefect lets the run wait beyond its time: then it would fail the run itself."""


class Approval(RunInput):
    """The form that somebody fills in."""

    approve: bool = Field(description="Switch over. It is looked at once more before anything is done.")
    to: str = Field("", description="Another target than the one that is proposed.")
    comment: str = Field("", description="Why; it goes into the audit log.")


async def ask(text: str, patience: timedelta) -> Approval | None:
    """Pause this flow run until somebody resumes it with the form filled in.

    Args:
        text: what is asked, shown beside the form.
        patience: how long an answer is waited for.

    Returns:
        `None` where nobody answered in time.
    """
    form = Approval.with_initial_data(description=text)
    seconds = patience.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            return await apause_flow_run(form, timeout=int(seconds) + SPARE, poll_interval=LOOK)
    except TimeoutError:
        return None


ANSWERS = frozenset({AuditAction.APPROVED.value, AuditAction.REJECTED.value})


def why_not_now(lines: Sequence[AuditLine], primary: str, now: datetime, policy: FailoverPolicy) -> str:
    """Say why nobody is to be asked now; empty where somebody may be.

    While one proposal waits for its answer there is no second one, and whoever has said no is left alone for
    the cool-down. Where nobody answered, the question may be repeated.

    Args:
        lines: of the plan's audit log.
        home: the source that the outage is about.
        now: UTC.
        policy: how long a proposal waits, and how long the cool-down is.
    """
    answers: dict[str, AuditLine] = {}
    for line in reversed(lines):
        if line.facts.get("home") != primary:
            continue
        if line.action in ANSWERS:
            answers.setdefault(line.run_id, line)
            if _said_no(line) and now - line.at < policy.cool_down:
                return f"a failover was rejected {roughly(now - line.at)} ago{_comment(line)}"
        elif (
            line.action == AuditAction.PROPOSED
            and line.run_id not in answers
            and now - line.at < policy.approval_timeout
        ):
            waits = roughly(now - line.at)
            return f"a proposal made {waits} ago waits for its approval in flow run {line.run_id}"
    return ""


def _said_no(line: AuditLine) -> bool:
    return line.action == AuditAction.REJECTED and line.facts.get("answered") is True


def _comment(line: AuditLine) -> str:
    comment = line.facts.get("comment")
    return f": {comment}" if comment else ""


AGAIN = timedelta(hours=1)
"""After which the same is told again."""


class LastRefusal(Document):
    """What was told last, and when."""

    primary: str = Field(alias="home")
    guards: tuple[Guard, ...]
    at: AwareDatetime


async def tell_refusal(
    context: RecoveryContext, facts: Mapping[str, JsonValue], guards: Sequence[Guard], summary: str
) -> None:
    """Emit that an outage was not answered by a failover, unless the same was told lately.

    Args:
        context: of the recovery.
        facts: of the decision; `home` among them.
        guards: those that refused.
        summary: for people.
    """
    path = f"recovery/{context.plan.name}/refused.json"
    refusal = LastRefusal(primary=str(facts["home"]), guards=tuple(guards), at=context.clock.now())
    if _is_news(refusal, await _read(context.vault, path)):
        PlanEvent(REFUSED, context.plan.name, facts).emit(summary)
        await context.vault.write(path, refusal.model_dump_json(indent=1).encode())


def _is_news(refusal: LastRefusal, last: LastRefusal | None) -> bool:
    return (
        last is None
        or (last.primary, last.guards) != (refusal.primary, refusal.guards)
        or refusal.at - last.at >= AGAIN
    )


async def _read(objects: Objects, path: str) -> LastRefusal | None:
    content = await objects.read(path)
    try:
        return LastRefusal.model_validate_json(content) if content else None
    except ValidationError:
        # It is there to spare repetitions only: what it said is told once more.
        return None


async def leave_decision(context: RecoveryContext, decision_id: str) -> None:
    """Leave the page of a recorded decision; nothing where there was nothing to decide."""
    if not decision_id:
        return
    record, _ = await read_record(context.vault, decision_id)
    await acreate_markdown_artifact(
        key="failover-decision",
        markdown=decision_page(record),
        description=f"Plan **{record.given.plan}**: {record.decision.outcome.value}, asked by "
        f"{'an outage' if record.given.requested_by == 'outage' else 'an operator'}.",
    )


HISTORY = timedelta(minutes=15)
"""How far back events are read."""

PATIENCE = 2.0
"""Seconds that another run of the plan is waited for: events that go on start a new one soon enough."""

AFTER_AN_ANSWER = 300.0
"""Seconds that it is waited for once somebody has approved."""

OF_THE_OUTAGE = frozenset(
    {Guard.QUORUM, Guard.MINIMUM_OUTAGE, Guard.OBSERVERS_AGREE, Guard.ALREADY_ACTIVE, Guard.ONE_AT_A_TIME}
)
"""Guards that say no where there is no outage, or somebody is at it already: nobody needs to act."""


@dataclass(frozen=True)
class Decided:
    """A recorded decision about one source of the plan."""

    request: Request
    given: DecisionInput
    decision: Decision
    decision_id: str

    @property
    def ordered(self) -> Ordered:
        """What is to be done, where it is decided to act."""
        order = FailoverOrder(
            primary=self.request.primary,
            to=str(self.decision.to),
            planned=False,
            reason=self.request.reason,
            decision_id=self.decision_id,
            detected_at=self.decision.detected_at,
            unhealthy_since=self.decision.unhealthy_since,
            epoch=self.given.epoch,
        )
        return Ordered(order, self.given.active, given=self.given, decision=self.decision)

    @property
    def facts(self) -> dict[str, JsonValue]:
        """What the audit log and the events say of it."""
        return {
            "home": self.request.primary,
            "from": self.given.active,
            "to": self.decision.to,
            "decision": self.decision_id,
        }


async def after_outage(context: RecoveryContext, outage_of: str, to: str) -> State[Any]:
    """Look whether the outage is one, decide, and do it; a person is asked where the plan says so.

    Args:
        context: of the recovery.
        outage_of: the resource that was reported to be unhealthy.
        to: the target; empty where the decision chooses.
    """
    plan = context.plan.name
    try:
        async with hold(slot_of(plan), PATIENCE):
            found = await _evaluated(context, outage_of, to)
            if isinstance(found, str):
                return await FlowOutcome("NotNeeded", sentence(found)).finish()
            if found.decision.outcome is not Outcome.ACT:
                return await _nothing_done(context, found)
            if not found.decision.needs_approval:
                return await switch(context, found.ordered)
            await _propose(context, found)
    except SlotTaken:
        return await FlowOutcome("NotNeeded", f"Another run decides about plan {plan} already.").finish()
    # Without the slot: an answer may take half an hour, and another source of the plan may go dark meanwhile.
    answer = await ask(proposal_text(found.given, found.decision), context.plan.failover.approval_timeout)
    if answer is None or not answer.approve:
        return await _rejected(context, found, answer)
    return await _approved(context, found, answer)


def slot_of(plan: str) -> str:
    """Name the slot of the one run that decides about a plan."""
    return f"standby-failover-{plan}"


async def _evaluated(context: RecoveryContext, outage_of: str, to: str) -> Decided | str:
    """Decide about each source in whose place the resource serves, until there is something to do."""
    fence = await read_fence(context.vault, context.plan)
    primaries = [primary for primary, side in fence.assignments.items() if side.active == outage_of]
    found: Decided | str = f"{outage_of} serves for nobody in plan {fence.plan}"
    for primary in primaries:
        quiet = await _why_nobody_is_asked(context, primary)
        if quiet:
            found = quiet
            continue
        request = Request(primary=primary, to=to, outage_of=outage_of, reason=f"outage of {outage_of}")
        found = await _decide(context, request)
        if found.decision.outcome is Outcome.ACT:
            break
    return found


async def _decide(context: RecoveryContext, request: Request, before: Sequence[Observation] = ()) -> Decided:
    async def told() -> Sequence[Observation]:
        return await read_observations(request.outage_of, context.clock.now(), HISTORY)

    given, decision = await evaluate(context, request, history=before, recall=told)
    decision_id = await record_decision(context, given, decision)
    await leave_decision(context, decision_id)
    return Decided(request, given, decision, decision_id)


async def _why_nobody_is_asked(context: RecoveryContext, primary: str) -> str:
    if context.plan.failover.automatic:
        return ""
    checked = await verify_audit(context.vault, context.plan.name, context.signer)
    return why_not_now(checked.lines, primary, context.clock.now(), context.plan.failover)


async def _nothing_done(context: RecoveryContext, found: Decided) -> State[Any]:
    """End without a failover: quietly where there is no outage, aloud where one cannot be answered."""
    against = found.decision.saying(GuardOutcome.REFUSE, GuardOutcome.WAIT)
    told = "; ".join(f"{result.guard.value}: {result.text}" for result in against)
    message = f"{told}. standby explain {found.decision_id} has all of it."
    if any(result.guard in OF_THE_OUTAGE for result in against):
        return await FlowOutcome("NotNeeded", message).finish()
    summary = f"{found.given.active} is down, and nothing was switched: {told}."
    await tell_refusal(context, found.facts, [result.guard for result in against], summary)
    return await FlowOutcome("Refused", message, good=False).finish()


async def _propose(context: RecoveryContext, found: Decided) -> None:
    await record_action(context, AuditAction.PROPOSED, found.facts, epoch=found.given.epoch)
    PlanEvent(PROPOSED, context.plan.name, found.facts).emit(proposal_text(found.given, found.decision))


async def _rejected(context: RecoveryContext, found: Decided, answer: Approval | None) -> State[Any]:
    comment = answer.comment if answer is not None else ""
    facts = {**found.facts, "answered": answer is not None, "comment": comment}
    await record_action(context, AuditAction.REJECTED, facts, epoch=found.given.epoch)
    patience = format_duration(context.plan.failover.approval_timeout)
    said = "Nobody answered" if answer is None else "Somebody said no"
    told = f"{said} to the failover from {found.given.active} to {found.decision.to}" + (
        f" within {patience}" if answer is None else f": {comment}" if comment else ""
    )
    event = PlanEvent(REFUSED, context.plan.name, facts)
    name = "NotAnswered" if answer is None else "Rejected"
    return await FlowOutcome(name, sentence(told), event=event).finish()


async def _approved(context: RecoveryContext, found: Decided, answer: Approval) -> State[Any]:
    """Look once more, since the answer may have taken long, and then do it."""
    facts = {**found.facts, "to": answer.to or found.decision.to, "comment": answer.comment}
    await record_action(context, AuditAction.APPROVED, facts, epoch=found.given.epoch)
    request = replace(found.request, to=answer.to or str(found.decision.to))
    try:
        async with hold(slot_of(context.plan.name), AFTER_AN_ANSWER):
            again = await _decide(context, request, found.given.observations)
            if again.decision.outcome is not Outcome.ACT:
                return await _nothing_done(context, again)
            return await switch(context, again.ordered)
    except SlotTaken as error:
        return await FlowOutcome("Refused", str(error), good=False).finish()
