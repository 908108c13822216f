"""`standby check`: where the copies differ from their sources."""

from __future__ import annotations

import typer

from standby.cli.options import PlanName
from standby.cli.output import Output
from standby.cli.render import drift_lines
from standby.cli.run import Exit, run
from standby.replication.items import Selection
from standby.replication.replicate import open_run, survey
from standby.replication.report import drift_document
from standby.replication.verdict import Verdict


def command(context: typer.Context, plan: PlanName) -> None:
    """Show where the targets differ from their sources, without changing anything.

    Exit status: 0 in sync, 2 drift.
    """

    async def show(output: Output) -> Exit:
        async with open_run(output.load(), plan) as run_context:
            proposal = await survey(run_context, Selection())
        output.results(drift_lines(proposal, verbose=output.verbose))
        output.document(drift_document(proposal))
        in_sync = all(item.verdict is Verdict.IN_SYNC for item in proposal.items)
        return Exit.DONE if in_sync else Exit.DIFFERENCES

    run(context, show)
