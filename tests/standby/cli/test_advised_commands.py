"""Every command that a text of ours names can be typed as it stands: found in the source, and parsed."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from standby.cli.app import COMMANDS, app

ROOT = Path(__file__).parents[3]
FILLED_IN = "filled-in"
"""What stands for a value of an f-string, such as the name of a plan."""

ENDS = ".,;:)'\"`"
PLACES = {"vault", "second"}
"""What `standby vault` takes beside addresses."""


def texts(file: Path) -> Iterator[tuple[int, str]]:
    """Give every string of a file, with what is filled in replaced; docstrings too, which --help shows."""
    source, inside = file.read_text(encoding="utf-8"), set[int]()
    # Every worker reads all files before its first test: those that name no command are not parsed.
    for node in ast.walk(ast.parse(source)) if "standby " in source else ():
        if isinstance(node, ast.JoinedStr):
            inside.update(id(part) for part in ast.walk(node) if part is not node)
            parts = (part.value if isinstance(part, ast.Constant) else FILLED_IN for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value


@cache
def command_named(name: str) -> Any:
    group: Any = typer.main.get_command(app)
    return group.get_command(None, name)


def takes(command: Any, word: str) -> bool | None:
    """Say of an option whether a value belongs to it; `None` where it is unknown."""
    options = [each for each in command.params if word in (*each.opts, *each.secondary_opts)]
    return None if not options else not getattr(options[0], "is_flag", False)


def arguments(command: Any, text: str) -> list[str]:
    """Take from what follows a command's name what belongs to it, up to where prose goes on."""
    words: list[str] = []
    literal = {each for param in command.params for each in (param.metavar or "").split("|")} - {""} | PLACES
    for raw in re.findall(r"\"[^\"]*\"\S*|\S+", text):
        word = raw.rstrip(ENDS) if not raw.startswith('"') else raw
        is_value = bool(words) and words[-1].startswith("-") and takes(command, words[-1])
        is_name = word.isupper() or FILLED_IN in word or word in literal or "://" in word
        if not word or not (is_value or is_name or word.startswith("--") or word in {"-v", "-q", "-n"}):
            break
        words.append(word.replace('"', ""))
        if raw != word and not raw.startswith('"'):
            break
    return words


def advised() -> list[tuple[str, str, list[str]]]:
    """Give every command that a text names: where, its name, and its arguments."""
    found: dict[tuple[str, ...], tuple[str, str, list[str]]] = {}
    for folder in ("standby", "flows", "tasks", "blocks"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for line, text in texts(file):
                for match in re.finditer(r"(?<![\w./-])standby ([a-z]+)\b(?! *=)([^\n]*)", text):
                    if match[1] in COMMANDS:
                        args = arguments(command_named(match[1]), match[2])
                        where = f"{file.relative_to(ROOT)}:{line}"
                        found.setdefault((match[1], *args), (where, match[1], args))
    return list(found.values())


ADVISED = advised()


def test_the_commands_that_texts_name_are_found() -> None:
    lines = {shlex.join([name, *args]) for _, name, args in ADVISED}

    assert f"replicate {FILLED_IN}" in lines
    assert f"drill {FILLED_IN} --to {FILLED_IN}" in lines
    assert len(lines) > 40


@pytest.mark.parametrize(("where", "name", "args"), ADVISED, ids=[f"{name} {' '.join(a)}" for _, name, a in ADVISED])
def test_a_command_that_a_text_names_can_be_typed_as_it_stands(where: str, name: str, args: list[str]) -> None:
    command, group = command_named(name), typer.main.get_command(app)
    if args and args[-1].startswith("--") and takes(command, args[-1]):
        args = [*args, FILLED_IN]  # The text is only the beginning of one.
    parent: Any = group.make_context("standby", [name, *args], resilient_parsing=True)
    rest: list[str] = [*parent._protected_args, *parent.args][1:]
    if not any(word == FILLED_IN or word.isupper() or word.startswith("-") for word in rest):
        return  # The command is only named; that it exists is all that can be wrong.
    # What is filled in last may be options, or nothing.
    for tried in (rest, rest[:-1] if rest[-1] == FILLED_IN and len(rest) > 1 else rest):
        try:
            command.make_context(name, tried, parent=parent)
        except typer.TyperException as error:
            wrong = error.format_message()
        else:
            return
    pytest.fail(f"{where}: standby {name} {' '.join(args)}: {wrong}")
