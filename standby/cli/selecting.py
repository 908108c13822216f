"""Options that choose a part of a plan, the same for every command that has them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from standby.config.plan import OnExisting
from standby.replication.planned import Selection

Analyzers = Annotated[
    list[str] | None,
    typer.Option("--analyzer", metavar="GLOB", help="Only these analyzers; can be repeated."),
]
Targets = Annotated[
    list[str] | None, typer.Option("--target", metavar="RESOURCE", help="Only this target; can be repeated.")
]
Existing = Annotated[
    OnExisting | None,
    typer.Option("--on-existing", help="What to do with older or different analyzers at a target."),
]
Forced = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="ID",
        help="Overwrite this analyzer at the targets, whatever was done to it there; can be repeated.",
    ),
]
PlanFile = Annotated[
    Path | None,
    typer.Option("--apply", metavar="FILE", help="Do exactly what this saved plan says, or refuse."),
]


def selection(analyzers: Analyzers, targets: Targets, on_existing: Existing, forced: Forced) -> Selection:
    """Put the options together."""
    return Selection(
        analyzers=tuple(analyzers or ["*"]),
        targets=tuple(targets or []),
        on_existing=on_existing,
        force=tuple(forced or []),
    )
