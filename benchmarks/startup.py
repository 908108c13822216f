"""How soon the command line answers."""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter

from benchmarks.figures import Expected, Figure, Findings, ratios

Arguments = tuple[str, ...]

NOTHING: Arguments = ("-c", "pass")
HELP: Arguments = ("-m", "standby", "--help")
PREFECT: Arguments = ("-c", "import prefect, prefect.main")

WITHOUT_PREFECT = Expected(0, 0.33, "commands that need no Prefect must not wait for its import")


def measure(rounds: int) -> Findings:
    """Start each program some times."""
    for arguments in (HELP, PREFECT):
        _start(arguments)  # Compiles what was never imported.
    times: dict[Arguments, list[float]] = {NOTHING: [], HELP: [], PREFECT: []}
    for _ in range(rounds):
        for arguments, found in times.items():
            found.append(_start(arguments))
    nothing, help_, prefect = times[NOTHING], times[HELP], times[PREFECT]
    return Findings(
        "Start-up",
        [
            Figure(
                "standby --help / python -c pass",
                ratios(help_, nothing),
                "what our imports cost where nothing is asked of them",
            ),
            Figure(
                "standby --help / import prefect",
                ratios(help_, prefect),
                "whether the command line keeps clear of Prefect",
                WITHOUT_PREFECT,
            ),
        ],
        {
            "python -c pass s": median(nothing),
            "standby --help s": median(help_),
            "import prefect s": median(prefect),
        },
    )


def _start(arguments: Arguments) -> float:
    begun = perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - begun
