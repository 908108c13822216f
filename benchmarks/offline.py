"""What needs no service: how soon the command line answers, and what planning costs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from statistics import median
from time import perf_counter
from typing import Any

from benchmarks import Expected, Figure, Findings, measured, ratios
from benchmarks.stage import COMPLETION, COPIED, EMBEDDING, listed
from standby.config.configuration import Configuration
from standby.document import JsonObject
from standby.replication.fingerprint import fingerprint
from standby.replication.inventory import Inventory
from standby.replication.items import Records, Selection
from standby.replication.plan import make_plan
from standby.replication.serving import Serving
from standby.replication.verdict import Action, CopyRecord, sight
from standby.service.models import Analyzer

Arguments = tuple[str, ...]

NOTHING: Arguments = ("-c", "pass")
HELP: Arguments = ("-m", "standby", "--help")
PREFECT: Arguments = ("-c", "import prefect, prefect.main")

WITHOUT_PREFECT = Expected(0, 0.33, "commands that need no Prefect must not wait for its import")


def measure_startup(rounds: int) -> Findings:
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
        {"python -c pass s": median(nothing), "standby --help s": median(help_), "import prefect s": median(prefect)},
    )


def _start(arguments: Arguments) -> float:
    begun = perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - begun


ANALYZERS = 1000
SOURCE = "east"
EMPTY, EQUAL, BEHIND = TARGETS = ("west", "north", "south")

COPY_SECONDS = 3.0
"""What the real service takes."""

NOW = datetime(2026, 1, 7, tzinfo=UTC)

SHARE = Expected(0, 0.01, "a plan must not be noticed beside what it plans")


def measure_planning(rounds: int) -> Findings:
    """Plan a run for three targets: one without anything, one in sync, one that is behind."""
    configuration = _configuration()
    held = {
        SOURCE: [listed(number) for number in range(ANALYZERS)],
        EMPTY: [],
        EQUAL: [listed(number, COPIED) for number in range(ANALYZERS)],
        BEHIND: [listed(number, COPIED, description="As it was") for number in range(ANALYZERS)],
    }
    inventories = {name: _inventory(configuration, name, listing) for name, listing in held.items()}
    records = {(SOURCE, target): _records(inventories[target]) for target in TARGETS}
    definitions = held[SOURCE]

    def write() -> None:
        for definition in definitions:
            json.dumps(definition, sort_keys=True, separators=(",", ":"))

    def hash_all() -> None:
        for definition in definitions:
            fingerprint(definition)

    def plan() -> None:
        made = make_plan(configuration.plan("p"), Selection(), inventories, records, NOW)
        actions = [item.action for item in made.items]
        if [actions.count(action) for action in (Action.COPY, Action.SKIP, Action.REPLACE)] != [ANALYZERS] * 3:
            raise RuntimeError("the plan is not what it should be")

    written, hashed, planned = (_each(rounds, work) for work in (write, hash_all, plan))
    slots = configuration.resource(EMPTY).max_concurrent_copies
    copying = ANALYZERS / slots * COPY_SECONDS
    return Findings(
        f"Planning: {ANALYZERS} analyzers × {len(TARGETS)} targets",
        [
            Figure(
                "fingerprint / json.dumps of the same definitions",
                ratios(hashed, written),
                "what it costs to reduce a definition to its meaning; json.dumps is C, RFC 8785 is Python",
            ),
            Figure(
                "make_plan / fingerprint of one region",
                ratios(planned, hashed),
                "5 if it were only fingerprints: the source's for each of 3 targets, and 2 targets' own",
            ),
            Figure(
                "make_plan / ideal time of the copies it plans",
                [seconds / copying for seconds in planned],
                f"at {COPY_SECONDS:.0f} s a copy and {slots} in flight at each target",
                SHARE,
            ),
        ],
        {
            "fingerprints per s": ANALYZERS / median(hashed),
            "json.dumps per s": ANALYZERS / median(written),
            "make_plan s": median(planned),
        },
    )


def _each(rounds: int, work: Callable[[], None]) -> list[float]:
    work()
    times = []
    for _ in range(rounds):
        with measured() as cost:
            work()
        times.append(cost.cpu)
    return times


def _configuration() -> Configuration:
    resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts"
    return Configuration.model_validate(
        {
            "resources": {
                name: {
                    "endpoint": f"https://{name}.services.ai.azure.com",
                    "region": f"{name}us",
                    "resource_id": f"{resource}/{name}",
                    "credentials": {"kind": "key", "key": "unused"},
                }
                for name in (SOURCE, *TARGETS)
            },
            "plans": {"p": {"pairs": [{"source": SOURCE, "targets": list(TARGETS)}], "on_existing": "replace"}},
        }
    )


def _inventory(configuration: Configuration, name: str, listing: list[JsonObject]) -> Inventory:
    analyzers = [Analyzer.model_validate(definition) for definition in listing]
    defaults: dict[str, Any] = {COMPLETION: COMPLETION, EMBEDDING: EMBEDDING}
    return Inventory(
        serving=Serving(configuration.resource(name), defaults, None),
        analyzers={analyzer.analyzer_id: analyzer for analyzer in analyzers},
        definitions={analyzer.analyzer_id: analyzer.to_json() for analyzer in analyzers},
    )


def _records(target: Inventory) -> Records:
    """Remember every analyzer of a target as a copy of what it still equals."""
    sightings = {name: sight(analyzer, target.definitions[name]) for name, analyzer in target.analyzers.items()}
    return {name: CopyRecord(sighting, sighting, NOW) for name, sighting in sightings.items()}
