"""`standby snapshots`: what the vault keeps of a plan."""

from __future__ import annotations

from typing import Annotated

import typer

from standby.cli.options import PlanName
from standby.cli.output import Output
from standby.cli.run import Exit, run
from standby.cli.snapshot_lines import entry_lines, verification_lines
from standby.recovery.context import open_recovery
from standby.recovery.snapshots.snapshot import list_snapshots, verify_snapshots


def command(
    context: typer.Context,
    plan: PlanName,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file again, in both stores, and name damage.")
    ] = False,
) -> None:
    """List what the vault keeps of a plan, newest first.

    Exit status: 0, or 3 where something of it is damaged, missing or not signed as it should be.
    """

    async def show(output: Output) -> Exit:
        async with open_recovery(output.load(), plan) as recovery:
            entries = await list_snapshots(recovery)
            found = await verify_snapshots(recovery) if verify else None
        output.results(entry_lines(plan, entries, told=found is None))
        if found is not None:
            output.results(verification_lines(found))
        output.document(
            {
                "plan": plan,
                "snapshots": [entry.model_dump(mode="json") for entry in entries],
                "verification": None if found is None else found.model_dump(mode="json"),
            }
        )
        problems = any(entry.problems for entry in entries) or (found is not None and not found.whole)
        return Exit.PARTIAL if problems else Exit.DONE

    run(context, show)
