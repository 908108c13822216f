"""`standby failover` and `standby commit`: make another resource serve, resume that, roll it back, or commit it."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated

import typer

from standby.cli import shown
from standby.cli.explain import GUARD_MARKS
from standby.cli.output import Line, NotConfirmed, Output, confirm, must_be_confirmed
from standby.cli.run import Exit, PastLoss, PlanName, Primary, Reason, Via, Yes, exit_of, resource_option
from standby.concurrency import despite_cancellation
from standby.document import JsonObject
from standby.errors import StandbyError, sentence
from standby.fencing import Phase, read_fence
from standby.orchestrator import run_flow
from standby.recovery.activation.seen import told_words, under_way_words
from standby.recovery.activation.sinks import SinkResult
from standby.recovery.assignments import AlreadyActive, present_words
from standby.recovery.audit import AuditAction, record_action
from standby.recovery.context import RecoveryContext, open_recovery
from standby.recovery.decision.evaluate import approve
from standby.recovery.decision.input import FORCEABLE as OF_THE_DECISION
from standby.recovery.decision.input import Decision, FailoverRequest, GuardOutcome
from standby.recovery.failback.failback import report_divergence
from standby.recovery.failback.report import CONFLICTS, Divergence
from standby.recovery.failover.begin import FORCEABLE as OF_THE_FAILOVER
from standby.recovery.failover.errors import ApprovalNeeded, FailoverRefused
from standby.recovery.failover.failover import commit, decide_request, fail_over, what_to_commit
from standby.recovery.failover.report import CommitReport, FailoverReport, commit_endings, ending, loss, times
from standby.recovery.failover.state import sinks_seen
from standby.recovery.witnesses import FENCE, look, settle
from standby.text import lasting, some_of, utc

_SINKS = {"told": ("ok", "green"), "deferred": ("..", "yellow"), "failed": ("NO", "red")}


LEFT_BEHIND = CONFLICTS | {Divergence.EDITED_AT_STANDBY, Divergence.NEW_AT_STANDBY}
"""What the standby has of its own, and the primary would lack after a rollback."""


def decision_lines(decision: Decision, decision_id: str) -> Iterator[Line]:
    for result in decision.reasons:
        mark, style = GUARD_MARKS[result.outcome]
        against = result.outcome in {GuardOutcome.WAIT, GuardOutcome.REFUSE}
        forced = " (passed by force)" if result.outcome is GuardOutcome.FORCED else ""
        yield Line(sentence(f"{result.guard}: {result.text}{forced}"), 2, mark, style, against)
    yield Line(f"Decision {decision_id}: {decision.outcome}. standby explain {decision_id} replays it.")


def failover_lines(report: FailoverReport, *, verbose: bool = False) -> Iterator[Line]:
    if verbose:
        for phase in report.phases:
            yield Line(f"{phase.name}: {phase.outcome} ({lasting(phase.seconds)})", 2)
    if report.restored is not None:
        restored = report.restored
        snapshot = f"snapshot {restored.snapshot_id} of {utc(restored.taken_at)}"
        yield Line(f"{len(restored.created)} restored from {snapshot}.", 2)
        yield from shown.problems(f"{analyzer}: {reason}" for analyzer, reason in restored.failed.items())
    yield from _sink_lines(report.sinks, reasons=False)
    if not report.sinks and report.state == "activated":
        yield Line("No activation sink is configured: applications are not informed.", 2, "!", "yellow", True)
    yield from shown.problems(report.problems)
    yield Line(sentence(ending(report)), wrong=not report.complete)
    if lost := loss(report):
        yield Line(sentence(lost), 2, "!", "red", True)
    if took := times(report):
        yield Line(took)
    if report.next_action:
        yield Line(report.next_action, 2, "→", wrong=not report.complete)


def commit_lines(report: CommitReport) -> Iterator[Line]:
    yield from _sink_lines(report.sinks, reasons=True)
    if report.replica is not None and not report.replica.whole:
        yield Line(report.replica.words, 2, "?", "yellow", True)
    yield from (Line(sentence(text)) for text in commit_endings(report))
    if report.next_action:
        yield Line(sentence(report.next_action), 2, "→", wrong=True)


def _sink_lines(sinks: Sequence[SinkResult], *, reasons: bool) -> Iterator[Line]:
    for sink in sinks:
        mark, style = ("··", "yellow") if sink.status == "failed" and not sink.required else _SINKS[sink.status]
        if sink.status == "told":
            text = f"{sink.name}: names {sink.published}."
        elif reasons or sink.status == "deferred" or not sink.required:
            text = f"{sink.name}: {sink.reason}"
        else:  # Why is among the failover's problems already.
            text = f"{sink.name}: not published."
        yield Line(text, 2, mark, style, sink.status != "told")


GUARDS = tuple(sorted({*OF_THE_DECISION, *OF_THE_FAILOVER}))
Forced = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="GUARD",
        help=f"Continue although this guard refuses; can be repeated: {', '.join(GUARDS)}. "
        "With --reason, the value fence continues after the loss of the fence or the audit log.",
    ),
]


async def command(
    output: Output,
    plan: PlanName,
    to: Annotated[str, resource_option("--to", "The resource that is to serve.")],
    primary: Primary = "",
    planned: Annotated[
        bool | None,
        typer.Option(
            "--planned/--unplanned",
            help="Copy the latest edits first; or do not call the resource that serves, because it is lost.",
        ),
    ] = None,
    reason: Reason = "",
    force: Forced = None,
    yes: Yes = False,
    via: Via = "direct",
) -> Exit:
    """Fail a plan over to another resource; two resources are never active at the same time.

    Without --planned or --unplanned it is planned, and the resource that serves now has to answer.
    Run it again to resume where it was interrupted. Before standby commit, name the resource that served before,
    to roll back.

    Exit status: 0 the resource serves and every sink has it, 3 only in part, 4 refused by a guard or not confirmed.
    """
    forced = frozenset(force or [])
    if unknown := [name for name in force or [] if name not in GUARDS]:
        text = f"{unknown[0]} is not a guard that can be forced; those are {', '.join(GUARDS)}"
        raise typer.BadParameter(text, param_hint="--force")
    request = FailoverRequest(to=to, primary=primary, planned=planned, reason=reason, forced=forced)
    configuration = output.load()
    configuration.plan(plan)
    must_be_confirmed(output, yes=yes)
    if via == "direct" or not yes:
        async with open_recovery(configuration, plan, via=via) as opened:
            recovery = await settled(output, opened, forced, reason, yes=yes)
            async with saying_what_was_told(output, recovery):
                try:
                    decided = await _decided(output, recovery, request, yes=yes)
                except AlreadyActive as already:
                    if recovery.known is None or not recovery.known.went_on:
                        raise
                    # It was ordered past lost records, and by what is still known it was done before.
                    output.result(sentence(already.cause))
                    problems = [recovery.known.went_on]
                    output.document({"plan": plan, "serving": already.resource, "problems": problems})
                    return Exit.DONE
                if via == "direct":
                    report = await fail_over(recovery, decided, shown.Stages(output))
    if via == "prefect":
        mode = None if planned is None else "planned" if planned else "unplanned"
        asked: JsonObject = {"to": to, "mode": mode, "reason": reason, "home": primary, "force": [*sorted(forced)]}
        report = await run_flow(FailoverReport, configuration, plan, "failover", asked)
    output.report(failover_lines(report, verbose=output.verbose), report)
    return exit_of(complete=report.complete, interrupted=report.interrupted)


@asynccontextmanager
async def saying_what_was_told(output: Output, recovery: RecoveryContext) -> AsyncIterator[None]:
    """Where it ends without a report, say what applications were told of a failover that has not ended."""
    try:
        yield
    except (asyncio.CancelledError, StandbyError):
        for words in await despite_cancellation(_told(recovery)):
            output.say(sentence(words))
        raise


async def _told(recovery: RecoveryContext) -> tuple[str, ...]:
    try:
        fence = await read_fence(recovery.vault, recovery.plan)
        return under_way_words(await sinks_seen(recovery), fence) if fence.is_under_way else ()
    except StandbyError:
        return ()  # Why it ended is what matters then.


async def _decided(
    output: Output, recovery: RecoveryContext, request: FailoverRequest, *, yes: bool
) -> FailoverRequest:
    """Decide what is asked for, show why, and have it confirmed."""
    plan = recovery.plan.name
    try:
        decided, record = await decide_request(recovery, request)
    except FailoverRefused as refused:
        lines = list(decision_lines(refused.decision, refused.decision_id))
        output.results(lines)
        if isinstance(refused, ApprovalNeeded):
            asked = refused.request
            if not yes:
                facts: JsonObject = {"home": asked.primary, "from": asked.active, "to": asked.to}
                question = f"Approve that plan {plan} fails over from {asked.active} to {asked.to}?"
                await ask(output, recovery, question, "failover", facts, [] if output.shows_results else lines)
            given = await approve(recovery, asked, int(asked.epoch or 0), comment=asked.reason)
            refused.facts["approvals"] = [each.model_dump(mode="json") for each in given]
        raise
    reasons = list(decision_lines(record.decision, record.id)) if record is not None else []
    output.results(reasons)
    if not yes:
        fence = await read_fence(recovery.vault, recovery.plan)
        present = [Line(sentence(present_words(fence, decided.primary)))]
        if fence.is_under_way:
            present.append(Line(sentence(told_words(await sinks_seen(recovery), decided.primary, fence.epoch))))
        reasons = [] if output.shows_results else reasons
        manner = "with a last sync" if decided.planned else f"without a call to {decided.active}"
        begins = "Fail over" if decided.action == "start" else "Resume the failover of"
        order, question = "failover", f"{begins} plan {plan} from {decided.active} to {decided.to}, {manner}?"
        if decided.action == "roll back":
            order, question = "rollback", f"Roll back the failover of plan {plan}, so that {decided.to} serves?"
            why = f"The failover to {decided.active} is not committed, so naming {decided.to} rolls it back."
            reasons = [Line(why, 2), *await _lost_lines(recovery, decided)]
        what: JsonObject = {"home": decided.primary, "from": decided.active, "to": decided.to, "reason": decided.reason}
        await ask(output, recovery, question, order, what, [*present, *reasons])
    return decided


async def _lost_lines(recovery: RecoveryContext, request: FailoverRequest) -> list[Line]:
    """Say what a rollback leaves behind, as far as that can be found out."""
    there, back = request.active, request.to
    fence = await read_fence(recovery.vault, recovery.plan)
    if back != request.primary or fence.assignments[request.primary].phase is not Phase.ACTIVATED:
        return [Line(f"A rollback copies nothing: if something was edited at {there} meanwhile, it stays there.", 2)]
    try:
        found = await report_divergence(recovery, request.primary)
    except StandbyError as error:
        unknown = f"A rollback copies nothing, and what was edited at {there} is not known: {error}"
        return [Line(unknown, 2, "?", "yellow")]
    names = [item.name for item in found.items if item.divergence in LEFT_BEHIND] if found is not None else []
    if not names:
        return [Line(f"{back} has every edit that was made at {there}.", 2)]
    lost = f"A rollback copies nothing. These edits exist only at {there}: {some_of(names, 10)}."
    along = f"To keep it, run standby failback {recovery.plan.name} instead."
    return [Line(lost, 2, "!", "red"), Line(along, 2, "→")]


async def ask(
    output: Output, recovery: RecoveryContext, question: str, order: str, facts: JsonObject, lines: Iterable[Line]
) -> None:
    """Ask whether an order is meant; one that is declined is in the audit log, and `NotConfirmed` is raised."""
    try:
        await confirm(output, question, lines)
    except (NotConfirmed, asyncio.CancelledError):
        if output.second:
            raise  # To write it down would make the replica the vault.
        try:
            await record_action(recovery, AuditAction.DECLINED, {"order": order, **facts})
        except StandbyError as error:
            output.say(f"The refusal could not be recorded: {error}")
        raise


async def settled(
    output: Output, opened: RecoveryContext, forced: Collection[str], reason: str, *, yes: bool
) -> RecoveryContext:
    """Let nothing begin past lost records, as `settle`; to go on by force writes them again, so it is asked about."""
    if FENCE in forced and reason.strip() and not yes:
        finding = await look(opened)
        if finding.problem:
            question = f"Continue with plan {opened.plan.name} anyway, with the records that are left?"
            await ask(output, opened, question, "force fence", {"reason": reason}, shown.losses(finding))
    return await settle(opened, forced, reason)


async def end(
    output: Output,
    plan: PlanName,
    primary: Primary = "",
    force: PastLoss = None,
    reason: Reason = "",
    yes: Yes = False,
    via: Via = "direct",
) -> Exit:
    """Commit a failover: from then on only a failback, which copies edits back, returns to the primary.

    The active map is published to every sink once more, so a sink that did not take it before gets it now.

    Exit status: 0 done and every sink has the active map, 3 a sink does not, 4 refused by a guard or not confirmed.
    """
    configuration = output.load()
    configuration.plan(plan)
    must_be_confirmed(output, yes=yes)
    forced = [force] if force else []
    if via == "direct" or not yes:
        async with open_recovery(configuration, plan, via=via) as opened:
            recovery = await settled(output, opened, forced, reason, yes=yes)
            if not yes:
                await _confirm_commit(output, recovery, primary or None, reason)
            if via == "direct":
                report = await commit(recovery, primary or None)
    if via == "prefect":
        asked: JsonObject = {"home": primary, "force": [*forced], "reason": reason}
        report = await run_flow(CommitReport, configuration, plan, "commit", asked)
    output.report(commit_lines(report), report)
    return exit_of(complete=report.complete)


async def _confirm_commit(output: Output, recovery: RecoveryContext, primary: str | None, reason: str) -> None:
    """Say what can no longer be rolled back afterwards, and ask."""
    plan, (fence, waiting) = recovery.plan.name, await what_to_commit(recovery, primary)
    lines = [Line(sentence(present_words(fence, name))) for name in fence.assignments if primary in (None, name)]
    for name in waiting:
        each = fence.assignments[name]
        final = (
            f"Once that is committed, {each.active} can no longer be rolled back to {each.previous}. Only standby "
            f"failback {plan}, which copies the edits, leads back to {name}."
        )
        lines.append(Line(final, 2, "!", "yellow"))
    question = f"Commit the failover of plan {plan}?"
    if not waiting:
        lines.append(Line("Nothing waits for a commit: the active map is only published to every sink once more.", 2))
        question = f"Publish the active map of plan {plan} once more?"
    facts: JsonObject = {"home": primary or "", "waiting": [*waiting], "reason": reason}
    await ask(output, recovery, question, "commit", facts, lines)
