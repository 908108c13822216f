"""A plan that was signed off is done exactly as it says, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from standby.replication.errors import PlanMoved, PlanUnreadable
from standby.replication.items import PlanItem, ReplicationPlan, Selection
from standby.replication.saved_plan import MOST_NAMED, SavedPlan, load_plan, refuse_if_moved, save_plan
from standby.replication.verdict import Action, Verdict
from tests.standby.replication.world import START, plan_item, recovery_plan, sighting

ITEM = plan_item("a", "b", found=sighting("old"), verdict=Verdict.SOURCE_AHEAD, action=Action.REPLACE)
CHILD = plan_item("b")


def plan(*items: PlanItem, added: Mapping[str, Mapping[str, str]] | None = None) -> ReplicationPlan:
    return ReplicationPlan(recovery_plan(), START, items, added or {})


def saved(path: Path, made: ReplicationPlan, selection: Selection | None = None) -> SavedPlan:
    save_plan(path, made, selection or Selection())
    return load_plan(path, "invoices")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "plan.json"


def test_a_plan_comes_back_with_all_it_was_decided_from(path: Path) -> None:
    selection = Selection(("a", "b*"), ("west",), "replace")
    loaded = saved(path, plan(ITEM, CHILD, added={"west": {"gpt-4.1": "gpt"}}), selection)
    assert loaded.selection == selection
    assert loaded.made_at == START
    assert loaded.added_defaults == {"west": {"gpt-4.1": "gpt"}}
    first, second = loaded.items
    assert (first.key, first.verdict, first.action) == (ITEM.key, Verdict.SOURCE_AHEAD, Action.REPLACE)
    assert (first.expected, first.found, first.needs) == (ITEM.expected, ITEM.found, ("b",))
    assert second.found is None


def test_a_file_has_only_what_was_approved_and_its_grounds(path: Path) -> None:
    save_plan(path, plan(ITEM), Selection())
    [item] = json.loads(path.read_text(encoding="utf-8"))["items"]
    assert list(item) == [
        *("source", "target", "analyzer", "target_analyzer", "verdict", "action", "reason"),
        *("needs", "expected", "found"),
    ]


def test_a_policy_that_was_not_asked_for_is_saved_as_the_plans_of_that_day(path: Path) -> None:
    made = replace(plan(CHILD), recovery_plan=recovery_plan(on_existing="version"))
    assert saved(path, made).selection.on_existing == "version"


def test_the_same_world_is_not_refused(path: Path) -> None:
    made = plan(ITEM, CHILD, added={"west": {"gpt-4.1": "gpt"}})
    refuse_if_moved(saved(path, made), replace(made, made_at=START.replace(year=2027)))


def moved(path: Path, then: ReplicationPlan, now: ReplicationPlan) -> list[str]:
    with pytest.raises(PlanMoved, match="Make a new plan") as caught:
        refuse_if_moved(saved(path, then), now)
    assert "2026-01-02 03:04:05 UTC" in str(caught.value)
    assert all(change in str(caught.value) for change in caught.value.moved)
    return list(caught.value.moved)


def source(**fields: Any) -> Callable[[PlanItem], PlanItem]:
    return lambda item: replace(item, expected=replace(item.expected, **fields))


def target(**fields: Any) -> Callable[[PlanItem], PlanItem]:
    return lambda item: replace(item, found=sighting("old", **fields))


LATER = START.replace(year=2027)
CHANGES = {
    "was edited at the source": source(fingerprint="new"),
    "was deleted and created again at the source": source(created_at=LATER, changed_at=LATER),
    "was changed at the source, with the same definition": source(changed_at=LATER),
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_source_that_moved_is_named(path: Path, words: str) -> None:
    assert moved(path, plan(ITEM, CHILD), plan(CHANGES[words](ITEM), CHILD)) == [f"a (east → west) {words}"]


@pytest.mark.parametrize(
    "change",
    [
        target(created_at=LATER),
        target(changed_at=LATER),
        target(status="failed"),
        lambda item: replace(item, found=sighting("edited")),
        lambda item: replace(item, found=None),
    ],
    ids=["made again", "touched", "failed", "edited", "gone"],
)
def test_a_target_that_moved_is_named(path: Path, change: Callable[[PlanItem], PlanItem]) -> None:
    told = moved(path, plan(ITEM, CHILD), plan(change(ITEM), CHILD))
    assert told == ["a (east → west) changed at the target"]


def test_analyzers_that_came_and_went_are_named(path: Path) -> None:
    assert moved(path, plan(ITEM), plan(CHILD)) == ["a (east → west) is gone", "b (east → west) is new"]


@pytest.mark.parametrize(
    "other",
    [
        replace(ITEM, action=Action.REFUSE, reason="Its child c is blocked."),
        replace(ITEM, target_analyzer="a_v2"),
        replace(ITEM, needs=("b", "c")),
    ],
    ids=["action", "name", "children"],
)
def test_another_deed_from_the_same_two_analyzers_is_named_with_its_reason(path: Path, other: PlanItem) -> None:
    (told,) = moved(path, plan(ITEM, CHILD), plan(other, CHILD))
    assert told == f"a (east → west) would be {other.action} now, not replace: {other.reason}"


@pytest.mark.parametrize("now", [{}, {"west": {"gpt-4.1": "other"}}, {"north": {"gpt-4.1": "gpt"}}])
def test_other_defaults_to_add_are_named_by_target(path: Path, now: dict[str, dict[str, str]]) -> None:
    told = moved(path, plan(CHILD, added={"west": {"gpt-4.1": "gpt"}}), plan(CHILD, added=now))
    assert "other defaults would be added at west now" in told
    assert len(told) == len(now.keys() | {"west"})


def test_of_many_changes_some_are_named_and_the_rest_is_counted(path: Path) -> None:
    many = [plan_item(f"n{number:03}") for number in range(MOST_NAMED + 5)]
    told = moved(path, plan(), plan(*many))
    assert len(told) == MOST_NAMED + 1
    assert told[-1] == "and 5 more"


# Files.


def test_a_missing_file_is_unreadable(path: Path) -> None:
    with pytest.raises(PlanUnreadable, match=r"cannot be read: No such file.*standby plan --out"):
        load_plan(path, "invoices")


def test_a_plan_of_another_name_is_refused(path: Path) -> None:
    save_plan(path, plan(CHILD), Selection())
    with pytest.raises(PlanUnreadable, match="is a plan of invoices, not of receipts"):
        load_plan(path, "receipts")


def edited(**fields: Any) -> Callable[[str], bytes]:
    return lambda text: json.dumps({**json.loads(text), **fields}).encode()


def with_item(text: str) -> bytes:
    saved_now = json.loads(text)
    return json.dumps({**saved_now, "items": [{**saved_now["items"][0], "surprise": 1}]}).encode()


@pytest.mark.parametrize(
    "damage",
    [
        with_item,
        lambda text: text[: len(text) // 2].encode(),
        lambda _: b"",
        lambda _: b"\xff\xfe\x00",
        lambda _: b"[]",
        edited(format=2),
        edited(surprise=1),
        edited(items=[{"source": "east"}]),
        edited(on_existing="destroy"),
    ],
    ids=["item", "half", "empty", "binary", "list", "format", "more", "less", "policy"],
)
def test_a_damaged_file_is_unreadable_and_nothing_of_it_is_used(path: Path, damage: Callable[[str], bytes]) -> None:
    save_plan(path, plan(ITEM), Selection())
    path.write_bytes(damage(path.read_text(encoding="utf-8")))
    with pytest.raises(PlanUnreadable, match="is not a saved plan of this version"):
        load_plan(path, "invoices")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(PlanUnreadable, match="cannot be written"):
        save_plan(tmp_path / "no" / "folder" / "plan.json", plan(CHILD), Selection())


def test_a_saved_plan_replaces_the_old_one_as_a_whole(path: Path) -> None:
    save_plan(path, plan(ITEM, CHILD), Selection())
    save_plan(path, plan(CHILD), Selection())
    assert len(load_plan(path, "invoices").items) == 1
    assert [found.name for found in path.parent.iterdir()] == [path.name]
