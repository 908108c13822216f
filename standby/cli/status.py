"""`standby status` and `standby report`: whether each target could take over now, and why not."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from standby.cli import shown
from standby.cli.output import Line, Output, must_be_writable
from standby.cli.run import Exit, PlanName, Wait
from standby.clock import SystemClock
from standby.concurrency import do_for_each
from standby.document import write_whole
from standby.errors import FileUnwritable, StandbyError, sentence
from standby.fencing import Fence
from standby.recovery.activation.seen import SinkView, under_way_words
from standby.recovery.concerns import Concerns, Kind
from standby.recovery.context import open_recovery
from standby.recovery.decision.input import waiting_approvals
from standby.recovery.failover.attendance import read_told, since_then
from standby.recovery.failover.state import sinks_seen
from standby.recovery.page import PageContent, gather_content, render_page
from standby.recovery.proof.records import Verdict
from standby.recovery.readiness import wording
from standby.recovery.readiness.assess import assess_plan
from standby.recovery.readiness.document import Readiness, Reason, State
from standby.recovery.witnesses import look
from standby.replication.needs import Severity
from standby.service.calls import ANSWER_SECONDS
from standby.text import utc
from standby.vault.replica import ReplicaState, replica_state

UNSEEN_HERE = frozenset({Kind.ACCESS, Kind.RUNS, Kind.REPLICATION, Kind.SNAPSHOT})
"""Concerns of which only the watch and the schedules know: what is wrong with a target is looked at anew."""

_MARKS = {Severity.ERROR: ("!", "red"), Severity.UNKNOWN: ("?", "yellow"), Severity.WARNING: ("·", "yellow")}


def status_lines(
    plan: str, found: Sequence[Readiness], replica: ReplicaState | None = None, *, verbose: bool
) -> Iterator[Line]:
    for readiness in found:
        yield from _block(readiness, verbose=verbose)
        yield Line("")
    if replica is not None:
        mark, style = ("✓", "green") if replica.whole else ("?", "yellow")
        yield Line(replica.words, 0, mark, style, not replica.whole)
    wrong = any(readiness.state is not State.READY for readiness in found)
    epoch = max((readiness.epoch for readiness in found), default=0)
    yield Line(f"Plan {plan}: {wording.plan_words(found)} of {len(found)} (epoch {epoch}).", wrong=wrong)


def sink_lines(views: Sequence[SinkView], fence: Fence | None) -> Iterator[Line]:
    for view in views:
        mark, style = "✓", "green"
        if view.is_wrong:
            mark, style = ("!", "red") if view.required else ("·", "yellow")
        elif not view.current:
            mark, style = "?", "yellow"
        yield Line(sentence(view.words), 0, mark, style, view.is_wrong)
    yield from (Line(sentence(words), wrong=True) for words in under_way_words(views, fence))
    if views:
        yield Line("")


def _block(readiness: Readiness, *, verbose: bool) -> Iterator[Line]:
    wrong = readiness.state is not State.READY
    yield Line(wording.state_words(readiness), wrong=wrong)
    for reason in readiness.reasons:
        yield from _reason(reason, verbose=verbose)
    yield Line(wording.serving_words(readiness), 2)
    yield Line(wording.points_words(readiness), 2)
    if verbose:
        for point in readiness.points:
            yield Line(f"{point.analyzer}: {wording.point_words(point, readiness.assessed_at)}", 4)
    yield Line(wording.forecast_words(readiness.rto), 2)
    if not readiness.is_failback:
        yield Line(f"Last drill: {wording.drill_words(readiness)}", 2)
    if readiness.proofs:
        yield Line(f"Proof by document: {wording.proof_words(readiness)}", 2)
    if verbose or len(readiness.proofs) <= wording.MOST_NAMED:
        yield from (Line(each.words, 4, wrong=each.verdict is Verdict.DIFFERS) for each in readiness.proofs)


def _reason(reason: Reason, *, verbose: bool) -> Iterator[Line]:
    wrong = reason.severity is not Severity.WARNING
    yield Line(sentence(reason.text), 2, *_MARKS[reason.severity], wrong=wrong)
    if verbose and len(reason.analyzers) > wording.MOST_NAMED:
        yield Line(f"({', '.join(reason.analyzers)})", 4, wrong=wrong)
    yield Line(sentence(reason.next_action), 4, "→", wrong=wrong)


async def command(output: Output, plan: PlanName, wait: Wait = ANSWER_SECONDS) -> Exit:
    """Show whether each target of a plan could take over, with RPO, RTO and the last drill.

    Nothing is changed. If the source does not answer, the records in the vault are used instead.

    It also shows what the applications of each sink see: what serves, and whether that is the current map.

    Exit status: 0 every target is ready, 2 one is not ready or its state is unknown, a required sink does not hold
    the current map, or people were told of an outage or a failover that is not settled.
    """
    async with open_recovery(output.load(), plan) as recovery:
        replica = await replica_state(recovery.vault)
        finding = await look(recovery)
        found = await assess_plan(replace(recovery, known=finding.known), replica, seconds=wait)
        sinks = await sinks_seen(recovery)
        fence = finding.evidence.fence
        told = since_then(await read_told(recovery.vault, plan), fence, lost=bool(finding.problem))
        known = (await Concerns.read(recovery.vault, plan)).open
        approvals = await waiting_approvals(recovery, fence.epoch if fence else 0)
    concerns = [each for each in known if each.is_told and each.concern.kind in UNSEEN_HERE]
    state = status_lines(plan, found, replica, verbose=output.verbose)
    words = [Line(f"Notified at {utc(each.at)}: {each.text}", 0, "!", "red", wrong=True) for each in told.values()]
    words += [Line(each.words, 0, "!", "yellow", wrong=True) for each in concerns]
    for it in approvals:
        until = f"until {utc(it.until)} for another person, who runs {it.command(plan)}"
        text = f"{it.by} approved a failover of {it.primary} to {it.to}. It waits {until}"
        words.append(Line(text, 0, "!", "yellow", wrong=True))
    output.results([*shown.losses(finding), *words, *sink_lines(sinks, fence), *state])
    output.document(
        {
            "plan": plan,
            "fence": finding.to_json(),
            "pairs": found,
            "sinks": sinks,
            "told": told,
            "concerns": [each.concern for each in concerns],
            "approvals": approvals,
            "replica": replica,
        }
    )
    ready = (
        all(readiness.state is State.READY for readiness in found)
        and not (finding.problem or finding.snapshots or told)
        and not any(each.concern.severity == "critical" for each in concerns)
        and not any(view.is_wrong and view.required for view in sinks)
    )
    return Exit.DONE if ready else Exit.DIFFERENCES


PLANS_AT_ONCE = 4  # Each asks all of its resources side by side


async def report(
    output: Output,
    html: Annotated[Path, typer.Option("--html", metavar="FILE", help="Where to write the page.")],
    plan: Annotated[str | None, typer.Argument(metavar="PLAN", help="A plan; without one, all of them.")] = None,
    wait: Wait = ANSWER_SECONDS,
) -> Exit:
    """Write a page about a plan or all: what needs attention, readiness, recovery points, snapshots, timeline.

    It is one file that needs nothing else. It can be written while the source does not answer.

    If one of several plans cannot be read, the page names it and shows the others.

    Exit status: 0 the page is written.
    """
    configuration = output.load()
    must_be_writable(html, "--html")

    async def gather(name: str) -> PageContent | StandbyError:
        try:
            async with open_recovery(configuration, name) as recovery:
                return await gather_content(recovery, seconds=wait)
        except StandbyError as error:
            if plan is not None:
                raise
            return error

    names = list(configuration.plans) if plan is None else [plan]
    gathered = dict(zip(names, await do_for_each(names, gather, PLANS_AT_ONCE), strict=True))
    found = [each for each in gathered.values() if isinstance(each, PageContent)]
    unread = {name: each for name, each in gathered.items() if isinstance(each, StandbyError)}
    page = render_page(found, SystemClock().now(), unread)
    try:
        await asyncio.to_thread(write_whole, html, page)
    except OSError as error:
        raise FileUnwritable(html, error, "--html") from None
    output.result(f"Written: {html}")
    for content in found:
        output.results(Line(wording.state_words(each), 2) for each in content.readiness)
        output.results(shown.losses(content.finding))
    output.results(Line(f"{name}: {error}", 0, "!", "red", wrong=True) for name, error in unread.items())
    if plan is not None:
        output.document({"file": str(html), **_document(found[0])})
    else:
        errors = {name: {"cause": it.cause, "next_action": it.next_action} for name, it in unread.items()}
        output.document({"file": str(html), "plans": [_document(each) for each in found], "unread": errors})
    return Exit.DONE


def _document(of: PageContent) -> dict[str, object]:
    pairs = [{"home": it.primary, "target": it.target, "state": it.state} for it in of.readiness]
    whole = of.audit is not None and not of.audit.problems
    return {"plan": of.plan.name, "pairs": pairs, "fence": of.finding.to_json(), "audit_whole": whole}
