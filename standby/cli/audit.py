"""`standby audit`: whether the log of who did what is whole, and what it says."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from standby.cli.audit_lines import check_document, show_lines, verify_lines
from standby.cli.exits import Exit
from standby.cli.output import Output
from standby.cli.running import run
from standby.recovery.audit import verify_audit
from standby.recovery.signing import signer_for
from standby.service.models import JsonValue
from standby.vault.opening import open_folder

Asked = Literal["verify", "show"]


def command(
    context: typer.Context,
    asked: Annotated[Asked, typer.Argument(metavar="verify|show", help="Check every line, or show them.")],
    plan: Annotated[
        str | None, typer.Argument(metavar="PLAN", help="A plan; verify without one checks all.")
    ] = None,
    newest: Annotated[
        int, typer.Option("-n", "--lines", min=1, metavar="N", help="How many of the newest lines to show.")
    ] = 20,
) -> None:
    """Check the log of who did what and why, or show it. Neither needs a resource or Prefect.

    Exit status: 0 every line is as it was written and none is missing, 1 something is wrong with the log.
    """
    if asked == "show" and plan is None:
        raise typer.BadParameter("name the plan whose log is to be shown", param_hint="PLAN")

    async def look(output: Output) -> Exit:
        configuration = output.load()
        signer = signer_for(configuration.vault.signing)
        files = open_folder(configuration.vault)
        names = [configuration.plan(plan).name] if plan else list(configuration.plans)
        checks = {name: await verify_audit(files, name, signer) for name in names}
        whole = not any(check.problems for check in checks.values())
        if asked == "show":
            output.results(line for check in checks.values() for line in show_lines(check, newest))
        output.results(verify_lines(checks, signer.key_id if signer else ""))
        shown = newest if asked == "show" else 0
        told = [check_document(name, check, shown) for name, check in checks.items()]
        document: dict[str, JsonValue] = {"whole": whole, "key_id": signer.key_id if signer else None}
        output.document(document | {"plans": [*told]})
        return Exit.DONE if whole else Exit.ERROR

    run(context, look)
