"""Look whether the resources of a plan serve, and tell everybody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prefect import flow, get_client
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.client.schemas.objects import State

from blocks import load_configuration_from_blocks, open_vault
from flows.events import emit_observation
from flows.outcome import FlowOutcome
from standby.clock import SystemClock
from standby.fencing import read_fence
from standby.recovery.probe import Observation, WatchReport, observer_here, probe_resources


async def leave_picture(plan: str, picture: str, seen: Iterable[Observation]) -> None:
    """Leave a table, unless the last one says the same: a watch runs thousands of times a day.

    Args:
        plan: name of the plan.
        picture: what tells two pictures apart.
        seen: the observations.
    """
    key = f"watch-{plan}"
    description = f"Plan **{plan}**: {picture}."
    if await _last(key) == description:
        return
    await acreate_table_artifact(
        key=key,
        table=[
            {
                "resource": observation.resource,
                "healthy": {True: "yes", False: "no", None: "cannot be told"}[observation.healthy],
                "evidence": observation.summary,
                "seen": observation.at.isoformat(timespec="seconds"),
                "by": observation.observer,
            }
            for observation in sorted(seen, key=lambda each: (each.healthy is True, each.resource))
        ],
        description=description,
    )


async def _last(key: str) -> str | None:
    async with get_client() as client:
        found = await client.read_latest_artifacts(
            artifact_filter=ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[key])), limit=1
        )
    return found[0].description if found else None


TOLD = {True: "healthy", False: "unhealthy", None: "cannot be told"}


@flow(name="watch", flow_run_name="watch-{plan}", persist_result=False)
async def watch(plan: str) -> State[dict[str, Any]]:
    """Probe every resource of a recovery plan side by side, and emit an event for each.

    A resource that is down does not fail the run: that is what it is there to see. It changes nothing and
    decides nothing. Unhealthy events, repeated, start failover/on-outage, which looks for itself.

    Args:
        plan: Name of a saved recovery-plan block.
    """
    configuration = await load_configuration_from_blocks(plan)
    fence = await read_fence(await open_vault(configuration.vault), configuration.plan(plan))
    seen = await probe_resources(configuration.resources.values(), observer_here("watch"), SystemClock())
    for observation in seen.values():
        emit_observation(observation, fence)
    picture = ", ".join(f"{name} {TOLD[found.healthy]}" for name, found in sorted(seen.items()))
    await leave_picture(plan, picture, seen.values())
    report = WatchReport(plan=plan, observations=seen)
    return await FlowOutcome("Completed" if report.complete else "Unhealthy", _message(picture, seen), report).finish()


def _message(picture: str, seen: dict[str, Observation]) -> str:
    evidence = [f"{name}: {found.summary}" for name, found in sorted(seen.items()) if not found.healthy]
    return ". ".join([picture, *evidence])
