"""`standby doctor`: is everything in place, and if not, what is the one thing to do?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from standby.cli.diagnosis import Check, diagnose
from standby.cli.exits import Exit
from standby.cli.output import Output
from standby.cli.running import run
from standby.clock import SystemClock
from standby.concurrency import side_by_side
from standby.orchestrator import NoOrchestrator, load_orchestrator
from standby.replication.context import connect
from standby.service.client import ContentUnderstandingClient

_MARKS = {True: "ok", False: "NO", None: "??"}


def command(
    context: typer.Context,
    plan: Annotated[str | None, typer.Argument(metavar="[PLAN]", help="Only what this plan uses.")] = None,
) -> None:
    """Check connection, permission, defaults, deployments, clock and Prefect."""

    async def examine(output: Output) -> Exit:
        configuration = output.load()
        names = configuration.plan(plan).resources if plan else tuple(configuration.resources)
        resources = [configuration.resource(name) for name in names]
        async with connect(resources) as connections, side_by_side() as group:
            examined = [group.create_task(_all(connections[name])) for name in names]
        checks = [check for found in examined for check in found.result()] + [await _prefect()]
        for check in checks:
            output.result(f"{_MARKS[check.well]}  {check.subject} {check.name}: {check.detail}.")
            if check.next_action:
                output.result(f"      → {check.next_action}.")
        output.document({"checks": [asdict(check) for check in checks]})
        return Exit.ERROR if any(check.well is False for check in checks) else Exit.DONE

    run(context, examine)


async def _all(client: ContentUnderstandingClient) -> list[Check]:
    return [check async for check in diagnose(client, SystemClock())]


async def _prefect() -> Check:
    try:
        health = await load_orchestrator().health()
    except NoOrchestrator as error:
        return Check("prefect", "server", None, error.cause, error.next_action)
    # Recovery must work without it: a Prefect that is down is worth knowing, not a failure.
    return Check("prefect", "server", health.well or None, health.detail, health.next_action)
