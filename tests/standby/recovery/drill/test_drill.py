"""A drill passes when the failover worked and nothing of it is left; whatever else happens, it says so."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from standby.config.configuration import Configuration
from standby.config.vault import HmacSigning
from standby.fencing import Assignment, Fence, Phase, hold_fence, read_fence
from standby.recovery.activation.file import FileActivation
from standby.recovery.activation.sinks import Activation
from standby.recovery.assignments import NotATarget
from standby.recovery.audit import AuditAction, verify_audit
from standby.recovery.context import RecoveryContext, Stage, open_recovery
from standby.recovery.drill.cleanup import DrillManifest, DrillUnderWay, LeftBehind, clean_up, hold_drills
from standby.recovery.drill.drill import ScratchUnfit, ServesAlready, drill
from standby.recovery.drill.findings import DrillReport, check_evidence, verify_evidence
from standby.recovery.drill.sandbox import Published
from standby.recovery.failover.errors import FailoverUnfinished
from standby.recovery.runs import Durations, Kind, LatestDrills
from standby.recovery.snapshots.fidelity import Fidelity
from standby.recovery.snapshots.take import take_snapshot
from standby.replication.inventory import DRILL_TAG
from standby.replication.report import Via
from tests.standby.recovery.stages import DirectStages
from tests.standby.replication.world import FakeClock

T = TypeVar("T")

SIGNING = HmacSigning.model_validate({"key": "canary-0123456789abcdef"})
VIA: Via = "direct"
DEFAULTS = {"gpt-4.1": "gpt-4.1", "text-embedding-3-large": "text-embedding-3-large"}


class HastyClock(FakeClock):
    """Waits take no time but are counted; dates are today's, as the emulator's are."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class Cancelling:
    """Stages that cancel a task when one of them has begun."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.task: asyncio.Task[DrillReport]

    async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:
        if name.startswith(self.name):
            self.task.cancel()
        return await work()


async def cancelled_in(context: RecoveryContext, stage: str) -> DrillReport:
    stages = Cancelling(stage)
    stages.task = asyncio.create_task(drill(context, "east", "west", stages))
    return await stages.task


@asynccontextmanager
async def opened(
    configuration: Configuration, run_id: str = "run1", *, hasty: bool = True
) -> AsyncIterator[RecoveryContext]:
    async with open_recovery(configuration, "p", actor="ada@desk", run_id=run_id) as context:
        yield replace(context, run=replace(context.run, clock=HastyClock())) if hasty else context


def settled(configuration: Configuration, **changed: Any) -> Configuration:
    """Add a key, a sink, and more to a configuration."""
    vault = configuration.vault.model_copy(update={"signing": SIGNING})
    return configuration.model_copy(update={"vault": vault, **changed})


async def ids(scene: Any, resource: str) -> set[str]:
    async with open_recovery(scene.configuration, "p") as context:
        listed = await context.connections[resource].list_analyzers()
    return {found.analyzer_id for found in listed if not found.analyzer_id.startswith("prebuilt-")}


async def drilled(configuration: Configuration, **options: Any) -> DrillReport:
    async with opened(configuration, **options) as context:
        return await drill(context, "east", "west", DirectStages())


def files_below(folder: Path, *left_out: str) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not str(path.relative_to(folder)).startswith(left_out)
    }


@asynccontextmanager
async def kept(make_scene: Any, analyzers: Iterable[dict[str, Any]], **options: Any) -> AsyncIterator[Any]:
    """A scene whose analyzers are in a snapshot, and whose source is gone."""
    async with make_scene(list(analyzers), **options) as made:
        scene = replace(made, configuration=settled(made.configuration))
        async with opened(scene.configuration, "snapshot") as context:
            assert (await take_snapshot(context)).complete
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        yield scene


async def test_passes_without_the_source_and_leaves_nothing(
    make_scene: Any, make_analyzer: Any, tmp_path: Path
) -> None:
    three = [make_analyzer("router", "invoice"), make_analyzer("invoice"), make_analyzer("contract")]
    async with kept(make_scene, three, objectives={"rto": "10m"}) as scene:
        report = await drilled(scene.configuration)

        assert report.reasons == ()
        assert report.passed
        assert (report.primary, report.to, report.scratch, report.via) == ("east", "west", None, VIA)
        assert (report.analyzers.count, report.analyzers.usable) == (3, 3)
        assert dict(report.analyzers.fidelity) == {Fidelity.EQUIVALENT: 3}
        assert report.recovery_seconds is not None
        assert (report.rto_seconds, report.rto_met) == (600.0, True)
        prefix = "drill-run1-"
        assert set(report.cleanup.created) == {f"{prefix}{name}" for name in ("router", "invoice", "contract")}
        assert report.cleanup.deleted == report.cleanup.created
        assert (report.cleanup.left, report.cleanup.proven) == ((), True)
        assert await ids(scene, "west") == set()
        names = [phase.name for phase in report.phases]
        assert names[0] == "plan the drill at west"
        assert "restore at west" in names
        assert "publish nobody" in names
        assert names[-2:] == ["inspect west", "clean up west"]
        assert all(phase.outcome == "done" for phase in report.phases)
        assert (await scene.stats("east"))["calls"].get("put", 0) == 0


async def test_the_real_fence_log_measurements_and_sinks_have_no_part_in_it(
    make_scene: Any, make_analyzer: Any, tmp_path: Path
) -> None:
    sink = tmp_path / "active.json"
    async with kept(make_scene, [make_analyzer("invoice")]) as scene:
        sinks = ({"kind": "file", "path": sink},)
        configuration = Configuration.model_validate(
            {**scene.configuration.model_dump(), "activation": sinks}
        ).model_copy(update={"vault": scene.configuration.vault, "resources": scene.configuration.resources})
        active = Activation(plan="p", epoch=4, changed_at=datetime.now(UTC), run_id="before", sources={"east": None})
        await FileActivation(sink).publish(active)
        async with opened(configuration) as context:
            async with hold_fence(context.vault, context.plan) as held:
                await held.write(held.fence.model_copy(update={"epoch": 4}))
            folder = tmp_path / "vault"
            before = files_below(folder, "drills/", "audit/", "durations/")
            log = (folder / "audit" / "p.jsonl").read_text().splitlines()
            told = sink.read_bytes()

            report = await drill(context, "east", "west", DirectStages())

            assert report.passed, report.reasons
            assert files_below(folder, "drills/", "audit/", "durations/") == before
            assert sink.read_bytes() == told
            lines = (folder / "audit" / "p.jsonl").read_text().splitlines()
            assert lines[: len(log)] == log
            assert [json.loads(line)["deed"] for line in lines[len(log) :]] == [
                AuditAction.DRILL_BEGUN,
                AuditAction.DRILL_ENDED,
            ]
            assert (await verify_audit(context.vault, "p", context.signer)).problems == ()
            # The sandbox's own log is whole, too, and its epoch follows the real one.
            own = folder / "drills" / "p" / "run1"
            drilled = Published.model_validate_json((own / "told.json").read_bytes()).activations
            assert [activation.epoch for activation in drilled] == [5, 5]
            assert drilled[0].sources["east"] is None
            west = drilled[1].sources["east"]
            assert west is not None
            assert west.resource == "west"
            assert dict(west.analyzers) == {"invoice": "drill-run1-invoice"}
            # What it measured is what forecasts are made of.
            durations = await Durations.read(context.vault, "p")
            assert len(durations.of(Kind.RESTORE)) == 1
            assert len(durations.of(Kind.ACTIVATE)) == 1


async def test_writes_evidence_that_can_be_checked(make_scene: Any, make_analyzer: Any, tmp_path: Path) -> None:
    async with kept(make_scene, [make_analyzer("invoice")]) as scene, opened(scene.configuration) as context:
        report = await drill(context, "east", "west", DirectStages())
        folder = tmp_path / "vault" / "drills" / "p" / "run1"

        check = await verify_evidence(context.vault, "p", "run1", context.signer)

        assert check.problems == check.notes == ()
        assert context.signer is not None
        assert check.signed_with == report.key_id == context.signer.key_id
        content, seal = (folder / "evidence.json").read_bytes(), (folder / "evidence.json.sig").read_bytes()
        assert report.evidence == str(folder / "evidence.json")
        assert report.evidence_digest == check.digest == hashlib.sha256(content).hexdigest()
        assert check.evidence is not None
        assert check.evidence.report.passed
        assert check.evidence.failover is not None
        assert check.evidence.failover.state == "activated"
        assert [each.problem for each in check.evidence.analyzers] == [""]
        page = (folder / "evidence.html").read_text()
        assert "east → west: passed in " in page
        assert report.evidence_digest in page
        for text in (content.decode(), page):
            assert "canary" not in text

        vault, signer = context.vault, context.signer
        changed = content.replace(b'"passed": true', b'"passed": false')
        assert changed != content
        forged = await check_evidence(vault, "p", signer, "x", changed, seal)
        assert "Its signature belongs to other content" in forged.problems[0]
        assert "the audit log has another digest" in forged.problems[1]
        without = await check_evidence(vault, "p", signer, "x", content, None)
        assert without.problems == ("Its signature is missing, though a key is configured",)
        unkeyed = await check_evidence(vault, "p", None, "x", changed, seal)
        assert len(unkeyed.problems) == 1
        assert unkeyed.notes == ("vault.signing has no key, so no signature was checked",)


async def test_says_plainly_that_evidence_is_not_signed(make_scene: Any, make_analyzer: Any, tmp_path: Path) -> None:
    async with make_scene([make_analyzer("invoice")]) as scene, opened(scene.configuration) as context:
        await take_snapshot(context)
        report = await drill(context, "east", "west", DirectStages())
        assert report.passed, report.reasons
        assert report.key_id is None
        folder = tmp_path / "vault" / "drills" / "p" / "run1"
        assert not (folder / "evidence.json.sig").exists()
        assert "not signed: vault.signing has no key" in (folder / "evidence.html").read_text()
        assert (await verify_evidence(context.vault, "p", "run1", None)).problems == ()


async def test_fails_where_a_model_is_not_served(make_scene: Any, make_analyzer: Any) -> None:
    other = make_analyzer("claim", models={"completion": "gpt-4.1", "embedding": "text-embedding-ada-002"})
    async with kept(make_scene, [make_analyzer("invoice"), other]) as scene:
        report = await drilled(scene.configuration)
        assert not report.passed
        assert any(reason.startswith("claim: ") and "text-embedding-ada-002" in reason for reason in report.reasons)
        # As in a real failover, the other one serves.
        assert report.analyzers.usable == 1
        assert report.recovery_seconds is not None
        assert report.cleanup.proven
        assert await ids(scene, "west") == set()


async def test_adds_no_defaults_to_a_target(make_scene: Any, make_analyzer: Any) -> None:
    async with kept(make_scene, [make_analyzer("invoice")], missing_defaults="sync") as scene:
        less = {"gpt-4.1": "gpt-4.1"}
        await scene.control("/settings", {"resource": "west", "defaults": less})
        report = await drilled(scene.configuration)
        assert not report.passed
        assert "text-embedding-3-large" in " ".join(report.reasons)
        assert "patch_defaults" not in (await scene.stats("west"))["calls"]


async def test_fails_and_names_what_cannot_be_deleted(make_scene: Any, make_analyzer: Any) -> None:
    three = [make_analyzer("invoice"), make_analyzer("receipt")]
    async with kept(make_scene, three) as scene:
        name = "drill-run1-receipt"
        fault = {"kind": "status", "status": 409, "code": "Conflict"}
        await scene.control(
            "/faults", {"resource": "west", "call": "delete", "analyzer": name, "times": None, "fault": fault}
        )

        report = await drilled(scene.configuration)

        assert not report.passed
        assert report.recovery_seconds is not None
        assert (report.cleanup.left, report.cleanup.proven) == ((name,), False)
        (reason,) = report.reasons
        assert reason.startswith(f"The clean-up is not proven complete. {name} left at west: {name}: ")
        assert await ids(scene, "west") == {name}
        # The next one does not begin beside it, and removes it when that is possible.
        with pytest.raises(LeftBehind) as left:
            await drilled(scene.configuration, run_id="run2")
        assert name in str(left.value)
        async with httpx.AsyncClient(base_url=scene.emulator.control) as control:
            await control.delete("/faults")
        second = await drilled(scene.configuration, run_id="run3")
        assert second.passed, second.reasons
        assert await ids(scene, "west") == set()


async def test_fails_where_an_analyzer_cannot_be_built(make_scene: Any, make_analyzer: Any) -> None:
    two = [make_analyzer("router", "invoice"), make_analyzer("invoice")]
    async with kept(make_scene, two) as scene:
        fault = {"kind": "operation_fails"}
        rule = {"resource": "west", "call": "put", "analyzer": "drill-run1-invoice", "fault": fault}
        await scene.control("/faults", rule)
        report = await drilled(scene.configuration)
        assert not report.passed
        assert report.recovery_seconds is None
        assert any(reason.startswith("invoice: ") for reason in report.reasons)
        assert any(reason.startswith("router: ") for reason in report.reasons)
        assert report.cleanup.proven
        assert await ids(scene, "west") == set()


async def test_fails_where_it_takes_longer_than_the_rto(make_scene: Any, make_analyzer: Any) -> None:
    async with kept(make_scene, [make_analyzer("invoice")], objectives={"rto": "0.001s"}) as scene:
        report = await drilled(scene.configuration)
        assert (report.passed, report.rto_met) == (False, False)
        (reason,) = report.reasons
        assert reason.startswith("The recovery took ")


async def test_a_target_that_is_down_fails_the_drill_and_leaves_evidence(make_scene: Any, make_analyzer: Any) -> None:
    async with kept(make_scene, [make_analyzer("invoice")]) as scene:
        await scene.control("/outages", {"resource": "west", "kind": "refuse"})
        async with opened(scene.configuration) as context:
            report = await drill(context, "east", "west", DirectStages())
            assert not report.passed
            assert "west" in report.reasons[0]
            # Nothing was sent to it, so nothing can be left there.
            assert report.cleanup.proven
            latest = (await LatestDrills.read(context.vault, "p")).at("west")
            assert latest is not None
            assert (latest.passed, latest.run_id, latest.primary) == (False, "run1", "east")
            assert (await verify_evidence(context.vault, "p", "run1", context.signer)).problems == ()


async def test_is_the_last_drill_that_readiness_sees(make_scene: Any, make_analyzer: Any) -> None:
    async with kept(make_scene, [make_analyzer("invoice")]) as scene, opened(scene.configuration) as context:
        report = await drill(context, "east", "west", DirectStages())
        latest = (await LatestDrills.read(context.vault, "p")).at("west")
        assert latest is not None
        assert (latest.passed, latest.reason, latest.recovery_seconds) == (True, "", report.recovery_seconds)


async def test_without_a_snapshot_it_fails_and_says_so(make_scene: Any, make_analyzer: Any) -> None:
    async with make_scene([make_analyzer("invoice")]) as scene:
        report = await drilled(scene.configuration)
        assert not report.passed
        assert report.reasons[0].startswith("The vault has no snapshot of plan p.")


@pytest.mark.parametrize("stage", ["plan the drill", "fence", "restore at", "publish west", "inspect", "clean up"])
async def test_cancelled_in_any_phase_it_leaves_nothing_and_says_so(
    make_scene: Any, make_analyzer: Any, stage: str
) -> None:
    async with kept(make_scene, [make_analyzer("invoice")]) as scene, opened(scene.configuration) as context:
        report = await cancelled_in(context, stage)
        assert report.interrupted
        assert not report.passed
        assert report.reasons[0] == "It was interrupted before its end."
        assert report.cleanup.proven
        assert await ids(scene, "west") == set()
        # It proves nothing about the target, good or bad.
        assert (await LatestDrills.read(context.vault, "p")).newest is None
        async with hold_drills(context.vault, "p") as drills:
            assert drills.drills == ()


async def test_one_drill_at_a_time(make_scene: Any, make_analyzer: Any) -> None:
    async with kept(make_scene, [make_analyzer("invoice")]) as scene, opened(scene.configuration) as context:
        async with hold_drills(context.vault, "p"):
            with pytest.raises(DrillUnderWay):
                await drill(context, "east", "west", DirectStages())
            with pytest.raises(DrillUnderWay):
                await clean_up(context, DirectStages())
        assert await ids(scene, "west") == set()


async def test_only_what_could_really_happen_is_drilled(make_scene: Any, make_analyzer: Any) -> None:
    async with make_scene([make_analyzer("invoice")]) as scene, opened(scene.configuration) as context:

        async def really(side: Assignment) -> None:
            async with hold_fence(context.vault, context.plan) as held:
                await held.write(Fence(plan="p", epoch=3, assignments={"east": side}))

        with pytest.raises(NotATarget):
            await drill(context, "east", "south", DirectStages())
        await really(Assignment(active="west", phase=Phase.ACTIVATED, previous="east"))
        with pytest.raises(ServesAlready):
            await drill(context, "east", "west", DirectStages())
        await really(Assignment(active="east", phase=Phase.SWITCHING, target="north"))
        with pytest.raises(FailoverUnfinished):
            await drill(context, "east", "west", DirectStages())
        assert (await read_fence(context.vault, context.plan)).epoch == 3


async def test_what_was_switched_is_drilled_from_where_it_is(make_scene: Any, make_analyzer: Any) -> None:
    async with kept(make_scene, [make_analyzer("invoice")]) as scene, opened(scene.configuration) as context:
        async with hold_fence(context.vault, context.plan) as held:
            await held.write(Fence(plan="p", epoch=3, assignments={"east": Assignment(active="west")}))
        report = await drill(context, "east", "north", DirectStages())
        assert report.passed, report.reasons


async def test_what_a_dead_drill_left_is_removed_by_the_next_and_by_a_clean_up(
    make_scene: Any, make_analyzer: Any
) -> None:
    async with kept(make_scene, [make_analyzer("invoice")]) as scene, opened(scene.configuration) as context:
        west = context.connections["west"]
        body = make_analyzer("x", tags={DRILL_TAG: "dead"})
        del body["analyzerId"]
        for name in ("drill-dead-invoice", "invoice"):
            await west.put_analyzer(name, body)
        await west.put_analyzer("drill-dead-mine", {**body, "tags": {}})
        async with hold_drills(context.vault, "p") as drills:
            for run_id, resource in (("dead", "west"), ("empty", "north")):
                await drills.begin(
                    DrillManifest(
                        run_id=run_id,
                        primary="east",
                        to=resource,
                        scratch=None,
                        prefix=f"drill-{run_id}-",
                        begun_at=context.clock.now(),
                        actor="ada",
                    )
                )

        told = await clean_up(context, DirectStages())

        assert told.complete
        assert [(each.run_id, each.cleanup.deleted) for each in told.drills] == [
            ("dead", ("drill-dead-invoice",)),
            ("empty", ()),
        ]
        assert await ids(scene, "west") == {"invoice", "drill-dead-mine"}
        assert (await clean_up(context, DirectStages())).drills == ()
        line = (await verify_audit(context.vault, "p", context.signer)).lines[-2]
        assert (line.action, line.facts["drill"], line.facts["passed"]) == (AuditAction.DRILL_ENDED, "dead", False)


def with_scratch(configuration: Configuration) -> Configuration:
    """Take north out of the plan, so that it is only a resource of the configuration."""
    plan = configuration.plan("p")
    pair = plan.pairs[0].model_copy(update={"targets": ("west",)})
    return configuration.model_copy(update={"plans": {"p": plan.model_copy(update={"pairs": (pair,)})}})


async def test_a_scratch_resource_is_used_under_the_real_ids_and_left_as_it_was(
    make_scene: Any, make_analyzer: Any
) -> None:
    two = [make_analyzer("router", "invoice"), make_analyzer("invoice")]
    async with kept(make_scene, two) as scene:
        configuration = with_scratch(scene.configuration)
        async with open_recovery(scene.configuration, "p") as context:
            body = make_analyzer("x", tags={DRILL_TAG: "run1"})
            del body["analyzerId"]
            await context.connections["north"].put_analyzer("somebody-else", body)
        async with opened(configuration) as context:
            report = await drill(context, "east", "west", DirectStages(), scratch="north")
        assert report.passed, report.reasons
        assert (report.to, report.scratch) == ("west", "north")
        assert report.cleanup.created == ("invoice", "router")
        # It has the tag of the drill, and was there before.
        assert await ids(scene, "north") == {"somebody-else"}
        assert await ids(scene, "west") == set()


async def test_a_scratch_resource_that_has_one_of_the_ids_is_refused(make_scene: Any, make_analyzer: Any) -> None:
    async with kept(make_scene, [make_analyzer("invoice")]) as scene:
        async with open_recovery(scene.configuration, "p") as context:
            body = make_analyzer("x")
            del body["analyzerId"]
            await context.connections["north"].put_analyzer("invoice", body)
        async with opened(with_scratch(scene.configuration)) as context:
            with pytest.raises(ScratchUnfit) as refused:
                await drill(context, "east", "west", DirectStages(), scratch="north")
        assert "invoice" in refused.value.cause
        assert await ids(scene, "north") == {"invoice"}


async def test_a_resource_of_a_plan_is_no_scratch_resource(make_scene: Any, make_analyzer: Any) -> None:
    async with kept(make_scene, [make_analyzer("invoice")]) as scene, opened(scene.configuration) as context:
        for resource in ("east", "west", "north"):
            with pytest.raises(ScratchUnfit):
                await drill(context, "east", "west", DirectStages(), scratch=resource)
