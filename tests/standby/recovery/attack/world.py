"""Regions, applications, a vault and the people around them, on a machine where commands run in no time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
from typer.testing import CliRunner

from standby.cli.app import app
from standby.config.configuration import load_configuration
from standby.errors import StandbyError
from standby.recovery.context import RecoveryContext, open_recovery
from standby.recovery.decision.input import FailoverRequest
from standby.recovery.decision.record import DecisionRecord
from standby.recovery.failover.attendance import all_is_settled
from standby.recovery.failover.failover import fail_over, publish_behind
from standby.recovery.failover.outage import UNSETTLED, Answer, Means, answer_outage, to_be_attended
from standby.recovery.failover.report import FailoverReport
from standby.recovery.probe import Observation, observer_here, probe_resources
from standby.recovery.watch import Watch
from standby.recovery.witnesses import looked
from tests.standby.recovery.attack.machine import Machine, Process, Time
from tests.standby.recovery.snapshots.world import Cloud
from tests.standby.recovery.stages import DirectStages
from tests.standby.replication.world import DEFAULTS, GROUP, MODELS, Region, definition, labelled, refusal

PLAN = "invoices"
RESOURCES = ("east", "west", "north")
ANALYZERS = ("invoice", "receipt", "router", "taught")
FAMILY = frozenset({"invoice", "router"})
"""The router refers to the invoice: neither is deleted."""
TRAINED = frozenset({"taught"})

Outage = Literal["none", "refuse", "hang", "unavailable"]
Mood = Literal["well", "fails", "hangs", "slow"]

FOREVER = 1e9

FLOWS = frozenset({"evaluate", "watch"})
"""What no command does: an evaluation of an outage, and a watch."""

HISTORY = timedelta(minutes=15)
"""How far back events are read, and after how long people are told again."""


@dataclass
class Ran:
    """How a command ended."""

    order: tuple[str, ...]
    status: int
    out: str
    err: str = ""
    answers: tuple[Answer, ...] = ()

    def __str__(self) -> str:
        return f"standby {' '.join(self.order)} -> {self.status}\n{self.out}{self.err}"


class Regions(Cloud):
    """The service in memory, which also deletes and edits."""

    def _serve(self, region: Region, where: str, request: httpx.Request, path: str) -> httpx.Response:
        name = path.removeprefix("/analyzers/")
        if request.method == "DELETE":
            region.analyzers.pop(name, None)
            return httpx.Response(204)
        if request.method == "PATCH" and path != "/defaults":
            if name not in region.analyzers:
                return refusal(404, "NotFound", "ModelNotFound", "The requested model was not found.")
            stamp = f"{self.clock.now():%Y-%m-%dT%H:%M:%SZ}"
            region.analyzers[name] |= {**json.loads(request.content), "lastModifiedAt": stamp}
            return httpx.Response(200, json=region.analyzers[name])
        if request.method == "PUT" and request.url.params.get("allowReplace"):
            region.analyzers.pop(name, None)
        return super()._serve(region, where, request, path)


@dataclass
class Receiver:
    """Applications behind a webhook, which mind the highest epoch."""

    heard: dict[str, Any] | None = None
    mood: Mood = "well"

    def answer(self, request: httpx.Request) -> httpx.Response | float:
        if self.mood == "fails":
            return httpx.Response(500)
        if self.mood == "hangs":
            return FOREVER
        told = json.loads(request.content)
        if self.heard is not None and told["epoch"] < self.heard["epoch"]:
            return httpx.Response(409, headers={"x-standby-epoch": str(self.heard["epoch"])})
        self.heard = told
        return httpx.Response(200)


class World:
    """A plan from east to west and north that has everything, and may lose it.

    Attributes:
        changed: is called whenever what applications see may have changed, with the name of the sink.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = Time()
        self.cloud = Regions(clock=self.time, polls=1)
        self.machine = Machine(self.time, self._network, ENVIRONMENT, fails=self._is_full, wrote=self._wrote)
        self.outages: dict[str, Outage] = dict.fromkeys(RESOURCES, "none")
        self.hook = Receiver()
        self.full: set[str] = set()
        self.vault_is_full = False
        self.changed: Callable[[str], None] = lambda _: None
        self.fenced: Callable[[], None] = lambda: None
        self.runs = 0
        self.reported: list[Observation] = []
        self.told_at = self.time.now() - HISTORY
        for name in RESOURCES:
            self.cloud.region(name).defaults = dict(DEFAULTS)
        self.configure(automatic=True)

    def configure(self, *, automatic: bool) -> None:
        """Write the configuration; where it is not automatic, nobody ever answers a proposal."""
        (self.folder / "standby.yaml").write_text(_configuration(automatic=automatic), encoding="utf-8")

    @property
    def vault(self) -> Path:
        return self.folder / "vault"

    @property
    def file(self) -> Path:
        """The file that applications read."""
        return self.folder / "active.json"

    @property
    def extra(self) -> Path:
        """One that holds up nothing."""
        return self.folder / "extra.json"

    def fence(self) -> dict[str, Any] | None:
        return _document(self.vault / "recovery" / PLAN / "fence.json")

    def maps(self) -> dict[str, dict[str, Any] | None]:
        """What each sink holds now."""
        file, extra = ((_document(path) or {"plans": {}})["plans"].get(PLAN) for path in (self.file, self.extra))
        return {"file": file, "hook": self.hook.heard, "extra": extra}

    def holds(self, where: str, name: str) -> dict[str, Any] | None:
        return self.cloud.region(where).analyzers.get(name)

    def run(self, *order: str, process: Process | None = None) -> Ran | None:
        """Run a command; `None` where it was killed."""
        self.time.seconds += 2

        def work() -> Ran:
            if order[0] in FLOWS:
                return self._run_flow(order)
            result = CliRunner().invoke(app, ["-c", str(self.folder / "standby.yaml"), *order])
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception
            return Ran(order, result.exit_code, result.stdout, result.stderr)

        ran = self.machine.run(process or Process(), work)
        self.time.seconds += 2
        return ran

    def _run_flow(self, order: tuple[str, ...]) -> Ran:
        self.runs += 1
        configuration = load_configuration(self.folder / "standby.yaml")

        async def work() -> Ran:
            async with open_recovery(configuration, PLAN, run_id=f"flow-{self.runs}") as context:
                if order[0] == "watch":
                    return await _run_watch(self, context)
                return await _run_evaluation(self, context, order[1])

        try:
            return asyncio.run(work())
        except StandbyError as error:
            return Ran(order, 1, "", str(error))

    def means(self, context: RecoveryContext) -> Means:
        """What a flow run gives to whoever attends to an outage."""

        async def decided(_: DecisionRecord) -> None:
            return None

        async def carry_out(known: RecoveryContext, request: FailoverRequest) -> FailoverReport:
            return await fail_over(known, request, DirectStages())

        def tell(_: Answer) -> None:
            self.told_at = context.clock.now()

        return Means(lambda resource: lambda: self.recall(resource), decided, carry_out, tell)

    async def recall(self, resource: str) -> tuple[Observation, ...]:
        """Give what was reported of a resource lately."""
        since = self.time.now() - HISTORY
        return tuple(each for each in self.reported if each.resource == resource and each.at >= since)

    def _network(self, request: httpx.Request) -> httpx.Response | float:
        host = request.url.host.partition(".")[0]
        if host == "apps":
            found = self.hook.answer(request)
            if isinstance(found, httpx.Response) and found.is_success:
                self.changed("hook")
            return found
        if host not in self.outages:
            return httpx.Response(403)  # Labelled data that nobody may read.
        match self.outages[host]:
            case "refuse":
                raise httpx.ConnectError("refused", request=request)
            case "hang":
                return FOREVER
            case "unavailable":
                return refusal(503, "ServiceUnavailable", "ServiceUnavailable", "The region is in trouble.")
            case _:
                return self.cloud._answer(request)

    def _is_full(self, file: str) -> bool:
        return Path(file).stem in self.full or (self.vault_is_full and Path(file).is_relative_to(self.vault))

    def _wrote(self, file: str) -> None:
        if file == str(self.file):
            self.changed("file")
        elif file == str(self.extra):
            self.changed("extra")
        elif file.endswith("fence.json"):
            self.fenced()

    # What people do.

    @property
    def stamp(self) -> str:
        return f"{self.time.now():%Y-%m-%dT%H:%M:%SZ}"

    def author(self, where: str, name: str, text: str, training: int) -> None:
        """Make an analyzer, or replace the one of this id."""
        self.time.seconds += 2
        values = {"createdAt": self.stamp, "models": dict(MODELS), "description": text}
        if name in TRAINED:
            made = labelled(name, self.stamp, _training=training, **values)
        else:
            children = ("invoice",) if name == "router" else ()
            made = definition(name, *children, lastModifiedAt=self.stamp, **values)
        self.cloud.hold(where, made)
        self.time.seconds += 2

    def patch(self, where: str, name: str, text: str) -> None:
        """Edit an analyzer in its place."""
        self.time.seconds += 2
        self.cloud.region(where).analyzers[name] |= {"description": text, "lastModifiedAt": self.stamp}
        self.time.seconds += 2

    def delete(self, where: str, name: str) -> None:
        self.time.seconds += 2
        self.cloud.region(where).analyzers.pop(name, None)
        self.time.seconds += 2

    def spoil(self, where: str, name: str, status: str) -> None:
        """Let an analyzer be what nobody can use."""
        self.cloud.region(where).analyzers[name]["status"] = status

    def end_deletions(self) -> None:
        """Let go what is being deleted."""
        for where in RESOURCES:
            held = self.cloud.region(where).analyzers
            for name in [name for name, found in held.items() if found["status"] == "deleting"]:
                del held[name]

    def can_be_edited(self, where: str, name: str) -> bool:
        """Say whether there is an analyzer that stays."""
        found = self.holds(where, name)
        return found is not None and found["status"] != "deleting"

    def is_ready(self, where: str, name: str) -> bool:
        """Say whether an analyzer can be used."""
        found = self.holds(where, name)
        return found is not None and found["status"] == "ready"

    def can_be_copied(self, where: str, name: str) -> bool:
        """Say whether an analyzer can be used, and what it refers to is there."""
        return self.is_ready(where, name) and (name != "router" or self.holds(where, "invoice") is not None)


async def _run_evaluation(world: World, context: RecoveryContext, resource: str) -> Ran:
    """Do what failover/on-outage does."""
    answers = await answer_outage(await looked(context), resource, "", world.means(context))
    return _ending(("evaluate", resource), answers)


async def _run_watch(world: World, context: RecoveryContext) -> Ran:
    """Do what watch/scheduled does."""
    observer, policy = observer_here("watch"), context.plan.failover

    async def look(resource: str) -> Observation:
        found = await probe_resources([context.configuration.resource(resource)], observer, context.clock)
        return found[resource]

    async def report(observation: Observation) -> None:
        world.reported.append(observation)

    watch = Watch(policy, context.clock, look, world.recall, report)
    watched = await watch.run(context.configuration.resources)
    known = await looked(context) if watched.down else context
    answers: list[Answer] = []
    wanted = await to_be_attended(known, watched.down)
    for resource in wanted:
        answers += await answer_outage(known, resource, "", world.means(known))
    left = [each for each in await publish_behind(known) if each.status == "failed"]
    if not left and not wanted:
        await all_is_settled(known)
    return _ending(("watch",), answers)


def _ending(order: tuple[str, ...], answers: Sequence[Answer]) -> Ran:
    unsettled = [answer for answer in answers if answer.state in UNSETTLED]
    said = "\n".join(f"{answer.state}: {answer.text}" for answer in answers)
    return Ran(order, 3 if unsettled else 0, f"{said}\n", answers=tuple(answers))


def _document(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found


ENVIRONMENT = {"KEY": "secret-key", "HOOK": "secret-hook", "COLUMNS": "200", "NO_COLOR": "1", "PREFECT_API_URL": ""}


def _configuration(*, automatic: bool) -> str:
    lines = ["resources:"]
    for name in RESOURCES:
        lines += [
            f"  {name}:",
            f"    endpoint: https://{name}.services.ai.azure.com",
            f"    region: {name}us",
            f"    resource_id: {GROUP}/{name}",
            "    credentials: {kind: key, key: '${KEY}'}",
            '    arm_endpoint: ""',
        ]
    lines += [
        "plans:",
        f"  {PLAN}:",
        "    pairs: [{source: east, targets: [west, north]}]",
        f"    failover: {{automatic: {str(automatic).lower()}}}",
        "vault: {path: ./vault}",
        "activation:",
        "  - {kind: file, path: ./active.json}",
        "  - {kind: webhook, url: 'https://apps.example/hook', secret: '${HOOK}'}",
        "  - {kind: file, path: ./extra.json, required: false}",
    ]
    return "\n".join(lines) + "\n"
