"""`standby explain`: replay a decision from what it was made of."""

from __future__ import annotations

from typing import Annotated

import typer

from standby.cli.exits import Exit
from standby.cli.explain_lines import explanation_lines
from standby.cli.output import Output
from standby.cli.running import run
from standby.recovery.decision.explaining import explain
from standby.recovery.signing import signer_for
from standby.vault.opening import open_folder


def command(
    context: typer.Context,
    decision: Annotated[
        str, typer.Argument(metavar="ID", help="A decision, such as invoices-20260131T031402Z-1a2b.")
    ],
) -> None:
    """Replay a decision about a failover from the vault; no resource is asked anything.

    Exit status: 0 it comes to the same, 1 the record is not the one that was written, 2 it comes to
    something else under the rules of this version.
    """

    async def replay(output: Output) -> Exit:
        settings = output.load().vault
        found = await explain(open_folder(settings), decision, signer_for(settings.signing))
        output.results(explanation_lines(found, verbose=output.verbose))
        output.document(found.model_dump(mode="json"))
        if found.problems:
            return Exit.ERROR
        return Exit.DONE if found.same else Exit.DIFFERENCES

    run(context, replay)
