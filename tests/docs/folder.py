"""The folder in which the commands of a page are run, with its environment: one mechanism for every page."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from contextlib import AbstractContextManager, chdir, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from typer.testing import CliRunner

from standby.cli.app import app
from standby.emulator.serve import bound
from tests.docs.pages import Block, Command
from tests.patience import PATIENCE

_OF_A_SHELL = re.compile(r"[|<>&;$`*?~#]|^\w+=")
"""What only a shell understands."""
_KEEP = 'status=$?; env -0 > "$STANDBY_LEFT"; pwd >> "$STANDBY_LEFT"; exit $status'


@dataclass
class Folder:
    """Where the blocks of one page are run, one after the other.

    Attributes:
        first_port: what stands for 8740, the first port of the emulator's example, which others may use here.
    """

    path: Path
    environment: dict[str, str]
    first_port: int = 8740
    served: list[tuple[subprocess.Popen[bytes], Path]] = field(default_factory=list)

    def use(self, block: Block) -> None:
        """Write the file that a block is, or run its commands."""
        if block.title:
            file = self.path / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text + "\n", encoding="utf-8")
        if block.language == "console" and not block.not_run:
            for command in block.commands:
                self.run(self._at_free_ports(command))

    def _at_free_ports(self, command: Command) -> Command:
        def moved(text: str) -> str:
            return re.sub(r"\b874([0-2])\b", lambda port: str(self.first_port + int(port[1])), text)

        text = command.text.replace("emulator --example", f"emulator --example --port {self.first_port}")
        return replace(command, text=moved(text), expected=tuple(map(moved, command.expected)))

    def run(self, command: Command) -> str:
        """Run a command, hold its status and what it prints against the page, and give what it printed."""
        if command.serves:
            self._serve(command)
            return ""
        if command.text.startswith("control "):
            _, path, order = command.text.split(" ", 2)
            httpx.post(f"{self.environment['CONTROL']}/{path}", json=json.loads(order)).raise_for_status()
            return ""
        if command.text.startswith("standby ") and not _OF_A_SHELL.search(command.text):
            status, printed = self.standby(shlex.split(command.text)[1:])
        else:
            status, printed = self._shell(command.text)
        assert status == command.status, f"$ {command.text}\n{printed}\nexit status {status}"
        assert missing(command.expected, printed) is None, (
            f"$ {command.text}\n{printed}\nthe page expects: {missing(command.expected, printed)}"
        )
        return printed

    def standby(self, arguments: list[str]) -> tuple[int, str]:
        """Run our command in this process, which spares it the start of one."""
        gone = dict.fromkeys(os.environ.keys() - self.environment.keys())
        with chdir(self.path), self._prefect():
            ended = CliRunner().invoke(app, arguments, env={**gone, **self.environment})
        if ended.exception is not None and not isinstance(ended.exception, SystemExit):
            raise ended.exception
        return ended.exit_code, ended.output

    def _prefect(self) -> AbstractContextManager[object]:
        """Hide the Prefect server of other tests from a page that names none."""
        settings = sys.modules.get("prefect.settings")
        if settings is None or "PREFECT_API_URL" in self.environment:
            return nullcontext()
        no_server = settings.temporary_settings(restore_defaults={settings.PREFECT_API_URL})
        assert isinstance(no_server, AbstractContextManager)
        return no_server

    def _shell(self, text: str) -> tuple[int, str]:
        """Run anything else in a shell; its folder and environment are those of the next command."""
        left = self.path / ".left"
        ended = subprocess.run(
            ["bash", "-ac", f"{text}\n{_KEEP}"],
            cwd=self.path,
            env={**self.environment, "STANDBY_LEFT": str(left)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if left.exists():
            *variables, folder = left.read_text(encoding="utf-8").split("\0")
            left.unlink()
            self.path = Path(folder.strip())
            self.environment = dict(each.split("=", 1) for each in variables)
            self.environment.pop("STANDBY_LEFT")
        return ended.returncode, ended.stdout

    def _serve(self, command: Command) -> None:
        """Start what serves until the page is done, and wait for what it is expected to say."""
        printed = self.path / f".served-{len(self.served)}"
        with printed.open("wb") as file:
            arguments = ["bash", "-c", f"exec {command.text}"]
            process = subprocess.Popen(
                arguments, cwd=self.path, env=self.environment, stdout=file, stderr=subprocess.STDOUT
            )
        self.served.append((process, printed))
        end = time.monotonic() + PATIENCE
        while (lacks := missing(command.expected or ("…",), text := printed.read_text(encoding="utf-8"))) is not None:
            assert process.poll() is None, f"$ {command.text}\n{text}\nexit status {process.returncode}"
            assert time.monotonic() < end, f"$ {command.text}\n{text}\nthe page expects: {lacks}"
            time.sleep(0.02)

    def close(self) -> None:
        """End what still serves."""
        for process, _ in self.served:
            process.terminate()
            process.wait(PATIENCE)


def missing(expected: tuple[str, ...], printed: str) -> str | None:
    """Find the first line that was not printed, or not after those before it; how lines are broken does not matter."""
    text, position = " ".join(printed.split()), 0
    for line in expected:
        wanted = " ".join(line.split())
        if not wanted:
            continue
        found = re.compile(".{0,400}?".join(map(re.escape, wanted.split("…")))).search(text, position)
        # What serves has said something, at least.
        if found is None or (wanted == "…" and not text):
            return line
        position = found.end()
    return None


def free_ports(count: int = 3) -> int:
    """Find the first of some ports in a row that nobody has, outside those that the system hands out."""
    for first in range(20000 + os.getpid() % 500 * count, 32000, count):
        try:
            for port in range(first, first + count):
                bound(port).close()
        except OSError:
            continue
        return first
    raise AssertionError("no ports in a row are free")


def bare_environment(home: Path, authorities: Path) -> dict[str, str]:
    """Give what a page finds in its environment: nothing of this machine's own Prefect or Azure."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "USER": "ops",
        "LANG": "C.UTF-8",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "SSL_CERT_FILE": str(authorities),
        "PREFECT_HOME": str(home / ".prefect"),
        "DO_NOT_TRACK": "1",
    }
