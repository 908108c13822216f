"""`standby audit` and `standby explain`: who did what, whether the log of it is whole, and a decision replayed."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import typer

from standby.cli.failover import GUARD_MARKS
from standby.cli.output import Line, Output
from standby.cli.run import Exit
from standby.config.durations import format_duration
from standby.document import JsonValue
from standby.errors import sentence
from standby.recovery.audit import HOW_TO_GO_ON, AuditCheck, facts_of_line
from standby.recovery.chain import AuditLine
from standby.recovery.context import open_recovery
from standby.recovery.decision.input import Candidate, Decision, DecisionInput
from standby.recovery.decision.record import Explanation, conclusion, explain, requester
from standby.recovery.witnesses import verify_by_witnesses
from standby.text import counted, utc
from standby.vault.replica import replica_state
from standby.vault.signing import signer_for
from standby.vault.vault import open_vault


def verify_lines(checks: Mapping[str, AuditCheck], key_id: str) -> Iterator[Line]:
    """Say of each plan's log whether it is whole, and what is wrong with it."""
    for plan, check in checks.items():
        if not check.problems:
            yield Line(f"{plan}: {_whole(check, key_id)}", mark="✓", style="green")
            for line in check.gaps:
                text = f"Lines before {line.sequence} are lost: {line.actor} went on without them, as it says."
                yield Line(text, 2, "!", "yellow", wrong=True)
            continue
        yield Line(f"{plan}: {check.where} is damaged or was changed.", mark="✗", style="red", wrong=True)
        for problem in check.problems:
            yield Line(sentence(problem), 2, wrong=True)
        yield Line("Do not change it. Compare it with another copy of the vault.", 2, "→", wrong=True)
        if check.breaks:
            yield Line(sentence(HOW_TO_GO_ON), 2, "→", wrong=True)


def show_lines(check: AuditCheck, newest: int) -> Iterator[Line]:
    """Show the newest lines of a log, oldest first."""
    shown = check.lines[-newest:]
    if len(shown) < len(check.lines):
        yield Line(f"Of {len(check.lines)} lines, the newest {len(shown)} (-n shows more):")
    for line in shown:
        epoch = "" if line.epoch is None else f", epoch {line.epoch}"
        yield Line(f"{line.sequence}  {line.at:%Y-%m-%d %H:%M:%S}Z  {line.action}{epoch}")
        yield Line(f"by {line.actor} ({line.via}), run {line.run_id}", 4)
        if facts := facts_of_line(line):
            yield Line(facts, 4)


def check_document(plan: str, check: AuditCheck, shown: int) -> dict[str, JsonValue]:
    """Give what was found as JSON, with the newest lines where some are asked for."""
    document: dict[str, JsonValue] = {
        "plan": plan,
        "log": check.where,
        "whole": not check.problems,
        "problems": list(check.problems),
        "length": len(check.lines),
        "gaps": [line.sequence for line in check.gaps],
        "signed": sum(line.signature is not None for line in check.lines),
        "epoch": check.epoch,
        "newest_digest": check.lines[-1].digest if check.lines else None,
    }
    lines = [line.model_dump(mode="json") for line in check.lines[-shown:]]
    return document | {"lines": [*lines]} if shown else document


def _whole(check: AuditCheck, key_id: str) -> str:
    if not check.lines:
        return "no log yet."
    last = check.lines[-1]
    epoch = "" if check.epoch is None else f", the last epoch is {check.epoch}"
    count = counted(len(check.lines), "line")
    return f"{count}, complete, {_signed(check.lines, key_id)}; the last is of {last.at:%Y-%m-%d %H:%M}Z{epoch}."


def _signed(lines: tuple[AuditLine, ...], key_id: str) -> str:
    if key_id:
        return f"signed with key {key_id}"
    signed = sum(line.signature is not None for line in lines)
    return f"{signed} signed, but not checked: vault.signing has no key" if signed else "not signed"


async def command(
    context: typer.Context,
    asked: Annotated[
        Literal["verify", "show"], typer.Argument(metavar="verify|show", help="Check every line, or show them.")
    ],
    plan: Annotated[str | None, typer.Argument(metavar="PLAN", help="A plan; verify without one checks all.")] = None,
    newest: Annotated[
        int, typer.Option("-n", "--lines", min=1, metavar="N", help="How many of the newest lines to show.")
    ] = 20,
) -> Exit:
    """Check the log of who did what and why, or show it. Neither needs a resource or Prefect.

    Exit status: 0 every line is as it was written and none is missing, 1 something is wrong with the log.
    """
    if asked == "show" and plan is None:
        raise typer.BadParameter("name the plan, as in standby audit show PLAN", param_hint="PLAN")

    output: Output = context.obj
    configuration = output.load()
    signer = signer_for(configuration.vault.signing)
    names = [configuration.plan(plan).name] if plan else list(configuration.plans)
    checks: dict[str, AuditCheck] = {}
    for name in names:
        async with open_recovery(configuration, name) as recovery:
            checks[name] = await verify_by_witnesses(recovery)
    async with open_vault(configuration.vault) as vault:
        replica = await replica_state(vault)
    refused = replica is not None and replica.refused
    whole = not refused and not any(check.problems for check in checks.values())
    if asked == "show":
        output.results(line for check in checks.values() for line in show_lines(check, newest))
    output.results(verify_lines(checks, signer.key_id if signer else ""))
    if replica is not None and refused:
        output.result(Line(replica.words, mark="✗", style="red", wrong=True))
        output.result(Line(sentence(replica.next_action), 2, "→", wrong=True))
    shown = newest if asked == "show" else 0
    plans: list[JsonValue] = [check_document(name, check, shown) for name, check in checks.items()]
    document: dict[str, JsonValue] = {"whole": whole, "key_id": signer.key_id if signer else None}
    document["problems"] = [replica.words] if replica is not None and refused else []
    output.document(document | {"plans": plans})
    return Exit.DONE if whole else Exit.ERROR


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


async def replay(
    context: typer.Context,
    decision: Annotated[str, typer.Argument(metavar="ID", help="A decision, such as invoices-20260131T031402Z-1a2b.")],
) -> Exit:
    """Replay a decision about a failover from the vault; no call is made to a resource.

    Exit status: 0 it leads to the same decision, 1 the record is not the one that was written, 2 it leads to
    another decision under the rules of this version.
    """
    output: Output = context.obj
    settings = output.load().vault
    async with open_vault(settings) as vault:
        found = await explain(vault, decision, signer_for(settings.signing))
    output.report(explanation_lines(found, verbose=output.verbose), found)
    if found.problems:
        return Exit.ERROR
    return Exit.DONE if found.same else Exit.DIFFERENCES
