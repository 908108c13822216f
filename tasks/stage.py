"""The stages of a recovery, each a task of its own name; and what becomes of work whose Prefect fails.

Prefect shows what a recovery does, and never stands in its way: a flow run or a server that is gone costs the page that
people would have seen, and not the failover. Every call to Prefect inside a recovery goes through one of two functions
here: `as_task`, where work is done as a task run, and `tried`, where something is only shown.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar, cast

from prefect import cache_policies, exceptions, runtime, task, tasks
from prefect.utilities.annotations import opaque

from standby.recovery.context import Stage
from standby.text import clean

log = logging.getLogger("standby.flows")

P = ParamSpec("P")
T = TypeVar("T")


def _says_more_than_its_state(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Finished in state Completed(")


# A copy is five task runs: as many lines that only repeat the state would be sent, parsed and kept.
logging.getLogger("prefect.task_runs").addFilter(_says_more_than_its_state)

MOST_OF_A_NAME = 200  # Characters of a task run's name
SHOWN_SECONDS = 15.0  # How long something that is only shown may take


@dataclass
class _Outcome(Generic[T]):
    """What became of work that is done as a task run, whatever Prefect makes of the run itself."""

    begun: bool = False
    value: T | None = None
    error: BaseException | None = None


_OUTCOME: ContextVar[_Outcome[Any] | None] = ContextVar("standby_outcome", default=None)


def remembered(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let `as_task` know what became of the function under a task."""

    @wraps(work)
    async def run(*args: P.args, **kwargs: P.kwargs) -> T:
        outcome = _OUTCOME.get() or _Outcome[T]()
        outcome.begun, outcome.error = True, None
        try:
            value = outcome.value = await work(*args, **kwargs)
        except BaseException as error:
            outcome.error = error
            raise
        return value

    return run


async def as_task(run: Callable[[], Awaitable[T]], plainly: Callable[[], Awaitable[T]]) -> T:
    """Do work as a task run. Where Prefect fails, what became of the work counts; what was not begun is done plainly.

    `run` awaits the task, whose function is `remembered`; `plainly` does the same work without Prefect.
    """
    outcome = _Outcome[T]()
    token = _OUTCOME.set(outcome)
    try:
        return await run()
    except (Exception, exceptions.PrefectSignal) as error:
        if outcome.error is not None:
            raise outcome.error from outcome.error.__cause__
        log.warning("Prefect failed (%s); this continues without: a task run", type(error).__name__)
        log.debug("where that happened:", exc_info=error)
        return cast(T, outcome.value) if outcome.begun else await plainly()
    finally:
        _OUTCOME.reset(token)


async def tried(what: str, call: Callable[[], Awaitable[T]], seconds: float = SHOWN_SECONDS) -> T | None:
    """Ask Prefect for something that a recovery can do without; `None` where it fails, or is slow."""
    try:
        async with asyncio.timeout(seconds):
            return await call()
    except (Exception, exceptions.PrefectSignal) as error:
        log.warning("Prefect failed (%s); this continues without: %s", type(error).__name__, what)
        log.debug("where that happened:", exc_info=error)
        return None


@dataclass(frozen=True)
class RunName(tasks.TaskRunNameCallbackWithParameters):
    """Names a task run after its parameters; ids in them come from elsewhere."""

    template: str

    def __call__(self, parameters: dict[str, Any]) -> str:
        return clean(self.template.format(**parameters), MOST_OF_A_NAME)


# Nothing of it is tried again by Prefect: each stage knows itself what may be repeated.
@task(
    name="stage",
    task_run_name=RunName("{plan}: {name}"),
    persist_result=False,
    cache_policy=cache_policies.NO_CACHE,
    cache_result_in_memory=False,
)
@remembered
async def stage(plan: str, name: str, work: Callable[[], Awaitable[Any]]) -> Any:  # noqa: ARG001 - they name the run
    return await work()


STAGES = {each: stage.with_options(name=each.value) for each in Stage}
"""A task for each stage, so that the Prefect UI can filter by what is done."""


class TaskStages:
    """Each stage of a recovery awaited as a task."""

    async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do a stage and give its result; its error is the caller's to see."""
        # Prefect searches what a task is given for futures, at any depth; there are none in here.
        given = cast(Callable[[], Awaitable[T]], opaque(work))

        async def run() -> T:
            return cast(T, await STAGES[stage](str(runtime.flow_run.parameters.get("plan", "")), name, given))

        return await as_task(run, work)
