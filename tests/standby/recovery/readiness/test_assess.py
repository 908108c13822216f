"""Readiness of emulated regions: while the source answers, while it is dark, and after a switch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from standby.cli.replicate import replicate_directly
from standby.fencing import Assignment, Phase, hold_fence
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, open_recovery
from standby.recovery.readiness.assess import assess, assess_plan
from standby.recovery.readiness.document import Bucket, Readiness, State
from standby.recovery.runs import DrillSummary, LatestDrills
from standby.recovery.snapshots.take import take_snapshot
from standby.replication.items import Selection
from tests.patience import PATIENCE

if TYPE_CHECKING:
    from tests.conftest import Scene, SceneMaker

DARK = 2.0
"""Seconds that resources have where one of them will not answer."""

PLENTY = 10.0
"""Seconds that they have where all do."""


async def copied(scene: Scene, **selection: Any) -> None:
    """Replicate, as somebody does every night."""
    await replicate_directly(scene.configuration, "p", Selection(**selection), None, lambda _: None)


@asynccontextmanager
async def recovering(scene: Scene) -> AsyncIterator[RecoveryContext]:
    async with open_recovery(scene.configuration, "p") as context:
        yield context


async def assessed(scene: Scene, primary: str = "east", target: str = "west", **how: Any) -> Readiness:
    async with recovering(scene) as context:
        return await assess(context, primary, target, **{"seconds": PLENTY, **how})


async def switched(scene: Scene, active: str, phase: Phase = Phase.STEADY) -> None:
    """Let another resource serve in the place of east."""
    async with recovering(scene) as context, hold_fence(context.vault, context.plan) as held:
        assignment = Assignment(
            active=active, phase=phase, previous="east", run_id="a-switch", since=context.clock.now()
        )
        await held.write(held.fence.model_copy(update={"epoch": 1, "assignments": {"east": assignment}}))
        # A failover leaves a line in the log, and a log that is missing is a loss.
        await record_action(context, AuditAction.ACTIVATED, {"home": "east", "to": active}, epoch=1)


def buckets(readiness: Readiness) -> set[Bucket]:
    # That no drill has tested it is so in most of these.
    return {reason.bucket for reason in readiness.reasons} - {Bucket.NEVER_DRILLED}


def of(readiness: Readiness, bucket: Bucket) -> tuple[str, ...]:
    return next(reason.analyzers for reason in readiness.reasons if reason.bucket is bucket)


@pytest.fixture
def two(make_analyzer: Callable[..., dict[str, Any]]) -> list[dict[str, Any]]:
    """A router and what it routes to."""
    return [make_analyzer("router", "invoice"), make_analyzer("invoice")]


async def test_after_a_replication_the_target_is_ready(make_scene: SceneMaker, two: list[Any]) -> None:
    async with make_scene(two, targets=("west",), target_id="{id}-dr") as scene:
        before = await assessed(scene)
        await copied(scene)
        after = await assessed(scene)
    assert (before.state, before.missing) == (State.NOT_READY, ("invoice", "router"))
    assert of(before, Bucket.MISSING) == ("invoice", "router")
    assert (after.state, after.missing, buckets(after)) == (State.READY, (), set())
    assert after.names == {"invoice": "invoice", "router": "router-dr"}
    assert after.source_answered
    assert all(point.source_changed is False for point in after.points)


async def test_each_pair_of_a_plan_is_assessed(make_scene: SceneMaker, two: list[Any]) -> None:
    async with make_scene(two) as scene:
        await copied(scene, targets=("west",))
        async with recovering(scene) as context:
            found = await assess_plan(context, seconds=PLENTY)
        calls = (await scene.stats("east"))["calls"]
    assert {(each.primary, each.target): each.state for each in found} == {
        ("east", "west"): State.READY,
        ("east", "north"): State.NOT_READY,
    }
    assert calls["list"] == 2, "one for the replication, one for both pairs"


@pytest.mark.parametrize(
    ("edited", "bucket"),
    [(("west",), Bucket.EDITED), (("east",), Bucket.STALE), (("east", "west"), Bucket.DIVERGED)],
)
async def test_what_was_edited_since_the_copy_is_seen_at_both_resources(
    make_scene: SceneMaker, two: list[Any], edited: tuple[str, ...], bucket: Bucket
) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await copied(scene)
        for resource in edited:
            order = {"resource": resource, "analyzer": "invoice", "changes": {"description": resource}}
            await scene.control("/edit", order)
        found = await assessed(scene)
    assert of(found, bucket) == ("invoice",)
    assert found.state is (State.READY if bucket is Bucket.STALE else State.NOT_READY)


async def test_a_copy_that_is_behind_for_longer_than_the_rpo_is_not_ready(
    make_scene: SceneMaker, two: list[Any]
) -> None:
    async with make_scene(two, targets=("west",), objectives={"rpo": "0.001s"}) as scene:
        await copied(scene)
        order = {"resource": "east", "analyzer": "invoice", "changes": {"description": "newer"}}
        await scene.control("/edit", order)
        found = await assessed(scene)
    assert (found.state, of(found, Bucket.RPO_MISSED)) == (State.NOT_READY, ("invoice",))
    assert {point.analyzer: point.met for point in found.points} == {"invoice": False, "router": True}


async def test_what_is_at_the_target_by_other_hands_is_foreign(
    make_scene: SceneMaker, make_analyzer: Callable[..., dict[str, Any]]
) -> None:
    async with make_scene([make_analyzer("invoice")], targets=("west",)) as scene:
        await copied(scene)
        async with recovering(scene) as context:
            await context.vault.write("ledger/2025-11-01/east_west.jsonl", b"")
        await scene.control("/edit", {"resource": "west", "analyzer": "invoice", "changes": {"description": "theirs"}})
        found = await assessed(scene)
    assert (found.state, of(found, Bucket.FOREIGN)) == (State.NOT_READY, ("invoice",))


async def test_a_model_that_the_target_lacks_is_a_reason_also_for_copies_in_sync(
    make_scene: SceneMaker, two: list[Any]
) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await copied(scene)
        await scene.control("/settings", {"resource": "west", "defaults": {"gpt-4.1": "gpt-4.1"}})
        found = await assessed(scene)
        dark = await assessed(scene, ask_source=False)
    for readiness in (found, dark):
        assert readiness.state is State.NOT_READY
        assert of(readiness, Bucket.MODEL_MISSING) == ("invoice", "router")
        assert readiness.missing == ()


async def test_a_target_that_refuses_us_is_not_ready(make_scene: SceneMaker, two: list[Any]) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await copied(scene)
        await scene.control("/faults", {"resource": "west", "call": "list", "fault": {"kind": "status", "status": 401}})
        found = await assessed(scene)
    assert (found.state, buckets(found)) == (State.NOT_READY, {Bucket.PERMISSION})
    assert found.names == {"invoice": "invoice", "router": "router"}


@pytest.mark.parametrize("kind", ["refuse", "hang", "unavailable"])
async def test_a_target_that_is_dark_is_unknown(make_scene: SceneMaker, two: list[Any], kind: str) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await copied(scene)
        await scene.control("/outages", {"resource": "west", "kind": kind})
        found = await assessed(scene, seconds=DARK)
    assert (found.state, buckets(found)) == (State.UNKNOWN, {Bucket.UNREACHABLE})
    assert found.source_answered


@pytest.mark.parametrize("kind", ["refuse", "hang", "unavailable"])
async def test_while_the_source_is_dark_the_records_say_that_the_target_is_ready(
    make_scene: SceneMaker, two: list[Any], kind: str
) -> None:
    async with make_scene(two, targets=("west",), target_id="{id}-dr", objectives={"rpo": "1h"}) as scene:
        await copied(scene)
        await scene.control("/outages", {"resource": "east", "kind": kind})
        async with asyncio.timeout(PATIENCE):
            found = await assessed(scene, seconds=DARK)
    assert (found.state, buckets(found)) == (State.READY, {Bucket.SOURCE_UNREACHABLE})
    assert not found.source_answered
    assert found.names == {"invoice": "invoice", "router": "router-dr"}
    assert all((point.met, point.source_changed) == (True, None) for point in found.points)


async def test_the_source_is_not_asked_where_nobody_wants_it(make_scene: SceneMaker, two: list[Any]) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await copied(scene)
        before = (await scene.stats("east"))["calls"]
        found = await assessed(scene, ask_source=False)
        assert (await scene.stats("east"))["calls"] == before
    assert (found.state, found.source_answered, buckets(found)) == (State.READY, False, set())


async def test_in_the_dark_what_is_gone_or_was_edited_at_the_target_is_seen(
    make_scene: SceneMaker, two: list[Any]
) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await copied(scene)
        async with recovering(scene) as context:
            await context.connections["west"].delete_analyzer("router")
        await scene.control("/edit", {"resource": "west", "analyzer": "invoice", "changes": {"description": "edited"}})
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        found = await assessed(scene, seconds=DARK)
    assert (found.state, found.missing) == (State.NOT_READY, ("router",))
    assert of(found, Bucket.EDITED) == ("invoice",)
    (missing,) = (reason for reason in found.reasons if reason.bucket is Bucket.MISSING)
    assert "standby restore p --to west" in missing.next_action


async def test_in_the_dark_what_a_run_had_left_behind_misses_the_rpo(make_scene: SceneMaker, two: list[Any]) -> None:
    async with make_scene(two, targets=("west",), objectives={"rpo": "0.001s"}) as scene:
        await copied(scene)
        await scene.control("/edit", {"resource": "east", "analyzer": "router", "changes": {"description": "newer"}})
        await copied(scene)  # Refused: what is there may not be replaced.
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        found = await assessed(scene, seconds=DARK)
    assert (found.state, of(found, Bucket.RPO_MISSED)) == (State.NOT_READY, ("router",))
    assert {point.analyzer: (point.met, point.source_changed) for point in found.points} == {
        "invoice": (None, None),
        "router": (False, True),
    }


async def test_while_the_source_is_silent_what_was_deleted_at_both_resources_is_not_missed(
    make_scene: SceneMaker, two: list[Any]
) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await copied(scene)
        async with recovering(scene) as context:
            for resource in ("east", "west"):
                await context.connections[resource].delete_analyzer("router")
        await copied(scene)
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        found = await assessed(scene, seconds=DARK)
    assert (found.state, found.names) == (State.READY, {"invoice": "invoice"})


async def test_in_the_dark_a_newer_snapshot_says_what_no_run_has_seen(
    make_scene: SceneMaker, two: list[Any], make_analyzer: Callable[..., dict[str, Any]]
) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await copied(scene)
        async with recovering(scene) as context:
            fresh = {key: value for key, value in make_analyzer("fresh").items() if key != "analyzerId"}
            started = await context.connections["east"].put_analyzer("fresh", fresh)
            while not (await context.connections["east"].poll(started.operation_url)).operation.done:
                await asyncio.sleep(0.02)
            await take_snapshot(context)
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        found = await assessed(scene, seconds=DARK)
    assert (found.state, found.missing) == (State.NOT_READY, ("fresh",))


async def test_while_the_source_is_silent_and_without_records_nothing_is_known(
    make_scene: SceneMaker, two: list[Any]
) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        found = await assessed(scene, seconds=DARK)
    assert found.state is State.UNKNOWN
    assert buckets(found) == {Bucket.NOTHING_KNOWN, Bucket.SOURCE_UNREACHABLE}


async def test_in_the_dark_a_snapshot_says_what_is_missing(make_scene: SceneMaker, two: list[Any]) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        async with recovering(scene) as context:
            await take_snapshot(context)
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        found = await assessed(scene, seconds=DARK)
    assert (found.state, found.missing) == (State.NOT_READY, ("invoice", "router"))


async def test_in_the_dark_what_equals_the_snapshot_needs_no_ledger(make_scene: SceneMaker, two: list[Any]) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await copied(scene)
        async with recovering(scene) as context:
            await take_snapshot(context)
            await context.vault.write("ledger/2025-11-01/east_west.jsonl", b"")
            await context.vault.write("readiness/p.json", b"")
        await scene.control("/edit", {"resource": "west", "analyzer": "router", "changes": {"description": "other"}})
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        found = await assessed(scene, seconds=DARK)
    assert (found.state, of(found, Bucket.FOREIGN)) == (State.NOT_READY, ("router",))
    assert {point.analyzer: point.verified_at is not None for point in found.points} == {
        "invoice": True,
        "router": False,
    }


async def test_in_the_dark_a_lost_ledger_leaves_the_copies_unverified(make_scene: SceneMaker, two: list[Any]) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await copied(scene)
        async with recovering(scene) as context:
            await context.vault.write("ledger/2025-11-01/east_west.jsonl", b"")
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        found = await assessed(scene, seconds=DARK)
    assert (found.state, of(found, Bucket.UNVERIFIED)) == (State.UNKNOWN, ("invoice", "router"))


async def test_once_switched_the_failback_is_assessed(make_scene: SceneMaker, two: list[Any]) -> None:
    async with make_scene(two, targets=("west",), target_id="{id}-dr") as scene:
        await copied(scene)
        await switched(scene, "west", Phase.ACTIVATED)
        at_target = await assessed(scene)
        at_home = await assessed(scene, target="east")
        await scene.control(
            "/edit", {"resource": "west", "analyzer": "router-dr", "changes": {"description": "edited"}}
        )
        edited = await assessed(scene)
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        dark = await assessed(scene, seconds=DARK)
    assert (at_target.state, buckets(at_target)) == (State.READY, {Bucket.FENCED})
    assert at_target.names == {"invoice": "invoice", "router": "router-dr"}
    assert at_home.names == {"invoice": "invoice", "router": "router"}
    assert "standby commit p" in at_home.reasons[0].next_action
    assert (edited.state, of(edited, Bucket.STALE)) == (State.READY, ("router",))
    assert (dark.state, buckets(dark)) == (State.UNKNOWN, {Bucket.FENCED, Bucket.UNREACHABLE})


async def test_once_switched_the_other_target_is_assessed_by_records(make_scene: SceneMaker, two: list[Any]) -> None:
    async with make_scene(two) as scene:
        await copied(scene)
        await switched(scene, "west")
        found = await assessed(scene, target="north")
    assert (found.state, buckets(found), found.active) == (State.READY, {Bucket.FENCED}, "west")
    assert not found.source_answered


async def test_the_last_drill_of_the_target_is_given(make_scene: SceneMaker, two: list[Any]) -> None:
    async with make_scene(two) as scene:
        await copied(scene)
        async with recovering(scene) as context:
            drill = DrillSummary(
                run_id="d",
                ended_at=context.clock.now(),
                target="north",
                passed=True,
                seconds=9.0,
                recovery_seconds=4.0,
                reason="",
            )
            await LatestDrills.change(context.vault, "p", lambda known: known.after(drill))
            found = {each.target: each for each in await assess_plan(context, seconds=PLENTY)}
    assert (found["west"].last_drill, found["north"].last_drill) == (None, drill)


async def test_models_that_soon_end_are_given_where_azure_says_so(
    make_scene: SceneMaker, two: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_scene(two, targets=("west",)) as scene:
        await copied(scene)
        monkeypatch.setenv("IDENTITY_ENDPOINT", scene.emulator.identity.endpoint)
        monkeypatch.setenv("IDENTITY_HEADER", scene.emulator.identity.header)
        west = {
            **scene.configuration.resources["west"].model_dump(),
            "credentials": {"kind": "entra"},
            "arm_endpoint": scene.emulator.arm,
        }
        document = scene.configuration.model_dump()
        document["resources"] |= {"west": west}
        known = type(scene)(scene.emulator, type(scene.configuration).model_validate(document))
        ends = "2020-01-01T00:00:00Z"
        await scene.control(
            "/settings",
            {
                "resource": "west",
                "deployments": [
                    {"name": "gpt-4.1", "model": "gpt-4.1", "retires_at": ends},
                    {"name": "text-embedding-3-large", "model": "text-embedding-3-large"},
                ],
            },
        )
        found = await assessed(known)
        await scene.control("/faults", {"resource": "west", "call": "arm_models", "fault": {"kind": "hang"}})
        silent = await assessed(known, seconds=DARK)
    (retirement,) = found.retirements
    assert (retirement.deployment, retirement.analyzers) == ("gpt-4.1", ("invoice", "router"))
    assert retirement.retires_at.isoformat() == "2020-01-01T00:00:00+00:00"
    assert (found.state, buckets(found)) == (State.READY, {Bucket.MODEL_RETIRING})
    assert (silent.state, silent.retirements) == (State.READY, ())
