"""Emulated regions in a process of their own, a configuration that leads to them, and commands that are measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import yaml

from standby.document import JsonObject

SOURCE = "east"
TARGETS = ("west", "north", "south")
PLAN = "benchmark"
FIELDS = 12  # What a document analyzer of some use extracts
COMPLETION = "gpt-4.1"
EMBEDDING = "text-embedding-3-large"
SPREAD = 0.2  # By which share of the service's time a copy may take less or more


def name_of(number: int) -> str:
    return f"analyzer-{number:05}"


def written(number: int, children: Sequence[str] = ()) -> JsonObject:
    """Write an analyzer as its author does, which may refer to others."""
    fields: JsonObject = {
        f"Field{field:02}": {"type": kind, "method": "extract", "description": f"What is said of matter {field}"}
        for field, kind in zip(range(FIELDS), cycle(("string", "number", "date")), strict=False)
    }
    config: JsonObject = {"returnDetails": True, "estimateFieldSourceAndConfidence": True}
    if children:
        config["contentCategories"] = {name: {"description": f"Kind {name}", "analyzerId": name} for name in children}
    return {
        "analyzerId": name_of(number),
        "description": f"Documents of kind {number}, as scanned or sent by mail",
        "baseAnalyzerId": "prebuilt-document",
        "models": {"completion": COMPLETION, "embedding": EMBEDDING},
        "tags": {"team": f"team-{number % 7}"},
        "config": config,
        "fieldSchema": {"name": "document", "fields": fields},
    }


@dataclass(frozen=True)
class Scene:
    """What is emulated, and how it may be used; times in seconds."""

    jobs: Mapping[str, Sequence[str]]  # each analyzer of the source, and what it refers to
    targets: int = 1
    slots: int = 10
    service_time: float = 3.0
    replicated: bool = False  # whether the targets hold the analyzers already

    @classmethod
    def of(cls, size: int, **how: Any) -> Scene:
        return cls({name_of(number): () for number in range(size)}, **how)

    def emulator(self) -> JsonObject:
        served: JsonObject = {
            "defaults": {COMPLETION: COMPLETION, EMBEDDING: EMBEDDING},
            "deployments": [
                {"name": COMPLETION, "model": COMPLETION, "version": "2025-04-14"},
                {"name": EMBEDDING, "model": EMBEDDING, "version": "1"},
            ],
        }
        held: list[Any] = [written(number, children) for number, children in enumerate(self.jobs.values())]
        there = {"analyzers": held} if self.replicated else {}
        resources: JsonObject = {name: {"region": f"{name}us", **served, **there} for name in TARGETS[: self.targets]}
        resources[SOURCE] = {"region": "eastus", "analyzers": held, **served}
        return {"service_time": self.service_time, "service_spread": SPREAD, "resources": resources}


@dataclass(frozen=True)
class Stage:
    """Regions that are served, and the file of a configuration that leads to them."""

    scene: Scene
    folder: Path
    file: Path
    control: str
    resources: Mapping[str, Any]  # as the emulator announced them

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command: nothing of Prefect's but what is asked for."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        keys = {f"{name.upper()}_KEY": found["key"] for name, found in self.resources.items()}
        return {**inherited, **keys, "PREFECT_HOME": str(self.folder / "prefect")}

    def new_vault(self) -> None:
        """Configure a vault in which no run has left anything, and put the regions back to how they began."""
        vault = self.folder / f"vault-{time.monotonic_ns()}"
        pairs = [{"source": SOURCE, "targets": [name for name in self.resources if name != SOURCE]}]
        resources = {
            name: {
                **{key: found[key] for key in ("endpoint", "region", "resource_id")},
                "credentials": {"kind": "key", "key": f"${{{name.upper()}_KEY}}"},
                "arm_endpoint": "",
                "max_concurrent_copies": self.scene.slots,
            }
            for name, found in self.resources.items()
        }
        document = {"resources": resources, "plans": {PLAN: {"pairs": pairs}}, "vault": {"path": str(vault)}}
        self.file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
        self._call("POST", "/reset")

    def stats(self, resource: str = TARGETS[0]) -> dict[str, Any]:
        found: dict[str, Any] = self._call("GET", "/stats")["resources"][resource]
        return found

    def calls(self, *but: str) -> int:
        """Count all calls since the last reset, but those of some kinds."""
        kinds = [self.stats(name)["calls"].items() for name in self.resources]
        return sum(count for found in kinds for kind, count in found if kind not in but)

    def must_have_copied_once(self) -> None:
        for target in TARGETS[: self.scene.targets]:
            accepted = self.stats(target)["copies_accepted"]
            if accepted != dict.fromkeys(self.scene.jobs, 1):
                raise RuntimeError(f"{target} made {sum(accepted.values())} of {len(self.scene.jobs)} copies")

    def standby(self, *arguments: str, expect: int = 0) -> Ran:
        return run("-m", "standby", "-c", str(self.file), *arguments, env=self.environment, expect=expect)

    def _call(self, method: str, path: str) -> Any:
        return httpx.request(method, f"{self.control}{path}", trust_env=False, timeout=60).raise_for_status().json()


@contextmanager
def set_stage(scene: Scene, folder: Path) -> Iterator[Stage]:
    folder = folder / f"stage-{time.monotonic_ns()}"
    folder.mkdir()
    file = folder / "emulator.json"
    file.write_text(json.dumps(scene.emulator()), encoding="utf-8")
    command = (sys.executable, "-m", "standby", "-c", str(file), "emulator")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                raise RuntimeError("the emulator did not start")
            announced = json.loads(line)
            stage = Stage(scene, folder, folder / "standby.yaml", announced["control"], announced["resources"])
            stage.new_vault()
            yield stage
        finally:
            process.terminate()


@dataclass(frozen=True)
class Ran:
    """A process that has ended: its seconds on the clock, those of CPU with what it started, and what it said."""

    seconds: float
    cpu: float
    said: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.said)


def run(*arguments: str, env: Mapping[str, str], expect: int = 0) -> Ran:
    begun, spent = time.perf_counter(), cpu_seconds()
    ran = subprocess.run((sys.executable, *arguments), env=env, capture_output=True, check=False)
    seconds, cpu = time.perf_counter() - begun, cpu_seconds() - spent
    if ran.returncode != expect:
        words = (ran.stderr or ran.stdout)[-2000:].decode(errors="replace")
        raise RuntimeError(f"{' '.join(arguments)} ended with {ran.returncode}: {words}")
    return Ran(seconds, cpu, ran.stdout)


def cpu_seconds() -> float:
    """Tell the CPU seconds of this process and of all that it started and that has ended."""
    return sum(os.times()[:4])


def say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)
