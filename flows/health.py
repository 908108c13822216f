"""Whether what runs by itself runs: the workers of each work pool, and the watch of each plan."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from prefect import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags, FlowFilter, FlowFilterName
from prefect.client.schemas.objects import WorkPoolStatus
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from flows.bootstrap import RECOVERY_POOL, TAG, WORK_POOL, probe_period
from flows.events import last_report
from standby.config.durations import roughly
from standby.config.plan import RecoveryPlan
from standby.orchestrator import Health

WORKED_BY = {
    WORK_POOL: "copies, checks and snapshots do not run",
    RECOVERY_POOL: "nothing is watched, and no outage is answered",
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
    """See whether the watch of each plan is scheduled, and whether it still reports."""
    async with get_client() as client:
        ours = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
        flow = FlowFilter(name=FlowFilterName(any_=["watch"]))
        found = await client.read_deployments(flow_filter=flow, deployment_filter=ours)
        watches = {deployment.parameters.get("plan"): deployment for deployment in found}
    return {f"watch of {plan.name}": await _inspect(plan, watches.get(plan.name)) for plan in plans}


async def _inspect(plan: RecoveryPlan, deployment: DeploymentResponse | None) -> Health:
    if deployment is None:
        return Health(None, "it is not on the server, so no outage is noticed", "Run standby bootstrap")
    name = f"watch/{deployment.name}"
    if deployment.paused or not any(schedule.active for schedule in deployment.schedules):
        return Health(False, f"{name} is paused, so no outage is noticed", f"Resume the schedule of {name} in Prefect")
    last, period = await last_report(plan.name, FORGOTTEN), probe_period(plan)
    if last is None:
        return Health(
            False, "it has reported nothing for a day", "Check that a worker runs, and the last runs of watch"
        )
    age = datetime.now(UTC) - last
    if age.total_seconds() > SILENCE * period:
        detail = f"it reported last {roughly(age)} ago, and is to report every {period:.0f} s"
        return Health(False, detail, f"Check that a worker runs, and why the last runs of {name} ended")
    return Health(True, f"it reported {max(age.total_seconds(), 0.0):.0f} s ago")
