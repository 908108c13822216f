"""`standby explain` and `standby automation`: a recorded decision, replayed, and the off switch of such decisions."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Annotated, Literal

import typer

from standby.cli.options import Reason, Via
from standby.cli.output import Line, Output
from standby.cli.run import Exit
from standby.config.configuration import Configuration
from standby.config.durations import format_duration
from standby.config.errors import ConfigurationError
from standby.errors import sentence
from standby.orchestrator import run_flow
from standby.recovery.context import open_recovery
from standby.recovery.decision import automation as switch
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


class NoPlans(ConfigurationError):
    def __init__(self) -> None:
        super().__init__(["there are no plans, so there is no automation"], "Add a plan under plans")


async def automation(
    context: typer.Context,
    position: Annotated[
        Literal["on", "off"] | None,
        typer.Argument(
            metavar="[on|off]", help="Allow (on) or forbid (off); without it, the current setting is shown."
        ),
    ] = None,
    reason: Reason = "",
    via: Via = "direct",
) -> Exit:
    """Show or set whether outages may start a failover, in all plans of this vault.

    It does not stop what an operator starts.

    Exit status: 0.
    """
    if reason and position is None:
        raise typer.BadParameter("say on or off with it", param_hint="--reason")
    output: Output = context.obj
    configuration = output.load()
    on = None if position is None else position == "on"
    names = list(configuration.plans)
    if not names and (via == "prefect" or on is not None):
        raise NoPlans
    if via == "prefect":
        # It is set once per plan, so that it is in the audit log of each.
        for name in names[: 1 if on is None else None]:
            asked = {"on": on, "reason": reason}
            now = await run_flow(switch.Automation, configuration, name, "automation", asked)
    elif on is not None:
        async with AsyncExitStack() as stack:
            plans = [await stack.enter_async_context(open_recovery(configuration, name)) for name in names]
            now = await switch.set_automation(plans, on=on, reason=reason)
    async with open_vault(configuration.vault) as vault:
        if on is None and via == "direct":
            now = await switch.read_automation(vault)
        where = vault.where(switch.AUTOMATION_PATH)
    output.results(_switch_lines(now, configuration))
    shown = {name: {"automatic": plan.failover.automatic} for name, plan in sorted(configuration.plans.items())}
    output.document({**now.model_dump(mode="json"), "where": where, "plans": shown})
    return Exit.DONE


def _switch_lines(now: switch.Automation, configuration: Configuration) -> Iterator[Line]:
    yield Line(sentence(switch.position_words(now)), wrong=not now.on)
    for name, plan in sorted(configuration.plans.items()):
        consequence = "an outage proposes a failover, which waits for approval (failover.automatic is false)."
        if not now.on:
            consequence = "an outage is reported, and no failover is started."
        elif plan.failover.automatic:
            consequence = "an outage starts a failover."
        yield Line(f"{name}: {consequence}", 2)
