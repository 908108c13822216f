"""Probe whether the resources of a plan do their work, and emit an event for each."""

from __future__ import annotations

from typing import Any

from prefect import flow, get_client
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import State

from blocks import load_configuration_from_blocks
from flows.events import emit_observation
from flows.outcome import FlowOutcome
from standby.clock import SystemClock
from standby.fencing import read_fence
from standby.recovery.probe import WatchReport, observer_here, probe_resources
from standby.vault.vault import open_vault


async def publish_watch(report: WatchReport) -> None:
    """Leave a table, unless the last one says the same: a watch runs thousands of times a day."""
    key = f"watch-{report.plan}"
    description = f"Plan **{report.plan}**: {report.states}."
    if await _last(key) == description:
        return
    await acreate_table_artifact(
        key=key,
        table=[
            {
                "resource": observation.resource,
                "state": observation.health,
                "evidence": observation.summary,
                "at": observation.at.isoformat(timespec="seconds"),
                "observer": observation.observer,
            }
            for _, observation in sorted(report.observations.items(), key=lambda each: (bool(each[1].healthy), each[0]))
        ],
        description=description,
    )


async def _last(key: str) -> str | None:
    async with get_client() as client:
        found = await client.read_latest_artifacts(
            artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key])), limit=1
        )
    return found[0].description if found else None


@flow(name="watch", flow_run_name="watch-{plan}", persist_result=False)
async def watch(plan: str) -> State[dict[str, Any]]:
    """Probe every resource of a recovery plan at the same time, and emit an event for each.

    A resource that is down does not fail the run: the watch exists to find that out. It changes nothing and
    decides nothing. Repeated unhealthy events start failover/on-outage, which probes again itself.

    Args:
        plan: Name of a saved recovery-plan block.
    """
    configuration = await load_configuration_from_blocks(plan)
    async with open_vault(configuration.vault) as vault:
        fence = await read_fence(vault, configuration.plan(plan))
    seen = await probe_resources(configuration.resources.values(), observer_here("watch"), SystemClock())
    for observation in seen.values():
        emit_observation(observation, fence)
    report = WatchReport(plan=plan, observations=seen)
    await publish_watch(report)
    return await FlowOutcome("Completed" if report.complete else "Unhealthy", report.summary, report).finish()
