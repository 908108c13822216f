"""`python -m benchmarks`: measures, and prints ratios."""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import Findings, outages
from standby.orchestrator import load_orchestrator

WIDTH = 132
BUSY = 0.5  # Others at work on average, from which on times are doubtful


def print_tables(findings: Sequence[Findings], lost: Sequence[outages.Outage], load: float) -> None:
    """Print a table for each group, and on what the expectations rest."""
    console = Console(width=WIDTH, highlight=False)
    if lost:
        console.print(outages.table_of(lost))
        console.print(outages.verdict_on(lost), end="\n\n")
    for group in findings:
        table = Table(title=group.title, title_justify="left", title_style="bold")
        table.add_column("ratio of", ratio=30)
        table.add_column("median", justify="right", no_wrap=True)
        table.add_column("rounds", no_wrap=True)
        table.add_column("expected", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        table.add_column("what it means", ratio=34)
        for figure in group.figures:
            cells = (figure.name, figure, figure.spread, figure.expected, figure.verdict, figure.meaning)
            table.add_row(*map(str, cells))
        console.print(table)
        for line in dict.fromkeys(f"  {figure.expected}: {figure.expected.basis}" for figure in group.figures):
            console.print(line, style="dim")
        console.print()
    console.print(f"Medians on {os.cpu_count()} cores, Python {platform.python_version()}.", end=" ")
    if load > BUSY:
        console.print(
            f"The machine was busy with something else (load {load:.1f}): ratios of time are too high, "
            "those of CPU less so."
        )
    if findings:
        console.print("--json prints every round, and the seconds behind the ratios.")


def print_json(findings: Sequence[Findings], lost: Sequence[outages.Outage], load: float) -> None:
    document = {
        "machine": {"python": platform.python_version(), "cores": os.cpu_count(), "load": load},
        "groups": [
            {"title": group.title, "figures": [figure.to_json() for figure in group.figures], "raw": group.raw}
            for group in findings
        ],
        "outages": outages.to_json(lost),
    }
    print(json.dumps(document, indent=1))


GROUPS = ("copying", "outages")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What orchestration costs.")
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=3, help="how often each copying is measured")
    parser.add_argument("--count", type=int, default=20, help="how many outages are measured, 2.5 min each")
    parser.add_argument("--json", action="store_true", help="only one JSON document on stdout")
    asked = parser.parse_args()
    if strange := set(asked.groups) - set(GROUPS):
        parser.error(f"there is no group {min(strange)}")
    if min(asked.rounds, asked.count) < 1:
        parser.error("--rounds and --count must be at least 1")
    load, _, _ = os.getloadavg()
    groups = asked.groups or GROUPS
    findings, lost = [], []
    if "copying" in groups:
        with tempfile.TemporaryDirectory() as folder:
            findings.append(asyncio.run(_measure_copying(asked.rounds, Path(folder))))
    if "outages" in groups:
        with tempfile.TemporaryDirectory() as folder:
            lost = asyncio.run(outages.measure(asked.count, Path(folder), _say))
    (print_json if asked.json else print_tables)(findings, lost, load)


async def _measure_copying(rounds: int, folder: Path) -> Findings:
    _say("starting a Prefect server")
    async with load_orchestrator().own_server(folder / "prefect") as server:
        # Prefect reads its settings when it is first imported, and they name the server.
        from benchmarks import orchestration  # noqa: PLC0415

        return await orchestration.measure(rounds, folder, server, _say)


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
