"""What every scene of the demonstration needs."""

from __future__ import annotations

import asyncio
from typing import Any

from standby.cli.demo.stage import Stage
from standby.cli.output import Output
from standby.cli.progress import show_progress
from standby.cli.render import report_lines
from standby.clock import SystemClock
from standby.config.configuration import Configuration
from standby.config.plan import CopyDeadlines, OnExisting
from standby.errors import StandbyError
from standby.replication.pace import pace
from standby.replication.planning import Selection
from standby.replication.report import Report
from standby.service.client import ContentUnderstandingClient
from standby.service.models import JsonValue

PLAN = "documents"


class DemoWentWrong(StandbyError):
    """The demonstration did not come out as it must."""

    def __init__(self, what: str) -> None:
        super().__init__(f"The demonstration went wrong: {what}", "Run it again with -v")
        self.args = (what,)


async def replicate(
    stage: Stage,
    output: Output,
    configuration: Configuration,
    *,
    analyzers: tuple[str, ...] = ("*",),
    targets: tuple[str, ...] = (),
    on_existing: OnExisting | None = None,
) -> Report:
    """Run the replicate flow, and show its report."""
    with show_progress(output.stderr, quiet=output.quiet) as on_progress:
        ended = await stage.orchestrator.replicate(
            configuration,
            PLAN,
            Selection(analyzers, targets, on_existing),
            apply=None,
            on_progress=on_progress,
        )
    if ended.interrupted:
        raise asyncio.CancelledError
    output.results(report_lines(ended.report))
    return ended.report


async def edit(
    configuration: Configuration, resource: str, analyzer: str, field: str, definition: JsonValue
) -> None:
    """Add a field to an analyzer, as its author would."""
    async with ContentUnderstandingClient(configuration.resource(resource)) as client:
        edited = (await client.get_analyzer(analyzer)).to_json()
        schema: Any = edited["fieldSchema"]
        schema["fields"][field] = definition
        started = await client.put_analyzer(analyzer, edited, allow_replace=True)
        async for _ in pace(CopyDeadlines(), SystemClock()):
            if (await client.poll(started.operation_url)).operation.done:
                return


def head(output: Output, title: str) -> None:
    """Begin a scene."""
    output.result("")
    output.result(title)
