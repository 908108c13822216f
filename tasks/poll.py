"""Wait for a copy's end."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from standby.replication import steps
from standby.replication.context import RunContext
from standby.replication.planning import PlanItem
from standby.replication.retrying import poll_again
from standby.replication.steps import Receipt
from tasks.conditions import retry_when


@task(
    name="poll",
    task_run_name="poll {item.analyzer} at {item.target}",
    retry_condition_fn=retry_when(poll_again),
    persist_result=False,
    cache_policy=NO_CACHE,
)
async def poll(context: RunContext, item: PlanItem, receipt: Receipt) -> None:
    """Wait until the service has finished this copy."""
    await steps.poll(context, item, receipt)
