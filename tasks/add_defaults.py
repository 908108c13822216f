"""Complete a target's defaults, where the plan says so."""

from __future__ import annotations

from collections.abc import Mapping

from prefect import task
from prefect.cache_policies import NO_CACHE

from standby.replication import steps
from standby.replication.context import RunContext
from standby.replication.retrying import is_transient
from tasks.conditions import retry_when


@task(
    name="add-defaults",
    task_run_name="add-defaults of {target}",
    retry_condition_fn=retry_when(is_transient),
    persist_result=False,
    cache_policy=NO_CACHE,
)
async def add_defaults(context: RunContext, target: str, additions: Mapping[str, str]) -> None:
    """Add model names that the target's defaults lack; none that is there is changed."""
    await steps.add_defaults(context, target, additions)
