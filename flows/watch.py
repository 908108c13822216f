"""Look whether the resources of a plan serve, and tell everybody."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from blocks import load_configuration_from_blocks, open_vault
from flows.endings import ended
from flows.events import tell_observation
from flows.listening import tell_report
from flows.watch_artifact import leave_picture
from standby.clock import SystemClock
from standby.fencing import read_fence
from standby.recovery.watch.observation import Observation, WatchReport
from standby.recovery.watch.probe import look_at, observer_here

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
    seen = await look_at(configuration.resources.values(), observer_here("watch"), SystemClock())
    for observation in seen.values():
        tell_observation(observation, fence)
    picture = ", ".join(f"{name} {TOLD[found.healthy]}" for name, found in sorted(seen.items()))
    await leave_picture(plan, picture, seen.values())
    report = WatchReport(plan=plan, observations=seen)
    tell_report(report)
    return ended("Completed" if report.complete else "Unhealthy", _message(picture, seen), report)


def _message(picture: str, seen: dict[str, Observation]) -> str:
    evidence = [f"{name}: {found.summary}" for name, found in sorted(seen.items()) if not found.healthy]
    return ". ".join([picture, *evidence])
