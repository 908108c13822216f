"""`python -m benchmarks`: measures side by side, prints one table, and writes `benchmarks/RESULTS.md`."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from benchmarks import Row, outages, table_of, timed
from benchmarks.cases import CASES, causes
from benchmarks.stage import cpu_seconds, say

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
BEFORE = HERE / "before.json"
BY_HAND = HERE / "by_hand.json"
WIDEST = 132

BUSY_LOAD = 0.5  # Processes at work on average before anything is measured, from which on times are doubtful
BUSY_CORES = 0.1  # Cores that others used while it was measured, likewise


def facts() -> dict[str, str]:
    """Describe this machine, and what is measured on it."""
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


def measure(share: float, about: dict[str, str]) -> tuple[list[Row], dict[str, float]]:
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
        spent = causes(Path(folder), share)
    # By hand, since not every machine has what it needs: workers on PostgreSQL and Redis. A row's name, with `ideal`
    # and `ours` in seconds, `most` and `when`, a date.
    for name, each in _kept(BY_HAND).items():
        rows.append(timed(f"{name} (by hand, {each['when']})", [each["ours"]], [each["ideal"]], each["most"]))
    return sorted(rows, key=lambda row: (not row.ratio, row.must == "shown")), spent


def _kept(file: Path) -> dict[str, Any]:
    return dict(json.loads(_read(str(file)) or "{}"))


def results(rows: Sequence[Row], spent: Mapping[str, float], about: Mapping[str, str], busy: str) -> str:
    """Write the page."""
    kept = _kept(BEFORE)
    page = io.StringIO()
    Console(file=page, width=1000).print(table_of(rows, kept.get("rows", {})))
    before = f"*before* is revision {kept['revision']}, measured the same way on {kept['date']}." if kept else ""
    parts = [
        "# What the bench found",
        "Written by `make bench`.",
        f"**{busy}**" if busy else "",
        "\n".join(line.strip() for line in page.getvalue().strip().splitlines()),
        before,
        f"Measured on: {_told(about)}.",
        _read(str(Path(__file__).with_name("how-to-read.md"))).strip(),
        "## On what a direct run spends its CPU",
        "Milliseconds a copy as a profiler sees them, which takes as much again: what counts is how they compare.",
        "\n".join(
            ["| on | ms |", "|---|---|", *(f"| {cause} | {ms:.2f} |" for cause, ms in spent.items() if ms >= 0.01)]
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _told(about: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {fact}" for name, fact in about.items())


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
            lost = asyncio.run(outages.measure(asked.count, Path(folder)))
        console.print(outages.table_of(lost), outages.verdict_on(lost), sep="\n")
        return
    about, begun, others = facts(), time.monotonic(), used_by_others()
    rows, spent = measure(asked.share, about)
    took = time.monotonic() - begun
    cores = (used_by_others() - others) / took
    about |= {"took": f"{took:.0f} s", "used by others meanwhile": f"{cores:.2f} cores"}
    quiet = float(about["load before"]) <= BUSY_LOAD and cores <= BUSY_CORES
    busy = "" if quiet else "The machine was busy, before it or meanwhile: times and ratios are too high."
    console.print(table_of(rows, {}), _told(about), busy, sep="\n")
    if asked.before:
        shown = {row.name: " = ".join(filter(None, (row.ours, row.ratio and f"{row.ratio} ×"))) for row in rows}
        kept = {"revision": about["revision"], "date": about["date"], "rows": shown}
        BEFORE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    elif asked.share == 1:
        RESULTS.write_text(results(rows, spent, about, busy), encoding="utf-8")


if __name__ == "__main__":
    main()
