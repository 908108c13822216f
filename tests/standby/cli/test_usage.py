from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from standby import __version__
from standby.cli.app import COMMANDS, app, hoist

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Workspace

FULL = Path("/dev/full")
"""A device on which there is never room."""


def test_without_a_command_it_lists_the_commands() -> None:
    result = CliRunner().invoke(app, [])

    assert result.exit_code == 0
    assert all(f"  {name} " in result.stdout for name in COMMANDS)
    assert "..." not in result.stdout.partition("Commands:")[2]


def test_its_help_fits_80_columns() -> None:
    for args in (["--help"], *([name, "--help"] for name in COMMANDS)):
        shown = CliRunner().invoke(app, args).stdout
        assert max(len(line) for line in shown.splitlines()) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_reminds_of_the_global_options(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])

    assert result.exit_code == 0
    assert "-c FILE, --json, -v, -q, --no-color" in result.stdout


def test_shows_its_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"standby {__version__}\n"


def completed(workspace: Workspace, line: str) -> list[str]:
    words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_STANDBY_COMPLETE": "complete_bash"}
    return CliRunner().invoke(app, [], env=words, prog_name="standby").stdout.split()


def test_commands_options_plans_and_resources_are_completed(workspace: Workspace) -> None:
    workspace.edit("${WEST_KEY}", "${NOT_SET}")
    config = f"-c {workspace.file}"

    assert completed(workspace, "standby pl") == ["plan"]
    assert completed(workspace, "standby ") == [*COMMANDS]
    assert completed(workspace, "standby failover --pl") == ["--planned"]
    assert completed(workspace, f"standby {config} status in") == ["invoices"]
    assert completed(workspace, f"standby audit show {config} ") == ["invoices"]
    assert completed(workspace, f"standby {config} failover invoices --to ") == ["east", "west", "north"]
    assert completed(workspace, f"standby {config} drill invoices --scratch n") == ["north"]
    assert completed(workspace, "standby -c nowhere.yaml plan ") == []


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_has_a_short_name(name: str) -> None:
    asked = [name] if name else []
    assert CliRunner().invoke(app, [*asked, "-h"]).stdout == CliRunner().invoke(app, [*asked, "--help"]).stdout


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["plan", "x", "--json"], ["--json", "plan", "x"]),
        (["plan", "-c", "f", "x", "-v"], ["-c", "f", "-v", "plan", "x"]),
        (["plan", "x", "--config=f", "-q"], ["--config=f", "-q", "plan", "x"]),
        (["-c", "f", "plan", "x"], ["-c", "f", "plan", "x"]),
        (["plan", "--", "--json"], ["plan", "--", "--json"]),
        (["plan", "x", "-c"], ["-c"]),
    ],
)
def test_global_options_may_stand_anywhere(given: list[str], taken: list[str]) -> None:
    assert hoist(given) == taken


def test_the_home_folder_may_stand_where_a_shell_leaves_it_alone(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(workspace.folder))

    planned = workspace.run("plan", "invoices", "--target", "west", "--out=~/plan.json", "--config=~/standby.yaml")
    applied = workspace.run("replicate", "invoices", "--apply=~/plan.json")
    nobody = workspace.run("plan", "invoices", "--out=~no-such-user/plan.json")

    assert (workspace.folder / "plan.json").is_file(), planned.err
    assert applied.status == 0
    assert nobody.status == 1
    assert "begins with ~no-such-user, but no user of that name has a home folder here" in nobody.err


def test_a_global_option_after_the_command_does_what_it_does_before(workspace: Workspace) -> None:
    before = workspace.run("--json", "plan", "invoices")
    after = workspace.run("plan", "invoices", "--json")

    assert before.document["items"] == after.document["items"]


@pytest.mark.parametrize(
    ("args", "cause", "action"),
    [
        (["pln"], "There is no command pln: did you mean plan?", "See standby --help."),
        (["plan"], "Missing argument 'PLAN'.", "See standby plan --help."),
        (["plan", "x", "-c"], "Option '-c' requires an argument.", "See standby --help."),
        (["check", "x", "--targt", "y"], "No such option: --targt", "See standby check --help."),
        (
            ["replicate", "x", "--on-existing", "merge"],
            "Invalid value for '--on-existing': 'merge' is not one of 'refuse', 'replace', 'version'.",
            "See standby replicate --help.",
        ),
    ],
)
def test_wrong_usage_is_an_error_and_never_taken_for_differences(args: list[str], cause: str, action: str) -> None:
    result = CliRunner().invoke(app, args)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {cause}")
    assert result.stderr.endswith(f"\n  → {action}\n")


def test_wrong_usage_is_told_as_json_where_json_is_asked_for(workspace: Workspace) -> None:
    ran = workspace.run("pln", "--json")

    assert ran.status == 1
    assert ran.document["error"] == {
        "kind": "WrongUsage",
        "cause": "There is no command pln: did you mean plan?",
        "next_action": "See standby --help",
    }


@pytest.mark.parametrize("command", ["plan", "replicate", "check", "doctor"])
def test_an_unknown_plan_is_answered_with_the_nearest_one(workspace: Workspace, command: str) -> None:
    ran = workspace.run(command, "invoces")

    assert ran.status == 1
    assert ran.err.splitlines() == [
        "error: There is no plan named invoces: did you mean invoices?",
        "  → Correct the name, or add it to the configuration.",
    ]


def test_an_unknown_target_is_answered_with_the_nearest_one(workspace: Workspace) -> None:
    ran = workspace.run("plan", "invoices", "--target", "wst")

    assert ran.status == 1
    assert ran.err.splitlines() == [
        "error: No target of the plan matches wst: did you mean west?",
        "  → Correct the name, or leave out --target.",
    ]


def test_an_unknown_analyzer_is_answered_with_the_nearest_one(workspace: Workspace) -> None:
    ran = workspace.run("plan", "invoices", "--analyzer", "invoce")

    assert ran.status == 1
    assert ran.err.splitlines() == [
        "error: No analyzer of the plan matches invoce: did you mean invoice?",
        "  → Correct the name, or leave out --analyzer.",
    ]


def test_a_missing_configuration_says_what_to_do() -> None:
    result = CliRunner().invoke(app, ["-c", "nowhere.yaml", "plan", "invoices"])

    assert result.exit_code == 1
    assert result.stderr == (
        "error: nowhere.yaml does not exist.\n  → Create it, or name another file with --config.\n"
    )


def test_a_missing_variable_is_named_with_its_place(workspace: Workspace) -> None:
    workspace.edit("${WEST_KEY}", "${WEST_KEY_2}")

    ran = workspace.run("plan", "invoices")

    assert ran.status == 1
    assert "resources.west.credentials.key needs the environment variable WEST_KEY_2" in ran.err


def test_every_problem_of_the_configuration_is_told_at_once(workspace: Workspace) -> None:
    workspace.edit("region: westus3", "regoin: westus3")
    workspace.edit("deadlines:", "deadlnes:")

    ran = workspace.run("plan", "invoices", "--json")

    assert ran.status == 1
    assert "resources.west.regoin is not known here: did you mean region?" in ran.err
    assert "plans.invoices.deadlnes is not known here: did you mean deadlines?" in ran.err
    assert ran.document["error"]["kind"] == "ConfigurationError"


@pytest.mark.parametrize("setting", ["COLUMNS=0", "COLUMNS=1", "COLUMNS=-1", "LINES=0", "TERM=", "LANG=xx_YY.UTF-8"])
def test_no_setting_of_the_terminal_keeps_anything_from_being_printed(workspace: Workspace, setting: str) -> None:
    name, _, value = setting.partition("=")
    args = ["-c", str(workspace.file), "plan", "invoices"]
    said = CliRunner().invoke(app, args, env={**workspace.environment, name: value})
    assert said.stdout == CliRunner().invoke(app, args, env={**workspace.environment}).stdout
    assert "Plan invoices: " in said.stdout


@pytest.mark.skipif(not FULL.exists(), reason="this system has no full device")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_cannot_be_printed_is_told_and_stops_nothing(workspace: Workspace, options: tuple[str, ...]) -> None:
    with FULL.open("w") as full:
        process = workspace.start("replicate", "invoices", *options, stdout=full)
        assert process.stderr is not None
        told = process.stderr.read()
        assert process.wait() != 0
    assert "The result could not be written to stdout: No space left on device." in told
    assert workspace.run("check", "invoices").status in {0, 2, 3}


def test_the_environment_can_switch_colours_off(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = {**workspace.environment, "FORCE_COLOR": "1"}
    args = ["-c", str(workspace.file), "plan", "invoices"]

    with_colour = CliRunner().invoke(app, args, env=coloured)
    by_environment = CliRunner().invoke(app, args, env={**coloured, "NO_COLOR": "1"})
    by_option = CliRunner().invoke(app, [*args, "--no-color"], env=coloured)

    assert "\x1b[32m+" in with_colour.stdout
    assert "\x1b" not in by_environment.stdout
    assert "\x1b" not in by_option.stdout


def test_a_defect_of_ours_is_reported_without_what_it_held(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defective(_path: object) -> None:
        raise RuntimeError("canary")

    monkeypatch.setattr("standby.cli.output.load_configuration", defective)
    ran = workspace.run("plan", "invoices", "--json")

    assert ran.status == 1
    assert ran.document["error"]["kind"] == "RuntimeError"
    assert "A defect in Standby ended the command (RuntimeError)" in ran.err
    assert "Run it again" in ran.err
    assert "canary" not in ran.out + ran.err


INTERRUPTED = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "standby.cli.app":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
from standby.__main__ import main
main()
"""


def test_ctrl_c_while_modules_are_still_imported_ends_as_any_other() -> None:
    ran = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "Interrupted before anything was done.\n")
