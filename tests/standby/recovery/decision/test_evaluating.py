"""Evaluations of emulated regions: looking, gathering, deciding, and again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from standby.cli.replicate import replicate_directly
from standby.config.plan import FailoverPolicy
from standby.recovery.assignments import NotATarget, candidates
from standby.recovery.context import open_recovery
from standby.recovery.decision.automation import set_automation
from standby.recovery.decision.evaluate import evaluate, rounds_of, until_settled
from standby.recovery.decision.guards import decide
from standby.recovery.decision.input import Decision, DecisionInput, FailoverRequest, Guard, Outcome
from standby.recovery.probe import Limits, Observation
from standby.recovery.snapshots.take import take_snapshot
from standby.replication.items import Selection
from tests.standby.recovery.bare import CONFIGURATION
from tests.standby.recovery.decision.cases import SELF, an_input, look
from tests.standby.recovery.decision.virtual_time import LoopClock, run_in_no_time
from tests.standby.replication.world import FakeClock

if TYPE_CHECKING:
    from tests.conftest import Scene, SceneMaker

LIMITS = Limits(seconds=60.0, tries=2, pause=0.01)

MakeAnalyzer = Callable[..., dict[str, Any]]

EAGER = {"automatic": True, "probe_every": "30s", "minimum_outage": "45s"}


class OutageClock(FakeClock):
    """From now on, time passes only while an evaluation waits: a slow machine loses no observation."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = datetime.now(UTC)

    def now(self) -> datetime:
        return self.begun + timedelta(seconds=self.seconds)


async def evaluated(scene: Scene, **request: Any) -> tuple[DecisionInput, Decision]:
    async with open_recovery(scene.configuration, "p") as opened:
        context = replace(opened, run=replace(opened.run, clock=OutageClock()))
        return await evaluate(
            context, FailoverRequest(**{"primary": "east", "requested_by": "outage", **request}), limits=LIMITS
        )


async def copied(scene: Scene, *targets: str) -> None:
    await replicate_directly(scene.configuration, "p", Selection(targets=targets), None, lambda _: None)


def said(decision: Decision) -> dict[Guard, str]:
    return {result.guard: result.text for result in decision.reasons}


async def test_proves_an_outage_by_itself_and_chooses_the_side_that_is_ready(
    make_scene: SceneMaker, make_analyzer: MakeAnalyzer
) -> None:
    async with make_scene([make_analyzer("invoice")], failover=EAGER) as scene:
        await copied(scene, "north")
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})

        given, decision = await evaluated(scene, outage_of="east")

        assert (decision.outcome, decision.to) == (Outcome.ACT, "north"), said(decision)
        assert len(given.observations) >= 3
        assert [known.resource for known in given.candidates] == ["west", "north"]
        ready = given.candidates[1].fitness
        assert ready is not None
        assert [copy.analyzer for copy in ready.copies] == ["invoice"]


async def test_ends_at_once_where_the_source_answers(make_scene: SceneMaker, make_analyzer: MakeAnalyzer) -> None:
    async with make_scene([make_analyzer("invoice")], failover={"automatic": True}) as scene:
        given, decision = await evaluated(scene)

        assert decision.outcome is Outcome.REFUSE
        assert said(decision)[Guard.QUORUM].startswith("east answers")
        # Nobody needs to know then what the targets hold.
        assert [known.fitness for known in given.candidates] == [None, None]


async def test_proves_an_outage_before_it_is_told_that_automation_is_off(
    make_scene: SceneMaker, make_analyzer: MakeAnalyzer
) -> None:
    async with make_scene([make_analyzer("invoice")], failover=EAGER) as scene:
        async with open_recovery(scene.configuration, "p") as context:
            await set_automation([context], on=False, reason="maintenance")
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})

        given, decision = await evaluated(scene)

        assert decision.outcome is Outcome.REFUSE
        assert decision.detected_at is not None
        assert len(given.observations) >= 3


async def test_judges_what_an_operator_names_without_the_source(
    make_scene: SceneMaker, make_analyzer: MakeAnalyzer
) -> None:
    async with make_scene([make_analyzer("invoice")]) as scene:
        await copied(scene, "west")
        await scene.control("/outages", {"resource": "east", "kind": "unavailable"})
        order = {"requested_by": "operator", "to": "west"}

        _, unplanned = await evaluated(scene, **order)
        _, planned = await evaluated(scene, **order, planned=True)

        assert (unplanned.outcome, unplanned.to) == (Outcome.ACT, "west"), said(unplanned)
        assert planned.outcome is Outcome.REFUSE
        assert said(planned)[Guard.SOURCE_ANSWERS].startswith("a planned failover needs east to answer")


@pytest.mark.parametrize("target_id", ["{id}", "dr-{id}"])
async def test_counts_on_what_the_newest_snapshot_has_and_the_target_lacks(
    make_scene: SceneMaker, make_analyzer: MakeAnalyzer, target_id: str
) -> None:
    analyzers = [make_analyzer("mailroom", "invoice"), make_analyzer("invoice")]
    async with make_scene(analyzers, targets=("west",), failover=EAGER, target_id=target_id) as scene:
        async with open_recovery(scene.configuration, "p") as context:
            await take_snapshot(context)
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})

        given, decision = await evaluated(scene, outage_of="east")

        assert (decision.outcome, decision.to) == (Outcome.ACT, "west"), said(decision)
        fitness = given.candidates[0].fitness
        assert fitness is not None
        assert [each.analyzer for each in fitness.restorable] == ["invoice", "mailroom"]
        assert said(decision)[Guard.READINESS].startswith("west lacks 2 analyzers, which snapshot ")
        assert said(decision)[Guard.STALENESS].startswith("2 copies are younger")


async def test_does_not_count_on_what_could_not_be_rebuilt_there(
    make_scene: SceneMaker, make_analyzer: MakeAnalyzer
) -> None:
    claim = make_analyzer("claim", models={"completion": "gpt-4o"})
    async with make_scene([claim, make_analyzer("invoice")], targets=("west",)) as scene:
        async with open_recovery(scene.configuration, "p") as context:
            await take_snapshot(context)

        given, decision = await evaluated(scene, requested_by="operator", to="west")

        fitness = given.candidates[0].fitness
        assert fitness is not None
        assert [each.analyzer for each in fitness.restorable] == ["invoice"]
        assert "gpt-4o" in " ".join(reason for reason in fitness.reasons if "cannot be restored" in reason)
        assert (decision.outcome, list(decision.left_out)) == (Outcome.ACT, ["claim"])
        assert "west serves without 1 of 2 analyzers, which is left out: " in said(decision)[Guard.READINESS]
        assert "gpt-4o (needed by claim)" in said(decision)[Guard.READINESS]

        refusing = given.model_copy(update={"policy": given.policy.model_copy(update={"missing": "refuse"})})
        assert (decide(refusing).outcome, decide(refusing).left_out) == (Outcome.REFUSE, {})
        planned = decide(given.model_copy(update={"planned": True}))
        assert planned.left_out == {}
        assert Guard.READINESS in {result.guard for result in planned.against}


async def test_lets_what_labelled_data_may_have_changed_be_rebuilt_by_force_only(
    make_scene: SceneMaker, make_analyzer: MakeAnalyzer
) -> None:
    trained = [{"kind": "labeledData", "containerUrl": "https://labels.example/claims", "prefix": "v1/"}]
    claim = make_analyzer("claim", knowledgeSources=trained)
    async with make_scene([claim], targets=("west",)) as scene:
        async with open_recovery(scene.configuration, "p") as context:
            await take_snapshot(context)
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        order = {"requested_by": "operator", "to": "west"}

        _, decision = await evaluated(scene, **order)
        _, forced = await evaluated(scene, **order, forced={"readiness"})

        assert decision.outcome is Outcome.REFUSE
        told = said(decision)[Guard.READINESS]
        assert "but claim would be unfaithful: " in told
        assert "Its labelled data could not be listed when the snapshot was taken" in told
        assert forced.outcome is Outcome.ACT


async def test_refuses_an_operator_a_side_that_has_nothing(make_scene: SceneMaker, make_analyzer: MakeAnalyzer) -> None:
    async with make_scene([make_analyzer("invoice")]) as scene:
        order = {"requested_by": "operator", "to": "west"}

        _, decision = await evaluated(scene, **order)
        _, forced = await evaluated(scene, **order, forced={"readiness", "staleness", "sinks"})

        assert decision.outcome is Outcome.REFUSE
        assert "west is not ready" in said(decision)[Guard.READINESS]
        assert forced.outcome is Outcome.ACT


def test_looks_until_an_outage_is_proved() -> None:
    moments: list[float] = []

    async def look_again(before: Sequence[Observation]) -> DecisionInput:
        now = LoopClock().now()
        moments.append(LoopClock().monotonic())
        seen = look(0, observer=SELF).model_copy(update={"at": now})
        return an_input((*before, seen), asked_at=now)

    _, decision = run_in_no_time(until_settled(look_again, LoopClock()))

    assert decision.outcome is Outcome.ACT
    assert moments == [0, 15, 30, 45]


@pytest.mark.parametrize(("observers", "proof"), [(("watch@desk", "late@desk"), 37), (("watch@a", "watch@b"), 42)])
def test_looks_again_as_soon_as_the_minimum_outage_is_over(observers: tuple[str, str], proof: int) -> None:
    """Where another machine saw it begin, five seconds later: so much may its clock be behind."""
    moments: list[float] = []

    async def look_again(before: Sequence[Observation]) -> DecisionInput:
        now = LoopClock().now()
        moments.append(LoopClock().monotonic())
        told = [
            look(0, observer=name).model_copy(update={"at": now - timedelta(seconds=ago)})
            for name, ago in zip((*observers, SELF), (8, 5, 0), strict=True)
        ]
        return an_input((*before, *told), asked_at=now)

    run_in_no_time(until_settled(look_again, LoopClock()))

    assert moments == [0, 15, 30, proof]


def test_ends_while_there_is_still_reason_to_wait() -> None:
    rounds = 0

    async def look_again(before: Sequence[Observation]) -> DecisionInput:
        nonlocal rounds
        rounds += 1
        now = LoopClock().now()
        untold = look(0, healthy=None, observer=SELF).model_copy(update={"at": now})
        return an_input((*before, untold), asked_at=now)

    _, decision = run_in_no_time(until_settled(look_again, LoopClock()))

    assert decision.outcome is Outcome.WAIT
    assert rounds == rounds_of(FailoverPolicy()) == 7


def test_stops_looking_when_the_source_is_back() -> None:
    answers = iter([False, False, True])

    async def look_again(before: Sequence[Observation]) -> DecisionInput:
        now = LoopClock().now()
        seen = look(0, next(answers), observer=SELF).model_copy(update={"at": now})
        return an_input((*before, seen), asked_at=now)

    _, decision = run_in_no_time(until_settled(look_again, LoopClock()))

    assert decision.outcome is Outcome.REFUSE
    assert said(decision)[Guard.QUORUM].startswith("east answers")


@pytest.mark.parametrize(
    ("prefer", "active", "to", "expected"),
    [
        ((), "east", "", ("west", "north")),
        (("north",), "east", "", ("north", "west")),
        ((), "west", "", ("north",)),
        ((), "east", "north", ("north",)),
        ((), "west", "east", ("east",)),
    ],
)
def test_prefers_targets_as_the_plan_says(
    prefer: tuple[str, ...], active: str, to: str, expected: tuple[str, ...]
) -> None:
    plan = CONFIGURATION.plan("p")
    plan = plan.model_copy(update={"failover": FailoverPolicy(prefer=prefer)})

    assert candidates(plan, "east", active, to) == expected


async def test_names_what_may_be_chosen_where_a_target_was_mistyped(make_scene: SceneMaker) -> None:
    async with make_scene([]) as scene:
        with pytest.raises(NotATarget, match="norht is not a target of east"):
            await evaluated(scene, to="norht", outage_of="east")
