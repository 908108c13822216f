"""One copy as Prefect tasks: authorize, validate-deployments, copy, poll, verify.

Each is a thin task over the function of the same name in `standby.replication.steps`. Their order, and what
follows from a grant that is void, is `standby.replication.replicate.copy_analyzer`: direct runs use it as well.
"""

from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.utilities.annotations import opaque

from standby.config.plan import RetryPolicy
from standby.replication import engine, items, steps
from standby.replication.steps import RunContext, copy_again
from standby.service.protocols import CopyAuthorization
from standby.tasks.stage import RunName, as_task, remembered

P = ParamSpec("P")
R = TypeVar("R")


def retry_options(policy: RetryPolicy) -> dict[str, Any]:
    delays = list(policy.delays)
    return {"retries": policy.attempts - 1, "retry_delay_seconds": delays, "retry_jitter_factor": policy.jitter}


def _step(
    name: str, named: str, worth_a_retry: Callable[[BaseException], bool]
) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Task[P, Coroutine[Any, Any, R]]]:
    """Make a task of which Prefect keeps nothing, whatever the server's own defaults are.

    Its runs are named by their copy first: by name, those of one copy stand together among hundreds.
    """
    # A grant is a secret. A receipt must not serve a later run, which reads what the target has by then.

    def condition(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
        return isinstance(state.data, BaseException) and worth_a_retry(state.data)

    as_prefect = task(
        name=name,
        task_run_name=RunName(named),
        retry_condition_fn=condition,
        persist_result=False,
        cache_policy=NO_CACHE,
        cache_result_in_memory=False,
    )
    return lambda step: as_prefect(remembered(step))


OF_A_COPY = "{item.analyzer} → {item.target}"

authorize = _step("authorize", f"{OF_A_COPY}: authorize", engine.is_transient)(steps.authorize)
validate_deployments = _step("validate-deployments", f"{OF_A_COPY}: validate-deployments", engine.is_transient)(
    steps.validate_deployments
)
poll = _step("poll", f"{OF_A_COPY}: poll", engine.is_transient)(steps.poll)
verify = _step("verify", f"{OF_A_COPY}: verify", engine.is_transient)(steps.verify)
add_defaults = _step("add-defaults", "{target}: add-defaults", engine.is_transient)(steps.add_defaults)


@_step("copy", f"{OF_A_COPY}: copy", copy_again)
async def copy(context: RunContext, item: items.PlanItem, authorization: CopyAuthorization) -> engine.Receipt:
    """Start the copy, at most once, and return its operation."""
    receipt = await steps.copy(context, item, authorization)
    run = TaskRunContext.get()
    return replace(receipt, attempts=max(run.task_run.run_count, 1) if run else 1)


class TaskSteps:
    """The tasks of one copy, in the order in which `standby.replication.replicate.copy_analyzer` awaits them.

    How often each is tried again is the plan's (`retries`); after which errors is said at the task itself.
    """

    def __init__(self, context: RunContext) -> None:
        retries, plain = context.recovery_plan.retries, steps.DirectSteps(context)
        self.authorize = _of_run(context, authorize, retries.authorize, plain.authorize)
        self.validate_deployments = _of_run(
            context, validate_deployments, retries.validate_deployments, plain.validate_deployments
        )
        self.copy = _of_run(context, copy, retries.copy_, plain.copy)
        self.poll = _of_run(context, poll, retries.poll, plain.poll)
        self.verify = _of_run(context, verify, retries.verify, plain.verify)
        self.note_begun, self.shown = plain.note_begun, plain.shown
        self.add_defaults = _of_run(context, add_defaults, retries.validate_deployments, plain.add_defaults)


def _of_run(
    context: RunContext,
    step: Task[Concatenate[RunContext, P], Coroutine[Any, Any, R]],
    policy: RetryPolicy,
    plainly: Callable[P, Coroutine[Any, Any, R]],
) -> Callable[P, Coroutine[Any, Any, R]]:
    """Give a task the plan's retries and what it works with; a plain `await` costs a fifth of `.submit`."""
    configured = step.with_options(**retry_options(policy))

    async def run(*args: P.args, **kwargs: P.kwargs) -> R:
        # Prefect searches what a task is given for futures, at any depth, twice; there are none in here.
        given: Any = [opaque(each) for each in (context, *args)]
        return await as_task(lambda: configured(*given, **kwargs), lambda: plainly(*args, **kwargs))

    return run
