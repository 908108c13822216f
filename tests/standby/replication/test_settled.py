"""What a caller settled one by one goes before what a plan would decide: names, what stays, the foreign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from standby.replication.items import PlanItem, Selection
from standby.replication.plan import make_plan
from standby.replication.verdict import Action, CopyRecord, Verdict
from tests.standby.replication.world import START, definition, inventory, labelled, recovery_plan


def planned(
    source: list[dict[str, Any]],
    target: list[dict[str, Any]],
    selection: Selection,
    records: Mapping[str, CopyRecord] | None = None,
    **fields: Any,
) -> dict[str, PlanItem]:
    inventories = {"east": inventory("east", *source), "west": inventory("west", *target)}
    known = {("east", "west"): records or {}}
    made = make_plan(recovery_plan(**fields), selection, inventories, known, START)
    return {item.analyzer: item for item in made.items}


def test_a_name_that_is_given_goes_before_the_template_and_before_references() -> None:
    source = [definition("invoice-dr"), definition("router", "child"), definition("child")]
    names = {"invoice-dr": "invoice", "child": "kid"}

    items = planned(source, [], Selection(names=names), target_id="{id}-x")

    assert {name: item.target_analyzer for name, item in items.items()} == {
        "invoice-dr": "invoice",
        "child": "kid",
        "router": "router-x",
    }
    assert "the copy of that is called kid" in items["router"].reason


def test_a_given_name_means_that_one_and_no_version_of_it() -> None:
    source = [definition("invoice", description="new")]
    target = [definition("invoice"), definition("invoice_v2", description="new")]

    plain = planned(source, target, Selection())["invoice"]
    given = planned(source, target, Selection(names={"invoice": "invoice"}))["invoice"]

    assert (plain.target_analyzer, plain.verdict) == ("invoice_v2", Verdict.IN_SYNC)
    assert (given.target_analyzer, given.verdict) == ("invoice", Verdict.FOREIGN)


def test_what_is_foreign_can_have_a_policy_of_its_own() -> None:
    source, target = [definition("invoice", description="new")], [definition("invoice")]

    both = planned(source, target, Selection(on_existing="replace"))["invoice"]
    apart = planned(source, target, Selection(on_existing="replace", on_foreign="refuse"))["invoice"]

    assert (both.action, apart.action) == (Action.REPLACE, Action.REFUSE)


def test_a_child_that_stays_as_the_target_has_it_holds_up_no_parent() -> None:
    source = [definition("child", description="theirs"), definition("parent", "child")]
    target = [definition("child", description="ours")]

    refused = planned(source, target, Selection())
    kept = planned(source, target, Selection(keep=("child",)))

    assert refused["parent"].verdict is Verdict.BLOCKED
    assert (kept["child"].action, kept["parent"].action) == (Action.SKIP, Action.COPY)


def test_what_stays_is_copied_all_the_same_where_the_target_has_none() -> None:
    assert planned([definition("a")], [], Selection(keep=("a",)))["a"].action is Action.COPY


@pytest.mark.parametrize(
    ("settled", "verdict", "action"),
    [
        ({}, Verdict.IN_SYNC, Action.SKIP),
        ({"keep": ("a",)}, Verdict.TARGET_AHEAD, Action.SKIP),
        ({"force": ("a",)}, Verdict.SOURCE_AHEAD, Action.REPLACE),
    ],
)
def test_one_definition_trained_twice_differs_where_somebody_says_so(
    settled: dict[str, tuple[str, ...]], verdict: Verdict, action: Action
) -> None:
    there = labelled("a", createdAt="2026-01-02T00:00:00Z")

    item = planned([labelled("a")], [there], Selection(**settled))["a"]  # type: ignore[arg-type]
    assert item.found is not None
    known = {"a": CopyRecord(item.expected, item.found, START, "a")}
    recorded = planned([labelled("a")], [there], Selection(**settled), known)["a"]  # type: ignore[arg-type]

    assert (item.verdict, item.action) == (verdict, action)
    assert recorded.action is Action.SKIP
    assert recorded.verdict is Verdict.IN_SYNC
