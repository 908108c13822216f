"""Comparing and proving through the library: what it spends, what it leaves behind, and how long it takes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest

from standby.errors import StandbyError
from standby.recovery.context import PlainStages, RecoveryContext, Stage, open_recovery
from standby.recovery.proof.compare import compare_plan, forecast, prove
from standby.recovery.proof.records import (
    CompareReport,
    CompareRequest,
    OpenResult,
    Proofs,
    Verdict,
    note_open,
    read_baseline,
)
from standby.recovery.proof.samples import OverBudget
from standby.replication.items import Selection
from standby.replication.replicate import begin
from standby.replication.steps import DirectSteps
from standby.vault.errors import VaultClosed
from standby.vault.folder import LocalFolder
from tests.conftest import Scene, SceneMaker, analyzer
from tests.patience import PATIENCE

T = TypeVar("T")
FIELDS = {f"Field{number}": {"type": "string", "method": "extract"} for number in range(8)}
SCHEMA = {"name": "fields", "fields": FIELDS}


@asynccontextmanager
async def copied(
    make_scene: SceneMaker, tmp_path: Path, *analyzers: dict[str, Any], **samples: Any
) -> AsyncIterator[tuple[Scene, RecoveryContext]]:
    """Analyzers of eight fields, copied to west, with four documents each."""
    own = list(analyzers) or [analyzer("invoice", fieldSchema=SCHEMA)]
    for each in own:
        folder = tmp_path / "samples" / each["analyzerId"]
        folder.mkdir(parents=True)
        for number in range(4):
            (folder / f"{number}.pdf").write_bytes(b"%%PDF-1.7\n<< /Type /Page >> (No. %d) Tj\n" % number)
    settings = {"path": str(tmp_path / "samples"), "at_once": 8, **samples}
    async with make_scene(own, targets=("west",), service_time=0.02, samples=settings) as scene:
        await scene.control("/settings", {"generate_noise": 0.0})
        async with open_recovery(scene.configuration, "p") as context:
            async with begin(context.run, Selection(), DirectSteps(context.run)) as replication:
                await replication.run()
            yield scene, context


async def compared(context: RecoveryContext, request: CompareRequest | None = None) -> CompareReport:
    return await compare_plan(context, request or CompareRequest(), PlainStages())


async def results(scene: Scene) -> int:
    """How many results the service still has."""
    return sum([(await scene.stats(name))["results"] for name in ("east", "west")])


async def test_the_forecast_is_what_the_run_takes_and_learns_of_tokens(make_scene: SceneMaker, tmp_path: Path) -> None:
    names: list[str] = []

    class Listing:
        async def run(self, stage: Stage, name: str, work: Callable[[], Awaitable[T]]) -> T:
            assert stage is Stage.ANALYZE
            names.append(name)
            return await work()

    async with copied(make_scene, tmp_path) as (_, context):
        request = CompareRequest(samples=1)
        first = await forecast(context, request)
        report = await compare_plan(context, request, Listing())
        assert (first.analyzers, first.samples, first.analyses, first.pages) == (1, 1, 3, 3)
        # No name of a file, which may say whose document it is.
        by = [re.sub("analyze [0-9a-f]{8} by", "analyze it by", name) for name in sorted(names)]
        assert by == ["analyze it by invoice at east"] * 2 + ["analyze it by invoice at west"]
        again = await forecast(context, request)
        assert again.tokens == pytest.approx(sum(report.tokens.values()), rel=0.01)
        assert again.share.most == 200


async def test_runs_that_meet_never_spend_more_than_the_month_has(make_scene: SceneMaker, tmp_path: Path) -> None:
    async with copied(make_scene, tmp_path, budget={"month": 30}) as (scene, context):
        ended = await asyncio.gather(*(compared(context) for _ in range(4)), return_exceptions=True)
        spent = (await Proofs.read(context.vault, "p")).spent
        made = [it.analyses for it in ended if isinstance(it, CompareReport)]
        assert sum(isinstance(it, OverBudget) for it in ended) == 4 - len(made)
        assert [*spent.values()] == [sum(made)] == [24]
        assert await results(scene) == 0


@pytest.mark.parametrize("after", [0.0, 0.12, 0.3])
async def test_a_cancellation_leaves_no_result_wherever_it_comes(
    make_scene: SceneMaker, tmp_path: Path, after: float
) -> None:
    async with copied(make_scene, tmp_path) as (scene, context):
        # What is sent takes a while: some documents are on their way as it comes.
        await scene.control("/settings", {"latency": 0.1})
        seen = asyncio.Event()
        task = asyncio.create_task(compare_plan(context, CompareRequest(), PlainStages(), lambda progress: seen.set()))
        await seen.wait()
        await asyncio.sleep(after)
        task.cancel()
        report = await task
        assert report.interrupted
        assert {it.verdict for it in report.items} == {Verdict.NO_VERDICT}
        assert report.left == ()
        assert await results(scene) == 0
        known = await Proofs.read(context.vault, "p")
        assert (known.proofs, [*known.spent.values()]) == ((), [report.analyses])


async def test_a_router_without_its_child_differs(make_scene: SceneMaker, tmp_path: Path) -> None:
    child = analyzer("invoice", fieldSchema=SCHEMA)
    async with copied(make_scene, tmp_path, child, analyzer("router", "invoice")) as (scene, context):
        await context.connections["west"].delete_analyzer("invoice")
        report = await compared(context, CompareRequest(analyzers=("router",)))
        assert [it.verdict for it in report.items] == [Verdict.DIFFERS]
        assert await results(scene) == 0


async def test_fewer_samples_do_not_replace_a_baseline_that_knows_more(make_scene: SceneMaker, tmp_path: Path) -> None:
    async with copied(make_scene, tmp_path) as (_, context):
        await compared(context)
        await compared(context, CompareRequest(samples=1))
        baseline = await read_baseline(context.vault, "p", "east", "invoice")
        assert baseline is not None
        assert len(baseline.readings) == 4


async def test_a_copy_is_proved_by_the_baseline_without_its_source(make_scene: SceneMaker, tmp_path: Path) -> None:
    async with copied(make_scene, tmp_path) as (scene, context):
        # Without a baseline there is nothing to say.
        assert await prove(context, "east", "west", {"invoice": "invoice"}, seconds=10, samples=4) == ()
        await compared(context)
        await scene.control("/outages", {"resource": "east", "kind": "refuse"})
        (proof,) = await prove(context, "east", "west", {"invoice": "invoice"}, seconds=10, samples=4)
        assert (proof.verdict, proof.against, proof.samples) == (Verdict.AGREES, "baseline", 4)
        fault = {"resource": "west", "call": "analyze", "times": None, "fault": {"kind": "answers_differently"}}
        await scene.control("/faults", fault)
        (proof,) = await prove(context, "east", "west", {"invoice": "invoice"}, seconds=10, samples=4)
        assert proof.verdict is Verdict.DIFFERS
        assert await results(scene) == 0


async def test_what_has_a_temporary_id_is_held_against_the_baseline_and_not_what_has_the_real_one(
    make_scene: SceneMaker, tmp_path: Path
) -> None:
    async with copied(make_scene, tmp_path) as (_, context):
        await compared(context)
        client = context.connections["west"]
        real = (await client.get_analyzer("invoice")).definition()
        for name, definition in (("a-invoice", real), ("invoice", {**real, "description": "edited"})):
            started = await client.put_analyzer(name, definition, allow_replace=True)
            while not (await client.poll(started.operation_url)).operation.done:
                await asyncio.sleep(0.01)
        (proof,) = await prove(context, "east", "west", {"invoice": "a-invoice"}, seconds=10, samples=4)
        assert (proof.target_analyzer, proof.verdict) == ("a-invoice", Verdict.AGREES)
        # An edit made where the standby serves is nothing that a baseline could tell about.
        assert await prove(context, "east", "west", {"invoice": "invoice"}, seconds=10, samples=4) == ()


async def test_proving_keeps_to_the_budget_of_a_run(make_scene: SceneMaker, tmp_path: Path) -> None:
    async with copied(make_scene, tmp_path, each=1, budget={"run": 3}) as (scene, context):
        await compared(context)
        # The copy is proved whole or not at all.
        with pytest.raises(OverBudget, match="takes 4 analyses, and plan p may make 3 more"):
            await prove(context, "east", "west", {"invoice": "invoice"}, seconds=10, samples=4)
        (proof,) = await prove(context, "east", "west", {"invoice": "invoice"}, seconds=10, samples=3)
        assert (await scene.stats("west"))["analyses"]["invoice"] == 1 + 3
        assert proof.verdict is not Verdict.DIFFERS


async def test_proving_ends_in_its_time_with_its_results_deleted(make_scene: SceneMaker, tmp_path: Path) -> None:
    async with copied(make_scene, tmp_path) as (scene, context):
        await compared(context)
        fault = {"resource": "west", "call": "analyze", "times": None, "fault": {"kind": "analysis_hangs"}}
        await scene.control("/faults", fault)
        begun = time.monotonic()
        (proof,) = await prove(context, "east", "west", {"invoice": "invoice"}, seconds=1.0)
        assert time.monotonic() - begun < 1.5
        assert proof.verdict is Verdict.NO_VERDICT
        assert await results(scene) == 0


async def test_a_target_that_does_not_answer_in_time_is_an_error(make_scene: SceneMaker, tmp_path: Path) -> None:
    async with copied(make_scene, tmp_path) as (scene, context):
        await compared(context)
        await scene.control("/outages", {"resource": "west", "kind": "hang"})
        begun = time.monotonic()
        with pytest.raises(StandbyError, match="could not be inspected within 1 s"):
            await prove(context, "east", "west", {"invoice": "invoice"}, seconds=1.0)
        assert time.monotonic() - begun < 1.5


async def test_what_a_killed_run_left_is_named_and_then_deleted_and_nothing_else_is(
    make_scene: SceneMaker, tmp_path: Path
) -> None:
    async with copied(make_scene, tmp_path) as (scene, context):
        client, now = context.connections["west"], context.clock.now()
        document = (tmp_path / "samples" / "invoice" / "0.pdf").read_bytes()
        url = await client.start_analysis("invoice", document, "application/pdf")
        analyzer_url = f"{url.partition('/analyzerResults/')[0]}/analyzers/invoice?{url.partition('?')[2]}"
        left = [OpenResult(resource="west", url=it, until=now + timedelta(minutes=5)) for it in (url, analyzer_url)]
        await note_open(context.vault, "p", left)
        (said,) = (await compared(context)).problems
        assert said.startswith("Another run has 2 results at the service, or ended without deleting them. To delete")
        assert await results(scene) == 1

        await note_open(context.vault, "p", [it.model_copy(update={"until": now}) for it in left])
        report = await compared(context)
        assert report.problems == ("1 result that an earlier run left at the service: deleted now",)
        assert (report.deleted, report.left) == (report.analyses, ())
        assert await results(scene) == 0
        assert (await client.get_analyzer("invoice")).status == "ready"


async def test_a_result_is_kept_in_mind_while_the_service_has_it(make_scene: SceneMaker, tmp_path: Path) -> None:
    async with copied(make_scene, tmp_path, at_once=1) as (scene, context):
        fault = {"resource": "west", "call": "analyze", "times": None, "fault": {"kind": "analysis_hangs"}}
        await scene.control("/faults", fault)
        run = asyncio.create_task(compare_plan(context, CompareRequest(), PlainStages()))
        async with asyncio.timeout(PATIENCE):
            while not any(each.resource == "west" for each in (await Proofs.read(context.vault, "p")).open):
                await asyncio.sleep(0.01)
        run.cancel()
        await run
        assert (await Proofs.read(context.vault, "p")).open == ()
        assert await results(scene) == 0


async def test_a_vault_that_takes_no_more_writes_costs_the_records_only(
    make_scene: SceneMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with copied(make_scene, tmp_path) as (scene, context):
        swap, writes = LocalFolder.swap, 0

        async def once(folder: LocalFolder, path: str, content: bytes, tag: str | None) -> str:
            nonlocal writes
            writes += 1
            if writes > 1:
                raise VaultClosed(folder.where(path), "written", "Read-only file system")
            return await swap(folder, path, content, tag)

        monkeypatch.setattr(LocalFolder, "swap", once)
        report = await compared(context)
        assert [it.verdict for it in report.items] == [Verdict.AGREES]
        assert (report.deleted, report.left) == (12, ())
        (problem,) = report.problems
        assert "could not be kept" in problem
        # To reserve them, to note what is open, which is tried once, and to keep the proofs.
        assert writes == 3
        assert await results(scene) == 0


async def test_a_target_that_is_dark_is_a_last_try_beside_the_verdict_and_no_proof_where_there_is_none(
    make_scene: SceneMaker, tmp_path: Path
) -> None:
    async with copied(make_scene, tmp_path) as (scene, context):
        await scene.control("/outages", {"resource": "west", "kind": "refuse"})
        await compared(context)
        assert (await Proofs.read(context.vault, "p")).proofs == ()
        await scene.control("/outages", {"resource": "west", "kind": "none"})
        await compared(context)
        (known,) = (await Proofs.read(context.vault, "p")).proofs
        await scene.control("/outages", {"resource": "west", "kind": "refuse"})
        report = await compared(context)
        assert [it.verdict for it in report.items] == [Verdict.NO_VERDICT]
        (kept,) = (await Proofs.read(context.vault, "p")).proofs
        assert kept.last_try is not None
        assert (kept.last_try.at, kept.last_try.verdict) == (report.items[0].compared_at, Verdict.NO_VERDICT)
        assert kept.model_copy(update={"last_try": None}) == known


async def test_the_proof_of_an_analyzer_that_has_no_samples_any_more_goes(
    make_scene: SceneMaker, tmp_path: Path
) -> None:
    both = (analyzer("invoice", fieldSchema=SCHEMA), analyzer("receipt", fieldSchema=SCHEMA))
    async with copied(make_scene, tmp_path, *both) as (_, context):
        await compared(context)
        (tmp_path / "samples" / "receipt").rename(tmp_path / "samples" / "other")
        await compared(context, CompareRequest(analyzers=("invoice",)))
        assert len((await Proofs.read(context.vault, "p")).proofs) == 2
        await compared(context)
        assert [it.analyzer for it in (await Proofs.read(context.vault, "p")).proofs] == ["invoice"]
