"""What a restore rebuilt at an emulated target is told, and what is told to do about it helps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from standby.cli.replicate import replicate_directly
from standby.fencing import Assignment, hold_fence
from standby.recovery.context import open_recovery
from standby.recovery.failback.failback import fail_back
from standby.recovery.failback.report import Divergence
from standby.recovery.readiness.assess import assess
from standby.recovery.readiness.document import Bucket, Readiness, Reason, State
from standby.recovery.readiness.judge import judge_readiness
from standby.recovery.snapshots.fidelity import Fidelity
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.recovery.snapshots.take import take_snapshot
from standby.replication.items import Selection
from standby.replication.needs import Severity
from standby.replication.report import Report
from standby.replication.verdict import Action
from standby.service.errors import Unreachable
from tests.standby.recovery.readiness.facts_at_hand import facts, good
from tests.standby.recovery.stages import DirectStages

if TYPE_CHECKING:
    from tests.conftest import Scene, SceneMaker

LABELS = [{"kind": "labeledData", "containerUrl": "https://x.blob.core.example/l", "fileListPath": "f"}]
"""A container that is never asked, so that what it holds is unknown."""


async def replicated(scene: Scene, **selection: Any) -> Report:
    ended = await replicate_directly(scene.configuration, "p", Selection(**selection), None, lambda _: None)
    return ended.report


async def assessed(scene: Scene, **how: Any) -> Readiness:
    async with open_recovery(scene.configuration, "p") as context:
        return await assess(context, "east", "west", seconds=10.0, **how)


async def switched(scene: Scene, active: str) -> None:
    async with (
        open_recovery(scene.configuration, "p") as context,
        hold_fence(context.vault, context.plan) as held,
    ):
        changed = {"epoch": held.fence.epoch + 1, "assignments": {"east": Assignment(active=active)}}
        await held.write(held.fence.model_copy(update=changed))


async def rebuilt(scene: Scene) -> None:
    """Fail over to west, and rebuild there what it lacks."""
    async with open_recovery(scene.configuration, "p") as context:
        await take_snapshot(context)
        await switched(scene, "west")
        plan = await plan_restore(context, await open_snapshot(context), "west")
        assert {item.analyzer: item.fidelity for item in plan.items} == {
            "plain": Fidelity.EQUIVALENT,
            "taught": Fidelity.UNFAITHFUL,
        }
        assert (await restore(context, plan)).complete


async def fidelities(scene: Scene) -> dict[str, Fidelity]:
    async with open_recovery(scene.configuration, "p") as context:
        plan = await plan_restore(context, await open_snapshot(context), "west")
    return {item.analyzer: item.fidelity for item in plan.items}


def told(readiness: Readiness) -> list[Reason]:
    return [reason for reason in readiness.reasons if reason.bucket is Bucket.REBUILT]


@pytest.mark.parametrize("target_id", ["{id}", "{id}-dr"])
async def test_it_is_warned_of_until_a_copy_takes_its_place(
    make_scene: SceneMaker, make_analyzer: Callable[..., dict[str, Any]], target_id: str
) -> None:
    analyzers = [make_analyzer("plain"), make_analyzer("taught", knowledgeSources=LABELS)]
    # Incarnations are told apart by dates, which are whole seconds: a build takes one at least.
    async with make_scene(analyzers, targets=("west",), target_id=target_id, service_time=1.0) as scene:
        await rebuilt(scene)
        away = await assessed(scene)
        async with open_recovery(scene.configuration, "p", run_id="back") as context:
            back = await fail_back(context, "east", DirectStages())
        again = await replicated(scene)
        primary = await assessed(scene)
        before = await fidelities(scene)
        copied = await replicated(scene, targets=("west",), force=("taught",))
        after = await assessed(scene)
        exact = await fidelities(scene)
        calls = {name: (await scene.stats(name))["calls"].get("copy", 0) for name in ("east", "west")}

    [reason] = told(away)
    assert reason.next_action.startswith("When east serves again, copy it again from there with")
    assert back.state == "failed_back"
    assert back.divergence is not None
    assert back.divergence.totals[Divergence.IN_SYNC] == 2
    assert {item.action for item in again.items} == {Action.SKIP}
    [reason] = told(primary)
    assert (reason.severity, reason.analyzers, primary.state) == (Severity.WARNING, ("taught",), State.READY)
    assert reason.next_action == ("Copy it again from east with standby replicate p --target west --force taught")
    assert before == {"plain": Fidelity.EQUIVALENT, "taught": Fidelity.UNFAITHFUL}
    assert {item.analyzer: item.action for item in copied.items} == {
        "plain": Action.SKIP,
        "taught": Action.REPLACE,
    }
    assert copied.complete
    assert told(after) == []
    assert exact == {"plain": Fidelity.EQUIVALENT, "taught": Fidelity.EXACT}
    assert calls == {"east": 0, "west": 1}, "the one that was asked for, and none to and fro"


def test_while_the_source_does_not_answer_the_copy_is_for_later() -> None:
    failure = Unreachable("east does not answer", resource="east")
    dark = facts(good("taught"), rebuilt=("taught",), source_failure=failure)

    [reason] = told(judge_readiness(dark))

    assert reason.next_action.startswith("When east answers, copy it again from there with")


def test_many_are_named_in_part_and_all_are_listed() -> None:
    names = tuple(f"a{number}" for number in range(5))

    [reason] = told(judge_readiness(facts(*map(good, names), rebuilt=names)))

    assert reason.text.startswith("a0, a1, a2 and 2 more at west were rebuilt by a restore")
    assert reason.analyzers == names
