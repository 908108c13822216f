"""The options that several commands share: one spelling, one explanation."""

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from standby.config.plan import OnExisting
from standby.document import from_home
from standby.replication.items import Selection

PlanName = Annotated[str, typer.Argument(metavar="PLAN", help="A plan of the configuration.")]
Via = Annotated[
    Literal["direct", "prefect"],
    typer.Option("--via", help="direct: run here, without Prefect; prefect: as a Prefect flow run."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Primary = Annotated[
    str, typer.Option("--primary", metavar="RESOURCE", help="The primary that is meant, if the plan has several.")
]

Wait = Annotated[
    float, typer.Option("--wait", metavar="SECONDS", min=0.1, max=600, help="How long a resource may take to answer.")
]
Analyzers = Annotated[
    list[str] | None, typer.Option("--analyzer", metavar="GLOB", help="Only these analyzers; can be repeated.")
]
Targets = Annotated[
    list[str] | None, typer.Option("--target", metavar="RESOURCE", help="Only this target; can be repeated.")
]
Existing = Annotated[
    OnExisting | None, typer.Option("--on-existing", help="What to do with older or different analyzers at a target.")
]
Forced = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="ID",
        help="Overwrite this analyzer at the targets, even if it was edited there; can be repeated. fence goes on "
        "although the fence or the audit log was lost, with --reason.",
    ),
]


PastLoss = Annotated[
    Literal["fence"] | None,
    typer.Option("--force", metavar="fence", help="Go on although the fence or the audit log was lost, with --reason."),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the audit log.")]

T = TypeVar("T")


def with_home(value: T | Path) -> T | Path:
    """Give the value of an option; of a path, with what `~` stands for: a shell leaves that in `--out=~/plan.json`."""
    if not isinstance(value, Path):
        return value
    try:
        return from_home(value)
    except ValueError as error:
        raise typer.BadParameter(f"{value} {error}") from None


def present_name(option: str) -> str:
    """Give the name of today for an option of an earlier version, which scripts may use and --help does not show."""
    return "primary" if option in {"from", "home"} else option


def selection(analyzers: Analyzers, targets: Targets, on_existing: Existing, forced: Forced) -> Selection:
    chosen, force = tuple(analyzers or ["*"]), tuple(name for name in forced or [] if name != "fence")
    return Selection(analyzers=chosen, targets=tuple(targets or []), on_existing=on_existing, force=force)
