"""From the report of an outage to its end: who attends to it, what was begun is taken up, what is open is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from standby.cli.replicate import replicate_directly
from standby.config.plan import RegionPair
from standby.fencing import Assignment, Fence, Phase, hold_fence, read_fence
from standby.recovery.activation.sinks import Activation, ActivationSink, ActiveEndpoint
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, open_recovery
from standby.recovery.decision.automation import set_automation
from standby.recovery.decision.evaluate import nothing_more
from standby.recovery.decision.input import FailoverRequest, Guard
from standby.recovery.decision.record import DecisionRecord
from standby.recovery.failover import attendance, outage
from standby.recovery.failover.attendance import attending
from standby.recovery.failover.failover import fail_over
from standby.recovery.failover.outage import Answer, AnswerState, Means, answer_outage
from standby.recovery.failover.report import FailoverReport
from standby.replication.items import Selection
from standby.vault.errors import VaultUnavailable
from tests.standby.recovery.failover.world import MemorySink, Reaper
from tests.standby.recovery.stages import DirectStages
from tests.standby.replication.world import FakeClock

if TYPE_CHECKING:
    from tests.conftest import Scene, SceneMaker

EAGER = {"automatic": True, "probe_every": "30s", "minimum_outage": "45s", "cool_down": "1s"}

MakeAnalyzer = Callable[..., dict[str, Any]]


class NightClock(FakeClock):
    """Time passes only while something waits, so a slow machine loses no observation."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = datetime.now(UTC)

    def now(self) -> datetime:
        return self.begun + timedelta(seconds=self.seconds)


@dataclass
class Night:
    """A plan whose outages are answered while nobody looks.

    Attributes:
        told: what people were told.
        sink: what applications read.
    """

    scene: Scene
    clock: NightClock = field(default_factory=NightClock)
    told: list[Answer] = field(default_factory=list)
    records: list[DecisionRecord] = field(default_factory=list)
    sink: MemorySink = field(default_factory=lambda: MemorySink("file", Reaper(), on_change=lambda: None))
    runs: int = 0

    @asynccontextmanager
    async def context(self) -> AsyncIterator[RecoveryContext]:
        self.runs += 1
        async with open_recovery(self.scene.configuration, "p", run_id=f"run-{self.runs}") as opened:
            sinks: list[ActivationSink] = [self.sink]
            yield replace(opened, run=replace(opened.run, clock=self.clock), sinks=sinks)

    def means(self, **more: Any) -> Means:
        async def decided(record: DecisionRecord) -> None:
            self.records.append(record)

        async def carry_out(context: RecoveryContext, request: FailoverRequest) -> FailoverReport:
            return await fail_over(context, request, DirectStages())

        given: dict[str, Any] = {"carry_out": carry_out, "tell": self.told.append, **more}
        return Means(recall=lambda _: nothing_more, decided=decided, **given)

    async def answer(self, resource: str = "east", to: str = "", **more: Any) -> Answer:
        async with self.context() as context:
            [answer] = await answer_outage(context, resource, to, self.means(**more))
        return answer

    async def order(self, to: str, **request: Any) -> FailoverReport:
        async with self.context() as context:
            asked = FailoverRequest(primary="east", to=to, planned=False, **request)
            return await fail_over(context, asked, DirectStages())

    async def serving(self) -> Assignment:
        async with self.context() as context:
            return (await read_fence(context.vault, context.plan)).assignments["east"]

    async def dark(self, resource: str) -> None:
        await self.scene.control("/outages", {"resource": resource, "kind": "refuse"})

    async def light(self, resource: str) -> None:
        await self.scene.control("/outages", {"resource": resource, "kind": "none"})


NightMaker = Callable[..., AbstractAsyncContextManager[Night]]


@pytest.fixture
def make_night(make_scene: SceneMaker, make_analyzer: MakeAnalyzer) -> NightMaker:
    @asynccontextmanager
    async def made(*targets: str, **policy: Any) -> AsyncIterator[Night]:
        async with make_scene([make_analyzer("invoice")], failover={**EAGER, **policy}) as scene:
            await replicate_directly(scene.configuration, "p", Selection(targets=targets), None, lambda _: None)
            yield Night(scene)

    return made


async def test_a_proved_outage_is_answered_and_nobody_has_to_be_told(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")

        answer = await night.answer()

        assert answer.state is AnswerState.CARRIED_OUT, answer.text
        assert night.sink.side == "west"
        assert night.told == []


# One run attends, and it is the vault that says which.


async def test_while_a_living_run_attends_another_one_says_which_that_is(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")
        async with night.context() as first, attending(first, "east"):
            answer = await night.answer()

        assert answer.state is AnswerState.NOT_NEEDED
        assert f"(run {first.run_id}) has been handling the outages of plan p since" in answer.text
        assert night.sink.side is None


async def test_a_run_that_seems_alive_and_does_nothing_for_long_is_told(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        async with night.context() as first, attending(first):
            night.clock.seconds += attendance.TOO_LONG.total_seconds()
            answer = await night.answer()

        assert answer.state is AnswerState.WAITING
        assert night.told == [answer]


async def test_many_runs_that_cannot_attend_end_soon_and_tell_that_once(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        said: set[str] = set()

        async def told_lately(what: str) -> bool:
            known = what in said
            said.add(what)
            return known

        async with night.context() as first, attending(first, "east"):
            night.clock.seconds += attendance.TOO_LONG.total_seconds()
            begun = night.clock.seconds
            for _ in range(3):
                await night.answer(told_lately=told_lately)

        assert len(night.told) == 1
        assert (night.clock.seconds - begun) / 3 <= 120


async def test_a_run_that_attends_to_another_outage_is_no_answer_to_this_one(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")
        async with night.context() as first, attending(first, "north"):
            watch, evaluation = await night.answer(may_ask=False), await night.answer()

        assert watch.state is evaluation.state is AnswerState.WAITING
        assert night.told == [evaluation], "the watch leaves that to the run that waits for its turn"


async def test_a_run_that_can_ask_somebody_waits_for_one_that_cannot(
    make_night: NightMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_night("west", automatic=False) as night:
        await night.dark("east")
        async with night.context() as first:
            held = attending(first, "east")
            await held.__aenter__()
            released = False

            async def release(seconds: float) -> None:
                nonlocal released
                night.clock.seconds += seconds
                if seconds and not released:
                    released = True
                    await held.__aexit__(None, None, None)

            monkeypatch.setattr(night.clock, "sleep", release)
            answer = await night.answer()

        assert answer.state is AnswerState.PROPOSED
        assert night.told == [answer]


async def test_what_a_dead_run_attended_to_is_taken_up_at_once(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")
        with pytest.raises(RuntimeError):
            async with night.context() as first, attending(first):
                raise RuntimeError("killed")

        answer = await night.answer()

        assert answer.state is AnswerState.CARRIED_OUT


# What was begun is taken up.


async def test_a_sink_that_fails_once_delays_a_failover_by_seconds(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")
        night.sink.fails = True
        begun = night.clock.seconds

        def fix_the_sink(answer: Answer) -> None:
            night.told.append(answer)
            night.sink.fails = False
            night.sink.mute = False

        night.sink.mute = True
        answer = await night.answer(tell=fix_the_sink)

        assert answer.state is AnswerState.CARRIED_OUT
        assert night.sink.side == "west"
        assert [each.state for each in night.told] == [AnswerState.WAITING]
        assert "file" in night.told[0].text
        assert night.clock.seconds - begun < 120


@pytest.mark.parametrize("mute", [True, False])
async def test_a_sink_that_stays_down_is_told_and_the_failover_ends_once_it_answers(
    make_night: NightMaker, mute: bool
) -> None:
    async with make_night("west") as night:
        await night.dark("east")
        night.sink.fails, night.sink.mute = True, mute
        begun = night.clock.seconds

        waiting = await night.answer()
        again = await night.answer()

        assert waiting.state is again.state is AnswerState.WAITING
        assert len(night.told) == 1 + (night.clock.seconds - begun) // attendance.TOLD_EVERY.total_seconds()
        night.sink.fails = False
        assert (await night.answer()).state is AnswerState.CARRIED_OUT
        assert night.sink.side == "west"


async def test_a_killed_failover_is_taken_up_by_the_next_report_of_the_outage(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")

        async def die(context: RecoveryContext, request: FailoverRequest) -> FailoverReport:
            task = asyncio.current_task()
            assert task is not None
            night.sink.on_change = task.cancel
            return await fail_over(context, request, DirectStages())

        answer = await night.answer(carry_out=die)
        assert answer.report is not None
        assert answer.report.interrupted
        assert (await night.serving()).phase is Phase.SWITCHING
        night.sink.on_change = lambda: None

        assert (await night.answer()).state is AnswerState.CARRIED_OUT
        assert (await night.serving()).active == night.sink.side == "west"


async def test_what_was_begun_and_told_ends_forward_although_the_source_is_back(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")
        night.sink.fails = night.sink.mute = True
        await night.answer()
        await night.light("east")
        night.sink.fails = False

        assert (await night.answer()).state is AnswerState.CARRIED_OUT
        assert night.sink.side == "west"


async def test_what_was_begun_and_told_ends_where_it_began_once_its_target_is_lost_and_the_source_is_back(
    make_night: NightMaker,
) -> None:
    async with make_night("west") as night:
        await night.dark("east")
        night.sink.fails = night.sink.mute = True
        assert (await night.answer()).state is AnswerState.WAITING
        night.sink.fails = night.sink.mute = False
        await night.light("east")
        await night.dark("west")

        answer = await night.answer()

        assert answer.state is AnswerState.CARRIED_OUT, answer.text
        assert (await night.serving()).active == night.sink.side == "east"


async def test_nothing_is_taken_up_while_automation_is_off(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")
        night.sink.fails = night.sink.mute = True
        await night.answer()
        await off(night)
        night.sink.fails = False

        answer = await night.answer()

        assert answer.state is AnswerState.WAITING
        assert "Automation is off" in answer.text
        assert night.sink.side is None


async def test_what_an_operator_left_behind_is_told_and_left_to_them_while_the_source_answers(
    make_night: NightMaker,
) -> None:
    async with make_night("west") as night:
        night.sink.fails = night.sink.mute = True
        await night.order("west")

        answer = await night.answer()

        assert answer.state is AnswerState.WAITING
        assert night.told == [answer]
        assert "standby failover p --to west" in answer.text
        assert "standby failover p --to east" in answer.text
        assert (await night.serving()).phase is Phase.SWITCHING


async def test_what_an_operator_left_behind_is_taken_up_where_an_outage_is_proved(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        night.sink.fails = night.sink.mute = True
        await night.order("west")
        night.sink.fails = False
        await night.dark("east")

        answer = await night.answer()

        assert answer.state is AnswerState.CARRIED_OUT, answer.text
        assert night.sink.side == "west"


async def test_a_failover_in_the_hands_of_a_living_operator_is_waited_for(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")
        async with night.context() as context, hold_fence(context.vault, context.plan):
            answer = await night.answer()

        assert answer.state is AnswerState.WAITING
        assert len(night.told) == 1, "only at the end, since that run lives"


async def test_what_a_living_operator_has_begun_is_not_called_interrupted(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        night.sink.fails = night.sink.mute = True
        await night.order("west")
        async with night.context() as context, hold_fence(context.vault, context.plan):
            begun = night.clock.seconds
            assert (await night.answer(may_ask=False)).state is AnswerState.WAITING
            assert (night.clock.seconds, night.told) == (begun, []), "a watch comes again"
            answer = await night.answer()

        assert answer.state is AnswerState.WAITING
        assert "has not ended" not in answer.text
        assert "Another run is changing which resource serves" in answer.text
        assert len(night.told) == 1, "only at the end, since that run lives"
        assert night.records == [], "nothing is decided meanwhile"


async def test_what_an_operator_planned_and_left_behind_does_without_the_source_where_that_is_lost(
    make_night: NightMaker,
) -> None:
    async with make_night("west", cool_down="1h") as night:
        task = asyncio.current_task()
        assert task is not None
        night.sink.on_change = task.cancel
        async with night.context() as context:
            asked = FailoverRequest(primary="east", to="west", planned=True)
            report = await fail_over(context, asked, DirectStages())
        assert report.interrupted
        assert night.sink.side is None, "applications were told that nobody serves"
        night.sink.on_change = lambda: None
        await night.dark("east")

        answer = await night.answer()

        assert answer.state is AnswerState.CARRIED_OUT, answer.text
        assert answer.report is not None
        assert answer.record is not None
        assert (answer.report.mode, answer.report.decision_id) == ("unplanned", answer.record.id)
        assert answer.report.rto_at_least_seconds is not None, "it says how long the outage lasted"
        assert night.sink.side == "west"


async def test_what_comes_and_goes_is_not_told_each_time(make_night: NightMaker) -> None:
    async with make_night("west") as night, night.context() as context:
        told: list[str] = []
        for minute in range(20):
            async with attending(context) as attendant:
                what = ("standby-health", "readiness")[minute % 2]
                await attendant.tell("east", what, what, partial(told.append, what))
            night.clock.seconds += 60

    assert told == ["standby-health", "readiness"] * 2


async def test_an_unexpected_error_is_told_like_any_other(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")

        async def fail(context: RecoveryContext, request: FailoverRequest) -> FailoverReport:
            raise KeyError("secret")

        answer = await night.answer(carry_out=fail)

        assert answer.state is AnswerState.WAITING
        assert night.told == [answer]
        assert "KeyError" in answer.text
        assert "secret" not in answer.text


# The next outage.


async def test_the_next_outage_is_answered_although_nobody_committed_the_last_one(make_night: NightMaker) -> None:
    async with make_night("west", "north") as night:
        await night.dark("east")
        assert (await night.answer()).state is AnswerState.CARRIED_OUT
        await night.dark("west")

        answer = await night.answer("west")

        assert answer.state is AnswerState.CARRIED_OUT, answer.text
        assert night.sink.side == "north"


async def test_the_next_outage_leads_back_where_the_old_primary_is_healthy(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")
        await night.answer()
        await night.light("east")
        await night.dark("west")

        answer = await night.answer("west")

        assert answer.state is AnswerState.CARRIED_OUT, answer.text
        assert night.sink.side == "east"


async def test_within_the_cool_down_the_next_outage_is_told(make_night: NightMaker) -> None:
    async with make_night("west", "north", cool_down="1h") as night:
        await night.dark("east")
        await night.answer()
        await night.dark("west")

        answer = await night.answer("west")

        assert answer.state is AnswerState.REFUSED
        assert night.told == [answer]
        assert "cool-down" in answer.text


# Nothing that is wrong ends without being told.


async def test_nothing_is_told_where_the_resource_answers(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        assert (await night.answer()).state is AnswerState.NOT_NEEDED
        assert night.told == []


async def test_nothing_is_told_where_the_resource_serves_for_nobody(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("north")
        assert (await night.answer("north")).state is AnswerState.NOT_NEEDED
        assert night.told == []


async def off(night: Night) -> None:
    async with night.context() as context:
        await set_automation([context], on=False, reason="maintenance")


async def west_down(night: Night) -> None:
    await night.dark("west")
    await night.dark("north")


async def sign_in_refused(night: Night) -> None:
    await night.light("east")
    await night.scene.control("/faults", [{"resource": "east", "status": 401, "times": 1000}])


@pytest.mark.parametrize(
    ("spoil", "state", "word"),
    [
        (off, AnswerState.REFUSED, "off-switch"),
        (west_down, AnswerState.WAITING, "standby-health"),
        (None, AnswerState.REFUSED, "readiness"),
    ],
)
async def test_an_outage_that_cannot_be_answered_is_told_with_the_reason(
    make_night: NightMaker, spoil: Any, state: AnswerState, word: str
) -> None:
    async with make_night(*(("west",) if spoil else ())) as night:
        await night.dark("east")
        if spoil is None:
            await night.scene.control("/settings", {"resource": "west", "defaults": {}})
        else:
            await spoil(night)

        answer = await night.answer(to="west")

        assert answer.state is state, answer.text
        assert night.told == [answer]
        assert word in answer.text
        assert "standby failover p --to west --unplanned" in answer.text


async def test_it_is_told_again_every_quarter_of_an_hour(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await off(night)
        await night.dark("east")
        begun = night.clock.seconds
        while night.clock.seconds - begun < 3600:
            await night.answer()
            night.clock.seconds += 420

        assert 4 <= len(night.told) <= 5


async def test_what_was_settled_is_new_when_it_happens_again(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await off(night)
        for _ in range(2):
            await night.dark("east")
            await night.answer()
            await night.light("east")
            assert (await night.answer()).state is AnswerState.NOT_NEEDED

        assert len(night.told) == 2


async def test_a_vault_that_does_not_answer_is_told_once_and_tried_again(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await night.dark("east")
        async with night.context() as context:
            tries = 0

            class Away:
                """A vault that answers at the third try."""

                def __getattr__(self, name: str) -> Any:
                    nonlocal tries
                    if name == "hold":
                        tries += 1
                        if tries < 3:
                            raise VaultUnavailable("az://vault", "read", "it is away")
                    return getattr(context.vault, name)

            away = replace(context, run=replace(context.run, vault=Away()))
            [answer] = await answer_outage(away, "east", "", night.means())

        assert answer.state is AnswerState.CARRIED_OUT
        assert [each.state for each in night.told] == [AnswerState.WAITING]
        assert "it is away" in night.told[0].text


async def test_a_plan_that_asks_somebody_proposes_once_and_reminds(make_night: NightMaker) -> None:
    async with make_night("west", automatic=False) as night:
        await night.dark("east")

        asked, waits = await night.answer(), await night.answer()

        assert (asked.state, waits.state) == (AnswerState.PROPOSED, AnswerState.WAITING)
        assert night.told == [asked], "the reminder comes later"
        night.clock.seconds += attendance.TOLD_EVERY.total_seconds()
        await night.answer()
        assert [each.state for each in night.told] == [AnswerState.PROPOSED, AnswerState.WAITING]
        assert "waits for its approval" in night.told[1].text


async def test_what_is_proposed_anew_is_told_however_lately_people_were_reminded(make_night: NightMaker) -> None:
    async with make_night("west", automatic=False) as night:
        await night.dark("east")
        for minutes in (0, 29, 3):
            night.clock.seconds += minutes * 60
            await night.answer()

    states = [each.state for each in night.told]
    assert states == [AnswerState.PROPOSED, AnswerState.WAITING, AnswerState.PROPOSED]


async def test_of_two_primaries_one_is_asked_about_and_the_other_is_said_to_be_open(make_night: NightMaker) -> None:
    """One run has one form: a second proposal that nobody sees would keep the next run from asking."""
    async with make_night(automatic=False) as night:
        plan = night.scene.configuration.plan("p")
        pairs = tuple(RegionPair(source=source, targets=("west",)) for source in ("east", "north"))
        plans = {"p": plan.model_copy(update={"pairs": pairs})}
        configuration = night.scene.configuration.model_copy(update={"plans": plans})
        night.scene = replace(night.scene, configuration=configuration)
        async with night.context() as context:
            async with hold_fence(context.vault, context.plan) as held:
                both = {name: Assignment(active="west", since=night.clock.now()) for name in ("east", "north")}
                facts = {"home": "east", "side": "west"}
                line = await record_action(context, AuditAction.COMMITTED, facts, epoch=1)
                changed = {"epoch": 1, "assignments": both, "log": line.mark}
                await held.write(held.fence.model_copy(update=changed))
            night.clock.seconds += 60
            await night.dark("west")

            answers = await answer_outage(context, "west", "", night.means())
            again = await answer_outage(context, "west", "", night.means())

    assert [each.state for each in answers] == [AnswerState.PROPOSED, AnswerState.WAITING], [
        each.text for each in answers
    ]
    assert "No approval was requested yet" in answers[1].text
    assert [each.state for each in again] == [AnswerState.WAITING, AnswerState.PROPOSED]


async def test_what_somebody_approved_is_done(make_night: NightMaker) -> None:
    async with make_night("west", "north", automatic=False) as night:
        await night.dark("east")
        asked = await night.answer()
        assert asked.record is not None

        answer = await night.answer(to="north", approved=outage.Approved(asked.record, night.clock.now()))

        assert answer.state is AnswerState.CARRIED_OUT, answer.text
        assert night.sink.side == "north"


async def test_where_nobody_can_be_asked_that_is_told(make_night: NightMaker) -> None:
    async with make_night("west", automatic=False) as night:
        await night.dark("east")

        answer = await night.answer(may_ask=False)

        assert answer.state is AnswerState.WAITING
        assert night.told == [answer]


async def test_no_outage_starts_a_failover_where_the_fence_was_lost(make_night: NightMaker) -> None:
    """West serves, as the sink knows; by the fence, which is gone, it would be east, and the outage nobody's."""
    async with make_night("west") as night:
        active = ActiveEndpoint(
            resource="west", endpoint="", region="", resource_id="", api_version="", analyzers={"invoice": "invoice"}
        )
        at = datetime(2026, 1, 1, tzinfo=UTC)
        await night.sink.publish(Activation(plan="p", epoch=3, changed_at=at, run_id="r", sources={"east": active}))
        await night.dark("west")

        answer = await night.answer("west")

        assert answer.state is AnswerState.REFUSED
        assert night.told == [answer]
        [record] = night.records
        found = {result.guard: result.text for result in record.decision.reasons}
        assert "file (epoch 3)" in found[Guard.FENCE]
        assert record.given.active == "west"
        # By hand it would be refused, too, without that.
        assert '--unplanned --force fence --reason "..."' in answer.text


async def test_what_people_were_told_can_be_read_until_all_is_settled(make_night: NightMaker) -> None:
    async with make_night("west") as night:
        await off(night)
        await night.dark("east")
        answer = await night.answer()
        async with night.context() as context:
            told = await attendance.read_told(context.vault, "p")
            await attendance.all_is_settled(context)
            settled = await attendance.read_told(context.vault, "p")

    assert told["east"].text == answer.text
    assert settled == {}


@pytest.mark.parametrize(
    ("active", "since", "stands"),
    [("east", None, True), ("west", -5, True), ("west", 5, False), ("east", 5, False), ("west", None, False)],
)
def test_what_people_were_told_before_something_was_done_about_it_is_past(
    active: str, since: int | None, stands: bool
) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    changed = None if since is None else at + timedelta(seconds=since)
    fence = Fence(plan="p", epoch=1, assignments={"east": Assignment(active=active, since=changed)})
    told = {"east": attendance.Told(what=Guard.OFF_SWITCH, at=at), "sinks": attendance.Told(what="hook", at=at)}

    assert attendance.since_then(told, fence, lost=False).keys() == ({"east", "sinks"} if stands else {"sinks"})
    assert attendance.since_then(told, None, lost=False) == told


def test_what_people_were_told_of_lost_records_is_past_once_they_are_whole_again() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    fence = Fence(plan="p", epoch=1, assignments={"east": Assignment(active="east", since=at)})
    told = {"east": attendance.Told(what=f"{Guard.FENCE},{Guard.OFF_SWITCH}", at=at)}

    assert attendance.since_then(told, fence, lost=True) == told
    assert attendance.since_then(told, fence, lost=False) == {}


@pytest.mark.parametrize("what", [attendance.UNFINISHED, attendance.STOPPED])
def test_what_people_were_told_of_a_failover_that_has_not_ended_is_past_once_it_was_called_off(what: str) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    before = Assignment(active="east", since=at - timedelta(days=1))
    during = before.model_copy(update={"phase": Phase.SWITCHING, "target": "north", "since": at})
    told = {"east": attendance.Told(what=what, at=at)}

    under_way, called_off = (Fence(plan="p", epoch=2, assignments={"east": each}) for each in (during, before))
    assert attendance.since_then(told, under_way, lost=False) == told
    assert attendance.since_then(told, called_off, lost=False) == {}


def test_what_people_were_told_is_past_where_a_fence_that_was_written_anew_has_a_failover_under_way() -> None:
    under_way = Assignment(active="east", phase=Phase.SWITCHING, target="north")
    fence = Fence(plan="p", epoch=1, assignments={"east": under_way})
    told = {"east": attendance.Told(what=Guard.OFF_SWITCH, at=datetime(2026, 1, 1, tzinfo=UTC))}

    assert attendance.since_then(told, fence, lost=False) == {}
