"""A stage of a recovery, as a task run that people can watch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE


# Nothing of it is tried again by Prefect: each stage knows itself what may be repeated.
@task(
    name="stage",
    task_run_name="{name}",
    persist_result=False,
    cache_policy=NO_CACHE,
    cache_result_in_memory=False,
)
async def stage(name: str, work: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ARG001 - names the task run
    """Do the work and give its result."""
    return await work()
