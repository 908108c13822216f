"""`standby snapshot`, `standby snapshots` and `standby restore`: take one, list and verify them, rebuild from one."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.filesize import decimal

from standby.cli import shown
from standby.cli.output import Line, Output
from standby.cli.run import Analyzers, Exit, PastLoss, PlanName, Reason, Via, exit_of, resource_option
from standby.config.durations import moment_of
from standby.document import JsonObject
from standby.orchestrator import run_flow
from standby.recovery.context import open_recovery
from standby.recovery.failover.failover import completed
from standby.recovery.readiness.wording import MOST_NAMED
from standby.recovery.runs import Durations, Part, forecast_restores
from standby.recovery.snapshots.fidelity import Fidelity, RestoreAction, RestoreItem, RestorePlan
from standby.recovery.snapshots.plan import plan_restore
from standby.recovery.snapshots.restore import RestoreReport, restore
from standby.recovery.snapshots.snapshot import SnapshotEntry, list_snapshots, open_snapshot, verify_snapshots
from standby.recovery.snapshots.take import SnapshotTaken, take_snapshot
from standby.recovery.witnesses import look, settle
from standby.replication.items import GOOD, Status
from standby.text import counted, lasting, sentence, some_of, totals, utc


def taken_lines(taken: SnapshotTaken) -> Iterator[Line]:
    for name, count in taken.resources.items():
        yield Line(f"{name}: {counted(count, 'analyzer')}", 2, "+", "green")
    yield from shown.problems(taken.shortcomings)
    if taken.unknown_labelled:
        yield Line(f"{some_of(taken.unknown_labelled)}: the labelled data could not be listed.", 2, "?", "yellow")
    for place in taken.stores:
        yield Line(f"Written to {place}.", 2)
    if taken.retired:
        yield Line(f"Removed {counted(len(taken.retired), 'old snapshot')}.", 2)
    yield Line(taken.summary, wrong=not taken.complete)


def entry_lines(plan: str, entries: Sequence[SnapshotEntry], *, problems: bool) -> Iterator[Line]:
    """List snapshots, newest first; with `problems`, also what is wrong with each."""
    for entry in entries:
        resources = ", ".join(f"{name} {count}" for name, count in entry.resources.items())
        signed = "signed" if entry.signed else "not signed"
        text = f"{utc(entry.taken_at)}  {entry.id}  {resources}  {decimal(entry.size)}  {signed}"
        yield Line(text, wrong=bool(entry.problems))
        yield from shown.problems(entry.problems if problems else ())
    yield Line(f"Plan {plan}: {counted(len(entries), 'snapshot')}.")


async def take(output: Output, plan: PlanName, via: Via = "direct") -> Exit:
    """Write a plan's definitions, defaults, deployments and lists of labelled data to the vault.

    Exit status: 0 everything is written, 3 a resource did not answer, or a store could not be written or was
    damaged; 4 it is unknown what serves.
    """
    configuration = output.load()
    if via == "prefect":
        taken = await run_flow(SnapshotTaken, configuration, plan, "snapshot", {})
    else:
        async with open_recovery(configuration, plan) as recovery:
            taken = await take_snapshot(await settle(recovery))
    output.report(taken_lines(taken), taken)
    return exit_of(complete=taken.complete)


async def show(
    output: Output,
    plan: PlanName,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file in every store and name those that are damaged.")
    ] = False,
) -> Exit:
    """List a plan's snapshots in the vault, newest first.

    Exit status: 0, or 3 where a file is damaged, missing or not signed as it should be.
    """
    async with open_recovery(output.load(), plan) as recovery:
        finding = await look(recovery)
        entries = await list_snapshots(recovery)
        found = await verify_snapshots(recovery) if verify else None
    output.results([*shown.losses(finding), *entry_lines(plan, entries, problems=found is None)])
    if found is not None:
        output.results([*shown.problems(found.problems), Line(found.summary, wrong=not found.whole)])
    output.document({"plan": plan, "snapshots": entries, "fence": finding.to_json(), "verification": found})
    problems = any(entry.problems for entry in entries) or (found is not None and not found.whole)
    return exit_of(complete=not (problems or finding.problem or finding.snapshots))


_MARKS = {RestoreAction.CREATE: ("+", "green"), RestoreAction.KEEP: ("=", ""), RestoreAction.REFUSE: ("!", "red")}
_DOES = {RestoreAction.CREATE: "to build", RestoreAction.KEEP: "there", RestoreAction.REFUSE: "to leave alone"}
_MEANINGS = {
    Fidelity.EXACT: "exact: a verified copy exists",
    Fidelity.EQUIVALENT: "equivalent: the same definition, rebuilt",
    Fidelity.UNFAITHFUL: "unfaithful: labelled data changed, gone or unknown; or another analyzer has this id",
}


def proposal_lines(plan: RestorePlan, forecast: Part | str | None) -> Iterator[Line]:
    """Show, before anything is done, how true each analyzer will be to the one that the snapshot has."""
    yield Line(f"Snapshot {plan.snapshot_id} of {utc(plan.taken_at)} → {plan.to}")
    yield from shown.problems(plan.problems)
    for name, deployment in plan.added_defaults.items():
        yield Line(f"default {name} = {deployment}: the target's defaults lack it.", 2, "+", "green")
    yield from shown.grouped((_look(item), shown.named(item), f"{item.fidelity}. {item.reason}") for item in plan.items)
    yield from shown.warnings((shown.named(item), item.warnings) for item in plan.items)
    counts = Counter(item.fidelity for item in plan.items)
    for fidelity in Fidelity:
        if counts[fidelity]:
            yield Line(f"{counts[fidelity]} {_MEANINGS[fidelity]}", 2)
    if forecast is not None:
        yield Line(forecast if isinstance(forecast, str) else f"It takes about {forecast.words}.", 2)
    done = totals({_DOES[action]: sum(item.action is action for item in plan.items) for action in RestoreAction})
    yield Line(f"{counted(len(plan.items), 'analyzer')}: {done}." if plan.items else "No analyzer is selected.")


def restored_lines(report: RestoreReport, *, verbose: bool = False) -> Iterator[Line]:
    for item in report.items:
        if verbose and item.status in GOOD:
            done = f"built, {lasting(item.seconds)}" if item.status is Status.SUCCEEDED else "was there"
            yield Line(f"{shown.named(item)}: {done} ({item.fidelity}).", 2, "+", "green")
    yield from shown.failures(report.items, verbose=verbose)
    if verbose or len(report.proofs) <= MOST_NAMED:
        yield from (Line(sentence(each.words), 2) for each in report.proofs)
    yield from shown.problems(report.problems)
    yield Line(report.summary, wrong=not report.complete)


def _look(item: RestoreItem) -> shown.Look:
    if item.action is not RestoreAction.CREATE and not item.met:
        return "!", "red", True, ()
    return *_MARKS[item.action], False, ()


AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        help="Use the newest snapshot at or before this time, such as 2026-01-31T12:00 (UTC) or 2d ago.",
    ),
]


async def rebuild(
    output: Output,
    plan: PlanName,
    to: Annotated[str, resource_option("--to", "Resource at which they are rebuilt.")],
    as_of: AsOf = None,
    analyzer: Analyzers = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    force: PastLoss = None,
    reason: Reason = "",
    via: Via = "direct",
) -> Exit:
    """Rebuild analyzers from the vault. Their source is not called, and nothing that may work is overwritten.

    Analyzers that failed there or are stuck are rebuilt too. Those that a failover left out and that work now are put
    back into the active map.

    Exit status: 0 all of it is usable there, 3 some of it is not; with --dry-run 0 nothing to do, 2 something
    to do.
    """
    if dry_run and via == "prefect":
        raise typer.BadParameter("a dry run needs no Prefect; leave out one of the two", param_hint="--dry-run")
    try:
        moment = moment_of(as_of, datetime.now(UTC)) if as_of is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--as-of") from None
    globs = tuple(analyzer or ["*"])

    configuration = output.load()
    if via == "prefect":
        asked: JsonObject = {"to": to, "as_of": moment.isoformat() if moment else None, "analyzers": [*globs]}
        asked |= {"force": [force] if force else [], "reason": reason}
        report = await run_flow(RestoreReport, configuration, plan, "restore", asked)
    else:
        async with open_recovery(configuration, plan) as opened:
            recovery = await settle(opened, [force] if force else [], reason)
            snapshot = await open_snapshot(recovery, as_of=moment)
            proposal = await plan_restore(recovery, snapshot, to, analyzers=globs)
            needs = {it.target_analyzer: it.needs for it in proposal.items if it.action is RestoreAction.CREATE}
            slots = recovery.connections[to].resource.max_concurrent_copies
            forecast = forecast_restores(await Durations.read(recovery.vault, plan), needs, slots) if needs else None
            output.results(proposal_lines(proposal, forecast))
            if dry_run:
                spread = forecast.spread if isinstance(forecast, Part) else None
                seconds: JsonObject | None = {"seconds": [spread.median, spread.high]} if spread else None
                output.document({**proposal.to_json(), "forecast": seconds})
                return Exit.DONE if all(item.met for item in proposal.items) else Exit.DIFFERENCES
            with shown.progress(output.stderr, quiet=output.quiet) as on_progress:
                report = await completed(recovery, await restore(recovery, proposal, on_progress=on_progress))
    output.report(restored_lines(report, verbose=output.verbose), report)
    if report.interrupted:
        output.say("Interrupted. Run it again to continue: nothing is built twice.")
    return exit_of(complete=report.complete, interrupted=report.interrupted)
