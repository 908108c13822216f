"""What carrying a plan out will take: measured against a run of the same plan."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import CopyDeadlines
from standby.config.resource import Resource
from standby.replication.forecast import LONGEST_COPY, Forecast, forecast, polls_of_copy
from standby.replication.items import PlanItem, ReplicationPlan, Selection
from standby.replication.replicate import begin, survey
from standby.replication.steps import DirectSteps
from standby.replication.verdict import Action, Verdict
from tests.standby.replication.world import START, Service, definition, plan_item, recovery_plan, resource

RESOURCES = {name: resource(name) for name in ("east", "west", "north")}


def expected(*items: PlanItem, resources: dict[str, Resource] | None = None, **added: Any) -> Forecast | None:
    made = ReplicationPlan(recovery_plan(targets=("west", "north")), START, items, added)
    return forecast(made, resources or RESOURCES)


def some(*items: PlanItem, resources: dict[str, Resource] | None = None) -> Forecast:
    found = expected(*items, resources=resources)
    assert found is not None
    return found


def test_a_plan_that_does_nothing_has_no_forecast() -> None:
    assert expected(plan_item("a", verdict=Verdict.IN_SYNC, action=Action.SKIP)) is None
    assert expected() is None


def test_defaults_alone_are_something_to_do() -> None:
    found = expected(plan_item("a", verdict=Verdict.IN_SYNC, action=Action.SKIP), west={"gpt-4.1": "gpt"})
    assert found is not None
    assert found.calls["west"] > found.calls["east"]


def test_what_waits_for_children_takes_longer_than_what_does_not() -> None:
    chain = some(plan_item("a", "b"), plan_item("b"))
    beside = some(plan_item("a"), plan_item("b"))
    assert chain.shortest == pytest.approx(2 * beside.shortest)
    assert chain.calls == beside.calls


def test_fewer_slots_take_longer() -> None:
    narrow = RESOURCES | {"west": resource("west", max_concurrent_copies=1)}
    items = [plan_item(f"n{number}") for number in range(4)]
    assert some(*items, resources=narrow).longest == pytest.approx(4 * some(*items).longest)


def test_targets_are_served_side_by_side() -> None:
    one = some(plan_item("a"))
    assert some(plan_item("a"), plan_item("a", target="north")).longest == one.longest


def test_a_small_quota_sets_the_pace_and_is_used_up() -> None:
    slow = RESOURCES | {"west": resource("west", operations_per_minute=10)}
    items = [plan_item(f"n{number}") for number in range(20)]
    found = some(*items, resources=slow)
    assert found.shortest == pytest.approx(found.calls["west"] / 10 * 60)
    assert found.quota_share["west"] == 1.0
    assert found.quota_share["east"] < 1.0


@given(st.floats(0, 500), st.floats(0.05, 5), st.floats(1, 4))
def test_the_end_of_a_copy_is_known_at_a_question_and_not_before(seconds: float, first: float, factor: float) -> None:
    limits = CopyDeadlines(first_interval=first, longest_interval=first * factor)
    count, moment = polls_of_copy(seconds, limits)
    assert seconds <= moment <= seconds + limits.longest_interval
    assert count >= 1


async def test_an_undisturbed_run_makes_no_more_calls_than_were_forecast(tmp_path: Path) -> None:
    service = Service()
    service.hold("east", definition("top", "leaf"), definition("leaf"), definition("edited"))
    service.hold("west", definition("edited", description="theirs"))
    plan = recovery_plan()
    service.polls = polls_of_copy(LONGEST_COPY, plan.deadlines)[0] - 1
    context = service.context(plan, tmp_path)
    selection = Selection(on_existing="replace")
    found = forecast(await survey(context, selection), RESOURCES)
    assert found is not None
    service.calls.clear()
    async with begin(context, selection, DirectSteps(context)) as replication:
        await replication.run()
        assert replication.report(run_id="r", via="direct").complete
    for client in context.connections.clients.values():
        await client.__aexit__()
    made = Counter(where for where, _, _ in service.calls)
    assert made == found.calls
    assert found.all_calls == made.total()
