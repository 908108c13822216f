"""`standby failover`: make another side serve, go on with that, or take it back."""

from __future__ import annotations

from typing import Annotated

import typer

from standby.cli.asking import confirm, may_ask
from standby.cli.exits import Exit
from standby.cli.failover_lines import decision_lines, failover_lines
from standby.cli.output import Output
from standby.cli.phases import ToldStages
from standby.cli.running import PlanName, Via, run
from standby.config.configuration import Configuration
from standby.orchestrator import load_orchestrator
from standby.recovery.books import VAULT, must_be_the_books
from standby.recovery.context import open_recovery
from standby.recovery.decision.verdict import FORCEABLE as OF_THE_DECISION
from standby.recovery.failover.errors import FailoverRefused
from standby.recovery.failover.order import FORCEABLE as OF_THE_SWITCH
from standby.recovery.failover.ordering import Ask, Ordered, carry_out, order_for
from standby.recovery.failover.report import FailoverReport
from standby.service.models import JsonValue

GUARDS = tuple(sorted({*OF_THE_DECISION, *OF_THE_SWITCH, VAULT}))


def command(
    context: typer.Context,
    plan: PlanName,
    to: Annotated[str, typer.Option("--to", metavar="RESOURCE", help="What is to serve.")],
    home: Annotated[
        str, typer.Option("--from", metavar="SOURCE", help="In the place of which source, if several.")
    ] = "",
    planned: Annotated[
        bool | None,
        typer.Option(
            "--planned/--unplanned",
            help="Synchronise first; or ask the side that serves nothing, because it is lost.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the audit log.")] = "",
    force: Annotated[
        list[str] | None,
        typer.Option("--force", metavar="GUARD", help=f"Pass a guard: {', '.join(GUARDS)}."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    via: Annotated[Via, typer.Option("--via", help="'direct' needs no Prefect at all.")] = "direct",
) -> None:
    """Switch a plan over to another side, in the order that never lets two sides be active.

    Without --planned or --unplanned it is a planned one, which the side that serves now has to answer for.
    Run again, it goes on where it was interrupted. With the side that served before, it is taken back until
    standby commit.

    Exit status: 0 the side serves and every sink was told, 3 not all of it, 4 refused by a guard.
    """
    strange = [guard for guard in force or [] if guard not in GUARDS]
    if strange:
        raise typer.BadParameter(
            f"there is no guard {strange[0]} that can be forced; there are {', '.join(GUARDS)}",
            param_hint="--force",
        )
    ask = Ask(to=to, home=home, planned=planned, reason=reason, forced=frozenset(force or []))

    async def switch(output: Output) -> Exit:
        configuration = output.load()
        configuration.plan(plan)
        if via == "prefect":
            if not yes and may_ask(output):
                await confirm(output, f"Switch plan {plan} over to {to}?")
            return finish(output, await _by_prefect(configuration, plan, ask))
        async with open_recovery(configuration, plan) as recovery:
            await must_be_the_books(recovery, forced=VAULT in ask.forced)
            try:
                ordered = await order_for(recovery, ask)
            except FailoverRefused as refused:
                output.results(decision_lines(refused.decision, refused.decision_id))
                raise
            if ordered.decision is not None:
                output.results(decision_lines(ordered.decision, ordered.order.decision_id))
            if not yes and may_ask(output):
                await confirm(output, _question(plan, ordered))
            report = await carry_out(recovery, ordered, ToldStages(output))
        return finish(output, report)

    run(context, switch)


def finish(output: Output, report: FailoverReport) -> Exit:
    """Show a report and choose the exit status."""
    output.results(failover_lines(report, verbose=output.verbose))
    output.document(report.model_dump(mode="json"))
    if report.interrupted:
        return Exit.INTERRUPTED
    return Exit.DONE if report.complete else Exit.PARTIAL


async def _by_prefect(configuration: Configuration, plan: str, ask: Ask) -> FailoverReport:
    parameters: dict[str, JsonValue] = {
        "plan": plan,
        "to": ask.to,
        "mode": "unplanned" if ask.planned is False else "planned",
        "reason": ask.reason,
        "force": [*sorted(ask.forced)],
        "home": ask.home,
    }
    told = await load_orchestrator().recover(configuration, plan, "failover", parameters)
    return FailoverReport.model_validate(told)


def _question(plan: str, ordered: Ordered) -> str:
    order = ordered.order
    if ordered.rolling_back:
        return f"Take the switch of plan {plan} back, so that {order.to} serves?"
    how = "Go on switching" if ordered.going_on else "Switch"
    manner = "with a last sync" if order.planned else f"asking {ordered.active} nothing"
    return f"{how} plan {plan} over from {ordered.active} to {order.to}, {manner}?"
