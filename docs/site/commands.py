"""The page about the command: every subcommand with its arguments, options and statuses, as its parser knows them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from docs.site.markdown import code, table
from standby.cli.app import COMMANDS, app
from standby.cli.run import Exit

STATUSES = {
    Exit.DONE: "Done; nothing differs.",
    Exit.ERROR: "An error, before or while something was done. The message says what to do.",
    Exit.DIFFERENCES: "Differences were found, or there is something to do.",
    Exit.PARTIAL: "Some of it could not be done: an analyzer failed or is left out. The report names it.",
    Exit.REFUSED: "A guard refused. Nothing was changed.",
    Exit.INTERRUPTED: "Ctrl-C or a signal ended it. It says how far it got; the same command continues.",
}


GROUP: Any = typer.main.get_command(app)
CONTEXT: Any = GROUP.make_context("standby", [], resilient_parsing=True)


def commands_page() -> str:
    """Write the page."""
    text = [
        "# Commands",
        "`standby COMMAND --help` says the same. Options of all commands may stand before or after the command.",
        "## Exit statuses {#exit-statuses}",
        table(("status", "meaning"), ((f"`{status.value}`", STATUSES[status]) for status in Exit)),
        "## Options of all commands {#global}",
        table(("option", "default", "meaning"), _options(GROUP)),
    ]
    for name, entry in COMMANDS.items():
        command = GROUP.get_command(CONTEXT, name)
        text += [
            f"## standby {name} {{#{name}}}",
            _help(command, entry.summary),
            f"```text\n{_usage(name, command)}\n```",
        ]
        if arguments := [each for each in command.params if each.param_type_name == "argument"]:
            text.append(table(("argument", "meaning"), ((code(_name(each)), each.help or "") for each in arguments)))
        if options := [*_options(command)]:
            text.append(table(("option", "default", "meaning"), options))
    return "\n\n".join(text) + "\n"


def _help(command: Any, summary: str) -> str:
    return inspect.cleandoc(command.help or "").replace("\f", "") or summary


def _usage(name: str, command: Any) -> str:
    arguments = (_name(each) if each.required else f"[{_name(each)}]" for each in command.params if _is_argument(each))
    needed = (f"{each.opts[0]} {_value(each)}" for each in command.params if not _is_argument(each) and each.required)
    return " ".join(["standby", name, *arguments, *needed, "[OPTIONS]"])


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _value(option: Any) -> str:
    return str(option.metavar or option.display_type(CONTEXT)).strip("[]")


def _options(command: Any) -> Iterator[tuple[str, str, str]]:
    for option in command.params:
        if _is_argument(option) or option.hidden or option.name in {"install_completion", "show_completion"}:
            continue
        names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts) if name in _known(option))
        value = "" if option.is_flag else f" {code(_value(option))}"
        default = option.default if not option.is_flag and option.default not in (None, "", ()) else ""
        required = "must be given" if option.required else code(str(default)) if default != "" else ""
        yield f"{names}{value}", required, option.help or ""


def _known(option: Any) -> list[str]:
    """Leave out the names of earlier versions, which scripts may use and --help does not show."""
    return [name for name in (*option.opts, *option.secondary_opts) if name not in {"--from", "--home"}]
