"""The tasks of a copy: their names in the UI, what they may keep, and when they are tried again."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.states import Failed

import tasks
from standby.config.plan import RetryPolicy
from standby.recovery.context import Stage
from standby.replication.errors import CopyDiffers, CopyNotStarted, ModelsNotServed, TargetAnalyzerNotReady
from standby.service.errors import (
    Conflict,
    CopyOutcomeUnknown,
    GrantVoid,
    NotAuthorized,
    OperationFailed,
    OperationHung,
    ServiceUnavailable,
    Throttled,
    Unreachable,
)
from tasks.copy import retry_options
from tasks.stage import STAGES

ALL: dict[str, Task[..., Any]] = {name: getattr(tasks, name) for name in tasks.__all__}
each_task = pytest.mark.parametrize("task", ALL.values(), ids=ALL)

TRANSIENT = (Throttled("x"), Unreachable("x"), ServiceUnavailable("x"))
PERMANENT = (
    NotAuthorized("x"),
    Conflict("x"),
    GrantVoid("x"),
    OperationFailed("x"),
    OperationHung("x"),
    CopyOutcomeUnknown("x"),
    ModelsNotServed("x"),
    CopyDiffers("a", "west"),
    ValueError("x"),
)


def would_retry(task: Task[..., Any], error: BaseException) -> bool:
    assert task.retry_condition_fn is not None
    not_looked_at: Any = None
    return bool(task.retry_condition_fn(task, not_looked_at, Failed(data=error)))


def test_the_steps_of_a_copy_are_called_as_the_contract_says() -> None:
    assert {task.name for task in ALL.values()} == {
        "authorize",
        "validate-deployments",
        "copy",
        "poll",
        "verify",
        "add-defaults",
    }


@each_task
def test_no_task_keeps_its_result_or_caches_it(task: Task[..., Any]) -> None:
    assert task.persist_result is False
    assert task.cache_policy is NO_CACHE


def test_the_grant_is_not_kept_even_in_memory() -> None:
    assert tasks.authorize.cache_result_in_memory is False


@pytest.mark.parametrize("stage", Stage)
def test_each_stage_of_a_recovery_is_a_task_of_its_own_name_that_prefect_never_tries_again(stage: Stage) -> None:
    task = STAGES[stage]
    assert (task.name, task.task_run_name, task.retries) == (stage.value, "{plan}: {name}", 0)
    assert (task.persist_result, task.cache_policy, task.cache_result_in_memory) == (False, NO_CACHE, False)


@each_task
def test_the_condition_is_a_plain_function_since_prefect_ignores_any_other(task: Task[..., Any]) -> None:
    assert inspect.isfunction(task.retry_condition_fn)


@each_task
@pytest.mark.parametrize("error", TRANSIENT, ids=lambda error: type(error).__name__)
def test_failures_that_pass_are_tried_again(task: Task[..., Any], error: Exception) -> None:
    assert would_retry(task, error)


@each_task
@pytest.mark.parametrize("error", PERMANENT, ids=lambda error: type(error).__name__)
def test_failures_that_stay_are_not(task: Task[..., Any], error: Exception) -> None:
    assert not would_retry(task, error)


def test_a_copy_that_is_known_not_to_have_started_is_asked_for_again() -> None:
    error = CopyNotStarted("invoice", "west")
    assert [name for name, task in ALL.items() if would_retry(task, error)] == ["copy"]


def test_a_copy_that_is_a_moment_late_to_be_ready_is_looked_at_again() -> None:
    error = TargetAnalyzerNotReady("invoice", "west")
    assert [name for name, task in ALL.items() if would_retry(task, error)] == ["verify"]


@each_task
def test_a_plans_policy_becomes_the_tasks_options(task: Task[..., Any]) -> None:
    policy = RetryPolicy(attempts=4, delays=(1.0, 5.0), jitter=0.0)
    changed = task.with_options(**retry_options(policy))
    assert (changed.retries, changed.retry_delay_seconds, changed.retry_jitter_factor) == (3, [1.0, 5.0], 0.0)
    assert changed.retry_condition_fn is task.retry_condition_fn
