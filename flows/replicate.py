"""Copy the analyzers of a recovery plan to their targets.

Authorize, validate-deployments, copy and poll (then verify) are tasks: `tasks/copy.py`. This flow composes them.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal

from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from standby.config.configuration import Configuration
from standby.config.plan import OnExisting, RecoveryPlan
from standby.flows import chunks, events, limits, outcome, recovery
from standby.flows.run import ProgressArtifact, to_its_report
from standby.recovery.concerns import Concern, Kind, Look
from standby.recovery.runs import EVERYTHING, remember_run
from standby.recovery.witnesses import except_fence, settle
from standby.replication.items import Selection, Status, selected_pairs
from standby.replication.replicate import begin, survey
from standby.replication.report import Ended, Report, Run, run_to_report, unseen_words
from standby.replication.saved_plan import SavedPlan, load_plan
from standby.replication.steps import RunContext
from standby.tasks.copy import TaskSteps
from standby.text import counted, some_of, some_sentences


@outcome.flow(name="replicate", flow_run_name="replicate-{plan}", persist_result=False)
async def replicate(
    plan: str,
    analyzers: Sequence[str] = ("*",),
    targets: Sequence[str] = (),
    on_existing: OnExisting | None = None,
    force: Sequence[str] = (),
    dry_run: bool = False,
    apply: str | None = None,
    dispatch: Literal["inline", "workers"] = "inline",
    reason: str = "",
) -> State[Any]:
    """Copy the analyzers of a recovery plan to its targets, dependencies first.

    Every copy is five task runs: authorize, validate-deployments, copy, poll, verify. If one analyzer fails, the
    others are still copied. An analyzer that is in sync is skipped, so the flow can be run again at any time.

    Args:
        plan: Name of a saved recovery-plan block.
        analyzers: Patterns of analyzer ids. Analyzers that they depend on are copied as well.
        targets: Names of target resources; empty means all targets of the plan.
        on_existing: What to do when a target has an older or a different analyzer; empty means as the plan says.
        force: Ids of analyzers to overwrite at the targets, even if they were edited there.
        dry_run: Only show what would be done; nothing is changed.
        apply: Path of a saved plan on the machine that runs this; the run does exactly what it says, or refuses.
        reason: Why, where "fence" is forced: it then continues although the fence or the audit log was lost.
        dispatch: Where the copies are made: inline in this process, or in chunks by the workers of the work pool.
    """
    selection = Selection(tuple(analyzers), tuple(targets), on_existing, except_fence(force))
    async with recovery.recovering(plan) as opened:
        approved = None
        if apply:
            approved = load_plan(Path(apply), plan, opened.signer)
            selection = approved.selection
        context = (await settle(opened, force, reason)).run
        if dry_run:
            return await outcome.finish_plan(await survey(context, selection))
        async with events.told_if_failing(opened, Kind.REPLICATION, "replicate"):
            return await _copy(context, opened.configuration, selection, approved, dispatch == "workers")


async def _copy(
    context: RunContext, configuration: Configuration, selection: Selection, approved: SavedPlan | None, in_chunks: bool
) -> State[Any]:
    targets = {target for _, target in selected_pairs(context.recovery_plan, selection)}
    async with (
        # The concurrency limit: one run at a time per target. Within a run, the target's max_concurrent_copies.
        limits.hold_targets(targets),
        ProgressArtifact(f"Replicating plan {context.recovery_plan.name}") as bar,
        # The steps of each copy are tasks with the plan's retries: tasks/copy.py.
        begin(context, selection, TaskSteps(context), approved=approved, on_progress=bar.show) as replication,
    ):
        run: Run = replication
        if in_chunks:
            run = chunks.on_workers(context, configuration, selection, replication, approved is not None, bar.show)
        # The fan-out: analyzers and targets side by side, an analyzer as soon as what it depends on is usable.
        ended = await to_its_report(run_to_report(run, run_id=str(flow_run.id), via="prefect"))
        await remember_run(context.vault, ended.report, selection, replication.plan.made_at)
    look = left_behind(ended, selection, context.recovery_plan)
    await events.tell_concerns(nullcontext(context.vault), context.recovery_plan.name, look)
    return await outcome.finish_replication(ended, outcome.report_table(ended.report), outcome.replicated(ended.report))


FAILED = frozenset({Status.FAILED, Status.BLOCKED})  # What is refused is drift, of which the check tells


def left_behind(ended: Ended, selection: Selection, plan: RecoveryPlan) -> Look:
    """Give the targets to which not everything was copied; a run of a part of the plan does not say that all is."""
    if ended.interrupted:
        return Look(frozenset())
    sources: dict[str, list[str]] = {}
    for source, target in selected_pairs(plan, selection):
        sources.setdefault(target, []).append(source)
    settled = set(sources) if selection.analyzers == EVERYTHING and not selection.sources else set()
    settled |= {""} if settled == {*plan.targets} else set()
    found = (_not_copied(ended.report, target, names) for target, names in sources.items())
    unsure = frozenset((Kind.REPLICATION, about) for about in {"", *plan.targets} - settled)
    return Look(frozenset({Kind.REPLICATION}), tuple(filter(None, found)), unsure)


def _not_copied(report: Report, target: str, sources: Sequence[str]) -> Concern | None:
    unseen = {name: why for name, why in report.unseen.items() if name in {target, *sources}}
    failed = [item for item in report.items if item.target == target and item.status in FAILED]
    if not failed and not unseen:
        return None
    # What is blocked only follows from what failed, or from what could not be looked at.
    causes = [item.reason for item in failed if item.status is Status.FAILED] or [item.reason for item in failed]
    reasons = some_sentences(list(dict.fromkeys(unseen_words(unseen) or causes)), 2)
    names = some_of(item.analyzer for item in failed)
    what = f"{counted(len(failed), 'analyzer')} of plan {report.plan} ({names})" if failed else f"Plan {report.plan}"
    return Concern(
        kind=Kind.REPLICATION,
        about=target,
        severity="warning",
        summary=f"{what} could not be copied to {target}: {reasons}",
        next_action=f"Correct that, then run standby replicate {report.plan}; its schedule tries again automatically",
    )
