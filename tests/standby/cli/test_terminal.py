from __future__ import annotations

import fcntl
import json
import logging
import os
import pty
import re
import struct
import termios
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from standby.cli.app import app
from standby.cli.output import PLAIN, Line, Output
from standby.cli.run import logging_to
from standby.cli.shown import progress as show_progress
from standby.document import JsonObject
from standby.errors import StandbyError
from standby.replication.items import Progress as RunProgress
from standby.replication.items import Status

if TYPE_CHECKING:
    from tests.standby.cli.conftest import Cloud, Workspace

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_terminal(workspace: Workspace, *args: str) -> tuple[int, str]:
    """Run the command on a terminal of 80 columns; give its status and all that was written."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = workspace.start(*args, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65536):
            written += chunk
    except OSError:
        pass  # So Linux says that the other side has closed.
    finally:
        os.close(ours)
    return process.wait(), written.decode()


def test_shows_a_live_line_and_then_a_report_that_fits(workspace: Workspace, cloud: Cloud) -> None:
    cloud.tell("settings", service_time=0.5)

    status, written = on_terminal(workspace, "replicate", "invoices")

    assert status == 3
    shown = CONTROL.sub("", written)
    live, _, report = shown.partition("east → west: ")
    assert re.search(r"\d in flight, \d copied .1 more not begun. .* \d/9 .*/min left: ", live)
    lines = report.splitlines()
    assert max(len(line) for line in lines if "http" not in line) <= 80
    # A long reason is broken between words, behind its mark, and nothing of it is lost.
    assert "  ! claim blocked: north has no default deployment for model gpt-4o." in report
    assert '    with {"modelDeployments": {"gpt-4o": "DEPLOYMENT"}}.' in lines


def test_writes_plain_whole_lines_where_there_is_no_terminal(workspace: Workspace) -> None:
    ran = workspace.run("replicate", "invoices")

    assert "\x1b" not in ran.out + ran.err
    assert ran.err == ""
    (line,) = (line for line in ran.out.splitlines() if "claim" in line)
    assert line.endswith('{"modelDeployments": {"gpt-4o": "DEPLOYMENT"}}.')


def test_a_reader_that_goes_away_changes_neither_work_nor_status(workspace: Workspace, cloud: Cloud) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = workspace.start("replicate", "invoices", "-v", stdout=writing)
    finally:
        os.close(writing)
    ran = workspace.ended(process)

    assert ran.status == 3
    assert "Traceback" not in ran.err
    assert "BrokenPipe" not in ran.err
    assert sum(cloud.stats("north")["copies_accepted"].values()) == 4


@pytest.mark.parametrize("setting", [{"LANG": "C"}, {"LC_ALL": "POSIX"}, {"PYTHONIOENCODING": "ascii"}])
def test_where_only_ascii_is_asked_for_signs_have_a_plain_form(workspace: Workspace, setting: dict[str, str]) -> None:
    unset = dict.fromkeys(("LANG", "LC_ALL", "LC_CTYPE", "PYTHONIOENCODING"), "")
    workspace.environment.update(unset | setting)
    ran = workspace.ended(workspace.start("plan", "invoices"))
    failed = workspace.ended(workspace.start("plan", "nothing"))

    assert "east -> west" in ran.out
    assert "  -> Correct the name" in failed.err
    assert (ran.out + failed.err).isascii()


def test_every_sign_of_ours_has_a_plain_form() -> None:
    printed = {char for file in Path("standby").rglob("*.py") for char in file.read_text(encoding="utf-8")}
    drawn = set("├└")  # Of drawings in comments

    assert {char for char in printed if not char.isascii()} <= PLAIN.keys() | drawn


def test_a_stream_that_cannot_write_every_character_gets_all_the_others(workspace: Workspace) -> None:
    args = ["-c", str(workspace.file), "plan", "invoices"]

    text = CliRunner(charset="ascii").invoke(app, args, env=workspace.environment)
    document = CliRunner(charset="ascii").invoke(app, [*args, "--json"], env=workspace.environment)

    assert text.exit_code == document.exit_code == 2
    assert "east -> west" in text.stdout
    assert json.loads(document.stdout)["plan"] == "invoices"


HARMFUL = "x\x1b]0;owned\x07\x9b31m\u202ecod\u2066\u200b\nerror: forged\ud800"


def test_nothing_that_commands_a_terminal_gets_out_by_any_way(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Those of pytest would keep the half of a surrogate pair, which its workers cannot send.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    output = Output(verbose=True, color=False)
    with logging_to(output.stderr, verbose=True, quiet=False):
        output.results([Line(HARMFUL, 2, "!", "red"), Line(HARMFUL)])
        output.say(HARMFUL)
        output.error(StandbyError(HARMFUL, HARMFUL))
        output.problem("Odd", HARMFUL, HARMFUL)
        with show_progress(output.stderr, quiet=False, clock=count(step=10).__next__) as update:
            update(RunProgress(3, 1, tuple((status, int(status is Status.SUCCEEDED)) for status in Status)))
        logging.getLogger("standby.test").warning("odd %s", HARMFUL, exc_info=ValueError(HARMFUL))
        logging.getLogger("library").warning(HARMFUL)
    written = capsys.readouterr()

    for line in (written.out + written.err).split("\n"):
        assert line.isprintable()
    assert "owned" in written.out
    assert not re.search(r"^(error|warning): forged", written.out + written.err, re.MULTILINE)


def test_the_document_says_all_of_it_in_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    document: JsonObject = {"id": HARMFUL, "name": "東京\U000e0041\x7f"}
    Output(json=True).document(document)
    written = capsys.readouterr().out

    assert all(line.isprintable() for line in written.split("\n"))
    assert "東京" in written
    assert json.loads(written) == document
