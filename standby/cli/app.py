"""The `standby` command: its list of commands, and the global options that may stand anywhere."""

import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from standby.text import nearest

if TYPE_CHECKING:
    from standby.errors import ExtraMissing

FLAGS = frozenset({"--json", "-v", "--verbose", "-q", "--quiet", "--no-color", "--read-only"})
WITH_VALUE = frozenset({"-c", "--config", "--vault"})
REMINDER = (
    "Before or after the command: -c FILE, --json, -v, -q, --no-color, --read-only, --vault second (standby --help)."
)


def hoist(args: list[str]) -> list[str]:
    """Move global options, with their values, to the front; what follows `--` stays where it is.

    Where an option lacks its value, only the option is left: else it would take the command's name as its value.
    """
    front: list[str] = []
    rest: list[str] = []
    waiting = list(args)
    while waiting:
        argument = waiting.pop(0)
        if argument == "--":
            return [*front, *rest, argument, *waiting]
        if argument in FLAGS or argument.startswith(("--config=", "--vault=")):
            front.append(argument)
        elif argument in WITH_VALUE:
            if not waiting:
                return [argument]
            front += [argument, waiting.pop(0)]
        else:
            rest.append(argument)
    return [*front, *rest]


@dataclass(frozen=True)
class Entry:
    """A command that is not imported yet: where its function is, and what the list of commands says of it."""

    module: str
    summary: str
    function: str = "command"
    extra: str = ""  # of the installation, without which it cannot be imported


COMMANDS = {
    "demo": Entry(
        "standby.cli.demo", "Show a region lost and recovered, on this machine only.", extra="emulator,prefect"
    ),
    "init": Entry("standby.cli.init", "Write a first standby.yaml from what is in Azure."),
    "schema": Entry("standby.cli.init", "Print the JSON schema of standby.yaml, for editors.", "schema"),
    "doctor": Entry("standby.cli.doctor", "Check connections, permissions, models, clock and Prefect."),
    "plan": Entry("standby.cli.replicate", "Show what a replication would do.", "show"),
    "replicate": Entry("standby.cli.replicate", "Copy what is missing or older at a plan's targets."),
    "check": Entry("standby.cli.replicate", "Show where targets differ from their sources; changes nothing.", "check"),
    "compare": Entry("standby.cli.compare", "Compare copies with their sources by sample documents."),
    "status": Entry("standby.cli.status", "Show whether each target could take over, and why not."),
    "snapshot": Entry("standby.cli.snapshots", "Write a plan's definitions to the vault.", "take"),
    "snapshots": Entry("standby.cli.snapshots", "List a plan's snapshots in the vault.", "show"),
    "restore": Entry("standby.cli.snapshots", "Rebuild analyzers from the vault, without their source.", "rebuild"),
    "failover": Entry("standby.cli.failover", "Fail over: a standby serves instead of the primary."),
    "commit": Entry("standby.cli.failover", "Commit a failover: it can no longer be rolled back.", "end"),
    "failback": Entry("standby.cli.failback", "Fail back: the primary serves again, with every edit made meanwhile."),
    "drill": Entry("standby.cli.drill", "Run a failover drill with temporary ids, and clean up."),
    "automation": Entry("standby.cli.records", "Show or set whether an outage may start a failover.", "automation"),
    "explain": Entry("standby.cli.explain", "Replay a recorded decision about a failover."),
    "audit": Entry("standby.cli.records", "Check or show the log of who did what, and why.", "audit"),
    "vault": Entry("standby.cli.records", "Copy the vault to another place.", "move"),
    "report": Entry("standby.cli.status", "Write an HTML page about a plan: regions, readiness, timeline.", "report"),
    "gateway": Entry(
        "standby.cli.serve", "Receive alerts of Azure and pass them on as Prefect events.", "gateway", "gateway"
    ),
    "bootstrap": Entry("standby.cli.doctor", "Save this configuration on a Prefect server.", "bootstrap"),
    "emulator": Entry("standby.cli.serve", "Serve emulated resources on this machine.", "emulator", "emulator"),
}


WITHOUT_SECOND = frozenset({"demo", "init", "schema", "doctor", "vault", "gateway", "bootstrap", "emulator"})
"""Commands that are no operator's answer to the loss of the vault, and do not take `--vault second`."""


OF_THEIR_OWN = frozenset({"demo", "emulator"})
"""Commands that touch nothing but what they make themselves, so that read-only does not matter to them."""


class Commands(TyperGroup):
    """Imports a command when it is asked for, and reports wrong usage as any other error."""

    def list_commands(self, _context: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _context: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        from standby.cli.run import present_name, runnable
        from standby.errors import of_extra

        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        entry = COMMANDS[cmd_name]
        with of_extra(entry.extra, f"standby {cmd_name}"):
            function = getattr(import_module(entry.module), entry.function)
        alone.command(cmd_name, epilog=REMINDER)(runnable(function))
        found = typer.main.get_command(alone)
        if any("--primary" in parameter.opts for parameter in found.params):
            found.context_settings["token_normalize_func"] = present_name
        return found

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        from typer._click.shell_completion import CompletionItem

        fitting = [(name, entry) for name, entry in COMMANDS.items() if name.startswith(incomplete)]
        options = super(TyperGroup, self).shell_complete(ctx, incomplete)
        return [*(CompletionItem(name, help=entry.summary) for name, entry in fitting), *options]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, hoist(args))

    def format_commands(self, _context: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            ctx.fail(f"There is no command {args[0]}: {nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line; by default the process ends with its status."""
        given = hoist(list(sys.argv[1:] if args is None else args))
        said = {"json": "--json" in given, "color": "--no-color" not in given}
        try:
            status = super().main(given, prog_name or "standby", complete_var, False, windows_expand_args, **extra)
        except OSError as error:
            # Help and version are written by the library of the command line.
            cause = f"The text could not be written: {error.strerror or type(error).__name__}"
            status = _failed("NotPrinted", cause, "Free space there, or redirect the output")
        except typer.TyperException as error:
            asked = next((f"{argument} " for argument in given if argument in COMMANDS), "")
            cause = error.format_message().replace("Value error, ", "")
            status = _failed("WrongUsage", cause, f"See standby {asked}--help", **said)
        except _extra_missing() as error:
            status = _failed(type(error).__name__, error.cause, error.next_action, **said)
        if standalone_mode:
            raise SystemExit(int(status or 0))
        return status


def _extra_missing() -> "type[ExtraMissing]":
    """Give a class of errors that --help need not import: asked for only when an error is there."""
    from standby.errors import ExtraMissing

    return ExtraMissing


def _failed(kind: str, cause: str, next_action: str, *, json: bool = False, color: bool = True) -> int:
    """Say what is wrong, and give the status: not click's 2, which means here that differences were found."""
    from standby.cli.output import Output
    from standby.cli.run import Exit

    Output(json=json, color=color).problem(kind, cause, next_action)
    return Exit.ERROR


app = typer.Typer(
    name="standby",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        from standby import __version__

        typer.echo(f"standby {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    context: typer.Context,
    config: Annotated[Path, typer.Option("-c", "--config", metavar="FILE", help="The configuration file.")] = Path(
        "standby.yaml"
    ),
    vault: Annotated[
        Literal["second"] | None,
        typer.Option("--vault", help="Continue from the replica of the vault, because the vault is lost."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show more.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Show only what is wrong.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours.")] = False,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Change nothing: no resource, no vault, nothing in Prefect.")
    ] = False,
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Disaster recovery for Azure Content Understanding analyzers.

    Exit status: 0 done and in sync, 1 error, 2 differences found, 3 partial, 4 refused by a guard,
    130 interrupted. Options may stand before or after the command.
    """
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        return
    if vault and context.invoked_subcommand in WITHOUT_SECOND:
        raise typer.BadParameter(f"standby {context.invoked_subcommand} does not take it", param_hint="--vault")
    from standby.cli.output import Output
    from standby.cli.run import with_home
    from standby.errors import READ_ONLY

    if read_only or context.invoked_subcommand in OF_THEIR_OWN:
        before = os.environ.get(READ_ONLY)
        os.environ[READ_ONLY] = "" if context.invoked_subcommand in OF_THEIR_OWN else "1"
        context.call_on_close(lambda: os.environ.update({READ_ONLY: before or ""}))
    context.obj = Output(config=with_home(config), json=json, verbose=verbose, quiet=quiet, color=not no_color)
    context.obj.second = vault == "second"


def main() -> None:
    # What is imported stays: looking through it for garbage, again and again, takes a quarter of the start.
    gc.disable()
    # httpx imports a command line of its own, with all that this needs, wherever that can be had.
    sys.modules["httpx._main"] = None  # type: ignore[assignment]
    app()
