"""The copies by the engine under Prefect's tasks.

This is what `flows.replicate` does around the engine, without blocks: those would refuse a configuration
whose quota is lifted. Importing it imports Prefect, which reads its settings then.
"""

from __future__ import annotations

from prefect import flow

from flows.leases import hold_targets
from flows.publishing import ProgressArtifact, publish_report
from standby.config.configuration import Configuration
from standby.replication.planning import Selection
from standby.replication.replicate import begin, open_run
from tasks.task_steps import TaskSteps


async def copy_under_prefect(configuration: Configuration, plan: str) -> None:
    """Run a plan as a flow, every step of every copy a task run."""

    # The configuration has keys in it: as a parameter of the flow it would be stored.
    @flow(name="benchmark", persist_result=False)
    async def run() -> None:
        async with (
            open_run(configuration, plan) as context,
            hold_targets(context.recovery_plan.targets),
            ProgressArtifact("Benchmark") as bar,
            begin(context, Selection(), TaskSteps(context), on_progress=bar.show) as replication,
        ):
            await replication.run()
            report = replication.report(run_id="benchmark", via="prefect")
            await publish_report(report)
        if not report.complete:
            raise RuntimeError("not everything was copied under Prefect")

    await run()
