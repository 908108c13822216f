"""Forecasts against runs of the real engine, in virtual time: within a fifth of what is then measured."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest

from standby.recovery.runs import Durations, Kind, Restoring, forecast_rto
from standby.replication.engine import Attempt, Engine
from standby.replication.items import Key, PlanItem, ReplicationPlan, Status
from standby.replication.pacing import forecast
from standby.replication.report import ReportItem, end_of
from tests.standby.recovery.decision.virtual_time import LoopClock, run_in_no_time
from tests.standby.recovery.readiness.facts_at_hand import a_plan
from tests.standby.replication.world import START, plan_item, recovery_plan, resource

CASES = [(number, depth, slots) for number in (5, 10, 20, 50, 100) for depth, slots in ((1, 10), (3, 10), (1, 4))]


class Building(Engine[PlanItem, ReportItem]):
    """The engine that replicates and restores, over a service that takes as long as it is told."""

    def __init__(self, items: list[PlanItem], slots: int, service: random.Random) -> None:
        super().__init__(
            items,
            target=lambda item: item.target,
            slots={"west": asyncio.Semaphore(slots)},
            clock=LoopClock(),
            on_progress=lambda _: None,
        )
        self._service = service

    @property
    def seconds(self) -> float:
        return self._seconds

    async def _prepare(self) -> None:
        pass

    def _children(self, item: PlanItem) -> Mapping[str, Key]:
        return {child: (item.source, item.target, child) for child in item.needs}

    async def _make(self, _item: PlanItem, _attempt: Attempt) -> None:
        # Most take 2 to 5 s, as was recorded of the service, and some twice as long.
        seconds = self._service.uniform(2, 5) * (2 if self._service.random() < 0.1 else 1)
        await asyncio.sleep(seconds)

    def _interruption(self, _item: PlanItem, _attempt: Attempt) -> str:
        return "Interrupted."

    def _result(self, item: PlanItem, status: Status, reason: str, attempt: Attempt | None) -> ReportItem:
        seconds = self._clock.monotonic() - attempt.begun if attempt else 0.0
        return end_of(item, status, reason, seconds=seconds)


def chains(number: int, depth: int) -> list[PlanItem]:
    """So many analyzers, of which each refers to the one before up to a depth."""
    return [
        plan_item(f"a{each:03}", *([f"a{each - 1:03}"] if each % depth else []), target_analyzer=f"a{each:03}")
        for each in range(number)
    ]


def measured(number: int, depth: int, slots: int, service: random.Random) -> tuple[float, tuple[float, ...]]:
    """Do a run; give how long it took, and each of its analyzers."""

    async def work() -> tuple[float, tuple[float, ...]]:
        engine = Building(chains(number, depth), slots, service)
        await engine.run()
        return engine.seconds, tuple(result.seconds for result in engine.results())

    return run_in_no_time(work())


def replication(number: int, depth: int, slots: int, known: tuple[float, ...]) -> float:
    plan = ReplicationPlan(recovery_plan(), START, tuple(chains(number, depth)), {})
    resources = {name: resource(name, max_concurrent_copies=slots) for name in ("east", "west")}
    found = forecast(plan, resources, known)
    assert found is not None
    assert found.usual <= found.slow
    return found.usual


def failover(number: int, depth: int, slots: int, known: tuple[float, ...]) -> float:
    """The restores of a failover, since what else it takes does not depend on how many there are."""
    needs = {item.analyzer: item.needs for item in chains(number, depth)}
    durations = Durations(seconds={Kind.DETECT: (0.0,), Kind.ACTIVATE: (0.0,), Kind.RESTORE: known})
    found = forecast_rto(a_plan(), durations, Restoring(needs=needs, slots=slots))
    assert found.median is not None
    assert found.high is not None
    assert found.median <= found.high
    return found.median


@pytest.mark.parametrize("forecaster", [replication, failover])
def test_a_forecast_is_within_a_fifth_of_what_is_measured_in_four_of_five_cases(forecaster: Any) -> None:
    service = random.Random(11)
    # What is known is of two runs of another size.
    known = (*measured(12, 1, 10, service)[1], *measured(30, 2, 10, service)[1])
    errors = {case: forecaster(*case, known) / measured(*case, service)[0] - 1 for case in CASES}
    within = [case for case, error in errors.items() if abs(error) <= 0.2]
    assert len(within) >= 0.8 * len(CASES), errors


def test_a_forecast_grows_with_the_number_the_depth_and_fewer_slots() -> None:
    known = (2.0, 3.0, 3.0, 4.0, 9.0)
    for forecaster in (replication, failover):
        assert forecaster(20, 1, 10, known) < forecaster(60, 1, 10, known) < forecaster(100, 1, 10, known)
        assert forecaster(12, 1, 12, known) < forecaster(12, 3, 12, known) < forecaster(12, 6, 12, known)
        assert forecaster(20, 1, 20, known) < forecaster(20, 1, 5, known) < forecaster(20, 1, 1, known)
