"""The command with emulated regions: in this process, or as a process of its own where that matters."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from standby.cli.app import app
from standby.emulator.config import EmulatorConfig
from standby.emulator.serve import Emulator, running
from standby.emulator.world import ResourceState
from tests.patience import PATIENCE

DEADLINE = PATIENCE
"""Seconds after which a condition that is waited for counts as never coming true."""

MODELS = ("gpt-4.1", "gpt-4o", "text-embedding-3-large")

CANARIES = {name: f"canary-key-of-{name}-0123456789" for name in ("east", "west", "north")}


WITHOUT_PREFECT = """
import json
import sys

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("prefect", "sqlalchemy", "standby.flows", "standby.tasks", "standby.blocks")):
            raise ImportError(f"{name} was taken away")

sys.meta_path.insert(0, Gone())
from typer.testing import CliRunner

from standby.cli.app import app

for line in sys.stdin:
    ended = CliRunner().invoke(app, json.loads(line))
    print(json.dumps([ended.exit_code, ended.stdout, ended.stderr + repr(ended.exception or "")]), flush=True)
"""
"""A program that cannot import what was taken away, and runs the commands that it reads, one a line."""


def schema(name: str) -> dict[str, Any]:
    return {"name": name, "fields": {"Total": {"type": "number", "method": "extract"}}}


def analyzers() -> list[dict[str, Any]]:
    """A router with two children, one analyzer that stands alone, and one with a model north lacks."""
    categories = {"bill": {"analyzerId": "invoice"}, "slip": {"analyzerId": "receipt"}}
    common = {"baseAnalyzerId": "prebuilt-document", "models": {"completion": "gpt-4.1"}}
    return [
        {"analyzerId": "invoice", **common, "fieldSchema": schema("invoice")},
        {"analyzerId": "receipt", **common, "fieldSchema": schema("receipt")},
        {"analyzerId": "router", **common, "config": {"contentCategories": categories}},
        {"analyzerId": "contract", **common, "fieldSchema": schema("contract")},
        {
            "analyzerId": "claim",
            **common,
            "models": {"completion": "gpt-4o"},
            "fieldSchema": schema("claim"),
        },
    ]


def deployments(names: Sequence[str]) -> list[dict[str, str]]:
    return [{"name": name, "model": name, "version": "1"} for name in names]


def emulated(analyzers: Sequence[dict[str, Any]]) -> EmulatorConfig:
    def region(name: str, models: Sequence[str], **more: Any) -> dict[str, Any]:
        return {
            "region": name,
            "defaults": {model: model for model in models},
            "deployments": deployments(models),
            **more,
        }

    return EmulatorConfig.model_validate(
        {
            "service_time": 0.05,
            "resources": {
                "east": region("eastus", MODELS, key=CANARIES["east"], analyzers=list(analyzers)),
                "west": region("westus3", MODELS, key=CANARIES["west"]),
                "north": region("northeurope", [MODELS[0], MODELS[2]], key=CANARIES["north"]),
            },
        }
    )


class Cloud:
    """Emulated regions in a thread of their own, so that a command can run its own event loop here."""

    def __init__(self, config: EmulatorConfig | None = None) -> None:
        self.kept: dict[str, tuple[Path, dict[str, ResourceState]]] = {}
        self._config = config or emulated(analyzers())
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._emulator: Emulator | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        # The control is plain http; reading the usual authorities takes longer than most tests.
        self._control = httpx.Client(timeout=PATIENCE, verify=False, trust_env=False)

    @property
    def emulator(self) -> Emulator:
        assert self._emulator is not None, "the emulator did not start"
        return self._emulator

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(DEADLINE)

    def stop(self) -> None:
        self._control.close()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        async with running(self._config) as self._emulator:
            self._ready.set()
            await self._stop.wait()

    def tell(self, path: str, **body: Any) -> None:
        """Give an order to the emulator's control."""
        self._control.post(f"{self.emulator.control}/{path}", json=body).raise_for_status()

    def fault(self, call: str, kind: str, *, resource: str | None = None, **rule: Any) -> None:
        more = {name: rule.pop(name) for name in list(rule) if name not in {"analyzer", "times", "after"}}
        self.tell("faults", resource=resource, call=call, fault={"kind": kind, **more}, **rule)

    def stats(self, resource: str) -> dict[str, Any]:
        """Tell what a resource has counted."""
        answer = self._control.get(f"{self.emulator.control}/stats").json()
        found: dict[str, Any] = answer["resources"][resource]
        return found

    def calls(self) -> set[str]:
        """Tell which kinds of calls any resource has seen."""
        return {kind for name in self.emulator.resources for kind in self.stats(name)["calls"]}


@dataclass
class Ran:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout; anything else there fails the test."""
        return json.loads(self.out)


@dataclass
class Workspace:
    """A folder with a configuration, and the environment that goes with it."""

    folder: Path
    environment: dict[str, str]
    cloud: Cloud
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "standby.yaml"

    def edit(self, old: str, new: str) -> None:
        text = self.file.read_text(encoding="utf-8")
        assert old in text, f"{old} is not in the configuration"
        self.file.write_text(text.replace(old, new), encoding="utf-8")

    def once(self, prepare: Callable[[Workspace], None]) -> Workspace:
        """Come to where `prepare` leads: later tests copy what it left here and in the regions, and repeat nothing."""
        what, world = f"{prepare.__module__} {prepare.__qualname__}", self.cloud.emulator.world
        if what in self.cloud.kept:
            folder, resources = self.cloud.kept[what]
            shutil.copytree(folder, self.folder, dirs_exist_ok=True)
            world.resources = copy.deepcopy(resources)
        else:
            prepare(self)
            folder = self.folder.parent / f"kept-{len(self.cloud.kept)}-{self.folder.name}"
            shutil.copytree(self.folder, folder)
            self.cloud.kept[what] = folder, copy.deepcopy(world.resources)
        return self

    def forget(self) -> None:
        """Lose the vault, and with it all that was learned of earlier copies."""
        shutil.rmtree(self.folder / "vault")

    def run(self, *args: str) -> Ran:
        """Run the command in this process."""
        result = CliRunner().invoke(app, ["-c", str(self.file), *args], env=self.environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ran(result.exit_code, result.stdout, result.stderr)

    def start(self, *args: str, **options: Any) -> subprocess.Popen[str]:
        """Start the command as a process of its own."""
        process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, "-m", "standby", *args],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )
        self.processes.append(process)
        return process

    def ended(self, process: subprocess.Popen[str]) -> Ran:
        """Wait for the end of a process."""
        out, err = process.communicate(timeout=DEADLINE)
        return Ran(process.returncode, out, err)

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def regions() -> Iterator[Cloud]:
    """Three emulated regions for all tests of a worker."""
    made = Cloud()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def cloud(regions: Cloud) -> Cloud:
    """The regions as their file says: analyzers in the east, none elsewhere, no faults."""
    regions.tell("reset")
    return regions


@pytest.fixture
def workspace(cloud: Cloud, authority_file: Path, tmp_path: Path) -> Iterator[Workspace]:
    """A configuration with a plan from east to west and north, signed in by keys."""
    served = cloud.emulator.resources
    environment = {f"{name.upper()}_KEY": key for name, key in CANARIES.items()}
    made = Workspace(
        tmp_path,
        {
            **environment,
            "COLUMNS": "80",
            "NO_COLOR": "",
            "TERM": "xterm-256color",
            # Nothing of the machine's own Prefect or Azure may play a part.
            "PREFECT_API_URL": "",
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "DO_NOT_TRACK": "1",
            "SSL_CERT_FILE": str(authority_file),
            "IDENTITY_ENDPOINT": cloud.emulator.identity.endpoint,
            "IDENTITY_HEADER": cloud.emulator.identity.header,
        },
        cloud,
    )
    lines = ["resources:"]
    for name, place in served.items():
        lines += [
            f"  {name}:",
            f"    endpoint: {place.endpoint}",
            f"    region: {place.region}",
            f"    resource_id: {place.resource_id}",
            f"    credentials: {{kind: key, key: ${{{name.upper()}_KEY}}}}",
            '    arm_endpoint: ""',
        ]
    lines += [
        "plans:",
        "  invoices:",
        "    pairs: [{source: east, targets: [west, north]}]",
        "    residency: {allow: [north]}",
        "    deadlines: {first_interval: 0.02, longest_interval: 0.1}",
    ]
    made.file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    yield made
    made.close()


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits until a condition holds."""

    def wait(holds: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE
        while not holds():
            assert time.monotonic() < end, "the condition never came true"
            time.sleep(0.02)

    return wait
