"""The tasks of a copy: their names in the UI, what they may keep, and when they are tried again."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import Abort, ObjectNotFound, PrefectException
from prefect.states import Failed

from standby import tasks
from standby.config.plan import RetryPolicy
from standby.errors import StandbyError
from standby.recovery.context import Stage
from standby.replication.errors import CopyDiffers, CopyNotStarted, ModelsNotServed
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
from standby.tasks.copy import retry_options
from standby.tasks.stage import STAGES, RunName, as_task, remembered, tried

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
    assert (task.name, task.retries) == (stage.value, 0)
    named = cast(RunName, task.task_run_name)
    assert named({"plan": "invoices", "name": "read a\nb\x1b[31m" + "c" * 300}).startswith("invoices: read a b [31mccc")
    assert len(named({"plan": "invoices", "name": "c" * 300})) == 200
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


@each_task
def test_a_plans_policy_becomes_the_tasks_options(task: Task[..., Any]) -> None:
    policy = RetryPolicy(attempts=4, delays=(1.0, 5.0), jitter=0.0)
    changed = task.with_options(**retry_options(policy))
    assert (changed.retries, changed.retry_delay_seconds, changed.retry_jitter_factor) == (3, [1.0, 5.0], 0.0)
    assert changed.retry_condition_fn is task.retry_condition_fn


# What becomes of work whose Prefect fails.

PREFECT_FAILURES = (ObjectNotFound(OSError("404")), PrefectException("x"), Abort("x"), OSError("x"), ValueError("x"))
each_failure = pytest.mark.parametrize("failure", PREFECT_FAILURES, ids=lambda failure: type(failure).__name__)


class Work:
    """Something that must be done once."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.done = 0

    async def __call__(self) -> str:
        self.done += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def under(
    work: Work, *, before: BaseException | None = None, after: BaseException | None = None, attempts: int = 1
) -> Callable[[], Awaitable[str]]:
    """Make a task run of some work, which Prefect fails to begin, or to end."""

    async def run() -> str:
        if before:
            raise before
        for _ in range(attempts):
            try:
                return await remembered(work.__call__)()
            except StandbyError as error:
                if after:
                    raise after from error
        raise LookupError("no attempt succeeded")

    async def ended() -> str:
        value = await run()
        if after:
            raise after
        return value

    return ended


@each_failure
async def test_work_that_prefect_does_not_begin_is_done_plainly(failure: BaseException) -> None:
    work = Work()
    assert await as_task(under(work, before=failure), work) == "done"
    assert work.done == 1


@each_failure
async def test_work_that_was_done_is_not_done_again_because_prefect_cannot_keep_it(failure: BaseException) -> None:
    work = Work()
    assert await as_task(under(work, after=failure), work) == "done"
    assert work.done == 1


@each_failure
async def test_an_error_of_the_work_is_told_and_not_that_of_prefect(failure: BaseException) -> None:
    work = Work(Unreachable("x"))
    with pytest.raises(Unreachable):
        await as_task(under(work, after=failure), work)
    assert work.done == 1


async def test_of_several_attempts_the_last_one_counts() -> None:
    work = Work(Unreachable("x"), Unreachable("x"))
    assert await as_task(under(work, attempts=3), work) == "done"
    assert work.done == 3


async def test_what_is_cancelled_is_not_done_plainly() -> None:
    work = Work()
    with pytest.raises(asyncio.CancelledError):
        await as_task(under(work, before=asyncio.CancelledError()), work)
    assert work.done == 0


@each_failure
async def test_what_is_only_shown_is_lost_with_prefect(failure: BaseException) -> None:
    async def show() -> str:
        raise failure

    assert await tried("a page", show) is None


async def test_what_is_only_shown_is_not_waited_for_without_end() -> None:
    assert await tried("a page", asyncio.Event().wait, seconds=0.0) is None
