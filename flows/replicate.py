"""Copy what a recovery plan protects to where it would be needed."""

from __future__ import annotations

from typing import Any, Literal

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from blocks import load_configuration_from_blocks
from flows.leases import hold_targets
from flows.publishing import ProgressArtifact, final_state, publish_report
from standby.config.plan import OnExisting
from standby.replication.actions import ACTING
from standby.replication.planning import ReplicationPlan, Selection, selected_pairs
from standby.replication.replicate import open_run, prepare, survey
from standby.replication.report import make_report
from tasks.task_steps import TaskSteps

EVERY_ANALYZER: list[str] = ["*"]
EVERY_TARGET: list[str] = []


@flow(name="replicate", flow_run_name="replicate-{plan}", persist_result=False)
async def replicate(
    plan: str,
    analyzers: list[str] = EVERY_ANALYZER,
    targets: list[str] = EVERY_TARGET,
    on_existing: OnExisting | None = None,
    dry_run: bool = False,
) -> State[dict[str, Any]]:
    """Copy the analyzers of a recovery plan to its targets, dependencies first.

    Every copy is five task runs: authorize, validate-deployments, copy, poll, verify. One analyzer that
    fails never stops another. What is already in sync is skipped, so a run can be repeated at any time.

    Args:
        plan: Name of a saved recovery-plan block.
        analyzers: Patterns of analyzer ids; what they depend on comes along by itself.
        targets: Names of target resources; none means all of the plan.
        on_existing: What to do with targets that hold something older or different; empty means as planned.
        dry_run: Only show what would be done.
    """
    configuration = await load_configuration_from_blocks(plan)
    selection = Selection(tuple(analyzers), tuple(targets), on_existing)
    async with open_run(configuration, plan) as context:
        if dry_run:
            return await _show(await survey(context, selection))
        wanted = {target for _, target in selected_pairs(context.recovery_plan, selection)}
        async with hold_targets(wanted), ProgressArtifact(f"Replicating plan {plan}") as bar:
            proposal = await survey(context, selection)
            started = context.clock.monotonic()
            with prepare(proposal, context, TaskSteps(context), bar.show) as replication:
                try:
                    await replication.run()
                finally:
                    # Also when the run is cancelled: what is under way must be known.
                    report = make_report(
                        plan=plan,
                        run_id=str(flow_run.id),
                        via="prefect",
                        seconds=context.clock.monotonic() - started,
                        results=replication.results(),
                    )
                    await publish_report(report)
    return final_state(report)
