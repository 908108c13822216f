"""Drives the items of a plan: children before parents, targets side by side, a failure blocks its own parents only.

What is done about an item is said by the kind of run: replicating (`replicate.py`) and restoring from a snapshot
are both driven from here, so order, slots, retries, waits and endings are the same for both.
"""

import asyncio
import heapq
import logging
import random
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Generic, Protocol, Self, TypeVar

from standby import telemetry
from standby.clock import Clock
from standby.config.plan import RetryPolicy
from standby.errors import GuardRefused, StandbyError
from standby.replication.items import GOOD, HasStatus, Key, Progress, Status, count
from standby.service.errors import ServiceError
from standby.service.models import StartedOperation

log = logging.getLogger("standby.replication")
T = TypeVar("T")


def is_transient(error: BaseException) -> bool:
    """Say whether the service, not the request, was at fault for the moment."""
    return isinstance(error, ServiceError) and error.transient


WorthIt = Callable[[BaseException], bool]  # Whether a step that failed so is tried again


async def try_again(policy: RetryPolicy, worth_it: WorthIt, step: Callable[[], Awaitable[T]], clock: Clock) -> T:
    # The delays are the policy's own list, as Prefect takes them: stamina's would be an exponential between two bounds.
    for attempt in range(1, policy.attempts):
        try:
            return await step()
        except Exception as error:
            if not worth_it(error):
                raise
            delay = policy.delays[min(attempt, len(policy.delays)) - 1]
            delay *= random.uniform(1 - policy.jitter, 1 + policy.jitter)  # noqa: S311 - spreads load, no secret
            log.info("trying again in %.1f s after: %s", delay, error)
            await clock.sleep(delay)
    return await step()


@dataclass(frozen=True)
class Receipt:
    """What the service answered to a copy or a build: where to poll, if that is known, and when it began."""

    operation_url: str | None
    operation_id: str
    warnings: tuple[str, ...] = ()
    attempts: int = 1
    begun: float | None = field(default=None, compare=False)
    ready: bool = field(default=False, compare=False)  # whether it was over when it was answered

    @classmethod
    def of(cls, started: StartedOperation, begun: float, warnings: tuple[str, ...]) -> Self:
        ready = started.analyzer.status == "ready"
        return cls(started.operation_url, started.operation_id, warnings, begun=begun, ready=ready)


@dataclass
class Attempt:
    """What is known so far of an item that was begun; true at any moment, also after a cancellation."""

    begun: float  # when it began, in the clock's monotonic seconds
    asked: int = 0
    receipt: Receipt | None = None  # what the service answered; `None` until it has
    warnings: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()  # what was copied beside itself before it is replaced, a sentence each
    error: str = ""  # the kind of error with which it failed, for the metrics

    @property
    def attempts(self) -> int:
        return self.receipt.attempts + max(self.asked - 1, 0) if self.receipt else self.asked


class Item(Protocol):
    """One analyzer that is to be at a target."""

    @property
    def key(self) -> Key: ...
    @property
    def analyzer(self) -> str: ...
    @property
    def needs(self) -> tuple[str, ...]: ...


ItemT = TypeVar("ItemT", bound=Item)
ResultT = TypeVar("ResultT", bound=HasStatus)
_ENDS = {Status.FAILED: "failed", Status.BLOCKED: "is blocked", Status.REFUSED: "is refused"}


class Engine(ABC, Generic[ItemT, ResultT]):
    """One run of a plan. `results` is true at any moment, also after a cancellation."""

    def __init__(
        self,
        items: Iterable[ItemT],
        *,
        target: Callable[[ItemT], str],
        slots: Mapping[str, asyncio.Semaphore],
        clock: Clock,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._items = {item.key: item for item in items}
        self._target = target
        self._slots = slots
        self._clock = clock
        self._on_progress = on_progress
        self._begun = clock.monotonic()
        self._attempts: dict[Key, Attempt] = {}
        self._in_flight: dict[Key, ItemT] = {}
        self._results: dict[Key, ResultT] = {}
        self._counts = count(())  # of the results, by status: counted anew at each end, large runs would take minutes
        self._without_defaults: dict[str, str] = {}

    @abstractmethod
    async def _prepare(self) -> None:
        """Do what comes before all else, and end the items about which nothing is to be done."""

    @abstractmethod
    def _children(self, item: ItemT) -> Mapping[str, Key]:
        """Give the items that must be at the target first, by the name that the item has for each."""

    @abstractmethod
    async def _make(self, item: ItemT, attempt: Attempt) -> None:
        """Do all steps of an item, and keep `attempt` up to date; raise what went wrong."""

    @abstractmethod
    def _interruption(self, item: ItemT, attempt: Attempt, /) -> str:
        """Say in a sentence or two how far an item came that was interrupted, and what to do."""

    @abstractmethod
    def _result(self, item: ItemT, status: Status, reason: str, attempt: Attempt | None) -> ResultT:
        """Give the end of an item; `attempt` is `None` where it was not begun."""

    async def run(self) -> None:
        """Do everything the plan says; only a cancellation raises."""
        try:
            await self._do_all()
        finally:
            run = telemetry.under_way()
            for key, item in self._items.items():
                result, attempt = self._results.get(key), self._attempts.get(key)
                status, error = result.status if result else Status.FAILED, attempt.error if attempt else ""
                telemetry.record(
                    *(telemetry.COPIES, 1, run.operation, run.plan, self._target(item), status.value),
                    error or ("" if result else "Interrupted"),
                )

    async def _do_all(self) -> None:
        await self._prepare()
        todo = {key: item for key, item in self._items.items() if key not in self._results}
        children = {key: self._children(item).values() for key, item in todo.items()}
        graph = {key: [child for child in known if child in todo] for key, known in children.items()}
        sorter: TopologicalSorter[Key] = TopologicalSorter(graph)
        sorter.prepare()
        ended: asyncio.Queue[Key] = asyncio.Queue()
        rank, ready = _ranked(graph), defaultdict[str, list[tuple[int, Key]]](list)
        async with asyncio.TaskGroup() as group:
            while sorter.is_active():
                for key in sorter.get_ready():
                    target = self._target(todo[key])
                    if cause := self._without_defaults.get(target) or self._unusable_child(todo[key]):
                        self._end(todo[key], Status.BLOCKED, cause)
                        ended.put_nowait(key)
                        continue
                    heapq.heappush(ready[target], (rank[key], key))
                    group.create_task(self._drive(target, ready[target], ended))
                sorter.done(await ended.get())

    def results(self) -> tuple[ResultT, ...]:
        """Give the end of every item, in the plan's order; what has not ended counts as interrupted."""
        return tuple(self._results.get(key) or self._interrupted(item) for key, item in self._items.items())

    @property
    def _seconds(self) -> float:
        return self._clock.monotonic() - self._begun

    async def _complete_defaults(
        self, added: Mapping[str, Mapping[str, str]], add: Callable[[str, Mapping[str, str]], Awaitable[None]]
    ) -> None:
        """Add what targets lack; where that fails, everything that is to be made there is blocked."""
        for target, additions in added.items():
            try:
                await add(target, additions)
            except Exception as error:
                why = str(error)
                if not isinstance(error, StandbyError):
                    log.exception("adding to the defaults of %s failed unexpectedly", target)
                    why = f"unexpected {type(error).__name__}. See the log of this run."
                self._without_defaults[target] = f"The defaults of {target} could not be completed: {why}"

    def _end(self, item: ItemT, status: Status, reason: str = "", attempt: Attempt | None = None) -> None:
        if before := self._results.get(item.key):
            self._counts[before.status] -= 1
        self._results[item.key] = self._result(item, status, reason, attempt)
        self._in_flight.pop(item.key, None)
        self._counts[status] += 1
        self._report()

    async def _drive(self, target: str, ready: list[tuple[int, Key]], ended: asyncio.Queue[Key]) -> None:
        """Make whichever comes first of what is ready for a target: as many wait for a slot as are ready."""
        async with self._slots[target]:
            item = self._items[heapq.heappop(ready)[1]]
            try:
                await self._attempt(item, target)
            finally:
                ended.put_nowait(item.key)

    def _unusable_child(self, item: ItemT) -> str:
        for name, key in self._children(item).items():
            result = self._results.get(key)
            if result is None or result.status not in GOOD:
                end = "was interrupted" if result is None else _ENDS[result.status]
                return f"Its child {name} {end}. Fix that, then run again."
        return ""

    async def _attempt(self, item: ItemT, target: str) -> None:
        attempt = self._attempts[item.key] = Attempt(begun=self._clock.monotonic())
        self._in_flight[item.key] = item
        self._report()
        about = {telemetry.TARGET: target, "standby.analyzer": item.analyzer}
        try:
            with telemetry.span(f"copy to {target}", about):
                try:
                    await self._make(item, attempt)
                except BaseException as error:
                    attempt.error = type(error).__name__
                    raise
        except GuardRefused as error:
            self._end(item, Status.REFUSED, str(error), attempt)
        except StandbyError as error:
            self._end(item, Status.FAILED, str(error), attempt)
        except Exception as error:
            # One analyzer never stops another, whatever happened to it; the trace goes to the log.
            log.exception("%s to %s failed unexpectedly", item.analyzer, target)
            self._end(item, Status.FAILED, f"Unexpected {type(error).__name__}. See the log of this run.", attempt)
        else:
            self._end(item, Status.SUCCEEDED, "", attempt)
        seconds, status = self._clock.monotonic() - attempt.begun, self._results[item.key].status
        telemetry.record(telemetry.COPY_DURATION, seconds, telemetry.under_way().operation, target, status.value)

    def _interrupted(self, item: ItemT) -> ResultT:
        attempt = self._attempts.get(item.key)
        reason = self._interruption(item, attempt) if attempt else "Interrupted before it began. Run again."
        return self._result(item, Status.FAILED, reason, attempt)

    def _report(self) -> None:
        self._on_progress(Progress(len(self._items), len(self._in_flight), tuple(self._counts.items())))


def _ranked(graph: Mapping[Key, Iterable[Key]]) -> dict[Key, int]:
    """Give the order in which what is ready gets a slot: first the longest chain that waits for it, then the plan's."""
    above = dict.fromkeys(graph, 0)
    for key in reversed([*TopologicalSorter(graph).static_order()]):
        for child in graph[key]:
            above[child] = max(above[child], above[key] + 1)
    # Sorting keeps the plan's order among equals.
    return {key: place for place, key in enumerate(sorted(above, key=lambda key: -above[key]))}
