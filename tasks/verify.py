"""Compare a copy with what was to be copied."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from standby.replication import steps
from standby.replication.context import RunContext
from standby.replication.planning import PlanItem
from standby.replication.retrying import verify_again
from standby.replication.steps import Verified
from tasks.conditions import retry_when


@task(
    name="verify",
    task_run_name="verify {item.analyzer} at {item.target}",
    retry_condition_fn=retry_when(verify_again),
    persist_result=False,
    cache_policy=NO_CACHE,
)
async def verify(context: RunContext, item: PlanItem) -> Verified:
    """Read the copy back and compare it."""
    return await steps.verify(context, item)
