"""What a forecast says to its reader: exact calls, recorded times, one sentence."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from standby.cli.render import forecast_words
from standby.config.plan import CopyDeadlines, RecoveryPlan, RegionPair
from standby.config.resource import PREVIEW_2025, Resource
from standby.replication.forecast import (
    ANSWER_SECONDS,
    GRANT_SECONDS,
    Forecast,
    forecast,
)
from standby.replication.items import PlanItem, ReplicationPlan
from standby.replication.verdict import Action, Sighting, Verdict

SEEN = Sighting("f", "ready", None, None, trained=False)
DEADLINES = CopyDeadlines(first_interval=1.0, longest_interval=1.0)
"""A copy of 2 s is asked about at 0, 1 and 2 s; one of 5 s at 0, 1, 2, 3, 4 and 5 s."""

FAST = GRANT_SECONDS + 2.0 + ANSWER_SECONDS
SLOW = GRANT_SECONDS + 5.0 + ANSWER_SECONDS


def item(analyzer: str, action: Action = Action.COPY, *needs: str, trained: bool = False) -> PlanItem:
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


def plan(*items: PlanItem, added: dict[str, dict[str, str]] | None = None) -> ReplicationPlan:
    pairs = (RegionPair(source="east", targets=("west",)),)
    recovery_plan = RecoveryPlan(name="p", pairs=pairs, deadlines=DEADLINES)
    return ReplicationPlan(recovery_plan, datetime.now(UTC), items, added or {})


def resources(**limits: object) -> dict[str, Resource]:
    def resource(name: str) -> Resource:
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

    return {name: resource(name) for name in ("east", "west")}


def expected(*items: PlanItem, **limits: object) -> Forecast:
    found = forecast(plan(*items), resources(**limits))
    assert found is not None
    return found


def test_counts_each_call_of_a_copy() -> None:
    calls = expected(item("a")).calls

    # A listing and the defaults at both; the grant at one; copy, six polls and the check at the other.
    assert calls == {"east": 2 + 1, "west": 2 + 1 + 6 + 1}


def test_counts_one_call_more_for_what_is_kept_before_it_is_replaced() -> None:
    assert expected(item("a", Action.REPLACE)).calls["west"] == expected(item("a")).calls["west"] + 1


def test_a_copy_under_way_needs_no_grant_and_no_copy() -> None:
    found = expected(item("a", Action.ADOPT))

    assert found.calls == {"east": 2, "west": 2 + 6 + 1}


def test_counts_no_defaults_in_the_preview_protocol() -> None:
    assert expected(item("a"), api_version=PREVIEW_2025).calls["east"] == 1 + 1


def test_counts_defaults_that_are_added() -> None:
    found = forecast(plan(item("a", Action.SKIP), added={"west": {"m": "d"}}), resources())

    assert found is not None
    assert found.calls == {"east": 2, "west": 2 + 3}


def test_a_copy_takes_as_long_as_recorded_ones_took() -> None:
    found = expected(item("a"))

    assert found.shortest == pytest.approx(FAST)
    assert found.longest == pytest.approx(SLOW)


def test_a_trained_analyzer_may_take_longer() -> None:
    assert expected(item("a", trained=True)).longest == pytest.approx(SLOW + 4.0)


def test_a_child_that_is_there_already_costs_no_time() -> None:
    found = expected(item("a", Action.COPY, "b"), item("b", Action.SKIP))

    assert found.shortest == pytest.approx(FAST)


def test_tells_the_share_of_the_busiest_minute() -> None:
    assert expected(item("a"), operations_per_minute=100).quota_share == {"east": 0.03, "west": 0.1}


def test_many_copies_are_forecast_at_once() -> None:
    found = expected(*(item(f"a{n}") for n in range(3000)), max_concurrent_copies=10)

    assert found.shortest == pytest.approx(300 * FAST)
    assert found.quota_share["west"] < 1.0


@pytest.mark.parametrize(
    ("shortest", "longest", "words"),
    [(2.7, 5.7, "about 3 to 6 s"), (5.0, 5.0, "about 5 s"), (100.0, 700.0, "about 1 to 12 min")],
)
def test_is_told_in_one_sentence(shortest: float, longest: float, words: str) -> None:
    told = forecast_words(Forecast({"east": 3, "west": 10}, {"east": 0.001, "west": 0.034}, shortest, longest))

    assert told == f"At most 13 calls, 4% of the quota per minute of west, {words}."
