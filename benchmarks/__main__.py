"""`python -m benchmarks`: measures side by side, prints one table, and writes `benchmarks/RESULTS.md`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx
from rich.console import Console

from benchmarks import Row, markdown_of, outages, table_of, timed
from benchmarks.cases import CASES, causes
from benchmarks.stage import family_cpu

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
BEFORE = HERE / "before.json"
BY_HAND = HERE / "by_hand.json"
WIDEST = 132

BUSY_LOAD = 0.5  # Processes at work on average before anything is measured, from which on times are doubtful
BUSY_CORES = 0.1  # Cores that others used while it was measured, likewise


@dataclass(frozen=True)
class Machine:
    """Where it was measured, and what else was going on there."""

    facts: Mapping[str, str]
    load_before: float
    load_after: float
    others: float | None  # cores that others used meanwhile; `None` where the system does not say

    @property
    def busy(self) -> str:
        """Why the times are doubtful; empty on a quiet machine."""
        parts = [f"the load was {self.load_before:.1f} before it"] if self.load_before > BUSY_LOAD else []
        if self.others is not None and self.others > BUSY_CORES:
            parts.append(f"others used {self.others:.2f} cores meanwhile")
        return f"The machine was busy: {' and '.join(parts)}. Times and ratios are too high." if parts else ""


def facts() -> dict[str, str]:
    """Describe this machine."""
    cpus = _lines("/proc/cpuinfo", "model name") or [platform.processor() or platform.machine()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    systems = _lines("/etc/os-release", "PRETTY_NAME") or [platform.system()]
    changed = _git("status", "--porcelain", "--", "standby", "flows", "tasks", "blocks")
    revision = f"{_git('rev-parse', '--short=7', 'HEAD') or 'unknown'}{' with changes' if changed else ''}"
    return {
        "cores": str(os.cpu_count()),
        "CPU": cpus[0],
        "memory": f"{memory:.1f} GiB",
        "system": f"{systems[0]}, {platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "Prefect": version("prefect"),
        "revision": revision,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def _git(*arguments: str) -> str:
    try:
        asked = subprocess.run(("git", *arguments), cwd=HERE.parent, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return asked.stdout.strip()


def _lines(file: str, name: str) -> list[str]:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    return [line.partition(":" if ":" in line else "=")[2].strip(' "') for line in lines if line.startswith(name)]


def busy_cpu() -> float | None:
    """Tell the CPU seconds that this machine has spent, or had to leave to others; `None` where nobody says."""
    try:
        user, nice, system, _, _, interrupt, soft, stolen = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
    except (OSError, ValueError):
        return None
    return sum(map(int, (user, nice, system, interrupt, soft, stolen))) / os.sysconf("SC_CLK_TCK")


def measure(share: float) -> tuple[list[Row], dict[str, float], Machine]:
    """Measure every case, one after the other; ratios first, then what is a figure by itself."""
    about, load, begun = facts(), os.getloadavg()[0], time.monotonic()
    spent, ours = busy_cpu(), family_cpu()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            try:
                # What a case found before it failed counts all the same.
                for row in case(Path(folder), share, _say):
                    rows.append(row)
            except (RuntimeError, OSError, httpx.HTTPError) as error:
                about["not measured"] = f"{about.get('not measured', '')} {case.__name__}: {error}".strip()
                _say(f"{case.__name__} could not be measured: {error}")
        spent_on = causes(Path(folder), share, _say)
    now, took = busy_cpu(), time.monotonic() - begun
    others = None if now is None or spent is None else max(0.0, now - spent - (family_cpu() - ours)) / took
    about["took"] = f"{took:.0f} s"
    rows += by_hand()
    return (
        sorted(rows, key=lambda row: (row.ratio is None, row.must == "shown")),
        spent_on,
        Machine(about, load, os.getloadavg()[0], others),
    )


def by_hand() -> list[Row]:
    """Read what was measured by hand, since not every machine has what it needs: workers on PostgreSQL and Redis.

    An entry is a row's name with `ideal` and `ours` in seconds, `most` and `when`, a date.
    """
    kept = json.loads(BY_HAND.read_text(encoding="utf-8")) if BY_HAND.exists() else {}
    return [
        timed(f"{name} (by hand, {each['when']})", [each["ours"]], [each["ideal"]], each["most"])
        for name, each in kept.items()
    ]


HOW = """
How to read it: `make bench` runs every case one after the other, each as a `standby` command of its own against
emulated regions in another process. A copy takes 3 s there, up to a fifth less or more, each as likely.

- **ideal** is a simulation in which nothing costs anything (`benchmarks/__init__.py: ideal`): copies take what they
  took at the emulator, as many at once as the target has slots, children before their parents, others in their order.
  It is never less than what the quota of 3,000 calls a minute allows for two calls at the target a copy: the copy, and
  one question whose answer shows all of it.
- **ours** is what the run's own report says, from its plan to its last copy; a *whole command* is the process from its
  start to its end. Where there are rounds, the ratio is that of the median round.
- **CPU a copy** is that of the whole command, less that of the same command again, when there is nothing to copy.
- **peers** copy at the same regions. Plain asyncio + httpx asks every 0.25 s. The vendor's SDK
  (`azure-ai-contentunderstanding`) copies in as many threads as there are slots and asks each second, as the vendor's
  own tool has it. One by one it asks every 3 s, as it does by default, and the copy routine of `cu-cli-core` is used
  in a loop, asking each second: six copies of both, multiplied to the size of the case.
- **Under Prefect** the command starts a server itself, whose database is there already. What was recorded is counted
  in that database; *around a run* is the whole command less what the report says.
- **Bare lists** is a program that reads the same lists with httpx and does nothing with them. Its start is counted, as
  is that of `check`.
""".strip()


def results(rows: Sequence[Row], spent: Mapping[str, float], machine: Machine) -> str:
    """Write the page."""
    kept = json.loads(BEFORE.read_text(encoding="utf-8")) if BEFORE.exists() else {}
    told = [f"{name} {fact}" for name, fact in machine.facts.items()]
    others = "unknown" if machine.others is None else f"{machine.others:.2f} cores"
    told += [
        f"load before {machine.load_before:.2f}, after {machine.load_after:.2f}",
        f"used by others meanwhile {others}",
    ]
    before = f"*before* is revision {kept['revision']}, measured the same way on {kept['date']}." if kept else ""
    parts = [
        "# What the bench found",
        "Written by `make bench`.",
        f"**{machine.busy}**" if machine.busy else "",
        "\n".join(markdown_of(rows, kept.get("rows", {}))),
        before,
        f"Measured on: {'; '.join(told)}.",
        HOW,
        "## On what a direct run spends its CPU",
        "Milliseconds a copy as a profiler sees them, which takes as much again: what counts is how they compare.",
        "\n".join(
            ["| on | ms |", "|---|---|", *(f"| {cause} | {ms:.2f} |" for cause, ms in spent.items() if ms >= 0.01)]
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="How near a run is to the service's time."
    )
    parser.add_argument("group", nargs="?", choices=("runs", "outages"), default="runs", help="runs by default")
    parser.add_argument("--share", type=float, default=1.0, help="of each case's size; less than 1 writes no results")
    parser.add_argument("--count", type=int, default=20, help="how many outages are measured, 2.5 min each")
    parser.add_argument("--before", action="store_true", help="keep the figures as those of an earlier revision")
    asked = parser.parse_args()
    console = Console(highlight=False)
    console.width = min(max(console.width, 80), WIDEST) if console.is_terminal else WIDEST
    if asked.group == "outages":
        with tempfile.TemporaryDirectory() as folder:
            lost = asyncio.run(outages.measure(asked.count, Path(folder), _say))
        console.print(outages.table_of(lost), outages.verdict_on(lost), sep="\n")
        return
    rows, spent, machine = measure(asked.share)
    console.print(table_of(rows))
    console.print(*(f"{name} {fact}" for name, fact in machine.facts.items()), sep="; ")
    if machine.busy:
        console.print(machine.busy, style="bold red")
    if asked.before:
        shown = {
            row.name: " = ".join(filter(None, (row.cells[3], row.cells[4] and f"{row.cells[4]} ×"))) for row in rows
        }
        kept = {"revision": machine.facts["revision"], "date": machine.facts["date"], "rows": shown}
        BEFORE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    elif asked.share == 1:
        RESULTS.write_text(results(rows, spent, machine), encoding="utf-8")


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
