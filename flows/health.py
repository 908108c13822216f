"""Whether what runs by itself runs: the workers of each work pool, the watch and the schedules of each plan."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType, WorkPoolStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from standby.config.durations import roughly
from standby.config.plan import RecoveryPlan
from standby.flows.bootstrap import OURS, RECOVERY_POOL, TAG, WORK_POOL, flow_of, probe_period, read_deployments
from standby.flows.events import last_report
from standby.flows.run import DEAD
from standby.orchestrator import Health
from standby.recovery.concerns import Concern, Kind, Look
from standby.text import utc

WORKED_BY = {
    WORK_POOL: "copies, checks and snapshots do not run",
    RECOVERY_POOL: "nothing is watched, and no outage starts a failover",
}
"""What follows where no worker runs."""

SILENCE = 3  # Probe periods without any report on a resource after which a watch counts as silent
FORGOTTEN = timedelta(hours=24)  # How far back it is looked for the last report of a watch


async def inspect_pools() -> dict[str, Health]:
    found = {}
    async with get_client() as client:
        for name, otherwise in WORKED_BY.items():
            try:
                status = (await client.read_work_pool(name)).status
            except ObjectNotFound:
                found[f"pool {name}"] = Health(None, "it is not on the server", "Run standby bootstrap")
                continue
            if status is WorkPoolStatus.READY:
                found[f"pool {name}"] = Health(True, "a worker runs")
            elif status is WorkPoolStatus.PAUSED:
                action = f"Run prefect work-pool resume {name}"
                found[f"pool {name}"] = Health(False, f"it is paused: {otherwise}", action)
            else:
                action = f"Run prefect worker start --pool {name}, and keep it running"
                found[f"pool {name}"] = Health(False, f"no worker runs: {otherwise}", action)
    return found


async def inspect_watches(plans: Sequence[RecoveryPlan]) -> dict[str, Health]:
    async with get_client() as client:
        watches = {found.parameters.get("plan"): found for found in await _deployments(client, ["watch"])}
    return {f"watch of {plan.name}": await _inspect(plan, watches.get(plan.name)) for plan in plans}


async def _inspect(plan: RecoveryPlan, deployment: DeploymentResponse | None) -> Health:
    if deployment is None:
        return Health(None, "it is not on the server, so no outage is noticed", "Run standby bootstrap")
    name = f"watch/{deployment.name}"
    if paused := _paused(deployment, name, "so no outage is noticed"):
        return paused
    last, period = await last_report(plan.name, FORGOTTEN), probe_period(plan)
    if last is None:
        action = "Check that a worker runs, and the last runs of watch"
        return Health(False, "it has reported nothing for a day", action)
    age = datetime.now(UTC) - last
    if age.total_seconds() > SILENCE * period:
        detail = f"its last report was {roughly(age)} ago, and one is due every {period:.0f} s"
        return Health(False, detail, f"Check that a worker runs, and why the last runs of {name} ended")
    return Health(True, f"it reported {max(age.total_seconds(), 0.0):.0f} s ago")


def _paused(deployment: DeploymentResponse, name: str, meaning: str) -> Health | None:
    if not deployment.paused and any(schedule.active for schedule in deployment.schedules):
        return None
    return Health(False, f"{name} is paused, {meaning}", f"Resume the schedule of {name} in Prefect")


SCHEDULED = {
    "replicate": "the targets fall behind",
    "check": "it is not noticed when a target is no longer ready",
    "snapshot": "no new recovery point is made",
    "drill": "no failover is tested",
    "compare": "no copy is proved by documents",
}
"""The scheduled flows of a plan beside its watch, and what follows where their runs stay away."""

LATE = timedelta(minutes=15)  # How long a run may wait for a worker
SEVERAL = 3  # Periods without a run, or runs in a row that were cancelled, after which a schedule does nothing
NEWEST = 60  # Runs of a plan that are looked at


async def inspect_runs(plans: Sequence[str]) -> dict[str, dict[str, Health]]:
    """See for each plan and scheduled flow whether its schedule makes runs, and how the last one ended."""
    async with get_client() as client:
        deployments = await _deployments(client, ["watch", *SCHEDULED])
        return {plan: await _inspect_runs(client, plan, deployments) for plan in plans}


async def look_at_runs(plan: str) -> Look:
    """Look for scheduled flows of a plan that do not run; of what did not run recently this is unknown."""
    found = (await inspect_runs([plan]))[plan]
    concerns = (
        Concern(kind=Kind.RUNS, about=flow, severity="warning", summary=each.detail, next_action=each.next_action)
        for flow, each in found.items()
        if each.well is False
    )
    unsure = {(Kind.RUNS, flow) for flow, each in found.items() if each.well is None}
    return Look(frozenset({Kind.RUNS}), tuple(concerns), frozenset(unsure))


async def _inspect_runs(
    client: PrefectClient, plan: str, deployments: Sequence[DeploymentResponse]
) -> dict[str, Health]:
    now = datetime.now(UTC)
    scheduled = {flow_of(each.entrypoint): each for each in deployments if each.parameters.get("plan") == plan}
    # What is started by hand is of no plan; its runs are.
    flows: dict[UUID | None, str]
    flows = {each.id: flow_of(each.entrypoint) for each in deployments if each.parameters.get("plan") in {plan, None}}
    ours = [each for each, flow in flows.items() if flow in SCHEDULED]
    wanted = {"deployment_id": {"any_": ours}, "expected_start_time": {"before_": now}}
    found = await client.read_flow_runs(
        flow_run_filter=FlowRunFilter.model_validate(wanted), sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=NEWEST
    )
    missing = Health(False if "watch" in scheduled else None, "it is not on the server", "Run standby bootstrap")

    def judged(flow: str) -> Health:
        its = [each for each in found if flows.get(each.deployment_id) == flow and each.parameters["plan"] == plan]
        return judge_schedule(scheduled[flow], its, now) if flow in scheduled else missing

    return {flow: judged(flow) for flow in SCHEDULED}


def judge_schedule(deployment: DeploymentResponse, runs: Sequence[FlowRun], now: datetime) -> Health:
    """Say whether a schedule makes runs that do their work, by those that were due, the newest first.

    Well is `None` where none of them has ended. What is wrong is said in words that stay, the cause first.
    """
    flow = flow_of(deployment.entrypoint)
    name, meaning = f"{flow}/{deployment.name}", f"so {SCHEDULED[flow]}"
    if paused := _paused(deployment, name, meaning):
        return paused
    due = [run for run in runs if run.auto_scheduled]
    waits = min((_due(run) for run in due if _type(run) is StateType.SCHEDULED), default=now)
    if now - waits > LATE:
        action = f"Run prefect worker start --pool {deployment.work_pool_name}, and keep it running"
        return Health(False, f"a run of {name} has waited for a worker since {utc(waits)}, {meaning}", action)
    ended = next((run for run in runs if _type(run) in ENDED), None)
    state = ended.state if ended is not None else None
    if ended is not None and state is not None and (how := BROKEN.get(str(state.name))):
        said = f": {state.message}" if state.message else ""
        action = f"See run {ended.name} in Prefect, correct what it says, and start {name} there"
        return Health(False, f"the last run of {flow}, due {utc(_due(ended))}, {how}{said}", action)
    return _judge_pace(name, meaning, runs, now) or (
        Health(True, f"its last run was due {roughly(now - _due(ended))} ago")
        if ended is not None
        else Health(None, "no run has ended recently")
    )


def _judge_pace(name: str, meaning: str, runs: Sequence[FlowRun], now: datetime) -> Health | None:
    due = [run for run in runs if run.auto_scheduled]
    under_way = any(_type(run) not in TERMINAL_STATES for run in runs)
    if not under_way and [_type(run) for run in due[:SEVERAL]] == [StateType.CANCELLED] * SEVERAL:
        action = f"See in Prefect who cancelled them, or which run of {name} does not end"
        return Health(False, f"the last {SEVERAL} runs of {name} were cancelled, {meaning}", action)
    period = max((_due(later) - _due(earlier) for later, earlier in pairwise(due[: SEVERAL + 1])), default=None)
    if period is not None and now - _due(due[0]) > SEVERAL * period:
        pace = f"since {utc(_due(due[0]))}, and one is due every {roughly(period)}"
        action = "Check that the scheduler of the Prefect server runs"
        return Health(False, f"{name} has made no run {pace}, {meaning}", action)
    return None


ENDED = TERMINAL_STATES - {StateType.CANCELLED}
BROKEN = {"Crashed": "crashed", "Failed": "failed", "TimedOut": "took too long"}
"""How Prefect names what a flow did not end itself: ours name each of their ends."""


def _type(run: FlowRun) -> StateType | None:
    return run.state.type if run.state is not None else None


def _due(run: FlowRun) -> datetime:
    # Prefect's own kind of time does not go with ours.
    return datetime.fromtimestamp(run.expected_start_time.timestamp() if run.expected_start_time else 0.0, UTC)


async def _deployments(client: PrefectClient, flows: list[str]) -> list[DeploymentResponse]:
    wanted = FlowFilter.model_validate({"name": {"any_": flows}})
    return await read_deployments(client, flow_filter=wanted, deployment_filter=OURS)


BEAT = 60  # Seconds between two signs of life of a run, by prefect.yaml
MISSED = 10  # Beats of a run that stay away before it is taken for dead: a busy server loses some
STOPPED = "standby ends runs that stopped"  # Name of the automation

BEATING = ["watch", *SCHEDULED, "restore", "prune"]
"""The flows whose dead runs Prefect ends. A failover, a failback and what waits for an approval go on without the
server, however long it is away; and a chunk's life is followed by the run that sent it."""


def end_of_the_dead(within: timedelta = timedelta(seconds=MISSED * BEAT)) -> AutomationCore:
    """Give the automation that Prefect leaves to those who run its server: what stopped beating so long crashed."""
    alive = ("heartbeat", "Pending", "Running", "Cancelling")
    flow = {"prefect.resource.role": "flow", "prefect.resource.name": BEATING}
    tag = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"}
    return AutomationCore(
        name=STOPPED,
        description="A run of Standby sent no heartbeat, so its worker counts as lost. Later runs can start.",
        trigger=EventTrigger(
            after={f"prefect.flow-run.{each}" for each in alive},
            # Any end has a name of its own.
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=[ResourceSpecification(flow), ResourceSpecification(tag)],
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=DEAD)],
    )
