"""The fence: only from the side that serves to one that does not, one switch at a time, whatever crashed."""

from __future__ import annotations

import asyncio
import json
import pickle
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from standby.config.globs import Scope
from standby.config.plan import RecoveryPlan
from standby.errors import GuardRefused
from standby.fencing import (
    ActiveElsewhere,
    Assignment,
    FailoverUnderWay,
    Fence,
    Fenced,
    FenceUnreadable,
    OtherFenceUnknown,
    OtherPlans,
    Phase,
    hold_fence,
    read_fence,
    read_other_plans,
)
from standby.vault.errors import VaultUnavailable
from standby.vault.folder import LocalFolder
from tests.standby.vault.world import HandClock, Killed, Memory

PLAN = RecoveryPlan.model_validate(
    {
        "name": "p",
        "pairs": [
            {"source": "east", "targets": ["west", "north"]},
            {"source": "west", "targets": ["north"]},
        ],
    }
)
FENCE = "recovery/p/fence.json"
RESOURCES = ("east", "west", "north")
START = datetime(2026, 1, 2, tzinfo=UTC)


def fence(**sides: Assignment) -> Fence:
    at_home = {primary: Assignment(active=primary) for primary in ("east", "west")}
    return Fence(plan="p", epoch=3, assignments={**at_home, **sides})


def lets(fence: Fence, source: str, target: str, switch: str = "") -> bool:
    try:
        fence.must_allow_copy(source, target, switch)
    except Fenced:
        return False
    return True


SERVED_BY_WEST = fence(east=Assignment(active="west", phase=Phase.ACTIVATED, previous="east", run_id="r"))
ON_ITS_WAY = fence(east=Assignment(active="east", phase=Phase.SWITCHING, target="north", run_id="r"))


async def test_without_a_switch_every_source_serves_itself_and_copies_pass() -> None:
    found = await read_fence(Memory(), PLAN)
    assert found == Fence(
        plan="p", epoch=0, assignments={"east": Assignment(active="east"), "west": Assignment(active="west")}
    )
    assert lets(found, "east", "west")
    assert lets(found, "east", "north")
    assert lets(found, "west", "north")


def test_after_a_switch_nothing_is_copied_from_the_side_that_was_left() -> None:
    assert not lets(SERVED_BY_WEST, "east", "west")
    assert not lets(SERVED_BY_WEST, "east", "north")


def test_after_a_switch_the_side_that_serves_is_copied_from() -> None:
    assert lets(SERVED_BY_WEST, "west", "east")
    assert lets(SERVED_BY_WEST, "west", "north")


def test_nothing_is_copied_over_a_side_that_serves_for_somebody_else() -> None:
    served_by_north = fence(east=Assignment(active="north", phase=Phase.STEADY))
    assert not lets(served_by_north, "west", "north")


def test_during_a_switch_only_the_switch_itself_copies_from_its_side() -> None:
    assert not lets(ON_ITS_WAY, "east", "north")
    assert not lets(ON_ITS_WAY, "east", "west", "another run")
    assert lets(ON_ITS_WAY, "east", "north", "r")


def test_during_a_switch_nobody_else_copies_over_the_side_that_is_about_to_serve() -> None:
    assert not lets(ON_ITS_WAY, "west", "north")
    assert lets(fence(), "west", "north")


def test_nothing_is_copied_from_a_side_that_is_about_to_serve_and_does_not_yet() -> None:
    assert not lets(ON_ITS_WAY, "north", "east")
    assert ON_ITS_WAY.primary_of("north") == "east"


def test_a_side_that_serves_for_two_waits_for_the_switch_of_either() -> None:
    both = fence(
        east=Assignment(active="north", phase=Phase.ACTIVATED, run_id="a"),
        west=Assignment(active="north", phase=Phase.SWITCHING, target="west", run_id="b"),
    )
    assert not lets(both, "north", "east")
    assert not lets(both, "north", "west")
    assert lets(both, "north", "west", "b")


@pytest.mark.parametrize(
    ("phase", "told"),
    [
        (Phase.SWITCHING, "is failing over to north (epoch 3), and that has not ended"),
        (Phase.ACTIVATED, "has failed over to north (epoch 3)"),
        (Phase.STEADY, "has failed over to north (epoch 3)"),
    ],
)
def test_a_refusal_says_what_serves_and_since_which_epoch(phase: Phase, told: str) -> None:
    active = "east" if phase is Phase.SWITCHING else "north"
    with pytest.raises(Fenced) as refused:
        fence(east=Assignment(active=active, phase=phase, target="north", run_id="r")).must_allow_copy("east", "west")
    assert isinstance(refused.value, GuardRefused)
    assert refused.value.cause == f"Plan p {told}, so nothing is copied from east to west"
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_while_a_switch_is_being_undone_no_side_is_said_to_have_been_switched_to() -> None:
    undoing = fence(east=Assignment(active="east", phase=Phase.SWITCHING, target="east", run_id="r"))
    with pytest.raises(Fenced, match=r"is failing over to east \(epoch 3\), and that has not ended"):
        undoing.must_allow_copy("east", "west")


def test_the_home_of_a_resource_is_the_one_in_whose_place_it_serves() -> None:
    assert fence().primary_of("east") == "east"
    assert fence().primary_of("north") is None
    assert fence(east=Assignment(active="north")).primary_of("north") == "east"
    assert fence(east=Assignment(active="north")).primary_of("east") == "east"


sides = st.builds(
    Assignment,
    active=st.sampled_from(RESOURCES),
    phase=st.sampled_from(Phase),
    target=st.sampled_from([None, *RESOURCES]),
    run_id=st.sampled_from(["", "r", "s"]),
)


@given(
    east=sides,
    west=sides,
    source=st.sampled_from(RESOURCES),
    target=st.sampled_from(RESOURCES),
    switch=st.sampled_from(["", "r", "t"]),
)
def test_no_copy_that_passes_writes_over_what_serves_or_comes_from_what_was_left(
    east: Assignment, west: Assignment, source: str, target: str, switch: str
) -> None:
    state = fence(east=east, west=west)
    if source == target or not lets(state, source, target, switch):
        return
    served = [side for side in state.assignments.values() if side.active == source]
    ours = any(side.run_id == switch != "" for side in served)
    # A source that serves nobody was left; what serves is about to be left during a switch.
    assert served or source == "north"
    assert ours or all(side.phase is not Phase.SWITCHING for side in served)
    # Nobody's place is written over, now or in a moment.
    for primary, side in state.assignments.items():
        assert primary == target or side.active != target
        under_way = side.phase is Phase.SWITCHING and side.active != source
        assert primary == target or not under_way or side.target != target


async def test_what_is_written_while_it_is_held_is_read_by_all(tmp_path: Path) -> None:
    vault = LocalFolder(tmp_path)
    async with hold_fence(vault, PLAN) as held:
        assert held.fence.epoch == 0
        await held.write(SERVED_BY_WEST)
        assert held.fence == SERVED_BY_WEST == await read_fence(vault, PLAN)
    async with hold_fence(vault, PLAN) as held:
        assert held.fence == SERVED_BY_WEST


async def test_one_that_was_held_and_not_written_is_at_home(tmp_path: Path) -> None:
    vault = LocalFolder(tmp_path)
    async with hold_fence(vault, PLAN):
        pass
    assert (await read_fence(vault, PLAN)).assignments["east"] == Assignment(active="east")


async def test_one_run_at_a_time_may_switch(tmp_path: Path) -> None:
    vault = LocalFolder(tmp_path)
    async with hold_fence(vault, PLAN):
        with pytest.raises(FailoverUnderWay) as refused:
            async with hold_fence(vault, PLAN):
                pytest.fail("held twice")
    assert isinstance(refused.value, GuardRefused)
    assert str(tmp_path / FENCE) in refused.value.cause
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)
    async with hold_fence(vault, PLAN):
        pass


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"plan": "p", "sides": {"east": {}}}', b"\xff"])
async def test_one_that_cannot_be_read_names_no_side(tmp_path: Path, content: bytes) -> None:
    vault = LocalFolder(tmp_path)
    await vault.write(FENCE, content)
    with pytest.raises(FenceUnreadable) as unreadable:
        await read_fence(vault, PLAN)
    with pytest.raises(FenceUnreadable):
        async with hold_fence(vault, PLAN):
            pytest.fail("held")
    assert str(tmp_path / FENCE) in unreadable.value.cause
    assert str(pickle.loads(pickle.dumps(unreadable.value))) == str(unreadable.value)
    # And it can be held again once it is mended.
    await vault.write(FENCE, SERVED_BY_WEST.model_dump_json().encode())
    async with hold_fence(vault, PLAN) as held:
        assert held.fence == SERVED_BY_WEST


async def test_a_fence_of_another_plan_is_not_taken_for_this_one() -> None:
    vault = Memory(files={FENCE: Fence(plan="q", assignments={}).model_dump_json().encode()})
    with pytest.raises(FenceUnreadable):
        await read_fence(vault, PLAN)


async def test_a_vault_that_is_down_says_nothing_of_who_serves() -> None:
    vault = Memory()
    vault.down = True
    with pytest.raises(VaultUnavailable):
        await read_fence(vault, PLAN)


async def test_a_source_that_came_to_the_plan_serves_itself_and_one_that_left_is_forgotten() -> None:
    written = Fence(
        plan="p", epoch=5, assignments={"east": Assignment(active="west"), "gone": Assignment(active="north")}
    )
    found = await read_fence(Memory(files={FENCE: written.model_dump_json().encode()}), PLAN)
    assert found.epoch == 5
    assert found.assignments == {"east": Assignment(active="west"), "west": Assignment(active="west")}


@given(dies_at=st.integers(1, 30), epochs=st.lists(st.integers(1, 9), min_size=1, max_size=3))
async def test_killed_anywhere_the_fence_is_one_that_was_written(dies_at: int, epochs: list[int]) -> None:
    clock = HandClock()
    files: dict[str, bytes] = {}
    vault = Memory(clock, files=files, dies_at=dies_at)
    safe = 0

    async def switch() -> None:
        nonlocal safe
        async with hold_fence(vault, PLAN) as held:
            for number, epoch in enumerate(epochs, start=1):
                await held.write(fence().model_copy(update={"epoch": epoch}))
                safe = number

    with suppress(Killed):
        await switch()
    left = (await read_fence(Memory(files=files), PLAN)).epoch
    written = [0, *epochs]
    # The one that was told to be safe, or the next one that was on its way.
    assert left in written[safe : safe + 2]


class Runs(RuleBasedStateMachine):
    """Runs that hold, write and let go of one fence, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.vault = Memory(HandClock())
        self.holder: int | None = None
        self.contexts: dict[int, object] = {}
        self.epoch = 0

    @rule(run=st.integers(0, 2))
    def hold(self, run: int) -> None:
        if self.holder == run:
            return
        context = hold_fence(self.vault, PLAN)
        taken = self.loop.create_task(context.__aenter__())
        self._drive(taken)
        if self.holder is None:
            self.held = taken.result()
            assert self.held.fence.epoch == self.epoch
            self.holder, self.context = run, context
        else:
            assert isinstance(taken.exception(), FailoverUnderWay)

    @precondition(lambda self: self.holder is not None)
    @rule()
    def write(self) -> None:
        self.epoch += 1
        state = self.held.fence.model_copy(update={"epoch": self.epoch})
        self._drive(self.loop.create_task(self.held.write(state)))

    @precondition(lambda self: self.holder is not None)
    @rule()
    def let_go(self) -> None:
        self._drive(self.loop.create_task(self.context.__aexit__(None, None, None)))
        self.holder = None

    @invariant()
    def everybody_reads_what_was_written_last(self) -> None:
        reading = self.loop.create_task(read_fence(self.vault, PLAN))
        self._drive(reading)
        assert reading.result().epoch == self.epoch

    def teardown(self) -> None:
        if self.holder is not None:
            self.let_go()
        self.loop.close()

    def _drive(self, task: asyncio.Task[object]) -> None:
        async def drive() -> None:
            while not task.done():
                await self.vault.clock.move(1.0)

        self.loop.run_until_complete(drive())


test_runs_in_any_order = Runs.TestCase
test_runs_in_any_order.settings = settings(stateful_step_count=12)


def begun(**fields: object) -> bytes:
    """The record of a failover of plan q, which names the analyzers it is about."""
    names = {"east": {"east": {"away": "away"}, "west": {"invoice": "invoice"}}}
    ends = {"before": {"active": "east"}, "to": "west"}
    known = {"format": 1, "home": "east", "epoch": 1, "touched": False, "names": names, **ends, **fields}
    return json.dumps(known).encode()


def of_q(**side: object) -> bytes:
    assignments = {"east": Assignment.model_validate({"active": "east", **side})}
    return Fence(plan="q", epoch=1, assignments=assignments).model_dump_json().encode()


FENCE_OF_Q, RECORD_OF_Q = "recovery/q/fence.json", "recovery/q/switch.json"
UNDER_WAY: dict[str, object] = {"phase": "switching", "target": "west", "run_id": "r"}


@pytest.mark.parametrize(
    ("record", "missing"),
    [(begun(), False), (begun(touched=True), True), (begun(epoch=2), True), (begun(epoch=2, touched=True), True)],
)
async def test_another_plan_without_a_fence_has_lost_it_unless_its_first_failover_only_begins(
    record: bytes, missing: bool
) -> None:
    others = await read_other_plans(Memory(files={RECORD_OF_Q: record}), "p")
    assert others.active == ()
    assert ["is missing" in unknown.reason for unknown in others.unknown] == [True] * missing


@pytest.mark.parametrize(
    ("content", "reason"),
    [(of_q().replace(b'"plan":"q"', b'"plan":"z"'), "belongs to plan z"), (b"{", FENCE_OF_Q), (b"null", FENCE_OF_Q)],
)
async def test_the_fence_of_another_plan_that_says_nothing_is_unknown_for_a_reason(content: bytes, reason: str) -> None:
    vault = Memory(files={FENCE_OF_Q: content})
    (unknown,) = (await read_other_plans(vault, "p")).unknown
    assert reason in unknown.reason
    with pytest.raises(OtherFenceUnknown):
        OtherPlans("p", unknown=(unknown,)).must_let_serve("east", "west", Scope())


@pytest.mark.parametrize(
    ("fence_of_q", "record", "names"),
    [
        (of_q(**UNDER_WAY), begun(), {"west": {"invoice": "invoice"}}),
        (of_q(**UNDER_WAY), begun(epoch=9), {}),
        (of_q(**UNDER_WAY), b"{", {}),
        (of_q(active="west", phase="activated"), begun(), {}),
    ],
)
async def test_a_failover_under_way_is_about_the_analyzers_that_its_own_record_names(
    fence_of_q: bytes, record: bytes, names: object
) -> None:
    vault = Memory(files={FENCE_OF_Q: fence_of_q, RECORD_OF_Q: record})
    (other,) = (await read_other_plans(vault, "p")).active
    assert other.scope.names == names


@pytest.mark.parametrize(("resource", "forced"), [("north", False), ("north", True), ("east", False)])
async def test_what_another_plan_has_not_ended_has_to_end_first(resource: str, forced: bool) -> None:
    others = await read_other_plans(Memory(files={FENCE_OF_Q: of_q(**UNDER_WAY)}), "p")
    everything = Scope(include=("*",))
    others.must_let_serve("east", "west", everything)
    with pytest.raises(ActiveElsewhere) as refused:
        others.must_let_serve("east", resource, everything, forced=forced)
    assert refused.value.next_action.startswith(others.active[0].way_out)
    assert "follow it" not in refused.value.next_action
