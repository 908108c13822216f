"""Tell where the copies of a plan differ from their sources, and whether they could take over."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from flows.drift import drift_state, publish_drift
from flows.readiness import publish_readiness
from flows.recovering import recovering
from standby.recovery.readiness.gathering import assess_plan
from standby.replication.planning import Selection
from standby.replication.replicate import survey


@flow(name="check", flow_run_name="check-{plan}", persist_result=False)
async def check(plan: str) -> State[dict[str, Any]]:
    """Compare every analyzer of a recovery plan with its copies, and judge each target's readiness.

    Nothing is changed. Readiness comes first: it can be told while a source is dark, drift cannot.

    Args:
        plan: Name of a saved recovery-plan block.
    """
    async with recovering(plan) as context:
        await publish_readiness(context, await assess_plan(context))
        proposal = await survey(context.run, Selection())
    await publish_drift(proposal)
    return drift_state(proposal)
