"""Why something was decided, as a page beside the flow run that decided it."""

from __future__ import annotations

from prefect.artifacts import acreate_markdown_artifact

from flows.failover_pages import decision_page
from standby.recovery.context import RecoveryContext
from standby.recovery.decision.record import read_record


async def leave_decision(context: RecoveryContext, decision_id: str) -> None:
    """Leave the page of a recorded decision; nothing where there was nothing to decide."""
    if not decision_id:
        return
    record, _ = await read_record(context.vault, decision_id)
    await acreate_markdown_artifact(
        key="failover-decision",
        markdown=decision_page(record),
        description=f"Plan **{record.case.plan}**: {record.decision.outcome.value}, asked by "
        f"{'an outage' if record.case.requested_by == 'outage' else 'an operator'}.",
    )
