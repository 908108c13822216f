"""Three emulated regions in a process of their own, whose work is not counted as ours."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx

from standby.config.configuration import Configuration
from standby.config.vault import VaultSettings
from standby.document import JsonObject

FIELDS = 12  # What a document analyzer of some use extracts
COMPLETION = "gpt-4.1"
EMBEDDING = "text-embedding-3-large"


def name_of(number: int) -> str:
    return f"analyzer-{number:04}"


def written(number: int) -> JsonObject:
    """Write an analyzer as its author does."""
    fields: JsonObject = {
        f"Field{field:02}": {"type": kind, "method": "extract", "description": f"What is said of matter {field}"}
        for field, kind in zip(range(FIELDS), cycle(("string", "number", "date")), strict=False)
    }
    return {
        "analyzerId": name_of(number),
        "description": f"Documents of kind {number}, as scanned or sent by mail",
        "baseAnalyzerId": "prebuilt-document",
        "models": {"completion": COMPLETION, "embedding": EMBEDDING},
        "tags": {"team": f"team-{number % 7}"},
        "config": {"returnDetails": True, "estimateFieldSourceAndConfidence": True},
        "fieldSchema": {"name": "document", "fields": fields},
    }


SOURCE = "east"
TARGETS = ("west", "north")
PLAN = "benchmark"
SERVICE_TIME = 1.0  # Seconds a copy takes at the emulator
SLOTS = 25  # Copies in flight at each target
INTERVAL = 0.35  # Seconds between polls: four polls, so a copy is the seven calls that the design's figures are of

UNLIMITED = 1_000_000
"""Operations a minute. The service's own 3,000 would be what is measured: 50 in flight want 10,000."""


@dataclass(frozen=True)
class Stage:
    """The regions, and a configuration that leads to them."""

    analyzers: tuple[str, ...]
    control: str
    configuration: Configuration

    @property
    def copies(self) -> int:
        """How many copies a run makes."""
        return len(self.analyzers) * len(TARGETS)

    @property
    def ideal(self) -> float:
        """Seconds a run takes in which nothing costs anything: every slot is always in use."""
        return -(-len(self.analyzers) // SLOTS) * SERVICE_TIME

    def with_vault(self, folder: Path) -> Configuration:
        """Give the configuration with a vault in which no run has left anything."""
        return self.configuration.model_copy(update={"vault": VaultSettings(path=folder)})

    async def reset(self) -> None:
        async with httpx.AsyncClient(base_url=self.control, trust_env=False) as control:
            (await control.post("/reset")).raise_for_status()

    async def calls_per_copy(self) -> float:
        """Tell how many calls a copy was, and make sure that every copy was made, once."""
        async with httpx.AsyncClient(base_url=self.control, trust_env=False) as control:
            resources = (await control.get("/stats")).raise_for_status().json()["resources"]
        for target in TARGETS:
            accepted = resources[target]["copies_accepted"]
            if accepted != dict.fromkeys(self.analyzers, 1):
                raise RuntimeError(f"{target} made {sum(accepted.values())} of {len(self.analyzers)} copies")
        calls: int = sum(sum(resource["calls"].values()) for resource in resources.values())
        return calls / self.copies


@asynccontextmanager
async def set_stage(analyzers: int, folder: Path) -> AsyncIterator[Stage]:
    """Start the regions, and stop them at the end."""
    file = folder / f"emulator-{analyzers}.json"
    await asyncio.to_thread(file.write_text, json.dumps(_emulator(analyzers)))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "standby", "-c", str(file), "emulator"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    if process.stdout is None:
        raise RuntimeError("the emulator has no stdout")
    try:
        line = await process.stdout.readline()
        if not line:
            raise RuntimeError("the emulator did not start")
        announced = json.loads(line)
        names = tuple(name_of(number) for number in range(analyzers))
        yield Stage(analyzers=names, control=announced["control"], configuration=_configuration(announced["resources"]))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _emulator(analyzers: int) -> dict[str, Any]:
    served = {
        "operations_per_minute": UNLIMITED,
        "defaults": {COMPLETION: COMPLETION, EMBEDDING: EMBEDDING},
        "deployments": [
            {"name": COMPLETION, "model": COMPLETION, "version": "2025-04-14"},
            {"name": EMBEDDING, "model": EMBEDDING, "version": "1"},
        ],
    }
    at_source = [written(number) for number in range(analyzers)]
    targets = {target: {"region": f"{target}us", **served} for target in TARGETS}
    source = {"region": "eastus", "analyzers": at_source, **served}
    return {"service_time": SERVICE_TIME, "resources": {SOURCE: source, **targets}}


def _configuration(resources: Mapping[str, Any]) -> Configuration:
    configuration = Configuration.model_validate(
        {
            "resources": {
                name: {
                    "endpoint": found["endpoint"],
                    "region": found["region"],
                    "resource_id": found["resource_id"],
                    "credentials": {"kind": "key", "key": found["key"]},
                    "arm_endpoint": "",
                    "max_concurrent_copies": SLOTS,
                }
                for name, found in resources.items()
            },
            "plans": {
                PLAN: {
                    "pairs": [{"source": SOURCE, "targets": list(TARGETS)}],
                    "deadlines": {"first_interval": INTERVAL, "longest_interval": INTERVAL},
                }
            },
        }
    )
    # A copy of a model is not validated, so this passes a quota that no real resource may have.
    changed = {"operations_per_minute": UNLIMITED}
    unlimited = {name: each.model_copy(update=changed) for name, each in configuration.resources.items()}
    return configuration.model_copy(update={"resources": unlimited})
