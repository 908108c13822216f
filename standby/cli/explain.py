"""`standby explain`: a recorded decision about a failover, replayed."""

from collections.abc import Iterator
from typing import Annotated

import typer

from standby.cli.output import Line, Output
from standby.cli.run import Exit
from standby.config.durations import format_duration
from standby.errors import sentence
from standby.recovery.decision.input import Candidate, Decision, DecisionInput, GuardOutcome
from standby.recovery.decision.record import Explanation, conclusion, explain, requester
from standby.text import utc
from standby.vault.signing import signer_for
from standby.vault.vault import open_vault

GUARD_MARKS = {
    GuardOutcome.PASS: ("ok", "green"),
    GuardOutcome.WAIT: ("..", "yellow"),
    GuardOutcome.REFUSE: ("NO", "red"),
    GuardOutcome.FORCED: ("!!", "yellow"),
}
LATEST = 12  # Number of observations that are shown without -v


def explanation_lines(explanation: Explanation, *, verbose: bool) -> Iterator[Line]:
    """Show what was asked and observed, what each guard answered, and whether it still leads to the same decision."""
    record = explanation.record
    given = record.given
    yield Line(f"Decision {record.id}: {conclusion(record.decision, given)}.")
    yield Line(f"Requested by {requester(given, record.actor)}, run {given.run_id}, {utc(given.asked_at)}.", 2)
    yield from _known(given)
    yield from _observations(given, verbose=verbose)
    yield Line("Guards:", 2)
    yield from _guards(record.decision)
    yield Line("")
    if explanation.same:
        yield Line("Replayed now: it leads to the same decision.", mark="ok", style="green")
    else:
        text = f"Replayed now, it leads to another decision: {conclusion(explanation.again, given)}."
        yield Line(f"{text} The record is of version {record.version}.", mark="NO", style="red", wrong=True)
        yield from _guards(explanation.again)
    for problem in explanation.problems:
        yield Line(sentence(problem), mark="NO", style="red", wrong=True)
    if not explanation.problems:
        yield Line("The record is unchanged: the audit log has its digest.", mark="ok", style="green")


def _known(given: DecisionInput) -> Iterator[Line]:
    policy = given.policy
    automatic = "automatic" if policy.automatic else "not automatic: an outage only proposes a failover"
    yield Line(
        f"Policy: {automatic}; a probe every {format_duration(policy.probe_every)}, quorum {policy.quorum}, "
        f"minimum outage {format_duration(policy.minimum_outage)}, cool-down "
        f"{format_duration(policy.cool_down)}, staleness {format_duration(policy.staleness)}.",
        2,
    )
    for primary, assignment in sorted(given.assignments.items()):
        yield Line(f"Serves for {primary}: {assignment.active}, {assignment.phase} (epoch {given.epoch}).", 2)
    for candidate in given.candidates:
        yield Line(f"Candidate {candidate.resource}: {_candidate(candidate)}.", 2)
    if given.forced:
        yield Line(f"Forced: {', '.join(given.forced)}.", 2)


def _candidate(candidate: Candidate) -> str:
    health = "not probed" if candidate.observation is None else candidate.observation.health
    if candidate.fitness is None:
        return f"{health}, readiness not checked"
    count, restorable = len(candidate.fitness.copies), len(candidate.fitness.restorable)
    copies = "1 copy" if count == 1 else f"{count} copies"
    restore = f", {restorable} to be restored" if restorable else ""
    return f"{health}, {candidate.fitness.state.replace('_', ' ')}, {copies}{restore}"


def _observations(given: DecisionInput, *, verbose: bool) -> Iterator[Line]:
    looks = sorted(given.observations, key=lambda look: look.at)
    shown = looks if verbose else looks[-LATEST:]
    earlier = len(looks) - len(shown)
    yield Line(f"Observations of {given.active}{f' ({earlier} earlier ones: -v)' if earlier else ''}:", 2)
    for look in shown:
        ago = (given.asked_at - look.at).total_seconds()
        evidence = f": {look.summary}" if look.summary and not look.is_well else ""
        yield Line(f"{look.at:%H:%M:%S} ({ago:.0f} s before) {look.observer} {look.health}{evidence}", 4)
    if not shown:
        yield Line("none", 4)


def _guards(decision: Decision) -> Iterator[Line]:
    width = max((len(result.guard) for result in decision.reasons), default=0)
    for result in decision.reasons:
        yield Line(f"{result.guard:<{width}}  {sentence(result.text)}", 4, *GUARD_MARKS[result.outcome])


async def command(
    output: Output,
    decision: Annotated[str, typer.Argument(metavar="ID", help="A decision, such as invoices-20260131T031402Z-1a2b.")],
) -> Exit:
    """Replay a decision about a failover from the vault; no call is made to a resource.

    Exit status: 0 it leads to the same decision, 1 the record is not the one that was written, 2 it leads to
    another decision under the rules of this version.
    """
    settings = output.load().vault
    async with open_vault(settings) as vault:
        found = await explain(vault, decision, signer_for(settings.signing))
    output.report(explanation_lines(found, verbose=output.verbose), found)
    if found.problems:
        return Exit.ERROR
    return Exit.DONE if found.same else Exit.DIFFERENCES
