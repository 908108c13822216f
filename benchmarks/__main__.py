"""`python -m benchmarks`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from benchmarks import orchestration, planning, startup
from benchmarks.figures import Findings
from benchmarks.telling import tell_people, tell_programs

GROUPS = ("startup", "planning", "copying")


def main() -> None:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What orchestration costs.")
    parser.add_argument("groups", nargs="*", help=f"of {', '.join(GROUPS)}; all of them by default")
    parser.add_argument("--rounds", type=int, default=3, help="how often each copying is measured")
    parser.add_argument("--json", action="store_true", help="only one JSON document on stdout")
    asked = parser.parse_args()
    if strange := set(asked.groups) - set(GROUPS):
        parser.error(f"there is no group {min(strange)}")
    if asked.rounds < 1:
        parser.error("--rounds must be at least 1")
    load, _, _ = os.getloadavg()
    findings = _measure(asked.groups or GROUPS, asked.rounds)
    (tell_programs if asked.json else tell_people)(findings, load)


def _measure(groups: list[str] | tuple[str, ...], rounds: int) -> list[Findings]:
    found = []
    if "startup" in groups:
        _say("starting programs")
        found.append(startup.measure(rounds))
    if "planning" in groups:
        _say("planning")
        found.append(planning.measure(rounds))
    if "copying" in groups:
        with tempfile.TemporaryDirectory() as folder:
            found.append(asyncio.run(orchestration.measure(rounds, Path(folder), _say)))
    return found


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
