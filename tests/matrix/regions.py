"""The emulated service on a machine where time jumps, with one fault between it and whoever asks."""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from starlette.types import ASGIApp
from typer.testing import CliRunner

from standby.cli.app import app
from standby.emulator.config import EmulatorConfig
from standby.emulator.data_plane import data_plane
from standby.emulator.world import Place
from standby.emulator.world import World as Service
from tests.conftest import DEPLOYMENTS, analyzer
from tests.standby.recovery.attack.machine import Machine, Process, Time, booted
from tests.standby.replication.world import GROUP

SOURCE, TARGET, OTHER = "east", "west", "north"
PLAN = "invoices"
RELEASED, PREVIEW_2025 = "2025-11-01", "2025-05-01-preview"
KEYS = {name: f"{name}-key-that-nobody-may-see" for name in (SOURCE, TARGET, OTHER)}
REGIONS = {SOURCE: "eastus", TARGET: "westus", OTHER: "southcentralus"}
ANALYZERS = ("invoice", "receipt", "router")
"""The router refers to the invoice; the receipt to nothing."""

SERVICE = "services.ai.azure.com"
SERVICE_TIME = 3.0
PAGE = 60
"""Analyzers on a page of a list; the prebuilt ones, which come first, fill some."""


class Wire(Protocol):
    """Stands between a process and the service."""

    def __call__(self, request: httpx.Request, carry_out: Callable[[], httpx.Response]) -> httpx.Response | float:
        """Answer a request, raise, or say for how many seconds nothing is heard."""
        ...


def untouched(request: httpx.Request, carry_out: Callable[[], httpx.Response]) -> httpx.Response | float:
    """Be no fault at all."""
    del request
    return carry_out()


@dataclass
class Ran:
    """How a command ended.

    Attributes:
        said: its JSON document.
        seconds: how long it took, of the time that jumps.
        left: tasks that it did not wait for.
    """

    order: tuple[str, ...]
    status: int
    said: dict[str, Any]
    out: str
    err: str
    seconds: float
    left: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"standby {' '.join(self.order)} -> {self.status} after {self.seconds:.0f} s\n{self.out}{self.err}"


@dataclass
class Regions:
    """Two regions, a plan from the first to the second, and a folder with its configuration and vault.

    Attributes:
        size: how many analyzers the source holds, and the second target has as well; by default three.
        wire: what stands between.
        snapshot: what a restore brings back; a copy brings what the source holds.
        strays: hosts that were asked and are not ours, with the names of the credentials they were sent.
    """

    folder: Path
    api_version: str = RELEASED
    size: int | None = None
    targets: tuple[str, ...] = (TARGET,)
    wire: Wire = field(default=untouched)
    strays: list[str] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    snapshot: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.time = Time()
        self.machine = Machine(self.time, self._network, ENVIRONMENT)
        served = {"deployments": DEPLOYMENTS, "defaults": {each["name"]: each["name"] for each in DEPLOYMENTS}}
        past = {"createdAt": "2026-01-01T00:00:00Z", "lastModifiedAt": "2026-01-01T00:00:00Z"}
        held = [analyzer("router", "invoice"), analyzer("invoice"), analyzer("receipt")]
        if self.size is not None:
            held = [analyzer(f"invoice-{number}") for number in range(self.size)]
        held = [each | past for each in held]
        self.config = EmulatorConfig.model_validate(
            {
                "service_time": SERVICE_TIME,
                "page_size": PAGE if self.size is None else 1000,
                "resources": {
                    SOURCE: {"region": REGIONS[SOURCE], "key": KEYS[SOURCE], "analyzers": held, **served},
                    TARGET: {"region": REGIONS[TARGET], "key": KEYS[TARGET], **served},
                    OTHER: {
                        "region": REGIONS[OTHER],
                        "key": KEYS[OTHER],
                        "analyzers": held if self.size else [],
                        **served,
                    },
                },
            }
        )
        places = {
            name: Place(name, f"https://{name}.{SERVICE}", found.region, f"{GROUP}/{name}", KEYS[name])
            for name, found in self.config.resources.items()
        }
        self.service = Service(self.config, places)
        self.applications = {name: data_plane(self.service, name) for name in KEYS}
        (self.folder / "standby.yaml").write_text(_configuration(self.api_version, self.targets), encoding="utf-8")

    @property
    def vault(self) -> Path:
        return self.folder / "vault"

    def copied_to(self, folder: Path) -> Regions:
        """Give a copy of all of this that lives in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        other = Regions(folder, self.api_version)
        other.service = copy.deepcopy(self.service)
        other.applications = {name: data_plane(other.service, name) for name in KEYS}
        other.time.seconds = self.time.seconds
        return other

    def run(self, *order: str, process: Process | None = None) -> Ran | None:
        """Run a command; `None` where it was killed."""
        begun = self.time.seconds
        with watched_tasks() as left:

            def work() -> Ran:
                result = CliRunner().invoke(app, ["-c", str(self.folder / "standby.yaml"), "--json", *order])
                if result.exception is not None and not isinstance(result.exception, SystemExit):
                    raise result.exception
                try:
                    said = json.loads(result.stdout)
                except ValueError:
                    said = {}
                took = self.time.seconds - begun
                return Ran(order, result.exit_code, said, result.stdout, result.stderr, took, tuple(left))

            ran = self.machine.run(process or Process(), work)
        self.time.seconds += 60.0  # Whoever runs the next one has looked at what this one said.
        return ran

    def done(self, *order: str) -> Ran:
        """Run a command that has to end well."""
        ran = self.run(*order)
        assert ran is not None
        assert ran.status == 0, str(ran)
        return ran

    def held(self, where: str) -> dict[str, dict[str, Any]]:
        """Give what a region holds, as it is when all that was begun is over."""
        state = self.service.resources[where]
        state.settle()
        found = {name: state.own(self.api_version, name) for name in ANALYZERS}
        return {name: dict(each.body) for name, each in found.items() if each is not None}

    def accepted(self) -> Counter[str]:
        """Count the copies that the target took."""
        return self.service.resources[TARGET].stats.copies_accepted

    def edit(self, name: str, **changes: Any) -> None:
        """Let somebody edit an analyzer at the source."""
        state = self.service.resources[SOURCE]
        found = state.own(self.api_version, name)
        assert found is not None
        stamp = f"{self.time.now():%Y-%m-%dT%H:%M:%SZ}"
        state.keep(self.api_version, name, found.changed(**{**changes, "lastModifiedAt": stamp}))

    def remove(self, where: str, name: str) -> None:
        """Let somebody delete an analyzer."""
        self.service.resources[where].remove(self.api_version, name)

    def become_calm(self) -> None:
        """Let an hour pass, in which people set defaults again that had gone."""
        self.time.seconds += 3600.0
        for name, found in self.config.resources.items():
            self.service.resources[name].settings.defaults = dict(found.defaults or {})

    def break_copy(self, name: str) -> None:
        """Let the target call a copy failed."""
        state = self.service.resources[TARGET]
        found = state.own(self.api_version, name)
        assert found is not None
        state.keep(self.api_version, name, found.changed(status="failed"))

    def _network(self, request: httpx.Request) -> httpx.Response | float:
        name, _, rest = request.url.host.partition(".")
        if name not in self.service.resources or rest != SERVICE:
            sent = [header for header in ("ocp-apim-subscription-key", "authorization") if header in request.headers]
            self.strays.append(f"{request.url.host} ({', '.join(sent) or 'no credential'})")
            raise httpx.ConnectError("[Errno -2] Name or service not known", request=request)
        self.calls[f"{name} {request.method} {request.url.path}"] += 1
        return self.wire(request, lambda: _asked(self.applications[name], request))


def _asked(application: ASGIApp, request: httpx.Request) -> httpx.Response:
    """Ask an application that never waits, without an event loop of its own."""
    url, sent = request.url, False
    got: dict[str, Any] = {"body": b""}

    async def receive() -> dict[str, Any]:
        nonlocal sent
        assert not sent, "the emulator waits for its caller to go"
        sent = True
        return {"type": "http.request", "body": request.content, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            got.update(message)
        else:
            got["body"] += message.get("body", b"")

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "root_path": "",
        "query_string": url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (url.host, url.port or 443),
        "state": {},
    }
    _at_once(application(scope, receive, send))
    return httpx.Response(got["status"], headers=got["headers"], content=got["body"])


def _at_once(work: Awaitable[None]) -> None:
    steps = work.__await__()
    try:
        next(steps)
    except StopIteration:
        return
    raise AssertionError("the emulator waits")


@contextmanager
def watched_tasks() -> Iterator[list[str]]:
    """Note the tasks that are left when the work of an event loop is done."""
    left: list[str] = []
    run = asyncio.Runner.run

    def watched(runner: asyncio.Runner, work: Any, **options: Any) -> Any:
        async def whole() -> Any:
            try:
                return await work
            finally:
                ours = asyncio.current_task()
                found = [str(task.get_coro()) for task in asyncio.all_tasks() if task is not ours]
                # What nobody reads to its end is closed by the loop itself.
                left.extend(each for each in found if "async_generator_athrow" not in each)

        return run(runner, whole(), **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.Runner, "run", watched)
        yield left


@contextmanager
def prepared(folder: Path, api_version: str = RELEASED, *orders: Sequence[str]) -> Iterator[Regions]:
    """Give regions in which some commands have run, on their machine."""
    regions = Regions(folder, api_version)
    with booted(regions.machine):
        for order in orders:
            regions.done(*order)
        yield regions


ENVIRONMENT = {
    **{f"{name.upper()}_KEY": key for name, key in KEYS.items()},
    "COLUMNS": "200",
    "NO_COLOR": "1",
    "PREFECT_API_URL": "",
}


def _configuration(api_version: str, targets: Sequence[str]) -> str:
    lines = ["resources:"]
    for name in KEYS:
        lines += [
            f"  {name}:",
            f"    endpoint: https://{name}.{SERVICE}",
            f"    region: {REGIONS[name]}",
            f"    resource_id: {GROUP}/{name}",
            f"    api_version: '{api_version}'",
            f"    credentials: {{kind: key, key: '${{{name.upper()}_KEY}}'}}",
            '    arm_endpoint: ""',
        ]
    lines += [
        "plans:",
        f"  {PLAN}: {{pairs: [{{source: {SOURCE}, targets: [{', '.join(targets)}]}}]}}",
        "vault: {path: ./vault}",
        "activation: [{kind: file, path: ./active.json}]",
    ]
    return "\n".join(lines) + "\n"
