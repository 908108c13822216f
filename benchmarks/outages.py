"""Outages at default settings, with a real Prefect server, workers, schedules and automation: how long each lasts.

Each outage is of a plan of its own with an empty vault, so that none is a follow-up of another. Everything is done as
an operator would: by `standby bootstrap`, and workers in processes of their own. Nothing here looks at the region.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import yaml
from rich.table import Table

from benchmarks.stage import SOURCE, Scene, Stage, say, set_stage
from standby.config.plan import FailoverPolicy
from standby.flows.orchestrator import own_server, own_worker
from standby.recovery.audit import AuditAction, verify_audit
from standby.recovery.decision.input import Outcome
from standby.recovery.decision.record import read_record
from standby.vault.folder import LocalFolder

KINDS = ("refuse", "hang", "unavailable")
"""How a region is lost, in turn: the connection is refused, nothing answers, 503."""

PERIOD = FailoverPolicy().probe_every.total_seconds()
ANALYZERS = 10
LONGEST = 150.0  # Seconds after which an outage counts as one that was not answered
SETTLING = 180.0  # Seconds for the watch of a new plan to report that it is healthy
COMMAND_SECONDS = 300.0  # For a command that sets the stage: bootstrap takes some ten on a quiet machine
EVERY = 0.2  # Seconds between two looks at what was published

MEDIAN, WORST = 75.0, 100.0
"""Seconds from the outage to the last sink: what they should be at most on a quiet machine with two cores."""

POOLS = ("standby", "standby-recovery")


@dataclass
class Outage:
    """Seconds after the loss of the region until each step of the answer; `None` where it was not taken in time."""

    kind: str
    first: float | None = None
    second: float | None = None
    evaluated: float | None = None
    proved: float | None = None
    served: float | None = None


STEPS = ("first", "second", "evaluated", "proved", "served")


async def measure(count: int, folder: Path) -> list[Outage]:
    """Lose a region as often as that, at other moments of the watch's period, and measure each time."""
    chance = random.Random(2611)
    # One in each part of the period, in an order that has nothing to do with how the region is lost.
    phases = [(number + chance.random()) / count * PERIOD for number in range(count)]
    chance.shuffle(phases)
    found = []
    scene = Scene.of(ANALYZERS, targets=2, service_time=1.0)
    async with _running(folder) as site:
        with set_stage(scene, folder) as stage:
            for number, phase in enumerate(phases):
                kind, which = KINDS[number % len(KINDS)], f"outage-{number + 1}"
                say(f"{which} of {count}: {kind}")
                try:
                    found.append(await _Trial(site, stage, folder / which, which).run(kind, phase))
                except (RuntimeError, TimeoutError, httpx.HTTPError) as error:
                    # What was measured until then took long, and counts all the same.
                    say(f"{which} could not be measured: {type(error).__name__} {error}")
    return found


@dataclass(frozen=True)
class _Site:
    """The server, its workers, and an application that is told what serves."""

    environment: Mapping[str, str]
    prefect: httpx.AsyncClient
    application: _Application


@asynccontextmanager
async def _running(folder: Path) -> AsyncIterator[_Site]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(own_server(folder / "prefect"))
        environment = {"PREFECT_API_URL": f"{url}/api", "PREFECT_HOME": str(folder / "prefect")}
        for pool in POOLS:
            await stack.enter_async_context(own_worker(folder / f"{pool}.log", pool, environment))
        http = httpx.AsyncClient(base_url=f"{url}/api", trust_env=False, timeout=30)
        prefect = await stack.enter_async_context(http)
        application = _Application()
        server = await stack.enter_async_context(await asyncio.start_server(application.serve, "127.0.0.1", 0))
        application.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield _Site(environment, prefect, application)


@dataclass
class _Application:
    """Takes the maps that the webhook posts."""

    url: str = ""
    plans: dict[str, Any] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(line.partition(":")[2] for line in head.splitlines() if line.startswith("content-length:"))
        posted = json.loads(await reader.readexactly(int(length)))
        self.plans[posted["plan"]] = posted
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@dataclass(frozen=True)
class _Trial:
    """One outage, of one plan."""

    site: _Site
    stage: Stage
    folder: Path
    plan: str

    async def run(self, kind: str, phase: float) -> Outage:
        await asyncio.to_thread(self.stage.reset)
        await asyncio.to_thread(self._write)
        for command in (("bootstrap",), ("replicate", self.plan), ("snapshot", self.plan)):
            await self._standby(*command)
        ready = datetime.now(UTC)
        async with asyncio.timeout(SETTLING):
            while not await self._looks("healthy", ready):
                await asyncio.sleep(EVERY)
        # From a look on, so that the outage begins where in the period it is to begin.
        await asyncio.sleep(phase)
        async with httpx.AsyncClient(base_url=self.stage.control, trust_env=False) as control:
            (await control.post("/outages", json={"resource": SOURCE, "kind": kind})).raise_for_status()
        begun = datetime.now(UTC)
        outage = Outage(kind, served=await self._served(begun))
        await self._fill(outage, begun)
        return outage

    def _write(self) -> None:
        self.folder.mkdir()
        resources = self.stage.configured()
        targets = [name for name in resources if name != SOURCE]
        plan = {"pairs": [{"source": SOURCE, "targets": targets}], "failover": {"automatic": True}}
        file = {"kind": "file", "path": str(self._map)}
        webhook = {"kind": "webhook", "url": self.site.application.url, "secret": "${HOOK_KEY}"}
        content = {"resources": resources, "plans": {self.plan: plan}, "activation": [file, webhook]}
        content["vault"] = {"path": str(self.folder / "vault")}
        self._file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    @property
    def _file(self) -> Path:
        return self.folder / "standby.yaml"

    @property
    def _map(self) -> Path:
        return self.folder / "active.json"

    async def _standby(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "standby", "-q", "-c", str(self._file), *arguments),
            env={**self.stage.environment, **self.site.environment, "HOOK_KEY": "of no importance"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(COMMAND_SECONDS):
            said, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"standby {' '.join(arguments)} ended with {process.returncode}: {said.decode()}")

    async def _looks(self, what: str, since: datetime) -> list[datetime]:
        """Give when the looks at the source began that the watch of this plan reported, oldest first."""
        wanted = {
            "event": {"name": [f"content-understanding.resource.{what}"]},
            "resource": {"id": [f"content-understanding.resource.{SOURCE}"]},
            "occurred": {"since": since.isoformat(), "until": (since + timedelta(hours=1)).isoformat()},
        }
        answer = await self.site.prefect.post("/events/filter", json={"filter": wanted, "limit": 50})
        ours = [
            datetime.fromisoformat(event["payload"]["at"])
            for event in answer.raise_for_status().json()["events"]
            if any(each["prefect.resource.id"] == f"standby.plan.{self.plan}" for each in event["related"])
        ]
        return sorted(at for at in ours if at >= since)

    async def _served(self, begun: datetime) -> float | None:
        """Wait until both sinks name another resource; give the seconds that took."""
        while (passed := (datetime.now(UTC) - begun).total_seconds()) < LONGEST:
            maps = [await asyncio.to_thread(self._in_file), self.site.application.plans.get(self.plan)]
            serving = [(found or {}).get("sources", {}).get(SOURCE) for found in maps]
            if all(endpoint and endpoint["resource"] != SOURCE for endpoint in serving):
                return passed
            await asyncio.sleep(EVERY)
        return None

    def _in_file(self) -> Any:
        try:
            return json.loads(self._map.read_bytes())["plans"].get(self.plan)
        except FileNotFoundError:
            return None

    async def _fill(self, outage: Outage, begun: datetime) -> None:
        """Read from Prefect and the vault what led there, once it is written."""
        await asyncio.sleep(10)

        def after(at: datetime) -> float:
            return (at - begun).total_seconds()

        looks = await self._looks("unhealthy", begun - timedelta(seconds=10))
        outage.first, outage.second = (after(looks[n]) if len(looks) > n else None for n in (0, 1))
        wanted = {
            "deployments": {"name": {"any_": ["on-outage"]}},
            "flow_runs": {"start_time": {"after_": begun.isoformat()}},
        }
        runs = await self.site.prefect.post("/flow_runs/filter", json={**wanted, "sort": "START_TIME_ASC"})
        started = [datetime.fromisoformat(run["start_time"]) for run in runs.raise_for_status().json()]
        outage.evaluated = after(started[0]) if started else None
        vault = LocalFolder(self.folder / "vault")
        for line in (await verify_audit(vault, self.plan, None)).lines:
            if line.action == AuditAction.DECIDED:
                record, _ = await read_record(vault, str(line.facts["decision"]))
                if record.decision.outcome is Outcome.ACT and record.decision.detected_at is not None:
                    outage.proved = after(record.decision.detected_at)
                    return


def table_of(outages: Sequence[Outage]) -> Table:
    """Make a table of outages, with the median and the worst of each step."""
    table = Table(title="Outages at default settings: seconds after the loss of the region", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("lost by")
    for name in ("first look fails", "second", "evaluation begins", "proved", "served"):
        table.add_column(name, justify="right")
    for number, outage in enumerate(outages):
        table.add_row(str(number + 1), outage.kind, *(_seconds(getattr(outage, step)) for step in STEPS))
    table.add_section()
    for name, of in (("median", median), ("worst", max)):
        # One that was never answered is the worst, and longer than any that was.
        columns = [[_or_never(getattr(outage, step)) for outage in outages] for step in STEPS]
        table.add_row("", name, *(_seconds(of(column)) for column in columns))
    return table


def verdict_on(outages: Sequence[Outage]) -> str:
    """Say whether the outages were answered as fast as they should be."""
    served = [_or_never(outage.served) for outage in outages]
    good = median(served) <= MEDIAN and max(served) <= WORST
    return f"Median at most {MEDIAN:.0f} s, worst at most {WORST:.0f} s: {'as expected' if good else 'above'}."


def _or_never(value: float | None) -> float:
    return float("inf") if value is None else value


def _seconds(value: float | None) -> str:
    return "never" if value in {None, float("inf")} else f"{value:.1f}"
