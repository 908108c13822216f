"""Let the primary of a plan serve again, with the edits of both resources."""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect.artifacts import TableArtifact
from prefect.client.schemas.objects import State

from standby.fencing import read_fence
from standby.flows import events, limits, outcome, recovery, run
from standby.recovery.assignments import choose_primary
from standby.recovery.failback.failback import fail_back
from standby.recovery.failback.report import CHOICES, ChoiceWord, DivergenceReport
from standby.recovery.witnesses import except_fence, settle
from standby.tasks.copy import TaskSteps
from standby.tasks.stage import TaskStages
from standby.text import totals

NAMES = {
    "failed_back": "FailedBack",
    "at_home": "AtHome",
    "refused": "Refused",
    "incomplete": "PartiallyFailed",
    "unfinished": "Unfinished",
    "interrupted": "Interrupted",
}


@outcome.flow(name="failback", flow_run_name="failback-{plan}", persist_result=False)
async def failback(
    plan: str, home: str = "", keep: Mapping[str, ChoiceWord] = {}, force: Sequence[str] = (), reason: str = ""
) -> State[Any]:
    """Let the primary of a recovery plan serve again: compare, copy the edits to it, make it serve, commit.

    No edit is lost: where an analyzer was edited at both, it stops until somebody decides which one to keep.

    Args:
        plan: Name of a saved recovery-plan block.
        home: The primary; empty means the only one that does not serve.
        keep: Which analyzer to keep where both were edited, primary or standby, by its id at the primary.
        force: Ids of analyzers to replace at the primary although they were trained there and those of the standby
            were not; the trained ones are kept under other ids. "shared" lets the primary serve although another plan
            has the standby serve the same analyzers. "fence" continues although the fence or the audit log was lost.
        reason: Why, where "fence" is forced.
    """
    async with recovery.recovering(plan) as opened, run.ProgressArtifact(f"Failing plan {plan} back") as bar:
        choices = {analyzer: CHOICES[word] for analyzer, word in keep.items()}
        context = await settle(opened, force, reason)
        replaced = except_fence(force)
        fence = await read_fence(context.vault, context.plan)
        primary = choose_primary(context.plan, fence, named=home)
        serving = fence.assignments[primary]
        # It copies to the primary, and to what serves for it or did before.
        async with limits.hold_targets(filter(None, (primary, serving.active, serving.previous)), limits.SHORT_WAIT):
            work = fail_back(
                context, home, TaskStages(), keep=choices, force=replaced, steps=TaskSteps, on_progress=bar.show
            )
            report = await run.to_its_report(work)
    return await outcome.FlowOutcome(
        NAMES[report.state],
        report.message,
        report,
        good=report.state in {"failed_back", "at_home"},
        interrupted=report.state == "interrupted",
        artifact=divergence_table(report.divergence) if report.divergence is not None else None,
        event=events.PlanEvent(events.FAILED_BACK, plan, {"home": report.primary, "epoch": report.epoch})
        if report.state == "failed_back"
        else None,
    ).finish()


def divergence_table(found: DivergenceReport) -> TableArtifact:
    return TableArtifact(
        key="divergence",
        table=[
            {
                "analyzer": item.analyzer,
                "at the standby": item.standby_analyzer or "",
                "divergence": found.what_became(item.divergence),
                "kept": found.what_is_kept(item.divergence, item.keep),
                "differences": " ".join(item.differences),
            }
            for item in found.items
        ]
        or [{"analyzer": "none"}],
        description=f"Plan **{found.plan}**, {found.primary} and {found.standby}: {totals(found.totals, 'nothing')}.",
    )
