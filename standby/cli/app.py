"""The `standby` command: its global options, its commands, its exit statuses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from standby import __version__
from standby.cli import bootstrap, check, demo, doctor, emulator, plan, replicate
from standby.cli.options import hoist
from standby.cli.output import Output

app = typer.Typer(
    name="standby",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"standby {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    context: typer.Context,
    config: Annotated[Path, typer.Option("-c", "--config", metavar="FILE", help="The configuration.")] = Path(
        "standby.yaml"
    ),
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what is wrong.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours.")] = False,
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Disaster recovery for Azure Content Understanding analyzers.

    Exit status: 0 done and in sync, 1 error, 2 differences found, 3 partial, 4 refused by a guard,
    130 interrupted.
    """
    context.obj = Output(config=config, json=json, verbose=verbose, quiet=quiet, color=not no_color)


app.command("demo")(demo.command)
app.command("doctor")(doctor.command)
app.command("plan")(plan.command)
app.command("replicate")(replicate.command)
app.command("check")(check.command)
app.command("bootstrap")(bootstrap.command)
app.command("emulator")(emulator.command)


def main() -> None:
    """Run the command line."""
    app(hoist(sys.argv[1:]))
