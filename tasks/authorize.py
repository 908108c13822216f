"""Ask the source for a grant."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from standby.replication import steps
from standby.replication.context import RunContext
from standby.replication.planning import PlanItem
from standby.replication.retrying import authorize_again
from standby.service.authorization import CopyAuthorization
from tasks.conditions import retry_when


# The grant is a secret: Prefect must keep it nowhere, whatever the server's own defaults are.
@task(
    name="authorize",
    task_run_name="authorize {item.analyzer} for {item.target}",
    retry_condition_fn=retry_when(authorize_again),
    persist_result=False,
    cache_policy=NO_CACHE,
    cache_result_in_memory=False,
)
async def authorize(context: RunContext, item: PlanItem) -> CopyAuthorization:
    """Ask the source to let this target copy this analyzer."""
    return await steps.authorize(context, item)
