"""Start a copy at the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.utilities.annotations import opaque

from standby.config.plan import RetryPolicy
from standby.replication import steps
from standby.replication.engine import Receipt, is_transient
from standby.replication.items import PlanItem
from standby.replication.steps import (
    RunContext,
    Verified,
    copy_again,
    verify_again,
)
from standby.service.protocols import CopyAuthorization

Condition = Callable[[Task[..., Any], TaskRun, State[Any]], bool]


def retry_when(worth_it: Callable[[BaseException], bool]) -> Condition:
    """Make a `retry_condition_fn` of a predicate on the error."""

    def condition(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
        return isinstance(state.data, BaseException) and worth_it(state.data)

    return condition


def retry_options(policy: RetryPolicy) -> dict[str, Any]:
    """Give a plan's policy for a step as task options."""
    return {
        "retries": policy.attempts - 1,
        "retry_delay_seconds": list(policy.delays),
        "retry_jitter_factor": policy.jitter,
    }


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


# The grant is a secret: Prefect must keep it nowhere, whatever the server's own defaults are.
@task(
    name="authorize",
    task_run_name="authorize {item.analyzer} for {item.target}",
    retry_condition_fn=retry_when(is_transient),
    persist_result=False,
    cache_policy=NO_CACHE,
    cache_result_in_memory=False,
)
async def authorize(context: RunContext, item: PlanItem) -> CopyAuthorization:
    """Ask the source to let this target copy this analyzer."""
    return await steps.authorize(context, item)


@task(
    name="validate-deployments",
    task_run_name="validate-deployments of {item.analyzer} at {item.target}",
    retry_condition_fn=retry_when(is_transient),
    persist_result=False,
    cache_policy=NO_CACHE,
)
async def validate_deployments(context: RunContext, item: PlanItem) -> tuple[str, ...]:
    """Check the target's models for this analyzer; the warnings come back."""
    return await steps.validate_deployments(context, item)


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


@task(
    name="poll",
    task_run_name="poll {item.analyzer} at {item.target}",
    retry_condition_fn=retry_when(is_transient),
    persist_result=False,
    cache_policy=NO_CACHE,
)
async def poll(context: RunContext, item: PlanItem, receipt: Receipt) -> None:
    """Wait until the service has finished this copy."""
    await steps.poll(context, item, receipt)


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


class TaskSteps:
    """Each step awaited as a task: plain `await` costs a fifth of what `.submit` does."""

    def __init__(self, context: RunContext) -> None:
        """Bind the tasks to one run.

        Args:
            context: what the steps work with.
        """
        retries = context.recovery_plan.retries
        # Prefect searches what a task is given for futures, at any depth; there are none in here.
        self._context = cast(RunContext, opaque(context))
        self._add_defaults = add_defaults.with_options(**retry_options(retries.validate_deployments))
        self._authorize = authorize.with_options(**retry_options(retries.authorize))
        self._validate = validate_deployments.with_options(**retry_options(retries.validate_deployments))
        self._copy = copy.with_options(**retry_options(retries.copy_))
        self._poll = poll.with_options(**retry_options(retries.poll))
        self._verify = verify.with_options(**retry_options(retries.verify))

    async def add_defaults(self, target: str, additions: Mapping[str, str]) -> None:
        """Add model names to a target's defaults."""
        await self._add_defaults(self._context, target, additions)

    async def authorize(self, item: PlanItem) -> CopyAuthorization:
        """Ask the source for a grant."""
        return await self._authorize(self._context, item)

    async def validate_deployments(self, item: PlanItem) -> tuple[str, ...]:
        """Check the models at the target; give warnings."""
        return await self._validate(self._context, item)

    async def copy(self, item: PlanItem, authorization: CopyAuthorization) -> Receipt:
        """Start the copy."""
        return await self._copy(self._context, item, authorization)

    async def poll(self, item: PlanItem, receipt: Receipt) -> None:
        """Wait for the copy's end."""
        await self._poll(self._context, item, receipt)

    async def verify(self, item: PlanItem) -> Verified:
        """Compare the copy with what was planned."""
        return await self._verify(self._context, item)
