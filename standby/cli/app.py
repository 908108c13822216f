"""The `standby` command: its global options, and what they say to every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from standby import __version__
from standby.cli.commands import Commands
from standby.cli.output import Output

app = typer.Typer(
    name="standby",
    cls=Commands,
    add_completion=False,
    invoke_without_command=True,
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
    json: Annotated[bool, typer.Option("--json", help="Only one JSON document on stdout.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only what is wrong.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours.")] = False,
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Disaster recovery for Azure Content Understanding analyzers.

    Exit status: 0 done and in sync, 1 error, 2 differences found, 3 partial, 4 refused by a guard,
    130 interrupted. Options may stand before or after the command.
    """
    context.obj = Output(config=config, json=json, verbose=verbose, quiet=quiet, color=not no_color)
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line."""
    app()
