"""Copy what a recovery plan protects to where it would be needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled

from blocks import load_configuration_from_blocks, open_vault
from flows.chunks import Where, in_chunks
from flows.leases import hold_targets
from flows.listening import tell_report, unless_stopped
from flows.outcome import ProgressArtifact, final_state, publish_plan, publish_report, refused
from standby.config.configuration import Configuration
from standby.config.plan import OnExisting
from standby.errors import GuardRefused
from standby.recovery.readiness.last_runs import remember_run
from standby.replication.items import Selection
from standby.replication.plan import selected_pairs
from standby.replication.replicate import begin, open_run, survey
from standby.replication.saved_plan import SavedPlan, load_plan
from standby.replication.steps import RunContext
from tasks.copy import TaskSteps

EVERY_ANALYZER: list[str] = ["*"]
EVERY_TARGET: list[str] = []
NOTHING_FORCED: list[str] = []


@flow(name="replicate", flow_run_name="replicate-{plan}", persist_result=False)
async def replicate(
    plan: str,
    analyzers: list[str] = EVERY_ANALYZER,
    targets: list[str] = EVERY_TARGET,
    on_existing: OnExisting | None = None,
    force: list[str] = NOTHING_FORCED,
    dry_run: bool = False,
    apply: str | None = None,
    dispatch: Where = "inline",
) -> State[dict[str, Any]]:
    """Copy the analyzers of a recovery plan to its targets, dependencies first.

    Every copy is five task runs: authorize, validate-deployments, copy, poll, verify. One analyzer that
    fails never stops another. What is already in sync is skipped, so a run can be repeated at any time.

    Args:
        plan: Name of a saved recovery-plan block.
        analyzers: Patterns of analyzer ids; what they depend on comes along by itself.
        targets: Names of target resources; none means all of the plan.
        on_existing: What to do with targets that hold something older or different; empty means as planned.
        force: Ids of analyzers to overwrite at the targets, whatever was done to them there.
        dry_run: Only show what would be done.
        apply: Path of a saved plan, where this runs; the run does exactly what it says, or refuses.
        dispatch: Where the copies are made: in this process, or in chunks on the workers of the work pool.
    """
    configuration = await load_configuration_from_blocks(plan)
    approved = load_plan(Path(apply), plan) if apply else None
    asked = Selection(tuple(analyzers), tuple(targets), on_existing, tuple(force))
    selection = approved.selection if approved else asked
    vault = await open_vault(configuration.vault)
    async with open_run(configuration, plan, vault) as context:
        if dry_run:
            return await publish_plan(await survey(context, selection))
        try:
            return await _copy(context, configuration, selection, approved, dispatch)
        except GuardRefused as error:
            return refused(error)


async def _copy(
    context: RunContext,
    configuration: Configuration,
    selection: Selection,
    approved: SavedPlan | None,
    dispatch: Where,
) -> State[dict[str, Any]]:
    """Do it, one run at a time per target, and tell everybody what became of it."""
    wanted = {target for _, target in selected_pairs(context.recovery_plan, selection)}
    async with (
        hold_targets(wanted),
        ProgressArtifact(f"Replicating plan {context.recovery_plan.name}") as bar,
        begin(context, selection, TaskSteps(context), approved=approved, on_progress=bar.show) as replication,
        in_chunks(
            context,
            configuration,
            selection,
            replication,
            dispatch,
            approved=approved is not None,
            on_progress=bar.show,
        ) as run,
    ):
        try:
            stopped = await unless_stopped(run.run(), UUID(str(flow_run.id)))
        finally:
            # Also when the run is cancelled: what is under way must be known.
            report = run.report(run_id=str(flow_run.id), via="prefect")
            tell_report(report)
            await publish_report(report)
            await remember_run(context.vault, report, selection, context.clock.now())
    if stopped:
        return Cancelled(message="It was told to stop; its report says how far it got.")
    return final_state(report)
