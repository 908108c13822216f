"""What messages advise: it is there, its commands and options are those of the command line, its keys are known."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import typer

import standby
from standby.cli.app import COMMANDS, FLAGS, WITH_VALUE, Commands, app
from standby.config.configuration import Configuration
from standby.errors import StandbyError
from standby.fencing import Assignment, ElsewhereActive, UnknownFence
from standby.recovery.decision.input import Decision, FailoverRequest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def leaves(kind: type[StandbyError]) -> Iterator[type[StandbyError]]:
    below = kind.__subclasses__()
    if not below:
        yield kind
    for each in below:
        yield from leaves(each)


def every_leaf() -> list[type[StandbyError]]:
    for module in pkgutil.walk_packages(standby.__path__, "standby."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {each for each in leaves(StandbyError) if each.__module__.split(".")[0] == "standby"}
    return sorted(ours, key=lambda each: each.__qualname__)


AT = datetime(2026, 1, 1, tzinfo=UTC)
SAMPLES: Mapping[str, Any] = {
    "OSError": PermissionError(13, "Permission denied"),
    "ElsewhereActive": ElsewhereActive("receipts", 2, "east", Assignment(active="west")),
    "UnknownFence": UnknownFence("receipts", "fence.json", "it is damaged"),
    "FailoverRequest": FailoverRequest("west", "east"),
    "Decision": Decision.model_validate(
        {
            "outcome": "refuse",
            "needs_approval": False,
            "to": "west",
            "reasons": [{"guard": "readiness", "verdict": "refuse", "text": "west is not ready"}],
            "detected_at": None,
            "unhealthy_since": None,
        }
    ),
    "Mapping": {"east": "it is down"},
    "tuple[str, str]": ("east", "west"),
    "datetime": AT,
    "int": 3,
    "float": 3.0,
    "Sequence": ["one"],
    "Iterable": ["one"],
    "list": ["one"],
}


def sample(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    if parameter.name == "next_action":
        return "Do it"
    hint = hints.get(parameter.name, str)
    if type(None) in typing.get_args(hint):
        return None
    known = str(getattr(hint, "__name__", hint)) if not typing.get_args(hint) else str(hint)
    return next((value for name, value in SAMPLES.items() if name in known), "something")


def made(kind: type[StandbyError]) -> StandbyError:
    """Make an error of samples, without what need not be given."""
    signature = inspect.signature(kind.__init__)
    hints = typing.get_type_hints(kind.__init__)
    needed = [each for each in list(signature.parameters.values())[1:] if each.default is each.empty]
    if kind.__init__ is StandbyError.__init__:
        needed.append(signature.parameters["next_action"])  # Whoever raises it gives one.
    return kind(**{each.name: sample(each, hints) for each in needed})


def test_every_error_says_what_to_do() -> None:
    errors = [made(kind) for kind in every_leaf()]
    assert len(errors) > 140
    assert not [error for error in errors if not error.cause or not error.next_action]
    assert not [error for error in errors if error.next_action.endswith(".") or not error.next_action[0].isupper()]


@cache
def texts() -> tuple[tuple[str, str], ...]:
    """Every text of the source with its place; what is filled in is an X."""
    return tuple(
        (f"{path.relative_to(ROOT)}:{node.lineno}", text)
        for folder in ("standby", "flows", "tasks", "blocks", "emulator")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node, text in _texts(ast.parse(path.read_text(encoding="utf-8")))
    )


def _texts(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # It explains the code.
        if isinstance(node, ast.JoinedStr):
            yield node, "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node, node.value
        else:
            yield from _texts(node)


@cache
def pages_and_texts() -> tuple[tuple[str, str], ...]:
    return (*texts(), *((page.name, page.read_text(encoding="utf-8")) for page in PAGES))


@cache
def command(name: str) -> Any:
    group: Any = typer.main.get_command(app)
    assert isinstance(group, Commands)
    return group.get_command(None, name)


@cache
def options_of(name: str) -> dict[str, Any]:
    return {spelling: each for each in command(name).params for spelling in (*each.opts, *each.secondary_opts)}


GLOBAL = {*FLAGS, *WITH_VALUE, "--help", "--version"}
TOOLS = re.compile(r"\b(az|prefect|pytest|python|pip|make|chmod|openssl|kubectl|docker|helm|kind|git|npm|curl|uv)\b")
SAID = re.compile(r"(?:`|\b[Rr]un |\b[Ss]ee |\bwith |\b[Uu]se |: |; |\$ )standby ([a-z]+)\b")
VALUES = {
    "asked": "show",
    "move": "move",
    "_asked": "move",
    "position": "on",
    "via": "direct",
    "on_existing": "replace",
    "force": "fence",
    "wait": "1",
}
"""What fits where a text only stands for a value, by the name of the parameter; elsewhere any word does."""


@dataclass(frozen=True)
class Call:
    """A command as a text names it, with the arguments that follow it there."""

    where: str
    name: str
    arguments: tuple[str, ...]


def calls() -> Iterator[Call]:
    for where, text in pages_and_texts():
        for found in re.finditer(r"\bstandby ([a-z]+)(?![\w-])([^`\n]*)", text):
            if found[1] in COMMANDS:
                yield Call(where, found[1], tuple(_arguments(found[1], found[2].split())))


def _arguments(name: str, words: list[str]) -> Iterator[str]:
    """Give what follows a command, up to the end of a part of the sentence, or to a word that is no argument."""
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        plain = word.strip(".,;:()[]'\"…")
        ends = word[-1:] in ".,;:)"
        if not plain.startswith("--") and plain not in {"show", "verify", "on", "off"} and not plain.isupper():
            return
        if plain in GLOBAL - {"--help"}:
            continue
        yield plain
        parameter = options_of(name).get(plain)
        if parameter is not None and not parameter.is_flag:
            value = "" if ends or not waiting else waiting.pop(0)
            ends = ends or value[-1:] in ".,;:)"
            value = value.strip(".,;:()[]'\"…")
            yield value if value.islower() else VALUES.get(parameter.name, "1")
        if ends:
            return


def completed(call: Call) -> list[str]:
    """Add what a command needs, and what the text does not say."""
    given = [each for each in call.arguments if not each.isupper()]
    for each in command(call.name).params:
        if each.param_type_name == "argument" and not set(given) & {"show", "verify", "on", "off"}:
            given += [VALUES.get(each.name, "x")] if each.required else []
        elif each.param_type_name == "option" and each.required and not set(each.opts) & set(given):
            given += [each.opts[0], VALUES.get(each.name, "x")]
    return given


def test_every_command_that_a_message_or_a_page_names_exists() -> None:
    named = {(where, name) for where, text in pages_and_texts() for name in SAID.findall(text)}
    assert len(named) > 100
    assert not [(where, name) for where, name in named if name not in COMMANDS]


def test_every_command_that_is_advised_is_one_that_the_command_line_takes() -> None:
    """Parsed as the command line does."""
    asked = {(call.name, *call.arguments): call for call in calls()}
    assert len(asked) > 60
    wrong: list[str] = []
    for call in asked.values():
        try:
            command(call.name).make_context(call.name, completed(call))
        except (typer.Exit, typer.TyperException) as error:
            if not isinstance(error, typer.Exit):
                wrong.append(f"{call}: {error.format_message()}")
    assert not wrong


def test_every_option_that_a_message_names_exists() -> None:
    known = GLOBAL | {option for name in COMMANDS for option in options_of(name)}
    named = {
        (where, option)
        for where, text in texts()
        if " " in text and not TOOLS.search(text)
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)
    }
    assert len(named) > 50
    assert not [(where, option) for where, option in named if option not in known]


def keys(schema: Any) -> Iterator[str]:
    """Every key that a configuration may have."""
    if isinstance(schema, Mapping):
        yield from schema.get("properties", {})
    for below in schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ():
        yield from keys(below)


ADVISES = re.compile(r"(?:^|[.;,:] |\bor )(?:[Ss]et|[Cc]orrect|[Cc]hoose|[Ww]rite|[Gg]ive|[Ll]ower|[Nn]ame)\b")
KEY = re.compile(r"(?<![\w/$.{-])[a-z]+(?:_[a-z]+)+(?![\w(-])")


def test_every_key_that_an_advice_names_is_one_of_the_configuration() -> None:
    known = set(keys(Configuration.model_json_schema()))
    advices = [(where, text) for where, text in texts() if ADVISES.search(text)]
    named = {(where, key) for where, text in advices for key in KEY.findall(text)}
    assert len(named) > 10
    assert not [(where, key) for where, key in named if key not in known]
