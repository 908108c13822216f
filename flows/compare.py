"""Let sources and targets of a plan read sample documents, and say whether the copies answer as their sources do."""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

from prefect.artifacts import MarkdownArtifact
from prefect.client.schemas.objects import State

from standby.config.plan import RecoveryPlan
from standby.document import JsonValue
from standby.errors import sentence
from standby.flows.events import PROOF_CHANGED, PlanEvent, tell_concerns, told_if_failing
from standby.flows.outcome import FlowOutcome, bullets, escaped, flow, page, table
from standby.flows.recovery import recovering
from standby.flows.run import ProgressArtifact, to_its_report
from standby.recovery.concerns import Kind, Look, Severity, grouped
from standby.recovery.proof.compare import compare_plan
from standby.recovery.proof.records import (
    CompareReport,
    CompareRequest,
    Proof,
    Proofs,
    Verdict,
    Waiting,
    percent,
    waiting_words,
    wrong_words,
)
from standby.replication.items import Selection, selected_pairs
from standby.tasks.stage import TaskStages
from standby.text import some_sentences, totals


@flow(name="compare", flow_run_name="compare-{plan}", persist_result=False)
async def compare(
    plan: str, analyzers: Sequence[str] = ("*",), targets: Sequence[str] = (), samples: int | None = None
) -> State[Any]:
    """Prove by sample documents that the copies of a recovery plan answer as their sources do.

    Each analysis is a task run, and its result is deleted at the service once it was read. Only digests are kept of
    documents and of what was read in them. The plan's budget bounds how many analyses a run and a month may take.

    Args:
        plan: Name of a saved recovery-plan block.
        analyzers: Patterns of analyzer ids.
        targets: Names of target resources; empty means all targets of the plan.
        samples: Most sample documents of each analyzer; empty means as many as the plan says.
    """
    request = CompareRequest(targets=tuple(targets), analyzers=tuple(analyzers), samples=samples)
    async with recovering(plan) as opened:
        if opened.plan.samples is None:
            message = f"Plan {plan} has no samples, so nothing was compared. Say under samples in it where they are."
            return await FlowOutcome("NoSamples", message).finish()
        async with told_if_failing(opened, Kind.PROOF, "compare"):
            known = await Proofs.read(opened.vault, plan)
            async with ProgressArtifact(f"Comparing plan {plan}") as bar:
                report = await to_its_report(compare_plan(opened, request, TaskStages(), bar.show))
            kept = await Proofs.read(opened.vault, plan)
        is_whole = request == CompareRequest() and not report.interrupted
        its = {each.key for each in (*report.items, *report.waiting)}
        found = [it for it in kept.proofs if it.key in its]  # Of what waits, as another run has found it.
        await tell_concerns(nullcontext(opened.vault), plan, differing(opened.plan, found, is_whole=is_whole))
        pairs = set(selected_pairs(opened.plan, Selection()))
    matrix = proof_page(plan, [proof for proof in kept.proofs if proof.key[:2] in pairs], report.waiting)
    return await _finish(report, matrix, changed(plan, known, kept))


async def _finish(report: CompareReport, matrix: str, event: PlanEvent | None) -> State[Any]:
    counts = totals(
        {verdict.value.replace("_", " "): count for verdict, count in report.totals.items()}, "none compared"
    )
    summary = f"{'The run was cancelled: ' if report.interrupted else ''}{counts}."
    left = [f"The service may still hold {each}" for each in report.left]
    said = some_sentences([*left, *wrong_words(report.items), *waiting_words(report.waiting), *report.problems])
    names = {Verdict.DIFFERS: "Differs", Verdict.NO_VERDICT: "Undecided", Verdict.TOO_FEW: "Undecided"}
    found = (name for verdict, name in names.items() if report.totals.get(verdict))
    return await FlowOutcome(
        "ResultsLeft" if left else next(found, "Completed"),
        " ".join(filter(None, [summary, said, sentence(report.next_action) if report.next_action else ""])),
        report,
        good=not left,
        interrupted=report.interrupted,
        artifact=MarkdownArtifact(key="proof", markdown=matrix, description=f"Plan **{report.plan}**: {counts}."),
        event=event,
    ).finish()


def proof_page(plan: str, proofs: Sequence[Proof], waiting: Sequence[Waiting] = ()) -> str:
    """Write which copies answer as their sources do, as a matrix of analyzers and targets; then all figures."""
    every = (*waiting, *proofs)
    targets = sorted({it.target for it in every})
    cells = {(it.analyzer, it.source, it.target): "waits" for it in waiting}
    cells |= {(it.analyzer, it.source, it.target): _cell(it) for it in proofs}
    rows = sorted({(it.analyzer, it.source) for it in every})
    figures = [sentence(f"{it.words}, {it.compared_at:%Y-%m-%d}") for it in proofs]
    return page(
        f"# Proof by document of {escaped(plan)}",
        table(
            ("analyzer", "from", *targets), ((*row, *(cells.get((*row, each), "") for each in targets)) for row in rows)
        ),
        bullets((*wrong_words(proofs), *waiting_words(waiting))),
        "## Figures" if proofs else "No copy was compared yet.",
        bullets(figures),
    )


def _cell(proof: Proof) -> str:
    share = "" if proof.agreement is None else f", {percent(proof.agreement)}"
    again = ", since then no verdict" if proof.last_try else ""
    return f"**{proof.verdict.value.replace('_', ' ')}**{share}{again}"


def differing(plan: RecoveryPlan, items: Iterable[Proof], *, is_whole: bool) -> Look:
    """Give the targets where copies answer differently; that none does there, only a comparison of all of them says."""
    by_target: dict[str, list[Proof]] = {}
    for item in items:
        by_target.setdefault(item.target, []).append(item)
    found, settled = [], {""} if is_whole else set()
    for target, its in by_target.items():
        if differ := [it for it in its if it.verdict is Verdict.DIFFERS]:
            action = f"Correct that, then run standby compare {plan.name} --to {target}"
            found.append(grouped(Kind.PROOF, target, "warning", [(text, action) for text in wrong_words(differ)]))
        if is_whole and {it.verdict for it in its} <= {Verdict.AGREES, Verdict.DIFFERS}:
            settled.add(target)
    unsure = frozenset((Kind.PROOF, about) for about in {"", *plan.targets} - settled)
    return Look(frozenset({Kind.PROOF}), tuple(found), unsure)


def changed(plan: str, before: Proofs, after: Proofs) -> PlanEvent | None:
    """Make the event of copies that have another verdict than before; `None` where there is none."""
    known = {proof.key: proof.verdict for proof in before.proofs}
    new = [proof for proof in after.proofs if known.get(proof.key) is not proof.verdict]
    if not new:
        return None
    fields = {"source", "target", "analyzer", "verdict", "samples", "agreement"}
    found: list[JsonValue] = [
        {**proof.model_dump(mode="json", include=fields), "before": known.get(proof.key)} for proof in new
    ]
    severity: Severity = "warning" if any(proof.verdict is Verdict.DIFFERS for proof in new) else "info"
    return PlanEvent(PROOF_CHANGED, plan, {"changed": found}, severity)
