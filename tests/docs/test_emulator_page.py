"""The emulator's page: its commands work as written, beside the example that `standby emulator --example` writes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from standby.emulator.config import EmulatorConfig, OutageKind, ResourceConfig
from standby.emulator.faults import CALL_KINDS, Fault
from standby.emulator.serve import bound

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "emulator.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS: list[str] = re.findall(r"^```sh\n(.*?)^```$", TEXT, flags=re.DOTALL | re.MULTILINE)


def free_ports(count: int) -> int:
    """Find the first of some ports in a row that nobody has, outside those that the system hands out."""
    for first in range(20000 + os.getpid() % 500 * count, 32000, count):
        try:
            for port in range(first, first + count):
                bound(port).close()
        except OSError:
            continue
        return first
    raise AssertionError("no ports in a row are free")


@dataclass
class Shell:
    """A terminal in the folder of an example that is served at other ports than those in the pages."""

    folder: Path
    first_port: int

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run what a person would type, which is written with the ports of the example."""
        typed = re.sub(r"\b874([0-2])\b", lambda found: str(self.first_port + int(found[1])), script)
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE_", "PREFECT_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", typed],
            cwd=self.folder,
            env={**bare, "PATH": path, "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Shell(tmp_path_factory.mktemp("example"), free_ports(3))
    written = made.run(f"standby emulator --example --json --port {made.first_port}")
    assert written.returncode == 0, written.stderr
    (made.folder / "next.json").write_text(written.stdout, encoding="utf-8")
    serve, *_ = json.loads(written.stdout)["next"]
    with subprocess.Popen(
        [sys.executable, "-m", *serve.split()], cwd=made.folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "control" in json.loads(process.stdout.readline())
        yield made
        process.send_signal(signal.SIGINT)


def test_the_commands_that_the_example_names_next_work_in_its_folder(shell: Shell) -> None:
    _, environment, *commands = json.loads((shell.folder / "next.json").read_text(encoding="utf-8"))["next"]
    ends = [shell.run(f"{environment}\n{command}") for command in commands]
    assert [(ran.returncode, ran.stderr) for ran in ends] == [(0, ""), (2, ""), (0, ""), (0, "")]
    assert "6 succeeded" in ends[2].stdout


def test_every_command_of_the_page_works_as_written_in_the_order_of_the_page(shell: Shell) -> None:
    assert len(BLOCKS) >= 10
    ran = shell.run("\n".join(BLOCKS[1:]))
    assert ran.returncode == 0, ran.stderr
    assert '"resources":{"east":' in ran.stdout


def test_the_page_names_every_key_call_and_fault() -> None:
    coded = set(re.findall(r"`([a-z_*]+)`", TEXT))
    faults = {kind.model_fields["kind"].default for kind in get_args(get_args(Fault)[0])}
    assert faults | set(CALL_KINDS) | set(get_args(OutageKind)) <= coded
    assert EmulatorConfig.model_fields.keys() | ResourceConfig.model_fields.keys() <= coded
