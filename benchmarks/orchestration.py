"""What the engine costs, directly and under Prefect, against the same calls by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import httpx
from prefect import flow

from benchmarks import Cost, Expected, Figure, Findings, measured, ratios
from benchmarks.stage import INTERVAL, PLAN, SERVICE_TIME, SLOTS, SOURCE, TARGETS, Stage, set_stage
from flows.limits import hold_targets
from flows.outcome import finish_replication, replicated, report_table
from flows.run import ProgressArtifact
from standby.config.configuration import Configuration
from standby.config.resource import KeyCredentials, Resource
from standby.replication.items import Selection
from standby.replication.replicate import begin, open_run, run_to_report
from standby.replication.steps import DirectSteps
from standby.service.client import BASE, MOST_CONNECTIONS
from tasks.copy import TaskSteps


async def copy_by_hand(stage: Stage) -> None:
    resources = {name: stage.configuration.resource(name) for name in (SOURCE, *TARGETS)}
    async with AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(_client(resource)) for name, resource in resources.items()}
        slots = {target: asyncio.Semaphore(SLOTS) for target in TARGETS}

        async def copy(analyzer: str, target: str) -> None:
            async with slots[target]:
                await _copy_one(clients[SOURCE], clients[target], resources[SOURCE], resources[target], analyzer)

        async with asyncio.TaskGroup() as group:
            for target in stage.configuration.plan(PLAN).targets:
                for analyzer in stage.analyzers:
                    group.create_task(copy(analyzer, target))


async def _copy_one(
    from_client: httpx.AsyncClient, to_client: httpx.AsyncClient, source: Resource, target: Resource, analyzer: str
) -> None:
    path = f"{BASE}/analyzers/{analyzer}"
    grant = {"targetAzureResourceId": target.resource_id, "targetRegion": target.region}
    answer = await from_client.post(f"{path}:grantCopyAuthorization", json=grant)
    answer.raise_for_status()
    origin = {"sourceAnalyzerId": analyzer, "sourceAzureResourceId": source.resource_id, "sourceRegion": source.region}
    answer = (await to_client.post(f"{path}:copy", json=origin)).raise_for_status()
    place = httpx.URL(answer.headers["operation-location"]).copy_remove_param("api-version")
    while True:
        operation = (await to_client.get(place)).raise_for_status().json()
        if operation["status"] != "Running":
            break
        await asyncio.sleep(INTERVAL)
    found = (await to_client.get(path)).raise_for_status().json()
    if found["status"] != "ready":
        raise RuntimeError(f"{analyzer} is {found['status']} at {target.name}")


def _client(resource: Resource) -> httpx.AsyncClient:
    if not isinstance(resource.credentials, KeyCredentials):
        raise TypeError("the emulated resources have keys")
    return httpx.AsyncClient(
        base_url=resource.endpoint,
        params={"api-version": resource.api_version},
        headers={"Ocp-Apim-Subscription-Key": resource.credentials.key.get_secret_value()},
        limits=httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS),
        trust_env=False,
    )


async def copy_directly(configuration: Configuration, plan: str) -> None:
    """Run a plan from its inventories to its report."""
    async with (
        open_run(configuration, plan) as context,
        begin(context, Selection(), DirectSteps(context)) as replication,
    ):
        await replication.run()
        if not replication.report(run_id="benchmark", via="direct").complete:
            raise RuntimeError("not everything was copied in direct mode")


async def copy_under_prefect(configuration: Configuration, plan: str) -> None:
    """Run a plan as a flow, every step of every copy a task run."""

    # The configuration has keys in it: as a parameter of the flow it would be stored.
    @flow(name="benchmark", persist_result=False)
    async def run() -> None:
        async with (
            open_run(configuration, plan) as context,
            hold_targets(context.recovery_plan.targets),
            ProgressArtifact("Benchmark") as bar,
            begin(context, Selection(), TaskSteps(context), on_progress=bar.show) as replication,
        ):
            ended = await run_to_report(replication, run_id="benchmark", via="prefect")
            report = ended.report
            await finish_replication(ended, report_table(report), replicated(report))
        if not report.complete:
            raise RuntimeError("not everything was copied under Prefect")

    await run()


SIZES = (100, 200)  # Copies of a run
STEPS = 5  # Task runs a copy: authorize, validate, copy, poll, verify
PATIENCE = 60  # Seconds within which Prefect's server must have recorded what a run did
HAND_TIME = Expected(1.03, 1.08, "measured: asyncio + httpx against the ideal schedule")
DIRECT_TIME = Expected(1.00, 1.03, "measured: an async flow without tasks, against asyncio + httpx")
TASKS_TIME = Expected(2.0, 2.5, "measured with four tasks a copy: 1.6 to 2.0; there are five here")
DIRECT_CPU = Expected(0, 1.5, "a guess: checking and retrying should cost less than calling")
TASKS_CPU = Expected(4.0, 5.1, "measured with four tasks a copy: 32 to 41 ms, calls alone 10; five here")
Mode = Callable[[Stage, Path], Awaitable[None]]
Say = Callable[[str], None]


@dataclass
class Measured:
    """The rounds of one way to copy, at one size."""

    costs: list[Cost] = field(default_factory=list)
    calls: list[float] = field(default_factory=list)

    @property
    def wall(self) -> list[float]:
        return [cost.wall for cost in self.costs]

    @property
    def cpu(self) -> list[float]:
        return [cost.cpu for cost in self.costs]


async def measure(rounds: int, folder: Path, server: str, say: Say) -> Findings:
    """Copy in three ways, by turns, and compare; the Prefect server must have run before Prefect was imported."""
    findings = Findings(f"Copying: {SERVICE_TIME:.0f} s a copy, {SLOTS} in flight at each of {len(TARGETS)} targets")

    async def by_hand(stage: Stage, _: Path) -> None:
        await copy_by_hand(stage)

    async def directly(stage: Stage, vault: Path) -> None:
        await copy_directly(stage.with_vault(vault), PLAN)

    async def tasks(stage: Stage, vault: Path) -> None:
        await copy_under_prefect(stage.with_vault(vault), PLAN)

    modes: dict[str, Mode] = {"by hand": by_hand, "direct": directly, "tasks": tasks}
    async with set_stage(SIZES[0] // len(TARGETS), folder) as stage:
        # Uncounted: it fills the caches of Prefect and its server.
        await _copy(stage, tasks, folder / "warm-up", Measured())
    recorded = SIZES[0] * STEPS
    for size in SIZES:
        async with set_stage(size // len(TARGETS), folder) as stage:
            results = {name: Measured() for name in modes}
            for number in range(rounds):
                for name, mode in modes.items():
                    say(f"{size} copies, {name}, round {number + 1} of {rounds}")
                    await _copy(stage, mode, folder / f"{size}-{name}-{number}", results[name])
                recorded += size * STEPS
                await _all_recorded(server, recorded)
            _compare(findings, stage, results)
    return findings


async def _copy(stage: Stage, mode: Mode, vault: Path, found: Measured) -> None:
    await stage.reset()
    with measured() as cost:
        await mode(stage, vault)
    found.costs.append(cost)
    found.calls.append(await stage.calls_per_copy())


def _compare(findings: Findings, stage: Stage, results: dict[str, Measured]) -> None:
    size = stage.copies
    hand, direct, tasks = results["by hand"], results["direct"], results["tasks"]
    ideal = [stage.ideal] * len(hand.costs)
    findings.figures += [
        Figure(
            f"by hand / ideal schedule, time of {size} copies",
            ratios(hand.wall, ideal),
            "what asyncio, httpx and the pace of polling cost: nobody can do better with them",
            HAND_TIME,
        ),
        Figure(
            f"direct / by hand, time of {size} copies",
            ratios(direct.wall, hand.wall),
            "what inventory, plan, retries, checks and ledger cost, without Prefect",
            DIRECT_TIME,
        ),
        Figure(
            f"tasks / by hand, time of {size} copies",
            ratios(tasks.wall, hand.wall),
            "what a run costs whose every step shows in Prefect, at an unreal 1 s a copy",
            TASKS_TIME,
        ),
        Figure(
            f"direct / by hand, CPU of {size} copies",
            ratios(direct.cpu, hand.cpu),
            "work of our process; it bounds the copies a second that one process can drive",
            DIRECT_CPU,
        ),
        Figure(
            f"tasks / by hand, CPU of {size} copies",
            ratios(tasks.cpu, hand.cpu),
            "likewise; the server does about as much again, beside us",
            TASKS_CPU,
        ),
    ]
    for name, found in results.items():
        findings.raw[f"{size} copies, {name}, wall s"] = median(found.wall)
        findings.raw[f"{size} copies, {name}, CPU ms a copy"] = median(found.cpu) / size * 1000
        findings.raw[f"{size} copies, {name}, calls a copy"] = median(found.calls)


async def _all_recorded(server: str, count: int) -> None:
    """Wait until the server is quiet again, and has lost nothing."""
    completed = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    found = 0
    async with httpx.AsyncClient(base_url=server, trust_env=False) as http:
        for _ in range(PATIENCE):
            found = (await http.post("/api/task_runs/count", json=completed)).raise_for_status().json()
            if found == count:
                return
            await asyncio.sleep(1)
    raise RuntimeError(f"Prefect recorded {found} task runs; there were {count}")
