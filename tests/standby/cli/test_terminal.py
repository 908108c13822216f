from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import termios
from typing import TYPE_CHECKING

from typer.testing import CliRunner

from standby.cli.app import app

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
    assert re.search(r"\d in flight, \d copied, 1 not .* \d/9 .*/min left: ", live)
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


def test_a_stream_that_cannot_write_every_character_gets_all_the_others(workspace: Workspace) -> None:
    args = ["-c", str(workspace.file), "plan", "invoices"]

    text = CliRunner(charset="ascii").invoke(app, args, env=workspace.environment)
    document = CliRunner(charset="ascii").invoke(app, [*args, "--json"], env=workspace.environment)

    assert text.exit_code == document.exit_code == 2
    assert "east ? west" in text.stdout
    assert json.loads(document.stdout)["plan"] == "invoices"
