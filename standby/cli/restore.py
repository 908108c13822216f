"""`standby restore`: rebuild analyzers from the vault, without their source."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from standby.cli.exits import Exit
from standby.cli.output import Output
from standby.cli.progress import show_progress
from standby.cli.restore_lines import plan_lines, report_lines
from standby.cli.running import PlanName, Via, run
from standby.cli.selecting import Analyzers
from standby.config.configuration import Configuration
from standby.config.since import moment_of
from standby.orchestrator import load_orchestrator
from standby.recovery.context import open_recovery
from standby.recovery.snapshots.opening import open_snapshot
from standby.recovery.snapshots.restore_items import RestoreAction, RestorePlan
from standby.recovery.snapshots.restore_plan import plan_restore
from standby.recovery.snapshots.restore_report import RestoreReport
from standby.recovery.snapshots.restoring import restore
from standby.service.models import JsonValue


def command(
    context: typer.Context,
    plan: PlanName,
    to: Annotated[str, typer.Option("--to", metavar="RESOURCE", help="Where they are rebuilt.")],
    as_of: Annotated[
        str | None,
        typer.Option(
            "--as-of",
            metavar="TIME",
            help="From the newest snapshot before a time such as 2026-01-31T12:00, or 2d ago.",
        ),
    ] = None,
    analyzer: Analyzers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    via: Annotated[Via, typer.Option("--via", help="'direct' needs no Prefect at all.")] = "direct",
) -> None:
    """Rebuild analyzers from the vault; their source is not asked, and nothing is overwritten.

    Exit status: 0 all of it is usable there, 3 some of it is not; with --dry-run 0 nothing to do, 2 something
    to do.
    """
    if dry_run and via == "prefect":
        raise typer.BadParameter(
            "a dry run needs no Prefect; leave out one of the two", param_hint="--dry-run"
        )
    moment = _moment(as_of)
    globs = tuple(analyzer or ["*"])

    async def rebuild(output: Output) -> Exit:
        configuration = output.load()
        if via == "prefect":
            return _finish(output, await _by_prefect(configuration, plan, to, moment, globs))
        async with open_recovery(configuration, plan) as recovery:
            snapshot = await open_snapshot(recovery, as_of=moment)
            proposal = await plan_restore(recovery, snapshot, to, analyzers=globs)
            output.results(plan_lines(proposal))
            if dry_run:
                output.document(_document(proposal))
                idle = all(item.met for item in proposal.items)
                return Exit.DONE if idle else Exit.DIFFERENCES
            with show_progress(output.stderr, quiet=output.quiet) as on_progress:
                report = await restore(recovery, proposal, on_progress=on_progress)
        return _finish(output, report)

    run(context, rebuild)


async def _by_prefect(
    configuration: Configuration, plan: str, to: str, as_of: datetime | None, globs: tuple[str, ...]
) -> RestoreReport:
    parameters: dict[str, JsonValue] = {
        "plan": plan,
        "to": to,
        "as_of": as_of.isoformat() if as_of else None,
        "analyzers": [*globs],
    }
    told = await load_orchestrator().recover(configuration, plan, "restore", parameters)
    return RestoreReport.model_validate(told)


def _finish(output: Output, report: RestoreReport) -> Exit:
    output.results(report_lines(report, verbose=output.verbose))
    output.document(report.model_dump(mode="json"))
    if report.interrupted:
        output.say("Interrupted. Run it again to go on: what is there by then is found.")
        return Exit.INTERRUPTED
    return Exit.DONE if report.complete else Exit.PARTIAL


def _document(proposal: RestorePlan) -> JsonValue:
    counts = dict.fromkeys((action.value for action in RestoreAction), 0)
    for item in proposal.items:
        counts[item.action.value] += 1
    return {
        "snapshot": proposal.snapshot_id,
        "taken_at": proposal.taken_at.isoformat(),
        "to": proposal.to,
        "added_defaults": dict(proposal.added_defaults),
        "totals": {**counts},
        "items": [item.model_dump(mode="json") for item in proposal.items],
        "problems": list(proposal.problems),
    }


def _moment(as_of: str | None) -> datetime | None:
    if as_of is None:
        return None
    try:
        return moment_of(as_of, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--as-of") from None
