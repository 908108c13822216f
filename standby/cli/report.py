"""`standby report`: one page about a plan."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from standby.cli.options import PlanName, Wait
from standby.cli.output import Line, Output
from standby.cli.run import Exit
from standby.document import JsonValue
from standby.errors import StandbyError
from standby.recovery.context import open_recovery
from standby.recovery.page import gather_content, render_page
from standby.recovery.readiness.assess import ANSWER_SECONDS
from standby.recovery.readiness.wording import state_words


class PageUnwritable(StandbyError):
    """The page cannot be written to this file."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be written: {reason}", "Name another file with --html")


async def command(
    context: typer.Context,
    plan: PlanName,
    html: Annotated[Path, typer.Option("--html", metavar="FILE", help="Where to write the page.")],
    wait: Wait = ANSWER_SECONDS,
) -> Exit:
    """Write a page about a plan: regions, readiness, recovery points, drills, snapshots, timeline.

    It is one file that needs nothing else. It can be written while the source does not answer.

    Exit status: 0 the page is written, whatever it says.
    """
    output: Output = context.obj
    async with open_recovery(output.load(), plan) as recovery:
        content = await gather_content(recovery, seconds=wait)
    await asyncio.to_thread(_write, html, render_page(content))
    output.result(f"Written: {html}")
    pairs: list[JsonValue] = [
        {"home": each.primary, "target": each.target, "state": each.state.value} for each in content.readiness
    ]
    for each in content.readiness:
        output.result(Line(state_words(each), 2))
    output.document({"plan": plan, "file": str(html), "pairs": pairs, "audit_whole": not content.audit.problems})
    return Exit.DONE


def _write(path: Path, page: str) -> None:
    # Whoever has the old page open must not see half of the new one.
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(page, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise PageUnwritable(str(path), error.strerror or type(error).__name__) from None
