"""`standby failover` and `standby commit`: make another resource serve, resume that, roll it back, or commit it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, assert_never

import typer

from standby.cli.options import PastLoss, PlanName, Primary, Reason, Via, Yes
from standby.cli.output import Line, Output, confirm, problem_lines
from standby.cli.progress import ShownStages
from standby.cli.run import Exit, exit_of
from standby.document import JsonObject
from standby.errors import sentence
from standby.orchestrator import run_flow
from standby.recovery.activation.sinks import SinkResult
from standby.recovery.assignments import AlreadyActive
from standby.recovery.context import RecoveryContext, open_recovery
from standby.recovery.decision.input import FORCEABLE as OF_THE_DECISION
from standby.recovery.decision.input import Decision, FailoverRequest, GuardOutcome
from standby.recovery.failover.begin import FORCEABLE as OF_THE_FAILOVER
from standby.recovery.failover.errors import FailoverRefused
from standby.recovery.failover.failover import commit, decide_request, fail_over
from standby.recovery.failover.report import CommitReport, FailoverReport, commit_endings, ending, times
from standby.recovery.loss import settle
from standby.text import utc

GUARD_MARKS = {
    GuardOutcome.PASS: ("ok", "green"),
    GuardOutcome.WAIT: ("..", "yellow"),
    GuardOutcome.REFUSE: ("NO", "red"),
    GuardOutcome.FORCED: ("!!", "yellow"),
}
_SINKS = {"told": ("ok", "green"), "deferred": ("..", "yellow"), "failed": ("NO", "red")}


def decision_lines(decision: Decision, decision_id: str) -> Iterator[Line]:
    """Show what each guard says."""
    for result in decision.reasons:
        mark, style = GUARD_MARKS[result.outcome]
        against = result.outcome in {GuardOutcome.WAIT, GuardOutcome.REFUSE}
        forced = " (passed by force)" if result.outcome is GuardOutcome.FORCED else ""
        yield Line(sentence(f"{result.guard}: {result.text}{forced}"), 2, mark, style, against)
    yield Line(f"Decision {decision_id}: {decision.outcome}. standby explain {decision_id} replays it.")


def failover_lines(report: FailoverReport, *, verbose: bool = False) -> Iterator[Line]:
    """Show how a failover ended, what each sink has, and what to do next."""
    if verbose:
        for phase in report.phases:
            yield Line(f"{phase.name}: {phase.outcome} ({phase.seconds:.1f} s)", 2)
    if report.restored is not None:
        restored = report.restored
        snapshot = f"snapshot {restored.snapshot_id} of {utc(restored.taken_at)}"
        yield Line(f"{len(restored.created)} restored from {snapshot}.", 2)
        for analyzer, reason in restored.failed.items():
            yield Line(f"{analyzer}: {reason}", 2, "!", "red", True)
    yield from _sink_lines(report.sinks, reasons=False)
    if not report.sinks and report.state == "activated":
        yield Line("No activation sink is configured: applications are not informed.", 2, "!", "yellow", True)
    yield from problem_lines(report.problems)
    yield Line(sentence(ending(report)), wrong=not report.complete)
    if took := times(report):
        yield Line(took)
    if report.next_action:
        yield Line(report.next_action, 2, "→", wrong=not report.complete)


def commit_lines(report: CommitReport) -> Iterator[Line]:
    """Show what was committed, and what serves now."""
    yield from _sink_lines(report.sinks, reasons=True)
    if report.replica is not None and not report.replica.whole:
        yield Line(report.replica.words, 2, "?", "yellow", True)
    yield from (Line(sentence(text)) for text in commit_endings(report))
    if report.next_action:
        yield Line(sentence(report.next_action), 2, "→", wrong=True)


def _sink_lines(sinks: Sequence[SinkResult], *, reasons: bool) -> Iterator[Line]:
    for sink in sinks:
        mark, style = _SINKS[sink.status]
        if sink.status == "told":
            text = f"{sink.name}: names {sink.published}."
        elif reasons or sink.status == "deferred":
            text = f"{sink.name}: {sink.reason}"
        else:  # Why is among the failover's problems already.
            text = f"{sink.name}: not published."
        yield Line(text, 2, mark, style, sink.status != "told")


GUARDS = tuple(sorted({*OF_THE_DECISION, *OF_THE_FAILOVER}))


async def command(
    context: typer.Context,
    plan: PlanName,
    to: Annotated[str, typer.Option("--to", metavar="RESOURCE", help="The resource that is to serve.")],
    primary: Primary = "",
    planned: Annotated[
        bool | None,
        typer.Option(
            "--planned/--unplanned",
            help="Copy the latest edits first; or do not call the resource that serves, because it is lost.",
        ),
    ] = None,
    reason: Reason = "",
    force: Annotated[
        list[str] | None,
        typer.Option(
            "--force",
            metavar="GUARD",
            help=f"Continue although this guard refuses; can be repeated: {', '.join(GUARDS)}. "
            "fence goes on although the fence or the audit log was lost, with --reason.",
        ),
    ] = None,
    yes: Yes = False,
    via: Via = "direct",
) -> Exit:
    """Fail a plan over to another resource; two resources are never active at the same time.

    Without --planned or --unplanned it is planned, and the resource that serves now has to answer.
    Run it again to resume where it was interrupted. Until standby commit, name the resource that served before
    to roll back.

    Exit status: 0 the resource serves and every sink has it, 3 not all of it, 4 refused by a guard.
    """
    forced = _guards(force or [])
    request = FailoverRequest(to=to, primary=primary, planned=planned, reason=reason, forced=forced)
    output: Output = context.obj
    configuration = output.load()
    configuration.plan(plan)
    if via == "prefect":
        await confirm(output, f"Fail over plan {plan} to {to}?", yes=yes)
        mode = "unplanned" if planned is False else "planned"
        asked: JsonObject = {"to": to, "mode": mode, "reason": reason, "home": primary}
        asked["force"] = [*sorted(request.forced)]
        report = await run_flow(FailoverReport, configuration, plan, "failover", asked)
    else:
        async with open_recovery(configuration, plan) as opened:
            recovery = await settle(opened, forced, reason)
            try:
                decided, record = await decide_request(recovery, request)
            except AlreadyActive as already:
                return _done_already(output, plan, recovery, already)
            except FailoverRefused as refused:
                output.results(decision_lines(refused.decision, refused.decision_id))
                raise
            if record is not None:
                output.results(decision_lines(record.decision, record.id))
            await confirm(output, _question(plan, decided), yes=yes)
            report = await fail_over(recovery, decided, ShownStages(output))
    output.report(failover_lines(report, verbose=output.verbose), report)
    return exit_of(complete=report.complete, interrupted=report.interrupted)


def _done_already(output: Output, plan: str, recovery: RecoveryContext, already: AlreadyActive) -> Exit:
    """Accept what was ordered past lost records, and by what is still known was done before."""
    if recovery.known is None or not recovery.known.went_on:
        raise already
    output.result(sentence(already.cause))
    output.document({"plan": plan, "serving": already.resource, "problems": [recovery.known.went_on]})
    return Exit.DONE


async def end(
    context: typer.Context,
    plan: PlanName,
    primary: Primary = "",
    force: PastLoss = None,
    reason: Reason = "",
    via: Via = "direct",
) -> Exit:
    """Commit a failover: from then on only a failback, which copies edits back, returns to the primary.

    The active map is published to every sink once more, so a sink that did not take it before gets it now.

    Exit status: 0 done and every sink has the active map, 3 a sink does not.
    """
    output: Output = context.obj
    configuration = output.load()
    configuration.plan(plan)
    if via == "prefect":
        asked: JsonObject = {"home": primary, "force": [force] if force else [], "reason": reason}
        report = await run_flow(CommitReport, configuration, plan, "commit", asked)
    else:
        async with open_recovery(configuration, plan) as opened:
            recovery = await settle(opened, [force] if force else [], reason)
            report = await commit(recovery, primary or None)
    output.report(commit_lines(report), report)
    return exit_of(complete=report.complete)


def _guards(names: list[str]) -> frozenset[str]:
    for name in names:
        if name not in GUARDS:
            raise typer.BadParameter(
                f"there is no guard {name} that can be forced; there are {', '.join(GUARDS)}", param_hint="--force"
            )
    return frozenset(names)


def _question(plan: str, request: FailoverRequest) -> str:
    manner = "with a last sync" if request.planned else f"without a call to {request.active}"
    match request.action:
        case "start":
            return f"Fail over plan {plan} from {request.active} to {request.to}, {manner}?"
        case "resume":
            return f"Resume the failover of plan {plan} from {request.active} to {request.to}, {manner}?"
        case "roll back":
            return f"Roll back the failover of plan {plan}, so that {request.to} serves?"
        case _:
            assert_never(request.action)
