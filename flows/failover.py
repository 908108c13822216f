"""Fail a plan over to another resource, because an operator asks for it or an outage was reported."""

from collections.abc import Sequence
from typing import Any, Literal

from prefect.client.schemas.objects import State

from standby.errors import GuardRefused, StandbyError
from standby.fencing import read_fence
from standby.flows import events, outage, outcome, recovery
from standby.recovery.assignments import choose_assignment
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.evaluate import approve
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.decision.record import read_record
from standby.recovery.failover.errors import ApprovalNeeded, FailoverRefused
from standby.recovery.failover.failover import decide_request
from standby.recovery.witnesses import settle


@outcome.flow(name="failover", flow_run_name="failover-{plan}", persist_result=False)
async def failover(
    plan: str,
    to: str = "",
    mode: Literal["planned", "unplanned"] | None = None,
    reason: str = "",
    force: Sequence[str] = (),
    home: str = "",
    outage_of: str = "",
    by: str = "",
) -> State[Any]:
    """Make a target of a recovery plan serve for its primary; the two are never active at the same time.

    After an outage was reported it probes the resources itself, decides by the plan's guards and records why;
    unless the plan is automatic it then waits for an approval in the Prefect UI. An operator's request needs
    no approval. Run it again to resume where it was interrupted; name the resource that served before to roll back.

    Args:
        plan: Name of a saved recovery-plan block.
        to: The resource that is to serve; empty means the one that the plan prefers.
        mode: Planned copies the latest edits first, so the resource that serves must answer; unplanned never calls it.
            Empty means planned, and for one that was interrupted as it was begun.
        reason: Reason, for the audit log.
        force: Names of guards to pass although they refuse; "fence" continues although the fence or the audit log was
            lost, if there is a reason.
        home: The primary that the other resource serves for, where the plan has several.
        by: Your name, where the plan asks for two persons: another one then starts this with the same values.
        outage_of: The resource that was reported to be unhealthy; empty where an operator asks.
    """
    if outage_of:
        return await on_outage(plan, outage_of, to)
    async with recovery.recovering(plan, by=by) as opened:
        try:
            context = await settle(opened, force, reason)
            fence = await read_fence(context.vault, context.plan)
            served, target = choose_assignment(context.plan, fence, to=to, named=home)
            planned = None if mode is None else mode == "planned"
            forced = frozenset(force)
            request = FailoverRequest(to=target, primary=served, planned=planned, reason=reason, forced=forced)
            return await on_order(context, request)
        except GuardRefused as error:
            events.PlanEvent(events.REFUSED, plan, {"home": home, "to": to}).emit(str(error))
            return outcome.refused(error)


async def on_outage(plan: str, resource: str, to: str) -> State[Any]:
    """Answer an outage; where not even what serves can be opened, that is told, and the next report tries again."""
    try:
        async with recovery.recovering(plan) as context:
            return await outage.after_outage(context, resource, to)
    except StandbyError as error:
        message = await outage.tell_unattended(plan, [resource], [error.cause])
        return await outcome.FlowOutcome("Waiting", message, good=False).finish()


async def on_order(context: RecoveryContext, request: FailoverRequest) -> State[Any]:
    try:
        decided, record = await decide_request(context, request)
    except FailoverRefused as error:
        if isinstance(error, ApprovalNeeded):
            given = await approve(context, error.request, int(error.request.epoch or 0), comment=error.request.reason)
            error.facts["approvals"] = [each.model_dump(mode="json") for each in given]
        refusal, _ = await read_record(context.vault, error.decision_id)
        await outage.leave_decision(refusal)
        raise
    if record is not None:
        await outage.leave_decision(record)
    return await outage.outcome_of(await outage.carry_out(context, decided)).finish()
