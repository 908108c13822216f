"""Start a copy at the target."""

from __future__ import annotations

from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.context import TaskRunContext

from standby.replication import steps
from standby.replication.context import RunContext
from standby.replication.planning import PlanItem
from standby.replication.retrying import copy_again
from standby.replication.steps import Receipt
from standby.service.authorization import CopyAuthorization
from tasks.conditions import retry_when


# No receipt is kept for a later run: what the target holds then is a better witness.
@task(
    name="copy",
    task_run_name="copy {item.analyzer} to {item.target}",
    retry_condition_fn=retry_when(copy_again),
    persist_result=False,
    cache_policy=NO_CACHE,
)
async def copy(context: RunContext, item: PlanItem, authorization: CopyAuthorization) -> Receipt:
    """Start the copy, at most once, and say where its operation is."""
    receipt = await steps.copy(context, item, authorization)
    run = TaskRunContext.get()
    return replace(receipt, attempts=max(run.task_run.run_count, 1) if run else 1)
