"""Compare the copies of a plan with their sources, and say whether the targets could take over."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.artifacts import TableArtifact
from prefect.client.schemas.objects import State

from flows.outcome import FlowOutcome
from flows.readiness import publish_readiness
from flows.recovery import recovering
from standby.recovery.readiness.assess import assess_plan
from standby.replication.items import PlanItem, ReplicationPlan, Selection
from standby.replication.replicate import survey
from standby.replication.report import drift_document, drift_totals
from standby.replication.verdict import Verdict


def drift_table(proposal: ReplicationPlan) -> TableArtifact:
    """Make the table of every copy that is not in sync."""
    return TableArtifact(
        key="drift",
        table=[_row(item) for item in proposal.items if item.verdict is not Verdict.IN_SYNC]
        or [{"analyzer": "all in sync"}],
        description=f"Plan **{proposal.recovery_plan.name}**: {drift_totals(proposal)}.",
    )


def _row(item: PlanItem) -> dict[str, Any]:
    return {
        "analyzer": item.analyzer,
        "from": item.source,
        "to": item.target,
        "verdict": item.verdict.value,
        "differences": " ".join(item.differences),
        "reason": item.reason,
    }


@flow(name="check", flow_run_name="check-{plan}", persist_result=False)
async def check(plan: str) -> State[dict[str, Any]]:
    """Compare every analyzer of a recovery plan with its copies, and judge each target's readiness.

    Nothing is changed. Readiness comes first: it is known even while a source does not answer, drift is not.

    Args:
        plan: Name of a saved recovery-plan block.
    """
    async with recovering(plan) as context:
        await publish_readiness(context, await assess_plan(context))
        proposal = await survey(context.run, Selection())
    document = drift_document(proposal)
    name = "Completed" if document["in_sync"] else "Drifted"
    return await FlowOutcome(name, f"{drift_totals(proposal)}.", document, artifact=drift_table(proposal)).finish()
