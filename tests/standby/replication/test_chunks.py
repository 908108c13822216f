"""A large plan is cut into parts that can be done apart."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from standby.config.plan import RecoveryPlan
from standby.replication.chunks import Chunk, cut, hold_to, records_for
from standby.replication.items import PlanItem, ReplicationPlan, part
from standby.replication.verdict import ACTING, Action, Verdict
from tests.standby.replication.world import plan_item, record, sighting

IN_SYNC = {"verdict": Verdict.IN_SYNC, "action": Action.SKIP}


@st.composite
def graphs(draw: st.DrawFn) -> list[PlanItem]:
    """Items of up to two targets; each may need some that come before it, and may have nothing to do."""
    items: list[PlanItem] = []
    for target in draw(st.sampled_from([("west",), ("west", "north")])):
        for number in range(draw(st.integers(0, 60))):
            needs = draw(st.sets(st.integers(0, max(number - 1, 0)), max_size=2)) if number else set()
            idle = draw(st.booleans()) and draw(st.booleans())
            items.append(
                plan_item(
                    f"a{number:02}",
                    *(f"a{child:02}" for child in sorted(needs)),
                    target=target,
                    **(IN_SYNC if idle else {}),
                )
            )
    return items


def recovery(items: list[PlanItem]) -> ReplicationPlan:
    plan = RecoveryPlan.model_validate({"name": "p", "pairs": [{"source": "east", "targets": ["west", "north"]}]})
    return ReplicationPlan(plan, datetime(2026, 1, 1, tzinfo=UTC), tuple(items), {})


def together(chunk: Chunk, items: list[PlanItem]) -> bool:
    """Whether everything in a chunk hangs together, so that it could not be cut smaller."""
    own = {item.analyzer: item for item in items if item.key in chunk.keys}
    reached = {chunk.analyzers[0]}
    while True:
        more = {
            name for name, item in own.items() for other in reached if other in item.needs or name in own[other].needs
        }
        if more <= reached:
            return reached == own.keys()
        reached |= more


@given(graphs(), st.integers(1, 20))
def test_everything_to_do_is_in_exactly_one_chunk(items: list[PlanItem], most: int) -> None:
    counted = Counter(key for chunk in cut(items, most) for key in chunk.keys)
    assert counted == {item.key: 1 for item in items if item.action in ACTING}


@given(graphs(), st.integers(1, 20))
def test_what_an_analyzer_needs_is_in_its_chunk_or_has_nothing_to_do(items: list[PlanItem], most: int) -> None:
    acting = {item.key: item for item in items if item.action in ACTING}
    for chunk in cut(items, most):
        for key in chunk.keys:
            needed = {(key[0], key[1], child) for child in acting[key].needs}
            assert needed & acting.keys() <= set(chunk.keys)


@given(graphs(), st.integers(1, 20))
def test_a_chunk_is_too_large_only_where_it_hangs_together(items: list[PlanItem], most: int) -> None:
    for chunk in cut(items, most):
        assert len(chunk.analyzers) <= most or together(chunk, items)


@given(graphs(), st.integers(1, 20))
def test_a_part_needs_nothing_outside_of_itself(items: list[PlanItem], most: int) -> None:
    plan = recovery(items)
    for chunk in cut(items, most):
        made = part(plan, chunk.keys)
        assert {item.key for item in made.items} == set(chunk.keys)
        assert all(child in chunk.analyzers for item in made.items for child in item.needs)


def test_the_pairs_take_turns() -> None:
    items = [plan_item(name, target=target) for target in ("west", "north") for name in ("a", "b", "c")]
    assert [chunk.target for chunk in cut(items, 1)] == ["west", "north"] * 3


def test_a_plan_with_nothing_to_do_has_no_chunks() -> None:
    assert cut([plan_item("a", **IN_SYNC)]) == ()


def test_a_chunk_takes_the_records_of_what_it_needs_along() -> None:
    items = [
        plan_item("parent", "child", target_analyzer="parent-dr"),
        plan_item("child", "grandchild", **IN_SYNC),
        plan_item("grandchild", **IN_SYNC),
        plan_item("other"),
    ]
    known = {name: record(sighting(name), sighting(name)) for name in ("parent-dr", "grandchild", "other", "gone")}
    chunk = Chunk("east", "west", ("parent",))
    assert records_for(chunk, items, known).keys() == {"parent-dr", "grandchild"}


def test_what_was_edited_since_it_was_approved_is_refused() -> None:
    plan = recovery([plan_item("same"), plan_item("edited"), plan_item("unjudged")])
    held = hold_to(plan, {"same": "same", "edited": "another"})
    assert [item.action for item in held.items] == [Action.COPY, Action.REFUSE, Action.COPY]
    assert "edited at east since the plan was approved" in held.items[1].reason
