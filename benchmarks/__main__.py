"""`python -m benchmarks`: measures side by side, prints one table, and writes `benchmarks/RESULTS.md`."""

from __future__ import annotations

import argparse
import io
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx
from rich.console import Console

from benchmarks.cases import CASES, Row, table_of
from benchmarks.stage import cpu_seconds, say

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
WIDEST = 132

BUSY_LOAD = 0.5  # Processes at work on average before anything is measured, from which on times are doubtful
BUSY_CORES = 0.1  # Cores that others used while it was measured, likewise


def facts() -> dict[str, str]:
    cpu = re.search(r"model name\s*: (.*)", _read("/proc/cpuinfo"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    changed = _git("status", "--porcelain", "--", "standby", "flows", "tasks", "blocks")
    return {
        "cores": str(os.cpu_count()),
        "CPU": cpu[1] if cpu else platform.machine(),
        "memory": f"{memory:.1f} GiB",
        "system": platform.platform(),
        "Python": platform.python_version(),
        "Prefect": version("prefect"),
        "revision": f"{_git('rev-parse', '--short=7', 'HEAD') or 'unknown'}{' with changes' if changed else ''}",
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _git(*arguments: str) -> str:
    asked = subprocess.run(("git", *arguments), cwd=HERE.parent, capture_output=True, text=True, check=False)
    return asked.stdout.strip()


def _read(file: str) -> str:
    return Path(file).read_text(encoding="utf-8") if Path(file).exists() else ""


def used_by_others() -> float:
    """Tell the CPU seconds that the machine has spent on others, or had to leave to others; 0 where it does not say."""
    counted = [int(ticks) for ticks in _read("/proc/stat").partition("\n")[0].split()[1:9]]
    # All but the two that say how long there was nothing to do.
    return (sum(counted) - sum(counted[3:5])) / os.sysconf("SC_CLK_TCK") - cpu_seconds()


def measure(share: float, about: dict[str, str]) -> list[Row]:
    """Measure every case, one after the other; what must be reached first, ratios before figures."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            try:
                # What a case found before it failed counts all the same.
                for row in case(Path(folder), share):
                    rows.append(row)
            except (RuntimeError, OSError, httpx.HTTPError) as error:
                about["not measured"] = f"{about.get('not measured', '')} {case.__name__}: {error}".strip()
                say(f"{case.__name__} could not be measured: {error}")
    return sorted(rows, key=lambda row: (not row.ratio, row.must == "shown"))


def results(rows: Sequence[Row], about: str, busy: str) -> str:
    page = io.StringIO()
    Console(file=page, width=1000).print(table_of(rows))
    parts = [
        "# What the bench found",
        "Written by `make bench`.",
        f"**{busy}**" if busy else "",
        "\n".join(line.strip() for line in page.getvalue().strip().splitlines()),
        f"Measured on: {about}.",
        _read(str(Path(__file__).with_name("how-to-read.md"))).strip(),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="How near a run is to the service's time."
    )
    parser.add_argument("--share", type=float, default=1.0, help="of each case's size; less than 1 writes no results")
    share = parser.parse_args().share
    console = Console(highlight=False)
    console.width = min(max(console.width, 80), WIDEST) if console.is_terminal else WIDEST
    about, begun, others = facts(), time.monotonic(), used_by_others()
    rows = measure(share, about)
    took = time.monotonic() - begun
    cores = (used_by_others() - others) / took
    about |= {"took": f"{took:.0f} s", "used by others meanwhile": f"{cores:.2f} cores"}
    quiet = float(about["load before"]) <= BUSY_LOAD and cores <= BUSY_CORES
    busy = "" if quiet else "The machine was busy, before it or meanwhile: times and ratios are too high."
    told = "; ".join(f"{name} {fact}" for name, fact in about.items())
    console.print(table_of(rows), told, busy, sep="\n")
    if share == 1:
        RESULTS.write_text(results(rows, told, busy), encoding="utf-8")


if __name__ == "__main__":
    main()
