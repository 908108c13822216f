"""Check that the target can serve the analyzer's models."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from standby.replication import steps
from standby.replication.context import RunContext
from standby.replication.planning import PlanItem
from standby.replication.retrying import validate_again
from tasks.conditions import retry_when


@task(
    name="validate-deployments",
    task_run_name="validate-deployments of {item.analyzer} at {item.target}",
    retry_condition_fn=retry_when(validate_again),
    persist_result=False,
    cache_policy=NO_CACHE,
)
async def validate_deployments(context: RunContext, item: PlanItem) -> tuple[str, ...]:
    """Check the target's models for this analyzer; the warnings come back."""
    return await steps.validate_deployments(context, item)
