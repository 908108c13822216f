"""`standby snapshot`: keep what serves a plan in the vault."""

from __future__ import annotations

import typer

from standby.cli.options import PlanName, Via
from standby.cli.output import Output
from standby.cli.run import Exit, run
from standby.cli.snapshot_lines import taken_lines
from standby.orchestrator import load_orchestrator
from standby.recovery.context import open_recovery
from standby.recovery.snapshots.take import SnapshotTaken, take_snapshot


def command(
    context: typer.Context,
    plan: PlanName,
    via: Via = "direct",
) -> None:
    """Keep a plan's definitions, defaults and deployments in the vault, and what labelled data there is.

    Exit status: 0 all of it is kept, 3 a resource did not answer, or a store did not take it or was damaged.
    """

    async def take(output: Output) -> Exit:
        configuration = output.load()
        if via == "prefect":
            told = await load_orchestrator().recover(configuration, plan, "snapshot", {"plan": plan})
            taken = SnapshotTaken.model_validate(told)
        else:
            async with open_recovery(configuration, plan) as recovery:
                taken = await take_snapshot(recovery)
        output.results(taken_lines(taken))
        output.document(taken.model_dump(mode="json"))
        return Exit.DONE if taken.complete else Exit.PARTIAL

    run(context, take)
