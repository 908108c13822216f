"""`standby snapshot` and `standby snapshots`: take one, list those in the vault, verify all of their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from standby.cli.options import PlanName, Via
from standby.cli.output import Line, Output, loss_lines, problem_lines
from standby.cli.run import Exit, exit_of
from standby.errors import sentence
from standby.orchestrator import run_flow
from standby.recovery.context import open_recovery
from standby.recovery.loss import settle
from standby.recovery.snapshots.snapshot import SnapshotEntry, list_snapshots, verify_snapshots
from standby.recovery.snapshots.take import SnapshotTaken, take_snapshot
from standby.recovery.witnesses import look
from standby.text import counted, some_of, utc


def taken_lines(taken: SnapshotTaken) -> Iterator[Line]:
    """Show what a snapshot has, and what it lacks."""
    for name, count in taken.resources.items():
        yield Line(f"{name}: {counted(count, 'analyzer')}", 2, "+", "green")
    for shortcoming in taken.shortcomings:
        yield Line(shortcoming, 2, "!", "red", True)
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
        text = f"{utc(entry.taken_at)}  {entry.id}  {resources}  {_size(entry.size)}  {signed}"
        yield Line(text, wrong=bool(entry.problems))
        for problem in entry.problems if problems else ():
            yield Line(sentence(problem), 2, "!", "red", True)
    yield Line(f"Plan {plan}: {counted(len(entries), 'snapshot')}.")


def _size(count: int) -> str:
    for unit, length in (("MB", 1_000_000), ("kB", 1000)):
        if count >= length:
            return f"{count / length:.1f} {unit}"
    return f"{count} B"


async def take(
    context: typer.Context,
    plan: PlanName,
    via: Via = "direct",
) -> Exit:
    """Write a plan's definitions, defaults, deployments and lists of labelled data to the vault.

    Exit status: 0 everything is written, 3 a resource did not answer, or a store could not be written or was
    damaged; 4 it is not known what serves.
    """
    output: Output = context.obj
    configuration = output.load()
    if via == "prefect":
        taken = await run_flow(SnapshotTaken, configuration, plan, "snapshot", {})
    else:
        async with open_recovery(configuration, plan) as recovery:
            taken = await take_snapshot(await settle(recovery))
    output.report(taken_lines(taken), taken)
    return exit_of(complete=taken.complete)


async def show(
    context: typer.Context,
    plan: PlanName,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file in every store and name those that are damaged.")
    ] = False,
) -> Exit:
    """List a plan's snapshots in the vault, newest first.

    Exit status: 0, or 3 where a file is damaged, missing or not signed as it should be.
    """
    output: Output = context.obj
    async with open_recovery(output.load(), plan) as recovery:
        finding = await look(recovery)
        entries = await list_snapshots(recovery)
        found = await verify_snapshots(recovery) if verify else None
    output.results([*loss_lines(finding), *entry_lines(plan, entries, problems=found is None)])
    if found is not None:
        output.results([*problem_lines(found.problems), Line(found.summary, wrong=not found.whole)])
    output.document(
        {
            "plan": plan,
            "snapshots": [entry.model_dump(mode="json") for entry in entries],
            "fence": finding.to_json(),
            "verification": None if found is None else found.model_dump(mode="json"),
        }
    )
    problems = any(entry.problems for entry in entries) or (found is not None and not found.whole)
    return exit_of(complete=not (problems or finding.problem or finding.snapshots))
