"""A step's own retry condition, in the form Prefect accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun

from standby.config.plan import RetryPolicy

Condition = Callable[[Task[..., Any], TaskRun, State[Any]], bool]


def retry_when(worth_it: Callable[[BaseException], bool]) -> Condition:
    """Make a `retry_condition_fn` of a predicate on the error.

    Prefect 3.8.8 silently never retries where this is not a plain function: no method, no partial.
    """

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
