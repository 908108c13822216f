"""Which primary a command is about: one option everywhere, and its names of earlier versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from standby.cli.app import COMMANDS, app

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Workspace

NAMING_ONE = {
    "failover": ["--to", "west", "--yes"],
    "commit": ["--yes"],
    "failback": ["--yes"],
    "drill": ["--to", "west"],
}


@pytest.mark.parametrize("spelling", ["--primary", "--from", "--home"])
@pytest.mark.parametrize("name", NAMING_ONE)
def test_every_command_that_names_a_primary_takes_every_spelling(
    workspace: Workspace, name: str, spelling: str
) -> None:
    ran = workspace.run(name, "invoices", *NAMING_ONE[name], spelling, "elsewhere")
    joined = workspace.run(name, "invoices", *NAMING_ONE[name], f"{spelling}=elsewhere")

    assert ran.status == joined.status == 1
    assert "elsewhere" in ran.err
    assert ran.err == joined.err


def test_only_the_present_spelling_is_shown() -> None:
    helps = {name: CliRunner().invoke(app, [name, "--help"]).stdout for name in COMMANDS}

    assert {name for name, shown in helps.items() if "--primary" in shown} == set(NAMING_ONE)
    assert not any(former in shown for shown in helps.values() for former in ("--from", "--home"))


def test_elsewhere_an_earlier_name_is_an_unknown_option_as_it_was_written(workspace: Workspace) -> None:
    assert "--from" in workspace.run("plan", "invoices", "--from", "east").err
