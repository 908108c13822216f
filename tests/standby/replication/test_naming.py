"""What copies are called: the plan's template, versions, and what other analyzers refer to."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from standby.replication.items import PlanItem, Selection
from standby.replication.plan import make_plan
from standby.replication.verdict import Action, Verdict
from tests.standby.replication.world import START, definition, inventory, recovery_plan


def planned(source: list[dict[str, Any]], target: list[dict[str, Any]], **fields: Any) -> dict[str, PlanItem]:
    inventories = {"east": inventory("east", *source), "west": inventory("west", *target)}
    plan = make_plan(recovery_plan(**fields), Selection(), inventories, {}, START)
    return {item.analyzer: item for item in plan.items}


def test_copies_are_called_as_the_template_says() -> None:
    items = planned([definition("invoice")], [], target_id="dr.{id}-west")
    assert (items["invoice"].action, items["invoice"].target_analyzer) == (Action.COPY, "dr.invoice-west")


def test_what_others_refer_to_keeps_its_name_and_its_parent_does_not() -> None:
    items = planned([definition("router", "invoice"), definition("invoice")], [], target_id="{id}-dr")
    assert {name: item.target_analyzer for name, item in items.items()} == {
        "router": "router-dr",
        "invoice": "invoice",
    }
    assert {item.action for item in items.values()} == {Action.COPY}


def test_a_renamed_copy_is_recognized_under_its_name() -> None:
    copy = definition("invoice-dr", description="what invoice is")
    items = planned([definition("invoice")], [copy], target_id="{id}-dr")
    assert (items["invoice"].verdict, items["invoice"].action) == (Verdict.IN_SYNC, Action.SKIP)


def test_a_version_is_a_version_of_the_copys_name() -> None:
    items = planned(
        [definition("invoice")],
        [definition("invoice-dr", description="another")],
        target_id="{id}-dr",
        on_existing="version",
    )
    assert items["invoice"].target_analyzer == "invoice-dr_v2"


def test_two_analyzers_never_get_one_name_and_the_one_that_keeps_its_id_goes_first() -> None:
    source = [definition("a"), definition("a-dr"), definition("router", "a-dr")]
    items = planned(source, [], target_id="{id}-dr")
    assert items["a-dr"].action is Action.COPY
    assert items["a"].verdict is Verdict.BLOCKED
    assert "would be called a-dr, as that of a-dr is" in items["a"].reason


def test_a_name_that_gets_too_long_is_refused() -> None:
    items = planned([definition("x" * 60)], [], target_id="standby-{id}")
    assert items["x" * 60].action is Action.REFUSE
    assert "too long for an id" in items["x" * 60].reason


@pytest.mark.parametrize("template", ["copy", "{id}{id}", "{ID}", "{id}/x", ""])
def test_a_template_that_makes_no_id_of_its_own_is_refused(template: str) -> None:
    with pytest.raises(ValidationError):
        recovery_plan(target_id=template)
