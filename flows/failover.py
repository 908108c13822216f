"""Switch a plan over to its standby side, because somebody orders it or an outage may call for it."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow
from prefect.client.schemas.objects import State

from flows.events import REFUSED, PlanEvent
from flows.failover_run import switch
from flows.outage import after_outage, leave_decision
from flows.outcome import refused
from flows.recovery import recovering
from standby.errors import GuardRefused
from standby.fencing import read_fence
from standby.recovery.assignments import choose_assignment
from standby.recovery.context import RecoveryContext
from standby.recovery.failover.errors import FailoverRefused
from standby.recovery.failover.failover import Ask, order_for

NOTHING_FORCED: list[str] = []


@flow(name="failover", flow_run_name="failover-{plan}", persist_result=False)
async def failover(
    plan: str,
    to: str = "",
    mode: Literal["planned", "unplanned"] = "planned",
    reason: str = "",
    force: list[str] = NOTHING_FORCED,
    home: str = "",
    outage_of: str = "",
) -> State[Any]:
    """Make a target of a recovery plan serve in the place of its source; never are both active.

    On an outage it looks for itself, decides by the plan's guards and records why; unless the plan is set to
    automatic it then waits for an approval in the Prefect UI. An order of an operator is not asked again.
    Run again, it goes on where it was interrupted; to the side that served before, it is taken back.

    Args:
        plan: Name of a saved recovery-plan block.
        to: The resource that is to serve; empty means the one that the plan prefers.
        mode: Planned synchronises first, so the side that serves must answer; unplanned asks it nothing.
        reason: Why, for the audit log.
        force: Names of guards to pass all the same.
        home: In the place of which source, where there are several.
        outage_of: The resource that events called unhealthy; empty where an operator gives the order.
    """
    async with recovering(plan) as context:
        try:
            if outage_of:
                return await after_outage(context, outage_of, to)
            served, target = choose_assignment(
                context.plan, await read_fence(context.vault, context.plan), to=to, named=home
            )
            ask = Ask(target, served, planned=mode == "planned", reason=reason, forced=frozenset(force))
            return await on_order(context, ask)
        except GuardRefused as error:
            PlanEvent(REFUSED, plan, {"home": home, "to": to}).emit(str(error))
            return refused(error)


async def on_order(context: RecoveryContext, ask: Ask) -> State[Any]:
    """Decide what an operator asks for, and do it."""
    try:
        ordered = await order_for(context, ask)
    except FailoverRefused as error:
        await leave_decision(context, error.decision_id)
        raise
    await leave_decision(context, ordered.order.decision_id)
    return await switch(context, ordered)
