"""`standby automation`: the off switch of failovers after an outage."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Annotated, Literal

import typer

from standby.cli.options import Reason, Via
from standby.cli.output import Line, Output
from standby.cli.run import Exit
from standby.config.configuration import Configuration
from standby.config.errors import ConfigurationError
from standby.document import JsonObject
from standby.errors import sentence
from standby.orchestrator import run_flow
from standby.recovery.context import open_recovery
from standby.recovery.decision.automation import (
    AUTOMATION_PATH,
    Automation,
    position_words,
    read_automation,
    set_automation,
)
from standby.vault.vault import open_vault


class NoPlans(ConfigurationError):
    def __init__(self) -> None:
        super().__init__(["there are no plans, so there is no automation"], "Add a plan under plans")


async def command(
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
            asked: JsonObject = {"on": on, "reason": reason}
            automation = await run_flow(Automation, configuration, name, "automation", asked)
    elif on is not None:
        async with AsyncExitStack() as stack:
            plans = [await stack.enter_async_context(open_recovery(configuration, name)) for name in names]
            automation = await set_automation(plans, on=on, reason=reason)
    async with open_vault(configuration.vault) as vault:
        if on is None and via == "direct":
            automation = await read_automation(vault)
        where = vault.where(AUTOMATION_PATH)
    output.results(_lines(automation, configuration))
    shown = {name: {"automatic": plan.failover.automatic} for name, plan in sorted(configuration.plans.items())}
    output.document({**automation.model_dump(mode="json"), "where": where, "plans": shown})
    return Exit.DONE


def _lines(automation: Automation, configuration: Configuration) -> Iterator[Line]:
    yield Line(sentence(position_words(automation)), wrong=not automation.on)
    for name, plan in sorted(configuration.plans.items()):
        consequence = "an outage proposes a failover, which waits for approval (failover.automatic is false)."
        if not automation.on:
            consequence = "an outage is reported, and no failover is started."
        elif plan.failover.automatic:
            consequence = "an outage starts a failover."
        yield Line(f"{name}: {consequence}", 2)
