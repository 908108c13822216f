"""The options that several commands share: one spelling, one explanation."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from standby.config.durations import parse_seconds
from standby.config.plan import OnExisting
from standby.document import from_home
from standby.replication.items import Selection


def of_the_configuration(section: str) -> Callable[[typer.Context, str], list[str]]:
    """Complete a name of standby.yaml, of which nothing else has to be right, and no variable set."""

    def complete(context: typer.Context, incomplete: str) -> list[str]:
        from standby.config.yaml_file import read_yaml  # noqa: PLC0415 - most commands read it later, and --help never

        try:
            text = with_home(Path(context.find_root().params.get("config") or DEFAULT_FILE)).read_text(encoding="utf-8")
        except (OSError, ValueError, typer.TyperException):
            return []
        data = read_yaml(text).data
        names = data.get(section) if isinstance(data, dict) else None
        return [name for name in names if name.startswith(incomplete)] if isinstance(names, dict) else []

    return complete


DEFAULT_FILE = "standby.yaml"
PLANS, RESOURCES = of_the_configuration("plans"), of_the_configuration("resources")

PlanName = Annotated[str, typer.Argument(metavar="PLAN", help="A plan of the configuration.", autocompletion=PLANS)]
Via = Annotated[
    Literal["direct", "prefect"],
    typer.Option("--via", help="direct: run here, without Prefect; prefect: as a Prefect flow run."),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def resource_option(name: str, about: str) -> Any:
    return typer.Option(name, metavar="RESOURCE", autocompletion=RESOURCES, help=about)


Primary = Annotated[str, resource_option("--primary", "Which primary, if the plan has several.")]


def _seconds(given: str | float) -> float:
    try:
        seconds = float(str(parse_seconds(given)))
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 600:
        raise typer.BadParameter(f"{given} is not a time between 0.1 and 600 seconds, such as 20, 20s or 2m")
    return seconds


Wait = Annotated[
    float,
    typer.Option("--wait", metavar="TIME", parser=_seconds, help="How long a resource may take to answer: 20s, 2m."),
]
Analyzers = Annotated[
    list[str] | None, typer.Option("--analyzer", metavar="GLOB", help="Only these analyzers; can be repeated.")
]
Targets = Annotated[list[str] | None, resource_option("--target", "Only this target; can be repeated.")]
Existing = Annotated[
    OnExisting | None, typer.Option("--on-existing", help="What to do with older or different analyzers at a target.")
]
Forced = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="ID",
        help="Overwrite this analyzer at the targets, even if it was edited there; can be repeated. With "
        "--reason, the value fence continues after the loss of the fence or the audit log.",
    ),
]


PastLoss = Annotated[
    Literal["fence"] | None,
    typer.Option("--force", metavar="fence", help="With --reason: continue after the loss of fence or audit log."),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason, for the audit log.")]

T = TypeVar("T")


def with_home(value: T | Path) -> T | Path:
    """Give the value of an option; of a path, with what `~` means: a shell leaves that in `--out=~/plan.json`."""
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
