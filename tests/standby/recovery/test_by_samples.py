"""Where samples count: a failover's last check, a drill and a restore analyse them, and leave no result behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from standby.config.sinks import FileSink
from standby.recovery.activation.file import FileActivation
from standby.recovery.context import PlainStages, RecoveryContext, open_recovery
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.drill.drill import drill
from standby.recovery.drill.findings import verify_evidence
from standby.recovery.failover.failover import commit, completed, fail_over
from standby.recovery.failover.report import FailoverReport, summary
from standby.recovery.proof.compare import compare_plan
from standby.recovery.proof.records import CompareRequest, Proofs, Verdict
from standby.recovery.readiness.assess import assess_plan
from standby.recovery.readiness.document import Bucket
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import restore
from standby.recovery.snapshots.snapshot import open_snapshot
from standby.recovery.snapshots.take import take_snapshot
from standby.replication.items import Selection, Status
from standby.replication.replicate import begin
from standby.replication.steps import DirectSteps
from tests.conftest import Scene, SceneMaker, analyzer
from tests.standby.recovery.drill.test_drill import HastyClock

EIGHT = {f"Field{number}": {"type": "string", "method": "extract"} for number in range(8)}
SCHEMA = {"name": "fields", "fields": EIGHT}


def at_west(kind: str, **more: Any) -> dict[str, Any]:
    """A fault of every analysis at west."""
    return {"resource": "west", "call": "analyze", "times": None, "fault": {"kind": kind, **more}}


FAILS = at_west("analysis_fails", code="InvalidRequest", inner_code="DefaultsNotSet")
HANGS = at_west("analysis_hangs")
OTHERWISE = at_west("answers_differently")


def put_samples(folder: Path, *analyzers: str, count: int = 4) -> None:
    for name in analyzers:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            page = f"%PDF-1.7\n1 0 obj <</Type /Page>> ({name} {number}) Tj\n%%EOF\n"
            (folder / name / f"{number}.pdf").write_text(page)


@asynccontextmanager
async def proved(
    make_scene: SceneMaker, tmp_path: Path, *, samples: dict[str, Any] | None = None, count: int = 4
) -> AsyncIterator[tuple[Scene, RecoveryContext]]:
    """Copied to west, compared by samples, in a snapshot, and then east is gone."""
    folder = tmp_path / "samples"
    put_samples(folder, "invoice", "receipt", count=count)
    settings = {"path": str(folder), "at_once": 8, **(samples or {})}
    analyzers = [analyzer(name, fieldSchema=SCHEMA) for name in ("invoice", "receipt", "claim")]
    async with make_scene(analyzers, targets=("west",), service_time=0.02, samples=settings) as scene:
        sinks = (FileSink(path=tmp_path / "active.json"),)
        configuration = scene.configuration.model_copy(update={"activation": sinks})
        async with open_recovery(configuration, "p", run_id="run1") as opened:
            context = replace(opened, run=replace(opened.run, clock=HastyClock()))
            async with begin(context.run, Selection(), DirectSteps(context.run)) as replication:
                await replication.run()
            await commit(context)
            report = await compare_plan(context, CompareRequest(), PlainStages())
            assert {item.verdict for item in report.items} == {Verdict.AGREES}, report.items
            assert (await take_snapshot(context)).complete
            await scene.control("/outages", {"resource": "east", "kind": "refuse"})
            yield scene, context


async def to_west(context: RecoveryContext) -> FailoverReport:
    request = FailoverRequest(primary="east", to="west", planned=False)
    return await fail_over(context, request, PlainStages())


async def results(scene: Scene) -> int:
    """How many results the service still has at west."""
    found: int = (await scene.stats("west"))["results"]
    return found


async def analysed(scene: Scene) -> int:
    return sum((await scene.stats("west"))["analyses"].values())


async def test_a_failover_ends_with_a_sample_of_each_analyzer_that_has_any(
    make_scene: SceneMaker, tmp_path: Path
) -> None:
    async with proved(make_scene, tmp_path) as (scene, context):
        before = await analysed(scene)
        report = await to_west(context)
        assert (report.state, report.problems) == ("activated", ())
        assert [(it.analyzer, it.target, it.against, it.samples) for it in report.proofs] == [
            ("invoice", "west", "baseline", 1),
            ("receipt", "west", "baseline", 1),
        ]
        assert [phase.name for phase in report.phases][-2:] == ["verify west", "analyse samples at west"]
        assert (await analysed(scene) - before, await results(scene)) == (2, 0)


async def test_a_target_that_fails_at_its_documents_serves_and_people_are_warned(
    make_scene: SceneMaker, tmp_path: Path
) -> None:
    async with proved(make_scene, tmp_path) as (scene, context):
        await scene.control("/faults", FAILS)
        report = await to_west(context)
        assert (report.state, report.serving, report.complete) == ("activated", "west", True)
        assert {it.verdict for it in report.proofs} == {Verdict.DIFFERS}
        assert "invoice at west answers differently from east" in summary(report)
        assert await results(scene) == 0


async def test_the_check_never_holds_up_the_switch_and_ends_in_its_time(make_scene: SceneMaker, tmp_path: Path) -> None:
    async with proved(make_scene, tmp_path, samples={"failover": 1.0}) as (scene, context):
        await scene.control("/faults", HANGS)
        sink, loop = FileActivation(tmp_path / "active.json"), asyncio.get_running_loop()
        before, begun = await analysed(scene), loop.time()
        failing_over = asyncio.create_task(to_west(context))
        while await analysed(scene) == before:
            await asyncio.sleep(0.01)
        # Applications have the target before the first document is analysed there.
        active = await sink.read("p")
        assert active is not None
        assert active.sources["east"] is not None
        report = await failing_over
        assert loop.time() - begun < 10
        assert report.state == "activated"
        assert {it.verdict for it in report.proofs} == {Verdict.NO_VERDICT}
        assert "Samples gave no verdict on invoice and receipt at west" in summary(report)


async def test_a_drill_analyses_samples_before_its_clean_up_whatever_time_a_failover_has_for_them(
    make_scene: SceneMaker, tmp_path: Path
) -> None:
    async with proved(make_scene, tmp_path, samples={"failover": 0}) as (scene, context):
        known = await Proofs.read(context.vault, "p")
        report = await drill(context, "east", "west", PlainStages())
        assert (report.passed, report.reasons, report.by_samples) == (True, (), ())
        assert {(it.analyzer, it.target_analyzer, it.verdict, it.samples) for it in report.proofs} == {
            (name, f"drill-run1-{name}", Verdict.AGREES, 4) for name in ("invoice", "receipt")
        }
        names = [phase.name for phase in report.phases]
        assert names[-2:] == ["analyse samples at west", "clean up west"]
        assert await results(scene) == 0
        # The standby copies keep their own proofs; only the budget is one.
        after = await Proofs.read(context.vault, "p")
        assert after.proofs == known.proofs
        assert sum(after.spent.values()) - sum(known.spent.values()) == 8
        check = await verify_evidence(context.vault, "p", "run1", context.signer)
        assert check.evidence is not None
        assert check.evidence.report.proofs == report.proofs
        page = (tmp_path / "vault/drills/p/run1/evidence.html").read_text()
        assert "2 agree" in page

        before = await analysed(scene)
        switched = await to_west(replace(context, run_id="run2"))
        assert (switched.state, switched.proofs, await analysed(scene)) == ("activated", (), before)


async def test_a_drill_fails_where_every_document_does_and_passes_with_other_answers(
    make_scene: SceneMaker, tmp_path: Path
) -> None:
    async with proved(make_scene, tmp_path) as (scene, context):
        await scene.control("/faults", OTHERWISE | {"times": 8})
        report = await drill(context, "east", "west", PlainStages())
        assert (report.passed, {it.verdict for it in report.proofs}) == (True, {Verdict.DIFFERS})
        assert any("invoice at west answers differently from east" in said for said in report.by_samples)

        await scene.control("/faults", FAILS)
        report = await drill(replace(context, run_id="run2"), "east", "west", PlainStages())
        assert not report.passed
        assert any(reason.startswith("invoice: ") for reason in report.reasons)
        assert report.analyzers.usable == 1
        assert (report.cleanup.proven, await results(scene)) == (True, 0)


async def test_a_drill_that_is_interrupted_while_it_analyses_leaves_neither_analyzers_nor_results(
    make_scene: SceneMaker, tmp_path: Path
) -> None:
    async with proved(make_scene, tmp_path) as (scene, context):
        await scene.control("/faults", HANGS)
        before = await analysed(scene)
        drilling = asyncio.create_task(drill(context, "east", "west", PlainStages()))
        while await analysed(scene) == before:
            await asyncio.sleep(0.01)
        drilling.cancel()
        report = await drilling
        assert (report.interrupted, report.passed, report.cleanup.proven) == (True, False, True)
        assert await results(scene) == 0


async def restored(context: RecoveryContext) -> Any:
    snapshot = await open_snapshot(context)
    return await completed(context, await restore(context, await plan_restore(context, snapshot, "west")))


async def test_a_restore_says_afterwards_how_what_it_built_answers(make_scene: SceneMaker, tmp_path: Path) -> None:
    async with proved(make_scene, tmp_path) as (scene, context):
        await context.connections["west"].delete_analyzer("invoice")
        await scene.control("/faults", OTHERWISE)
        report = await restored(context)
        assert report.complete
        # What was there already was not built, and has its proof.
        assert [(it.analyzer, it.verdict, it.samples) for it in report.proofs] == [("invoice", Verdict.DIFFERS, 4)]
        assert any("invoice at west answers differently from east" in problem for problem in report.problems)
        (found,) = await assess_plan(context)
        differs = [reason for reason in found.reasons if reason.bucket is Bucket.PROOF_DIFFERS]
        assert [reason.analyzers for reason in differs] == [("invoice",)]

        # What was built long after its proof was not proved, whoever built it.
        old = [it.model_copy(update={"compared_at": it.compared_at - timedelta(hours=1)}) for it in report.proofs]
        await Proofs.change(context.vault, "p", lambda all_: all_.model_copy(update={"proofs": tuple(old)}))
        (found,) = await assess_plan(context)
        never = [reason.analyzers for reason in found.reasons if reason.bucket is Bucket.NEVER_COMPARED]
        assert never == [("invoice", "receipt")]

        # Interrupted while it analyses, it tells what it built.
        await context.connections["west"].delete_analyzer("receipt")
        await scene.control("/faults", HANGS)
        before = await analysed(scene)
        restoring = asyncio.create_task(restored(context))
        while await analysed(scene) == before:
            await asyncio.sleep(0.01)
        restoring.cancel()
        report = await restoring
        ended = {it.analyzer: it.status for it in report.items}
        assert (report.interrupted, report.proofs, ended["receipt"]) == (True, (), Status.SUCCEEDED)
        assert await results(scene) == 0


async def test_samples_that_cannot_be_analysed_stop_neither_a_failover_nor_a_drill(
    make_scene: SceneMaker, tmp_path: Path
) -> None:
    async with proved(make_scene, tmp_path, samples={"budget": {"run": 40, "month": 24}}) as (_, context):
        tested = await drill(context, "east", "west", PlainStages())
        assert (tested.passed, tested.proofs) == (True, ())
        assert "No sample could be analysed at west" in tested.by_samples[0]
        report = await to_west(replace(context, run_id="run2"))
        assert (report.state, report.serving) == ("activated", "west")
        assert "No sample could be analysed at west" in summary(report)
