"""The stages of a recovery, each a task of its own name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run
from prefect.utilities.annotations import opaque

from standby.recovery.context import Stage

T = TypeVar("T")


# Nothing of it is tried again by Prefect: each stage knows itself what may be repeated.
@task(
    name="stage",
    task_run_name="{plan}: {name}",
    persist_result=False,
    cache_policy=NO_CACHE,
    cache_result_in_memory=False,
)
async def stage(plan: str, name: str, work: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ARG001 - they name the run
    """Do the work and give its result."""
    return await work()


STAGES = {each: stage.with_options(name=each.value) for each in Stage}
"""A task for each stage, so that the Prefect UI can filter by what is done."""


class TaskStages:
    """Each stage of a recovery awaited as a task."""

    async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do a stage and give its result; its error is the caller's to see."""
        plan = str(flow_run.parameters.get("plan", ""))
        # Prefect searches what a task is given for futures, at any depth; there are none in here.
        return cast(T, await STAGES[stage](plan, name, cast(Callable[[], Awaitable[T]], opaque(work))))
