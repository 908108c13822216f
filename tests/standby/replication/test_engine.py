"""How a run drives its graph: order, slots, failures, grants, interruptions."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standby.replication.engine import Receipt
from standby.replication.errors import CopyDiffers, ReplicationError
from standby.replication.items import GOOD, PlanItem, Progress, ReplicationPlan, Status
from standby.replication.ledger import write_ledger
from standby.replication.replicate import GRANT_WAIT, GRANTS, Replication
from standby.replication.report import ReportItem
from standby.replication.steps import ADOPTED, Verified
from standby.replication.verdict import Action, Verdict
from standby.service.errors import GrantVoid
from standby.service.models import Analyzer
from standby.service.protocols import CopyAuthorization
from standby.vault.folder import LocalFolder
from tests.patience import PATIENCE
from tests.standby.replication.world import (
    RELEASED,
    START,
    FakeClock,
    plan_item,
    record,
    recorded,
    recovery_plan,
    resource,
    sighting,
)

Hook = Callable[[str, PlanItem], Awaitable[None] | None]


@dataclass
class FakeSteps:
    """Steps that do nothing but note what was asked, in order; a hook may wait, count or raise."""

    hook: Hook = lambda _step, _item: None
    done: list[tuple[str, str]] = field(default_factory=list)
    defaults: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    defaults_error: BaseException | None = None
    copied: dict[str, dict[str, datetime | None]] = field(default_factory=dict)

    async def add_defaults(self, target: str, additions: Mapping[str, str]) -> None:
        await asyncio.sleep(0)
        if self.defaults_error is not None:
            raise self.defaults_error
        self.defaults.append((target, dict(additions)))

    async def note_begun(self, item: PlanItem, begun_at: datetime) -> None:
        await asyncio.sleep(0)

    async def authorize(self, item: PlanItem) -> CopyAuthorization:
        await self._step("authorize", item)
        return CopyAuthorization(resource(item.source), item.analyzer, item.target_analyzer, None)

    async def validate_deployments(self, item: PlanItem) -> tuple[str, ...]:
        await self._step("validate", item)
        return (f"models of {item.analyzer}",)

    async def copy(self, item: PlanItem, authorization: CopyAuthorization) -> Receipt:
        await self._step("copy", item)
        return Receipt("https://west/op", f"op-{item.analyzer}", ("service says",), attempts=1)

    async def poll(self, item: PlanItem, receipt: Receipt) -> Analyzer | None:
        await self._step("adopt" if receipt == ADOPTED else "poll", item)
        return None

    async def verify(self, item: PlanItem, found: Analyzer | None) -> Verified:
        await self._step("verify", item)
        self.copied.setdefault(item.target, {})[item.target_analyzer] = item.expected.created_at
        return Verified(item.expected, item.expected)

    async def shown(self, target: str) -> Mapping[str, datetime | None]:
        return self.copied[target]

    async def _step(self, step: str, item: PlanItem) -> None:
        self.done.append((step, item.analyzer))
        await asyncio.sleep(0)
        waiting = self.hook(step, item)
        if waiting is not None:
            await waiting


def raising(errors: Mapping[tuple[str, str], BaseException]) -> Hook:
    def hook(step: str, item: PlanItem) -> None:
        if (step, item.analyzer) in errors:
            raise errors[step, item.analyzer]

    return hook


FAILED = ReplicationError("It broke", "Mend it")


@dataclass
class Run:
    """A run over fake steps."""

    replication: Replication
    steps: FakeSteps
    clock: FakeClock
    vault: Path
    progress: list[Progress]

    @property
    def ended(self) -> dict[str, ReportItem]:
        return {result.analyzer: result for result in self.replication.results()}

    @property
    def statuses(self) -> dict[str, Status]:
        return {name: result.status for name, result in self.ended.items()}


@asynccontextmanager
async def prepared(
    items: Sequence[PlanItem],
    hook: Hook = lambda _step, _item: None,
    *,
    slots: int = 10,
    added: Mapping[str, Mapping[str, str]] | None = None,
    vault: Path | None = None,
    steps: FakeSteps | None = None,
) -> AsyncIterator[Run]:
    clock, steps, progress = FakeClock(), steps or FakeSteps(hook), list[Progress]()
    pairs = sorted({(item.source, item.target) for item in items})
    async with AsyncExitStack() as stack:
        folder = vault or Path(stack.enter_context(TemporaryDirectory()))
        replication = Replication(
            ReplicationPlan(recovery_plan(targets=("west", "north")), START, tuple(items), added or {}),
            steps,
            ledgers={
                pair: await stack.enter_async_context(write_ledger(LocalFolder(folder), *pair, RELEASED))
                for pair in pairs
            },
            slots={target: asyncio.Semaphore(slots) for _, target in pairs},
            clock=clock,
            on_progress=progress.append,
        )
        yield Run(replication, steps, clock, folder, progress)


async def test_one_copy_is_authorized_validated_copied_polled_and_verified_in_this_order() -> None:
    async with prepared([plan_item("a")]) as run:
        await run.replication.run()
        assert [step for step, _ in run.steps.done] == ["authorize", "validate", "copy", "poll", "verify"]
        result = run.ended["a"]
        assert (result.status, result.operation_id, result.attempts) == (Status.SUCCEEDED, "op-a", 1)
        assert result.warnings == ("models of a", "service says")


async def test_a_copy_that_fails_after_it_began_tells_its_warnings_all_the_same() -> None:
    """One of them says where what it replaced is kept."""
    async with prepared([plan_item("a")], raising({("poll", "a"): FAILED})) as run:
        await run.replication.run()
        assert run.statuses == {"a": Status.FAILED}
        assert run.ended["a"].warnings == ("models of a", "service says")


async def test_what_is_under_way_is_waited_for_and_never_asked_for() -> None:
    item = plan_item("a", verdict=Verdict.CREATING, action=Action.ADOPT)
    async with prepared([item]) as run:
        await run.replication.run()
        assert run.steps.done == [("adopt", "a"), ("verify", "a")]
        assert (run.ended["a"].status, run.ended["a"].attempts) == (Status.SUCCEEDED, 0)


async def test_what_is_skipped_refused_or_blocked_is_not_touched_and_keeps_its_reason() -> None:
    kept = [
        plan_item("in-sync", verdict=Verdict.IN_SYNC, action=Action.SKIP, found=sighting("in-sync")),
        plan_item("edited", verdict=Verdict.TARGET_AHEAD, action=Action.REFUSE, reason="Edited."),
        plan_item("cycle", verdict=Verdict.BLOCKED, action=Action.REFUSE, reason="Cycle.", warnings=("w",)),
    ]
    async with prepared(kept) as run:
        await run.replication.run()
        assert run.steps.done == []
        told = {name: (result.status, result.reason) for name, result in run.ended.items()}
        assert told == {
            "in-sync": (Status.SKIPPED, ""),
            "edited": (Status.REFUSED, "Edited."),
            "cycle": (Status.BLOCKED, "Cycle."),
        }
        assert run.ended["cycle"].warnings == ("w",)


async def test_a_parent_starts_the_moment_its_last_child_is_verified_and_waits_for_nobody_else() -> None:
    slow = asyncio.Event()
    items = [plan_item("parent", "child"), plan_item("child"), plan_item("slow")]

    async def hold() -> None:
        await slow.wait()

    def hook(step: str, item: PlanItem) -> Awaitable[None] | None:
        if (step, item.analyzer) == ("verify", "parent"):
            slow.set()
        return hold() if item.analyzer == "slow" else None

    async with prepared(items, hook) as run:
        # With a barrier between waves this would wait for ever: slow is of the first wave.
        await asyncio.wait_for(run.replication.run(), PATIENCE)
        assert set(run.statuses.values()) == {Status.SUCCEEDED}
        assert run.steps.done.index(("verify", "child")) < run.steps.done.index(("authorize", "parent"))


@given(st.integers(1, 5), st.integers(0, 25), st.integers(0, 25))
def test_a_target_never_has_more_copies_in_flight_than_it_has_slots(slots: int, west: int, north: int) -> None:
    async def go() -> None:
        items = [plan_item(f"w{number}") for number in range(west)]
        items += [plan_item(f"n{number}", target="north") for number in range(north)]
        inside: Counter[str] = Counter()
        most: Counter[str] = Counter()

        def hook(step: str, item: PlanItem) -> None:
            if step == "authorize":
                inside[item.target] += 1
                most[item.target] = max(most[item.target], inside[item.target])
            if step == "verify":
                inside[item.target] -= 1

        async with prepared(items, hook, slots=slots) as run:
            await run.replication.run()
        assert most == Counter({"west": min(slots, west), "north": min(slots, north)})

    asyncio.run(go())


async def test_of_what_is_ready_the_longest_chain_comes_first_and_then_the_plans_order() -> None:
    chain = [plan_item("top", "middle"), plan_item("middle", "bottom"), plan_item("bottom")]
    items = [plan_item("b"), plan_item("a"), *chain, plan_item("parent", "child"), plan_item("child"), plan_item("c")]
    async with prepared(items, slots=1) as run:
        await run.replication.run()
        copied = [name for step, name in run.steps.done if step == "copy"]
    assert copied == ["bottom", "middle", "child", "b", "a", "top", "parent", "c"]


async def test_a_failure_stops_nobody_but_its_ancestors_which_name_it() -> None:
    items = [
        plan_item("top", "middle", "good"),
        plan_item("middle", "bad"),
        plan_item("bad"),
        plan_item("good"),
        plan_item("beside"),
    ]
    async with prepared(items, raising({("copy", "bad"): FAILED})) as run:
        await run.replication.run()
        told = {name: (result.status, result.reason) for name, result in run.ended.items()}
        assert told["bad"] == (Status.FAILED, "It broke. Mend it.")
        assert told["middle"] == (Status.BLOCKED, "Its child bad failed. Fix that, then run again.")
        assert told["top"] == (Status.BLOCKED, "Its child middle is blocked. Fix that, then run again.")
        assert told["good"][0] is told["beside"][0] is Status.SUCCEEDED
        assert not {("authorize", "middle"), ("authorize", "top")} & set(run.steps.done)


async def test_a_failure_at_one_target_blocks_nothing_at_another() -> None:
    items = [plan_item(name, *needs, target=target) for target in ("west", "north") for name, *needs in GRAPH]

    def hook(step: str, item: PlanItem) -> None:
        if (step, item.target, item.analyzer) == ("poll", "west", "leaf"):
            raise FAILED

    async with prepared(items, hook) as run:
        await run.replication.run()
        ended = {(result.target, result.analyzer): result.status for result in run.replication.results()}
        assert ended == {
            ("west", "leaf"): Status.FAILED,
            ("west", "top"): Status.BLOCKED,
            ("north", "leaf"): Status.SUCCEEDED,
            ("north", "top"): Status.SUCCEEDED,
        }


GRAPH = (("top", "leaf"), ("leaf",))


async def test_a_child_that_is_refused_at_the_start_blocks_its_parent() -> None:
    refused = plan_item("child", verdict=Verdict.FOREIGN, action=Action.REFUSE, reason="Foreign.")
    async with prepared([plan_item("parent", "child"), refused]) as run:
        await run.replication.run()
        assert run.ended["parent"].reason == "Its child child is refused. Fix that, then run again."


async def test_a_child_that_is_in_sync_is_as_good_as_copied() -> None:
    there = plan_item("child", verdict=Verdict.IN_SYNC, action=Action.SKIP, found=sighting("child"))
    async with prepared([plan_item("parent", "child"), there]) as run:
        await run.replication.run()
        assert run.statuses == {"parent": Status.SUCCEEDED, "child": Status.SKIPPED}


@pytest.mark.parametrize("step", ["authorize", "validate", "copy", "poll", "verify"])
async def test_an_unexpected_error_is_reported_with_its_kind_and_stops_nobody(
    step: str, caplog: pytest.LogCaptureFixture
) -> None:
    errors = {(step, "odd"): KeyError("secret of the process")}
    async with prepared([plan_item("odd"), plan_item("other")], raising(errors)) as run:
        await run.replication.run()
        assert run.statuses == {"odd": Status.FAILED, "other": Status.SUCCEEDED}
        assert run.ended["odd"].reason == "Unexpected KeyError. See the log of this run."
        assert "odd to west failed unexpectedly" in caplog.text


async def test_a_step_that_is_cancelled_on_its_own_blocks_its_parents() -> None:
    errors = {("poll", "child"): asyncio.CancelledError()}
    async with prepared([plan_item("parent", "child"), plan_item("child")], raising(errors)) as run:
        await run.replication.run()
        assert run.ended["parent"].reason == "Its child child was interrupted. Fix that, then run again."
        assert run.ended["child"].status is Status.FAILED
        assert ("authorize", "parent") not in run.steps.done


# Grants.


@pytest.mark.parametrize("step", ["authorize", "copy"])
async def test_a_void_grant_is_made_again_after_a_growing_wait(step: str) -> None:
    void = iter([GrantVoid("void"), GrantVoid("void")])

    def hook(asked: str, _item: PlanItem) -> None:
        if asked == step and (error := next(void, None)):
            raise error

    async with prepared([plan_item("a")], hook) as run:
        await run.replication.run()
        assert run.statuses == {"a": Status.SUCCEEDED}
        assert run.clock.waits == [GRANT_WAIT, 2 * GRANT_WAIT]
        assert run.steps.done.count(("authorize", "a")) == 3
        assert run.ended["a"].attempts == run.steps.done.count(("copy", "a"))


@pytest.mark.parametrize("step", ["authorize", "copy"])
async def test_a_grant_that_stays_void_fails_after_a_bounded_number(step: str) -> None:
    async with prepared([plan_item("a")], raising({(step, "a"): GrantVoid("No grant", "Get the role")})) as run:
        await run.replication.run()
        assert (run.ended["a"].status, run.ended["a"].reason) == (Status.FAILED, "No grant. Get the role.")
        assert run.steps.done.count((step, "a")) == GRANTS
        assert run.ended["a"].attempts == run.steps.done.count(("copy", "a"))


async def test_the_attempts_of_a_step_that_tried_itself_are_added() -> None:
    class Persistent(FakeSteps):
        async def copy(self, item: PlanItem, authorization: CopyAuthorization) -> Receipt:
            self.done.append(("copy", item.analyzer))
            if len(self.done) < 4:
                raise GrantVoid("void")
            return Receipt("u", "o", attempts=2)

    async with prepared([plan_item("a")], steps=Persistent()) as run:
        await run.replication.run()
        assert run.ended["a"].attempts == 3


# Defaults.

NEEDS = (("completion", "gpt-4.1"),)
ADDED = {"west": {"gpt-4.1": "gpt"}}


async def test_defaults_are_added_before_the_first_copy() -> None:
    async with prepared([plan_item("a", models=NEEDS)], added=ADDED) as run:

        def hook(_step: str, _item: PlanItem) -> None:
            assert run.steps.defaults == [("west", {"gpt-4.1": "gpt"})]

        run.steps.hook = hook
        await run.replication.run()
        assert run.statuses == {"a": Status.SUCCEEDED}


@pytest.mark.parametrize("error", [FAILED, ValueError("odd")])
async def test_defaults_that_cannot_be_added_block_their_target_and_no_other(error: Exception) -> None:
    skipped = {"verdict": Verdict.IN_SYNC, "action": Action.SKIP}
    items = [
        plan_item("a"),
        plan_item("served", models=NEEDS, found=sighting("served"), **skipped),
        plan_item("else", found=sighting("else"), **skipped),
        plan_item("n", target="north"),
    ]
    async with prepared(items, added=ADDED) as run:
        run.steps.defaults_error = error
        await run.replication.run()
        assert run.statuses == {
            "a": Status.BLOCKED,
            "served": Status.BLOCKED,
            "else": Status.SKIPPED,
            "n": Status.SUCCEEDED,
        }
        assert run.ended["a"].reason.startswith("The defaults of west could not be completed")
        assert_monotone(run.progress, len(items))


# The ledger.


async def test_only_verified_copies_are_recorded(tmp_path: Path) -> None:
    items = [plan_item(name) for name in ("good", "differs", "hung")]
    errors = {("verify", "differs"): CopyDiffers("differs", "west"), ("poll", "hung"): FAILED}
    async with prepared(items, raising(errors), vault=tmp_path) as run:
        await run.replication.run()
    records = await recorded(tmp_path, "east", "west")
    assert records.keys() == {"good"}
    assert records["good"].copied_at == START


async def test_a_copy_is_recorded_under_its_name_at_the_target(tmp_path: Path) -> None:
    item = plan_item("a", target_analyzer="a_v2", action=Action.COPY_AS_VERSION, verdict=Verdict.FOREIGN)
    async with prepared([item], vault=tmp_path) as run:
        await run.replication.run()
    assert (await recorded(tmp_path, "east", "west")).keys() == {"a_v2"}


async def test_what_is_in_sync_is_recorded_where_the_ledger_is_lost_or_stale(tmp_path: Path) -> None:
    now, old = sighting("now"), sighting("old")
    fields: dict[str, Any] = {"verdict": Verdict.IN_SYNC, "action": Action.SKIP}
    known, new = plan_item("known", expected=now, found=now, **fields), plan_item("new", found=old, **fields)
    stale = plan_item("stale", expected=now, found=now, **fields)
    async with write_ledger(LocalFolder(tmp_path), "east", "west", RELEASED) as ledger:
        ledger.record({"known": record(now, now), "stale": record(old, old)})
    async with prepared([known, new, stale], vault=tmp_path) as run:
        run.clock.seconds = 60
        await run.replication.run()
    records = await recorded(tmp_path, "east", "west")
    assert records["stale"].source == records["stale"].target == now
    assert records["new"].target == old
    fresh = {name for name, each in records.items() if each.copied_at != START}
    assert fresh == {"new", "stale"}


# Interruptions.


class Interrupter:
    """Cancels a task when the n-th step begins."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.task: asyncio.Task[None] | None = None

    def __call__(self, _step: str, _item: PlanItem) -> None:
        self.left -= 1
        if self.left == 0 and self.task is not None:
            self.task.cancel()


DIAMOND = (
    plan_item("top", "left", "right"),
    plan_item("left", "leaf"),
    plan_item("right", "leaf"),
    plan_item("leaf"),
    plan_item("adopted", verdict=Verdict.CREATING, action=Action.ADOPT),
    plan_item("edited", verdict=Verdict.TARGET_AHEAD, action=Action.REFUSE, reason="Edited."),
)
STEPS = 4 * 5 + 2


@pytest.mark.parametrize("at", range(1, STEPS + 1))
async def test_an_interruption_at_any_step_leaves_true_results(at: int, tmp_path: Path) -> None:
    interrupter = Interrupter(at)
    async with prepared(DIAMOND, interrupter, vault=tmp_path) as run:
        interrupter.task = asyncio.create_task(run.replication.run())
        with pytest.raises(asyncio.CancelledError):
            await interrupter.task
        ended = run.ended
        begun = {name for _, name in run.steps.done}
        done = run.steps.done
        report = run.replication.report(run_id="r", via="direct")
        assert sum(report.totals.values()) == len(DIAMOND)
    noted = (await recorded(tmp_path, "east", "west")).keys()
    assert {name for name, each in ended.items() if each.status is Status.SUCCEEDED} == noted
    assert ended["edited"].status is Status.REFUSED
    for name in ended.keys() - noted - {"edited"}:
        result = ended[name]
        assert result.status is Status.FAILED
        copied = ("poll", name) in done or ("adopt", name) in done
        if name not in begun:
            assert result.reason == "Interrupted before it began. Run again."
        elif copied:
            assert "while its copy is under way" in result.reason
        else:
            assert "before west confirmed a copy" in result.reason
        if ("poll", name) in done:
            assert f"op-{name}" in result.reason


async def test_an_undisturbed_run_takes_exactly_the_steps_that_are_interrupted_above() -> None:
    async with prepared(DIAMOND) as run:
        await run.replication.run()
        assert len(run.steps.done) == STEPS


async def test_an_interruption_while_defaults_are_added_leaves_nothing_begun() -> None:
    async with prepared([plan_item("a", models=NEEDS)], added=ADDED) as run:
        run.steps.defaults_error = asyncio.CancelledError()
        with pytest.raises(asyncio.CancelledError):
            await run.replication.run()
        assert run.ended["a"].reason == "Interrupted before it began. Run again."


async def test_before_a_run_everything_is_open_and_the_results_say_so() -> None:
    async with prepared([plan_item("a")]) as run:
        assert run.ended["a"].status is Status.FAILED
        assert run.ended["a"].reason == "Interrupted before it began. Run again."


async def test_seconds_are_those_from_the_first_step_to_the_last() -> None:
    async with prepared([plan_item("a"), plan_item("b", "a")]) as run:
        run.steps.hook = lambda step, item: run.clock.sleep({"poll": 3.0, "verify": 0.5}.get(step, 0.0))
        await run.replication.run()
        assert {name: result.seconds for name, result in run.ended.items()} == {"a": 3.5, "b": 3.5}
        assert run.replication.report(run_id="r", via="direct").seconds == 7.0


# Any graph.


@st.composite
def acyclic(draw: st.DrawFn, most: int = 500) -> list[PlanItem]:
    count = draw(st.integers(1, most))
    chance = draw(st.randoms(use_true_random=False))
    order = list(range(count))
    chance.shuffle(order)
    made = []
    for place, number in enumerate(order):
        children = {order[chance.randrange(place)] for _ in range(chance.choice([0, 0, 1, 2, 3]))} if place else set()
        made.append(plan_item(f"n{number}", *sorted(f"n{child}" for child in children)))
    chance.shuffle(made)
    return made


@given(acyclic(), st.integers(1, 40), st.randoms(use_true_random=False))
def test_on_any_graph_children_come_first_and_a_failure_blocks_exactly_its_ancestors(
    items: list[PlanItem], slots: int, chance: Any
) -> None:
    failing = {item.analyzer for item in items if chance.random() < 0.05}
    needs = {item.analyzer: item.needs for item in items}
    ready: set[str] = set()

    def hook(step: str, item: PlanItem) -> None:
        if step == "authorize":
            assert set(item.needs) <= ready
        if step == "poll" and item.analyzer in failing:
            raise FAILED
        if step == "verify":
            ready.add(item.analyzer)

    async def go() -> Run:
        async with prepared(items, hook, slots=slots) as run:
            await run.replication.run()
            return run

    run = asyncio.run(go())
    blocked: set[str] = set()
    parents: dict[str, list[str]] = {}
    for parent, children in needs.items():
        for child in children:
            parents.setdefault(child, []).append(parent)
    waiting = list(failing)
    while waiting:
        for parent in parents.get(waiting.pop(), []):
            if parent not in blocked:
                blocked.add(parent)
                waiting.append(parent)
    for name, result in run.ended.items():
        if name in blocked:
            assert result.status is Status.BLOCKED
            assert any(f"Its child {child} " in result.reason for child in needs[name])
        else:
            assert result.status is (Status.FAILED if name in failing else Status.SUCCEEDED), result.reason
    # Every assertion of the hook that failed would be an unexpected error of its item.
    assert not any("Unexpected" in result.reason for result in run.ended.values())
    assert_monotone(run.progress, len(items))


def assert_monotone(progress: list[Progress], total: int) -> None:
    assert all(each.total == total for each in progress)
    done = [each.done for each in progress]
    assert done == sorted(done)
    assert done[-1] == total
    assert progress[-1].in_flight == 0
    assert all(0 <= each.in_flight <= total - each.done for each in progress)
    for earlier, later in itertools.pairwise(progress):
        before, after = dict(earlier.ended), dict(later.ended)
        assert all(after[status] >= before[status] for status in Status)


async def test_progress_only_grows_and_ends_with_everything() -> None:
    async with prepared(DIAMOND, raising({("copy", "left"): FAILED})) as run:
        await run.replication.run()
        assert_monotone(run.progress, len(DIAMOND))
        assert dict(run.progress[-1].ended) == {
            Status.SUCCEEDED: 3,
            Status.SKIPPED: 0,
            Status.FAILED: 1,
            Status.BLOCKED: 1,
            Status.REFUSED: 1,
        }
        assert {Status.SUCCEEDED, Status.SKIPPED} == GOOD
