"""Every command of the pages works: it is run, or at least read by the real command line."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from standby.cli.app import app
from standby.config.configuration import load_configuration
from standby.config.yaml_file import read_yaml
from standby.errors import StandbyError
from tests.docs.folder import Folder, missing
from tests.docs.pages import PAGES, ROOT, PageText, inline_commands, read_page

READ = [read_page(path) for path in PAGES]
LANGUAGES = {"console", "yaml", "json", "python", "toml", "text", "mermaid", "bicep", "html"}
SECTIONS = {"resources", "plans", "vault", "activation", "notifications", "keep_runs", "gateway"}
PLACE = r"[A-Z]{2,}|…"  # What stands for something else in a sentence


def name_of(page: PageText) -> str:
    return str(page.path.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", READ, ids=name_of)


@pytest.mark.parametrize(
    "page",
    [
        # What listens on a port that is written down has it alone.
        pytest.param(page, id=name_of(page), marks=() if page.scene else pytest.mark.xdist_group("ports of pages"))
        for page in READ
        if page.runs
    ],
)
def test_the_commands_of_a_page_do_what_it_says(page: PageText, folder_of: Callable[[PageText], Folder]) -> None:
    folder = folder_of(page)
    for block in page.blocks:
        folder.use(block)


@each_page
def test_the_blocks_of_a_page_say_what_they_are(page: PageText) -> None:
    for block in page.blocks:
        where = f"{name_of(page)}:{block.line}"
        assert block.language in LANGUAGES, f"{where}: give its language; commands are console, output alone is text"
        if block.language == "console":
            assert [*block.commands], f"{where}: a line that begins with $ is missing; output alone is text"
        else:
            assert not block.not_run, f"{where}: only commands are run"


@each_page
def test_the_commands_that_are_not_run_could_be(page: PageText) -> None:
    for block in page.blocks:
        if block.language == "console":
            for command in block.commands:
                for words in commands_in(command.text):
                    problem = wrong_in(words)
                    assert problem is None, f"{name_of(page)}:{block.line}: {shlex.join(words)}: {problem}"


@each_page
def test_the_commands_in_sentences_exist(page: PageText) -> None:
    for text in inline_commands(page.path):
        words = text.replace("[", "").replace("]", "").split()
        if not re.fullmatch(PLACE, words[-1] if len(words) > 1 else ""):
            words = shlex.split(" ".join(words))
        problem = wrong_in(words, whole=False)
        assert problem is None, f"{name_of(page)}: `{text}`: {problem}"


@each_page
def test_the_other_blocks_of_a_page_are_what_they_say(page: PageText, tmp_path: Path) -> None:
    for block in page.blocks:
        if block.language == "json":
            json.loads(block.text)
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "yaml" and (written := read_yaml(block.text)).data:
            assert not written.problems, f"{name_of(page)}:{block.line}: {written.problems}"
            if isinstance(written.data, dict) and written.data.keys() <= SECTIONS and "emulator" not in block.title:
                check_configuration(
                    block.text, written.data, tmp_path / "standby.yaml", f"{name_of(page)}:{block.line}"
                )


def check_configuration(text: str, written: dict[str, Any], file: Path, where: str) -> None:
    """Hold a part of a configuration against its models; the resources that it leaves out are added."""
    used = {name for plan in written.get("plans", {}).values() for name in resources_of(plan)}
    if "resources" not in written:
        text += "\n" + yaml.safe_dump({"resources": {name: stand_in(name) for name in sorted(used or {"east"})}})
    file.write_text(re.sub(r"\$\{[^}]+\}", "${SECRET}", text), encoding="utf-8")
    try:
        # Wherever a secret is from, and whatever for: one of 32 bytes in base64.
        load_configuration(file, {"SECRET": "bm90IGEgcmVhbCBrZXksIGJ1dCBsb25nIGVub3VnaCE="})
    except StandbyError as error:
        raise AssertionError(f"{where}: {error}") from error


def resources_of(plan: dict[str, Any]) -> Iterator[str]:
    for pair in plan.get("pairs", []):
        yield from (pair["source"], *pair["targets"])


def stand_in(name: str) -> dict[str, Any]:
    account = f"/subscriptions/0000/resourceGroups/ai/providers/Microsoft.CognitiveServices/accounts/{name}"
    where = {"endpoint": f"https://{name}.services.ai.azure.com", "region": "eastus", "resource_id": account}
    return {**where, "credentials": {"kind": "entra"}}


def commands_in(line: str) -> Iterator[list[str]]:
    """Find our commands and Prefect's in a line, whatever stands before them."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if re.fullmatch(r"[;|&<>()]+", word):
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            if words and words[0] in {"standby", "prefect"}:
                yield words
            words = []
        else:
            words.append(word)


def wrong_in(words: list[str], *, whole: bool = True) -> str | None:
    """Let the real command line read a command, without running it; what a sentence leaves out is no problem."""
    if words[0] == "prefect":
        return wrong_for_prefect(words[1:])
    group: Any = typer.main.get_command(app)
    given = [word for word in words[1:] if whole or word != "…"]
    try:
        outer = group.make_context("standby", [*given])
        rest = [*outer._protected_args, *outer.args]
        if rest:
            _, command, arguments = group.resolve_command(outer, rest)
            command.make_context(rest[0], arguments, parent=outer)
    except typer.Exit:
        return None
    except typer.TyperException as error:
        kind = type(error).__name__
        has_places = any(re.search(PLACE, word) for word in given)
        left_out = not whole and (kind == "MissingParameter" or "requires an argument" in error.format_message())
        return None if left_out or (kind == "BadParameter" and has_places) else error.format_message()
    return None


def wrong_for_prefect(words: list[str]) -> str | None:
    from cyclopts import CycloptsError  # noqa: PLC0415
    from prefect.cli._app import _app  # noqa: PLC0415 - it takes seconds, which other tests here are spared

    try:
        _app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        return str(error)
    return None


def test_a_page_is_held_to_what_it_expects() -> None:
    assert missing(("a …", "c"), "first\na b\nthen c\n") is None
    assert missing(("c", "a"), "a\nc\n") == "a"
    assert missing(("a long line",), "a long\n  line") is None
    assert missing(("west serves",), "east serves") == "west serves"


@pytest.mark.parametrize(
    "line",
    [
        "standby nothing",
        "standby plan invoices --nope",
        "standby plan a b",
        "standby failover invoices",
        "prefect wurker start",
        "A=1 standby replicate --tarGet x",
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    (words,) = commands_in(line)
    assert wrong_in(words) is not None
