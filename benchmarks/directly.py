"""The copies by the engine in direct mode, which is what runs in an emergency."""

from __future__ import annotations

from standby.config.configuration import Configuration
from standby.replication.direct import DirectSteps
from standby.replication.planning import Selection
from standby.replication.replicate import begin, open_run


async def copy_directly(configuration: Configuration, plan: str) -> None:
    """Run a plan from its inventories to its report."""
    async with (
        open_run(configuration, plan) as context,
        begin(context, Selection(), DirectSteps(context)) as replication,
    ):
        await replication.run()
        if not replication.report(run_id="benchmark", via="direct").complete:
            raise RuntimeError("not everything was copied in direct mode")
