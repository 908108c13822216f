"""What carrying a plan out will take: measured against a run of the same plan."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import CopyDeadlines, RecoveryPlan, RegionPair
from standby.config.resource import PREVIEW_2025, Resource
from standby.replication.items import PlanItem, ReplicationPlan, Selection
from standby.replication.pacing import (
    ANSWER_SECONDS,
    GRANT_SECONDS,
    LONGEST_COPY,
    Forecast,
    forecast,
    polls_of_copy,
)
from standby.replication.replicate import begin, survey
from standby.replication.steps import DirectSteps
from standby.replication.verdict import Action, Sighting, Verdict
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
    assert chain.usual == pytest.approx(2 * beside.usual)
    assert chain.calls == beside.calls


def test_fewer_slots_take_longer() -> None:
    narrow = RESOURCES | {"west": resource("west", max_concurrent_copies=1)}
    items = [plan_item(f"n{number}") for number in range(4)]
    assert some(*items, resources=narrow).slow == pytest.approx(4 * some(*items).slow)


def test_targets_are_served_side_by_side() -> None:
    one = some(plan_item("a"))
    assert some(plan_item("a"), plan_item("a", target="north")).slow == one.slow


def test_a_small_quota_sets_the_pace_and_is_used_up() -> None:
    slow = RESOURCES | {"west": resource("west", operations_per_minute=10)}
    items = [plan_item(f"n{number}") for number in range(20)]
    found = some(*items, resources=slow)
    assert found.usual == pytest.approx(found.calls["west"] / 10 * 60)
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


SEEN = Sighting("f", "ready", None, None, trained=False)
DEADLINES = CopyDeadlines(first_interval=1.0, longest_interval=1.0)
"""A copy of 2 s is asked about at 1 and 2 s; one of 5 s at 1, 2, 3, 4 and 5 s."""

FAST = GRANT_SECONDS + 2.0 + ANSWER_SECONDS
SLOW = GRANT_SECONDS + 5.0 + ANSWER_SECONDS


def item_of(analyzer: str, action: Action = Action.COPY, *needs: str, trained: bool = False) -> PlanItem:
    return PlanItem(
        source="east",
        target="west",
        analyzer=analyzer,
        target_analyzer=analyzer,
        verdict=Verdict.MISSING,
        action=action,
        reason="",
        needs=needs,
        models=(),
        expected=replace(SEEN, trained=trained),
        found=None,
    )


def plan_of(*items: PlanItem, added: dict[str, dict[str, str]] | None = None) -> ReplicationPlan:
    pairs = (RegionPair(source="east", targets=("west",)),)
    recovery_plan = RecoveryPlan(name="p", pairs=pairs, deadlines=DEADLINES)
    return ReplicationPlan(recovery_plan, datetime.now(UTC), items, added or {})


def limited(**limits: object) -> dict[str, Resource]:
    def made(name: str) -> Resource:
        return Resource.model_validate(
            {
                "name": name,
                "endpoint": f"https://{name}.services.ai.azure.com",
                "region": "eastus",
                "resource_id": "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices"
                f"/accounts/{name}",
                "credentials": {"kind": "entra"},
                **limits,
            }
        )

    return {name: made(name) for name in ("east", "west")}


def forecast_of(*items: PlanItem, **limits: object) -> Forecast:
    found = forecast(plan_of(*items), limited(**limits))
    assert found is not None
    return found


def test_counts_each_call_of_a_copy() -> None:
    calls = forecast_of(item_of("a")).calls

    # A listing and the defaults at both; the grant at one; copy, five polls and a last listing at the other.
    assert calls == {"east": 2 + 1, "west": 2 + 1 + 6}


def test_counts_two_calls_more_for_what_is_kept_before_it_is_replaced_and_read_back() -> None:
    assert forecast_of(item_of("a", Action.REPLACE)).calls["west"] == forecast_of(item_of("a")).calls["west"] + 2


def test_a_copy_under_way_needs_no_grant_and_no_copy() -> None:
    found = forecast_of(item_of("a", Action.ADOPT))

    assert found.calls == {"east": 2, "west": 2 + 6}


def test_counts_no_defaults_in_the_preview_protocol() -> None:
    assert forecast_of(item_of("a"), api_version=PREVIEW_2025).calls["east"] == 1 + 1


def test_counts_defaults_that_are_added() -> None:
    found = forecast(plan_of(item_of("a", Action.SKIP), added={"west": {"m": "d"}}), limited())

    assert found is not None
    assert found.calls == {"east": 2, "west": 2 + 3}


def test_a_copy_takes_as_long_as_recorded_ones_took() -> None:
    found = forecast_of(item_of("a"))

    assert found.usual == pytest.approx(FAST)
    assert found.slow == pytest.approx(SLOW)


def test_a_trained_analyzer_may_take_longer() -> None:
    assert forecast_of(item_of("a", trained=True)).slow == pytest.approx(SLOW + 4.0)


def test_a_child_that_is_there_already_costs_no_time() -> None:
    found = forecast_of(item_of("a", Action.COPY, "b"), item_of("b", Action.SKIP))

    assert found.usual == pytest.approx(FAST)


def test_tells_the_share_of_the_busiest_minute() -> None:
    assert forecast_of(item_of("a"), operations_per_minute=100).quota_share == {"east": 0.03, "west": 0.09}


def test_many_copies_are_forecast_at_once() -> None:
    found = forecast_of(*(item_of(f"a{n}") for n in range(3000)), max_concurrent_copies=10)

    assert found.usual == pytest.approx(300 * FAST)
    assert found.quota_share["west"] < 1.0


@pytest.mark.parametrize(
    ("usual", "slow", "words"),
    [
        (2.7, 5.7, "about 3 to 6 s"),
        (5.0, 5.0, "about 5 s"),
        (100.0, 700.0, "about 1 to 12 min"),
    ],
)
def test_is_told_in_one_sentence(usual: float, slow: float, words: str) -> None:
    found = Forecast({"east": 3, "west": 10}, {"east": 0.001, "west": 0.034}, usual, slow)

    unmeasured = f"{words} by recordings of the service; no copy was measured yet"
    assert found.summary == f"At most 13 calls, 4% of the quota per minute of west, {unmeasured}."
