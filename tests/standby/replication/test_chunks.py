"""A large plan is cut into parts that can be done apart, which share limits and add up to one progress."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.config.configuration import Configuration
from standby.config.globs import scope_of
from standby.config.plan import RecoveryPlan
from standby.fencing import Fenced
from standby.replication.chunks import (
    Chunk,
    ChunkReport,
    ChunkRequest,
    Tally,
    begin_chunk,
    cut,
    hold_to,
    records_for,
    spread,
    with_shares,
)
from standby.replication.items import PlanItem, Progress, ReplicationPlan, Status, part
from standby.replication.ledger import Ledger
from standby.replication.pacing import Kind
from standby.replication.steps import DirectSteps
from standby.replication.verdict import ACTING, Action, Verdict
from tests.standby.recovery.failback.world import World
from tests.standby.replication.world import plan_item, record, recovery_plan, sighting

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


ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/"
NAMES = ("east", "west", "north", "south")


def configuration(copies: int = 10, operations: int = 3000) -> Configuration:
    return Configuration.model_validate(
        {
            "resources": {
                name: {
                    "endpoint": f"https://{name}.services.ai.azure.com",
                    "region": name,
                    "resource_id": f"{ID}{name}",
                    "credentials": {"kind": "key", "key": "k"},
                    "max_concurrent_copies": copies,
                    "operations_per_minute": operations,
                }
                for name in NAMES
            },
            "plans": {"p": {"pairs": [{"source": "east", "targets": ["west"]}]}},
        }
    )


def chunks(*pairs: tuple[str, str]) -> list[Chunk]:
    return [Chunk(source, target, (f"a{number}",)) for number, (source, target) in enumerate(pairs)]


def test_two_targets_have_half_of_the_chunks_each_and_the_source_has_all() -> None:
    made = chunks(*[("east", "west"), ("east", "north")] * 6)
    sharing = spread(made, 4, configuration())
    assert sharing.at_target == {"west": 2, "north": 2}
    assert sharing.shares(made[0]) == {"east": 4, "west": 2}
    shared = with_shares(configuration(), sharing.shares(made[0])).resources
    assert (shared["west"].max_concurrent_copies, shared["west"].operations_per_minute) == (5, 1500)
    assert shared["east"].operations_per_minute == 750
    assert shared["north"] == configuration().resources["north"]


def test_a_target_that_takes_one_copy_at_a_time_has_one_chunk_at_a_time() -> None:
    sharing = spread(chunks(*[("east", "west")] * 3), 4, configuration(copies=1))
    assert sharing.at_target == {"west": 1}


@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] != pair[1]),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 6),
    st.integers(1, 12),
    st.integers(20, 3000),
)
def test_whatever_runs_at_once_stays_within_every_limit(
    pairs: list[tuple[str, str]], at_once: int, copies: int, operations: int
) -> None:
    plain = configuration(copies, operations)
    made = chunks(*pairs)
    sharing = spread(made, at_once, plain)
    # The busiest moment there can be: as many chunks as the two bounds let in, in any order.
    for order in (made, made[::-1], sorted(made, key=lambda chunk: chunk.source)):
        running: list[Chunk] = []
        for chunk in order:
            there = sum(other.target == chunk.target for other in running)
            if len(running) < at_once and there < sharing.at_target[chunk.target]:
                running.append(chunk)
        for name in NAMES:
            shares = [with_shares(plain, sharing.shares(chunk)).resources[name] for chunk in running]
            busy = [share for share, chunk in zip(shares, running, strict=True) if name in (chunk.source, chunk.target)]
            into = [share for share, chunk in zip(shares, running, strict=True) if name == chunk.target]
            assert sum(share.max_concurrent_copies for share in into) <= copies
            assert sum(share.operations_per_minute for share in busy) <= operations


def test_the_whole_is_told_after_every_change_of_a_part() -> None:
    told: list[Progress] = []
    tally = Tally(5, told.append)
    first, second = tally.part(), tally.part()
    first(Progress(2, 1, ((Status.SUCCEEDED, 1),)))
    second(Progress(3, 3, ()))
    first(Progress(2, 0, ((Status.SUCCEEDED, 1), (Status.FAILED, 1))))
    assert [(progress.total, progress.in_flight, progress.done) for progress in told] == [
        (5, 1, 1),
        (5, 4, 1),
        (5, 3, 2),
    ]
    assert dict(told[-1].ended)[Status.FAILED] == 1


async def test_a_chunk_that_outlived_its_sender_writes_nothing_over_the_side_that_serves() -> None:
    world = World()
    world.create("east", "invoice")
    request = ChunkRequest(Chunk("east", "west", ("invoice",)), on_existing="replace", force=("invoice",))
    async with world.context() as context:
        await begin_chunk(context.run, request, DirectSteps(context.run), Ledger("", held=True), lambda _: None)
        await world.serve_at("west")
        with pytest.raises(Fenced, match="failed over to west"):
            await begin_chunk(context.run, request, DirectSteps(context.run), Ledger("", held=True), lambda _: None)


async def test_a_chunk_knows_what_copies_took_and_tells_what_its_own_took() -> None:
    world = World()
    world.create("east", "invoice")
    request = ChunkRequest(Chunk("east", "west", ("invoice",)))
    async with world.context() as context:
        async with context.run.write_ledger("east", "west") as ledger:
            ledger.took["copy"] = [(2.5, 2.75)]
            ledger.record({"other": record(sighting(), sighting())})
        ledger_of_chunk = Ledger("", held=True)
        run = await begin_chunk(context.run, request, DirectSteps(context.run), ledger_of_chunk, lambda _: None)
        assert context.run.experience.of("east", "west", Kind.COPY).seen == [(2.5, 2.75)]
        await run.run()
    told = ChunkReport(items=(), records={}, took=ledger_of_chunk.took)
    assert len(ChunkReport.model_validate_json(told.model_dump_json()).took["copy"]) == 2
    assert ChunkReport.model_validate_json('{"items": [], "records": {}}').took == {}


async def test_a_chunk_leaves_alone_what_serves_elsewhere_for_another_plan_by_then() -> None:
    world = World()
    for name in ("invoice", "receipt"):
        world.create("east", name)
    other = World(recovery_plan(name="other", include=["inv*"]), world.service, world.vault)
    request = ChunkRequest(Chunk("east", "west", ("invoice", "receipt")))
    await other.serve_at("west", scope=scope_of(other.plan, {"west": {"invoice": "invoice"}}))
    async with world.context() as context:
        run = await begin_chunk(context.run, request, DirectSteps(context.run), Ledger("", held=True), lambda _: None)
        await run.run()
        report = run.report(run_id="chunk", via="prefect")
    assert {item.analyzer: item.status for item in report.items} == {
        "invoice": Status.REFUSED,
        "receipt": Status.SUCCEEDED,
    }
    assert "other" in report.items[0].reason
